//! The course of a whole job: what it does next, and what that makes of it.
//!
//! ```text
//!  scheduled ──start──▶ rolling ──end of schedule──▶ stopped ──all over──▶ completed
//!      │                  │  └────────all told, all over (snapshot)───────▶ completed
//!      └──────cancel──────┴──▶ canceling ──nothing queued──▶ canceled ──nothing in progress──▶ (closed)
//!  any ──delete──▶ deleting ──no execution left──▶ gone
//! ```
//!
//! The shell asks [`plan`] for one step, stores what [`Run::after`] makes of it, and asks again. Refuses to know: which
//! things a job has (only how many), executions (only how many stand where), time, storage.
//!
//! Invariants: in any 60 seconds at most as many things are told as the rate allows; nothing is told outside of the
//! schedule or after a cancel; a job that was canceled or completed is never in progress again.

use super::abort;
use super::rate::{MINUTE, allowance};
use super::rules::Rules;
use super::schedule::Gate;
use super::tally::Tally;
use muster_wire::job::{EndBehavior, JobStatus, WholeJobStatus};
use muster_wire::time::Timestamp;
use serde::{Deserialize, Serialize};

/// How far a job is. Stored as it is: a new field needs `#[serde(default)]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Where it stands.
    pub phase: Phase,
    /// How many of the things that were members at creation were told.
    pub released: u64,
    /// How many of these surely have their executions: after a restart the rest is made again, which changes nothing
    /// where it was done.
    pub made: u64,
    /// What was told in the last minute.
    pub recent: Vec<Release>,
    /// The rate of this minute; absent without a limit.
    pub pace: Option<Pace>,
    /// When anything about it last changed.
    pub updated_at: Timestamp,
    /// When it was completed or canceled.
    pub ended_at: Option<Timestamp>,
    /// How the things ended, once nothing changes any more.
    pub closed: Option<Tally>,
    /// Why it was canceled, for programs.
    pub reason_code: Option<String>,
    /// Why it was canceled, for people.
    pub comment: Option<String>,
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Its time has not come.
    Scheduled,
    /// Things are told.
    Rolling,
    /// The schedule has ended; those that were told go on.
    Stopped,
    /// Called off; executions are being canceled.
    Canceling {
        /// Also what is in progress.
        force: bool,
    },
    /// Called off; nothing is queued.
    Canceled {
        /// Also what is in progress.
        force: bool,
    },
    /// Everything is over.
    Completed,
    /// It goes, with all of its executions.
    Deleting,
}

/// Things that were told at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// When.
    pub at: Timestamp,
    /// How many.
    pub things: u64,
}

/// A rate that holds for a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pace {
    /// Things in any minute.
    pub per_minute: u64,
    /// Since when it holds.
    pub since: Timestamp,
}

/// What the shell knows of a job besides its [`Run`].
#[derive(Clone, Copy, Debug)]
pub struct Facts<'f> {
    /// The checked configuration.
    pub rules: &'f Rules,
    /// How many things were members at creation.
    pub things: u64,
    /// Where they stand.
    pub tally: &'f Tally,
    /// How many more may be told now without too many on their way.
    pub room: u64,
    /// Whether every thing that was told has its execution, and every cancel and delete has arrived.
    pub settled: bool,
}

/// What a job does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Its time has come.
    Start,
    /// Tell so many more things.
    Release {
        /// How many.
        things: u64,
        /// At which rate.
        pace: Option<Pace>,
    },
    /// The schedule ends; nothing more is told.
    Stop,
    /// It is called off.
    Cancel {
        /// Also what is in progress.
        force: bool,
        /// Why, for programs.
        reason_code: String,
        /// Why, for people.
        comment: String,
    },
    /// The last cancel has arrived.
    Canceled,
    /// Everything is over.
    Complete,
    /// What was in progress at the cancel is over.
    Close,
}

/// The next step, and when to ask again although nothing happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// To be done now.
    pub step: Option<Step>,
    /// To be asked again then.
    pub look_again: Option<Timestamp>,
}

impl Run {
    /// A job that was just made.
    #[must_use]
    pub const fn new(now: Timestamp) -> Self {
        Self {
            phase: Phase::Scheduled,
            released: 0,
            made: 0,
            recent: Vec::new(),
            pace: None,
            updated_at: now,
            ended_at: None,
            closed: None,
            reason_code: None,
            comment: None,
        }
    }

