//! The rules of CONNECT, and the CONNACK that answers it.
//!
//! * User name and password are ignored: the certificate says who connects (AWS SDKs put metrics into the user name).
//! * A session waits for its client as long as the client and the settings say, see `session/kept.rs`; an MQTT 5 client
//!   that asked for more is told what it got.
//! * A will is checked like a publish: who may not say it now may not say it later.

use super::end::End;
use super::frame::Frame;
use super::packet::{Said, Version};
use super::properties::{Place, after_properties, after_text, blame};
use super::will::Will;
use crate::settings::MqttSettings;
use bytes::Bytes;
use mqtt_protocol_core::mqtt::packet::{
    AssignedClientIdentifier, MaximumPacketSize, MaximumQos, Property, Qos as MqttQos, ReceiveMaximum, RetainAvailable,
    ServerKeepAlive, SessionExpiryInterval, SharedSubscriptionAvailable, SubscriptionIdentifierAvailable,
    TopicAliasMaximum, WildcardSubscriptionAvailable, v3_1_1, v5_0,
};
use mqtt_protocol_core::mqtt::result_code::{ConnectReasonCode, ConnectReturnCode, MqttError};
use muster_bus::Qos;
use muster_wire::limits::{PACKET_BYTES_MAX, TOPIC_ALIASES_MAX};
use std::borrow::Cow;
use std::time::Duration;

/// The flags of CONNECT that say what follows.
const WILL: u8 = 0x04;
const PASSWORD: u8 = 0x40;
const USER_NAME: u8 = 0x80;

/// A CONNECT that broke no rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Connect {
    pub(crate) version: Version,
    /// `None` when the server chooses it.
    pub(crate) client_id: Option<Box<str>>,
    /// Within the bounds of the settings.
    pub(crate) keep_alive: Duration,
    /// QoS 1 messages that the client takes without acknowledging.
    pub(crate) receive_max: u16,
    /// Those that are taken from it so.
    pub(crate) send_max: u16,
    /// Largest packet that the client takes.
    pub(crate) packet_max: usize,
    /// It does not want its former session.
    pub(crate) clean: bool,
    /// How long its session waits for it; zero when it ends with the connection.
    pub(crate) life: Duration,
    /// It asked for more.
    pub(crate) life_reduced: bool,
    /// Topic aliases that the client takes.
    pub(crate) aliases_max: u16,
    pub(crate) will: Option<Box<Will>>,
}

/// A CONNECT that is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// Whom to answer, if it is known what is spoken.
    pub(crate) version: Option<Version>,
    pub(crate) why: Why,
}

/// Why a CONNECT is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// Not a CONNECT, or not readable as one.
    Malformed,
    /// A property has a value that cannot be, such as room for no message at all, stands there twice, or lacks its other
    /// half.
    Protocol,
    /// A version of MQTT that is not spoken here.
    Version,
    ClientId,
    /// The client's certificate is missing, of another fleet, out of its time, or refused by the gate.
    NotAuthorized,
    /// Too many connections of one identity.
    Quota,
    /// The server stops.
    Stopping,
    WillQos,
    WillRetain,
    WillTopic,
    WillDenied,
    Authentication,
    TooLarge,
}

impl Why {
    fn codes(self) -> (ConnectReasonCode, Option<ConnectReturnCode>) {
        use ConnectReasonCode as New;
        use ConnectReturnCode as Old;
        match self {
            Self::Malformed => (New::MalformedPacket, None),
            Self::Protocol => (New::ProtocolError, None),
            Self::Version => (New::UnsupportedProtocolVersion, Some(Old::UnacceptableProtocolVersion)),
            Self::ClientId => (New::ClientIdentifierNotValid, Some(Old::IdentifierRejected)),
            Self::NotAuthorized => (New::NotAuthorized, Some(Old::NotAuthorized)),
            Self::Quota => (New::QuotaExceeded, Some(Old::ServerUnavailable)),
            Self::Stopping => (New::ServerUnavailable, Some(Old::ServerUnavailable)),
            Self::WillQos => (New::QosNotSupported, None),
            Self::WillRetain => (New::RetainNotSupported, None),
            Self::WillTopic => (New::TopicNameInvalid, None),
            Self::WillDenied => (New::NotAuthorized, Some(Old::NotAuthorized)),
            Self::Authentication => (New::BadAuthenticationMethod, None),
            Self::TooLarge => (New::PacketTooLarge, None),
        }
    }
}

