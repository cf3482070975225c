//! The state machine of one execution.

use super::event::{Event, StepTimeout, Update};
use super::refusal::Refusal;
use muster_wire::id::JobId;
use muster_wire::job::{JobStatus, StatusDetails};
use muster_wire::time::Timestamp;
use std::time::Duration;

/// A job on one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Execution {
    /// The job.
    pub job_id: JobId,
    /// 1 for the first try of the job on the thing; grows with each retry.
    pub execution_number: u64,
    /// 1 when made; grows with each change.
    pub version_number: u64,
    /// When it was made.
    pub queued_at: Timestamp,
    /// When it last changed.
    pub last_updated_at: Timestamp,
    /// What the device last said about it.
    pub status_details: StatusDetails,
    /// Where it stands.
    pub state: State,
    /// The tries before this one, oldest first; all are over.
    pub earlier: Vec<Try>,
}

/// A try of a job on a thing that is over and was followed by another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Try {
    /// Its number.
    pub execution_number: u64,
    /// Its last version.
    pub version_number: u64,
    /// When it was made.
    pub queued_at: Timestamp,
    /// When the device started it, if it did.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub last_updated_at: Timestamp,
    /// What the device last said about it.
    pub status_details: StatusDetails,
    /// How it ended.
    pub outcome: Outcome,
}

/// Where an execution stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Made, not started.
    Queued {
        /// How long it may be in progress.
        time_limit: Option<Duration>,
    },
    /// Started by the device. Timers run only here.
    InProgress {
        /// When the device started it.
        started_at: Timestamp,
        /// When the whole execution times out.
        deadline: Option<Timestamp>,
        /// When the present step times out; never after `deadline`.
        step_deadline: Option<Timestamp>,
    },
    /// Over; nothing leaves this state.
    Finished {
        /// When the device started it, if it did.
        started_at: Option<Timestamp>,
        /// How it ended.
        outcome: Outcome,
    },
}

/// How an execution ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The device says it is done.
    Succeeded,
    /// The device says it failed.
    Failed,
    /// The device will not do it.
    Rejected,
    /// A timer ran out.
    TimedOut,
    /// Somebody called it off.
    Canceled,
    /// The thing left the job.
    Removed,
}

/// Retries are at most ten; more tries come from leaving and joining a continuous job. The oldest are forgotten, so that
/// a record with details of full length (41 KiB) in each try stays below the store's limit of 1 MiB.
const TRIES_KEPT: usize = 20;

/// What a device may ask for with an update.
enum Wanted {
    InProgress,
    Finished(Outcome),
}

impl Execution {
    /// A new execution, waiting for the device. `time_limit` is how long it may be in progress.
    #[must_use]
    pub fn queued(job_id: JobId, execution_number: u64, time_limit: Option<Duration>, now: Timestamp) -> Self {
        Self {
            job_id,
            execution_number,
            version_number: 1,
            queued_at: now,
            last_updated_at: now,
            status_details: StatusDetails::new(),
            state: State::Queued { time_limit },
            earlier: Vec::new(),
        }
    }

    /// The next try of what is over, waiting for the device; itself while it is not over.
    #[must_use]
    pub fn again(&self, time_limit: Option<Duration>, now: Timestamp) -> Self {
        let State::Finished { started_at, outcome } = &self.state else { return self.clone() };
        let mut earlier = self.earlier.clone();
        earlier.push(Try {
            execution_number: self.execution_number,
            version_number: self.version_number,
            queued_at: self.queued_at,
            started_at: *started_at,
            last_updated_at: self.last_updated_at,
            status_details: self.status_details.clone(),
            outcome: *outcome,
        });
        if earlier.len() > TRIES_KEPT {
            earlier.remove(0);
        }
        Self { earlier, ..Self::queued(self.job_id.clone(), self.execution_number + 1, time_limit, now) }
    }

    /// What is left without the try `number`: the try before becomes the latest. `None` when nothing is left.
    #[must_use]
    pub fn without(&self, number: u64) -> Option<Self> {
        let mut rest = self.clone();
        if number != self.execution_number {
            rest.earlier.retain(|earlier| earlier.execution_number != number);
            return Some(rest);
        }
        let last = rest.earlier.pop()?;
        Some(Self::over(rest.job_id, last, rest.earlier))
    }

