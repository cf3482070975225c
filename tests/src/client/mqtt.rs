//! An MQTT client on rumqttc, in either version: a thread that keeps what arrives, and methods that wait for it.
//!
//! It never reconnects: a test wants to know when a connection ends.

use super::Credentials;
use muster_runtime::clock::Clock;
use muster_runtime::ids::random_hex;
use rumqttc::{NetworkOptions, QoS, TlsConfiguration, Transport, v5};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// The version of MQTT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// 3.1.1
    V4,
    /// 5
    V5,
}

/// A message that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Where it was published.
    pub topic: String,
    /// What it says.
    pub payload: Vec<u8>,
    /// Whether it was there before the subscription.
    pub retained: bool,
}

impl Message {
    /// The payload as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.payload)
            .unwrap_or_else(|error| panic!("{}: no JSON ({error}): {:?}", self.topic, self.payload))
    }
}

/// A connection.
pub struct Mqtt {
    sender: Sender,
    inbox: Arc<Inbox>,
}

enum Sender {
    V4(rumqttc::Client),
    V5(v5::Client),
}

#[derive(Default)]
struct Inbox {
    arrived: Mutex<Arrived>,
    changed: Condvar,
}

#[derive(Default)]
struct Arrived {
    connected: bool,
    /// In the order of the publishes.
    pubacks: Vec<Result<(), String>>,
    /// In the order of the subscribes.
    subacks: Vec<Result<(), String>>,
    messages: Vec<Message>,
    ended: Option<String>,
}

impl Mqtt {
    /// Connects.
    #[track_caller]
    pub fn connect(address: SocketAddr, credentials: &Credentials, client_id: &str, version: Version) -> Self {
        Self::try_connect(address, credentials, client_id, version)
            .unwrap_or_else(|error| panic!("{client_id} cannot connect to {address}: {error}"))
    }

    /// Tries to connect, once. On failure, says what the client library said.
    pub fn try_connect(
        address: SocketAddr,
        credentials: &Credentials,
        client_id: &str,
        version: Version,
    ) -> Result<Self, String> {
        let inbox = Arc::new(Inbox::default());
        let (host, port) = (address.ip().to_string(), address.port());
        let transport = Transport::Tls(TlsConfiguration::Rustls(credentials.tls(&[b"mqtt"])));
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        network.set_connection_timeout(PATIENCE.as_secs());
        let sender = match version {
            Version::V4 => {
                let mut options = rumqttc::MqttOptions::new(client_id, host, port);
                options.set_transport(transport).set_max_packet_size(PACKET_BYTES_MAX, PACKET_BYTES_MAX);
                let (sender, mut connection) = rumqttc::Client::new(options, QUEUE_MAX);
                connection.eventloop.set_network_options(network);
                let inbox = inbox.clone();
                thread::spawn(move || {
                    for event in connection.iter() {
                        match event {
                            Ok(rumqttc::Event::Incoming(packet)) => inbox.take_v4(packet),
                            Ok(_) => {}
                            Err(error) => return inbox.end(error.to_string()),
                        }
                    }
                });
                Sender::V4(sender)
            }
            Version::V5 => {
                let mut options = v5::MqttOptions::new(client_id, host, port);
                options.set_transport(transport).set_max_packet_size(Some(PACKET_BYTES_MAX as u32));
                options.set_connection_timeout(PATIENCE.as_secs()).set_network_options(network);
                let (sender, mut connection) = v5::Client::new(options, QUEUE_MAX);
                let inbox = inbox.clone();
                thread::spawn(move || {
                    for event in connection.iter() {
                        match event {
                            Ok(v5::Event::Incoming(packet)) => inbox.take_v5(packet),
                            Ok(_) => {}
                            Err(error) => return inbox.end(error.to_string()),
                        }
                    }
                });
                Sender::V5(sender)
            }
        };
        inbox.wait("CONNACK", PATIENCE, |arrived| arrived.connected.then_some(()))?;
        Ok(Self { sender, inbox })
    }

    /// Publishes at QoS 1 and waits for the PUBACK. `Err` says why there is none, or its reason code.
    pub fn publish(&self, topic: &str, payload: impl Into<Vec<u8>>) -> Result<(), String> {
        self.publish_with(topic, payload, false)
    }

