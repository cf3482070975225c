//! The retained messages of applications, as the service keeps them: a copy for whoever subscribes or reads over HTTP.

use crate::bridge::Shared;
use muster_bus::{Inbound, Message, NotRetained, Requests, Retain, Stopped, Submitted};
use muster_wire::time::Timestamp;
use std::collections::BTreeMap;
use std::future::Future;
use std::ops::Bound;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Asks the service to keep a message and to send it to those who want it. It is asked at once; the future says what
/// became of it, once that is durable.
pub(crate) fn retain(
    shared: &Shared,
    message: Message,
) -> Result<impl Future<Output = Result<(), NotRetained>> + Send + use<>, Stopped> {
    let (reply, answer) = oneshot::channel();
    let submitted = shared.bus.submit(Inbound::Retain(Retain { message: Arc::new(message), reply }))?;
    Ok(async move {
        if let Submitted::Full(queued) = submitted {
            queued.await.map_err(|Stopped| NotRetained::Failed)?;
        }
        answer.await.unwrap_or(Err(NotRetained::Failed))
    })
}

/// All of them, by topic. Pure.
#[derive(Debug, Default)]
pub(super) struct Retained {
    by_topic: BTreeMap<Box<str>, Stored>,
}

/// A message, and when it came.
pub(crate) type Stored = (Arc<Message>, Timestamp);

impl Retained {
    /// Replaces the message of the topic; an empty one removes it.
    pub(super) fn keep(&mut self, message: &Arc<Message>, at: Timestamp) {
        if message.payload.is_empty() {
            self.by_topic.remove(&message.topic);
        } else {
            self.by_topic.insert(message.topic.clone(), (message.clone(), at));
        }
    }

    /// The message of a topic.
    pub(super) fn get(&self, topic: &str, now: Timestamp) -> Option<Stored> {
        self.by_topic.get(topic).filter(|(stored, _)| !stored.is_expired(now)).cloned()
    }

    /// At most so many messages in the order of their topics, those after `after`.
    pub(super) fn after(&self, after: Option<&str>, most: usize, now: Timestamp) -> Vec<Stored> {
        let begin = after.map_or(Bound::Unbounded, Bound::Excluded);
        let stored = self.by_topic.range::<str, _>((begin, Bound::Unbounded)).map(|(_, stored)| stored);
        stored.filter(|(stored, _)| !stored.is_expired(now)).take(most).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_bus::Properties;

    fn message(topic: &str, payload: &'static str, expires: Option<i64>) -> Arc<Message> {
        let expires = expires.map(Timestamp::from_seconds);
        let properties = Some(Box::new(Properties { expires, ..Properties::default() }));
        Arc::new(Message { properties, ..Message::new(topic, payload) })
    }

    #[test]
    fn messages_replace_each_other_and_end() {
        let mut retained = Retained::default();
        let (now, later) = (Timestamp::from_seconds(100), Timestamp::from_seconds(200));
        for (topic, payload, expires) in [("a", "1", None), ("b", "1", Some(200)), ("a", "22", None), ("c", "1", None)]
        {
            retained.keep(&message(topic, payload, expires), now);
        }
        let topics = |after, most, now| {
            retained.after(after, most, now).iter().map(|(stored, _)| stored.topic.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(topics(None, 9, now), ["a", "b", "c"]);
        assert_eq!(topics(Some("a"), 1, now), ["b"]);
        assert_eq!(topics(Some("a"), 1, later), ["c"], "the time of b is over");
        assert_eq!(retained.get("a", now).map(|(stored, at)| (stored.payload.clone(), at)), Some(("22".into(), now)));
        assert!(retained.get("b", now).is_some() && retained.get("b", later).is_none());
        retained.keep(&message("a", "", None), now);
        assert!(retained.get("a", now).is_none());
    }
}
