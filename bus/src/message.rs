//! A message on its way to clients.

use bytes::Bytes;
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
    /// MQTT 5 correlation data of the request that it answers.
    pub correlation: Option<Bytes>,
}

impl Message {
    /// A message with the guarantee "at least once" and no correlation.
    #[must_use]
    pub fn new(topic: impl fmt::Display, payload: impl Into<Bytes>) -> Self {
        Self {
            topic: topic.to_string().into(),
            payload: payload.into(),
            qos: Qos::AtLeastOnce,
            retained: false,
            correlation: None,
        }
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