impl Refused {
    pub(crate) fn new(version: Version, why: Why) -> Self {
        Self { version: Some(version), why }
    }

    /// The CONNACK; `None` when the connection is closed without a word.
    pub(crate) fn connack(self) -> Option<Vec<u8>> {
        let (new, old) = self.why.codes();
        match self.version? {
            Version::V5 => {
                let packet = v5_0::Connack::builder().session_present(false).reason_code(new).build().ok()?;
                Some(packet.to_continuous_buffer())
            }
            Version::V3 => {
                let packet = v3_1_1::Connack::builder().session_present(false).return_code(old?).build().ok()?;
                Some(packet.to_continuous_buffer())
            }
        }
    }
}

/// The version in the begin of a CONNECT that is not read to its end; `None` before it has come. `Some(None)` when nothing
/// would be understood.
pub(crate) fn peek(begin: &[u8]) -> Option<Option<Version>> {
    let length = begin.iter().skip(1).position(|byte| byte & 0x80 == 0)?;
    let (name, version) = begin.get(length + 2..length + 9)?.split_at(6);
    Some(match (name, version) {
        (b"\0\x04MQTT", [4]) => Some(Version::V3),
        (b"\0\x04MQTT", [5]) => Some(Version::V5),
        _ => None,
    })
}

/// Reads the first packet of a connection.
pub(crate) fn read(frame: Frame<'_>, settings: &MqttSettings) -> Result<Connect, Refused> {
    let silent = Refused { version: None, why: Why::Malformed };
    if frame.header != 0x10 || frame.body.len() < 8 {
        return Err(silent);
    }
    // "MQTT" with its length, then the version; 3.1 calls itself "MQIsdp".
    let version = match (&frame.body[..6], frame.body[6]) {
        (b"\0\x04MQTT", 4) => Version::V3,
        (b"\0\x04MQTT", 5) => Version::V5,
        (b"\0\x04MQTT", 6..) => return Err(Refused::new(Version::V5, Why::Version)),
        (b"\0\x04MQTT", _) | (b"\0\x06MQIs", _) => return Err(Refused::new(Version::V3, Why::Version)),
        _ => return Err(silent),
    };
    check_flags(version, frame.body[7])?;
    let refused = |error| Refused::new(version, unreadable(frame.body, error));
    match version {
        Version::V3 => {
            let (packet, read) = v3_1_1::Connect::parse(frame.body).map_err(refused)?;
            let client_id = client_id(version, packet.client_id(), packet.clean_session(), settings)?;
            whole(version, read, frame.body)?;
            let will = will_topic(version, packet.will_topic())?.map(|topic| {
                will(topic, packet.will_payload(), packet.will_qos(), packet.will_retain(), Said::default())
            });
            Ok(Connect {
                version,
                client_id,
                keep_alive: keep_alive(packet.keep_alive(), settings),
                receive_max: settings.unacknowledged_out_max,
                send_max: settings.unacknowledged_in_max,
                packet_max: usize::MAX,
                clean: packet.clean_session(),
                life: if packet.clean_session() { Duration::ZERO } else { settings.session_expiry_v3 },
                life_reduced: false,
                aliases_max: 0,
                will,
            })
        }
        Version::V5 => {
            let body = with_user_name(frame.body);
            let (packet, read) = v5_0::Connect::parse(&body).map_err(refused)?;
            let client_id = client_id(version, packet.client_id(), true, settings)?;
            whole(version, read, &body)?;
            let malformed = |_: End| Refused::new(version, Why::Malformed);
            let will = match will_topic(version, packet.will_topic())? {
                Some(topic) => {
                    let said = Said::new(packet.will_props()).map_err(malformed)?;
                    Some(will(topic, packet.will_payload(), packet.will_qos(), packet.will_retain(), said))
                }
                None => None,
            };
            let mut connect = Connect {
                version,
                client_id,
                keep_alive: keep_alive(packet.keep_alive(), settings),
                receive_max: settings.unacknowledged_out_max,
                send_max: settings.unacknowledged_in_max,
                packet_max: usize::MAX,
                clean: packet.clean_start(),
                life: Duration::ZERO,
                life_reduced: false,
                aliases_max: 0,
                will,
            };
            for prop in packet.props() {
                match prop {
                    Property::ReceiveMaximum(max) => {
                        connect.receive_max = max.val().min(settings.unacknowledged_out_max);
                    }
                    Property::MaximumPacketSize(max) => {
                        connect.packet_max = usize::try_from(max.val()).unwrap_or(usize::MAX);
                    }
                    Property::SessionExpiryInterval(seconds) => {
                        let wish = Duration::from_secs(seconds.val().into());
                        connect.life = wish.min(settings.session_expiry_max);
                        connect.life_reduced = connect.life < wish;
                    }
                    Property::TopicAliasMaximum(max) => connect.aliases_max = max.val().min(TOPIC_ALIASES_MAX),
                    Property::AuthenticationMethod(_) => return Err(Refused::new(version, Why::Authentication)),
                    Property::AuthenticationData(_) if !names_method(packet.props()) => {
                        return Err(Refused::new(version, Why::Protocol));
                    }
                    _ => {}
                }
            }
            Ok(connect)
        }
    }
}