    /// The try `number` if it is one of those before this one, as if it were the latest and only one.
    #[must_use]
    pub fn earlier_try(&self, number: u64) -> Option<Self> {
        let one = self.earlier.iter().find(|earlier| earlier.execution_number == number)?;
        Some(Self::over(self.job_id.clone(), one.clone(), Vec::new()))
    }

    fn over(job_id: JobId, one: Try, earlier: Vec<Try>) -> Self {
        Self {
            job_id,
            execution_number: one.execution_number,
            version_number: one.version_number,
            queued_at: one.queued_at,
            last_updated_at: one.last_updated_at,
            status_details: one.status_details,
            state: State::Finished { started_at: one.started_at, outcome: one.outcome },
            earlier,
        }
    }

    /// Every try, oldest first, each as if it were the latest.
    #[must_use]
    pub fn tries(&self) -> Vec<Self> {
        let mut tries: Vec<Self> =
            std::iter::successors(Some(self.clone()), |last| last.without(last.execution_number))
                .map(|one| Self { earlier: Vec::new(), ..one })
                .collect();
        tries.reverse();
        tries
    }

    /// How it ended, if it did.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        match &self.state {
            State::Finished { outcome, .. } => Some(*outcome),
            State::Queued { .. } | State::InProgress { .. } => None,
        }
    }

    /// The status as the API calls it.
    #[must_use]
    pub fn status(&self) -> JobStatus {
        match &self.state {
            State::Queued { .. } => JobStatus::Queued,
            State::InProgress { .. } => JobStatus::InProgress,
            State::Finished { outcome, .. } => outcome.status(),
        }
    }

    /// When the device started it, if it did.
    #[must_use]
    pub fn started_at(&self) -> Option<Timestamp> {
        match &self.state {
            State::Queued { .. } => None,
            State::InProgress { started_at, .. } => Some(*started_at),
            State::Finished { started_at, .. } => *started_at,
        }
    }

    /// When [`Event::Timeout`] is due; absent when no timer runs.
    #[must_use]
    pub fn times_out_at(&self) -> Option<Timestamp> {
        match &self.state {
            State::InProgress { deadline, step_deadline, .. } => deadline.iter().chain(step_deadline).min().copied(),
            State::Queued { .. } | State::Finished { .. } => None,
        }
    }

    /// The next version, in `state`.
    fn moved(&self, state: State, details: Option<&StatusDetails>, now: Timestamp) -> Self {
        Self {
            job_id: self.job_id.clone(),
            execution_number: self.execution_number,
            version_number: self.version_number + 1,
            queued_at: self.queued_at,
            last_updated_at: now,
            status_details: details.unwrap_or(&self.status_details).clone(),
            state,
            earlier: self.earlier.clone(),
        }
    }
}

impl Outcome {
    /// The status as the API calls it.
    #[must_use]
    pub const fn status(self) -> JobStatus {
        match self {
            Self::Succeeded => JobStatus::Succeeded,
            Self::Failed => JobStatus::Failed,
            Self::Rejected => JobStatus::Rejected,
            Self::TimedOut => JobStatus::TimedOut,
            Self::Canceled => JobStatus::Canceled,
            Self::Removed => JobStatus::Removed,
        }
    }
}

