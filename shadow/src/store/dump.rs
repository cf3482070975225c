//! All records of a store as one stream of bytes, for backups.
//!
//! ```text
//! "muster-records-1\n"
//! ( length (4, BE)  key  1  length (4, BE)  value )*      a record
//! ( length (4, BE)  key  0 )*                             there is no such record any more
//! 0 (4, BE)  number of entries (8, BE)                    the end; without it the stream was cut
//! ```
//!
//! An entry takes the place of an earlier one with the same key: so a store is written down while it changes, and what
//! has changed meanwhile is written once more at the end ([`Store::snapshot`]).

use std::io::{self, ErrorKind, Read, Write};

use super::op::check_limits;
use super::{Expect, KEY_BYTES_MAX, Op, Store, StoreError, VALUE_BYTES_MAX};

/// Begin of every dump.
const MAGIC: &[u8] = b"muster-records-1\n";
/// Records that are put into a new store at once.
const OPS_AT_ONCE: usize = 1000;

/// Why records could not be written down or read back.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// The file could not be written.
    #[error("the records cannot be written")]
    Write(#[source] io::Error),
    /// The file could not be read.
    #[error("the records cannot be read")]
    Read(#[source] io::Error),
    /// It begins with something else.
    #[error("these are not the records of a store, or those of a newer version")]
    Foreign,
    /// It ends too early.
    #[error("the records are cut off after {entries} entries; use another backup")]
    Cut {
        /// Whole entries before the end.
        entries: u64,
    },
    /// A length or a mark is not possible.
    #[error("the records are damaged behind entry {entries}; use another backup")]
    Damaged {
        /// Whole entries before the damage.
        entries: u64,
    },
}

/// Writes entries.
pub(super) struct Writer<W> {
    inner: W,
    entries: u64,
}

impl<W: Write> Writer<W> {
    pub(super) fn new(mut inner: W) -> io::Result<Self> {
        inner.write_all(MAGIC)?;
        Ok(Self { inner, entries: 0 })
    }

    fn put(&mut self, key: &[u8], value: Option<&[u8]>) -> io::Result<()> {
        entry(&mut self.inner, key, value)?;
        self.entries += 1;
        Ok(())
    }

    fn finish(mut self) -> io::Result<u64> {
        self.inner.write_all(&0_u32.to_be_bytes())?;
        self.inner.write_all(&self.entries.to_be_bytes())?;
        self.inner.flush()?;
        Ok(self.entries)
    }
}

/// One entry as bytes. Keys and values are far shorter than a length can say.
pub(super) fn entry(out: &mut impl Write, key: &[u8], value: Option<&[u8]>) -> io::Result<()> {
    out.write_all(&(key.len() as u32).to_be_bytes())?;
    out.write_all(key)?;
    match value {
        Some(value) => {
            out.write_all(&[1])?;
            out.write_all(&(value.len() as u32).to_be_bytes())?;
            out.write_all(value)
        }
        None => out.write_all(&[0]),
    }
}

/// Writes down a store as it is at the end of this call. Changes go on meanwhile. Returns the number of entries.
///
/// Errors: [`DumpError::Store`], [`DumpError::Write`].
pub fn write(store: &dyn Store, out: impl Write) -> Result<u64, DumpError> {
    let mut writer = Writer::new(out).map_err(DumpError::Write)?;
    let mut failed = None;
    store.snapshot(&mut |key, value| match writer.put(key, value) {
        Ok(()) => std::ops::ControlFlow::Continue(()),
        Err(error) => {
            failed = Some(error);
            std::ops::ControlFlow::Break(())
        }
    })?;
    match failed {
        Some(error) => Err(DumpError::Write(error)),
        None => writer.finish().map_err(DumpError::Write),
    }
}

/// Reads entries in order. Returns their number.
///
/// Errors: those of the stream, and the first that `visit` returns.
pub fn read<E: From<DumpError>>(
    mut input: impl Read,
    mut visit: impl FnMut(Vec<u8>, Option<Vec<u8>>) -> Result<(), E>,
) -> Result<u64, E> {
    let mut magic = [0; MAGIC.len()];
    match input.read_exact(&mut magic) {
        Ok(()) if magic == MAGIC => {}
        Ok(()) => return Err(DumpError::Foreign.into()),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Err(DumpError::Foreign.into()),
        Err(error) => return Err(DumpError::Read(error).into()),
    }
    let mut entries = 0;
    loop {
        match next(&mut input, entries)? {
            Some((key, value)) => visit(key, value)?,
            None => {
                let told = u64::from_be_bytes(exact(&mut input, entries)?);
                return if told == entries { Ok(entries) } else { Err(DumpError::Damaged { entries }.into()) };
            }
        }
        entries += 1;
    }
}

/// A key and its value, or that there is none any more.
pub(super) type Read1 = (Vec<u8>, Option<Vec<u8>>);

/// The next entry; `None` at the mark of the end.
pub(super) fn next(input: &mut impl Read, entries: u64) -> Result<Option<Read1>, DumpError> {
    let length = u32::from_be_bytes(exact(input, entries)?) as usize;
    if length == 0 {
        return Ok(None);
    }
    let key = bytes(input, length, KEY_BYTES_MAX, entries)?;
    let value = match exact::<1>(input, entries)? {
        [0] => None,
        [1] => {
            let length = u32::from_be_bytes(exact(input, entries)?) as usize;
            Some(bytes(input, length, VALUE_BYTES_MAX, entries)?)
        }
        _ => return Err(DumpError::Damaged { entries }),
    };
    Ok(Some((key, value)))
}

fn exact<const N: usize>(input: &mut impl Read, entries: u64) -> Result<[u8; N], DumpError> {
    let mut buffer = [0; N];
    fill(input, &mut buffer, entries)?;
    Ok(buffer)
}

fn bytes(input: &mut impl Read, length: usize, most: usize, entries: u64) -> Result<Vec<u8>, DumpError> {
    if length > most {
        return Err(DumpError::Damaged { entries });
    }
    let mut buffer = vec![0; length];
    fill(input, &mut buffer, entries)?;
    Ok(buffer)
}

fn fill(input: &mut impl Read, buffer: &mut [u8], entries: u64) -> Result<(), DumpError> {
    input.read_exact(buffer).map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => DumpError::Cut { entries },
        _ => DumpError::Read(error),
    })
}

