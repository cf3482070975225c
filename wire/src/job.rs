//! Payloads of the jobs API: what devices send and get here, what operators say and see in the modules below.
//!
//! Times are epoch seconds; `jobDocument` is an object. Source: `iot-jobs-data` and the AWS IoT Jobs MQTT API.

mod config;
mod whole;

pub use config::{
    AbortAction, AbortConfig, AbortCriteria, EndBehavior, ExponentialRate, FailureType, JobConfig, MaintenanceWindow,
    RateIncreaseCriteria, RetryConfig, RetryCriteria, RolloutConfig, SchedulingConfig, TargetSelection, TimeoutConfig,
};
pub use whole::{
    EndDetails, ExecutionDescription, JobDescription, JobEvent, JobOperation, JobProcessDetails, JobSummary,
    NestedDetails, WholeJobStatus, group_arn, job_arn, template_arn, thing_arn,
};

use crate::id::{JobId, ThingName};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Details that a device attaches to an execution.
pub type StatusDetails = BTreeMap<String, String>;
/// What a job asks for.
pub type JobDocument = Map<String, Value>;

/// Status of an execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum JobStatus {
    /// Made, not started.
    Queued,
    /// Started by the device.
    InProgress,
    /// The device says it is done.
    Succeeded,
    /// The device says it failed.
    Failed,
    /// A timer ran out.
    TimedOut,
    /// The device will not do it.
    Rejected,
    /// The thing left the job.
    Removed,
    /// Somebody called it off.
    Canceled,
}

impl JobStatus {
    /// Whether nothing leaves this status.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        !matches!(self, Self::Queued | Self::InProgress)
    }

    /// The word of the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "QUEUED",
            Self::InProgress => "IN_PROGRESS",
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
            Self::TimedOut => "TIMED_OUT",
            Self::Rejected => "REJECTED",
            Self::Removed => "REMOVED",
            Self::Canceled => "CANCELED",
        }
    }

    /// The last level of the event topic of a terminal status.
    #[must_use]
    pub const fn event(self) -> Option<&'static str> {
        match self {
            Self::Queued | Self::InProgress => None,
            Self::Succeeded => Some("succeeded"),
            Self::Failed => Some("failed"),
            Self::TimedOut => Some("timed_out"),
            Self::Rejected => Some("rejected"),
            Self::Removed => Some("removed"),
            Self::Canceled => Some("canceled"),
        }
    }
}

/// One line of a list of executions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names are those of the API model")]
pub struct JobExecutionSummary {
    pub job_id: JobId,
    pub queued_at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<i64>,
    pub last_updated_at: i64,
    pub version_number: u64,
    pub execution_number: u64,
}

/// One execution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names are those of the API model")]
pub struct JobExecution {
    pub job_id: JobId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thing_name: Option<ThingName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_document: Option<JobDocument>,
    pub status: JobStatus,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub status_details: StatusDetails,
    pub queued_at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<i64>,
    pub last_updated_at: i64,
    pub version_number: u64,
    pub execution_number: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approximate_seconds_before_timed_out: Option<i64>,
}

/// The state of an execution in answers and refusals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names are those of the API model")]
pub struct JobExecutionState {
    pub status: JobStatus,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub status_details: StatusDetails,
    pub version_number: u64,
}

/// GetPendingJobExecutions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names are those of the API model")]
pub struct GetPendingRequest {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_token: Option<String>,
}

/// Answer to [`GetPendingRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names are those of the API model")]
pub struct GetPendingResponse {
    pub in_progress_jobs: Vec<JobExecutionSummary>,
    pub queued_jobs: Vec<JobExecutionSummary>,
    pub timestamp: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_token: Option<String>,
}

/// StartNextPendingJobExecution.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names are those of the API model")]
pub struct StartNextRequest {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_details: Option<StatusDetails>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_timeout_in_minutes: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_token: Option<String>,
}

/// DescribeJobExecution.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names are those of the API model")]
pub struct DescribeRequest {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_number: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub include_job_document: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_token: Option<String>,
}

/// Answer to [`StartNextRequest`] and [`DescribeRequest`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names are those of the API model")]
pub struct ExecutionResponse {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution: Option<JobExecution>,
    pub timestamp: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_token: Option<String>,
}

