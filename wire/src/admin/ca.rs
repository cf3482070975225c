//! The authority of the fleet and its rotation, as operators see them.

use crate::id::ThingName;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How far a rotation is. The order is the order of the phases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CaPhase {
    /// The new authority is made, and agents are told to trust it in addition.
    Announced,
    /// The server lets in clients of both; everything is still issued by the old one.
    TrustBoth,
    /// Everything is issued by the new one; agents renew.
    Switched,
    /// The old one is trusted no more: the rotation is over.
    Retired,
}

impl CaPhase {
    /// Every phase, in order.
    pub const ALL: [Self; 4] = [Self::Announced, Self::TrustBoth, Self::Switched, Self::Retired];

    /// The phase after this one; the last has none.
    #[must_use]
    pub const fn next(self) -> Option<Self> {
        match self {
            Self::Announced => Some(Self::TrustBoth),
            Self::TrustBoth => Some(Self::Switched),
            Self::Switched => Some(Self::Retired),
            Self::Retired => None,
        }
    }

    /// As operators write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Announced => "announced",
            Self::TrustBoth => "trust-both",
            Self::Switched => "switched",
            Self::Retired => "retired",
        }
    }
}

impl fmt::Display for CaPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Asks for [`CaStatus`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShowCa {}

/// Takes a rotation one phase further, or begins one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RotateCa {
    /// The phase to enter; `None` is the one that comes next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<CaPhase>,
    /// Enter it although connectors are left behind.
    #[serde(default)]
    pub force: bool,
}

/// One authority.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaRoot {
    /// SHA-256 of its certificate, 64 hexadecimal digits: what install scripts pin.
    pub fingerprint: String,
    /// When it ends.
    pub not_after: Timestamp,
    /// Whether certificates are issued by it now.
    pub issues: bool,
}

/// Where the authority and its rotation stand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaStatus {
    /// Every authority that hosts shall trust; the one that issues is first.
    pub roots: Vec<CaRoot>,
    /// The rotation under way, or the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<CaPhase>,
    /// When that phase began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Connectors that have a certificate and are counted here.
    pub connectors: u64,
    /// How many of them hold the newest authority.
    pub trusting: u64,
    /// How many of them have a certificate by the newest authority.
    pub renewed: u64,
    /// Who the next phase would leave behind, at most [`LEFT_BEHIND_SHOWN_MAX`] names.
    pub left_behind: Vec<ThingName>,
    /// How many that are in all.
    pub left_behind_total: u64,
}

/// Names in a status; more would not fit a message of a large fleet.
pub const LEFT_BEHIND_SHOWN_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_phases_follow_each_other_and_are_spelled_as_they_are_sent() {
        assert!(CaPhase::ALL.is_sorted());
        for pair in CaPhase::ALL.windows(2) {
            assert_eq!(pair[0].next(), Some(pair[1]));
        }
        for phase in CaPhase::ALL {
            assert_eq!(serde_json::to_value(phase).ok(), Some(phase.as_str().into()));
        }
    }
}
