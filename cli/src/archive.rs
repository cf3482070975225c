//! The file of a backup: a `tar.zst` whose last entry says what the others are.
//!
//! ```text
//! data/…           the data folder without the store's own files
//! records          all records of the store, in the form of `muster_shadow::store::dump`
//! manifest.json    [`Manifest`]: last, because only then every digest is known; without it the file was cut
//! ```

mod reader;
mod writer;

pub use reader::{Unpacked, sync_folders, unpack};
pub use writer::{Plan, write};

use muster_wire::id::Sha256Hex;
use muster_wire::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Name of the last entry.
pub const MANIFEST: &str = "manifest.json";
/// Name of the entry with the records.
pub const RECORDS: &str = "records";
/// Folder of the entries from the data folder.
pub const DATA: &str = "data";
/// Form of the file; another one is refused.
pub const FORMAT: u32 = 1;

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// The program that wrote it.
    pub made_by: String,
    /// The fleet.
    pub fleet: String,
    /// The moment as which the records are.
    pub made_at: Timestamp,
    /// Whether the component packages are in it.
    pub with_artifacts: bool,
    /// Entries of the records.
    pub records: u64,
    /// Every other entry, in order.
    pub files: Vec<FileEntry>,
}

/// One file of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Name in the archive.
    pub name: String,
    /// Length in bytes.
    pub size: u64,
    /// Digest of its content.
    pub sha256: Sha256Hex,
}
