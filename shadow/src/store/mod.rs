//! The durable store: keys, values, revisions, and one compare-and-swap per key.
//!
//! [`Store`] is all that the services know. It fits an embedded engine ([`SledStore`]) and a replicated key-value
//! store alike: get, ordered scan of a prefix, and a batch of single-key compare-and-swaps, each with its own answer.
//! It refuses to know what a value means ([`codec`] does) and how a key is made up ([`keys`] does).
//!
//! ```text
//!  worker ──apply(ops)──▶ bounded queue ──▶ committer: check, write, sync ──▶ answers
//!  worker ──apply(ops)──▶      │                (one sync for all that queued)
//!  worker ──get / scan ───────────────────▶ engine
//! ```
//!
//! Invariants
//! * An answer to [`Store::apply`] comes only after the change is durable.
//! * A revision is given once in the life of a store: never again after a delete, a re-creation or a restart.
//! * Each op is atomic. A batch is not: after a crash any part of an unanswered batch may be there.
//! * A read may see a change a moment before it is durable. Whoever tells the outside about a change waits for the
//!   answer to its own op, not for a read.

mod apply;
pub mod codec;
pub mod dump;
mod error;
pub mod keys;
mod ledger;
mod memory;
mod op;
mod sled;

use std::ops::ControlFlow;

use bytes::Bytes;

pub use self::apply::{ApplyFuture, Outcome};
pub use self::error::StoreError;
pub use self::keys::{Key, Kind};
pub use self::ledger::{Ledger, Ledgered};
pub use self::memory::MemoryStore;
pub use self::op::{Answer, Change, Conflict, Expect, KEY_BYTES_MAX, Op, Revision, VALUE_BYTES_MAX};
pub use self::sled::{SledSettings, SledStore, SyncHook};

/// A value and the revision of the op that wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Revision of the op that wrote this value.
    pub revision: Revision,
    /// The bytes that were put.
    pub value: Bytes,
}

/// One record of a scan: its key and what is stored there.
pub type Entry = (Vec<u8>, Stored);

/// Called for each record of a scan, in key order, until it breaks.
pub type Visit<'a> = dyn FnMut(&[u8], Stored) -> ControlFlow<()> + 'a;

/// Called for each word on a record in a snapshot: its value, or that it is gone. A later word takes the place of an
/// earlier one on the same key.
pub type SnapshotVisit<'a> = dyn FnMut(&[u8], Option<&[u8]>) -> ControlFlow<()> + 'a;

/// A durable map from keys to values with a compare-and-swap on each key. Used as `Arc<dyn Store>`.
///
/// Reads may block on the disk for a page that is not in the cache.
pub trait Store: Send + Sync + 'static {
    /// Reads one record.
    fn get(&self, key: &[u8]) -> Result<Option<Stored>, StoreError>;

    /// Visits the records whose keys start with `prefix` and are greater than `after`, in key order.
    ///
    /// Not a snapshot: records that change meanwhile are seen in their old or their new state, each once.
    fn scan_from(&self, prefix: &[u8], after: Option<&[u8]>, visit: &mut Visit<'_>) -> Result<(), StoreError>;

    /// Applies each op by itself, in order, and answers each after all of them are durable.
    ///
    /// Errors: a key or a value over its limit refuses the whole batch before anything is done; a fatal error
    /// ([`StoreError::is_fatal`]) says nothing about what was written, and the process must stop.
    fn apply(&self, ops: Vec<Op>) -> ApplyFuture;

    /// Visits all records so that the last words on all keys are the store as it was at one moment: when this returns.
    /// Changes go on meanwhile.
    fn snapshot(&self, visit: &mut SnapshotVisit<'_>) -> Result<(), StoreError>;

    /// Bytes of all keys and values that are there now.
    fn live_bytes(&self) -> u64;

    /// Bytes that the store takes on the disk.
    fn size_on_disk(&self) -> Result<u64, StoreError>;

    /// Visits the records whose keys start with `prefix`, in key order.
    fn scan(&self, prefix: &[u8], visit: &mut Visit<'_>) -> Result<(), StoreError> {
        self.scan_from(prefix, None, visit)
    }

    /// All records whose keys start with `prefix`. Only for prefixes that are known to be short.
    fn scan_all(&self, prefix: &[u8]) -> Result<Vec<Entry>, StoreError> {
        self.scan_after(prefix, None, usize::MAX)
    }

    /// One page: at most `limit` records under `prefix` whose keys are greater than `after`.
    ///
    /// The next page starts after the last key of this one; a page shorter than `limit` is the last.
    fn scan_after(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let mut page = Vec::new();
        if limit == 0 {
            return Ok(page);
        }
        self.scan_from(prefix, after, &mut |key, stored| {
            page.push((key.to_vec(), stored));
            if page.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        Ok(page)
    }
}
