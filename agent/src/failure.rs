//! What can go wrong with a command, sorted by who must act; the kind is the exit code.

use muster_wire::rejection::Rejection;
use std::error::Error;
use std::process::ExitCode;

/// The cause below a failure.
pub type Cause = Box<dyn Error + Send + Sync>;

/// Why a command did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The server understood and refused, or the host is not as it should be. Exit code 1.
    #[error("{0}")]
    Refused(Rejection),
    /// Something is not as it should be. Exit code 1.
    #[error("{0}")]
    Outcome(String),
    /// Something on this host: an argument, a file, a setting. Exit code 2.
    #[error("{message}")]
    Local {
        /// What failed, on what, and what to do next.
        message: String,
        /// What the layer below said.
        #[source]
        source: Option<Cause>,
    },
    /// The server was not reached. Exit code 3.
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
    /// Something on this host.
    pub fn local(message: impl Into<String>) -> Self {
        Self::Local { message: message.into(), source: None }
    }

    /// Something on this host, with its cause.
    pub fn because(message: impl Into<String>, cause: impl Into<Cause>) -> Self {
        Self::Local { message: message.into(), source: Some(cause.into()) }
    }

    /// 1: refused, 2: this host, 3: unreachable.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Refused(_) | Self::Outcome(_) => 1,
            Self::Local { .. } => 2,
            Self::Unreachable { .. } => 3,
        })
    }

    /// The failure with all its causes, on one line.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            let message = error.to_string();
            if !text.ends_with(&message) {
                text = format!("{text}: {message}");
            }
            cause = error.source();
        }
        text
    }
}
