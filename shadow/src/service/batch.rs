//! One durable commit: reads through, collects writes and everything that may only be said after them.

use super::ServiceError;
use super::jobs::queued::Round;
use crate::records::{JobQueued, Record, key};
use crate::store::{Change, Expect, Key, Op, Store, codec};
use bytes::Bytes;
use muster_bus::{Answer, Connection, Deliveries, Inbound, Message, Tag};
use muster_model::job::Execution;
use muster_wire::id::{JobId, ThingName};
use muster_wire::limits::COMMIT_BATCH_MAX;
use muster_wire::time::Timestamp;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;
use std::vec::Drain;
use tokio::sync::mpsc;

/// Serves an inbox until the bus is stopped: what waits there, as much as fits one batch, at a time.
pub(super) fn drain(mut inbox: mpsc::Receiver<Inbound>, mut serve: impl FnMut(Drain<'_, Inbound>)) {
    let mut waiting = Vec::with_capacity(COMMIT_BATCH_MAX);
    let mut stop = false;
    while !stop && inbox.blocking_recv_many(&mut waiting, COMMIT_BATCH_MAX) > 0 {
        stop = waiting.iter().any(|inbound| matches!(inbound, Inbound::Stop));
        serve(waiting.drain(..));
    }
}

/// Requests of one worker on their way to one commit.
///
/// Reads see the writes of the same batch. A key that is written several times becomes one op, which expects the
/// revision that the first read found: this worker is the only writer of its keys, so the expectation always holds.
pub(super) struct Batch<'a> {
    store: &'a dyn Store,
    /// The time of everything in this batch.
    pub(super) now: Timestamp,
    /// In key order: a scan finds what lies under its prefix without a look at the rest.
    seen: BTreeMap<Vec<u8>, Seen>,
    /// The prefix that was scanned last: what of it is not in `seen` is not there.
    scanned: Option<Vec<u8>>,
    /// Things that get an execution that is like those of others in this batch.
    queued: BTreeMap<ThingName, Vec<Arc<Round>>>,
    rounds: Vec<Arc<Round>>,
    /// The last `notify-next` that was encoded, and of which execution: many things are told the same.
    pub(super) told: Option<(Option<Execution>, Bytes)>,
    calls: Vec<Box<dyn FnOnce(bool) + Send>>,
    said: Vec<Said>,
    undo: Vec<Undo>,
}

/// Where a batch stands, to undo a handler that fails half-way.
#[derive(Clone, Copy)]
pub(super) struct Mark {
    calls: usize,
    said: usize,
    undo: usize,
}

/// What a change replaced.
enum Undo {
    Write {
        key: Vec<u8>,
        value: Option<Bytes>,
        written: bool,
    },
    /// The last round of this thing was added.
    Queue(ThingName),
}

struct Seen {
    expect: Expect,
    value: Option<Bytes>,
    written: bool,
}

/// What may be said only after the commit, in this order.
enum Said {
    Answer { connection: Arc<dyn Connection>, tag: Tag, answer: Answer },
    Deliver { thing: ThingName, message: Arc<Message> },
    Observe { message: Box<Message>, retain: bool },
}

impl<'a> Batch<'a> {
    pub(super) fn new(store: &'a dyn Store, now: Timestamp) -> Self {
        Self {
            store,
            now,
            seen: BTreeMap::new(),
            scanned: None,
            queued: BTreeMap::new(),
            rounds: Vec::new(),
            told: None,
            calls: Vec::new(),
            said: Vec::new(),
            undo: Vec::new(),
        }
    }

    pub(super) fn get<R: Record>(&mut self, key: &Key) -> Result<Option<R>, ServiceError> {
        let seen = self.look(key)?;
        let Some(value) = &seen.value else { return Ok(None) };
        let stored: R::Stored = codec::decode(key.as_bytes(), value)?;
        Ok(Some(stored.into()))
    }

    pub(super) fn put<R: Record>(&mut self, key: &Key, record: &R) -> Result<(), ServiceError> {
        let value = codec::encode(key.as_bytes(), &R::Stored::from(record.clone()))?;
        self.write(key, Some(value.into()))
    }

