//! Packets of a connected client, checked and reduced to what the bridge acts on.
//!
//! mqtt-protocol-core reads the packets; what it lets pass against the standard is refused here: header flags that are
//! not as they must be, packet id 0, bytes after the end, a duplicate mark without a guarantee.

use super::end::{End, Violation};
use super::frame::Frame;
use super::link::Granted;
use super::properties::{Place, after_text, all_belong, blame};
use bytes::Bytes;
use mqtt_protocol_core::mqtt::packet::{
    Properties as Properties5, PropertiesParse, Property, Qos as MqttQos, RetainHandling, SubEntry, v3_1_1, v5_0,
};
use mqtt_protocol_core::mqtt::result_code::{DisconnectReasonCode as Code, MqttError};
use muster_bus::{Properties, Qos};
use muster_wire::limits::{MESSAGE_EXPIRY_MAX, PAYLOAD_BYTES_MAX};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

/// The two versions of MQTT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V3,
    V5,
}

/// What a connected client sent.
#[derive(Debug)]
pub(crate) enum Incoming {
    Publish(Publish),
    /// A message that was sent with this packet id has arrived.
    Acknowledged(u16),
    Subscribe {
        packet_id: u16,
        wishes: Vec<Wish>,
    },
    Unsubscribe {
        packet_id: u16,
        filters: Vec<Box<str>>,
    },
    Ping,
    Goodbye {
        /// The will is published all the same.
        with_will: bool,
        /// The session shall wait so long, in seconds, and not as CONNECT said.
        session_expiry: Option<u32>,
    },
}

#[derive(Debug)]
pub(crate) struct Publish {
    /// Empty when `alias` names it.
    pub(crate) topic: Box<str>,
    pub(crate) payload: Bytes,
    /// `None` for QoS 0.
    pub(crate) packet_id: Option<u16>,
    pub(crate) retain: bool,
    pub(crate) said: Said,
}

/// The properties of a publish or a will.
#[derive(Debug, Default)]
pub(crate) struct Said {
    pub(crate) alias: Option<u16>,
    pub(crate) correlation: Option<Bytes>,
    /// The message's life in seconds.
    pub(crate) expiry: Option<u32>,
    /// The delay of a will in seconds.
    pub(crate) delay: u32,
    /// What is forwarded as it is; its time is not set yet.
    pub(crate) properties: Option<Box<Properties>>,
}

impl Said {
    /// Sorts the properties of a publish or a will.
    pub(crate) fn new(props: &[Property]) -> Result<Self, End> {
        let mut said = Self::default();
        if props.iter().any(has_null) {
            // Whoever gets it would have to end its own connection.
            return Err(violation(Code::MalformedPacket, "U+0000 in a text"));
        }
        for prop in props {
            match prop {
                Property::TopicAlias(alias) => said.alias = Some(alias.val()),
                Property::CorrelationData(data) => said.correlation = Some(Bytes::copy_from_slice(data.val())),
                Property::MessageExpiryInterval(seconds) => said.expiry = Some(seconds.val()),
                Property::WillDelayInterval(seconds) => said.delay = seconds.val(),
                Property::SubscriptionIdentifier(_) => return Err(violation(Code::ProtocolError, "subscription id")),
                Property::PayloadFormatIndicator(format) => {
                    said.forwarded().is_text = Some(format.val() == 1);
                }
                Property::ContentType(text) => said.forwarded().content_type = Some(text.val().into()),
                Property::ResponseTopic(topic) if topic.val().is_empty() || topic.val().contains(['+', '#']) => {
                    return Err(violation(Code::ProtocolError, "response topic that is none"));
                }
                Property::ResponseTopic(topic) => said.forwarded().response_topic = Some(topic.val().into()),
                Property::UserProperty(pair) => said.forwarded().user.push((pair.key().into(), pair.val().into())),
                _ => {}
            }
        }
        Ok(said)
    }

    fn forwarded(&mut self) -> &mut Properties {
        self.properties.get_or_insert_default()
    }

    /// How long the message lives: at least a second, at most [`MESSAGE_EXPIRY_MAX`], as AWS IoT Core has it.
    pub(crate) fn life(&self) -> Option<Duration> {
        let life = |seconds: u32| Duration::from_secs(seconds.into()).clamp(Duration::from_secs(1), MESSAGE_EXPIRY_MAX);
        self.expiry.map(life)
    }
}

