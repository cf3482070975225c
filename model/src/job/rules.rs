//! The checked form of what an operator says about the course of a job.

use super::rate::Rate;
use super::schedule::Schedule;
use super::{abort, rate, retry, schedule};
use muster_wire::job::{AbortCriteria, JobConfig, RetryCriteria, TargetSelection};
use std::time::Duration;

/// How a job is rolled out, called off, timed, tried again and scheduled.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rules {
    /// Whether things that come later get the job too.
    pub continuous: bool,
    /// How fast things are told.
    pub rate: Rate,
    /// Any of them gives the job up.
    pub abort: Vec<AbortCriteria>,
    /// How long an execution may be in progress.
    pub time_limit: Option<Duration>,
    /// What is tried again.
    pub retry: Vec<RetryCriteria>,
    /// When it runs.
    pub schedule: Schedule,
}

/// What is wrong with a [`JobConfig`]: all of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct RulesError(pub Vec<String>);

impl TryFrom<&JobConfig> for Rules {
    type Error = RulesError;

    fn try_from(config: &JobConfig) -> Result<Self, RulesError> {
        let mut problems = Vec::new();
        let rate = config.job_executions_rollout_config.as_ref().map(|rollout| rate::check(rollout, &mut problems));
        if let Some(abort) = &config.abort_config {
            abort::check(abort, &mut problems);
        }
        let minutes = config.timeout_config.as_ref().map(|timeout| timeout.in_progress_timeout_in_minutes);
        if let Some(minutes) = minutes.filter(|minutes| !(1..=TIMEOUT_MINUTES_MAX).contains(minutes)) {
            problems.push(format!("inProgressTimeoutInMinutes is {minutes}; use 1 to {TIMEOUT_MINUTES_MAX}"));
        }
        if let Some(retries) = &config.job_executions_retry_config {
            retry::check(retries, &mut problems);
        }
        let schedule = config.scheduling_config.as_ref().map(|schedule| schedule::check(schedule, &mut problems));
        if !problems.is_empty() {
            return Err(RulesError(problems));
        }
        Ok(Self {
            continuous: config.target_selection == TargetSelection::Continuous,
            rate: rate.unwrap_or_default(),
            abort: config.abort_config.clone().map(|abort| abort.criteria_list).unwrap_or_default(),
            time_limit: minutes.map(|minutes| Duration::from_secs(u64::from(minutes) * 60)),
            retry: config.job_executions_retry_config.clone().map(|retry| retry.criteria_list).unwrap_or_default(),
            schedule: schedule.unwrap_or_default(),
        })
    }
}

/// Seven days: the figure of the API model.
const TIMEOUT_MINUTES_MAX: u32 = 10_080;
