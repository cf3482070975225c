//! Commands of a recipe as processes: where they run, what they find in their environment, how long they may take.

use super::installed::Unit;
use super::log;
use crate::platform;
use crate::standing::{SOCKET_VARIABLE, WATCHDOG_PID_VARIABLE, WATCHDOG_VARIABLE};
use muster_model::component::{ExitMeaning, Places};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// The variable that marks a process as started by the agent; its value is drawn anew for every start.
pub const RUN_VARIABLE: &str = "MUSTER_RUN";
/// The variable with the version that a command belongs to.
pub const VERSION_VARIABLE: &str = "MUSTER_VERSION";
/// The variable with the data folder of the component.
pub const DATA_VARIABLE: &str = "MUSTER_DATA";

/// A command of `unit`, ready to start: in its data folder, in a process group of its own, writing to its log.
pub fn prepare(unit: &Unit, argv: &[String], env: &BTreeMap<String, String>) -> io::Result<Command> {
    let (dir, data) = (unit.dir(), unit.home.data());
    std::fs::create_dir_all(&data)?;
    let (dir_text, data_text) = (dir.to_string_lossy(), data.to_string_lossy());
    let places = Places { version: unit.version.as_str(), dir: &dir_text, data: &data_text };
    let program = argv.first().map(String::as_str).unwrap_or_default();
    let mut command = Command::new(program_path(&dir, program));
    command.args(argv.iter().skip(1).map(|argument| places.fill(argument)));
    command.envs(env.iter().map(|(name, value)| (name, places.fill(value))));
    command.env("MUSTER_COMPONENT", unit.component.as_str());
    command.env(VERSION_VARIABLE, unit.version.as_str());
    command.env(DATA_VARIABLE, &data);
    // What a service manager said was said to the agent; a component that answered would speak in its name.
    for variable in [SOCKET_VARIABLE, WATCHDOG_VARIABLE, WATCHDOG_PID_VARIABLE] {
        command.env_remove(variable);
    }
    command.current_dir(&data);
    let output = log::open(&unit.home.log())?;
    command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
    platform::own_group(&mut command);
    Ok(command)
}

/// Runs a command of `unit` to its end. What it started must be gone with it.
///
/// Errors: it could not be started, or was not over in time; the latter is killed.
pub async fn run(unit: &Unit, argv: &[String], timeout: Duration) -> Result<ExitMeaning, String> {
    let name = argv.first().map(String::as_str).unwrap_or_default();
    let command = prepare(unit, argv, &BTreeMap::new()).map_err(|error| format!("cannot prepare {name}: {error}"))?;
    let mut child =
        tokio::process::Command::from(command).spawn().map_err(|error| format!("cannot start {name}: {error}"))?;
    let group = Group(child.id());
    let ended = tokio::time::timeout(timeout, child.wait()).await;
    drop(group);
    match ended {
        Ok(Ok(status)) => Ok(ExitMeaning::of(status.code())),
        Ok(Err(error)) => Err(format!("cannot wait for {name}: {error}")),
        Err(_) => Err(format!("{name} was not over within {} s", timeout.as_secs_f64())),
    }
}

/// Kills what is left of a command's process group, also when the wait for it is given up.
struct Group(Option<u32>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            // An error means that nobody is left or that somebody else's rights protect it; both are out of our hands.
            let _ = platform::kill_group(leader);
        }
    }
}

fn program_path(dir: &Path, program: &str) -> PathBuf {
    // Joining an absolute path gives that path.
    dir.join(program)
}
