//! The store in memory: for tests of everything above the store, and the plain model that `sled` is compared with.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::op::check_limits;
use super::{Answer, ApplyFuture, Change, Op, Revision, SnapshotVisit, Store, StoreError, Stored, Visit};

/// A store that forgets everything when it is dropped; otherwise it keeps the promises of [`Store`].
#[derive(Debug, Default)]
pub struct MemoryStore {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    records: BTreeMap<Vec<u8>, Stored>,
    last: u64,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No step of `State::apply` can panic half way, so what a panicking thread left is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn apply(&mut self, op: Op) -> Answer {
        op.expect.check(self.records.get(&op.key).map(|stored| stored.revision))?;
        self.last += 1;
        let revision = Revision::new(self.last);
        match op.change {
            Change::Put(value) => {
                self.records.insert(op.key, Stored { revision, value: Bytes::from(value) });
            }
            Change::Delete => {
                self.records.remove(&op.key);
            }
        }
        Ok(revision)
    }

    fn bytes(&self) -> usize {
        self.records.iter().map(|(key, stored)| key.len() + stored.value.len()).sum()
    }
}

impl Store for MemoryStore {
    fn get(&self, key: &[u8]) -> Result<Option<Stored>, StoreError> {
        Ok(self.state().records.get(key).cloned())
    }

    fn scan_from(&self, prefix: &[u8], after: Option<&[u8]>, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        let mut at = match after {
            Some(after) if after >= prefix => Bound::Excluded(after.to_vec()),
            _ => Bound::Included(prefix.to_vec()),
        };
        loop {
            // One step at a time and without the lock, so that the visitor may use the store.
            let next = {
                let state = self.state();
                let range = (at.as_ref().map(Vec::as_slice), Bound::<&[u8]>::Unbounded);
                state.records.range::<[u8], _>(range).next().map(|(key, stored)| (key.clone(), stored.clone()))
            };
            match next {
                Some((key, stored)) if key.starts_with(prefix) => {
                    if visit(&key, stored).is_break() {
                        return Ok(());
                    }
                    at = Bound::Excluded(key);
                }
                _ => return Ok(()),
            }
        }
    }

    fn apply(&self, ops: Vec<Op>) -> ApplyFuture {
        if let Err(error) = check_limits(&ops) {
            return ApplyFuture::known(Err(error));
        }
        let mut state = self.state();
        ApplyFuture::known(Ok(ops.into_iter().map(|op| state.apply(op)).collect()))
    }

    fn snapshot(&self, visit: &mut SnapshotVisit<'_>) -> Result<(), StoreError> {
        let records = self.state().records.clone();
        let _ = records.iter().try_for_each(|(key, stored)| visit(key, Some(&stored.value)));
        Ok(())
    }

    fn live_bytes(&self) -> u64 {
        self.state().bytes() as u64
    }

    fn size_on_disk(&self) -> Result<u64, StoreError> {
        Ok(0)
    }
}