/// What `event` makes of `execution`.
///
/// A device that starts what it has started gets the execution unchanged (same version), but a new step timer counts.
/// Errors: see [`Refusal`]; late, repeated and stale events are refused, never an accident.
pub fn apply(execution: &Execution, event: &Event, now: Timestamp) -> Result<Execution, Refusal> {
    match &execution.state {
        State::Queued { time_limit } => match event {
            Event::StartNext { status_details, step_timeout } => {
                let state = started(*time_limit, *step_timeout, now);
                Ok(execution.moved(state, status_details.as_ref(), now))
            }
            Event::Update(update) => {
                let state = match wanted(execution, update)? {
                    Wanted::InProgress => started(*time_limit, update.step_timeout, now),
                    Wanted::Finished(outcome) => State::Finished { started_at: None, outcome },
                };
                Ok(execution.moved(state, update.status_details.as_ref(), now))
            }
            Event::Timeout => Err(Refusal::transition(execution, JobStatus::TimedOut)),
            Event::Cancel { .. } => Ok(ended(execution, Outcome::Canceled, now)),
            Event::Remove => Ok(ended(execution, Outcome::Removed, now)),
        },
        State::InProgress { started_at, deadline, step_deadline } => match event {
            Event::StartNext { step_timeout, .. } => {
                let step_deadline = next_step(*step_deadline, *step_timeout, *deadline, now);
                let state = State::InProgress { started_at: *started_at, deadline: *deadline, step_deadline };
                Ok(Execution { state, ..execution.clone() })
            }
            Event::Update(update) => {
                let state = match wanted(execution, update)? {
                    Wanted::InProgress => {
                        let step_deadline = next_step(*step_deadline, update.step_timeout, *deadline, now);
                        State::InProgress { started_at: *started_at, deadline: *deadline, step_deadline }
                    }
                    Wanted::Finished(outcome) => State::Finished { started_at: Some(*started_at), outcome },
                };
                Ok(execution.moved(state, update.status_details.as_ref(), now))
            }
            Event::Timeout if execution.times_out_at().is_some_and(|due| due <= now) => {
                Ok(ended(execution, Outcome::TimedOut, now))
            }
            Event::Timeout => Err(Refusal::transition(execution, JobStatus::TimedOut)),
            Event::Cancel { force: true } => Ok(ended(execution, Outcome::Canceled, now)),
            Event::Cancel { force: false } => Err(Refusal::transition(execution, JobStatus::Canceled)),
            Event::Remove => Ok(ended(execution, Outcome::Removed, now)),
        },
        State::Finished { .. } => match event {
            Event::StartNext { .. } => Err(Refusal::transition(execution, JobStatus::InProgress)),
            Event::Update(update) => {
                check_number(execution, update)?;
                Err(too_late(execution, update.status))
            }
            Event::Timeout => Err(Refusal::transition(execution, JobStatus::TimedOut)),
            Event::Cancel { .. } => Err(Refusal::transition(execution, JobStatus::Canceled)),
            Event::Remove => Err(Refusal::transition(execution, JobStatus::Removed)),
        },
    }
}

/// Checks an update of an execution that is not over, in the order in which faults are told.
fn wanted(execution: &Execution, update: &Update) -> Result<Wanted, Refusal> {
    check_number(execution, update)?;
    let wanted = check_settable(execution, update.status)?;
    match update.expected_version {
        Some(expected) if expected != execution.version_number => Err(Refusal::version(execution, expected)),
        Some(_) | None => Ok(wanted),
    }
}

fn check_number(execution: &Execution, update: &Update) -> Result<(), Refusal> {
    match update.execution_number {
        Some(number) if number != execution.execution_number => Err(match execution.earlier_try(number) {
            Some(over) => too_late(&over, update.status),
            None => Refusal::not_found(&execution.job_id, Some(number)),
        }),
        Some(_) | None => Ok(()),
    }
}

/// Refuses an update of what is over, whatever version is expected: that it is over is the more useful news.
fn too_late(over: &Execution, status: JobStatus) -> Refusal {
    check_settable(over, status).err().unwrap_or_else(|| Refusal::transition(over, status))
}

fn check_settable(execution: &Execution, status: JobStatus) -> Result<Wanted, Refusal> {
    match status {
        JobStatus::InProgress => Ok(Wanted::InProgress),
        JobStatus::Succeeded => Ok(Wanted::Finished(Outcome::Succeeded)),
        JobStatus::Failed => Ok(Wanted::Finished(Outcome::Failed)),
        JobStatus::Rejected => Ok(Wanted::Finished(Outcome::Rejected)),
        JobStatus::Queued => Err(Refusal::transition(execution, status)),
        JobStatus::TimedOut | JobStatus::Removed | JobStatus::Canceled => Err(Refusal::unsettable(status)),
    }
}

fn started(time_limit: Option<Duration>, step: Option<StepTimeout>, now: Timestamp) -> State {
    let deadline = time_limit.map(|limit| now.plus(limit));
    State::InProgress { started_at: now, deadline, step_deadline: next_step(None, step, deadline, now) }
}

fn ended(execution: &Execution, outcome: Outcome, now: Timestamp) -> Execution {
    execution.moved(State::Finished { started_at: execution.started_at(), outcome }, None, now)
}

/// The step timer after a request. A new one discards the one before and ends with the execution's at the latest.
fn next_step(
    present: Option<Timestamp>,
    step: Option<StepTimeout>,
    deadline: Option<Timestamp>,
    now: Timestamp,
) -> Option<Timestamp> {
    match step {
        None => present,
        Some(StepTimeout::Off) => None,
        Some(StepTimeout::After(duration)) => {
            let wanted = now.plus(duration);
            Some(deadline.map_or(wanted, |deadline| wanted.min(deadline)))
        }
    }
}
