//! Which keys are changed while a snapshot is taken.
//!
//! ```text
//!  snapshot: watch ──────── scan ────────▶ stop (no commit runs) ─ read the changed keys ─▶ end
//!  committer:      commit, note its keys … commit, note its keys   (waits)                  commit …
//! ```

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Shared by the committer, which notes, and the one snapshot that is being taken.
#[derive(Default)]
pub(super) struct Changes {
    /// Held by a commit from before its write until its keys are noted.
    noted: Mutex<Option<BTreeSet<Vec<u8>>>>,
    /// Held by the snapshot: a second one waits.
    snapshot: Mutex<()>,
}

/// A commit that is under way.
pub(super) struct Commit<'a>(MutexGuard<'a, Option<BTreeSet<Vec<u8>>>>);

/// A snapshot that is under way. Dropped, nothing is noted any more.
pub(super) struct Watch<'a> {
    changes: &'a Changes,
    _only: MutexGuard<'a, ()>,
}

/// The end of a snapshot: no commit runs while it lives.
pub(super) struct Stopped<'a> {
    keys: BTreeSet<Vec<u8>>,
    _still: MutexGuard<'a, Option<BTreeSet<Vec<u8>>>>,
    _watch: Watch<'a>,
}

impl Changes {
    /// Begins a commit.
    pub(super) fn commit(&self) -> Commit<'_> {
        Commit(lock(&self.noted))
    }

    /// Begins a snapshot.
    pub(super) fn watch(&self) -> Watch<'_> {
        let only = lock(&self.snapshot);
        *lock(&self.noted) = Some(BTreeSet::new());
        Watch { changes: self, _only: only }
    }
}

impl Commit<'_> {
    /// The commit has changed these keys.
    pub(super) fn note<'k>(&mut self, keys: impl Iterator<Item = &'k Vec<u8>>) {
        if let Some(noted) = self.0.as_mut() {
            noted.extend(keys.cloned());
        }
    }
}

impl<'a> Watch<'a> {
    /// Ends the watch and holds up commits until the result is dropped.
    pub(super) fn stop(self) -> Stopped<'a> {
        let mut still = lock(&self.changes.noted);
        let keys = still.take().unwrap_or_default();
        Stopped { keys, _still: still, _watch: self }
    }
}

impl Stopped<'_> {
    /// What was changed since the watch began.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.keys.iter()
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        // After a stop the lock was let go before this, and there is nothing to take.
        lock(&self.changes.noted).take();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Neither guarded value is ever half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
