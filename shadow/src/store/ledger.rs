//! Who may come in, in a file beside the store that a restore of an older store cannot undo: every record of a
//! certificate, of a connector and of an access key; and which authority the fleet has.
//!
//! ```text
//! "muster-ledger-1\n"  id (32 hexadecimal digits)  "\n"      the id is drawn once for a fleet
//! entries as in [`super::dump`], without its end             only puts of what is said above
//! ```
//!
//! The entry is on the disk before the store takes the change: whatever was revoked, the ledger knows it. After a crash
//! in between it says more than the store, and then it is right, for nobody was told that the certificate is good.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::dump::{self, DumpError};
use super::{ApplyFuture, Change, Key, Kind, Op, SnapshotVisit, Store, StoreError, Stored, Visit, codec};
use crate::records::{AuthorityMark, StoredAuthority, key};

/// Begin of every ledger.
const MAGIC: &str = "muster-ledger-1\n";
/// Length of the id.
const ID_BYTES: usize = 32;
/// What is noted.
const NOTED: [Kind; 3] = [Kind::Certificate, Kind::Connector, Kind::AccessKey];
/// A longer ledger is written anew, with the latest word on each record, when it is opened.
const LEDGER_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A ledger as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    /// The fleet's ledger, whatever its age.
    pub id: String,
    /// The latest record of each certificate, connector and access key and of the authority, by its key in the store.
    pub records: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Entries read, older ones included.
    pub entries: u64,
    /// Bytes up to the end of the last whole entry.
    bytes: u64,
}

impl Ledger {
    /// Which authority the fleet had last; `None` in a ledger of an earlier version, or when it is not readable.
    #[must_use]
    pub fn authority(&self) -> Option<AuthorityMark> {
        let key = key::authority();
        let value = self.records.get(key.as_bytes())?;
        codec::decode::<StoredAuthority>(key.as_bytes(), value).ok().map(AuthorityMark::from)
    }

    /// Reads a ledger. An entry that was cut off at the end was never acknowledged and does not count.
    ///
    /// Errors: [`DumpError`].
    pub fn read(path: &Path) -> Result<Self, DumpError> {
        let file = File::open(path).map_err(DumpError::Read)?;
        let mut input = Counted { inner: BufReader::new(file), bytes: 0 };
        let mut head = [0; MAGIC.len() + ID_BYTES + 1];
        input.read_exact(&mut head).map_err(|_| DumpError::Foreign)?;
        let head = std::str::from_utf8(&head).map_err(|_| DumpError::Foreign)?;
        let id = head.strip_prefix(MAGIC).and_then(|rest| rest.strip_suffix('\n')).ok_or(DumpError::Foreign)?;
        let mut ledger = Self { id: id.to_owned(), records: BTreeMap::new(), entries: 0, bytes: input.bytes };
        loop {
            match dump::next(&mut input, ledger.entries) {
                Ok(Some((key, Some(value)))) => ledger.records.insert(key, value),
                Ok(Some((_, None)) | None) => return Err(DumpError::Damaged { entries: ledger.entries }),
                Err(DumpError::Cut { .. }) => return Ok(ledger),
                Err(error) => return Err(error),
            };
            ledger.entries += 1;
            ledger.bytes = input.bytes;
        }
    }
}

struct Counted<R> {
    inner: R,
    bytes: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.bytes += length as u64;
        Ok(length)
    }
}

/// A store that keeps a ledger of its certificates and connectors.
#[derive(Debug)]
pub struct Ledgered<S> {
    inner: S,
    ledger: Mutex<File>,
}

impl<S: Store> Ledgered<S> {
    /// Opens the ledger at `path`; without one it begins with what the store knows. `fresh_id` names a new ledger: 32
    /// hexadecimal digits, drawn at random.
    ///
    /// Errors: `Folder` when the file cannot be used.
    pub fn open(inner: S, path: &Path, fresh_id: &str) -> Result<Self, StoreError> {
        let known = match Ledger::read(path) {
            Ok(ledger) => Some(ledger),
            Err(DumpError::Read(error)) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed("read the ledger", path)(std::io::Error::other(error))),
        };
        let file = match known {
            Some(ledger) if ledger.bytes <= LEDGER_BYTES_MAX => cut(path, ledger.bytes),
            Some(ledger) => write_anew(path, &ledger.id, &ledger.records),
            None => {
                let mut records = BTreeMap::new();
                for kind in NOTED {
                    let entries = inner.scan_all(Key::new(kind).as_bytes())?;
                    records.extend(entries.into_iter().map(|(key, stored)| (key, stored.value.to_vec())));
                }
                let authority = key::authority();
                if let Some(stored) = inner.get(authority.as_bytes())? {
                    records.insert(authority.into(), stored.value.to_vec());
                }
                write_anew(path, fresh_id, &records)
            }
        };
        Ok(Self { inner, ledger: Mutex::new(file.map_err(failed("write the ledger", path))?) })
    }

    fn ledger(&self) -> MutexGuard<'_, File> {
        // A panic while it was held leaves at worst a cut entry, which the next start drops.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, ops: &[Op]) -> std::io::Result<()> {
        let noted = [NOTED.map(Key::new).as_slice(), &[key::authority()]].concat();
        let mut text = Vec::new();
        for op in ops.iter().filter(|op| noted.iter().any(|prefix| op.key.starts_with(prefix.as_bytes()))) {
            if let Change::Put(value) = &op.change {
                dump::entry(&mut text, &op.key, Some(value))?;
            }
        }
        if text.is_empty() {
            return Ok(());
        }
        let mut file = self.ledger();
        file.write_all(&text)?;
        // With its new length, without which the entry could not be found.
        file.sync_data()
    }
}

