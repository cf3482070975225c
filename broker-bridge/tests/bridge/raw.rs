//! A client that says exactly what a test wants, packet by packet.

use crate::stage::{Stage, in_time};
use mqtt_protocol_core::mqtt::packet::{Property, v3_1_1, v5_0};
use muster_certs::identity::Role;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// What stands in a CONNECT.
#[derive(Clone)]
pub struct Hello {
    pub version: u8,
    pub clean: bool,
    pub keep_alive: u16,
    /// Encoded properties, without their length.
    pub properties: Vec<u8>,
    pub will: Option<Will>,
}

#[derive(Clone)]
pub struct Will {
    pub topic: String,
    pub payload: &'static str,
    pub qos: u8,
    pub retain: bool,
    pub properties: Vec<u8>,
}

pub struct Raw {
    pub version: u8,
    tls: TlsStream<TcpStream>,
    next_id: u16,
}

/// The answer to a CONNECT.
#[derive(Debug)]
pub struct Welcome {
    pub present: bool,
    pub code: u8,
    pub properties: Vec<Property>,
}

#[derive(Debug)]
pub struct Got {
    pub topic: String,
    pub payload: String,
    pub qos: u8,
    pub again: bool,
    pub retain: bool,
    pub id: u16,
    pub properties: Vec<Property>,
}

impl Hello {
    pub fn new(version: u8) -> Self {
        Self { version, clean: true, keep_alive: 60, properties: Vec::new(), will: None }
    }

    /// A session that waits for so many seconds; MQTT 3.1.1 cannot say how many.
    pub fn kept(version: u8, seconds: u32) -> Self {
        let mut properties = vec![0x11];
        properties.extend_from_slice(&seconds.to_be_bytes());
        Self { clean: false, properties, ..Self::new(version) }
    }

    pub fn clean(self) -> Self {
        Self { clean: true, ..self }
    }

    pub fn with_will(self, topic: &str, payload: &'static str) -> Self {
        let will = Will { topic: topic.to_owned(), payload, qos: 1, retain: false, properties: Vec::new() };
        Self { will: Some(will), ..self }
    }

    fn packet(&self, client_id: &str) -> Vec<u8> {
        let mut body = b"\0\x04MQTT".to_vec();
        let will = self.will.as_ref().map_or(0, |will| 4 | will.qos << 3 | u8::from(will.retain) << 5);
        body.extend_from_slice(&[self.version, u8::from(self.clean) << 1 | will]);
        body.extend_from_slice(&self.keep_alive.to_be_bytes());
        self.put_properties(&mut body, &self.properties);
        put_text(&mut body, client_id);
        if let Some(will) = &self.will {
            self.put_properties(&mut body, &will.properties);
            put_text(&mut body, &will.topic);
            put_text(&mut body, will.payload);
        }
        packet(0x10, &body)
    }

    fn put_properties(&self, body: &mut Vec<u8>, properties: &[u8]) {
        if self.version == 5 {
            body.push(properties.len() as u8);
            body.extend_from_slice(properties);
        }
    }
}

impl Raw {
    /// Connects and returns what the server answered.
    pub async fn greet(stage: &Stage, role: Role, name: &str, client_id: &str, hello: &Hello) -> (Self, Welcome) {
        let mut tls = stage.tls(stage.config(role, name, &[b"mqtt"])).await.unwrap();
        tls.write_all(&hello.packet(client_id)).await.unwrap();
        let mut raw = Self { version: hello.version, tls, next_id: 0 };
        let (header, body) = raw.next().await.expect("a CONNACK");
        assert_eq!(header, 0x20);
        let properties = match hello.version {
            5 => v5_0::Connack::parse(&body).unwrap().0.props().clone().to_vec(),
            _ => Vec::new(),
        };
        (raw, Welcome { present: body[0] & 1 == 1, code: body[1], properties })
    }

    /// Connects and is let in.
    pub async fn connect(stage: &Stage, role: Role, name: &str, client_id: &str, hello: &Hello) -> (Self, bool) {
        let (raw, welcome) = Self::greet(stage, role, name, client_id, hello).await;
        assert_eq!(welcome.code, 0, "{welcome:?}");
        (raw, welcome.present)
    }

    /// A clean connection.
    pub async fn plain(stage: &Stage, role: Role, name: &str, client_id: &str, version: u8) -> Self {
        Self::connect(stage, role, name, client_id, &Hello::new(version)).await.0
    }

    pub async fn send(&mut self, header: u8, body: &[u8]) {
        self.tls.write_all(&packet(header, body)).await.unwrap();
    }

    /// The next packet; `None` at the end.
    pub async fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut header = [0; 1];
        in_time(self.tls.read_exact(&mut header)).await.ok()?;
        let mut length = 0;
        for shift in [0, 7, 14, 21] {
            let byte = in_time(self.tls.read_u8()).await.ok()?;
            length |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        in_time(self.tls.read_exact(&mut body)).await.ok()?;
        Some((header[0], body))
    }

    /// Subscribes with these options and returns the code.
    pub async fn subscribe(&mut self, filter: &str, options: u8) -> u8 {
        self.next_id += 1;
        let mut body = self.next_id.to_be_bytes().to_vec();
        if self.version == 5 {
            body.push(0);
        }
        put_text(&mut body, filter);
        body.push(options);
        self.send(0x82, &body).await;
        let (header, body) = self.next().await.expect("a SUBACK");
        assert_eq!(header, 0x90, "{filter}: {body:?}");
        *body.last().unwrap()
    }

