//! Why a connector is not where it should be: the parts of [`super::ShownConnector`] beside the connector itself.

use crate::id::JobId;
use crate::job::JobStatus;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Something that is not as it should be, and what to do next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What it is about: `life`, `link`, `certificate`, `settings`, `clock`, `agent`, or the name of a component.
    pub about: String,
    /// What is wrong; one sentence for people.
    pub what: String,
    /// What to do next; one sentence for people.
    pub next: String,
}

/// A job that a connector has not ended yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenJob {
    /// The job.
    pub job: JobId,
    /// Where it stands.
    pub status: JobStatus,
    /// The agent's step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// When it was made for this connector.
    pub queued_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// A connector's link came or went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkEvent {
    /// When.
    pub at: Timestamp,
    /// Whether it came.
    pub up: bool,
}
