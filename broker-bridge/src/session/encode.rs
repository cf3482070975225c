//! Packets to a client, appended to one buffer.
//!
//! PUBLISH and PUBACK are most of what is sent, so they are written here without an allocation; a test reads them back
//! with mqtt-protocol-core, which also makes the rare packets.

use super::packet::Version;
use mqtt_protocol_core::mqtt::packet::{v3_1_1, v5_0};
use mqtt_protocol_core::mqtt::result_code::{SubackReasonCode, SubackReturnCode, UnsubackReasonCode};
use muster_bus::Message;

const CORRELATION_DATA: u8 = 0x09;

/// Length of the packet that [`publish`] would write.
pub(crate) fn publish_length(version: Version, message: &Message, with_id: bool) -> usize {
    let remaining = remaining(version, message, with_id);
    1 + variable_length(remaining) + remaining
}

/// Appends a PUBLISH; one with a packet id is QoS 1.
pub(crate) fn publish(out: &mut Vec<u8>, version: Version, message: &Message, packet_id: Option<u16>) {
    let remaining = remaining(version, message, packet_id.is_some());
    out.reserve(5 + remaining);
    out.push(0x30 | u8::from(packet_id.is_some()) << 1 | u8::from(message.retained));
    variable(out, remaining);
    text(out, message.topic.as_bytes());
    if let Some(id) = packet_id {
        out.extend_from_slice(&id.to_be_bytes());
    }
    if version == Version::V5 {
        match &message.correlation {
            None => out.push(0),
            Some(data) => {
                variable(out, 3 + data.len());
                out.push(CORRELATION_DATA);
                text(out, data);
            }
        }
    }
    out.extend_from_slice(&message.payload);
}

fn remaining(version: Version, message: &Message, with_id: bool) -> usize {
    let properties = match (version, &message.correlation) {
        (Version::V3, _) => 0,
        (Version::V5, None) => 1,
        (Version::V5, Some(data)) => variable_length(3 + data.len()) + 3 + data.len(),
    };
    2 + message.topic.len() + usize::from(with_id) * 2 + properties + message.payload.len()
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
    use bytes::Bytes;
    use mqtt_protocol_core::mqtt::packet::Property;

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
        let message = Message { correlation, retained: size == 1, ..Message::new("a/b", vec![b'p'; size]) };
        for version in [Version::V3, Version::V5] {
            let mut out = Vec::new();
            publish(&mut out, version, &message, packet_id);
            assert_eq!(out.len(), publish_length(version, &message, packet_id.is_some()));
            let Ok(Framed::Whole(frame, total)) = frame::next(&out, usize::MAX) else { panic!("no frame") };
            assert_eq!(total, out.len());
            let body = frame.body.into();
            if version == Version::V3 {
                let (packet, _) = v3_1_1::Publish::parse(frame.header & 15, body).unwrap();
                assert_eq!((packet.topic_name(), packet.packet_id()), ("a/b", packet_id));
                assert_eq!((packet.payload().as_slice(), packet.retain()), (&message.payload[..], message.retained));
            } else {
                let (packet, _) = v5_0::Publish::parse(frame.header & 15, body).unwrap();
                assert_eq!((packet.topic_name(), packet.packet_id()), ("a/b", packet_id));
                assert_eq!((packet.payload().as_slice(), packet.retain()), (&message.payload[..], message.retained));
                let found = packet.props().iter().find_map(|prop| match prop {
                    Property::CorrelationData(data) => Some(Bytes::copy_from_slice(data.val())),
                    _ => None,
                });
                assert_eq!(found, message.correlation);
            }
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
