//! What can go wrong with a command, sorted by who must act; the kind is the exit code.

use crate::settings::SettingsError;
use muster_wire::rejection::Rejection;
use std::error::Error;
use std::process::ExitCode;

/// The cause below a failure.
pub type Cause = Box<dyn Error + Send + Sync>;

/// Why a command did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The server understood the request and refused it. Exit code 1.
    #[error("{0}")]
    Refused(Rejection),
    /// The fleet, or this host, is not as it should be. Exit code 1.
    #[error("{0}")]
    Outcome(String),
    /// Something on this machine: an argument, a file, a port. Exit code 2.
    #[error("{message}")]
    Local {
        /// What failed, on what, and what to do next.
        message: String,
        /// What the layer below said.
        #[source]
        source: Option<Cause>,
    },
    /// The settings file. Exit code 2.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The server was not reached, or went away before it answered. Exit code 3.
    #[error("{message}")]
    Unreachable {
        /// What failed, on what, and what to do next.
        message: String,
        /// What the layer below said.
        #[source]
        source: Option<Cause>,
    },
}

impl Failure {
    /// A mistake in what was asked, or on this machine.
    pub fn local(message: impl Into<String>) -> Self {
        Self::Local { message: message.into(), source: None }
    }

    /// Something on this machine failed, with its cause.
    pub fn local_because(message: impl Into<String>, cause: impl Into<Cause>) -> Self {
        Self::Local { message: message.into(), source: Some(cause.into()) }
    }

    /// The server was not reached.
    pub fn unreachable(message: impl Into<String>) -> Self {
        Self::Unreachable { message: message.into(), source: None }
    }

    /// The server was not reached, with the cause.
    pub fn unreachable_because(message: impl Into<String>, cause: impl Into<Cause>) -> Self {
        Self::Unreachable { message: message.into(), source: Some(cause.into()) }
    }

    /// The exit code: 0 done, 1 the fleet said no, 2 usage or this machine, 3 unreachable.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Refused(_) | Self::Outcome(_) => 1,
            Self::Local { .. } | Self::Settings(_) => 2,
            Self::Unreachable { .. } => 3,
        })
    }

    /// This error and everything below it, on one line (settings problems keep theirs).
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut below = self.source();
        while let Some(error) = below {
            let words = error.to_string();
            // Some libraries repeat their cause in their own words.
            if !text.ends_with(&words) {
                text.push_str(": ");
                text.push_str(&words);
            }
            below = error.source();
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_names_every_level_once() {
        let error = Failure::local_because("cannot read x", std::io::Error::other("disk on fire"));
        assert_eq!(error.chain(), "cannot read x: disk on fire");
        let error = Failure::local_because("cannot read x: disk on fire", std::io::Error::other("disk on fire"));
        assert_eq!(error.chain(), "cannot read x: disk on fire");
    }
}