/// Why the parser refused it. To MQTT 3.1.1 nothing is said of either.
fn unreadable(body: &[u8], error: MqttError) -> Why {
    // After the name of the protocol, its version, the flags and the keep-alive.
    let properties = body.get(10..);
    // After the client id.
    let of_will = properties.and_then(after_properties).and_then(after_text);
    match blame(blame(error, Place::Connect, properties), Place::Will, of_will.filter(|_| body[7] & WILL != 0)) {
        MqttError::ClientIdentifierNotValid => Why::ClientId,
        MqttError::ProtocolError => Why::Protocol,
        _ => Why::Malformed,
    }
}

/// MQTT 5 allows a password without a user name; the parser does not. Neither counts here, so it gets an empty one. What
/// is not readable is left as it is: the parser says what is wrong with it.
fn with_user_name(body: &[u8]) -> Cow<'_, [u8]> {
    if body[7] & (USER_NAME | PASSWORD) != PASSWORD {
        return body.into();
    }
    let after_will = |rest| after_text(after_text(after_properties(rest)?)?);
    let after_id = body.get(10..).and_then(after_properties).and_then(after_text);
    let password = after_id.and_then(|rest| if body[7] & WILL == 0 { Some(rest) } else { after_will(rest) });
    let Some(password) = password else { return body.into() };
    let mut named = [&body[..body.len() - password.len()], b"\0\0", password].concat();
    named[7] |= USER_NAME;
    named.into()
}

fn names_method(properties: &[Property]) -> bool {
    properties.iter().any(|property| matches!(property, Property::AuthenticationMethod(_)))
}

/// The parser lets the character pass that no text of MQTT may have.
fn will_topic(version: Version, topic: Option<&str>) -> Result<Option<&str>, Refused> {
    match topic {
        Some(topic) if topic.contains('\0') => Err(Refused::new(version, Why::Malformed)),
        topic => Ok(topic),
    }
}

fn will(topic: &str, payload: Option<&[u8]>, qos: MqttQos, retain: bool, said: Said) -> Box<Will> {
    Box::new(Will {
        topic: topic.into(),
        payload: Bytes::copy_from_slice(payload.unwrap_or_default()),
        qos: if qos == MqttQos::AtMostOnce { Qos::AtMostOnce } else { Qos::AtLeastOnce },
        retain,
        expiry: said.life(),
        correlation: said.correlation,
        properties: said.properties,
        delay: Duration::from_secs(said.delay.into()),
    })
}

/// Reserved bit, and the will's bits without a will, which the parser lets pass.
fn check_flags(version: Version, flags: u8) -> Result<(), Refused> {
    let (will, will_qos, will_retain) = (flags & WILL != 0, flags >> 3 & 3, flags & 0x20 != 0);
    if flags & 1 != 0 || will_qos == 3 || (!will && (will_qos != 0 || will_retain)) {
        return Err(Refused::new(version, Why::Malformed));
    }
    if will_qos == 2 { Err(Refused::new(version, Why::WillQos)) } else { Ok(()) }
}

