//! How a job is rolled out, called off, timed, tried again and scheduled. The names are those of the AWS IoT API.
//!
//! Shapes only: `muster_model::job::Rules` checks them.

use serde::{Deserialize, Serialize};

/// Everything that an operator may say about the course of a job.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JobConfig {
    /// Whether things that come later get the job too.
    #[serde(default)]
    pub target_selection: TargetSelection,
    /// How fast things are told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_executions_rollout_config: Option<RolloutConfig>,
    /// When to give up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abort_config: Option<AbortConfig>,
    /// How long a thing may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_config: Option<TimeoutConfig>,
    /// What is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_executions_retry_config: Option<RetryConfig>,
    /// When it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduling_config: Option<SchedulingConfig>,
}

/// Whether things that come later get the job too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TargetSelection {
    /// The members of the targets at creation.
    #[default]
    Snapshot,
    /// Whoever is a member of a target while the job is in progress.
    Continuous,
}

/// How fast things are told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RolloutConfig {
    /// Most things told in any minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum_per_minute: Option<u32>,
    /// A rate that grows with good news.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exponential_rate: Option<ExponentialRate>,
}

/// A rate that is multiplied each time so many things were reached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExponentialRate {
    /// Things in the first minute: 1 to 1000.
    pub base_rate_per_minute: u32,
    /// The factor: 1.1 to 5, one decimal.
    pub increment_factor: f64,
    /// What must happen before each increase.
    pub rate_increase_criteria: RateIncreaseCriteria,
}

/// What must happen before the rate grows: one of the two.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RateIncreaseCriteria {
    /// So many more things were told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number_of_notified_things: Option<u32>,
    /// So many more things succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number_of_succeeded_things: Option<u32>,
}

/// When to give up: any of the criteria is enough.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AbortConfig {
    /// At least one.
    pub criteria_list: Vec<AbortCriteria>,
}

/// One reason to give up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AbortCriteria {
    /// Which ends count.
    pub failure_type: FailureType,
    /// What is done then.
    pub action: AbortAction,
    /// How many per cent of the things that were told: above 0 to 100, two decimals.
    pub threshold_percentage: f64,
    /// Not before so many things were told; at least 1.
    pub min_number_of_executed_things: u32,
}

/// Which ends of an execution count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum FailureType {
    /// The device says it failed.
    Failed,
    /// The device will not do it.
    Rejected,
    /// A timer ran out.
    TimedOut,
    /// Any of them.
    All,
}

/// What is done when a job is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AbortAction {
    /// What is queued is canceled.
    Cancel,
}

/// How long a thing may take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TimeoutConfig {
    /// From the start by the device: 1 to 10080.
    pub in_progress_timeout_in_minutes: u32,
}

/// What is tried again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RetryConfig {
    /// One or two.
    pub criteria_list: Vec<RetryCriteria>,
}

/// One kind of end that is tried again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RetryCriteria {
    /// `FAILED`, `TIMED_OUT` or `ALL`.
    pub failure_type: FailureType,
    /// How often: 0 to 10.
    pub number_of_retries: u32,
}

/// When a job runs. All times are UTC.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SchedulingConfig {
    /// Not before: `YYYY-MM-DD HH:MM`, or RFC 3339 with a `Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<String>,
    /// Not after, in the same form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_time: Option<String>,
    /// What happens at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_behavior: Option<EndBehavior>,
    /// Things are told inside of one of these only; none means at any time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub maintenance_windows: Vec<MaintenanceWindow>,
}

/// What happens at the end of the schedule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum EndBehavior {
    /// No more things are told; those that were go on.
    #[default]
    StopRollout,
    /// What is queued is canceled.
    Cancel,
    /// What is queued or in progress is canceled.
    ForceCancel,
}

/// A time that comes again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MaintenanceWindow {
    /// When it opens: a cron expression.
    pub start_time: String,
    /// How long it stays open: 1 to 1430.
    pub duration_in_minutes: u32,
}