    pub(super) fn delete(&mut self, key: &Key) -> Result<(), ServiceError> {
        self.write(key, None)
    }

    fn write(&mut self, key: &Key, value: Option<Bytes>) -> Result<(), ServiceError> {
        let seen = self.look(key)?;
        let undo = Undo::Write { key: key.as_bytes().to_vec(), value: seen.value.clone(), written: seen.written };
        seen.value = value;
        seen.written = true;
        self.undo.push(undo);
        Ok(())
    }

    /// Whether this batch deletes the record.
    pub(super) fn deletes(&self, key: &Key) -> bool {
        self.seen.get(key.as_bytes()).is_some_and(|seen| seen.written && seen.value.is_none())
    }

    /// Gives `thing` a queued execution of `job`, unlike [`Batch::put`] together with others: see [`JobQueued`].
    pub(super) fn queue(&mut self, thing: &ThingName, job: &JobId, time_limit: Option<Duration>) -> Arc<Round> {
        let known = self.rounds.iter().find(|round| round.job == *job && round.time_limit == time_limit);
        let round = known.cloned().unwrap_or_else(|| {
            let round = Arc::new(Round { job: job.clone(), at: self.now, time_limit });
            self.rounds.push(round.clone());
            round
        });
        self.queued.entry(thing.clone()).or_default().push(round.clone());
        self.undo.push(Undo::Queue(thing.clone()));
        round
    }

    /// What the thing got by [`Batch::queue`].
    pub(super) fn queued(&self, thing: &ThingName) -> &[Arc<Round>] {
        self.queued.get(thing).map_or(&[], Vec::as_slice)
    }

    /// Every record under `prefix`, in key order, with the writes of this batch.
    pub(super) fn scan<R: Record>(&mut self, prefix: &Key) -> Result<Vec<R>, ServiceError> {
        Ok(self.scan_with_keys(prefix)?.into_iter().map(|(_, record)| record).collect())
    }

    /// The same, each with its key.
    pub(super) fn scan_with_keys<R: Record>(&mut self, prefix: &Key) -> Result<Vec<(Vec<u8>, R)>, ServiceError> {
        self.scanned = None;
        for (key, stored) in self.store.scan_all(prefix.as_bytes())? {
            let seen = || Seen { expect: Expect::Revision(stored.revision), value: Some(stored.value), written: false };
            self.seen.entry(key).or_insert_with(seen);
        }
        self.scanned = Some(prefix.as_bytes().to_vec());
        self.seen_under(prefix)
            .filter_map(|(key, seen)| Some((key, seen.value.as_ref()?)))
            .map(|(key, value)| {
                let stored: R::Stored = codec::decode(key, value)?;
                Ok((key.clone(), stored.into()))
            })
            .collect()
    }

    fn seen_under(&self, prefix: &Key) -> impl Iterator<Item = (&Vec<u8>, &Seen)> {
        let prefix = prefix.as_bytes();
        let from = (Bound::Included(prefix), Bound::Unbounded);
        self.seen.range::<[u8], _>(from).take_while(move |(key, _)| key.starts_with(prefix))
    }

    /// How many records there are under `prefix`, counted up to `most`.
    pub(super) fn count(&self, prefix: &Key, most: usize) -> Result<usize, ServiceError> {
        let (mut fresh, mut gone) = (0, 0);
        for (_, seen) in self.seen_under(prefix) {
            match (matches!(seen.expect, Expect::Absent), seen.value.is_some()) {
                (true, true) => fresh += 1,
                (false, false) => gone += 1,
                (true, false) | (false, true) => {}
            }
        }
        let stored = self.store.scan_after(prefix.as_bytes(), None, most + gone)?.len();
        Ok(stored.saturating_sub(gone) + fresh)
    }

    pub(super) fn answer(&mut self, connection: Arc<dyn Connection>, tag: Tag, answer: Answer) {
        self.said.push(Said::Answer { connection, tag, answer });
    }

    pub(super) fn deliver(&mut self, thing: &ThingName, message: Message) {
        self.said.push(Said::Deliver { thing: thing.clone(), message: Arc::new(message) });
    }

