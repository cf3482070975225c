//! What is left of a deleted shadow. Written by the worker of its thing alone.

use muster_model::shadow::ShadowDoc;
use muster_wire::limits::DELETED_SHADOW_KEPT;
use muster_wire::time::Timestamp;
use serde::{Deserialize, Serialize};

/// What is left of a deleted shadow: its version, which goes on when it is made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletedShadow {
    /// One above the deleted one.
    pub version: u64,
    /// When it was deleted.
    pub at: Timestamp,
}

impl DeletedShadow {
    /// What is left of a document that was deleted.
    #[must_use]
    pub fn of(doc: &ShadowDoc) -> Self {
        Self { version: doc.version(), at: doc.updated_at() }
    }

    /// Whether it counts no more.
    #[must_use]
    pub fn has_expired(&self, now: Timestamp) -> bool {
        now >= self.at.plus(DELETED_SHADOW_KEPT)
    }

    /// The document that the next update goes on with.
    #[must_use]
    pub fn doc(self) -> ShadowDoc {
        ShadowDoc::deleted(self.version, self.at)
    }
}
