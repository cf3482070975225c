//! A message on its way to clients.

use bytes::Bytes;
use muster_wire::time::Timestamp;
use std::fmt;

/// Delivery guarantee wished for a message; what the subscriber was granted may lower it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Qos {
    /// At most once.
    #[default]
    AtMostOnce,
    /// At least once.
    AtLeastOnce,
}

/// A message on its way to clients. Shared between all that get it.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// The topic, as text.
    pub topic: Box<str>,
    /// The payload.
    pub payload: Bytes,
    /// The wished guarantee.
    pub qos: Qos,
    /// It is a stored state, sent because somebody subscribed.
    pub retained: bool,
    /// Its publisher asked for it to be retained.
    pub retain: bool,
    /// The connection that published it; 0 when the service did.
    pub origin: u64,
    /// MQTT 5 correlation data of the request that it answers.
    pub correlation: Option<Bytes>,
    /// What else an MQTT 5 publisher said.
    pub properties: Option<Box<Properties>>,
}

/// What an MQTT 5 publisher says about its message. Forwarded as it came; MQTT 3.1.1 clients do not get it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties {
    /// The payload is UTF-8 text.
    pub is_text: Option<bool>,
    /// For example a MIME type.
    pub content_type: Option<Box<str>>,
    /// Where an answer should go.
    pub response_topic: Option<Box<str>>,
    /// In the order of the publisher.
    pub user: Vec<(Box<str>, Box<str>)>,
    /// After this time nobody needs it any more.
    pub expires: Option<Timestamp>,
}

impl Message {
    /// Whether nobody needs it any more.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.properties.as_ref().and_then(|properties| properties.expires).is_some_and(|expires| expires <= now)
    }

    /// What it weighs in a bounded queue: every text and the payload, in bytes.
    #[must_use]
    pub fn weight(&self) -> usize {
        let correlation = self.correlation.as_ref().map_or(0, Bytes::len);
        self.topic.len() + self.payload.len() + correlation + self.properties.as_ref().map_or(0, |said| said.weight())
    }

    /// A message with the guarantee "at least once" and no correlation.
    #[must_use]
    pub fn new(topic: impl fmt::Display, payload: impl Into<Bytes>) -> Self {
        Self {
            topic: topic.to_string().into(),
            payload: payload.into(),
            qos: Qos::AtLeastOnce,
            retained: false,
            retain: false,
            origin: 0,
            correlation: None,
            properties: None,
        }
    }
}

impl Properties {
    fn weight(&self) -> usize {
        let text = |text: &Option<Box<str>>| text.as_ref().map_or(0, |text| text.len());
        let user: usize = self.user.iter().map(|(key, value)| key.len() + value.len()).sum();
        text(&self.content_type) + text(&self.response_topic) + user
    }
}

impl fmt::Debug for Message {
    /// Payloads may hold secrets and are never printed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("topic", &self.topic)
            .field("bytes", &self.payload.len())
            .finish_non_exhaustive()
    }
}
