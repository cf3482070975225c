//! How much is retained, and until when. Pure.

use muster_bus::Message;
use muster_wire::time::Timestamp;
use std::collections::{BTreeSet, HashMap};

/// How many messages may be retained, and how large they may be together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetainedBounds {
    /// Messages.
    pub messages: usize,
    /// Bytes of them, topics and properties included.
    pub bytes: usize,
}

/// A message did not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

/// What is retained, by topic, without the messages themselves.
#[derive(Debug)]
pub(super) struct Held {
    by_topic: HashMap<Box<str>, Slot>,
    /// Those that end, the first one first.
    ends: BTreeSet<(Timestamp, Box<str>)>,
    bytes: usize,
    bounds: RetainedBounds,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    weight: usize,
    expires: Option<Timestamp>,
}

impl Held {
    pub(super) fn new(bounds: RetainedBounds) -> Self {
        Self { by_topic: HashMap::new(), ends: BTreeSet::new(), bytes: 0, bounds }
    }

    /// Whether there is one on this topic.
    pub(super) fn has(&self, topic: &str) -> bool {
        self.by_topic.contains_key(topic)
    }

    /// Makes room for a message. Returns the topics of those that had to go: nobody needs them any more, and they are
    /// removed only when their room is needed. On error nothing fits, though they are gone all the same.
    pub(super) fn put(&mut self, message: &Message, now: Timestamp) -> (Vec<Box<str>>, Result<(), Full>) {
        let (topic, weight) = (&message.topic, message.weight());
        let mut gone = Vec::new();
        while !self.fits(topic, weight) {
            match self.ends.first() {
                Some((end, first)) if *end <= now => {
                    let first = first.clone();
                    self.remove(&first);
                    gone.push(first);
                }
                Some(_) | None => return (gone, Err(Full)),
            }
        }
        self.insert(topic, weight, message.properties.as_ref().and_then(|said| said.expires));
        (gone, Ok(()))
    }

    /// Notes one, whether it fits or not.
    pub(super) fn insert(&mut self, topic: &str, weight: usize, expires: Option<Timestamp>) {
        self.remove(topic);
        self.by_topic.insert(topic.into(), Slot { weight, expires });
        self.bytes += weight;
        if let Some(expires) = expires {
            self.ends.insert((expires, topic.into()));
        }
    }

    /// Forgets the one on this topic.
    pub(super) fn remove(&mut self, topic: &str) {
        if let Some((topic, Slot { weight, expires })) = self.by_topic.remove_entry(topic) {
            self.bytes -= weight;
            if let Some(expires) = expires {
                self.ends.remove(&(expires, topic));
            }
        }
    }

    fn fits(&self, topic: &str, weight: usize) -> bool {
        let old = self.by_topic.get(topic);
        let messages = self.by_topic.len() + usize::from(old.is_none());
        let bytes = self.bytes - old.map_or(0, |old| old.weight) + weight;
        messages <= self.bounds.messages && bytes <= self.bounds.bytes
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
        let mut held = Held::new(RetainedBounds { messages: 2, bytes: 12 });
        let now = Timestamp::from_seconds(100);
        let fits = |held: &mut Held, message: Message| held.put(&message, now) == (Vec::new(), Ok(()));
        assert!(fits(&mut held, message("a", "1", None)));
        assert!(fits(&mut held, message("a", "22", None)));
        assert!(fits(&mut held, message("b", "1", Some(200))));
        assert!(!fits(&mut held, message("c", "1", None)), "a third one");
        assert!(!fits(&mut held, message("a", "0123456789", None)), "too many bytes");
        assert!(fits(&mut held, message("a", "012345678", None)), "as many as there may be");
        held.remove("a");
        assert_eq!((held.has("a"), held.bytes), (false, 2));
        assert!(fits(&mut held, message("c", "1", None)));
    }

    #[test]
    fn those_whose_time_is_over_make_room_when_it_is_needed() {
        let mut held = Held::new(RetainedBounds { messages: 3, bytes: 100 });
        let (now, later) = (Timestamp::from_seconds(100), Timestamp::from_seconds(200));
        for (topic, expires) in [("a", Some(150)), ("b", Some(200)), ("c", None)] {
            held.put(&message(topic, "1", expires), now).1.unwrap();
        }
        assert_eq!(held.put(&message("d", "1", None), now), (vec![], Err(Full)));
        assert_eq!(held.put(&message("d", "1", None), later), (vec!["a".into()], Ok(())));
        assert_eq!(held.put(&message("b", "1", Some(300)), later), (vec![], Ok(())), "it needs no room");
        assert_eq!(held.put(&message("e", "1", None), later), (vec![], Err(Full)), "b lives longer now");
        assert_eq!((held.by_topic.len(), held.bytes, held.ends.len()), (3, 6, 1));
    }
}
