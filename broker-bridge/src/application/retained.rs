//! The retained messages of applications: one for each topic, within bounds. Pure.

use muster_bus::Message;
use muster_wire::time::Timestamp;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// A message did not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no room for another retained message; remove some with an empty retained one, or raise mqtt.retained_*"
)]
pub(crate) struct Full;

/// All of them, by topic.
#[derive(Debug)]
pub(crate) struct Retained {
    by_topic: BTreeMap<Box<str>, Stored>,
    bytes: usize,
    messages_max: usize,
    bytes_max: usize,
}

/// A message, and when it came.
pub(crate) type Stored = (Arc<Message>, Timestamp);

impl Retained {
    pub(crate) fn new(messages_max: usize, bytes_max: usize) -> Self {
        Self { by_topic: BTreeMap::new(), bytes: 0, messages_max, bytes_max }
    }

    /// Replaces the message of the topic; an empty one removes it. On error everything is as before.
    pub(crate) fn put(&mut self, message: &Message, now: Timestamp) -> Result<(), Full> {
        let old = self.by_topic.get(&message.topic).map_or(0, |(stored, _)| stored.weight());
        if message.payload.is_empty() {
            self.by_topic.remove(&message.topic);
            self.bytes -= old;
            return Ok(());
        }
        let weight = message.weight();
        if !self.fits(&message.topic, old, weight) {
            // Those whose time is over are removed only when their room is needed.
            self.by_topic.retain(|_, (stored, _)| !stored.is_expired(now));
            self.bytes = self.by_topic.values().map(|(stored, _)| stored.weight()).sum();
        }
        let old = self.by_topic.get(&message.topic).map_or(0, |(stored, _)| stored.weight());
        if !self.fits(&message.topic, old, weight) {
            return Err(Full);
        }
        self.bytes = self.bytes - old + weight;
        let message = Arc::new(Message { retained: true, ..message.clone() });
        self.by_topic.insert(message.topic.clone(), (message, now));
        Ok(())
    }

    /// The message of a topic.
    pub(crate) fn get(&self, topic: &str, now: Timestamp) -> Option<Stored> {
        self.by_topic.get(topic).filter(|(stored, _)| !stored.is_expired(now)).cloned()
    }

    /// At most so many messages in the order of their topics, those after `after`.
    pub(crate) fn after(&self, after: Option<&str>, most: usize, now: Timestamp) -> Vec<Stored> {
        let begin = after.map_or(Bound::Unbounded, Bound::Excluded);
        let stored = self.by_topic.range::<str, _>((begin, Bound::Unbounded)).map(|(_, stored)| stored);
        stored.filter(|(stored, _)| !stored.is_expired(now)).take(most).cloned().collect()
    }

    fn fits(&self, topic: &str, old: usize, weight: usize) -> bool {
        let messages = self.by_topic.len() + usize::from(!self.by_topic.contains_key(topic));
        messages <= self.messages_max && self.bytes - old + weight <= self.bytes_max
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use muster_bus::Properties;

    fn message(topic: &str, payload: &'static str, expires: Option<i64>) -> Message {
        let expires = expires.map(Timestamp::from_seconds);
        let properties = Some(Box::new(Properties { expires, ..Properties::default() }));
        Message { properties, ..Message::new(topic, payload) }
    }

    #[test]
    fn messages_replace_each_other_and_both_bounds_hold() {
        let mut retained = Retained::new(2, 12);
        let now = Timestamp::from_seconds(100);
        let get = |retained: &Retained, topic: &str| {
            retained.get(topic, now).map(|(stored, _)| String::from_utf8(stored.payload.to_vec()).unwrap())
        };
        retained.put(&message("a", "1", None), now).unwrap();
        retained.put(&message("a", "22", None), now).unwrap();
        retained.put(&message("b", "1", Some(200)), now).unwrap();
        assert_eq!(retained.put(&message("c", "1", None), now), Err(Full), "a third one");
        assert_eq!(retained.put(&message("a", "0123456789", None), now), Err(Full), "too many bytes");
        assert_eq!((get(&retained, "a"), get(&retained, "b")), (Some("22".into()), Some("1".into())));
        retained.put(&message("a", "", None), now).unwrap();
        assert_eq!((get(&retained, "a"), retained.bytes), (None, 2));
        retained.put(&message("c", "1", None), now).unwrap();
        let later = Timestamp::from_seconds(200);
        assert!(retained.get("b", later).is_none(), "its time is over");
        retained.put(&message("d", "1", None), later).unwrap();
        assert_eq!((retained.by_topic.len(), retained.bytes), (2, 4));
    }
}