    /// Publishes at QoS 1, with the retain flag as given, and waits for the PUBACK.
    pub fn publish_with(&self, topic: &str, payload: impl Into<Vec<u8>>, retain: bool) -> Result<(), String> {
        let before = self.acknowledged();
        self.send(topic, payload, retain)?;
        self.inbox.wait("PUBACK", PATIENCE, |arrived| arrived.pubacks.get(before).cloned())?
    }

    /// Publishes at QoS 1 and does not wait.
    pub fn send(&self, topic: &str, payload: impl Into<Vec<u8>>, retain: bool) -> Result<(), String> {
        match &self.sender {
            Sender::V4(client) => client.publish(topic, QoS::AtLeastOnce, retain, payload).map_err(|e| e.to_string()),
            Sender::V5(client) => {
                let payload: Vec<u8> = payload.into();
                let qos = v5::mqttbytes::QoS::AtLeastOnce;
                client.publish(topic, qos, retain, payload).map_err(|e| e.to_string())
            }
        }
    }

    /// How many publishes have a PUBACK. They come in the order of the publishes.
    pub fn acknowledged(&self) -> usize {
        self.inbox.lock().pubacks.len()
    }

    /// Waits for more than so many PUBACKs and returns how many there are.
    pub fn wait_for_more_than(&self, acknowledged: usize) -> Result<usize, String> {
        self.inbox.wait("another PUBACK", PATIENCE, |arrived| {
            Some(arrived.pubacks.len()).filter(|count| *count > acknowledged)
        })
    }

    /// Subscribes and waits for the SUBACK. `Err` says why there is none, or its reason code.
    pub fn subscribe(&self, filter: &str) -> Result<(), String> {
        let before = self.inbox.lock().subacks.len();
        let sent = match &self.sender {
            Sender::V4(client) => client.subscribe(filter, QoS::AtLeastOnce).map_err(|e| e.to_string()),
            Sender::V5(client) => client.subscribe(filter, v5::mqttbytes::QoS::AtLeastOnce).map_err(|e| e.to_string()),
        };
        sent?;
        self.inbox.wait("SUBACK", PATIENCE, |arrived| arrived.subacks.get(before).cloned())?
    }

    /// Publishes a request with a client token and waits for the answer to it: `Ok` from `…/accepted`, `Err` from
    /// `…/rejected`. The outer error says what happened to the connection instead.
    pub fn ask(&self, topic: &str, mut request: Value) -> Result<Result<Value, Value>, String> {
        let token = random_hex::<8>();
        request["clientToken"] = json!(token);
        self.publish(topic, request.to_string())?;
        let (accepted, rejected) = (format!("{topic}/accepted"), format!("{topic}/rejected"));
        self.inbox.wait(&format!("an answer to {topic}"), PATIENCE, |arrived| {
            arrived.messages.iter().rev().find_map(|message| {
                if message.topic != accepted && message.topic != rejected {
                    return None;
                }
                let answer: Value = serde_json::from_slice(&message.payload).ok()?;
                let ours = answer["clientToken"] == token.as_str();
                ours.then(|| if message.topic == accepted { Ok(answer) } else { Err(answer) })
            })
        })
    }

    /// As [`Mqtt::ask`], for a request that must be accepted.
    #[track_caller]
    pub fn ask_accepted(&self, topic: &str, request: Value) -> Value {
        match self.ask(topic, request) {
            Ok(Ok(answer)) => answer,
            Ok(Err(rejected)) => panic!("{topic} was rejected: {rejected}"),
            Err(problem) => panic!("{topic}: {problem}"),
        }
    }

    /// Waits for a message that the look finds something in.
    #[track_caller]
    pub fn wait_for<T>(&self, what: &str, mut look: impl FnMut(&Message) -> Option<T>) -> T {
        let found = self.inbox.wait(what, PATIENCE, |arrived| arrived.messages.iter().find_map(&mut look));
        found.unwrap_or_else(|problem| panic!("{problem}"))
    }

    /// Waits for a message on this topic.
    #[track_caller]
    pub fn wait_for_topic(&self, topic: &str) -> Message {
        self.wait_for(&format!("a message on {topic}"), |message| (message.topic == topic).then(|| message.clone()))
    }

    /// Every message so far.
    pub fn messages(&self) -> Vec<Message> {
        self.inbox.lock().messages.clone()
    }

    /// Forgets the messages so far.
    pub fn forget(&self) {
        self.inbox.lock().messages.clear();
    }

