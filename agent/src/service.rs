//! The agent as a service of its host: installed once, started at every boot, stopped and looked at by name.
//!
//! ```text
//! root, systemd runs          ─▶ unit of the system   /etc/systemd/system/muster-agent.service
//! a user, systemd runs for it ─▶ unit of the user     ~/.config/systemd/user/muster-agent.service
//! anything else               ─▶ portable             `muster-agent run` in the background
//! ```
//! `state/service.json` says which it is; it is written before the service is made, so what was made is always known.
//! Whatever keeps the agent running, stopping it leaves the components alone: the next agent adopts them.

mod portable;
mod program;
mod record;
mod systemd;

pub use program::NAME;
pub use record::Record;

use crate::identity::Identity;
use crate::lock;
use crate::places::Prefix;
use crate::platform;
use crate::removal::Removal;
use crate::run::read_settings;
use crate::typed;
use clap::ValueEnum;
use muster_runtime::failure::Failure;
use portable::Portable;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;
use systemd::{Scope, Systemd};

/// How an agent is kept running.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A systemd unit of the whole host; needs root.
    System,
    /// A systemd unit of this user.
    User,
    /// A process in the background, for hosts without systemd.
    Portable,
}

/// What is to be kept running.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The agent's folder.
    pub prefix: Prefix,
    /// The agent's program.
    pub program: PathBuf,
    /// The connector's name, for people.
    pub name: String,
}

/// How a service stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct State {
    /// What keeps the agent running.
    pub kind: Kind,
    /// The name that the service manager knows it by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// `active`, `inactive`, `failed`, and what else the service manager says.
    pub state: String,
    /// Whether it is started at boot.
    pub enabled: bool,
    /// The agent's process.
    pub pid: Option<u32>,
    /// Times that the service manager had to start it again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restarts: Option<u32>,
}

/// Something that keeps an agent running. Every function may be called again after a crash of its caller.
pub trait Manager {
    /// Makes the service and has it started at boot. Says what people should know.
    fn install(&self, spec: &Spec) -> Result<Vec<String>, Failure>;
    /// Starts the agent; it works when this returns. One that runs is fine.
    fn start(&self) -> Result<(), Failure>;
    /// Stops the agent; its components stay. One that does not run is fine.
    fn stop(&self) -> Result<(), Failure>;
    /// Takes the service away, and says what was there. Does not stop the agent: it may be the caller.
    fn remove(&self) -> Result<Vec<String>, Failure>;
    /// What people may have made themselves for it and have to take away themselves.
    fn left(&self) -> Vec<String> {
        Vec::new()
    }
    /// How it stands.
    fn state(&self) -> Result<State, Failure>;
    /// Where its log is read.
    fn log(&self) -> String;
}

/// Installs the service, starts the agent if `start`, and says what was done.
pub fn install(prefix: &Prefix, wanted: Option<Kind>, start: bool) -> Result<String, Failure> {
    let identity = Identity::load(prefix)?;
    can_start(prefix)?;
    let kind = choose(wanted)?;
    let program = program::place(prefix)?;
    if let Some(old) = Record::read(prefix)?
        && old.kind != kind
    {
        let old = manager(prefix, &old);
        old.stop()?;
        old.remove()?;
    }
    let record = match kind {
        Kind::System => Record::new(kind, Some(systemd::free_name(Scope::System, prefix)?)),
        Kind::User => Record::new(kind, Some(systemd::free_name(Scope::User, prefix)?)),
        Kind::Portable => Record::new(kind, None),
    };
    record.write(prefix)?;
    let manager = manager(prefix, &record);
    let spec = Spec { prefix: prefix.clone(), program, name: identity.name.to_string() };
    let mut said = manager.install(&spec)?;
    if start {
        said.push(restart(prefix)?);
    }
    Ok(said.join("\n"))
}

/// Starts the agent.
pub fn start(prefix: &Prefix) -> Result<String, Failure> {
    let manager = installed(prefix)?;
    if manager.state()?.pid.is_none() {
        // An agent that somebody runs by hand would make the service fail again and again.
        if lock::is_held(prefix)? {
            let who = lock::holder(prefix).map(|told| format!(" as process {}", told.process.pid)).unwrap_or_default();
            return Err(Failure::Outcome(format!(
                "an agent runs already{who}, but not as this service; stop it first"
            )));
        }
        can_start(prefix)?;
        manager.start()?;
    }
    describe(&*manager)
}

