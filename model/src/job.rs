//! Jobs: one job on one thing (the state machine of an execution, the queue of a thing, the payloads of both), and the
//! course of a whole job over many things (`run`: rollout, abort, schedule; `retry`; `template`).
//!
//! | from \ event | start-next | update by the device | timeout | cancel | remove |
//! |---|---|---|---|---|---|
//! | queued | in progress | in progress, succeeded, failed, rejected | refused | canceled | removed |
//! | in progress | unchanged, or a new step timer | in progress, succeeded, failed, rejected | timed out, once a timer has run out | canceled, with force | removed |
//! | finished | refused | refused | refused | refused | refused |
//!
//! Refuses to know: job documents (they are passed in where a payload wants one), storage, time, who listens.
//!
//! Invariants: nothing leaves a finished execution; every applied event raises the version number by one, except a
//! start of what has started; a step timer never ends after the timer of the execution.
//!
//! Source: AWS IoT Jobs, device side. Where AWS is silent the choice is named at the code that makes it.

mod abort;
mod answer;
mod cron;
mod event;
mod execution;
mod pending;
mod rate;
mod refusal;
mod request;
mod retry;
mod rules;
mod run;
mod schedule;
mod stored;
mod tally;
pub mod template;

pub use abort::reached as abort_reached;
pub use answer::{notify, notify_next, pending_lists};
pub use event::{Event, StepTimeout, Update, check_details};
pub use execution::{Execution, Outcome, State, Try, apply};
pub use pending::{Notices, PendingJob, next, notices, pending};
pub use refusal::Refusal;
pub use request::{client_token_of, parse};
pub use retry::allows as retry_allows;
pub use rules::{Rules, RulesError};
pub use run::{Facts, Pace, Phase, Plan, Release, Run, Step, plan};
pub use schedule::{Gate, Schedule};
pub use stored::{ExecutionV1, StoredExecution};
pub use tally::Tally;

#[cfg(test)]
mod course_properties;
#[cfg(test)]
mod course_tests;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
