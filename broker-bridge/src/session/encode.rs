//! Packets to a client, appended to one buffer.
//!
//! PUBLISH and PUBACK are most of what is sent, so they are written here without an allocation; a test reads them back
//! with mqtt-protocol-core, which also makes the rare packets.

use super::alias::Spelling;
use super::packet::Version;
use mqtt_protocol_core::mqtt::packet::{v3_1_1, v5_0};
use mqtt_protocol_core::mqtt::result_code::{SubackReasonCode, SubackReturnCode, UnsubackReasonCode};
use muster_bus::Message;

/// A PUBLISH to be written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outbound<'a> {
    pub(crate) message: &'a Message,
    /// QoS 1 has one.
    pub(crate) packet_id: Option<u16>,
    pub(crate) retain: bool,
    /// It was sent before.
    pub(crate) again: bool,
    /// Seconds that are left of the message's life.
    pub(crate) expiry: Option<u32>,
    pub(crate) spelling: Spelling,
}

impl<'a> Outbound<'a> {
    /// One with a whole topic and nothing special.
    pub(crate) fn new(message: &'a Message, packet_id: Option<u16>) -> Self {
        Self { message, packet_id, retain: false, again: false, expiry: None, spelling: Spelling::Whole }
    }

    fn topic(&self) -> &'a str {
        if matches!(self.spelling, Spelling::Known(_)) { "" } else { &self.message.topic }
    }

    /// Length of the packet that [`publish`] would write.
    pub(crate) fn length(&self, version: Version) -> usize {
        let remaining = self.remaining(version);
        1 + variable_length(remaining) + remaining
    }

    fn remaining(&self, version: Version) -> usize {
        let properties = match version {
            Version::V3 => 0,
            Version::V5 => {
                let length = self.properties_length();
                variable_length(length) + length
            }
        };
        2 + self.topic().len() + usize::from(self.packet_id.is_some()) * 2 + properties + self.message.payload.len()
    }

    fn properties_length(&self) -> usize {
        let text = |text: &Option<Box<str>>| text.as_ref().map_or(0, |text| 3 + text.len());
        let mut length = self.message.correlation.as_ref().map_or(0, |data| 3 + data.len());
        length += usize::from(self.expiry.is_some()) * 5;
        length += usize::from(self.spelling != Spelling::Whole) * 3;
        if let Some(said) = &self.message.properties {
            length += usize::from(said.is_text.is_some()) * 2 + text(&said.content_type) + text(&said.response_topic);
            length += said.user.iter().map(|(key, value)| 5 + key.len() + value.len()).sum::<usize>();
        }
        length
    }

    fn write_properties(&self, out: &mut Vec<u8>) {
        variable(out, self.properties_length());
        if let Some(data) = &self.message.correlation {
            out.push(CORRELATION_DATA);
            text(out, data);
        }
        if let Some(seconds) = self.expiry {
            out.push(MESSAGE_EXPIRY);
            out.extend_from_slice(&seconds.to_be_bytes());
        }
        if let Spelling::New(alias) | Spelling::Known(alias) = self.spelling {
            out.push(TOPIC_ALIAS);
            out.extend_from_slice(&alias.to_be_bytes());
        }
        let Some(said) = &self.message.properties else { return };
        if let Some(is_text) = said.is_text {
            out.extend_from_slice(&[PAYLOAD_FORMAT, u8::from(is_text)]);
        }
        for (kind, value) in [(CONTENT_TYPE, &said.content_type), (RESPONSE_TOPIC, &said.response_topic)] {
            if let Some(value) = value {
                out.push(kind);
                text(out, value.as_bytes());
            }
        }
        for (key, value) in &said.user {
            out.push(USER_PROPERTY);
            text(out, key.as_bytes());
            text(out, value.as_bytes());
        }
    }
}