    /// The status as the API calls it.
    #[must_use]
    pub const fn status(&self) -> WholeJobStatus {
        match self.phase {
            Phase::Scheduled => WholeJobStatus::Scheduled,
            Phase::Rolling | Phase::Stopped => WholeJobStatus::InProgress,
            Phase::Canceling { .. } | Phase::Canceled { .. } => WholeJobStatus::Canceled,
            Phase::Completed => WholeJobStatus::Completed,
            Phase::Deleting => WholeJobStatus::DeletionInProgress,
        }
    }

    /// Whether nothing more happens by itself.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.closed.is_some() && !matches!(self.phase, Phase::Deleting)
    }

    /// The run after `step`.
    #[must_use]
    pub fn after(&self, step: &Step, tally: &Tally, now: Timestamp) -> Self {
        let mut run = Self { updated_at: now, ..self.clone() };
        match step {
            Step::Start => run.phase = Phase::Rolling,
            Step::Release { things, pace } => {
                run.released += things;
                run.pace = *pace;
                run.recent.retain(|release| now < release.at.plus(MINUTE));
                match run.recent.last_mut() {
                    // One entry for what is told within a second, dated late: the list stays short.
                    Some(last) if now.since(last.at).as_secs() < 1 => {
                        *last = Release { at: now, things: last.things + things }
                    }
                    _ if pace.is_some() => run.recent.push(Release { at: now, things: *things }),
                    _ => {}
                }
            }
            Step::Stop => run.phase = Phase::Stopped,
            Step::Cancel { force, reason_code, comment } => {
                run.phase = Phase::Canceling { force: *force };
                run.ended_at = Some(now);
                run.reason_code = Some(reason_code.clone()).filter(|code| !code.is_empty());
                run.comment = Some(comment.clone()).filter(|comment| !comment.is_empty());
            }
            Step::Canceled => {
                if let Phase::Canceling { force } = run.phase {
                    run.phase = Phase::Canceled { force };
                }
            }
            Step::Complete => {
                run.phase = Phase::Completed;
                run.ended_at = Some(now);
                run.closed = Some(*tally);
            }
            Step::Close => run.closed = Some(*tally),
        }
        run
    }
}

/// What the job does next.
#[must_use]
pub fn plan(run: &Run, facts: &Facts<'_>, now: Timestamp) -> Plan {
    let step = |step| Plan { step: Some(step), look_again: None };
    let schedule = &facts.rules.schedule;
    match run.phase {
        Phase::Scheduled => match schedule.start {
            Some(start) if now < start => Plan { step: None, look_again: Some(start) },
            _ => step(Step::Start),
        },
        Phase::Rolling | Phase::Stopped => {
            if let Some(criterion) = abort::reached(&facts.rules.abort, facts.tally) {
                let comment = abort::reason(criterion, facts.tally);
                return step(Step::Cancel { force: false, reason_code: "ABORTED".to_owned(), comment });
            }
            let ends = schedule.end.filter(|_| run.phase == Phase::Rolling);
            if ends.is_some_and(|end| end <= now) {
                return step(at_end(schedule.end_behavior));
            }
            let released = run.phase == Phase::Stopped || run.released >= facts.things;
            let stays = facts.rules.continuous && run.phase == Phase::Rolling;
            if released {
                let over = facts.settled && facts.tally.waiting() == 0 && !stays;
                return if over { step(Step::Complete) } else { Plan { step: None, look_again: ends } };
            }
            if let Gate::ClosedUntil(opens) = schedule.gate(now) {
                return Plan { step: None, look_again: opens.into_iter().chain(ends).min() };
            }
            let allowed = allowance(&facts.rules.rate, run, facts.tally, now);
            let things = allowed.things.min(facts.room).min(facts.things - run.released);
            if things > 0 {
                return step(Step::Release { things, pace: allowed.pace });
            }
            // Without room, the arrival of what is on its way asks again.
            let more = allowed.more_at.filter(|_| allowed.things == 0);
            Plan { step: None, look_again: more.into_iter().chain(ends).min() }
        }
        Phase::Canceling { force } => {
            let left = if force { facts.tally.waiting() } else { facts.tally.of(JobStatus::Queued) };
            if facts.settled && left == 0 { step(Step::Canceled) } else { Plan::default() }
        }
        Phase::Canceled { .. } if run.closed.is_none() && facts.tally.waiting() == 0 => step(Step::Close),
        Phase::Canceled { .. } | Phase::Completed | Phase::Deleting => Plan::default(),
    }
}

fn at_end(behavior: EndBehavior) -> Step {
    let force = match behavior {
        EndBehavior::StopRollout => return Step::Stop,
        EndBehavior::Cancel => false,
        EndBehavior::ForceCancel => true,
    };
    let comment = "the end of its schedule has come".to_owned();
    Step::Cancel { force, reason_code: "SCHEDULE_ENDED".to_owned(), comment }
}
