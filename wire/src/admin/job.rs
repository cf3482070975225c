//! Operator requests about jobs.

use crate::id::{JobId, ThingName};
use serde::{Deserialize, Serialize};

/// [`super::Verb::JobCreate`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateJob {
    /// The new job.
    pub job_id: JobId,
    /// Its things, registered or not.
    pub targets: Vec<ThingName>,
    /// What the things shall do; an object of at most [`crate::limits::JOB_DOCUMENT_BYTES_MAX`].
    pub document: serde_json::Map<String, serde_json::Value>,
}

/// Answer to [`CreateJob`]: the job and every execution are stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatedJob {
    /// The job.
    pub job_id: JobId,
    /// How many executions were made.
    pub executions: usize,
}