/// Whether a text that is forwarded has the character that no text of MQTT may have.
fn has_null(prop: &Property) -> bool {
    match prop {
        Property::ContentType(text) => text.val().contains('\0'),
        Property::ResponseTopic(topic) => topic.val().contains('\0'),
        Property::UserProperty(pair) => pair.key().contains('\0') || pair.val().contains('\0'),
        _ => false,
    }
}

/// One subscription wish.
#[derive(Debug)]
pub(crate) struct Wish {
    pub(crate) filter: Box<str>,
    /// What is granted: QoS 2 becomes 1.
    pub(crate) granted: Granted,
    pub(crate) retained: Retained,
}

/// When stored states are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retained {
    Send,
    SendIfNew,
    DoNotSend,
}

/// Reads one packet of a client that is connected.
pub(crate) fn parse(version: Version, frame: Frame<'_>) -> Result<Incoming, End> {
    let Frame { header, body } = frame;
    let flags = header & 0x0f;
    let wanted = match header >> 4 {
        3 => flags,
        6 | 8 | 10 => 2,
        _ => 0,
    };
    if flags != wanted {
        return Err(violation(Code::MalformedPacket, "header flags"));
    }
    match header >> 4 {
        3 => publish(version, flags, body).map(Incoming::Publish),
        4 => acknowledged(version, body).map(Incoming::Acknowledged),
        8 => subscribe(version, body),
        10 => unsubscribe(version, body),
        12 if body.is_empty() => Ok(Incoming::Ping),
        14 => goodbye(version, body),
        1 => Err(violation(Code::ProtocolError, "second CONNECT")),
        5..=7 => Err(violation(Code::ProtocolError, "QoS 2 packet")),
        15 if version == Version::V5 => Err(violation(Code::ProtocolError, "AUTH without a method")),
        _ => Err(violation(Code::MalformedPacket, "packet type")),
    }
}

fn publish(version: Version, flags: u8, body: &[u8]) -> Result<Publish, End> {
    if flags & 0b0110 == 0b0100 {
        return Err(violation(Code::QosNotSupported, "QoS 2"));
    }
    if flags & 0b1110 == 0b1000 {
        return Err(violation(Code::MalformedPacket, "DUP with QoS 0"));
    }
    let shared = Arc::<[u8]>::from(body);
    let (topic, payload, qos, packet_id, said) = match version {
        Version::V3 => {
            let (packet, _) = v3_1_1::Publish::parse(flags, shared).map_err(broken)?;
            let packet_id = packet.packet_id();
            (packet.topic_name().into(), copy(packet.payload().as_slice())?, packet.qos(), packet_id, Said::default())
        }
        Version::V5 => {
            let unreadable = |error| broken(blame(error, Place::Publish, properties_of_publish(flags, body)));
            let (packet, _) = v5_0::Publish::parse(flags, shared).map_err(unreadable)?;
            let packet_id = packet.packet_id();
            let said = Said::new(packet.props())?;
            (packet.topic_name().into(), copy(packet.payload().as_slice())?, packet.qos(), packet_id, said)
        }
    };
    let packet_id = match (qos, packet_id) {
        (MqttQos::AtMostOnce, _) => None,
        (_, Some(id)) if id != 0 => Some(id),
        _ => return Err(violation(Code::ProtocolError, "packet id 0")),
    };
    let publish = Publish { topic, payload, packet_id, retain: flags & 1 == 1, said };
    without_null(&publish.topic).map(|()| publish)
}

/// After the topic, and the packet id that QoS 1 has.
fn properties_of_publish(flags: u8, body: &[u8]) -> Option<&[u8]> {
    after_text(body)?.get(if flags & 0b0110 == 0 { 0 } else { 2 }..)
}

fn copy(payload: &[u8]) -> Result<Bytes, End> {
    if payload.len() > PAYLOAD_BYTES_MAX {
        return Err(violation(Code::PacketTooLarge, "payload"));
    }
    Ok(Bytes::copy_from_slice(payload))
}