fn client_id(version: Version, id: &str, clean: bool, settings: &MqttSettings) -> Result<Option<Box<str>>, Refused> {
    if id.is_empty() && clean {
        return Ok(None);
    }
    // Wildcards would widen a filter that is made of the client id; control characters have no place in logs.
    let sound = (1..=settings.client_id_bytes_max).contains(&id.len())
        && !id.starts_with('$')
        && !id.chars().any(|c| matches!(c, '+' | '#') || c.is_control());
    if sound { Ok(Some(id.into())) } else { Err(Refused::new(version, Why::ClientId)) }
}

fn keep_alive(seconds: u16, settings: &MqttSettings) -> Duration {
    match seconds {
        0 => settings.keep_alive_max,
        seconds => Duration::from_secs(seconds.into()).clamp(settings.keep_alive_min, settings.keep_alive_max),
    }
}

fn whole(version: Version, read: usize, body: &[u8]) -> Result<(), Refused> {
    if read == body.len() { Ok(()) } else { Err(Refused::new(version, Why::Malformed)) }
}

/// The CONNACK that lets a client in.
pub(crate) fn connack(connect: &Connect, client_id: &str, resumed: bool) -> Vec<u8> {
    if connect.version == Version::V3 {
        let packet =
            v3_1_1::Connack::builder().session_present(resumed).return_code(ConnectReturnCode::Accepted).build();
        return packet.map(|packet| packet.to_continuous_buffer()).expect("both fields are set");
    }
    let properties = announcements(connect, client_id).expect("every announced value is inside its range");
    let packet = v5_0::Connack::builder()
        .session_present(resumed)
        .reason_code(ConnectReasonCode::Success)
        .props(properties)
        .build()
        .expect("these properties are legal in CONNACK");
    packet.to_continuous_buffer()
}

