//! What a thing's worker knows of its connector besides: its link, its work, where it runs.

use muster_wire::admin::LinkEvent;
use muster_wire::time::Timestamp;
use muster_wire::view::WorkStatus;
use serde::{Deserialize, Serialize};

/// When a connector's link last changed. Written by the thing's worker alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// When it last came.
    pub up: Option<Timestamp>,
    /// When it last went.
    pub down: Option<Timestamp>,
    /// The latest changes, oldest first, at most [`LINK_EVENTS_MAX`]. Records of earlier versions have none.
    #[serde(default)]
    pub history: Vec<LinkEvent>,
}

/// Changes of a link that are kept.
pub const LINK_EVENTS_MAX: usize = 20;

impl Seen {
    /// Whether it came and did not go.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.history.last().is_some_and(|last| last.up)
    }

    /// The link came or went.
    pub fn changed(&mut self, at: Timestamp, up: bool) {
        if up {
            self.up = Some(at)
        } else {
            self.down = Some(at)
        }
        self.history.push(LinkEvent { at, up });
        let over = self.history.len().saturating_sub(LINK_EVENTS_MAX);
        self.history.drain(..over);
    }
}

/// Since when a connector's work is what it is. Written by the thing's worker alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    /// What it is.
    pub status: WorkStatus,
    /// Since when.
    pub since: Timestamp,
}

/// What was last heard of where a connector's identity runs. Written by the thing's worker alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting {
    /// Of which incarnation of the connector this is; of an older one it says nothing.
    pub incarnation: u64,
    /// The installation that reported last; empty before one has.
    pub installation: String,
    /// Its highest session counter.
    pub counter: u64,
    /// The connection that said so.
    pub session: u64,
    /// That the identity runs in two places.
    pub suspicion: Option<Suspicion>,
}

/// That an identity runs in two places.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspicion {
    /// Since when that is known.
    pub since: Timestamp,
    /// What showed it; for people.
    pub why: String,
}