    pub async fn unsubscribe(&mut self, filter: &str) {
        self.next_id += 1;
        let mut body = self.next_id.to_be_bytes().to_vec();
        if self.version == 5 {
            body.push(0);
        }
        put_text(&mut body, filter);
        self.send(0xa2, &body).await;
        assert_eq!(self.next().await.expect("an UNSUBACK").0, 0xb0);
    }

    /// Publishes with QoS 1 and waits for nothing.
    pub async fn say(&mut self, topic: &str, payload: &str, retain: bool, properties: &[u8]) {
        self.next_id += 1;
        let mut body = Vec::new();
        put_text(&mut body, topic);
        body.extend_from_slice(&self.next_id.to_be_bytes());
        if self.version == 5 {
            body.push(properties.len() as u8);
            body.extend_from_slice(properties);
        }
        body.extend_from_slice(payload.as_bytes());
        self.send(0x32 | u8::from(retain), &body).await;
    }

    /// Publishes with QoS 0.
    pub async fn toss(&mut self, topic: &str, payload: &str) {
        let mut body = Vec::new();
        put_text(&mut body, topic);
        if self.version == 5 {
            body.push(0);
        }
        body.extend_from_slice(payload.as_bytes());
        self.send(0x30, &body).await;
    }

    /// Publishes with QoS 1 and returns the code of the PUBACK.
    pub async fn publish(&mut self, topic: &str, payload: &str, retain: bool, properties: &[u8]) -> u8 {
        self.say(topic, payload, retain, properties).await;
        let (header, body) = self.next().await.expect("a PUBACK");
        assert_eq!(header, 0x40, "{body:?}");
        body.get(2).copied().unwrap_or(0)
    }

    /// The next packet, a message, which is not acknowledged.
    pub async fn receive(&mut self) -> Got {
        let (header, body) = self.next().await.expect("a message");
        self.read_message(header, body)
    }

    /// Reads a packet that is a message.
    pub fn read_message(&self, header: u8, body: Vec<u8>) -> Got {
        assert_eq!(header >> 4, 3, "{header:#x} {body:?}");
        let (flags, shared) = (header & 15, body.into());
        let (topic, payload, id, properties) = match self.version {
            5 => {
                let (got, _) = v5_0::Publish::parse(flags, shared).unwrap();
                (got.topic_name().to_owned(), got.payload().as_slice().to_vec(), got.packet_id(), got.props().to_vec())
            }
            _ => {
                let (got, _) = v3_1_1::Publish::parse(flags, shared).unwrap();
                (got.topic_name().to_owned(), got.payload().as_slice().to_vec(), got.packet_id(), Vec::new())
            }
        };
        let payload = String::from_utf8(payload).unwrap();
        let (qos, again, retain) = (flags >> 1 & 3, flags & 8 != 0, flags & 1 != 0);
        Got { topic, payload, qos, again, retain, id: id.unwrap_or(0), properties }
    }

    /// The next message, or `None` when a PUBACK comes first.
    pub async fn receive_or_ack(&mut self) -> Option<Got> {
        let (header, body) = self.next().await.expect("a packet");
        if header == 0x40 { None } else { Some(self.read_message(header, body)) }
    }

    /// Publishes what the client itself gets, and returns that.
    pub async fn publish_and_hear(&mut self, topic: &str, payload: &str) -> String {
        self.say(topic, payload, false, &[]).await;
        let (mut acknowledged, mut heard) = (false, None);
        while !acknowledged || heard.is_none() {
            match self.receive_or_ack().await {
                Some(got) => heard = Some(got),
                None => acknowledged = true,
            }
        }
        let got = heard.expect("it was heard");
        self.acknowledge(got.id).await;
        got.payload
    }

    pub async fn acknowledge(&mut self, id: u16) {
        self.send(0x40, &id.to_be_bytes()).await;
    }

    /// The payload of the next message, which is acknowledged.
    pub async fn payload(&mut self) -> String {
        let got = self.receive().await;
        if got.qos == 1 {
            self.acknowledge(got.id).await;
        }
        got.payload
    }

    /// Shows that nothing was sent before the answer to a ping.
    pub async fn silent(&mut self) {
        self.send(0xc0, &[]).await;
        assert_eq!(self.next().await, Some((0xd0, Vec::new())));
    }

    /// Says goodbye and waits for the end.
    pub async fn leave(mut self) {
        self.send(0xe0, &[]).await;
        assert_eq!(self.next().await, None);
    }

    /// Breaks the connection without a word.
    pub fn vanish(self) {
        drop(self);
    }
}

impl Got {
    pub fn text(&self, wanted: fn(&Property) -> Option<String>) -> Option<String> {
        self.properties.iter().find_map(wanted)
    }
}

pub fn put_text(body: &mut Vec<u8>, text: &str) {
    body.extend_from_slice(&(text.len() as u16).to_be_bytes());
    body.extend_from_slice(text.as_bytes());
}

fn packet(header: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![header];
    let mut length = body.len();
    loop {
        let byte = (length & 0x7f) as u8;
        length >>= 7;
        packet.push(if length > 0 { byte | 0x80 } else { byte });
        if length == 0 {
            break;
        }
    }
    packet.extend_from_slice(body);
    packet
}
