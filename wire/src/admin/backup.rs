//! Operator requests about backups.

use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// [`super::Verb::Snapshot`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TakeSnapshot {}

/// Answer to [`TakeSnapshot`]: all records, as they were at one moment, are in a file of the server's data folder. It
/// stays there until whoever asked has taken it away, or the next snapshot is taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotTaken {
    /// Name of the file in the data folder.
    pub file: String,
    /// Entries in it.
    pub entries: u64,
    /// Its length in bytes.
    pub bytes: u64,
    /// The moment.
    pub at: Timestamp,
}
