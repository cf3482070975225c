//! The process of a component: started in a group of its own, found again after a restart of the agent, stopped whole.
//!
//! `run.json` says what was started. It is written before the start with a fresh mark, which the process carries in its
//! environment, and again with the process number after it. Between the two the mark alone finds the process, so a
//! crash of the agent at any moment leaves no process that nobody knows.

use super::command::{self, DATA_VARIABLE, RUN_VARIABLE, VERSION_VARIABLE};
use super::files;
use super::installed::Unit;
use super::probe;
use crate::places::Home;
use crate::platform;
use aws_lc_rs::digest::{Context, SHA256};
use muster_runtime::clock::Clock;
use muster_runtime::ids;
use muster_wire::id::{Sha256Hex, Version};
use muster_wire::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read};
use std::process::ExitStatus;
use std::time::Duration;
use tokio::process::Child;

/// What `run.json` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Version.
    pub version: Version,
    /// Digest of its package.
    pub package_sha256: Sha256Hex,
    /// The mark in the environment of the process.
    pub mark: String,
    /// The boot that it was started in.
    pub boot_id: String,
    /// When, by the host's clock.
    pub started_at: Timestamp,
    /// Times that it had to be started again since the switch to this version.
    pub restarts: u32,
    /// Number and start mark of the process; absent until it was started.
    pub process: Option<ProcessKey>,
}

/// Names one process for as long as the host is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessKey {
    /// Number; also that of its group.
    pub pid: u32,
    /// When the kernel started it.
    pub start: u64,
}

/// A living process of a component.
#[derive(Debug)]
pub struct Process {
    /// What was written about it.
    pub run: Run,
    key: ProcessKey,
    /// Absent when an earlier run of the agent started it.
    child: Option<Child>,
}

/// How often a process that is no child is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// How often a process that was asked to end is looked at.
const STOP_LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// A killed process is gone by then, unless the kernel itself waits for a device.
const KILL_DEADLINE: Duration = Duration::from_secs(10);

impl Run {
    /// Finds the living process that this was written about.
    pub fn find(&self) -> Option<ProcessKey> {
        if self.boot_id != platform::boot_id() {
            return None;
        }
        match self.process {
            Some(key) => (platform::start_mark(key.pid) == Some(key.start)).then_some(key),
            None => platform::leaders_with_variable(RUN_VARIABLE, &self.mark)
                .into_iter()
                .find_map(|pid| platform::start_mark(pid).map(|start| ProcessKey { pid, start })),
        }
    }

    /// What `run.json` of a component says.
    pub fn read(home: &Home) -> io::Result<Option<Self>> {
        files::read_json(&home.run())
    }
}

impl Process {
    /// Starts a version.
    pub fn start(unit: &Unit, restarts: u32, clock: &Clock) -> Result<Self, String> {
        let failed = |what: &str, error: io::Error| format!("cannot {what}: {error}");
        probe::forget_port(unit).map_err(|error| failed("remove the old port file", error))?;
        let mut run = Run {
            version: unit.version.clone(),
            package_sha256: unit.installed.package_sha256.clone(),
            mark: ids::random_hex::<16>(),
            boot_id: platform::boot_id(),
            started_at: clock.now(),
            restarts,
            process: None,
        };
        let start = &unit.recipe.start;
        let mut command =
            command::prepare(unit, &start.argv, &start.env).map_err(|error| failed("prepare its start", error))?;
        command.env(RUN_VARIABLE, &run.mark);
        files::replace_json(&unit.home.run(), &run).map_err(|error| failed("write run.json", error))?;
        let child = tokio::process::Command::from(command).spawn();
        let child = child.map_err(|error| failed(&format!("start {}", start.argv.join(" ")), error))?;
        let pid = child.id().ok_or("it ended while it was started")?;
        // Also when it ended at once: how it ended is told like any other end.
        let start =
            platform::start_mark_of_child(pid).ok_or("the kernel does not know the process that was started")?;
        let key = ProcessKey { pid, start };
        run.process = Some(key);
        let process = Self { run, key, child: Some(child) };
        process.note(&unit.home);
        Ok(process)
    }

    /// Takes over a living process that an earlier run of the agent started.
    pub fn adopt(run: Run, key: ProcessKey) -> Self {
        Self { run: Run { process: Some(key), ..run }, key, child: None }
    }

    /// The living processes that were started for a component, told by their environment alone.
    ///
    /// It serves when `run.json` cannot be read: what they run is known well enough to stop them, not to adopt them.
    pub fn strays(home: &Home, clock: &Clock) -> Vec<Self> {
        let stray = |pid: u32| {
            let run = Run {
                version: Version::new(platform::variable(pid, VERSION_VARIABLE)?).ok()?,
                package_sha256: Sha256Hex::from_bytes(&[0; 32]),
                mark: platform::variable(pid, RUN_VARIABLE)?,
                boot_id: platform::boot_id(),
                started_at: clock.now(),
                restarts: 0,
                process: None,
            };
            Some(Self::adopt(run, ProcessKey { pid, start: platform::start_mark(pid)? }))
        };
        let data = home.data();
        platform::leaders_with_variable(DATA_VARIABLE, &data.to_string_lossy()).into_iter().filter_map(stray).collect()
    }

