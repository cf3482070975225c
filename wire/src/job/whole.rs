//! A job as a whole, as operators and observers see it. The names are those of the AWS IoT API.

use super::config::{AbortConfig, JobConfig, RetryConfig, RolloutConfig, SchedulingConfig, TimeoutConfig};
use super::{JobStatus, StatusDetails, TargetSelection};
use crate::id::{JobId, ThingName};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// Status of a job as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum WholeJobStatus {
    /// Its time has not come.
    Scheduled,
    /// It is under way.
    InProgress,
    /// Every execution is over.
    Completed,
    /// It was called off, by an operator, by its abort criteria or by its schedule.
    Canceled,
    /// It is being deleted.
    DeletionInProgress,
}

impl WholeJobStatus {
    /// The word of the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "SCHEDULED",
            Self::InProgress => "IN_PROGRESS",
            Self::Completed => "COMPLETED",
            Self::Canceled => "CANCELED",
            Self::DeletionInProgress => "DELETION_IN_PROGRESS",
        }
    }
}

impl fmt::Display for WholeJobStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How many things stand where: each thing counts once, with its latest execution.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs, reason = "the names are those of the API model")]
pub struct JobProcessDetails {
    pub number_of_canceled_things: u64,
    pub number_of_succeeded_things: u64,
    pub number_of_failed_things: u64,
    pub number_of_rejected_things: u64,
    pub number_of_queued_things: u64,
    pub number_of_in_progress_things: u64,
    pub number_of_removed_things: u64,
    pub number_of_timed_out_things: u64,
}

/// One line of a list of jobs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names are those of the API model")]
pub struct JobSummary {
    pub job_arn: String,
    pub job_id: JobId,
    pub target_selection: TargetSelection,
    pub status: WholeJobStatus,
    pub created_at: i64,
    pub last_updated_at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<i64>,
    pub targets: Vec<String>,
    /// Of the members at creation, how many the rollout has still to reach. Not in the AWS API.
    pub number_of_waiting_things: u64,
    pub job_process_details: JobProcessDetails,
}

/// A job whole, without its document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names are those of the API model")]
pub struct JobDescription {
    #[serde(flatten)]
    pub summary: JobSummary,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub force_canceled: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason_code: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_executions_rollout_config: Option<RolloutConfig>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abort_config: Option<AbortConfig>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_config: Option<TimeoutConfig>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_executions_retry_config: Option<RetryConfig>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduling_config: Option<SchedulingConfig>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_template_arn: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub document_parameters: BTreeMap<String, String>,
    /// Who made it. Not in the AWS API.
    pub created_by: String,
}

impl JobDescription {
    /// With what `config` says.
    #[must_use]
    pub fn with_config(self, config: JobConfig) -> Self {
        Self {
            job_executions_rollout_config: config.job_executions_rollout_config,
            abort_config: config.abort_config,
            timeout_config: config.timeout_config,
            job_executions_retry_config: config.job_executions_retry_config,
            scheduling_config: config.scheduling_config,
            ..self
        }
    }
}

/// Details of an execution as the control plane nests them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NestedDetails {
    /// The details.
    pub details_map: StatusDetails,
}

/// One execution as the control plane shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names are those of the API model")]
pub struct ExecutionDescription {
    pub job_id: JobId,
    pub thing_arn: String,
    pub status: JobStatus,
    pub force_canceled: bool,
    #[serde(default)]
    pub status_details: NestedDetails,
    pub queued_at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<i64>,
    pub last_updated_at: i64,
    pub execution_number: u64,
    pub version_number: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approximate_seconds_before_timed_out: Option<i64>,
}

/// The payload of `$aws/events/job/{job}/{operation}`. `createdAt`, `lastUpdatedAt` and `completedAt` are milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names are those of the API model")]
pub struct JobEvent {
    pub event_type: String,
    pub event_id: String,
    pub timestamp: i64,
    pub operation: JobOperation,
    pub job_id: JobId,
    pub status: String,
    pub target_selection: TargetSelection,
    pub targets: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub last_updated_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_process_details: Option<EndDetails>,
}

/// How the things of a job ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names are those of the API model")]
pub struct EndDetails {
    pub number_of_canceled_things: u64,
    pub number_of_rejected_things: u64,
    pub number_of_failed_things: u64,
    pub number_of_removed_things: u64,
    pub number_of_succeeded_things: u64,
    pub number_of_timed_out_things: u64,
}

/// What happened to a job: the last level of the event's topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobOperation {
    /// Every execution is over.
    Completed,
    /// It was called off, and nothing is queued any more.
    Canceled,
    /// It is gone, and so are its executions.
    Deleted,
    /// It is called off; its executions are being canceled.
    CancellationInProgress,
    /// It is being deleted.
    DeletionInProgress,
}

impl JobOperation {
    /// The last level of the topic.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Canceled => "canceled",
            Self::Deleted => "deleted",
            Self::CancellationInProgress => "cancellation_in_progress",
            Self::DeletionInProgress => "deletion_in_progress",
        }
    }

    /// Whether it says that the job is over, and not only on its way there.
    #[must_use]
    pub const fn is_over(self) -> bool {
        match self {
            Self::Completed | Self::Canceled | Self::Deleted => true,
            Self::CancellationInProgress | Self::DeletionInProgress => false,
        }
    }

    /// The event's `status`.
    #[must_use]
    pub fn status(self) -> String {
        self.as_str().to_ascii_uppercase()
    }
}

/// The ARN of a thing: accounts and regions do not exist here.
#[must_use]
pub fn thing_arn(thing: &ThingName) -> String {
    format!("arn:aws:iot:::thing/{thing}")
}

/// The ARN of a job.
#[must_use]
pub fn job_arn(job: &JobId) -> String {
    format!("arn:aws:iot:::job/{job}")
}

/// The ARN of a group: what a selector means.
#[must_use]
pub fn group_arn(selector: &impl fmt::Display) -> String {
    format!("arn:aws:iot:::thinggroup/{selector}")
}

/// The ARN of a job template.
#[must_use]
pub fn template_arn(template: &impl fmt::Display) -> String {
    format!("arn:aws:iot:::jobtemplate/{template}")
}