    pub(super) fn observe(&mut self, message: Message, retain: bool) {
        self.said.push(Said::Observe { message: Box::new(message), retain });
    }

    /// Calls `call` with whether the commit succeeded, before anything is said.
    pub(super) fn then(&mut self, call: impl FnOnce(bool) + Send + 'static) {
        self.calls.push(Box::new(call));
    }

    pub(super) fn mark(&self) -> Mark {
        Mark { calls: self.calls.len(), said: self.said.len(), undo: self.undo.len() }
    }

    /// Takes back every write since `mark` and forgets what was to be said.
    pub(super) fn undo(&mut self, mark: Mark) {
        self.calls.truncate(mark.calls);
        self.said.truncate(mark.said);
        for undo in self.undo.drain(mark.undo..).rev() {
            match undo {
                Undo::Write { key, value, written } => {
                    if let Some(seen) = self.seen.get_mut(&key) {
                        seen.value = value;
                        seen.written = written;
                    }
                }
                Undo::Queue(thing) => drop(self.queued.get_mut(&thing).map(Vec::pop)),
            }
        }
    }

    /// Makes the writes durable, then says what is to be said. On an error every request is answered as failed.
    pub(super) fn commit(mut self, bus: &dyn Deliveries) -> Result<(), ServiceError> {
        let queued = self.put_queued();
        let ops: Vec<Op> = self
            .seen
            .into_iter()
            .filter(|(_, seen)| seen.written)
            .map(|(key, seen)| {
                let change = match seen.value {
                    Some(value) => Change::Put(value.into()),
                    None => Change::Delete,
                };
                Op { key, expect: seen.expect, change }
            })
            .collect();
        let outcome = match queued {
            Ok(()) if !ops.is_empty() => self.store.apply(ops).wait().map_err(ServiceError::from).and_then(|answers| {
                match answers.into_iter().find_map(Result::err) {
                    Some(conflict) => Err(ServiceError::Conflict(conflict)),
                    None => Ok(()),
                }
            }),
            Ok(()) | Err(_) => queued,
        };
        let committed = outcome.is_ok();
        // Views first: whoever is answered may ask for them at once.
        self.calls.into_iter().for_each(|call| call(committed));
        for said in self.said {
            match said {
                Said::Answer { connection, tag, answer } => {
                    connection.answer(tag, if committed { answer } else { Answer::failed() });
                }
                Said::Deliver { thing, message } if committed => bus.deliver(&thing, &message),
                Said::Observe { message, retain } if committed => bus.observe(*message, retain),
                Said::Deliver { .. } | Said::Observe { .. } => {}
            }
        }
        outcome
    }

    /// One record for all things of a round.
    fn put_queued(&mut self) -> Result<(), ServiceError> {
        let queued = std::mem::take(&mut self.queued);
        for round in std::mem::take(&mut self.rounds) {
            let has = |rounds: &[Arc<Round>]| rounds.iter().any(|known| Arc::ptr_eq(known, &round));
            let things: Vec<ThingName> =
                queued.iter().filter(|(_, rounds)| has(rounds)).map(|(thing, _)| thing.clone()).collect();
            // Each thing is in one round of a job at most, so no other round has this key.
            let Some(first) = things.first() else { continue };
            let key = key::job_queued(&round.job).part(first);
            let (job, at, time_limit) = (round.job.clone(), round.at, round.time_limit);
            self.put(&key, &JobQueued { job, at, time_limit, things })?;
        }
        Ok(())
    }

    fn look(&mut self, key: &Key) -> Result<&mut Seen, ServiceError> {
        if !self.seen.contains_key(key.as_bytes()) {
            let absent = self.scanned.as_ref().is_some_and(|prefix| key.as_bytes().starts_with(prefix));
            let stored = if absent { None } else { self.store.get(key.as_bytes())? };
            let seen = match stored {
                Some(stored) => {
                    Seen { expect: Expect::Revision(stored.revision), value: Some(stored.value), written: false }
                }
                None => Seen { expect: Expect::Absent, value: None, written: false },
            };
            self.seen.insert(key.as_bytes().to_vec(), seen);
        }
        Ok(self.seen.get_mut(key.as_bytes()).expect("inserted above"))
    }
}
