//! The few MQTT packets that the load program speaks, encoded and decoded by hand with no allocation per packet.
//!
//! Devices speak 3.1.1; the operator who starts a job speaks 5 (response topic). QoS 0 and 1 only.

use std::fmt;

/// Which MQTT a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// MQTT 3.1.1.
    V311,
    /// MQTT 5.
    V5,
}

/// One packet from the server, borrowed from the connection's buffer.
#[derive(Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// CONNACK; 0 is success.
    ConnAck {
        /// Return code (3.1.1) or reason code (5).
        code: u8,
    },
    /// SUBACK.
    SubAck {
        /// How many filters were answered.
        filters: usize,
        /// How many of them were refused.
        refused: usize,
    },
    /// PUBACK.
    PubAck {
        /// The packet that is acknowledged.
        id: u16,
        /// Reason code; always 0 in 3.1.1.
        code: u8,
    },
    /// PUBLISH.
    Publish(Publish<'a>),
    /// Anything else; the number is the packet type.
    Other(u8),
}

/// A message from the server.
#[derive(Debug, PartialEq, Eq)]
pub struct Publish<'a> {
    /// Topic name.
    pub topic: &'a [u8],
    /// Packet identifier; present for QoS 1, which wants a PUBACK.
    pub id: Option<u16>,
    /// The message.
    pub payload: &'a [u8],
}

/// The bytes are not the MQTT that this program expects.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a usable MQTT packet: {}", self.0)
    }
}

impl std::error::Error for Malformed {}

/// DISCONNECT: the polite end of a session.
pub const DISCONNECT: [u8; 2] = [0xe0, 0];

/// Appends a CONNECT with a clean session and no will.
pub fn connect(out: &mut Vec<u8>, version: Version, client_id: &str, keep_alive_s: u16) {
    let properties = usize::from(version == Version::V5);
    header(out, 0x10, 10 + properties + 2 + client_id.len());
    text(out, "MQTT");
    out.push(if version == Version::V5 { 5 } else { 4 });
    out.push(0x02);
    out.extend_from_slice(&keep_alive_s.to_be_bytes());
    if version == Version::V5 {
        out.push(0);
    }
    text(out, client_id);
}

/// Appends one SUBSCRIBE for all `filters`.
pub fn subscribe(out: &mut Vec<u8>, version: Version, id: u16, filters: &[String], qos: u8) {
    let properties = usize::from(version == Version::V5);
    let body: usize = filters.iter().map(|filter| filter.len() + 3).sum();
    header(out, 0x82, 2 + properties + body);
    out.extend_from_slice(&id.to_be_bytes());
    if version == Version::V5 {
        out.push(0);
    }
    for filter in filters {
        text(out, filter);
        out.push(qos);
    }
}

/// Appends a 3.1.1 PUBLISH; with a packet identifier it is QoS 1, else QoS 0.
pub fn publish(out: &mut Vec<u8>, topic: &str, id: Option<u16>, payload: &[u8]) {
    let id_len = if id.is_some() { 2 } else { 0 };
    header(out, if id.is_some() { 0x32 } else { 0x30 }, 2 + topic.len() + id_len + payload.len());
    text(out, topic);
    if let Some(id) = id {
        out.extend_from_slice(&id.to_be_bytes());
    }
    out.extend_from_slice(payload);
}

/// Appends an MQTT 5 QoS 1 PUBLISH that asks for an answer on `response_topic`.
pub fn request(out: &mut Vec<u8>, topic: &str, id: u16, response_topic: &str, correlation: &[u8], payload: &[u8]) {
    let mut properties = vec![0x08];
    text(&mut properties, response_topic);
    properties.push(0x09);
    properties.extend_from_slice(&(correlation.len() as u16).to_be_bytes());
    properties.extend_from_slice(correlation);
    let mut length = Vec::new();
    variable_length(&mut length, properties.len());
    header(out, 0x32, 2 + topic.len() + 2 + length.len() + properties.len() + payload.len());
    text(out, topic);
    out.extend_from_slice(&id.to_be_bytes());
    out.extend_from_slice(&length);
    out.extend_from_slice(&properties);
    out.extend_from_slice(payload);
}

/// Appends a PUBACK (the same bytes in both versions).
pub fn puback(out: &mut Vec<u8>, id: u16) {
    out.extend_from_slice(&[0x40, 2]);
    out.extend_from_slice(&id.to_be_bytes());
}

/// Length of the whole packet at the start of `bytes`; `None` when its header is not complete yet.
pub fn frame_length(bytes: &[u8]) -> Result<Option<usize>, Malformed> {
    let Some(rest) = bytes.get(1..) else { return Ok(None) };
    Ok(read_variable_length(rest)?.map(|(length, used)| 1 + used + length))
}

/// Reads one whole packet, as measured by [`frame_length`].
pub fn parse(frame: &[u8], version: Version) -> Result<Packet<'_>, Malformed> {
    let first = *frame.first().ok_or(Malformed("empty"))?;
    let rest = &frame[1..];
    let (length, used) = read_variable_length(rest)?.ok_or(Malformed("length cut short"))?;
    let body = rest.get(used..used + length).ok_or(Malformed("body cut short"))?;
    match first >> 4 {
        2 => Ok(Packet::ConnAck { code: *body.get(1).ok_or(Malformed("CONNACK without code"))? }),
        3 => parse_publish(first, body, version).map(Packet::Publish),
        4 => {
            let (id, rest) = take_u16(body)?;
            Ok(Packet::PubAck { id, code: rest.first().copied().unwrap_or(0) })
        }
        9 => {
            let (_, rest) = take_u16(body)?;
            let codes = skip_properties(rest, version)?;
            let refused = codes.iter().filter(|code| **code >= 0x80).count();
            Ok(Packet::SubAck { filters: codes.len(), refused })
        }
        other => Ok(Packet::Other(other)),
    }
}