fn acknowledged(version: Version, body: &[u8]) -> Result<u16, End> {
    match version {
        Version::V3 => {
            let (packet, read) = v3_1_1::Puback::parse(body).map_err(broken)?;
            whole(read, body).map(|()| packet.packet_id())
        }
        Version::V5 => {
            // After the packet id and the reason.
            let unreadable = |error| broken(blame(error, Place::Acknowledgement, body.get(3..)));
            let (packet, read) = v5_0::Puback::parse(body).map_err(unreadable)?;
            whole(read, body).map(|()| packet.packet_id())
        }
    }
}

fn subscribe(version: Version, body: &[u8]) -> Result<Incoming, End> {
    let (body, properties) = filters_alone(version, body, Place::Subscribe)?;
    if properties.iter().any(|prop| matches!(prop, Property::SubscriptionIdentifier(_))) {
        return Err(violation(Code::SubscriptionIdentifiersNotSupported, "subscription id"));
    }
    // A filter without its option byte, or an option that no version knows, fails in the parser.
    let (packet, read) = v3_1_1::Subscribe::parse(&body).map_err(broken)?;
    whole(read, &body)?;
    if packet.entries().is_empty() {
        return Err(violation(Code::ProtocolError, "SUBSCRIBE without a filter"));
    }
    for entry in packet.entries() {
        without_null(entry.topic_filter())?;
        let options = entry.sub_opts();
        let has_more = options.nl() || options.rap() || options.rh() != RetainHandling::SendRetained;
        if version == Version::V3 && has_more {
            return Err(violation(Code::MalformedPacket, "options of MQTT 5"));
        }
    }
    let wishes = packet.entries().iter().map(wish).collect();
    Ok(Incoming::Subscribe { packet_id: some_id(packet.packet_id())?, wishes })
}

/// A SUBSCRIBE or UNSUBSCRIBE without its properties: what MQTT 3.1.1 has. The parser of MQTT 5 would end the connection
/// for the name of a group that cannot be, where every other bad filter is answered.
fn filters_alone(version: Version, body: &[u8], place: Place) -> Result<(Cow<'_, [u8]>, Properties5), End> {
    if version == Version::V3 {
        return Ok((body.into(), Properties5::new()));
    }
    let (id, rest) = body.split_at_checked(2).ok_or_else(|| violation(Code::MalformedPacket, "packet id"))?;
    let (properties, read) = Properties5::parse(rest).map_err(broken)?;
    if !all_belong(&properties, place) {
        return Err(violation(Code::MalformedPacket, "property"));
    }
    Ok(([id, &rest[read..]].concat().into(), properties))
}

fn wish(entry: &SubEntry) -> Wish {
    let options = entry.sub_opts();
    let qos = match options.qos() {
        MqttQos::AtMostOnce => Qos::AtMostOnce,
        MqttQos::AtLeastOnce | MqttQos::ExactlyOnce => Qos::AtLeastOnce,
    };
    let retained = match options.rh() {
        RetainHandling::SendRetained => Retained::Send,
        RetainHandling::SendRetainedIfNotExists => Retained::SendIfNew,
        RetainHandling::DoNotSendRetained => Retained::DoNotSend,
    };
    let granted = Granted { qos, no_local: options.nl(), retain_as_published: options.rap(), with_parent: false };
    Wish { filter: entry.topic_filter().into(), granted, retained }
}

fn unsubscribe(version: Version, body: &[u8]) -> Result<Incoming, End> {
    let (body, _) = filters_alone(version, body, Place::Unsubscribe)?;
    let (packet, read) = v3_1_1::Unsubscribe::parse(&body).map_err(broken)?;
    whole(read, &body)?;
    if packet.entries().is_empty() {
        return Err(violation(Code::ProtocolError, "UNSUBSCRIBE without a filter"));
    }
    for entry in packet.entries() {
        without_null(entry.as_str())?;
    }
    let filters = packet.entries().iter().map(|entry| entry.as_str().into()).collect();
    Ok(Incoming::Unsubscribe { packet_id: some_id(packet.packet_id())?, filters })
}

