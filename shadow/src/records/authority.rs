//! Which authority the fleet has. Written by the fleet's worker alone; noted in the ledger, so that a restore can tell a
//! backup of an authority that no host believes any more.

use muster_wire::admin::CaPhase;
use muster_wire::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Where the replacement of the authority is, as the vault has it: that one leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorityMark {
    /// The id of the one that issues.
    pub issues: String,
    /// How far the latest rotation is; absent before the first one.
    pub phase: Option<CaPhase>,
    /// Since when.
    pub since: Option<Timestamp>,
}
