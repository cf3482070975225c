//! The store on sled 0.34.7.
//!
//! ```text
//! <dir>/lock      held by the one process that has the store open
//! <dir>/sled/     db (the log with all data), conf, snap.* (written when opening), blobs/ (kept empty)
//! <dir>/sled.new/ a store that is being made for the first time; renamed to sled/ when it is whole
//! ```
//!
//! sled's `flush` starts and awaits write-out with `sync_file_range`: that survives a killed process, not a power cut.
//! So a commit is `apply_batch`, `flush`, then `fdatasync` on our own handle to `db` (see `commit.rs`). sled's own
//! flusher thread is off; nothing but the committer decides when data goes to disk.
//!
//! What is left to chance: sled may write a new segment of its log over a freed one, and both the copy that freed it
//! and the overwriting can fall between two of our syncs. A power cut there, on a disk that reorders writes in a
//! volatile cache, can lose older data. sled checksums its pages, so this is found when the store is opened or read.

mod changes;
mod commit;
mod files;
mod layout;

use std::fmt;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use bytes::Bytes;
use tokio::sync::mpsc;

use self::commit::{Committer, Shared};
use self::layout::Head;
use super::apply::Request;
use super::op::check_limits;
use super::{ApplyFuture, Op, SnapshotVisit, Store, StoreError, Stored, Visit, keys};

/// How much a [`SledStore`] may use.
#[derive(Debug, Clone)]
pub struct SledSettings {
    /// Bytes of pages that sled keeps in memory. More makes reads and updates of many keys faster.
    pub cache_bytes: u64,
    /// Batches that may wait for the committer; whoever comes when it is full waits for room.
    pub queue_batches: usize,
    /// Ops in one commit, after which the next waiting batch is left for the next commit.
    pub commit_ops: usize,
    /// Bytes of keys and values in one commit, likewise.
    pub commit_bytes: usize,
}

impl Default for SledSettings {
    fn default() -> Self {
        Self {
            cache_bytes: 64 * 1024 * 1024,
            queue_batches: 1024,
            commit_ops: 1024,
            // Two segments of sled's log: bounds memory, and how much can be unsynced at a power cut.
            commit_bytes: 1024 * 1024,
        }
    }
}

/// Runs on the committer before each sync of the data file; an error takes the place of the sync's. For tests.
pub type SyncHook = Box<dyn FnMut() -> std::io::Result<()> + Send>;

/// The durable store of one process. Dropping it carries out what is queued and closes it.
pub struct SledStore {
    db: ::sled::Db,
    shared: Arc<Shared>,
    queue: Option<mpsc::Sender<Request>>,
    committer: Option<JoinHandle<()>>,
    // Last, so that the lock is let go after sled has closed its files.
    _lock: files::Lock,
}

impl SledStore {
    /// Opens the store in `dir`, making it if there is none. sled drops a torn end of its log: all that was answered
    /// is there, of what was not answered any part may be.
    pub fn open(dir: &Path, settings: &SledSettings) -> Result<Self, StoreError> {
        Self::open_with_sync_hook(dir, settings, Box::new(|| Ok(())))
    }

    /// As [`SledStore::open`], with a step before each sync that a test can make fail or wait.
    pub fn open_with_sync_hook(dir: &Path, settings: &SledSettings, hook: SyncHook) -> Result<Self, StoreError> {
        let lock = files::Lock::take(dir)?;
        let db = files::open(dir, settings)?;
        let data = files::DataFiles::of(dir, hook)?;
        let shared = Arc::new(Shared::new(layout::live_bytes(&db)?));
        let (queue, inbox) = mpsc::channel(settings.queue_batches.max(1));
        let committer = Committer::new(db.clone(), data, shared.clone(), inbox, settings)?;
        let committer = std::thread::Builder::new()
            .name("store-commit".to_owned())
            .spawn(move || committer.run())
            .map_err(|source| files::error("start a thread for the store in", dir, source))?;
        Ok(Self { db, shared, queue: Some(queue), committer: Some(committer), _lock: lock })
    }

    fn read_failed(key: &[u8], source: ::sled::Error) -> StoreError {
        StoreError::Read { key: keys::describe(key), source: Arc::new(source) }
    }