fn parse_publish(first: u8, body: &[u8], version: Version) -> Result<Publish<'_>, Malformed> {
    let (length, rest) = take_u16(body)?;
    let (topic, rest) = rest.split_at_checked(usize::from(length)).ok_or(Malformed("topic cut short"))?;
    let (id, rest) = match (first >> 1) & 3 {
        0 => (None, rest),
        1 => take_u16(rest).map(|(id, rest)| (Some(id), rest))?,
        _ => return Err(Malformed("QoS 2 was never asked for")),
    };
    Ok(Publish { topic, id, payload: skip_properties(rest, version)? })
}

fn skip_properties(bytes: &[u8], version: Version) -> Result<&[u8], Malformed> {
    if version == Version::V311 {
        return Ok(bytes);
    }
    let (length, used) = read_variable_length(bytes)?.ok_or(Malformed("properties cut short"))?;
    bytes.get(used + length..).ok_or(Malformed("properties cut short"))
}

fn take_u16(bytes: &[u8]) -> Result<(u16, &[u8]), Malformed> {
    match bytes {
        [high, low, rest @ ..] => Ok((u16::from_be_bytes([*high, *low]), rest)),
        _ => Err(Malformed("number cut short")),
    }
}

fn header(out: &mut Vec<u8>, first: u8, length: usize) {
    out.push(first);
    variable_length(out, length);
}

fn text(out: &mut Vec<u8>, value: &str) {
    out.extend_from_slice(&(value.len() as u16).to_be_bytes());
    out.extend_from_slice(value.as_bytes());
}

fn variable_length(out: &mut Vec<u8>, mut length: usize) {
    loop {
        let low = (length % 128) as u8;
        length /= 128;
        out.push(if length > 0 { low | 0x80 } else { low });
        if length == 0 {
            return;
        }
    }
}

/// The number and how many bytes it took; `None` when more bytes are needed.
fn read_variable_length(bytes: &[u8]) -> Result<Option<(usize, usize)>, Malformed> {
    let mut value = 0;
    for (at, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Ok(Some((value, at + 1)));
        }
    }
    if bytes.len() >= 4 { Err(Malformed("length over four bytes")) } else { Ok(None) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], version: Version, expected: Packet<'_>) {
        assert_eq!(frame_length(bytes).unwrap(), Some(bytes.len()));
        assert_eq!(parse(bytes, version).unwrap(), expected);
    }

    #[test]
    fn answers_are_read_in_both_versions() {
        check(&[0x20, 2, 0, 5], Version::V311, Packet::ConnAck { code: 5 });
        check(&[0x20, 3, 0, 0x87, 0], Version::V5, Packet::ConnAck { code: 0x87 });
        check(&[0x90, 4, 0, 1, 1, 0x80], Version::V311, Packet::SubAck { filters: 2, refused: 1 });
        check(&[0x90, 5, 0, 1, 0, 1, 1], Version::V5, Packet::SubAck { filters: 2, refused: 0 });
        check(&[0x40, 2, 1, 2], Version::V311, Packet::PubAck { id: 258, code: 0 });
        check(&[0x40, 4, 1, 2, 0x10, 0], Version::V5, Packet::PubAck { id: 258, code: 0x10 });
    }

    #[test]
    fn a_publish_reads_back_as_it_was_written() {
        let payload = vec![b'x'; 300];
        for id in [None, Some(7)] {
            let mut bytes = Vec::new();
            publish(&mut bytes, "a/b", id, &payload);
            check(&bytes, Version::V311, Packet::Publish(Publish { topic: b"a/b", id, payload: &payload }));
        }
        let mut bytes = Vec::new();
        request(&mut bytes, "op", 9, "answer/here", b"42", &payload);
        check(&bytes, Version::V5, Packet::Publish(Publish { topic: b"op", id: Some(9), payload: &payload }));
    }

    #[test]
    fn an_unfinished_packet_is_not_measured_short() {
        let mut bytes = Vec::new();
        publish(&mut bytes, "a/b", Some(1), &[0; 200]);
        assert_eq!(frame_length(&bytes[..1]).unwrap(), None);
        assert_eq!(frame_length(&bytes[..2]).unwrap(), None);
        assert_eq!(frame_length(&bytes[..3]).unwrap(), Some(bytes.len()));
        assert!(frame_length(&[0x30, 0xff, 0xff, 0xff, 0xff]).is_err());
    }

    #[test]
    fn requests_have_the_lengths_that_they_announce() {
        for version in [Version::V311, Version::V5] {
            let mut bytes = Vec::new();
            connect(&mut bytes, version, "load-1", 1200);
            assert_eq!(frame_length(&bytes).unwrap(), Some(bytes.len()));
            bytes.clear();
            subscribe(&mut bytes, version, 1, &["a/b".into(), "c".into()], 1);
            assert_eq!(frame_length(&bytes).unwrap(), Some(bytes.len()));
        }
    }
}