    /// Writes its number to `run.json`. Without that the mark still finds it, so an error costs only a longer search.
    pub fn note(&self, home: &Home) {
        if let Err(error) = files::replace_json(&home.run(), &self.run) {
            tracing::warn!(%error, path = %home.run().display(), "run.json was not updated");
        }
    }

    /// Names this start of the component for the server: boot, process and start time of the kernel.
    pub fn start_id(&self) -> String {
        format!("{}-{}-{}", self.run.boot_id, self.key.pid, self.key.start)
    }

    /// Digest of the program that the process runs, read from the process itself.
    pub async fn program_sha256(&self) -> Option<Sha256Hex> {
        let pid = self.key.pid;
        let digest = tokio::task::spawn_blocking(move || sha256(platform::open_program(pid)?)).await;
        digest.ok()?.ok()
    }

    /// Waits for its end and says how it ended. Cancel-safe: nothing is lost when the wait is given up.
    pub async fn ended(&mut self) -> String {
        match &mut self.child {
            Some(child) => match child.wait().await {
                Ok(status) => describe(status),
                Err(error) => format!("could not be waited for: {error}"),
            },
            None => {
                while platform::start_mark(self.key.pid) == Some(self.key.start) {
                    tokio::time::sleep(LOOK_INTERVAL).await;
                }
                "ended".to_owned()
            }
        }
    }

    /// Stops it and all that it started in its group: as its recipe says, or by SIGTERM; then by SIGKILL.
    pub async fn stop(mut self, unit: Option<&Unit>) -> Result<(), String> {
        let timeout = unit.map_or(Duration::from_secs(10), |unit| unit.recipe.stop.timeout);
        let own_command = unit.and_then(|unit| Some((unit, unit.recipe.stop.argv.as_ref()?)));
        let asked = match own_command {
            Some((unit, argv)) => command::run(unit, argv, timeout).await.map(drop),
            None => platform::terminate_group(self.key.pid).map_err(|error| error.to_string()),
        };
        if let Err(error) = asked {
            tracing::warn!(%error, pid = self.key.pid, "asking it to stop failed; it is killed after the timeout");
        }
        if tokio::time::timeout(timeout, self.leader_gone()).await.is_err() {
            tracing::warn!(
                pid = self.key.pid,
                timeout_s = timeout.as_secs_f64(),
                "it did not stop in time and is killed"
            );
        }
        self.kill_rest().await
    }

    /// Kills what is left of the group, after its leader ended or would not.
    pub async fn kill_rest(&mut self) -> Result<(), String> {
        let gone = async {
            while platform::group_is_alive(self.key.pid, self.key.start) {
                if let Err(error) = platform::kill_group(self.key.pid) {
                    return Err(format!("cannot kill process group {}: {error}", self.key.pid));
                }
                self.collect();
                tokio::time::sleep(STOP_LOOK_INTERVAL).await;
            }
            self.collect();
            Ok(())
        };
        match tokio::time::timeout(KILL_DEADLINE, gone).await {
            Ok(result) => result,
            Err(_) => Err(format!("process group {} is still there after SIGKILL", self.key.pid)),
        }
    }

    async fn leader_gone(&mut self) {
        while platform::start_mark(self.key.pid) == Some(self.key.start) {
            self.collect();
            tokio::time::sleep(STOP_LOOK_INTERVAL).await;
        }
    }

    /// Takes the exit status of a child, so that the kernel can forget it.
    fn collect(&mut self) {
        if let Some(child) = &mut self.child {
            // An error means that it was collected before.
            let _ = child.try_wait();
        }
    }
}

/// SHA-256 of a file.
pub fn sha256(mut file: File) -> io::Result<Sha256Hex> {
    let mut context = Context::new(&SHA256);
    let mut buffer = [0; 16 * 1024];
    loop {
        let length = file.read(&mut buffer)?;
        if length == 0 {
            break;
        }
        context.update(&buffer[..length]);
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    Ok(Sha256Hex::from_bytes(&digest))
}

/// SHA-256 of some bytes.
pub fn sha256_of(bytes: &[u8]) -> Sha256Hex {
    let mut digest = [0; 32];
    digest.copy_from_slice(aws_lc_rs::digest::digest(&SHA256, bytes).as_ref());
    Sha256Hex::from_bytes(&digest)
}

fn describe(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("ended with exit code {code}"),
        None => format!("was ended by a signal ({status})"),
    }
}
