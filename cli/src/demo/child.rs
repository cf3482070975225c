//! Child processes of the demo: each in its own process group, so that Ctrl-C reaches only the demo, with its own log.

use crate::error::CliError;
use rustix::process::{Pid, Signal, kill_process_group};
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::process::{ChildStdout, Command};
use tokio::time::timeout;

/// A running process with its log.
pub struct Child {
    name: String,
    log: PathBuf,
    inner: tokio::process::Child,
}

impl Child {
    /// Starts a program. Its errors, and with `pipe` off its output too, go to the end of `log`.
    pub fn start(name: &str, mut command: Command, log: &Path, pipe: bool) -> Result<Self, CliError> {
        let file = open_log(log)?;
        let output = match file.try_clone() {
            Ok(_) if pipe => Stdio::piped(),
            Ok(copy) => copy.into(),
            Err(error) => return Err(CliError::local_because(format!("cannot write {}", log.display()), error)),
        };
        command.stdin(Stdio::null()).stdout(output).stderr(file).process_group(0).kill_on_drop(true);
        let inner = command.spawn().map_err(|error| CliError::local_because(format!("cannot start {name}"), error))?;
        Ok(Self { name: name.to_owned(), log: log.to_owned(), inner })
    }

    /// The output, when it was started with a pipe.
    pub fn output(&mut self) -> Option<ChildStdout> {
        self.inner.stdout.take()
    }

    /// Waits for its end.
    ///
    /// Errors: `Outcome` when it does not end in time or ends badly, with the end of its log.
    pub async fn finish(mut self, deadline: Duration) -> Result<(), CliError> {
        match timeout(deadline, self.inner.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(self.failed(&format!("ended with {status}"))),
            Ok(Err(error)) => Err(self.failed(&error.to_string())),
            Err(_) => {
                self.signal(Signal::KILL);
                Err(self.failed(&format!("did not end within {} s", deadline.as_secs())))
            }
        }
    }

    /// Its exit status, if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.inner.try_wait().ok().flatten()
    }

    /// Asks it to end.
    pub fn ask_to_end(&self) {
        self.signal(Signal::TERM);
    }

    /// Asks it to end, and ends it when it does not.
    pub async fn stop(mut self, grace: Duration) {
        self.ask_to_end();
        if timeout(grace, self.inner.wait()).await.is_err() {
            self.signal(Signal::KILL);
            let _ = self.inner.wait().await;
        }
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        let _ = self.inner.start_kill();
    }

    /// What went wrong, with the end of the log.
    pub fn failed(&self, what: &str) -> CliError {
        CliError::Outcome(format!(
            "{} {what}; the end of its log {}:\n{}",
            self.name,
            self.log.display(),
            tail(&self.log)
        ))
    }

    fn signal(&self, signal: Signal) {
        // Once it was waited for, it has no id any more, so no stranger is hit.
        let pid = self.inner.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            let _ = kill_process_group(pid, signal);
        }
    }
}

fn open_log(path: &Path) -> Result<File, CliError> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .map_err(|error| CliError::local_because(format!("cannot write {}", path.display()), error))
}

/// The last lines of a log.
pub fn tail(path: &Path) -> String {
    let text = fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let last = lines.iter().skip(lines.len().saturating_sub(TAIL_LINES));
    last.map(|line| format!("  | {line}")).collect::<Vec<_>>().join("\n")
}

const TAIL_LINES: usize = 12;