const PAYLOAD_FORMAT: u8 = 0x01;
const MESSAGE_EXPIRY: u8 = 0x02;
const CONTENT_TYPE: u8 = 0x03;
const RESPONSE_TOPIC: u8 = 0x08;
const CORRELATION_DATA: u8 = 0x09;
const TOPIC_ALIAS: u8 = 0x23;
const USER_PROPERTY: u8 = 0x26;

/// Appends a PUBLISH; one with a packet id is QoS 1.
pub(crate) fn publish(out: &mut Vec<u8>, version: Version, outbound: &Outbound<'_>) {
    let remaining = outbound.remaining(version);
    out.reserve(5 + remaining);
    let with_id = u8::from(outbound.packet_id.is_some());
    out.push(0x30 | u8::from(outbound.again) << 3 | with_id << 1 | u8::from(outbound.retain));
    variable(out, remaining);
    text(out, outbound.topic().as_bytes());
    if let Some(id) = outbound.packet_id {
        out.extend_from_slice(&id.to_be_bytes());
    }
    if version == Version::V5 {
        outbound.write_properties(out);
    }
    out.extend_from_slice(&outbound.message.payload);
}

/// Appends a PUBACK. A code other than 0 exists only in MQTT 5.
pub(crate) fn puback(out: &mut Vec<u8>, packet_id: u16, code: u8) {
    let [high, low] = packet_id.to_be_bytes();
    if code == 0 {
        out.extend_from_slice(&[0x40, 2, high, low]);
    } else {
        out.extend_from_slice(&[0x40, 3, high, low, code]);
    }
}

/// Appends a PINGRESP.
pub(crate) fn pong(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0xd0, 0]);
}

/// Appends an MQTT 5 DISCONNECT. The length of its properties could be left out, but rumqttc fails without it.
pub(crate) fn disconnect(out: &mut Vec<u8>, code: u8) {
    out.extend_from_slice(&[0xe0, 2, code, 0]);
}

/// Appends a SUBACK.
pub(crate) fn suback(out: &mut Vec<u8>, version: Version, packet_id: u16, codes: Vec<SubackReasonCode>) {
    let encoded = match version {
        Version::V5 => v5_0::Suback::builder()
            .packet_id(packet_id)
            .reason_codes(codes)
            .build()
            .map(|packet| packet.to_continuous_buffer()),
        Version::V3 => v3_1_1::Suback::builder()
            .packet_id(packet_id)
            .return_codes(codes.into_iter().map(old_code).collect())
            .build()
            .map(|packet| packet.to_continuous_buffer()),
    };
    out.extend_from_slice(&encoded.expect("a packet id and at least one code are all that is needed"));
}

fn old_code(code: SubackReasonCode) -> SubackReturnCode {
    match code {
        SubackReasonCode::GrantedQos0 => SubackReturnCode::SuccessMaximumQos0,
        SubackReasonCode::GrantedQos1 => SubackReturnCode::SuccessMaximumQos1,
        _ => SubackReturnCode::Failure,
    }
}

/// Appends an UNSUBACK; the codes go to MQTT 5 only.
pub(crate) fn unsuback(out: &mut Vec<u8>, version: Version, packet_id: u16, codes: Vec<UnsubackReasonCode>) {
    let encoded = match version {
        Version::V5 => v5_0::Unsuback::builder()
            .packet_id(packet_id)
            .reason_codes(codes)
            .build()
            .map(|packet| packet.to_continuous_buffer()),
        Version::V3 => {
            v3_1_1::Unsuback::builder().packet_id(packet_id).build().map(|packet| packet.to_continuous_buffer())
        }
    };
    out.extend_from_slice(&encoded.expect("a packet id and at least one code are all that is needed"));
}

/// Bytes with their length in front. Longer ones are not made: topics have 256 bytes, correlation data came as such.
fn text(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u16::try_from(bytes.len()).expect("texts of the service and correlation data fit");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
}

fn variable(out: &mut Vec<u8>, mut value: usize) {
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        out.push(if value > 0 { byte | 0x80 } else { byte });
        if value == 0 {
            return;
        }
    }
}

