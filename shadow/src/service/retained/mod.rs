//! Retained messages of applications: one thread keeps them, so each has one writer and their bounds are exact.
//!
//! A thread of their own, because their size and number is up to the programs: things never wait for them. The doors
//! have a copy of all of them for delivery; they are told at the start, and after every commit.

mod held;

pub use held::RetainedBounds;

use super::batch::{self, Batch};
use super::{ServiceError, Shared};
use crate::records::{Retained, StoredRetained, key};
use crate::store::{Key, Kind, codec};
use held::{Full, Held};
use muster_bus::{Deliveries, Inbound, Message, NotRetained, Retain};
use muster_wire::limits::COMMIT_BATCH_MAX;
use std::ops::ControlFlow;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Keeps what applications retain.
pub(super) struct RetainedWorker {
    shared: Arc<Shared>,
    held: Held,
}

impl RetainedWorker {
    /// Reads what is kept, removes what nobody needs any more, and tells the doors of the rest.
    pub(super) fn load(shared: Arc<Shared>) -> Result<Self, ServiceError> {
        let now = shared.clock.now();
        let mut over = Vec::new();
        let held = read(&shared, |found| {
            let at = found.at;
            let message = Arc::new(found.into_message());
            if message.is_expired(now) {
                over.push(message.topic.clone());
                return false;
            }
            shared.bus.keep(&message, at);
            true
        })?;
        for page in over.chunks(COMMIT_BATCH_MAX) {
            let mut batch = Batch::new(shared.store.as_ref(), now);
            for topic in page {
                batch.delete(&key::retained(topic))?;
            }
            batch.commit(shared.bus.as_ref())?;
        }
        Ok(Self { shared, held })
    }

    /// The thread's whole life: it ends when the bus is stopped.
    pub(super) fn run(mut self, inbox: mpsc::Receiver<Inbound>) {
        batch::drain(inbox, |waiting| self.serve(waiting));
    }

    fn serve(&mut self, waiting: impl Iterator<Item = Inbound>) {
        let shared = self.shared.clone();
        let mut batch = Batch::new(shared.store.as_ref(), shared.clock.now());
        let mut failed = false;
        for inbound in waiting {
            // The bus sends nothing else here.
            let Inbound::Retain(Retain { message, reply }) = inbound else { continue };
            let mark = batch.mark();
            let outcome = self.one(&mut batch, &message);
            if let Err(error) = &outcome {
                batch.undo(mark);
                failed = true;
                shared.report("retain a message", error);
            }
            let bus = shared.bus.clone();
            batch.then(move |committed| {
                let answer = match outcome {
                    Ok(Err(Full)) => Err(NotRetained::Full),
                    Ok(Ok(())) if committed => {
                        bus.spread(&message);
                        Ok(())
                    }
                    Ok(Ok(())) | Err(_) => Err(NotRetained::Failed),
                };
                // Whoever published it may be gone.
                let _ = reply.send(answer);
            });
        }
        if let Err(error) = batch.commit(shared.bus.as_ref()) {
            failed = true;
            shared.report("commit a batch", &error);
        }
        if failed {
            match read(&shared, |_| true) {
                Ok(held) => self.held = held,
                Err(error) => shared.report("read the retained messages", &error),
            }
        }
    }

    /// Keeps a message, or ends what is kept on its topic. The doors know before anybody hears it: whoever subscribes
    /// meanwhile gets it in one way or the other.
    fn one(&mut self, batch: &mut Batch<'_>, message: &Message) -> Result<Result<(), Full>, ServiceError> {
        let topic = &message.topic;
        if message.payload.is_empty() {
            if self.held.has(topic) {
                self.held.remove(topic);
                self.end(batch, topic)?;
            }
            return Ok(Ok(()));
        }
        let (over, outcome) = self.held.put(message, batch.now);
        for topic in over {
            self.end(batch, &topic)?;
        }
        if outcome.is_ok() {
            let retained = Retained::new(message, batch.now);
            batch.put(&key::retained(topic), &retained)?;
            self.tell(batch, retained);
        }
        Ok(outcome)
    }

    fn end(&self, batch: &mut Batch<'_>, topic: &str) -> Result<(), ServiceError> {
        batch.delete(&key::retained(topic))?;
        self.tell(batch, Retained::new(&Message::new(topic, ""), batch.now));
        Ok(())
    }

    fn tell(&self, batch: &mut Batch<'_>, retained: Retained) {
        let bus = self.shared.bus.clone();
        batch.then(move |committed| {
            if committed {
                let at = retained.at;
                bus.keep(&Arc::new(retained.into_message()), at);
            }
        });
    }
}

/// Reads what is kept; `wanted` says of each message whether it still counts. A damaged record keeps nobody from being
/// served: it counts, is told to nobody, and ends with the next message on its topic.
fn read(shared: &Shared, mut wanted: impl FnMut(Retained) -> bool) -> Result<Held, ServiceError> {
    let mut held = Held::new(shared.config.retained);
    shared.store.scan(Key::new(Kind::Retained).as_bytes(), &mut |found, stored| {
        match codec::decode::<StoredRetained>(found, &stored.value).map(Retained::from) {
            Ok(retained) => {
                let (topic, expires) = (retained.topic.clone(), retained.expires);
                let weight = retained.clone().into_message().weight();
                if wanted(retained) {
                    held.insert(&topic, weight, expires);
                }
            }
            Err(error) => {
                shared.report("read a retained message", &error.into());
                let key = Key::parse(found).ok();
                if let Some(topic) = key.as_ref().and_then(|key| key.parts.first()) {
                    held.insert(topic, stored.value.len(), None);
                }
            }
        }
        ControlFlow::Continue(())
    })?;
    Ok(held)
}
