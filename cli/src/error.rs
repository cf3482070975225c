//! What can go wrong with a command of the operator.

pub use muster_runtime::failure::{Cause, Failure as CliError};
