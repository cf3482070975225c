//! The journal of one component on the disk. Whoever changes it holds it for that moment only.

use super::files;
use crate::brain::record::Record;
use crate::places::Prefix;
use muster_wire::id::ComponentName;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

/// A journal; clones share it.
#[derive(Clone, Debug)]
pub struct Journal(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    record: Record,
}

/// Why a journal could not be used; it names the file.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// It was not written; the old one stands.
    #[error("cannot write the journal {path}{}", if crate::platform::is_disk_full(source) { ": the disk is full" } else { "" })]
    Write {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// It is not a journal.
    #[error("cannot read the journal {path}; check that it belongs to this user and is on a healthy disk")]
    Read {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: io::Error,
    },
    /// A later agent wrote it.
    #[error("the journal {path} has format {found}; this agent knows format {FORMAT}: install a newer agent")]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
}

/// Changes when an older agent could misread the journal.
const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Stored {
    format: u32,
    #[serde(flatten)]
    record: Record,
}

impl Journal {
    /// Opens the journal at `path`; one that is not there is empty.
    pub fn open(path: PathBuf) -> Result<Self, JournalError> {
        let record = read(&path)?;
        Ok(Self(Arc::new(Mutex::new(Inner { path, record }))))
    }

    /// Opens the journal; a damaged one is set aside. What `current` points to is wholly one version, so going on from
    /// there is right; only an upgrade under way and the ends of earlier ones are forgotten.
    pub fn open_or_set_aside(path: PathBuf) -> Result<Self, JournalError> {
        match Self::open(path.clone()) {
            Err(JournalError::Read { source, .. }) => {
                tracing::error!(path = %path.display(), error = %source, "the journal is damaged and set aside");
                files::set_aside(&path).map_err(|source| JournalError::Read { path: path.clone(), source })?;
                Self::open(path)
            }
            other => other,
        }
    }

    /// A copy of what it says.
    pub fn read(&self) -> Record {
        self.lock().record.clone()
    }

    /// Changes it. When this returns the change is durable; on an error nothing has changed.
    pub fn change<T>(&self, change: impl FnOnce(&mut Record) -> T) -> Result<T, JournalError> {
        let mut inner = self.lock();
        let mut record = inner.record.clone();
        let result = change(&mut record);
        let stored = Stored { format: FORMAT, record };
        files::replace_json(&inner.path, &stored)
            .map_err(|source| JournalError::Write { path: inner.path.clone(), source })?;
        inner.record = stored.record;
        Ok(result)
    }

    /// Changes it in memory although it could not be written: better than stopping half-way back. The steps are
    /// idempotent, so a crash repeats some of them.
    pub fn change_unwritten(&self, change: impl FnOnce(&mut Record)) {
        change(&mut self.lock().record);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic inside a change leaves the record as it was.
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Reads a journal without keeping it.
pub fn read(path: &Path) -> Result<Record, JournalError> {
    let failed = |source| JournalError::Read { path: path.to_owned(), source };
    match files::read_json::<Stored>(path).map_err(failed)? {
        None => Ok(Record::default()),
        Some(stored) if stored.format > FORMAT => {
            Err(JournalError::Format { path: path.to_owned(), found: stored.format })
        }
        Some(stored) => Ok(stored.record),
    }
}

/// The components that a folder has an entry for: `name.json` in the journals, `name` in the components.
pub fn names(folder: &Path) -> Vec<ComponentName> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let name = |file: std::ffi::OsString| {
        let file = file.into_string().ok()?;
        ComponentName::new(file.strip_suffix(".json").unwrap_or(&file)).ok()
    };
    entries.filter_map(|entry| name(entry.file_name())).collect()
}

/// Every component of a prefix, by its journal or its folder.
pub fn known(prefix: &Prefix) -> BTreeSet<ComponentName> {
    names(&prefix.journals()).into_iter().chain(names(&prefix.components())).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use muster_wire::id::Version;

    #[test]
    fn a_change_is_on_the_disk_or_did_not_happen() {
        let folder = tempfile::tempdir().unwrap();
        let journals = folder.path().join("journal");
        fs::create_dir(&journals).unwrap();
        let path = journals.join("greeter.json");
        let journal = Journal::open(path.clone()).unwrap();
        let set = |version: &'static str| move |record: &mut Record| record.previous = Version::new(version).ok();
        journal.change(set("1")).unwrap();
        assert_eq!(read(&path).unwrap(), journal.read());
        assert_eq!(names(&journals), [ComponentName::new("greeter").unwrap()]);
        fs::remove_dir_all(&journals).unwrap();
        assert!(matches!(journal.change(set("2")), Err(JournalError::Write { .. })));
        assert_eq!(journal.read().previous, Version::new("1").ok());
        journal.change_unwritten(set("3"));
        assert_eq!(journal.read().previous, Version::new("3").ok());
    }

    #[test]
    fn a_damaged_or_newer_journal_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        fs::write(&path, "{\"format\":1").unwrap();
        assert!(matches!(Journal::open(path.clone()), Err(JournalError::Read { .. })));
        assert_eq!(Journal::open_or_set_aside(path.clone()).unwrap().read(), Record::default());
        assert!(!path.exists() && folder.path().join("a.json.damaged").exists());
        fs::write(&path, "{\"format\":2}").unwrap();
        assert!(matches!(Journal::open(path), Err(JournalError::Format { found: 2, .. })));
    }
}
