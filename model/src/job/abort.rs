//! When a job is given up.
//!
//! A criterion is reached when so many things were told and, of these, so many per cent ended in the named way. A thing
//! counts with its latest execution: one that is tried again has not failed yet.

use super::tally::Tally;
use muster_wire::job::{AbortConfig, AbortCriteria, FailureType, JobStatus};

/// The first criterion that is reached.
#[must_use]
pub fn reached<'c>(criteria: &'c [AbortCriteria], tally: &Tally) -> Option<&'c AbortCriteria> {
    let told = tally.total();
    criteria.iter().find(|criterion| {
        let ended = match criterion.failure_type {
            FailureType::Failed => tally.of(JobStatus::Failed),
            FailureType::Rejected => tally.of(JobStatus::Rejected),
            FailureType::TimedOut => tally.of(JobStatus::TimedOut),
            FailureType::All => {
                tally.of(JobStatus::Failed) + tally.of(JobStatus::Rejected) + tally.of(JobStatus::TimedOut)
            }
        };
        told >= u64::from(criterion.min_number_of_executed_things)
            && ended > 0
            && ended * WHOLE >= hundredths(criterion.threshold_percentage) * told
    })
}

/// What an operator reads when a criterion was reached.
#[must_use]
pub fn reason(criterion: &AbortCriteria, tally: &Tally) -> String {
    let ends = match criterion.failure_type {
        FailureType::Failed => "failed",
        FailureType::Rejected => "were rejected",
        FailureType::TimedOut => "timed out",
        FailureType::All => "failed, timed out or were rejected",
    };
    format!("at least {} % of {} things {ends}", criterion.threshold_percentage, tally.total())
}

/// Checks what an operator wants; adds what is wrong to `problems`.
pub(super) fn check(config: &AbortConfig, problems: &mut Vec<String>) {
    if config.criteria_list.is_empty() {
        problems.push("abortConfig has no criteria; give at least one".to_owned());
    }
    for criterion in &config.criteria_list {
        let percentage = criterion.threshold_percentage;
        let fits = percentage.is_finite()
            && percentage > 0.0
            && percentage <= 100.0
            && (percentage * 100.0 - (percentage * 100.0).round()).abs() < 1e-6;
        if !fits {
            problems.push(format!("thresholdPercentage is {percentage}; use 0.01 to 100 with at most two decimals"));
        }
        if criterion.min_number_of_executed_things == 0 {
            problems.push("minNumberOfExecutedThings is 0; use at least 1".to_owned());
        }
    }
}

/// A hundred per cent, in hundredths of a per cent.
const WHOLE: u64 = 10_000;

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be 0 to 100")]
fn hundredths(percentage: f64) -> u64 {
    (percentage * 100.0).round() as u64
}
