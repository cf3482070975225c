//! The agent as a plain process in the background, for hosts without systemd and for users without a session of it.
//!
//! Nothing starts it again when it dies or the host boots; people are told the line for a crontab that does.

use super::{Kind, Manager, Spec, State, program};
use crate::hands::log;
use crate::lock;
use crate::places::Prefix;
use crate::platform;
use crate::standing::Told;
use muster_runtime::clock::Clock;
use muster_runtime::failure::Failure;
use muster_wire::limits::SHUTDOWN_GRACE;
use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

/// The background process of a prefix.
pub struct Portable {
    prefix: Prefix,
}

/// Taking over what an earlier agent left is a matter of milliseconds; a busy disk may make it seconds.
const START_DEADLINE: Duration = Duration::from_secs(30);
/// An agent ends by itself within its grace and the goodbye to the server.
const STOP_DEADLINE: Duration = SHUTDOWN_GRACE.saturating_add(Duration::from_secs(10));
/// A killed process is gone by then, unless the kernel itself waits for a device.
const KILL_DEADLINE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(50);

impl Portable {
    /// The background process of this prefix.
    pub fn new(prefix: &Prefix) -> Self {
        Self { prefix: prefix.clone() }
    }

    fn spawn(&self) -> Result<(), Failure> {
        let program = program::find(&self.prefix)?;
        let log_path = self.prefix.agent_log();
        let log_failed =
            |error| Failure::local_because(format!("cannot write the agent's log {}", log_path.display()), error);
        if log_path.exists() {
            log::rotate(&log_path).map_err(log_failed)?;
        }
        let output = log::open(&log_path).map_err(log_failed)?;
        let errors = output.try_clone().map_err(log_failed)?;
        let mut command = Command::new(&program);
        command.arg("run").arg("--prefix").arg(self.prefix.root()).current_dir(self.prefix.root());
        command.stdin(Stdio::null()).stdout(output).stderr(errors);
        platform::detach(&mut command);
        let mut child = command
            .spawn()
            .map_err(|error| Failure::local_because(format!("cannot start {}", program.display()), error))?;
        let pid = child.id();
        let ended = wait(START_DEADLINE, || match child.try_wait() {
            Ok(Some(status)) => Some(Some(status)),
            _ => lock::holder(&self.prefix).is_some_and(|told| told.process.pid == pid && told.ready).then_some(None),
        });
        match ended {
            Some(None) => Ok(()),
            Some(Some(status)) => {
                let text = fs::read_to_string(&log_path).unwrap_or_default();
                let last = text.lines().next_back().unwrap_or("it wrote nothing");
                Err(Failure::Outcome(format!("the agent ended at once ({status}): {last}; see {}", log_path.display())))
            }
            None => Err(Failure::Outcome(format!(
                "the agent, process {pid}, is not ready after {} s; see {}",
                START_DEADLINE.as_secs(),
                log_path.display()
            ))),
        }
    }
}

impl Manager for Portable {
    fn install(&self, spec: &Spec) -> Result<Vec<String>, Failure> {
        let (program, root) = (spec.program.display(), spec.prefix.root().display());
        Ok(vec![
            format!("installed for {root} as a process in the background"),
            format!("to start it at boot, add to the crontab: {}", at_boot(&program.to_string(), &root.to_string())),
        ])
    }

    fn start(&self) -> Result<(), Failure> {
        if lock::is_held(&self.prefix)? { Ok(()) } else { self.spawn() }
    }

    fn stop(&self) -> Result<(), Failure> {
        stop(&self.prefix)
    }

    fn remove(&self) -> Result<Vec<String>, Failure> {
        Ok(Vec::new())
    }

    fn left(&self) -> Vec<String> {
        let line = at_boot(&self.prefix.agent().display().to_string(), &self.prefix.root().display().to_string());
        vec![format!("the crontab's line, if there is one (take it out with `crontab -e`): {line}")]
    }

    fn state(&self) -> Result<State, Failure> {
        let held = lock::is_held(&self.prefix)?;
        let pid = lock::holder(&self.prefix).filter(|_| held).map(|told| told.process.pid);
        let state = if held { "active" } else { "inactive" }.to_owned();
        Ok(State { kind: Kind::Portable, unit: None, state, enabled: false, pid, restarts: None })
    }

    fn log(&self) -> String {
        self.prefix.agent_log().display().to_string()
    }
}

/// The line of a crontab that people are told of when it is installed, and again when it is removed.
fn at_boot(program: &str, root: &str) -> String {
    format!("@reboot {program} start --prefix {root}")
}

/// Stops the agent that holds the prefix, whoever started it.
pub fn stop(prefix: &Prefix) -> Result<(), Failure> {
    if !lock::is_held(prefix)? {
        return Ok(());
    }
    let told = wait(STOP_DEADLINE, || match lock::holder(prefix) {
        Some(told) => Some(Some(told)),
        // It may hold the lock for the moment of a look, or end just now.
        None => (!lock::is_held(prefix).unwrap_or(true)).then_some(None),
    });
    let told: Told = match told {
        Some(None) => return Ok(()),
        Some(Some(told)) => told,
        None => {
            let path = prefix.standing();
            return Err(Failure::Outcome(format!(
                "an agent runs, but {} does not name its process; stop it by hand",
                path.display()
            )));
        }
    };
    let pid = told.process.pid;
    let failed = |error| Failure::local_because(format!("cannot stop process {pid}; is it another user's?"), error);
    let gone = || (!told.is_alive()).then_some(());
    platform::terminate(pid).map_err(failed)?;
    if wait(STOP_DEADLINE, gone).is_none() {
        platform::kill(pid).map_err(failed)?;
        wait(KILL_DEADLINE, gone)
            .ok_or_else(|| Failure::Outcome(format!("process {pid} is still there after it was killed")))?;
    }
    Ok(())
}

/// Looks again and again until there is something to see, or `deadline` has passed.
fn wait<T>(deadline: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let clock = Clock::system();
    let end = clock.instant() + deadline;
    loop {
        let late = clock.instant() >= end;
        let seen = look();
        if seen.is_some() || late {
            return seen;
        }
        std::thread::sleep(PAUSE);
    }
}