/// Stops the agent, also one that was started by hand.
pub fn stop(prefix: &Prefix) -> Result<String, Failure> {
    let ran = lock::is_held(prefix)?;
    if let Some(record) = Record::read(prefix)? {
        manager(prefix, &record).stop()?;
    }
    portable::stop(prefix)?;
    Ok(match ran {
        true => "the agent is stopped; its components go on",
        false => "the agent did not run; its components go on",
    }
    .to_owned())
}

/// Stops the agent if it runs, and starts it.
pub fn restart(prefix: &Prefix) -> Result<String, Failure> {
    // Asked first: without a service nothing would start the agent that is stopped.
    installed(prefix)?;
    can_start(prefix)?;
    stop(prefix)?;
    start(prefix)
}

/// An agent that works must not be stopped for one that cannot start: its settings are looked at first, and every problem
/// of theirs is told.
fn can_start(prefix: &Prefix) -> Result<(), Failure> {
    // A removal that goes on needs no settings.
    if Removal::read(prefix)?.is_some() {
        return Ok(());
    }
    read_settings(prefix).map(drop)
}

/// How the service stands; `None` when there is none.
pub fn state(prefix: &Prefix) -> Result<Option<State>, Failure> {
    Record::read(prefix)?.map(|record| manager(prefix, &record).state()).transpose()
}

/// Takes the service away, and says what was there. Does not stop the agent.
pub fn remove(prefix: &Prefix) -> Result<Vec<String>, Failure> {
    let Some(record) = Record::read(prefix)? else { return Ok(Vec::new()) };
    manager(prefix, &record).remove()
}

/// What people have to take away themselves once the service is removed.
pub fn left(prefix: &Prefix) -> Result<Vec<String>, Failure> {
    Ok(Record::read(prefix)?.map(|record| manager(prefix, &record).left()).unwrap_or_default())
}

fn installed(prefix: &Prefix) -> Result<Box<dyn Manager>, Failure> {
    match Record::read(prefix)? {
        Some(record) => Ok(manager(prefix, &record)),
        None => {
            let root = prefix.root().display();
            Err(Failure::local(format!(
                "no service is installed for {root}; run: {}",
                typed::command(prefix, "install")
            )))
        }
    }
}

fn manager(prefix: &Prefix, record: &Record) -> Box<dyn Manager> {
    match (record.kind, record.unit.as_deref()) {
        (Kind::System, Some(unit)) => Box::new(Systemd::new(Scope::System, prefix, unit)),
        (Kind::User, Some(unit)) => Box::new(Systemd::new(Scope::User, prefix, unit)),
        _ => Box::new(Portable::new(prefix)),
    }
}

fn choose(wanted: Option<Kind>) -> Result<Kind, Failure> {
    let system_runs = systemd::runs(Scope::System);
    match wanted {
        None if platform::is_superuser() && system_runs => Ok(Kind::System),
        None if !platform::is_superuser() && systemd::runs(Scope::User) => Ok(Kind::User),
        None | Some(Kind::Portable) => Ok(Kind::Portable),
        Some(Kind::System) if !system_runs => {
            Err(Failure::local("--as system needs systemd, which does not run here; use --as portable"))
        }
        Some(Kind::System) if !platform::is_superuser() => {
            Err(Failure::local("--as system needs root; run this as root, or use --as user"))
        }
        Some(Kind::System) => Ok(Kind::System),
        Some(Kind::User) if !systemd::runs(Scope::User) => Err(Failure::local(
            "--as user needs a systemd of this user, which does not answer (`systemctl --user`); use --as portable",
        )),
        Some(Kind::User) => Ok(Kind::User),
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let boot = if self.enabled { "started at boot" } else { "not started at boot" };
        match (self.kind, &self.unit) {
            (Kind::Portable, _) | (_, None) => write!(f, "portable, {}, {boot}", self.state)?,
            (Kind::System, Some(unit)) => write!(f, "systemd unit {unit}, {}, {boot}", self.state)?,
            (Kind::User, Some(unit)) => write!(f, "systemd unit {unit} of this user, {}, {boot}", self.state)?,
        }
        match self.restarts {
            Some(restarts) if restarts > 0 => write!(f, ", started again {restarts} times"),
            _ => Ok(()),
        }
    }
}

fn describe(manager: &dyn Manager) -> Result<String, Failure> {
    let state = manager.state()?;
    let log = manager.log();
    Ok(match state.pid {
        Some(pid) => format!("the agent runs as process {pid}; its log: {log}"),
        None => format!("the agent is {}; its log: {log}", state.state),
    })
}
