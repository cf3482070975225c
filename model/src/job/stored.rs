//! The stored form of an execution. It changes only by a new variant, so that what was written stays readable.

use super::execution::{Execution, Outcome, State, Try};
use muster_wire::id::JobId;
use muster_wire::job::StatusDetails;
use muster_wire::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// An execution as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StoredExecution {
    /// The first form.
    V1(ExecutionV1),
}

/// The first form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutionV1 {
    job_id: JobId,
    execution_number: u64,
    version_number: u64,
    queued_at: Timestamp,
    last_updated_at: Timestamp,
    #[serde(default, skip_serializing_if = "StatusDetails::is_empty")]
    status_details: StatusDetails,
    state: StateV1,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    earlier: Vec<TryV1>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct TryV1 {
    execution_number: u64,
    version_number: u64,
    queued_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    started_at: Option<Timestamp>,
    last_updated_at: Timestamp,
    #[serde(default, skip_serializing_if = "StatusDetails::is_empty")]
    status_details: StatusDetails,
    outcome: OutcomeV1,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StateV1 {
    Queued {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        time_limit_ms: Option<u64>,
    },
    InProgress {
        started_at: Timestamp,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        deadline: Option<Timestamp>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step_deadline: Option<Timestamp>,
    },
    Finished {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        started_at: Option<Timestamp>,
        outcome: OutcomeV1,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum OutcomeV1 {
    Succeeded,
    Failed,
    Rejected,
    TimedOut,
    Canceled,
    Removed,
}

impl From<Execution> for StoredExecution {
    fn from(execution: Execution) -> Self {
        Self::V1(ExecutionV1 {
            job_id: execution.job_id,
            execution_number: execution.execution_number,
            version_number: execution.version_number,
            queued_at: execution.queued_at,
            last_updated_at: execution.last_updated_at,
            status_details: execution.status_details,
            state: match execution.state {
                State::Queued { time_limit } => StateV1::Queued {
                    time_limit_ms: time_limit.map(|limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)),
                },
                State::InProgress { started_at, deadline, step_deadline } => {
                    StateV1::InProgress { started_at, deadline, step_deadline }
                }
                State::Finished { started_at, outcome } => StateV1::Finished { started_at, outcome: outcome.into() },
            },
            earlier: execution.earlier.into_iter().map(TryV1::from).collect(),
        })
    }
}

impl From<StoredExecution> for Execution {
    fn from(stored: StoredExecution) -> Self {
        let StoredExecution::V1(stored) = stored;
        Self {
            job_id: stored.job_id,
            execution_number: stored.execution_number,
            version_number: stored.version_number,
            queued_at: stored.queued_at,
            last_updated_at: stored.last_updated_at,
            status_details: stored.status_details,
            state: match stored.state {
                StateV1::Queued { time_limit_ms } => {
                    State::Queued { time_limit: time_limit_ms.map(Duration::from_millis) }
                }
                StateV1::InProgress { started_at, deadline, step_deadline } => {
                    State::InProgress { started_at, deadline, step_deadline }
                }
                StateV1::Finished { started_at, outcome } => State::Finished { started_at, outcome: outcome.into() },
            },
            earlier: stored.earlier.into_iter().map(Try::from).collect(),
        }
    }
}

impl From<Try> for TryV1 {
    fn from(one: Try) -> Self {
        Self {
            execution_number: one.execution_number,
            version_number: one.version_number,
            queued_at: one.queued_at,
            started_at: one.started_at,
            last_updated_at: one.last_updated_at,
            status_details: one.status_details,
            outcome: one.outcome.into(),
        }
    }
}

impl From<TryV1> for Try {
    fn from(one: TryV1) -> Self {
        Self {
            execution_number: one.execution_number,
            version_number: one.version_number,
            queued_at: one.queued_at,
            started_at: one.started_at,
            last_updated_at: one.last_updated_at,
            status_details: one.status_details,
            outcome: one.outcome.into(),
        }
    }
}

impl From<Outcome> for OutcomeV1 {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Succeeded => Self::Succeeded,
            Outcome::Failed => Self::Failed,
            Outcome::Rejected => Self::Rejected,
            Outcome::TimedOut => Self::TimedOut,
            Outcome::Canceled => Self::Canceled,
            Outcome::Removed => Self::Removed,
        }
    }
}

impl From<OutcomeV1> for Outcome {
    fn from(outcome: OutcomeV1) -> Self {
        match outcome {
            OutcomeV1::Succeeded => Self::Succeeded,
            OutcomeV1::Failed => Self::Failed,
            OutcomeV1::Rejected => Self::Rejected,
            OutcomeV1::TimedOut => Self::TimedOut,
            OutcomeV1::Canceled => Self::Canceled,
            OutcomeV1::Removed => Self::Removed,
        }
    }
}
