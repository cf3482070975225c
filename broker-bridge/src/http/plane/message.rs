//! A message that is published over HTTP: its MQTT 5 properties are in the query and in headers.

use super::fault::{Fault, Kind};
use crate::bridge::Shared;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::HeaderMap;
use muster_bus::{Message, Properties, Qos};
use muster_wire::limits::{MESSAGE_EXPIRY_MAX, PLANE_PROPERTIES_BYTES_MAX, TOPIC_BYTES_MAX};
use muster_wire::plane::Publish;
use muster_wire::topic::Topic;
use serde_json::{Map, Value};
use std::time::Duration;

const USER_PROPERTIES: &str = "x-amz-mqtt5-user-properties";
const FORMAT: &str = "x-amz-mqtt5-payload-format-indicator";
const CORRELATION: &str = "x-amz-mqtt5-correlation-data";

/// A user property.
type Pair = (Box<str>, Box<str>);

/// The topic of a message.
pub(super) fn topic(text: &str) -> Result<Topic, Fault> {
    Topic::parse(text).map_err(|error| invalid(error.to_string()))
}

/// The message that a request describes.
pub(super) fn read(
    shared: &Shared,
    topic: Box<str>,
    wish: Publish,
    headers: &HeaderMap,
    payload: Bytes,
) -> Result<Message, Fault> {
    if payload.len() > shared.mqtt.payload_bytes_max {
        let message = format!("the payload has {} bytes; at most {}", payload.len(), shared.mqtt.payload_bytes_max);
        return Err(Fault::new(Kind::TooLarge, message));
    }
    let life = wish.expiry_seconds.map(|seconds| Duration::from_secs(seconds.max(1).into()).min(MESSAGE_EXPIRY_MAX));
    let properties = Properties {
        is_text: format(headers, &payload)?,
        content_type: wish.content_type.map(|text| sound("contentType", text)).transpose()?,
        response_topic: wish.response_topic.map(response_topic).transpose()?,
        user: user_properties(headers)?,
        expires: life.map(|life| shared.clock.now().plus(life)),
    };
    let correlation = match header(headers, CORRELATION)? {
        None => None,
        Some(text) => Some(STANDARD.decode(text).map_err(|_| invalid(format!("{CORRELATION} is not base64")))?.into()),
    };
    Ok(Message {
        topic,
        payload,
        qos: if wish.at_least_once { Qos::AtLeastOnce } else { Qos::AtMostOnce },
        retained: false,
        retain: wish.retain,
        origin: 0,
        correlation,
        properties: (properties != Properties::default()).then(|| Box::new(properties)),
    })
}

fn invalid(message: impl Into<String>) -> Fault {
    Fault::new(Kind::Invalid, message)
}

fn header<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<Option<&'a str>, Fault> {
    let text = headers.get(name).map(|value| value.to_str().map_err(|_| invalid(format!("{name} is not a text"))));
    text.transpose()
}

fn format(headers: &HeaderMap, payload: &[u8]) -> Result<Option<bool>, Fault> {
    match header(headers, FORMAT)? {
        None => Ok(None),
        Some("UNSPECIFIED_BYTES") => Ok(Some(false)),
        Some("UTF8_DATA") if std::str::from_utf8(payload).is_ok() => Ok(Some(true)),
        Some("UTF8_DATA") => Err(invalid("the payload is not UTF-8, as its format indicator says")),
        Some(_) => Err(invalid(format!("{FORMAT} is UNSPECIFIED_BYTES or UTF8_DATA"))),
    }
}

/// A text that subscribers can be given: MQTT has none with U+0000, and ends the connection over one.
fn sound(what: &str, text: Box<str>) -> Result<Box<str>, Fault> {
    if text.contains('\0') { Err(invalid(format!("{what} has the character U+0000"))) } else { Ok(text) }
}

fn response_topic(text: Box<str>) -> Result<Box<str>, Fault> {
    let usable =
        (1..=TOPIC_BYTES_MAX).contains(&text.len()) && !text.contains(|c: char| "+#".contains(c) || c.is_control());
    if usable { Ok(text) } else { Err(invalid("responseTopic is not a topic")) }
}

