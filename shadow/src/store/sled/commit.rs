//! The committer: the one thread that changes the store.
//!
//! It takes all that has queued while the last commit was on its way to the disk, checks each op against the state
//! that the earlier ones leave, writes once, syncs once, and answers everyone. Because nothing else writes, a check
//! needs no lock. After a failed commit nobody knows what is on the disk (a second fsync may report success for pages
//! that the first has lost), so the store takes no more work until it has been opened again.

use std::any::Any;
use std::collections::HashMap;
use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::sync::mpsc;

use super::super::apply::Request;
use super::super::{Answer, Change, Op, Revision, StoreError};
use super::SledSettings;
use super::changes::{Changes, Watch};
use super::files::DataFiles;
use super::layout::{self, Head, RESERVED_KEY};

/// Revisions are reserved on disk this many at a time, so that none is given twice even if the records that carried
/// the last ones are gone. A restart skips what was left: with 64 bits that is no loss.
const RESERVE: u64 = 1 << 20;

/// What readers and the committer share.
pub(super) struct Shared {
    poison: OnceLock<StoreError>,
    live_bytes: AtomicU64,
    changes: Changes,
}

impl Shared {
    pub(super) fn new(live_bytes: u64) -> Self {
        Self { poison: OnceLock::new(), live_bytes: AtomicU64::new(live_bytes), changes: Changes::default() }
    }

    /// A poisoned store is not read either: what it would show may never have reached the disk.
    pub(super) fn check_usable(&self) -> Result<(), StoreError> {
        self.poison.get().map_or(Ok(()), |error| Err(error.clone()))
    }

    /// Notes which keys are changed from now on.
    pub(super) fn watch_changes(&self) -> Watch<'_> {
        self.changes.watch()
    }

    pub(super) fn live_bytes(&self) -> u64 {
        self.live_bytes.load(Ordering::Relaxed)
    }
}

pub(super) struct Committer {
    db: ::sled::Db,
    data: DataFiles,
    shared: Arc<Shared>,
    inbox: mpsc::Receiver<Request>,
    commit_ops: usize,
    commit_bytes: usize,
    /// The last revision given.
    last: u64,
    /// The last revision that may be given before more are reserved.
    reserved: u64,
}

impl Committer {
    pub(super) fn new(
        db: ::sled::Db,
        data: DataFiles,
        shared: Arc<Shared>,
        inbox: mpsc::Receiver<Request>,
        settings: &SledSettings,
    ) -> Result<Self, StoreError> {
        let read = db.get(RESERVED_KEY).map_err(|error| poisoned("read its last revision", error))?;
        let last = match read {
            None => 0,
            Some(raw) => {
                let bytes = raw.as_ref().try_into();
                u64::from_be_bytes(bytes.map_err(|_| layout::damaged(b"", "the last revision is not eight bytes"))?)
            }
        };
        let (commit_ops, commit_bytes) = (settings.commit_ops, settings.commit_bytes);
        let mut this = Self { db, data, shared, inbox, commit_ops, commit_bytes, last, reserved: last };
        this.reserve(1)?;
        Ok(this)
    }

    /// Works until the store is dropped and the queue is empty.
    pub(super) fn run(mut self) {
        while let Some(first) = self.inbox.blocking_recv() {
            let (batches, replies): (Vec<_>, Vec<_>) =
                self.group(first).into_iter().map(|request| (request.ops, request.reply)).unzip();
            // sled asserts its own invariants; a panic in it leaves the commit as unknown as a failed sync does.
            let outcome = catch_unwind(AssertUnwindSafe(|| self.commit(batches)))
                .unwrap_or_else(|panic| Err(poisoned("commit", Panicked::from(panic))));
            match outcome {
                // Whoever has gone away does not want the answer.
                Ok(answers) => replies.into_iter().zip(answers).for_each(|(reply, answers)| {
                    let _ = reply.send(Ok(answers));
                }),
                Err(error) => {
                    let error = self.poison(error);
                    replies.into_iter().for_each(|reply| {
                        let _ = reply.send(Err(error.clone()));
                    });
                }
            }
        }
    }

    /// The first request and what has queued behind it, up to the limits of one commit.
    fn group(&mut self, first: Request) -> Vec<Request> {
        let weight = |request: &Request| request.ops.iter().map(Op::weight).sum::<usize>();
        let mut ops = first.ops.len();
        let mut bytes = weight(&first);
        let mut group = vec![first];
        while ops < self.commit_ops && bytes < self.commit_bytes {
            let Ok(request) = self.inbox.try_recv() else { break };
            ops += request.ops.len();
            bytes += weight(&request);
            group.push(request);
        }
        group
    }

