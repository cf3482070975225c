//! One job on one thing: the state machine of an execution, the queue of a thing, and the payloads of both.
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

mod answer;
mod event;
mod execution;
mod pending;
mod refusal;
mod request;
mod stored;

pub use answer::{notify, notify_next, pending_lists};
pub use event::{Event, StepTimeout, Update};
pub use execution::{Execution, Outcome, State, apply};
pub use pending::{Notices, PendingJob, next, notices, pending};
pub use refusal::Refusal;
pub use request::{client_token_of, parse};
pub use stored::{ExecutionV1, StoredExecution};

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
