//! How a record lies in sled.
//!
//! ```text
//! 'r' key               -> revision (8, BE)  0  value                     a value of at most INLINE_BYTES_MAX
//! 'r' key               -> revision (8, BE)  1  length (4, BE)            a longer one,
//! 'c' revision index(2) -> piece of the value                             whose pieces are here
//! 'm' "reserved"        -> revision (8, BE)                               no revision up to this was left unreserved
//! ```
//!
//! Why pieces: sled writes a page of more than a quarter segment (128 KiB) to a file of its own in `blobs/`, which it
//! never syncs. A leaf page holds up to 17 records, a few more after a merge, so no record may be over about 5 KiB.
//! Pieces are named by the revision that wrote them and never change, so a reader that has a head has either all of
//! its pieces or proof that the head is old.

use super::super::{Revision, StoreError, keys};

/// Longest value that lies beside its revision, and longest piece of a longer one.
pub(super) const INLINE_BYTES_MAX: usize = 4096;

/// Key under which the highest reserved revision is kept.
pub(super) const RESERVED_KEY: &[u8] = b"mreserved";

const RECORD: u8 = b'r';
const CHUNK: u8 = b'c';
const INLINE: u8 = 0;
const CHUNKED: u8 = 1;
const FIXED_BYTES: usize = 9;

// A leaf page with 20 of the largest records stays under the size at which sled makes it a blob.
const _: () = assert!(20 * (INLINE_BYTES_MAX + FIXED_BYTES + super::super::KEY_BYTES_MAX + 16) < 128 * 1024);
// The index of a piece fits two bytes.
const _: () = assert!(super::super::VALUE_BYTES_MAX.div_ceil(INLINE_BYTES_MAX) < u16::MAX as usize);

pub(super) fn record_key(key: &[u8]) -> Vec<u8> {
    [&[RECORD], key].concat()
}

/// The caller's key of a record that a scan has found.
pub(super) fn key_of(record: &[u8]) -> &[u8] {
    record.get(1..).unwrap_or_default()
}

fn chunk_key(revision: Revision, index: usize) -> [u8; 11] {
    let mut key = [CHUNK; 11];
    key[1..9].copy_from_slice(&revision.get().to_be_bytes());
    // Lossless: asserted above.
    key[9..].copy_from_slice(&(index as u16).to_be_bytes());
    key
}

/// What the record says about its value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    pub(super) revision: Revision,
    pub(super) value_bytes: usize,
    chunked: bool,
}

impl Head {
    pub(super) fn of(revision: Revision, value: &[u8]) -> Self {
        Self { revision, value_bytes: value.len(), chunked: value.len() > INLINE_BYTES_MAX }
    }

    /// The bytes to store under the record key; the pieces are `chunks`.
    pub(super) fn encode(self, value: &[u8]) -> Vec<u8> {
        let revision = self.revision.get().to_be_bytes();
        if self.chunked {
            // Lossless: a value is at most VALUE_BYTES_MAX long.
            [&revision[..], &[CHUNKED], &(value.len() as u32).to_be_bytes()].concat()
        } else {
            [&revision[..], &[INLINE], value].concat()
        }
    }

    pub(super) fn decode(key: &[u8], raw: &[u8]) -> Result<Self, StoreError> {
        let (revision, rest) = raw.split_first_chunk::<8>().ok_or_else(|| damaged(key, "it is too short"))?;
        let revision = Revision::new(u64::from_be_bytes(*revision));
        match rest.split_first() {
            Some((&INLINE, value)) => Ok(Self { revision, value_bytes: value.len(), chunked: false }),
            Some((&CHUNKED, length)) => {
                let length = length.try_into().map_err(|_| damaged(key, "its length is not four bytes"))?;
                Ok(Self { revision, value_bytes: u32::from_be_bytes(length) as usize, chunked: true })
            }
            Some(_) => Err(damaged(key, "its layout is unknown")),
            None => Err(damaged(key, "it is too short")),
        }
    }

    /// The value, if it lies in the record.
    pub(super) fn inline(self, raw: &[u8]) -> Option<&[u8]> {
        if self.chunked { None } else { raw.get(FIXED_BYTES..) }
    }

    /// The keys of the pieces; none for an inline value.
    pub(super) fn chunk_keys(self) -> impl Iterator<Item = [u8; 11]> {
        let count = if self.chunked { self.value_bytes.div_ceil(INLINE_BYTES_MAX) } else { 0 };
        (0..count).map(move |index| chunk_key(self.revision, index))
    }

    /// The pieces of `value` with their keys; none for an inline value.
    pub(super) fn chunks(self, value: &[u8]) -> impl Iterator<Item = ([u8; 11], &[u8])> {
        self.chunk_keys().zip(value.chunks(INLINE_BYTES_MAX))
    }
}

/// Counts keys and values, and thereby reads and checks every record once. Run when opening.
pub(super) fn live_bytes(db: &::sled::Db) -> Result<u64, StoreError> {
    let mut total = 0;
    for item in db.scan_prefix([RECORD]) {
        let (record, raw) = item.map_err(|source| StoreError::Read {
            key: "all records".to_owned(),
            source: std::sync::Arc::new(source),
        })?;
        let key = key_of(&record);
        total += (key.len() + Head::decode(key, &raw)?.value_bytes) as u64;
    }
    Ok(total)
}

pub(super) fn damaged(key: &[u8], problem: &'static str) -> StoreError {
    StoreError::Damaged { key: keys::describe(key), problem }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn heads_come_back_on_both_sides_of_the_inline_limit() {
        for length in [0, 1, INLINE_BYTES_MAX, INLINE_BYTES_MAX + 1, 3 * INLINE_BYTES_MAX] {
            let value = vec![7; length];
            let head = Head::of(Revision::new(5), &value);
            let raw = head.encode(&value);
            let back = Head::decode(b"k", &raw).unwrap();
            assert_eq!((back.revision, back.value_bytes), (Revision::new(5), length));
            let pieces: Vec<u8> = head.chunks(&value).flat_map(|(_, piece)| piece.to_vec()).collect();
            assert_eq!(back.inline(&raw).unwrap_or(&pieces), value, "length {length}");
            assert_eq!(back.chunk_keys().count(), head.chunks(&value).count());
        }
    }

    #[test]
    fn damaged_heads_are_refused() {
        for raw in [&b""[..], b"1234567", b"12345678", b"12345678\x09", b"12345678\x01abc", b"12345678\x01abcde"] {
            assert!(matches!(Head::decode(b"k", raw), Err(StoreError::Damaged { .. })), "{raw:?}");
        }
    }
}
