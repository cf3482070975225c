//! The access keys of the HTTP data plane.

use muster_wire::admin::KeyPolicy;
use muster_wire::id::{AccessKeyId, PersonName};
use muster_wire::time::Timestamp;
use serde::{Deserialize, Serialize};

/// An access key. Its secret follows from its id and is stored nowhere. Written by the fleet's worker alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessKey {
    /// Its public part.
    pub id: AccessKeyId,
    /// What its holder may do.
    pub policy: KeyPolicy,
    /// What it is for.
    pub description: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it.
    pub created_by: PersonName,
    /// That it was taken back. An end: nothing revives it.
    pub revoked: Option<KeyRevoked>,
}

/// That an access key was taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRevoked {
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub by: PersonName,
}