    fn commit(&mut self, batches: Vec<Vec<Op>>) -> Result<Vec<Vec<Answer>>, StoreError> {
        self.shared.check_usable()?;
        self.reserve(batches.iter().map(Vec::len).sum::<usize>() as u64)?;
        let mut draft = Draft::new(&self.db, self.last);
        let answers = batches
            .into_iter()
            .map(|ops| ops.into_iter().map(|op| draft.apply(op)).collect::<Result<Vec<Answer>, StoreError>>())
            .collect::<Result<Vec<_>, StoreError>>()?;
        let Draft { batch, heads, last, added_bytes, removed_bytes, changed, .. } = draft;
        if changed {
            let shared = self.shared.clone();
            let mut commit = shared.changes.commit();
            // Noted first: a write that fails may have changed something all the same.
            commit.note(heads.keys());
            self.write(batch)?;
        }
        self.last = last;
        self.shared.live_bytes.fetch_add(added_bytes, Ordering::Relaxed);
        self.shared.live_bytes.fetch_sub(removed_bytes, Ordering::Relaxed);
        Ok(answers)
    }

    /// Makes sure that `count` revisions after the last are reserved.
    fn reserve(&mut self, count: u64) -> Result<(), StoreError> {
        if self.last + count <= self.reserved {
            return Ok(());
        }
        let reserved = self.last + count + RESERVE;
        let mut batch = ::sled::Batch::default();
        batch.insert(RESERVED_KEY, &reserved.to_be_bytes());
        self.write(batch)?;
        self.reserved = reserved;
        Ok(())
    }

    fn write(&mut self, batch: ::sled::Batch) -> Result<(), StoreError> {
        self.db.apply_batch(batch).map_err(|error| poisoned("write a commit", error))?;
        self.db.flush().map_err(|error| poisoned("flush a commit", error))?;
        self.data.sync().map_err(|error| poisoned("sync a commit to the disk", error))
    }

    /// Keeps the first failure as the reason for all later refusals.
    fn poison(&self, error: StoreError) -> StoreError {
        if self.shared.poison.set(error.clone()).is_ok() {
            tracing::error!(error = %chain(&error), "the store takes no more work");
        }
        self.shared.poison.get().cloned().unwrap_or(error)
    }
}

/// A commit in the making: the state as it will be, as far as ops have asked for it.
struct Draft<'a> {
    db: &'a ::sled::Db,
    batch: ::sled::Batch,
    heads: HashMap<Vec<u8>, Option<Head>>,
    last: u64,
    added_bytes: u64,
    removed_bytes: u64,
    changed: bool,
}

impl<'a> Draft<'a> {
    fn new(db: &'a ::sled::Db, last: u64) -> Self {
        let batch = ::sled::Batch::default();
        Self { db, batch, heads: HashMap::new(), last, added_bytes: 0, removed_bytes: 0, changed: false }
    }

    fn apply(&mut self, op: Op) -> Result<Answer, StoreError> {
        let Op { key, expect, change } = op;
        let found = self.head(&key)?;
        if let Err(conflict) = expect.check(found.map(|head| head.revision)) {
            return Ok(Err(conflict));
        }
        self.last += 1;
        let revision = Revision::new(self.last);
        if let Some(old) = found {
            // In a sled batch the last word on a key counts, so this also takes back pieces put earlier in the draft.
            old.chunk_keys().for_each(|chunk| self.batch.remove(&chunk));
            self.removed_bytes += (key.len() + old.value_bytes) as u64;
        }
        let head = match change {
            Change::Put(value) => {
                let head = Head::of(revision, &value);
                head.chunks(&value).for_each(|(chunk, piece)| self.batch.insert(&chunk, piece));
                self.batch.insert(layout::record_key(&key), head.encode(&value));
                self.added_bytes += (key.len() + value.len()) as u64;
                Some(head)
            }
            Change::Delete => {
                if found.is_some() {
                    self.batch.remove(layout::record_key(&key));
                }
                None
            }
        };
        self.changed |= found.is_some() || head.is_some();
        self.heads.insert(key, head);
        Ok(Ok(revision))
    }

    fn head(&self, key: &[u8]) -> Result<Option<Head>, StoreError> {
        if let Some(head) = self.heads.get(key) {
            return Ok(*head);
        }
        let raw = self.db.get(layout::record_key(key)).map_err(|error| poisoned("read for a commit", error))?;
        raw.map(|raw| Head::decode(key, &raw)).transpose()
    }
}

fn poisoned(action: &'static str, source: impl Error + Send + Sync + 'static) -> StoreError {
    StoreError::Poisoned { action, source: Arc::new(source) }
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// What the engine said when it panicked.
#[derive(Debug, thiserror::Error)]
#[error("the engine panicked: {0}")]
struct Panicked(String);

impl From<Box<dyn Any + Send>> for Panicked {
    fn from(panic: Box<dyn Any + Send>) -> Self {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        Self(text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned()))
    }
}
