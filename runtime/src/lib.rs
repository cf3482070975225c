//! What programs need beside their rules: clock, random ids, tasks with owners, settings, logs, backoff, failures of a
//! command with their exit codes, fault points, text that is safe on a terminal.
//!
//! The only crate that reads the clock, draws random numbers, spawns tasks and reads the environment; everyone else
//! is handed the result. Invariant: nothing is spawned without a name and an owner.

pub mod backoff;
pub mod clock;
pub mod failure;
pub mod faults;
pub mod ids;
pub mod plain;
pub mod settings;
pub mod tasks;
pub mod telemetry;