    /// The value under a head that was read a moment ago; `None` when the record has changed since.
    fn value(&self, key: &[u8], raw: &::sled::IVec) -> Result<Option<Stored>, StoreError> {
        let head = Head::decode(key, raw)?;
        let value = match head.inline(raw) {
            Some(inline) => Bytes::copy_from_slice(inline),
            None => {
                let mut value = Vec::with_capacity(head.value_bytes);
                for chunk in head.chunk_keys() {
                    match self.db.get(chunk).map_err(|error| Self::read_failed(key, error))? {
                        Some(bytes) => value.extend_from_slice(&bytes),
                        None => return Ok(None),
                    }
                }
                if value.len() != head.value_bytes {
                    return Err(layout::damaged(key, "its pieces do not add up to its length"));
                }
                Bytes::from(value)
            }
        };
        Ok(Some(Stored { revision: head.revision, value }))
    }
}

impl Store for SledStore {
    fn get(&self, key: &[u8]) -> Result<Option<Stored>, StoreError> {
        self.shared.check_usable()?;
        let record = layout::record_key(key);
        let mut tried = None;
        loop {
            let Some(raw) = self.db.get(&record).map_err(|error| Self::read_failed(key, error))? else {
                return Ok(None);
            };
            if let Some(stored) = self.value(key, &raw)? {
                return Ok(Some(stored));
            }
            // A piece was gone. The commit that removes it writes the new head in the same step, so a head that is
            // still the same has truly lost it.
            let revision = Head::decode(key, &raw)?.revision;
            if tried.replace(revision) == Some(revision) {
                return Err(layout::damaged(key, "a piece of its value is missing"));
            }
        }
    }

    fn scan_from(&self, prefix: &[u8], after: Option<&[u8]>, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        self.shared.check_usable()?;
        let record_prefix = layout::record_key(prefix);
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(layout::record_key(after)),
            _ => Bound::Included(record_prefix.clone()),
        };
        for item in self.db.range((start, Bound::Unbounded)) {
            let (record, raw) = item.map_err(|error| Self::read_failed(prefix, error))?;
            if !record.starts_with(&record_prefix) {
                break;
            }
            let key = layout::key_of(&record);
            // A head from the scan may be older than its pieces; then the record is read afresh.
            let stored = match self.value(key, &raw)? {
                Some(stored) => Some(stored),
                None => self.get(key)?,
            };
            if stored.is_some_and(|stored| visit(key, stored).is_break()) {
                break;
            }
        }
        Ok(())
    }

    fn apply(&self, ops: Vec<Op>) -> ApplyFuture {
        if let Err(error) = self.shared.check_usable().and_then(|()| check_limits(&ops)) {
            return ApplyFuture::known(Err(error));
        }
        match &self.queue {
            Some(queue) => ApplyFuture::enter(queue, ops),
            None => ApplyFuture::known(Err(StoreError::Closed)),
        }
    }

    fn snapshot(&self, visit: &mut SnapshotVisit<'_>) -> Result<(), StoreError> {
        let changes = self.shared.watch_changes();
        let mut broken = false;
        self.scan(b"", &mut |key, stored| {
            let flow = visit(key, Some(&stored.value));
            broken = flow.is_break();
            flow
        })?;
        // No commit ends from here on; each key that one has changed since the scan began is read once more.
        let changed = changes.stop();
        for key in changed.keys() {
            if broken {
                break;
            }
            let stored = self.get(key)?;
            broken = visit(key, stored.as_ref().map(|stored| stored.value.as_ref())).is_break();
        }
        self.shared.check_usable()
    }

    fn live_bytes(&self) -> u64 {
        self.shared.live_bytes()
    }

    fn size_on_disk(&self) -> Result<u64, StoreError> {
        self.db
            .size_on_disk()
            .map_err(|source| StoreError::Read { key: "the size of its files".to_owned(), source: Arc::new(source) })
    }
}

impl Drop for SledStore {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(committer) = self.committer.take() {
            // It catches its own panics; there is nothing to learn from the join.
            let _ = committer.join();
        }
    }
}

impl fmt::Debug for SledStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SledStore").field("live_bytes", &self.live_bytes()).finish_non_exhaustive()
    }
}