fn goodbye(version: Version, body: &[u8]) -> Result<Incoming, End> {
    if version == Version::V3 {
        return whole(0, body).map(|()| Incoming::Goodbye { with_will: false, session_expiry: None });
    }
    // After the reason.
    let unreadable = |error| broken(blame(error, Place::Disconnect, body.get(1..)));
    let (packet, read) = v5_0::Disconnect::parse(body).map_err(unreadable)?;
    whole(read, body)?;
    let session_expiry = packet.props().as_ref().and_then(|props| {
        props.iter().find_map(|prop| match prop {
            Property::SessionExpiryInterval(seconds) => Some(seconds.val()),
            _ => None,
        })
    });
    // An error that the client names is why it goes by itself, and no lost connection.
    let with_will = !matches!(packet.reason_code(), None | Some(Code::NormalDisconnection));
    Ok(Incoming::Goodbye { with_will, session_expiry })
}

/// The one character that no text of MQTT may have, and that the parser lets pass.
fn without_null(topic: &str) -> Result<(), End> {
    if topic.contains('\0') { Err(violation(Code::MalformedPacket, "U+0000 in a topic")) } else { Ok(()) }
}

fn some_id(packet_id: u16) -> Result<u16, End> {
    if packet_id == 0 { Err(violation(Code::ProtocolError, "packet id 0")) } else { Ok(packet_id) }
}

fn whole(read: usize, body: &[u8]) -> Result<(), End> {
    if read == body.len() { Ok(()) } else { Err(violation(Code::MalformedPacket, "bytes after the packet")) }
}

fn broken(error: MqttError) -> End {
    violation(Code::from(error), "unreadable packet")
}

