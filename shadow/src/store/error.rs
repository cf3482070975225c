//! What can go wrong in a store, and whether the process may go on.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::{KEY_BYTES_MAX, VALUE_BYTES_MAX};

/// An error of the store. Cheap to clone: one failed commit is told to everyone who waited for it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The store's folder could not be made ready.
    #[error("cannot {action} {path}; check that the folder exists and is writable by this user")]
    Folder {
        /// What was tried.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// The cause.
        #[source]
        source: Arc<io::Error>,
    },

    /// Another process holds the store.
    #[error("the store in {dir} is in use by another process; stop that one first, or give this one another folder")]
    InUse {
        /// The store's folder.
        dir: PathBuf,
    },

    /// The engine could not open its files.
    #[error("cannot open the store in {dir}; if the disk is healthy, restore the folder from a backup")]
    Open {
        /// The store's folder.
        dir: PathBuf,
        /// The cause.
        #[source]
        source: Arc<dyn Error + Send + Sync>,
    },

    /// The engine could not read.
    #[error("cannot read {key} from the store; check the disk and the system's log")]
    Read {
        /// The key, or the prefix of the scan.
        key: String,
        /// The cause.
        #[source]
        source: Arc<dyn Error + Send + Sync>,
    },

    /// A record is not in the form in which this program writes records.
    #[error("the record {key} is damaged ({problem}); stop the process and restore the store from a backup")]
    Damaged {
        /// The key.
        key: String,
        /// What is wrong with it.
        problem: &'static str,
    },

    /// An op without a key.
    #[error("an op has an empty key; every record needs one (a fault of the calling code)")]
    EmptyKey,

    /// A key is over the limit; nothing of the batch was done.
    #[error("the key {key} has {bytes} bytes and may have {KEY_BYTES_MAX}; use shorter names")]
    KeyTooLong {
        /// The key.
        key: String,
        /// Its length.
        bytes: usize,
    },

    /// A value is over the limit; nothing of the batch was done.
    #[error("the value for {key} has {bytes} bytes and may have {VALUE_BYTES_MAX}; split the record")]
    ValueTooLarge {
        /// The key.
        key: String,
        /// The length of the value.
        bytes: usize,
    },

    /// A commit failed. Nobody knows what of it is on the disk; only opening the store again tells.
    #[error("the store failed to {action} and takes no more work; stop the process, check the disk, start it again")]
    Poisoned {
        /// The step that failed.
        action: &'static str,
        /// The cause.
        #[source]
        source: Arc<dyn Error + Send + Sync>,
    },

    /// The store was closed before it answered.
    #[error("the store was closed before it answered; whether the change was made is known after it is opened again")]
    Closed,
}

impl StoreError {
    /// The store can do no more work in this process: say so and stop.
    pub fn is_fatal(&self) -> bool {
        match self {
            Self::Poisoned { .. } | Self::Closed | Self::Damaged { .. } => true,
            Self::Folder { .. } | Self::InUse { .. } | Self::Open { .. } | Self::Read { .. } => false,
            Self::EmptyKey | Self::KeyTooLong { .. } | Self::ValueTooLarge { .. } => false,
        }
    }
}
