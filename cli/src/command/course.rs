//! The rules of a job as they are written on the command line.

use crate::args::{RuleArgs, ScheduleArgs};
use muster_wire::job::{
    AbortAction, AbortConfig, AbortCriteria, ExponentialRate, FailureType, JobConfig, MaintenanceWindow,
    RateIncreaseCriteria, RetryConfig, RetryCriteria, RolloutConfig, SchedulingConfig, TargetSelection, TimeoutConfig,
};
use std::str::FromStr;

/// Minutes, written as `30`, `30m`, `2h` or `1d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Minutes(u32);

impl FromStr for Minutes {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let units = [("m", 1), ("h", 60), ("d", 24 * 60)];
        let unit = units.into_iter().find_map(|(unit, minutes)| Some((text.strip_suffix(unit)?, minutes)));
        let (number, minutes) = unit.unwrap_or((text, 1));
        let number: u32 = number.trim().parse().map_err(|_| "it is no time; use for example 30m, 2h or 1d")?;
        number.checked_mul(minutes).map(Self).ok_or_else(|| "it is too long".to_owned())
    }
}

/// A reason to give up, written as `FAILED>=20% after 10`.
#[derive(Clone, Debug, PartialEq)]
pub struct Abort(AbortCriteria);

impl FromStr for Abort {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let shape = || "write for example 'FAILED>=20% after 10'".to_owned();
        let (kind, rest) = text.split_once(">=").ok_or_else(shape)?;
        let (percentage, rest) = rest.split_once('%').ok_or_else(shape)?;
        let least = match rest.trim() {
            "" => 1,
            rest => rest.strip_prefix("after").and_then(|count| count.trim().parse().ok()).ok_or_else(shape)?,
        };
        Ok(Self(AbortCriteria {
            failure_type: failure_type(kind)?,
            action: AbortAction::Cancel,
            threshold_percentage: percentage.trim().parse().map_err(|_| shape())?,
            min_number_of_executed_things: least,
        }))
    }
}

/// What is tried again, written as `FAILED=3`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry(RetryCriteria);

impl FromStr for Retry {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, times) = text.split_once('=').ok_or("write for example FAILED=3")?;
        let number_of_retries = times.trim().parse().map_err(|_| format!("{times:?} is no number"))?;
        Ok(Self(RetryCriteria { failure_type: failure_type(kind)?, number_of_retries }))
    }
}

/// A maintenance window, written as `30 22 * * FRI;2h`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window(MaintenanceWindow);

impl FromStr for Window {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (cron, time) =
            text.rsplit_once(';').ok_or("write a cron expression, a ; and a time: '30 22 * * FRI;2h'")?;
        let Minutes(duration_in_minutes) = time.trim().parse()?;
        Ok(Self(MaintenanceWindow { start_time: cron.trim().to_owned(), duration_in_minutes }))
    }
}

fn failure_type(text: &str) -> Result<FailureType, String> {
    match text.trim().to_ascii_uppercase().as_str() {
        "FAILED" => Ok(FailureType::Failed),
        "REJECTED" => Ok(FailureType::Rejected),
        "TIMED_OUT" => Ok(FailureType::TimedOut),
        "ALL" => Ok(FailureType::All),
        other => Err(format!("{other:?} is none of FAILED, REJECTED, TIMED_OUT, ALL")),
    }
}

impl RuleArgs {
    /// How fast things are told.
    pub fn rollout(&self) -> Option<RolloutConfig> {
        let exponential_rate = self.rate_base.zip(self.rate_factor).map(|(base, factor)| ExponentialRate {
            base_rate_per_minute: base,
            increment_factor: factor,
            rate_increase_criteria: RateIncreaseCriteria {
                number_of_notified_things: self.rate_on_notified,
                number_of_succeeded_things: self.rate_on_succeeded,
            },
        });
        let any = self.rate.is_some() || exponential_rate.is_some();
        any.then_some(RolloutConfig { maximum_per_minute: self.rate, exponential_rate })
    }

    /// When to give up.
    pub fn abort(&self) -> Option<AbortConfig> {
        let criteria_list: Vec<AbortCriteria> = self.abort.iter().map(|abort| abort.0.clone()).collect();
        (!criteria_list.is_empty()).then_some(AbortConfig { criteria_list })
    }

    /// How long a thing may take.
    pub fn timeout(&self) -> Option<TimeoutConfig> {
        self.timeout.map(|Minutes(minutes)| TimeoutConfig { in_progress_timeout_in_minutes: minutes })
    }

    /// What is tried again.
    pub fn retry(&self) -> Option<RetryConfig> {
        let criteria_list: Vec<RetryCriteria> = self.retry.iter().map(|retry| retry.0.clone()).collect();
        (!criteria_list.is_empty()).then_some(RetryConfig { criteria_list })
    }
}

/// Everything that was said about the course of a job.
pub fn config(rules: &RuleArgs, schedule: &ScheduleArgs, continuous: bool) -> JobConfig {
    let windows: Vec<MaintenanceWindow> = schedule.window.iter().map(|window| window.0.clone()).collect();
    let scheduled = schedule.start.is_some() || schedule.end.is_some() || !windows.is_empty();
    JobConfig {
        target_selection: if continuous { TargetSelection::Continuous } else { TargetSelection::Snapshot },
        job_executions_rollout_config: rules.rollout(),
        abort_config: rules.abort(),
        timeout_config: rules.timeout(),
        job_executions_retry_config: rules.retry(),
        scheduling_config: scheduled.then(|| SchedulingConfig {
            start_time: schedule.start.clone(),
            end_time: schedule.end.clone(),
            end_behavior: schedule.end_behavior.map(Into::into),
            maintenance_windows: windows,
        }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn rules_are_read_as_they_are_spoken() {
        let abort: Abort = "failed>=33.3% after 10".parse().unwrap();
        let said = (abort.0.failure_type, abort.0.threshold_percentage, abort.0.min_number_of_executed_things);
        assert_eq!(said, (FailureType::Failed, 33.3, 10));
        assert_eq!("ALL>=5%".parse::<Abort>().unwrap().0.min_number_of_executed_things, 1);
        for wrong in ["FAILED", "FAILED>=20", "X>=20%", "FAILED>=20% before 10", "FAILED>=x%"] {
            assert!(wrong.parse::<Abort>().is_err(), "{wrong}");
        }
        assert_eq!("TIMED_OUT=1".parse::<Retry>().unwrap().0.number_of_retries, 1);
        assert!("FAILED".parse::<Retry>().is_err() && "FAILED=x".parse::<Retry>().is_err());
        for (text, minutes) in [("30", 30), ("30m", 30), ("2h", 120), ("1d", 1440)] {
            assert_eq!(text.parse(), Ok(Minutes(minutes)));
        }
        assert!("".parse::<Minutes>().is_err() && "5000000d".parse::<Minutes>().is_err());
        let window: Window = "30 22 * * FRI;2h".parse().unwrap();
        assert_eq!((window.0.start_time.as_str(), window.0.duration_in_minutes), ("30 22 * * FRI", 120));
        assert!("30 22 * * FRI".parse::<Window>().is_err());
    }
}