/// UpdateJobExecution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names are those of the API model")]
pub struct UpdateRequest {
    pub status: JobStatus,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_details: Option<StatusDetails>,
    /// AWS's embedded library sends it as a text.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "number_or_numeric_text")]
    pub expected_version: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_number: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub include_job_execution_state: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub include_job_document: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_timeout_in_minutes: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_token: Option<String>,
}

/// Answer to [`UpdateRequest`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names are those of the API model")]
pub struct UpdateResponse {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_state: Option<JobExecutionState>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_document: Option<JobDocument>,
    pub timestamp: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_token: Option<String>,
}

/// `notify`: the pending executions by status; empty lists are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are those of the API model")]
pub struct NotifyJobs {
    #[serde(rename = "IN_PROGRESS", default, skip_serializing_if = "Vec::is_empty")]
    pub in_progress: Vec<JobExecutionSummary>,
    #[serde(rename = "QUEUED", default, skip_serializing_if = "Vec::is_empty")]
    pub queued: Vec<JobExecutionSummary>,
}

/// The payload of `notify`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are those of the API model")]
pub struct Notify {
    pub timestamp: i64,
    pub jobs: NotifyJobs,
}

/// The payload of `notify-next`; no execution when nothing is pending.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are those of the API model")]
pub struct NotifyNext {
    pub timestamp: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution: Option<JobExecution>,
}

/// Code of a refusal of the jobs API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are those of the API model")]
pub enum JobErrorCode {
    InvalidTopic,
    InvalidJson,
    InvalidRequest,
    InvalidStateTransition,
    ResourceNotFound,
    VersionMismatch,
    InternalError,
    RequestThrottled,
    TerminalStateReached,
}

/// The payload of a jobs `…/rejected`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names are those of the API model")]
pub struct JobRejected {
    pub code: JobErrorCode,
    pub message: String,
    pub timestamp: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_token: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_state: Option<JobExecutionState>,
}

/// The payload of `$aws/events/jobExecution/{job}/{event}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names are those of the API model")]
pub struct JobExecutionEvent {
    pub event_type: String,
    pub event_id: String,
    pub timestamp: i64,
    pub operation: String,
    pub job_id: JobId,
    pub thing_arn: String,
    /// A terminal status, or `DELETED`.
    pub status: String,
    #[serde(default)]
    pub status_details: StatusDetails,
}

fn number_or_numeric_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let number = match Option::<Value>::deserialize(deserializer)? {
        None => return Ok(None),
        Some(Value::Number(number)) => number.as_u64(),
        Some(Value::String(text)) => text.parse().ok(),
        Some(_) => None,
    };
    number.map(Some).ok_or_else(|| serde::de::Error::custom("expectedVersion is not a whole number"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::codec::Encoding;

    #[test]
    fn expected_version_may_be_a_numeric_text() {
        for (text, expected) in [("3", Some(3)), ("\"7\"", Some(7)), ("null", None)] {
            let request: UpdateRequest =
                serde_json::from_str(&format!(r#"{{"status":"FAILED","expectedVersion":{text}}}"#)).unwrap();
            assert_eq!(request.expected_version, expected);
        }
        assert!(serde_json::from_str::<UpdateRequest>(r#"{"status":"FAILED","expectedVersion":"x"}"#).is_err());
    }

    #[test]
    fn payloads_survive_cbor() {
        let request = UpdateRequest {
            status: JobStatus::InProgress,
            status_details: Some([("step".to_owned(), "probing".to_owned())].into()),
            expected_version: Some(2),
            execution_number: None,
            include_job_execution_state: Some(true),
            include_job_document: None,
            step_timeout_in_minutes: Some(-1),
            client_token: Some("t".into()),
        };
        let bytes = Encoding::Cbor.encode(&request);
        assert_eq!(Encoding::Cbor.decode(&bytes), Ok(request));
    }

    #[test]
    fn an_idle_thing_is_notified_with_bare_objects() {
        let notify = Notify { timestamp: 5, jobs: NotifyJobs::default() };
        assert_eq!(serde_json::to_string(&notify).unwrap(), r#"{"timestamp":5,"jobs":{}}"#);
        let next = NotifyNext { timestamp: 5, execution: None };
        assert_eq!(serde_json::to_string(&next).unwrap(), r#"{"timestamp":5}"#);
    }
}
