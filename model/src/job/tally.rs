//! How many things of a job stand where. Each thing counts once, with its latest execution.

use muster_wire::job::{EndDetails, JobProcessDetails, JobStatus};
use serde::{Deserialize, Serialize};

/// A count for each status, in the order of [`Tally::STATUSES`], which never changes: it is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally([u64; 8]);

impl Tally {
    /// Every status of an execution.
    pub const STATUSES: [JobStatus; 8] = [
        JobStatus::Queued,
        JobStatus::InProgress,
        JobStatus::Succeeded,
        JobStatus::Failed,
        JobStatus::TimedOut,
        JobStatus::Rejected,
        JobStatus::Removed,
        JobStatus::Canceled,
    ];

    /// Where a status stands in [`Tally::STATUSES`].
    #[must_use]
    pub const fn place(status: JobStatus) -> usize {
        match status {
            JobStatus::Queued => 0,
            JobStatus::InProgress => 1,
            JobStatus::Succeeded => 2,
            JobStatus::Failed => 3,
            JobStatus::TimedOut => 4,
            JobStatus::Rejected => 5,
            JobStatus::Removed => 6,
            JobStatus::Canceled => 7,
        }
    }

    /// From counts in the order of [`Tally::STATUSES`].
    #[must_use]
    pub const fn new(counts: [u64; 8]) -> Self {
        Self(counts)
    }

    /// How many things have this status.
    #[must_use]
    pub const fn of(&self, status: JobStatus) -> u64 {
        self.0[Self::place(status)]
    }

    /// How many things have an execution.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// How many things have an execution that is not over.
    #[must_use]
    pub const fn waiting(&self) -> u64 {
        self.of(JobStatus::Queued) + self.of(JobStatus::InProgress)
    }

    /// A thing's execution went from one status to another; `None` is no execution.
    pub fn shift(&mut self, from: Option<JobStatus>, to: Option<JobStatus>) {
        if let Some(from) = from {
            self.0[Self::place(from)] = self.of(from).saturating_sub(1);
        }
        if let Some(to) = to {
            self.0[Self::place(to)] += 1;
        }
    }

    /// As the API calls it.
    #[must_use]
    pub const fn process_details(&self) -> JobProcessDetails {
        JobProcessDetails {
            number_of_canceled_things: self.of(JobStatus::Canceled),
            number_of_succeeded_things: self.of(JobStatus::Succeeded),
            number_of_failed_things: self.of(JobStatus::Failed),
            number_of_rejected_things: self.of(JobStatus::Rejected),
            number_of_queued_things: self.of(JobStatus::Queued),
            number_of_in_progress_things: self.of(JobStatus::InProgress),
            number_of_removed_things: self.of(JobStatus::Removed),
            number_of_timed_out_things: self.of(JobStatus::TimedOut),
        }
    }

    /// As the event `completed` tells it.
    #[must_use]
    pub const fn end_details(&self) -> EndDetails {
        EndDetails {
            number_of_canceled_things: self.of(JobStatus::Canceled),
            number_of_rejected_things: self.of(JobStatus::Rejected),
            number_of_failed_things: self.of(JobStatus::Failed),
            number_of_removed_things: self.of(JobStatus::Removed),
            number_of_succeeded_things: self.of(JobStatus::Succeeded),
            number_of_timed_out_things: self.of(JobStatus::TimedOut),
        }
    }
}
