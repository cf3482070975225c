//! Policies, and who has them. Written by the fleet's worker alone.

use muster_wire::id::{PersonName, ThingName};
use muster_wire::policy::PolicyName;
use muster_wire::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A policy that an operator added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyRecord {
    /// Its name.
    pub name: PolicyName,
    /// The document, as it was given. It was sound when it was stored.
    pub document: String,
    /// Grows with every change.
    pub version: u32,
    /// Who added or changed it last.
    pub by: PersonName,
    /// When.
    pub at: Timestamp,
}

/// The policies of a connector to whom others than `default` were given, or from whom that was taken. The connector need
/// not be registered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// Whose.
    pub thing: ThingName,
    /// All of them; none means that it may nothing at all.
    pub policies: BTreeSet<PolicyName>,
    /// Who said so last.
    pub by: PersonName,
    /// When.
    pub at: Timestamp,
}
