//! The files of a vault: on a disk, or for tests in memory, where a test can also let the power fail.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::{Rotation, VaultError};
use crate::store::{self, StoreError};

pub(super) const ROOTS: &str = "ca.crt";
pub(super) const KEY: &str = "ca.key";
pub(super) const CROSS: &str = "cross.crt";
pub(super) const NEXT: &str = "next.crt";
pub(super) const NEXT_CROSS: &str = "next-cross.crt";
pub(super) const NEXT_KEY: &str = "next.key";
pub(super) const RECORD: &str = "rotation.json";

pub(super) enum Files {
    /// Its path, and what is called behind each change.
    Folder(PathBuf, fn()),
    Memory(Mutex<Memory>),
}

#[derive(Default)]
pub(super) struct Memory {
    texts: BTreeMap<&'static str, String>,
    /// Changes that still succeed; then the power fails.
    pub(super) changes_left: Option<u32>,
}

impl Files {
    pub(super) fn at(folder: &Path, changed: fn()) -> Self {
        Self::Folder(folder.to_owned(), changed)
    }

    pub(super) fn in_memory() -> Self {
        Self::Memory(Mutex::default())
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        match self {
            Self::Folder(folder, _) => folder.join(name),
            Self::Memory(_) => name.into(),
        }
    }

    pub(super) fn read(&self, name: &'static str) -> Result<String, VaultError> {
        self.read_if_there(name)?.ok_or_else(|| VaultError::Gone { path: self.path(name) })
    }

    pub(super) fn read_if_there(&self, name: &'static str) -> Result<Option<String>, VaultError> {
        match self {
            Self::Folder(..) => match store::read_pem(&self.path(name)) {
                Ok(text) => Ok(Some(text)),
                Err(StoreError::Missing { .. }) => Ok(None),
                Err(error) => Err(error.into()),
            },
            Self::Memory(memory) => Ok(lock(memory).texts.get(name).cloned()),
        }
    }

    pub(super) fn write(&self, name: &'static str, text: &str) -> Result<(), VaultError> {
        match self {
            Self::Folder(_, changed) => {
                store::write_public(&self.path(name), text.as_bytes())?;
                changed();
                Ok(())
            }
            Self::Memory(memory) => self.change(memory, name, |texts| drop(texts.insert(name, text.to_owned()))),
        }
    }

    pub(super) fn write_key(&self, name: &'static str, text: &str) -> Result<(), VaultError> {
        match self {
            Self::Folder(_, changed) => {
                store::write_secret(&self.path(name), text.as_bytes())?;
                changed();
                Ok(())
            }
            Self::Memory(_) => self.write(name, text),
        }
    }

    pub(super) fn write_if_new(&self, name: &'static str, text: &str) -> Result<(), VaultError> {
        if self.read_if_there(name)?.as_deref() == Some(text) { Ok(()) } else { self.write(name, text) }
    }

    /// Removes what is there. Not synced: what comes back after a crash is removed again.
    pub(super) fn remove(&self, names: &[&'static str]) -> Result<(), VaultError> {
        for name in names {
            match self {
                Self::Folder(_, changed) => match std::fs::remove_file(self.path(name)) {
                    Ok(()) => changed(),
                    Err(source) if source.kind() != ErrorKind::NotFound => {
                        return Err(StoreError::Write { path: self.path(name), step: "remove it", source }.into());
                    }
                    _ => {}
                },
                Self::Memory(memory) => self.change(memory, name, |texts| drop(texts.remove(name)))?,
            }
        }
        Ok(())
    }

    pub(super) fn rotation(&self) -> Result<Option<Rotation>, VaultError> {
        let path = self.path(RECORD);
        let text = match self {
            Self::Folder(..) => match std::fs::read_to_string(&path) {
                Ok(text) => text,
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                Err(source) => return Err(StoreError::Read { path, source }.into()),
            },
            Self::Memory(memory) => match lock(memory).texts.get(RECORD) {
                Some(text) => text.clone(),
                None => return Ok(None),
            },
        };
        serde_json::from_str(&text).map(Some).map_err(|error| VaultError::Record { path, reason: error.to_string() })
    }

    pub(super) fn write_rotation(&self, rotation: &Rotation) -> Result<(), VaultError> {
        let record =
            |error: serde_json::Error| VaultError::Record { path: self.path(RECORD), reason: error.to_string() };
        self.write(RECORD, &serde_json::to_string_pretty(rotation).map_err(record)?)
    }

    fn change(
        &self,
        memory: &Mutex<Memory>,
        name: &str,
        change: impl FnOnce(&mut BTreeMap<&'static str, String>),
    ) -> Result<(), VaultError> {
        let mut memory = lock(memory);
        match &mut memory.changes_left {
            Some(0) => {
                let source = ErrorKind::Other.into();
                return Err(StoreError::Write { path: self.path(name), step: "write it", source }.into());
            }
            Some(left) => *left -= 1,
            None => {}
        }
        change(&mut memory.texts);
        Ok(())
    }
}

fn lock(memory: &Mutex<Memory>) -> std::sync::MutexGuard<'_, Memory> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}