/// Base64 of `[{"name":"value"},…]`. boto3 sends a JSON text of that when it is given a text.
fn user_properties(headers: &HeaderMap) -> Result<Vec<Pair>, Fault> {
    let Some(text) = header(headers, USER_PROPERTIES)? else { return Ok(Vec::new()) };
    let wrong = || invalid(format!("{USER_PROPERTIES} is base64 of a JSON array of objects with texts"));
    let bytes = STANDARD.decode(text).map_err(|_| wrong())?;
    if bytes.len() > PLANE_PROPERTIES_BYTES_MAX {
        return Err(invalid(format!("user properties have at most {PLANE_PROPERTIES_BYTES_MAX} bytes")));
    }
    let mut value: Value = serde_json::from_slice(&bytes).map_err(|_| wrong())?;
    if let Some(text) = value.as_str() {
        value = serde_json::from_str(text).map_err(|_| wrong())?;
    }
    let objects: Vec<Map<String, Value>> = serde_json::from_value(value).map_err(|_| wrong())?;
    let pairs = objects.into_iter().flatten().map(|(name, value)| {
        let value = value.as_str().ok_or_else(wrong)?;
        Ok((sound(USER_PROPERTIES, name.into())?, sound(USER_PROPERTIES, value.into())?))
    });
    pairs.collect()
}

/// The same, as an answer says it.
pub(super) fn user_properties_text(properties: &Properties) -> Option<String> {
    let objects: Vec<Value> =
        properties.user.iter().map(|(name, value)| serde_json::json!({ name.as_ref(): value })).collect();
    (!objects.is_empty()).then(|| STANDARD.encode(Value::from(objects).to_string()))
}

/// What a fuzz target gives: what was read is written so that it is read again.
#[cfg(fuzzing)]
pub fn read_user_properties(bytes: &[u8]) {
    let read = |text: &str| {
        let headers = [(USER_PROPERTIES.parse().ok()?, text.parse().ok()?)].into_iter().collect();
        user_properties(&headers).ok()
    };
    let Some(user) = read(&STANDARD.encode(bytes)) else { return };
    let properties = Properties { user: user.clone(), ..Properties::default() };
    match user_properties_text(&properties) {
        // Each pair becomes an object of its own: that takes more room than one object for all.
        Some(text) => assert!(text.len() > PLANE_PROPERTIES_BYTES_MAX || read(&text) == Some(user)),
        None => assert!(user.is_empty()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn with(name: &'static str, value: &str) -> HeaderMap {
        [(name.parse().unwrap(), value.parse().unwrap())].into_iter().collect()
    }

    #[test]
    fn user_properties_are_read_in_both_of_boto3s_ways() {
        let plain = r#"[{"a":"1"},{"b":"2","a":"3"}]"#;
        let wanted: Vec<(Box<str>, Box<str>)> =
            [("a", "1"), ("a", "3"), ("b", "2")].map(|(name, value)| (name.into(), value.into())).into();
        for text in [plain.to_owned(), Value::from(plain).to_string()] {
            assert_eq!(user_properties(&with(USER_PROPERTIES, &STANDARD.encode(text))).unwrap(), wanted);
        }
        for bad in ["{}", "[1]", r#"[{"a":1}]"#, r#"[{"a":"\u0000"}]"#, r#"[{"\u0000":"a"}]"#, "\"x\"", "nope"] {
            assert!(user_properties(&with(USER_PROPERTIES, &STANDARD.encode(bad))).is_err(), "{bad}");
        }
        assert!(user_properties(&with(USER_PROPERTIES, "***")).is_err());
    }

    #[test]
    fn texts_that_mqtt_cannot_carry_are_refused() {
        assert!(sound("contentType", "text/plain".into()).is_ok());
        assert!(sound("contentType", "a\0b".into()).is_err());
        assert!(response_topic("app/t1/answers".into()).is_ok());
        for bad in ["", "a/#", "a\0", &"x".repeat(TOPIC_BYTES_MAX + 1)] {
            assert!(response_topic(bad.into()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_format_indicator_has_to_be_true() {
        assert_eq!(format(&with(FORMAT, "UTF8_DATA"), b"text").unwrap(), Some(true));
        assert_eq!(format(&with(FORMAT, "UNSPECIFIED_BYTES"), &[0xff]).unwrap(), Some(false));
        assert!(format(&with(FORMAT, "UTF8_DATA"), &[0xff]).is_err());
        assert!(format(&with(FORMAT, "utf8"), b"").is_err());
    }
}
