//! rumqttc of both versions, with what happens to it as a stream of events.

use crate::stage::{DEADLINE, Stage, in_time};
use muster_certs::identity::Role;
use rumqttc::{AsyncClient, Event, MqttOptions, NetworkOptions, Packet, Publish, QoS, TlsConfiguration, Transport};
use rustls::ClientConfig;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

pub mod v5 {
    pub use rumqttc::v5::mqttbytes::QoS;
    pub use rumqttc::v5::mqttbytes::v5::*;
    pub use rumqttc::v5::{AsyncClient, Event, MqttOptions};
}

/// An MQTT 3.1.1 client.
pub struct Client {
    pub mqtt: AsyncClient,
    /// Packets that came in; then the error that ended it.
    pub events: mpsc::Receiver<Result<Packet, String>>,
}

/// An MQTT 5 client.
pub struct Client5 {
    pub mqtt: v5::AsyncClient,
    pub events: mpsc::Receiver<Result<v5::Packet, String>>,
}

impl Client {
    pub fn start(stage: &Stage, id: &str, config: Arc<ClientConfig>) -> Self {
        let mut options = MqttOptions::new(id, "localhost", stage.address.port());
        options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(config)));
        options.set_keep_alive(Duration::from_secs(30)).set_clean_session(true);
        options.set_max_packet_size(1 << 20, 1 << 20);
        let (mqtt, mut events) = AsyncClient::new(options, 100);
        let mut network = NetworkOptions::new();
        network.set_connection_timeout(DEADLINE.as_secs());
        events.set_network_options(network);
        let (sender, receiver) = mpsc::channel(10_000);
        stage.swarm.spawn(async move {
            loop {
                let event = match events.poll().await {
                    Ok(Event::Incoming(packet)) => Ok(packet),
                    Ok(Event::Outgoing(_)) => continue,
                    Err(error) => Err(error.to_string()),
                };
                let over = event.is_err();
                if sender.send(event).await.is_err() || over {
                    return;
                }
            }
        });
        Self { mqtt, events: receiver }
    }

    /// A connected client.
    pub async fn connect(stage: &Stage, role: Role, name: &str, id: &str) -> Self {
        let mut client = Self::start(stage, id, stage.config(role, name, &[b"mqtt"]));
        assert!(matches!(client.next().await, Ok(Packet::ConnAck(_))));
        client
    }

    pub async fn next(&mut self) -> Result<Packet, String> {
        in_time(self.events.recv()).await.expect("the client ended before")
    }

    /// Subscribes and returns what was granted.
    pub async fn subscribe(&mut self, filter: &str, qos: QoS) -> rumqttc::SubscribeReasonCode {
        self.mqtt.subscribe(filter, qos).await.unwrap();
        match self.next().await {
            Ok(Packet::SubAck(suback)) => suback.return_codes[0],
            other => panic!("no SUBACK for {filter}: {other:?}"),
        }
    }

    pub async fn publish(&self, topic: &str, payload: &str) {
        self.mqtt.publish(topic, QoS::AtLeastOnce, false, payload).await.unwrap();
    }

    /// The next message.
    pub async fn message(&mut self) -> Publish {
        loop {
            match self.next().await {
                Ok(Packet::Publish(publish)) => return publish,
                Ok(_) => {}
                Err(error) => panic!("no message: {error}"),
            }
        }
    }

    /// Waits for the end, in which nothing else comes.
    pub async fn ended(&mut self) -> String {
        match self.next().await {
            Err(error) => error,
            Ok(packet) => panic!("not the end: {packet:?}"),
        }
    }
}

impl Client5 {
    pub fn start(stage: &Stage, id: &str, config: Arc<ClientConfig>) -> Self {
        let mut options = v5::MqttOptions::new(id, "localhost", stage.address.port());
        options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(config)));
        options.set_keep_alive(Duration::from_secs(30)).set_clean_start(true);
        options.set_connection_timeout(DEADLINE.as_secs());
        let (mqtt, mut events) = v5::AsyncClient::new(options, 100);
        let (sender, receiver) = mpsc::channel(10_000);
        stage.swarm.spawn(async move {
            loop {
                let event = match events.poll().await {
                    Ok(v5::Event::Incoming(packet)) => Ok(packet),
                    Ok(v5::Event::Outgoing(_)) => continue,
                    Err(error) => Err(error.to_string()),
                };
                let over = event.is_err();
                if sender.send(event).await.is_err() || over {
                    return;
                }
            }
        });
        Self { mqtt, events: receiver }
    }

    pub async fn connect(stage: &Stage, role: Role, name: &str, id: &str) -> Self {
        let mut client = Self::start(stage, id, stage.config(role, name, &[b"x-amzn-mqtt-ca"]));
        assert!(matches!(client.next().await, Ok(v5::Packet::ConnAck(_))));
        client
    }

    pub async fn next(&mut self) -> Result<v5::Packet, String> {
        in_time(self.events.recv()).await.expect("the client ended before")
    }

    pub async fn subscribe(&mut self, filter: &str) -> v5::SubscribeReasonCode {
        self.mqtt.subscribe(filter, v5::QoS::AtLeastOnce).await.unwrap();
        loop {
            match self.next().await {
                Ok(v5::Packet::SubAck(suback)) => return suback.return_codes[0],
                Ok(_) => {}
                Err(error) => panic!("no SUBACK for {filter}: {error}"),
            }
        }
    }

    pub async fn message(&mut self) -> v5::Publish {
        loop {
            match self.next().await {
                Ok(v5::Packet::Publish(publish)) => return publish,
                Ok(_) => {}
                Err(error) => panic!("no message: {error}"),
            }
        }
    }
}

/// The parts of a CONNECT that tests vary.
pub fn connect_packet(version: u8, client_id: &str) -> Vec<u8> {
    let mut body = b"\0\x04MQTT".to_vec();
    body.extend_from_slice(&[version, 2, 0, 60]);
    if version == 5 {
        body.push(0);
    }
    body.extend_from_slice(&(client_id.len() as u16).to_be_bytes());
    body.extend_from_slice(client_id.as_bytes());
    let mut packet = vec![0x10, body.len() as u8];
    packet.extend_from_slice(&body);
    packet
}