fn announcements(connect: &Connect, client_id: &str) -> Result<Vec<Property>, MqttError> {
    let keep_alive = u16::try_from(connect.keep_alive.as_secs()).unwrap_or(u16::MAX);
    let packet_max = u32::try_from(PACKET_BYTES_MAX).unwrap_or(u32::MAX);
    let mut properties: Vec<Property> = vec![
        ReceiveMaximum::new(connect.send_max)?.into(),
        MaximumQos::new(1)?.into(),
        RetainAvailable::new(1)?.into(),
        MaximumPacketSize::new(packet_max)?.into(),
        TopicAliasMaximum::new(TOPIC_ALIASES_MAX)?.into(),
        WildcardSubscriptionAvailable::new(1)?.into(),
        SubscriptionIdentifierAvailable::new(0)?.into(),
        SharedSubscriptionAvailable::new(1)?.into(),
        ServerKeepAlive::new(keep_alive)?.into(),
    ];
    if connect.life_reduced {
        let seconds = u32::try_from(connect.life.as_secs()).unwrap_or(u32::MAX);
        properties.push(SessionExpiryInterval::new(seconds)?.into());
    }
    if connect.client_id.is_none() {
        properties.push(AssignedClientIdentifier::new(client_id)?.into());
    }
    Ok(properties)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn packet(version: u8, flags: u8, keep_alive: u16, properties: &[u8], client_id: &[u8]) -> Vec<u8> {
        let mut body = b"\0\x04MQTT".to_vec();
        body.extend_from_slice(&[version, flags]);
        body.extend_from_slice(&keep_alive.to_be_bytes());
        if version == 5 {
            body.push(properties.len() as u8);
            body.extend_from_slice(properties);
        }
        body.extend_from_slice(&(client_id.len() as u16).to_be_bytes());
        body.extend_from_slice(client_id);
        body
    }

    fn reads(body: &[u8]) -> Result<Connect, Why> {
        read(Frame { header: 0x10, body }, &MqttSettings::default()).map_err(|refused| refused.why)
    }

    #[test]
    fn client_ids_follow_the_rules() {
        let id = |id: &str| reads(&packet(4, 2, 60, &[], id.as_bytes())).map(|connect| connect.client_id);
        assert_eq!(id("c1"), Ok(Some("c1".into())));
        assert_eq!(id(&"x".repeat(128)), Ok(Some("x".repeat(128).into())));
        for bad in ["$c", "a+", "a#b", "a\0", "\u{1b}[31m", &"x".repeat(129)] {
            assert_eq!(id(bad), Err(Why::ClientId), "{bad:?}");
        }
        assert_eq!(id(""), Ok(None), "a clean session gets one");
        assert_eq!(reads(&packet(4, 0, 60, &[], b"")), Err(Why::ClientId), "a kept session needs its own");
        assert_eq!(reads(&packet(5, 0, 60, &[], b"")).unwrap().client_id, None);
        assert_eq!(reads(&packet(4, 2, 60, &[], b"\xff")), Err(Why::ClientId));
    }

    #[test]
    fn a_password_needs_a_user_name_with_3_1_1_alone() {
        let with =
            |version, flags, rest: &[u8]| reads(&[&packet(version, flags, 60, &[], b"c"), rest].concat()).map(|_| ());
        assert_eq!(with(4, 0x42, b"\0\x01p"), Err(Why::Protocol));
        assert_eq!(with(4, 0xc2, b"\0\x01u\0\x01p"), Ok(()));
        assert_eq!(with(5, 0x42, b"\0\x01p"), Ok(()));
        assert_eq!(with(5, 0x46, b"\0\0\x01t\0\x01w\0\x01p"), Ok(()), "after a will");
        assert_eq!(with(5, 0xc2, b"\0\x01u\0\x01p"), Ok(()));
        assert_eq!(with(5, 0x42, b"\0\x01p\0"), Err(Why::Malformed), "a byte too many");
        assert_eq!(with(5, 0x42, b"\0\x02p"), Err(Why::Malformed), "a byte too few");
        assert_eq!(with(5, 0x42, b""), Err(Why::Malformed));
        assert_eq!(with(5, 0x46, b"\0\0\x09t"), Err(Why::Malformed), "half a will");
    }

    #[test]
    fn no_will_is_said_on_a_topic_with_null() {
        let will = |version, will: &[u8]| reads(&[&packet(version, 6, 60, &[], b"c"), will].concat()).map(|_| ());
        assert_eq!((will(4, b"\0\x01t\0\x01w"), will(5, b"\0\0\x01t\0\x01w")), (Ok(()), Ok(())));
        let refused = Err(Why::Malformed);
        assert_eq!((will(4, b"\0\x01\0\0\x01w"), will(5, b"\0\0\x01\0\0\x01w")), (refused, refused));
    }

    #[test]
    fn keep_alive_is_clamped() {
        for (wish, granted) in [(0, 1200), (1, 30), (30, 30), (60, 60), (1200, 1200), (1201, 1200), (65535, 1200)] {
            let connect = reads(&packet(4, 2, wish, &[], b"c")).unwrap();
            assert_eq!(connect.keep_alive, Duration::from_secs(granted), "{wish}");
        }
    }

    #[test]
    fn limits_of_the_client_are_read() {
        let connect = reads(&packet(5, 2, 60, &[0x21, 0, 7, 0x27, 0, 0, 4, 0, 0x11, 0, 0, 0, 9], b"c")).unwrap();
        assert_eq!((connect.receive_max, connect.packet_max, connect.life), (7, 1024, Duration::from_secs(9)));
        let connect = reads(&packet(5, 2, 60, &[0x21, 255, 255], b"c")).unwrap();
        assert_eq!((connect.receive_max, connect.packet_max, connect.life), (100, usize::MAX, Duration::ZERO));
    }

    #[test]
    fn what_breaks_the_protocol_is_refused() {
        assert_eq!(reads(&packet(4, 3, 60, &[], b"c")), Err(Why::Malformed), "reserved bit");
        assert_eq!(reads(&packet(4, 0x0a, 60, &[], b"c")), Err(Why::Malformed), "will QoS without a will");
        assert_eq!(reads(&packet(5, 0x14, 60, &[], b"c")), Err(Why::WillQos));
        assert_eq!(reads(&packet(5, 2, 60, &[0x15, 0, 1, b'x'], b"c")), Err(Why::Authentication));
        assert_eq!(reads(&packet(3, 2, 60, &[], b"c")), Err(Why::Version));
        assert_eq!(reads(&packet(6, 2, 60, &[], b"c")), Err(Why::Version));
        assert_eq!(reads(b"\0\x06MQIsdp\x03\x02\0\x3c\0\x01c"), Err(Why::Version));
        assert_eq!(reads(b"GET / HTTP/1.1"), Err(Why::Malformed));
        let mut long = packet(4, 2, 60, &[], b"c");
        long.push(0);
        assert_eq!(reads(&long), Err(Why::Malformed), "bytes after the end");
    }

    #[test]
    fn properties_that_cannot_be_break_the_protocol_and_foreign_ones_make_a_malformed_packet() {
        let properties = |properties: &[u8]| reads(&packet(5, 2, 60, properties, b"c")).err();
        for (bytes, why, what) in [
            (&[0x21, 0, 7, 0x21, 0, 7][..], Why::Protocol, "Receive Maximum twice"),
            (&[0x11, 0, 0, 0, 9, 0x11, 0, 0, 0, 9], Why::Protocol, "Session Expiry Interval twice"),
            (&[0x15, 0, 1, b'x', 0x15, 0, 1, b'x'], Why::Protocol, "Authentication Method twice"),
            (&[0x21, 0, 0], Why::Protocol, "Receive Maximum 0: no room for a message"),
            (&[0x27, 0, 0, 0, 0], Why::Protocol, "Maximum Packet Size 0"),
            (&[0x17, 2], Why::Protocol, "Request Problem Information 2"),
            (&[0x16, 0, 1, b'x'], Why::Protocol, "Authentication Data without a method"),
            (&[0x16, 0, 1, b'x', 0x15, 0, 1, b'x'], Why::Authentication, "a method that is not known here"),
            (&[0x23, 0, 1], Why::Malformed, "Topic Alias, of PUBLISH"),
            (&[0x18, 0, 0, 0, 9], Why::Malformed, "Will Delay Interval, of a will"),
            (&[0x21, 0, 7, 0x21, 0, 7, 0x24, 1], Why::Malformed, "Maximum QoS, of CONNACK"),
            (&[0x7f], Why::Malformed, "of no packet"),
            (&[0x21, 0], Why::Malformed, "half of one"),
        ] {
            assert_eq!(properties(bytes), Some(why), "{what}");
        }
        assert_eq!(properties(&[0x26, 0, 1, b'k', 0, 1, b'v', 0x26, 0, 1, b'k', 0, 1, b'v']), None, "user properties");
        let will = |properties: &[u8]| {
            let mut body = packet(5, 0x06, 60, &[], b"c");
            body.push(properties.len() as u8);
            body.extend_from_slice(properties);
            body.extend_from_slice(b"\0\x05app/x\0\0");
            reads(&body).err()
        };
        assert_eq!(will(&[0x18, 0, 0, 0, 9, 0x01, 1]), None);
        assert_eq!(will(&[0x18, 0, 0, 0, 9, 0x18, 0, 0, 0, 9]), Some(Why::Protocol), "Will Delay Interval twice");
        assert_eq!(will(&[0x01, 2]), Some(Why::Protocol), "Payload Format Indicator 2");
        assert_eq!(will(&[0x23, 0, 1]), Some(Why::Malformed), "Topic Alias, of PUBLISH alone");
        assert_eq!(will(&[0x21, 0, 7]), Some(Why::Malformed), "Receive Maximum, of CONNECT");
    }

    #[test]
    fn connack_says_what_is_available() {
        let connect = reads(&packet(5, 2, 5, &[0x11, 255, 255, 255, 255], b"")).unwrap();
        let bytes = connack(&connect, "auto-1", true);
        let (packet, _) = v5_0::Connack::parse(&bytes[2..]).unwrap();
        assert!(packet.session_present());
        let has = |property: Property| packet.props().contains(&property);
        assert!(has(MaximumQos::new(1).unwrap().into()));
        assert!(has(RetainAvailable::new(1).unwrap().into()));
        assert!(has(ServerKeepAlive::new(30).unwrap().into()));
        assert!(has(SessionExpiryInterval::new(604_800).unwrap().into()), "the longest life that the settings allow");
        assert!(has(AssignedClientIdentifier::new("auto-1").unwrap().into()));
        let refused = Refused::new(Version::V3, Why::NotAuthorized).connack().unwrap();
        assert_eq!(refused, [0x20, 2, 0, 5]);
        let refused = Refused::new(Version::V5, Why::NotAuthorized).connack().unwrap();
        assert_eq!(refused, [0x20, 3, 0, 0x87, 0]);
    }
}
