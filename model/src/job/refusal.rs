//! Why the jobs service refuses.

use super::execution::Execution;
use muster_wire::id::JobId;
use muster_wire::job::{JobErrorCode, JobExecutionState, JobRejected, JobStatus};
use muster_wire::time::Timestamp;

/// A refused request or event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The API's code.
    pub code: JobErrorCode,
    /// For people.
    pub message: String,
    /// How the execution stands: with `InvalidStateTransition` and `VersionMismatch` only.
    pub execution_state: Option<JobExecutionState>,
}

impl Refusal {
    fn new(code: JobErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), execution_state: None }
    }

    /// The request is not a JSON (or CBOR) object.
    #[must_use]
    pub fn invalid_json(message: impl Into<String>) -> Self {
        Self::new(JobErrorCode::InvalidJson, message)
    }

    /// The content of the request is wrong.
    #[must_use]
    pub fn invalid_request(message: impl Into<String>) -> Self {
        Self::new(JobErrorCode::InvalidRequest, message)
    }

    /// The thing gets no work at present. It may ask again later.
    #[must_use]
    pub fn closed(message: impl Into<String>) -> Self {
        Self::new(JobErrorCode::RequestThrottled, message)
    }

    /// The thing has no such execution.
    #[must_use]
    pub fn not_found(job: &JobId, execution_number: Option<u64>) -> Self {
        let message = match execution_number {
            Some(number) => format!("Job {job} has no execution {number} on this thing"),
            None => format!("Job {job} has no execution on this thing"),
        };
        Self::new(JobErrorCode::ResourceNotFound, message)
    }

    /// The execution is over; the answer to a request that describes it.
    #[must_use]
    pub fn terminal(execution: &Execution) -> Self {
        let (job, status) = (&execution.job_id, execution.status().as_str());
        Self::new(JobErrorCode::TerminalStateReached, format!("The execution of job {job} is over: {status}"))
    }

    /// Nothing leads from where the execution stands to `to`.
    pub(super) fn transition(execution: &Execution, to: JobStatus) -> Self {
        Self {
            code: JobErrorCode::InvalidStateTransition,
            message: format!("Cannot move from {} to {}", execution.status().as_str(), to.as_str()),
            execution_state: Some(execution.wire_state()),
        }
    }

    /// The device believes in another version. The text is that of AWS.
    pub(super) fn version(execution: &Execution, expected: u64) -> Self {
        Self {
            code: JobErrorCode::VersionMismatch,
            message: format!("Expected version {expected} but found version {}", execution.version_number),
            execution_state: Some(execution.wire_state()),
        }
    }

    /// Only the service sets `status`.
    pub(super) fn unsettable(status: JobStatus) -> Self {
        let status = status.as_str();
        Self::invalid_request(format!("A device cannot set {status}; use IN_PROGRESS, SUCCEEDED, FAILED or REJECTED"))
    }

    /// The payload of `…/rejected`.
    #[must_use]
    pub fn rejected(self, client_token: Option<String>, now: Timestamp) -> JobRejected {
        JobRejected {
            code: self.code,
            message: self.message,
            timestamp: now.epoch_seconds(),
            client_token,
            execution_state: self.execution_state,
        }
    }
}
