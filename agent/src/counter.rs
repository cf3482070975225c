//! How often this installation has begun to connect. The server finds out by it when one identity runs in two places: one
//! place counts upwards, a copy repeats a number or goes back.
//!
//! The count is on the disk before the attempt is made, so a crash can skip a number and never repeats one. Where it
//! cannot be written, the agent connects all the same and says nothing of it: a full disk is no copy.

use crate::hands::files;
use muster_runtime::ids;
use muster_wire::enrol::Installation;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tracing::warn;

/// The count of one prefix. The lock of the prefix sees to it that only one agent counts.
#[derive(Debug)]
pub struct Counter {
    path: PathBuf,
    begun: Mutex<Option<Installation>>,
}

impl Counter {
    /// The count that is kept at `path`; it begins with the first attempt.
    pub fn at(path: PathBuf) -> Self {
        Self { path, begun: Mutex::new(None) }
    }

    /// Counts an attempt to connect, durably.
    pub fn begin(&self) {
        let counted = self.count();
        if let Err(error) = &counted {
            warn!(path = %self.path.display(), %error, "connects are not counted: this file is not usable");
        }
        *self.lock() = counted.ok();
    }

    /// What to tell the server of the latest attempt; nothing when it could not be counted.
    pub fn begun(&self) -> Option<Installation> {
        self.lock().clone()
    }

    fn count(&self) -> io::Result<Installation> {
        let before = files::read_json::<Installation>(&self.path)?;
        let next = match before {
            Some(before) => Installation { session: before.session + 1, ..before },
            None => Installation { id: ids::random_hex::<16>(), session: 1 },
        };
        files::replace_json(&self.path, &next)?;
        Ok(next)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Installation>> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_attempt_counts_and_the_count_outlives_the_agent() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("session.json");
        let counter = Counter::at(path.clone());
        assert_eq!(counter.begun(), None);
        counter.begin();
        counter.begin();
        let told = counter.begun().unwrap();
        assert_eq!((told.session, told.id.len()), (2, 32));
        let next = Counter::at(path.clone());
        next.begin();
        assert_eq!(next.begun(), Some(Installation { session: 3, ..told.clone() }));

        // What cannot be counted is not told, and the next one that can goes on upwards.
        std::fs::rename(&path, folder.path().join("kept")).unwrap();
        std::fs::create_dir(&path).unwrap();
        next.begin();
        assert_eq!(next.begun(), None);
        std::fs::remove_dir(&path).unwrap();
        std::fs::rename(folder.path().join("kept"), &path).unwrap();
        next.begin();
        assert_eq!(next.begun(), Some(Installation { session: 4, ..told }));
    }
}