fn violation(code: Code, what: &'static str) -> End {
    End::Violation(Violation { code: code as u8, what })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[track_caller]
    fn refused(version: Version, header: u8, body: &[u8], code: u8) {
        match parse(version, Frame { header, body }) {
            Err(End::Violation(violation)) => assert_eq!(violation.code, code, "{violation:?}"),
            other => panic!("{header:#x} {body:?} gave {other:?}"),
        }
    }

    #[test]
    fn packets_against_the_standard_are_refused_with_the_right_code() {
        use Version::{V3, V5};
        refused(V5, 0x34, b"\0\x01t\0\x01\0", 0x9b); // QoS 2
        refused(V5, 0x36, b"\0\x01t\0\x01\0", 0x81); // QoS 3
        refused(V5, 0x38, b"\0\x01t\0", 0x81); // DUP, QoS 0
        refused(V5, 0x32, b"\0\x01t\0\0\0", 0x82); // packet id 0
        refused(V5, 0x30, b"\0\x01t\x04\x08\0\x01+", 0x82); // wildcard in a response topic
        refused(V5, 0x30, b"\0\x01t\x03\x08\0\0", 0x82); // a response topic without a character
        refused(V5, 0x30, b"\0\x01t\x04\x08\0\x01\0", 0x81); // U+0000 in a response topic
        refused(V5, 0x30, b"\0\x03t\0t\0", 0x81); // U+0000 in a topic
        refused(V3, 0x32, b"\0\x01\0\0\x01", 0x81); // U+0000 as a topic
        refused(V5, 0x82, b"\0\x01\0\0\x03t\0t\0", 0x81); // U+0000 in a filter
        refused(V3, 0x82, b"\0\x01\0\x01t\0\0\x03t\0t\0", 0x81); // U+0000 in the second filter
        refused(V5, 0xa2, b"\0\x01\0\0\x03t\0t", 0x81); // U+0000 in a filter
        refused(V5, 0x30, b"\0\x01t\x04\x03\0\x01\0", 0x81); // U+0000 in a content type
        refused(V5, 0x30, b"\0\x01t\x07\x26\0\x01k\0\x01\0", 0x81); // U+0000 in a user property
        refused(V5, 0x30, b"\0\x01t\x02\x0b\x01", 0x82); // subscription id
        refused(V5, 0x82, b"\0\x01\x02\x0b\x01\0\x01t\0", 0xa1); // subscription id
        refused(V5, 0x82, b"\0\x01\x02\x01\x01\0\x01t\0", 0x81); // a property of PUBLISH
        refused(V5, 0xa2, b"\0\x01\x02\x0b\x01\0\x01t", 0x81); // subscription id
        refused(V5, 0x30, b"\0\x01t\x03\x21\0\x07", 0x81); // Receive Maximum, of CONNECT
        refused(V5, 0x32, b"\0\x01t\0\x01\x05\x18\0\0\0\x09", 0x81); // Will Delay Interval, of a will
        refused(V5, 0x32, b"\0\x01t\0\x01\x04\x01\x01\x01\x01", 0x82); // Payload Format Indicator twice
        refused(V5, 0x30, b"\0\x01t\x02\x01\x02", 0x82); // Payload Format Indicator 2
        refused(V5, 0x40, b"\0\x01\0\x02\x01\x01", 0x81); // PUBACK with a property of PUBLISH
        refused(V5, 0x40, b"\0\x01\0\x08\x1f\0\x01x\x1f\0\x01x", 0x82); // Reason String twice
        refused(V5, 0xe0, b"\0\x02\x01\x01", 0x81); // DISCONNECT with a property of PUBLISH
        refused(V5, 0xe0, b"\0\x0a\x11\0\0\0\x01\x11\0\0\0\x01", 0x82); // Session Expiry Interval twice
        refused(V5, 0x82, b"\0\x01\x09\0\x01t\0", 0x81); // properties longer than the packet
        refused(V3, 0x80, b"\0\x01\0\x01t\0", 0x81); // flags of SUBSCRIBE
        refused(V3, 0x82, b"\0\x01", 0x82); // no filter
        refused(V5, 0xa2, b"\0\x01\0", 0x82); // no filter
        refused(V3, 0x82, b"\0\0\0\x01t\0", 0x82); // packet id 0
        refused(V3, 0x82, b"\0\x01\0\x09t\0", 0x81); // filter longer than the packet
        refused(V3, 0x82, b"\0\x01\0\x01\xff\0", 0x81); // not UTF-8
        for options in [0x05, 0x09, 0x0d, 0x11, 0x21, 0x31, 0x41, 0x81, 0x03] {
            refused(V3, 0x82, &[0, 1, 0, 1, b't', options], 0x81); // all but the QoS is reserved
        }
        for options in [0x31, 0x41, 0x81, 0x03] {
            refused(V5, 0x82, &[0, 1, 0, 0, 1, b't', options], 0x81); // Retain Handling 3, and what is reserved
        }
        refused(V5, 0x50, b"\0\x01", 0x82); // PUBREC, of QoS 2
        refused(V5, 0x62, b"\0\x01", 0x82); // PUBREL, of QoS 2
        refused(V3, 0x10, b"", 0x82); // CONNECT again
        refused(V3, 0x20, b"\0\0", 0x81); // a server's packet
        refused(V3, 0xf0, b"", 0x81); // AUTH
        refused(V3, 0xc0, b"x", 0x81); // PINGREQ with a body
        refused(V3, 0x40, b"\0\x01x", 0x81); // bytes after PUBACK
    }

    #[test]
    fn a_payload_over_the_limit_is_refused() {
        let mut body = b"\0\x01t".to_vec();
        body.resize(body.len() + PAYLOAD_BYTES_MAX, b'x');
        assert!(parse(Version::V3, Frame { header: 0x30, body: &body }).is_ok());
        body.push(b'x');
        refused(Version::V3, 0x30, &body, 0x95);
    }

    #[test]
    fn publish_is_read_with_its_reply_address() {
        let body = b"\0\x01t\0\x07\x09\x08\0\x01r\x09\0\x02\x01\x02payload";
        let Ok(Incoming::Publish(publish)) = parse(Version::V5, Frame { header: 0x32, body }) else {
            panic!("not a publish")
        };
        assert_eq!((&*publish.topic, &publish.payload[..], publish.packet_id), ("t", &b"payload"[..], Some(7)));
        let response_topic = publish.said.properties.and_then(|said| said.response_topic);
        assert_eq!((response_topic.as_deref(), publish.said.correlation.as_deref()), (Some("r"), Some(&[1, 2][..])));
    }

    #[test]
    fn arbitrary_bytes_never_panic() {
        let mut seed = 7_u64;
        for _ in 0..200_000 {
            let mut bytes = [0_u8; 24];
            for byte in &mut bytes {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                *byte = (seed >> 60 | (seed >> 33) & 0x80) as u8;
            }
            let length = usize::from(bytes[23]) % 23;
            for kind in 0..16_u8 {
                let frame = Frame { header: kind << 4 | bytes[22] & 0x0f, body: &bytes[..length] };
                let _ = parse(Version::V3, frame);
                let _ = parse(Version::V5, frame);
            }
        }
    }
}
