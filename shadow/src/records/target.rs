//! What operators want to run where.

use muster_wire::admin::Selector;
use muster_wire::id::{ComponentName, JobId, PersonName, TargetId, Version};
use muster_wire::time::Timestamp;
use serde::{Deserialize, Serialize};

/// An operator's intent. Never changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Grows with every intent of the fleet.
    pub number: u64,
    /// Name, made from the number.
    pub id: TargetId,
    /// The job that carries it out, made from the number.
    pub job: JobId,
    /// Component.
    pub component: ComponentName,
    /// Version.
    pub version: Version,
    /// Where.
    pub selector: Selector,
    /// Offer it also where it failed before.
    pub again: bool,
    /// Who wants it.
    pub by: PersonName,
    /// Since when.
    pub at: Timestamp,
}

/// Where the numbers of intents go on. Written by a restore alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbering {
    /// No intent from now on has a lower number.
    pub targets_from: u64,
}