    /// How the connection ended, if it has.
    pub fn ended(&self) -> Option<String> {
        self.inbox.lock().ended.clone()
    }

    /// Waits for the end of the connection.
    #[track_caller]
    pub fn wait_for_end(&self, deadline: Duration) -> String {
        let ended = self.inbox.wait("the end of the connection", deadline, |arrived| arrived.ended.clone());
        ended.unwrap_or_else(|problem| panic!("{problem}"))
    }

    /// Says good-bye and waits until the connection is closed.
    #[track_caller]
    pub fn disconnect(self) {
        let said = match &self.sender {
            Sender::V4(client) => client.disconnect().map_err(|e| e.to_string()),
            Sender::V5(client) => client.disconnect().map_err(|e| e.to_string()),
        };
        if said.is_ok() {
            self.wait_for_end(PATIENCE);
        }
    }
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, Arrived> {
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Arrived)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    fn end(&self, how: String) {
        self.change(|arrived| arrived.ended = Some(how));
    }

    /// Waits until the look finds something; fails when the connection ends first.
    fn wait<T>(
        &self,
        what: &str,
        deadline: Duration,
        mut look: impl FnMut(&Arrived) -> Option<T>,
    ) -> Result<T, String> {
        let clock = Clock::system();
        let end = clock.instant() + deadline;
        let mut arrived = self.lock();
        loop {
            if let Some(found) = look(&arrived) {
                return Ok(found);
            }
            if let Some(ended) = &arrived.ended {
                return Err(format!("the connection ended before {what}: {ended}"));
            }
            let left = end.saturating_duration_since(clock.instant());
            if left.is_zero() {
                let last: Vec<String> = arrived.messages.iter().rev().take(LAST_SEEN).map(describe).collect();
                return Err(format!("no {what} within {} s; last seen: {last:#?}", deadline.as_secs_f64()));
            }
            arrived = self.changed.wait_timeout(arrived, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn take_v4(&self, packet: rumqttc::Packet) {
        use rumqttc::{Packet, SubscribeReasonCode};
        self.change(|arrived| match packet {
            Packet::ConnAck(_) => arrived.connected = true,
            Packet::PubAck(_) => arrived.pubacks.push(Ok(())),
            Packet::SubAck(ack) => {
                let refused = ack.return_codes.contains(&SubscribeReasonCode::Failure);
                arrived.subacks.push(if refused { Err("SUBACK: failure".to_owned()) } else { Ok(()) });
            }
            Packet::Publish(publish) => arrived.messages.push(Message {
                topic: publish.topic,
                payload: publish.payload.to_vec(),
                retained: publish.retain,
            }),
            _ => {}
        });
    }

    fn take_v5(&self, packet: v5::mqttbytes::v5::Packet) {
        use v5::mqttbytes::v5::{Packet, PubAckReason, SubscribeReasonCode};
        self.change(|arrived| match packet {
            Packet::ConnAck(_) => arrived.connected = true,
            Packet::PubAck(ack) => arrived.pubacks.push(match ack.reason {
                PubAckReason::Success | PubAckReason::NoMatchingSubscribers => Ok(()),
                refused => Err(format!("PUBACK: {refused:?}")),
            }),
            Packet::SubAck(ack) => {
                let refused = ack.return_codes.iter().find(|code| !matches!(code, SubscribeReasonCode::Success(_)));
                arrived.subacks.push(refused.map_or(Ok(()), |code| Err(format!("SUBACK: {code:?}"))));
            }
            Packet::Publish(publish) => arrived.messages.push(Message {
                topic: String::from_utf8_lossy(&publish.topic).into_owned(),
                payload: publish.payload.to_vec(),
                retained: publish.retain,
            }),
            _ => {}
        });
    }
}

fn describe(message: &Message) -> String {
    let text = String::from_utf8_lossy(&message.payload);
    format!("{} {}", message.topic, text.chars().take(300).collect::<String>())
}

/// Every wait of a test for one thing. None of them takes a second; a busy machine may need many.
const PATIENCE: Duration = Duration::from_secs(60);
/// Larger than what the server takes, so that it is the server that refuses.
const PACKET_BYTES_MAX: usize = 4 * 1024 * 1024;
const QUEUE_MAX: usize = 64;
/// Messages named in a failure.
const LAST_SEEN: usize = 6;