const fn variable_length(value: usize) -> usize {
    match value {
        0..=0x7f => 1,
        0x80..=0x3fff => 2,
        0x4000..=0x1f_ffff => 3,
        _ => 4,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::frame::{self, Framed};
    use super::*;
    use crate::session::packet::Said;
    use bytes::Bytes;
    use muster_bus::Properties;

    #[test]
    fn publishes_are_read_back_by_the_library() {
        for size in [0, 1, 100, 127, 128, 200, 16_383, 16_384, 100_000] {
            for correlation in [None, Some(Bytes::from(vec![7; 200]))] {
                for packet_id in [None, Some(515)] {
                    check(size, correlation.clone(), packet_id);
                }
            }
        }
    }

    #[track_caller]
    fn check(size: usize, correlation: Option<Bytes>, packet_id: Option<u16>) {
        let properties = (size % 2 == 1).then(|| {
            Box::new(Properties {
                is_text: Some(true),
                content_type: Some("text/plain".into()),
                response_topic: Some("r/1".into()),
                user: vec![("k".into(), "1".into()), ("k".into(), "2".into())],
                expires: None,
            })
        });
        let message = Message { correlation, properties, ..Message::new("a/b", vec![b'p'; size]) };
        let retain = size == 1;
        for spelling in [Spelling::Whole, Spelling::New(3), Spelling::Known(3)] {
            let outbound =
                Outbound { retain, expiry: (size > 100).then_some(70_000), ..Outbound::new(&message, packet_id) };
            check_one(Outbound { spelling, again: packet_id.is_some() && retain, ..outbound });
        }
    }

    #[track_caller]
    fn check_one(outbound: Outbound<'_>) {
        let message = outbound.message;
        for version in [Version::V3, Version::V5] {
            if version == Version::V3 && outbound.spelling != Spelling::Whole {
                continue;
            }
            let mut out = Vec::new();
            publish(&mut out, version, &outbound);
            assert_eq!(out.len(), outbound.length(version));
            let Ok(Framed::Whole(frame, total)) = frame::next(&out, usize::MAX) else { panic!("no frame") };
            assert_eq!(total, out.len());
            let body = frame.body.into();
            if version == Version::V3 {
                let (packet, _) = v3_1_1::Publish::parse(frame.header & 15, body).unwrap();
                assert_eq!((packet.topic_name(), packet.packet_id()), ("a/b", outbound.packet_id));
                assert_eq!(packet.payload().as_slice(), &message.payload[..]);
                assert_eq!((packet.retain(), packet.dup()), (outbound.retain, outbound.again));
                continue;
            }
            let (packet, _) = v5_0::Publish::parse(frame.header & 15, body).unwrap();
            assert_eq!((packet.topic_name(), packet.packet_id()), (outbound.topic(), outbound.packet_id));
            assert_eq!((packet.payload().as_slice(), packet.retain()), (&message.payload[..], outbound.retain));
            let said = Said::new(packet.props()).unwrap();
            assert_eq!((said.correlation, said.expiry), (message.correlation.clone(), outbound.expiry));
            assert_eq!(
                (said.properties, said.alias.is_some()),
                (message.properties.clone(), outbound.spelling != Spelling::Whole)
            );
        }
    }

    #[test]
    fn acknowledgements_are_read_back_by_the_library() {
        let mut out = Vec::new();
        puback(&mut out, 258, 0);
        assert_eq!(v3_1_1::Puback::parse(&out[2..]).unwrap().0.packet_id(), 258);
        out.clear();
        puback(&mut out, 258, 0x87);
        let (packet, read) = v5_0::Puback::parse(&out[2..]).unwrap();
        assert_eq!((packet.packet_id(), packet.reason_code().map(|code| code as u8), read), (258, Some(0x87), 3));
        out.clear();
        disconnect(&mut out, 0x8b);
        assert_eq!(v5_0::Disconnect::parse(&out[2..]).unwrap().0.reason_code().map(|code| code as u8), Some(0x8b));
    }
}
