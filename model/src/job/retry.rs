//! What is tried again.

use super::execution::{Execution, Outcome};
use muster_wire::job::{FailureType, RetryConfig, RetryCriteria};

/// Whether the job's criteria leave a retry for what has just ended.
///
/// Retries count since the thing last joined the job: leaving it and coming back starts anew.
#[must_use]
pub fn allows(criteria: &[RetryCriteria], execution: &Execution) -> bool {
    let Some(outcome) = execution.outcome() else { return false };
    let since_joined = execution.earlier.iter().rev().take_while(|one| one.outcome != Outcome::Removed);
    let counts = |kind: FailureType, outcome: Outcome| match kind {
        FailureType::Failed => outcome == Outcome::Failed,
        FailureType::TimedOut => outcome == Outcome::TimedOut,
        FailureType::All => matches!(outcome, Outcome::Failed | Outcome::TimedOut),
        FailureType::Rejected => false,
    };
    criteria.iter().any(|criterion| {
        let used = since_joined.clone().filter(|one| counts(criterion.failure_type, one.outcome)).count();
        counts(criterion.failure_type, outcome) && used < criterion.number_of_retries as usize
    })
}

/// Checks what an operator wants; adds what is wrong to `problems`.
pub(super) fn check(config: &RetryConfig, problems: &mut Vec<String>) {
    let list = &config.criteria_list;
    if !(1..=2).contains(&list.len()) {
        problems.push(format!("jobExecutionsRetryConfig has {} criteria; give one or two", list.len()));
    }
    if list.iter().any(|criterion| criterion.failure_type == FailureType::Rejected) {
        problems.push("a rejected execution is not tried again; retry FAILED, TIMED_OUT or ALL".to_owned());
    }
    let all = list.iter().any(|criterion| criterion.failure_type == FailureType::All);
    let twice = matches!(list.as_slice(), [one, other] if one.failure_type == other.failure_type);
    if twice || (all && list.len() > 1) {
        problems.push("retry criteria overlap; give ALL alone, or FAILED and TIMED_OUT once each".to_owned());
    }
    let total = list.iter().fold(0u32, |sum, criterion| sum.saturating_add(criterion.number_of_retries));
    if total > RETRIES_MAX {
        problems.push(format!("there are {total} retries; at most {RETRIES_MAX} are allowed in all"));
    }
}

/// AWS IoT Core's figure, over all criteria.
const RETRIES_MAX: u32 = 10;
