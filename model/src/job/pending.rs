//! The queue of one thing, and which changes of it the thing is told about.

use super::execution::{Execution, State};
use muster_wire::id::JobId;
use muster_wire::job::JobStatus;

/// What notices depend on: one line of the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingJob {
    /// The job.
    pub job_id: JobId,
    /// Which try of it.
    pub execution_number: u64,
    /// `QUEUED` or `IN_PROGRESS`.
    pub status: JobStatus,
}

/// Which notices a change of the queue causes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notices {
    /// `jobs/notify`: something came or went.
    pub notify: bool,
    /// `jobs/notify-next`: another job is at the head, or none.
    pub notify_next: bool,
}

impl From<&Execution> for PendingJob {
    fn from(execution: &Execution) -> Self {
        Self {
            job_id: execution.job_id.clone(),
            execution_number: execution.execution_number,
            status: execution.status(),
        }
    }
}

/// The executions that are not over, in the order of the queue: what is in progress first, then by time, then by id.
#[must_use]
pub fn pending<'a>(executions: impl IntoIterator<Item = &'a Execution>) -> Vec<&'a Execution> {
    let mut queue: Vec<(u8, &Execution)> =
        executions.into_iter().filter_map(|execution| Some((rank(execution)?, execution))).collect();
    queue.sort_by(|(one_rank, one), (other_rank, other)| {
        (one_rank, one.queued_at, &one.job_id).cmp(&(other_rank, other.queued_at, &other.job_id))
    });
    queue.into_iter().map(|(_, execution)| execution).collect()
}

/// The head of the queue: what start-next gives out, and what `$next` means.
#[must_use]
pub fn next<'a>(executions: impl IntoIterator<Item = &'a Execution>) -> Option<&'a Execution> {
    executions
        .into_iter()
        .filter_map(|execution| Some((rank(execution)?, execution.queued_at, &execution.job_id, execution)))
        .min_by_key(|(rank, queued_at, job, _)| (*rank, *queued_at, *job))
        .map(|(_, _, _, execution)| execution)
}

/// Notices for the change of a queue from `before` to `after`, both in order.
///
/// Starting the head causes none. Another try of a job is another line: one went, one came.
#[must_use]
pub fn notices(before: &[PendingJob], after: &[PendingJob]) -> Notices {
    let came_or_went =
        before.len() != after.len() || before.iter().any(|old| !after.iter().any(|new| goes_on(old, new)));
    let same_head = match (before.first(), after.first()) {
        (Some(old), Some(new)) => goes_on(old, new),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    };
    Notices { notify: came_or_went, notify_next: !same_head }
}

/// Whether both are one try of one job.
fn goes_on(old: &PendingJob, new: &PendingJob) -> bool {
    (&old.job_id, old.execution_number) == (&new.job_id, new.execution_number)
}

fn rank(execution: &Execution) -> Option<u8> {
    match &execution.state {
        State::InProgress { .. } => Some(0),
        State::Queued { .. } => Some(1),
        State::Finished { .. } => None,
    }
}
