//! Retained messages of applications. Written by the worker of retained messages alone.

use bytes::Bytes;
use muster_bus::{Message, Properties, Qos};
use muster_wire::time::Timestamp;
use serde::{Deserialize, Serialize};

/// A message that is kept for whoever subscribes to its topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retained {
    /// Its topic.
    pub topic: Box<str>,
    /// Its payload.
    pub payload: Bytes,
    /// It was published with QoS 1.
    pub at_least_once: bool,
    /// When it came.
    pub at: Timestamp,
    /// When nobody needs it any more.
    pub expires: Option<Timestamp>,
    /// MQTT 5 correlation data.
    pub correlation: Option<Bytes>,
    /// The payload is UTF-8 text.
    pub is_text: Option<bool>,
    /// For example a MIME type.
    pub content_type: Option<Box<str>>,
    /// Where an answer should go.
    pub response_topic: Option<Box<str>>,
    /// User properties, in the order of the publisher.
    pub user: Vec<(Box<str>, Box<str>)>,
}

impl Retained {
    /// What is kept of a message that came at `at`.
    #[must_use]
    pub fn new(message: &Message, at: Timestamp) -> Self {
        let Properties { is_text, content_type, response_topic, user, expires } =
            message.properties.as_deref().cloned().unwrap_or_default();
        Self {
            topic: message.topic.clone(),
            payload: message.payload.clone(),
            at_least_once: message.qos == Qos::AtLeastOnce,
            at,
            expires,
            correlation: message.correlation.clone(),
            is_text,
            content_type,
            response_topic,
            user,
        }
    }

    /// The message for whoever subscribes.
    #[must_use]
    pub fn into_message(self) -> Message {
        let Self { topic, payload, at_least_once, at: _, expires, correlation, .. } = self;
        let Self { is_text, content_type, response_topic, user, .. } = self;
        let properties = Properties { is_text, content_type, response_topic, user, expires };
        Message {
            topic,
            payload,
            qos: if at_least_once { Qos::AtLeastOnce } else { Qos::AtMostOnce },
            retained: true,
            retain: true,
            origin: 0,
            correlation,
            properties: (properties != Properties::default()).then(|| Box::new(properties)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::{StoredRetained, key};
    use super::*;
    use crate::store::codec;

    #[test]
    fn everything_about_a_message_comes_back() {
        let at = Timestamp::from_seconds(1);
        let properties = Properties {
            is_text: Some(true),
            content_type: Some("text/plain".into()),
            response_topic: Some("app/r".into()),
            user: vec![("a".into(), "1".into()), ("a".into(), "2".into())],
            expires: Some(Timestamp::from_seconds(60)),
        };
        let plain = Message { retained: true, retain: true, ..Message::new("app/t1/x", vec![0, 0xff]) };
        let full = Message {
            qos: Qos::AtMostOnce,
            correlation: Some("7".into()),
            properties: Some(Box::new(properties)),
            ..plain.clone()
        };
        for message in [plain, full] {
            let key = key::retained(&message.topic);
            let bytes = codec::encode(key.as_bytes(), &StoredRetained::from(Retained::new(&message, at))).unwrap();
            let found: Retained = codec::decode::<StoredRetained>(key.as_bytes(), &bytes).unwrap().into();
            assert_eq!(found.at, at);
            assert_eq!((found.clone().into_message().weight(), found.into_message()), (message.weight(), message));
        }
        let payload = Message::new("a", vec![0xff; 100_000]);
        let bytes = codec::encode(b"", &StoredRetained::from(Retained::new(&payload, at))).unwrap();
        assert!(bytes.len() < 100_300, "a payload is stored as bytes, not as numbers: {}", bytes.len());
    }
}
