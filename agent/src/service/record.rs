//! What keeps the agent of a prefix running, as noted there.

use super::Kind;
use crate::hands::files;
use crate::places::Prefix;
use muster_runtime::failure::Failure;
use serde::{Deserialize, Serialize};

/// `state/service.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    format: u32,
    /// What keeps it running.
    pub kind: Kind,
    /// The name that the service manager knows it by, where it has one.
    pub unit: Option<String>,
}

/// The format that this agent writes.
const FORMAT: u32 = 1;

impl Record {
    /// A record of the present format.
    pub fn new(kind: Kind, unit: Option<String>) -> Self {
        Self { format: FORMAT, kind, unit }
    }

    /// Reads it; `None` when no service was installed.
    pub fn read(prefix: &Prefix) -> Result<Option<Self>, Failure> {
        let path = prefix.service();
        let record = files::read_json::<Self>(&path).map_err(|error| {
            let what = format!("{} cannot be read; install the service again", path.display());
            Failure::local_because(what, error)
        })?;
        match record {
            Some(record) if record.format > FORMAT => {
                Err(Failure::local(format!("{} was written by a newer agent; use that one", path.display())))
            }
            other => Ok(other),
        }
    }

    /// Writes it, durably.
    pub fn write(&self, prefix: &Prefix) -> Result<(), Failure> {
        let path = prefix.service();
        files::replace_json(&path, self)
            .map_err(|error| Failure::local_because(format!("cannot write {}", path.display()), error))
    }
}
