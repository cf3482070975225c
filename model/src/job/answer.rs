//! Payloads made from executions.

use super::execution::{Execution, State};
use muster_wire::id::ThingName;
use muster_wire::job::{
    ExecutionDescription, GetPendingResponse, JobDocument, JobExecution, JobExecutionState, JobExecutionSummary,
    JobStatus, NestedDetails, Notify, NotifyJobs, NotifyNext, thing_arn,
};
use muster_wire::limits::{NOTIFY_EXECUTIONS_MAX, PAYLOAD_BYTES_MAX};
use muster_wire::time::Timestamp;

impl Execution {
    /// One line of a list.
    #[must_use]
    pub fn summary(&self) -> JobExecutionSummary {
        JobExecutionSummary {
            job_id: self.job_id.clone(),
            queued_at: self.queued_at.epoch_seconds(),
            started_at: self.started_at().map(Timestamp::epoch_seconds),
            last_updated_at: self.last_updated_at.epoch_seconds(),
            version_number: self.version_number,
            execution_number: self.execution_number,
        }
    }

    /// The whole execution, with what the caller wants in it.
    #[must_use]
    pub fn on_wire(&self, thing: Option<&ThingName>, document: Option<&JobDocument>, now: Timestamp) -> JobExecution {
        JobExecution {
            job_id: self.job_id.clone(),
            thing_name: thing.cloned(),
            job_document: document.cloned(),
            status: self.status(),
            status_details: self.status_details.clone(),
            queued_at: self.queued_at.epoch_seconds(),
            started_at: self.started_at().map(Timestamp::epoch_seconds),
            last_updated_at: self.last_updated_at.epoch_seconds(),
            version_number: self.version_number,
            execution_number: self.execution_number,
            approximate_seconds_before_timed_out: self.seconds_left(now),
        }
    }

    /// As the control plane shows it: the latest try.
    #[must_use]
    pub fn describe(&self, thing: &ThingName, now: Timestamp) -> ExecutionDescription {
        ExecutionDescription {
            job_id: self.job_id.clone(),
            thing_arn: thing_arn(thing),
            status: self.status(),
            // Only a forced cancel ends what has started.
            force_canceled: self.status() == JobStatus::Canceled && self.started_at().is_some(),
            status_details: NestedDetails { details_map: self.status_details.clone() },
            queued_at: self.queued_at.epoch_seconds(),
            started_at: self.started_at().map(Timestamp::epoch_seconds),
            last_updated_at: self.last_updated_at.epoch_seconds(),
            execution_number: self.execution_number,
            version_number: self.version_number,
            approximate_seconds_before_timed_out: self.seconds_left(now),
        }
    }

    fn seconds_left(&self, now: Timestamp) -> Option<i64> {
        self.times_out_at().map(|due| i64::try_from(due.since(now).as_secs()).unwrap_or(i64::MAX))
    }

    /// The part that answers and refusals carry.
    #[must_use]
    pub fn wire_state(&self) -> JobExecutionState {
        JobExecutionState {
            status: self.status(),
            status_details: self.status_details.clone(),
            version_number: self.version_number,
        }
    }
}

/// The payload of `notify` for a queue in order; names the first [`NOTIFY_EXECUTIONS_MAX`].
#[must_use]
pub fn notify(queue: &[&Execution], now: Timestamp) -> Notify {
    let (in_progress, queued) = split(queue, NOTIFY_EXECUTIONS_MAX);
    Notify { timestamp: now.epoch_seconds(), jobs: NotifyJobs { in_progress, queued } }
}

/// The payload of `notify-next` for the head of a queue with the document of its job.
#[must_use]
pub fn notify_next(head: Option<(&Execution, &JobDocument)>, now: Timestamp) -> NotifyNext {
    NotifyNext {
        timestamp: now.epoch_seconds(),
        execution: head.map(|(execution, document)| execution.on_wire(None, Some(document), now)),
    }
}

/// The answer to GetPendingJobExecutions for a queue in order; names as many as surely fit a message.
#[must_use]
pub fn pending_lists(queue: &[&Execution], client_token: Option<String>, now: Timestamp) -> GetPendingResponse {
    let (in_progress_jobs, queued_jobs) = split(queue, PENDING_LISTED_MAX);
    GetPendingResponse { in_progress_jobs, queued_jobs, timestamp: now.epoch_seconds(), client_token }
}

/// A summary has less than 300 bytes as JSON: 64 of job id, 6 names, 5 numbers.
const PENDING_LISTED_MAX: usize = PAYLOAD_BYTES_MAX / 512;

/// What is in progress, and what is queued.
fn split(queue: &[&Execution], max: usize) -> (Vec<JobExecutionSummary>, Vec<JobExecutionSummary>) {
    let (mut in_progress, mut queued) = (Vec::new(), Vec::new());
    for execution in queue.iter().take(max) {
        match &execution.state {
            State::InProgress { .. } => in_progress.push(execution.summary()),
            State::Queued { .. } => queued.push(execution.summary()),
            State::Finished { .. } => {}
        }
    }
    (in_progress, queued)
}
