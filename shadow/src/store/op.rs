//! What a caller asks of the store and what it is told: ops, expectations, revisions, conflicts.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::StoreError;

/// Longest key. An index page of sled holds up to 257 keys and must stay under the 128 KiB at which sled writes a
/// page to a file of its own (see `sled/layout.rs`).
pub const KEY_BYTES_MAX: usize = 384;

/// Longest value. The largest record is a job document of 32 KiB with what is kept about it; this leaves room, and
/// one op stays far smaller than a commit.
pub const VALUE_BYTES_MAX: usize = 1024 * 1024;

/// Number of a change. Grows over the whole store and is never given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Revision(u64);

impl Revision {
    /// A revision read back from where it was kept.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What must be true of the key for the change to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Nothing is stored there.
    Absent,
    /// The record there was written by the op with this revision.
    Revision(Revision),
    /// Whatever is there.
    Any,
}

impl Expect {
    /// What a caller expects who has just read `stored`.
    pub fn unchanged(stored: Option<&super::Stored>) -> Self {
        stored.map_or(Self::Absent, |stored| Self::Revision(stored.revision))
    }

    /// Compares the expectation with what was found.
    pub(super) fn check(self, found: Option<Revision>) -> Result<(), Conflict> {
        let holds = match self {
            Self::Absent => found.is_none(),
            Self::Revision(expected) => found == Some(expected),
            Self::Any => true,
        };
        if holds { Ok(()) } else { Err(Conflict { found }) }
    }
}

/// What shall become of the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Store this value.
    Put(Vec<u8>),
    /// Remove the record. Removing what is not there is no error.
    Delete,
}

/// One compare-and-swap on one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Op {
    /// The key, usually made by [`super::Key`].
    pub key: Vec<u8>,
    /// The condition.
    pub expect: Expect,
    /// The change.
    pub change: Change,
}

impl Op {
    /// Stores `value` if the expectation holds.
    pub fn put(key: impl Into<Vec<u8>>, expect: Expect, value: impl Into<Vec<u8>>) -> Self {
        Self { key: key.into(), expect, change: Change::Put(value.into()) }
    }

    /// Removes the record if the expectation holds.
    pub fn delete(key: impl Into<Vec<u8>>, expect: Expect) -> Self {
        Self { key: key.into(), expect, change: Change::Delete }
    }

    /// Bytes of key and value: what one op weighs in a commit.
    pub(super) fn weight(&self) -> usize {
        let value = match &self.change {
            Change::Put(value) => value.len(),
            Change::Delete => 0,
        };
        self.key.len() + value
    }

    fn check_limits(&self) -> Result<(), StoreError> {
        if self.key.is_empty() {
            return Err(StoreError::EmptyKey);
        }
        if self.key.len() > KEY_BYTES_MAX {
            return Err(StoreError::KeyTooLong { key: super::keys::describe(&self.key), bytes: self.key.len() });
        }
        match &self.change {
            Change::Put(value) if value.len() > VALUE_BYTES_MAX => {
                Err(StoreError::ValueTooLarge { key: super::keys::describe(&self.key), bytes: value.len() })
            }
            Change::Put(_) | Change::Delete => Ok(()),
        }
    }
}

/// Refuses a batch in which any op is over a limit, before anything of it is done.
pub(super) fn check_limits(ops: &[Op]) -> Result<(), StoreError> {
    ops.iter().try_for_each(Op::check_limits)
}

/// The expectation did not hold and nothing was changed. Not an error: read again and decide again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the record has changed: found {}; read it again and decide again", Found(*.found))]
pub struct Conflict {
    /// Revision of what is there, if anything is.
    pub found: Option<Revision>,
}

struct Found(Option<Revision>);

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(revision) => write!(f, "revision {revision}"),
            None => f.write_str("no record"),
        }
    }
}

/// The answer to one op: the revision of the change, or why it was not made.
pub type Answer = Result<Revision, Conflict>;