/// Puts the records of a dump into a store. Blocks; not for async code. Returns the number of entries.
///
/// Errors: [`DumpError`]; what was put before stays.
pub fn load(input: impl Read, store: &dyn Store) -> Result<u64, DumpError> {
    let mut ops = Vec::new();
    let entries = read(input, |key, value| {
        ops.push(match value {
            Some(value) => Op::put(key, Expect::Any, value),
            None => Op::delete(key, Expect::Any),
        });
        if ops.len() < OPS_AT_ONCE { Ok(()) } else { put(store, std::mem::take(&mut ops)) }
    })?;
    put(store, ops)?;
    Ok(entries)
}

fn put(store: &dyn Store, ops: Vec<Op>) -> Result<(), DumpError> {
    check_limits(&ops)?;
    if !ops.is_empty() {
        // Nothing is expected of what is there, so no op is refused.
        store.apply(ops).wait()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::MemoryStore;
    use super::*;

    fn store() -> MemoryStore {
        let store = MemoryStore::new();
        let ops = (0..2500_u32).map(|n| Op::put(n.to_be_bytes(), Expect::Absent, vec![7; n as usize % 50])).collect();
        store.apply(ops).wait().unwrap();
        store
    }

    fn dump() -> Vec<u8> {
        let mut bytes = Vec::new();
        assert_eq!(write(&store(), &mut bytes).unwrap(), 2500);
        bytes
    }

    #[test]
    fn a_store_comes_back_as_it_was() {
        let back = MemoryStore::new();
        assert_eq!(load(dump().as_slice(), &back).unwrap(), 2500);
        let all = |store: &MemoryStore| {
            let entries = store.scan_all(b"").unwrap();
            entries.into_iter().map(|(key, stored)| (key, stored.value)).collect::<Vec<_>>()
        };
        assert_eq!(all(&back), all(&store()));
    }

    #[test]
    fn the_last_word_on_a_key_counts() {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes).unwrap();
        for (key, value) in [("a", Some("1")), ("b", Some("1")), ("a", Some("2")), ("b", None)] {
            writer.put(key.as_bytes(), value.map(str::as_bytes)).unwrap();
        }
        writer.finish().unwrap();
        let back = MemoryStore::new();
        load(bytes.as_slice(), &back).unwrap();
        assert_eq!(back.get(b"a").unwrap().unwrap().value.as_ref(), b"2");
        assert!(back.get(b"b").unwrap().is_none());
    }

    #[test]
    fn a_cut_or_foreign_stream_is_refused() {
        let bytes = dump();
        let fails = |bytes: &[u8]| load(bytes, &MemoryStore::new()).unwrap_err().to_string();
        assert!(fails(&bytes[..bytes.len() - 1]).contains("cut off after 2500 entries"));
        assert!(fails(&bytes[..bytes.len() - 12]).contains("cut off after 2500 entries"));
        assert!(fails(&bytes[..100]).contains("cut off"));
        assert!(fails(b"muster-records-2\nabc").contains("not the records"));
        assert!(fails(b"").contains("not the records"));
        let mut long = MAGIC.to_vec();
        long.extend(u32::MAX.to_be_bytes());
        assert!(fails(&long).contains("damaged"));
    }
}