/// Drops an entry that was cut off, so that the next one can be read.
fn cut(path: &Path, bytes: u64) -> std::io::Result<File> {
    let mut file = File::options().write(true).open(path)?;
    file.set_len(bytes)?;
    file.seek(SeekFrom::End(0))?;
    file.sync_all()?;
    Ok(file)
}

fn write_anew(path: &Path, id: &str, records: &BTreeMap<Vec<u8>, Vec<u8>>) -> std::io::Result<File> {
    let draft: PathBuf = path.with_extension("new");
    let mut file = File::options().write(true).create(true).truncate(true).open(&draft)?;
    let mut text = format!("{MAGIC}{id}\n").into_bytes();
    for (key, value) in records {
        dump::entry(&mut text, key, Some(value))?;
    }
    file.write_all(&text)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).map_or(Ok(()), |dir| File::open(dir)?.sync_all())?;
    Ok(file)
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> StoreError {
    move |source| StoreError::Folder { action, path: path.to_path_buf(), source: Arc::new(source) }
}

impl<S: Store> Store for Ledgered<S> {
    fn get(&self, key: &[u8]) -> Result<Option<Stored>, StoreError> {
        self.inner.get(key)
    }

    fn scan_from(&self, prefix: &[u8], after: Option<&[u8]>, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        self.inner.scan_from(prefix, after, visit)
    }

    fn apply(&self, ops: Vec<Op>) -> ApplyFuture {
        if let Err(source) = self.note(&ops) {
            // What of it is in the file is not known: as after any other failed sync, nothing more is promised.
            let error = StoreError::Poisoned { action: "write the ledger", source: Arc::new(source) };
            return ApplyFuture::known(Err(error));
        }
        self.inner.apply(ops)
    }

    fn snapshot(&self, visit: &mut SnapshotVisit<'_>) -> Result<(), StoreError> {
        self.inner.snapshot(visit)
    }

    fn live_bytes(&self) -> u64 {
        self.inner.live_bytes()
    }

    fn size_on_disk(&self) -> Result<u64, StoreError> {
        self.inner.size_on_disk()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::{Expect, MemoryStore};
    use super::*;

    fn key(id: &str) -> Vec<u8> {
        Key::new(Kind::Certificate).part(id).into()
    }

    fn put(store: &dyn Store, id: &str, value: &str) {
        store.apply(vec![Op::put(key(id), Expect::Any, value)]).wait().unwrap();
    }

    #[test]
    fn every_word_on_who_may_come_in_outlives_the_store() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.log");
        let old = MemoryStore::new();
        put(&old, "before", "good");
        let store = Ledgered::open(old, &path, &"a".repeat(32)).unwrap();
        put(&store, "one", "good");
        put(&store, "one", "revoked");
        store.apply(vec![Op::put(Key::new(Kind::Target).part("x"), Expect::Any, "x")]).wait().unwrap();
        store.apply(vec![Op::delete(key("before"), Expect::Any)]).wait().unwrap();
        drop(store);
        let ledger = Ledger::read(&path).unwrap();
        let records: Vec<(Vec<u8>, &[u8])> = vec![(key("before"), b"good"), (key("one"), b"revoked")];
        assert_eq!(ledger.records, records.into_iter().map(|(k, v)| (k, v.to_vec())).collect());
        assert_eq!((ledger.id.as_str(), ledger.entries), ("a".repeat(32).as_str(), 3));
    }

    #[test]
    fn a_cut_entry_is_dropped_and_the_next_one_can_be_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.log");
        let store = Ledgered::open(MemoryStore::new(), &path, &"b".repeat(32)).unwrap();
        put(&store, "one", "good");
        drop(store);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, [&whole[..], &[0, 0, 0, 9, b'x']].concat()).unwrap();
        assert_eq!(Ledger::read(&path).unwrap().entries, 1);
        let store = Ledgered::open(MemoryStore::new(), &path, &"c".repeat(32)).unwrap();
        put(&store, "two", "good");
        let ledger = Ledger::read(&path).unwrap();
        assert_eq!((ledger.id, ledger.entries), ("b".repeat(32), 2));
    }

    #[test]
    fn what_is_no_ledger_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.log");
        fs::write(&path, "hello").unwrap();
        let error = Ledgered::open(MemoryStore::new(), &path, &"d".repeat(32)).unwrap_err();
        assert!(error.to_string().contains("read the ledger"), "{error}");
    }
}
