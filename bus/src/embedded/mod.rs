//! The bus inside one process: bounded channels to the partitions, rumqttd for the readers.

mod observers;

pub use observers::ObserverLink;

use crate::{Deliveries, Door, Inbound, Message, Requests, Stopped, Submitted, Whose};
use muster_wire::filter::TopicFilter;
use muster_wire::id::ThingName;
use muster_wire::limits::{PARTITION_QUEUE_MAX, RETAINED_QUEUE_MAX};
use muster_wire::time::Timestamp;
use observers::Observers;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, OnceLock};
use tokio::sync::mpsc;

/// The inboxes of the service: one for each partition of things, one for the fleet as a whole, and one for what
/// applications have retained.
pub struct Inboxes {
    /// What concerns one thing; a thing always goes to the same one.
    pub partitions: Vec<mpsc::Receiver<Inbound>>,
    /// What concerns the fleet: operators, enrolment.
    pub fleet: mpsc::Receiver<Inbound>,
    /// Retained messages of applications.
    pub retained: mpsc::Receiver<Inbound>,
}

/// The bus of one process.
pub struct EmbeddedBus {
    partitions: Vec<mpsc::Sender<Inbound>>,
    fleet: mpsc::Sender<Inbound>,
    retained: mpsc::Sender<Inbound>,
    door: OnceLock<Arc<dyn Door>>,
    observers: Observers,
}

impl EmbeddedBus {
    /// A bus with so many partitions, and the inboxes that the service empties.
    #[must_use]
    pub fn new(partitions: usize) -> (Arc<Self>, Inboxes) {
        let (senders, receivers) = (0..partitions.max(1)).map(|_| mpsc::channel(PARTITION_QUEUE_MAX)).unzip();
        let (fleet, fleet_inbox) = mpsc::channel(PARTITION_QUEUE_MAX);
        let (retained, retained_inbox) = mpsc::channel(RETAINED_QUEUE_MAX);
        let bus = Self { partitions: senders, fleet, retained, door: OnceLock::new(), observers: Observers::start() };
        (Arc::new(bus), Inboxes { partitions: receivers, fleet: fleet_inbox, retained: retained_inbox })
    }

    /// Names the door that deliveries go through. Only the first one counts: a process has one.
    pub fn open(&self, door: Arc<dyn Door>) {
        // A second door would be a mistake of the composition, and harmless: it gets no deliveries.
        let _ = self.door.set(door);
    }

    /// A reader's own link; `name` is for logs.
    pub fn observer(&self, name: &str) -> Result<ObserverLink, Stopped> {
        self.observers.link(name)
    }

    /// The retained messages that `filter` matches.
    #[must_use]
    pub fn retained(&self, filter: &TopicFilter) -> Vec<Arc<Message>> {
        self.observers.retained(filter)
    }

    /// Ends the service's workers after everything that was submitted before. Blocks while an inbox is full; not for
    /// async code.
    pub fn stop(&self) {
        for inbox in self.partitions.iter().chain([&self.fleet, &self.retained]) {
            // A worker that is gone already needs no telling.
            let _ = inbox.blocking_send(Inbound::Stop);
        }
    }

    fn inbox(&self, inbound: &Inbound) -> &mpsc::Sender<Inbound> {
        if let Inbound::Retain(_) = inbound {
            return &self.retained;
        }
        match inbound.thing() {
            None => &self.fleet,
            Some(thing) => {
                let mut hasher = DefaultHasher::new();
                thing.hash(&mut hasher);
                let at = hasher.finish() % self.partitions.len() as u64;
                &self.partitions[usize::try_from(at).unwrap_or(0)]
            }
        }
    }
}

impl Requests for EmbeddedBus {
    fn submit(&self, inbound: Inbound) -> Result<Submitted, Stopped> {
        let inbox = self.inbox(&inbound);
        match inbox.try_send(inbound) {
            Ok(()) => Ok(Submitted::Queued),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(Stopped),
            Err(mpsc::error::TrySendError::Full(inbound)) => {
                let inbox = inbox.clone();
                Ok(Submitted::Full(Box::pin(async move { inbox.send(inbound).await.map_err(|_| Stopped) })))
            }
        }
    }
}

impl Deliveries for EmbeddedBus {
    fn deliver(&self, thing: &ThingName, message: &Arc<Message>) {
        if let Some(door) = self.door.get() {
            door.deliver(thing, message);
        }
        if self.observers.wanted(&message.topic) {
            self.observers.publish(message);
        }
    }

    fn wanted(&self, thing: &ThingName, topic: &str) -> bool {
        self.door.get().is_some_and(|door| door.wanted(thing, topic)) || self.observers.wanted(topic)
    }

    fn spread(&self, message: &Arc<Message>) {
        if let Some(door) = self.door.get() {
            door.spread(message);
        }
    }

    fn keep(&self, message: &Arc<Message>, at: Timestamp) {
        if let Some(door) = self.door.get() {
            door.keep(message, at);
        }
    }

    fn observed(&self, topic: &str) -> bool {
        self.observers.wanted(topic)
    }

    fn observe(&self, message: Message, retain: bool) {
        if retain {
            self.observers.retain(&message);
        }
        if self.observers.wanted(&message.topic) {
            self.observers.publish(&message);
        }
    }

    fn kick(&self, thing: &ThingName) {
        if let Some(door) = self.door.get() {
            door.kick(thing);
        }
    }

    fn recheck(&self, whose: &Whose) {
        if let Some(door) = self.door.get() {
            door.recheck(whose);
        }
    }
}

#[cfg(test)]
mod tests;
