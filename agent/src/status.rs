//! `muster-agent status`: how the agent stands, what runs here, and what is wrong, read from the disk, the processes and
//! the service manager; the agent itself is not asked, so this works also when it does not run.

use crate::hands::process::Run;
use crate::hands::{installed, journal};
use crate::identity::Identity;
use crate::lock;
use crate::places::Prefix;
use crate::removal::Removal;
use crate::service::{self, State};
use crate::settings::Settings;
use crate::standing::{LinkState, Told};
use crate::trial;
use crate::typed;
use muster_runtime::clock::Clock;
use muster_runtime::failure::Failure;
use muster_runtime::settings::SettingsError;
use muster_wire::component::{LastFailed, UpgradeStep};
use muster_wire::id::{ComponentName, ThingName, Version};
use muster_wire::settings::RefusedSettings;
use muster_wire::time::Timestamp;
use serde::Serialize;
use std::fmt;
use std::path::Path;
use std::time::Duration;

/// What is here.
#[derive(Debug, Serialize)]
pub struct Status {
    /// The connector's name.
    pub name: ThingName,
    /// The fleet that vouches for it.
    pub fleet: String,
    /// Until when its certificate is good.
    pub certificate_expires: Timestamp,
    /// The server of the settings; absent when they cannot be used.
    pub server: Option<String>,
    /// The proxy in between, and who said so; absent when the settings cannot be used.
    pub proxy: Option<String>,
    /// Whether these still wait for the server's confirmation.
    pub settings_on_trial: bool,
    /// Connection settings that were tried and taken back.
    pub settings_refused: Option<RefusedSettings>,
    /// Whether an agent holds this prefix.
    pub agent_runs: bool,
    /// The agent that runs, as it says itself.
    pub agent: Option<Running>,
    /// The version of this program.
    pub version: String,
    /// What keeps the agent running; absent when nothing was installed.
    pub service: Option<State>,
    /// What is not as it should be; one sentence each.
    pub problems: Vec<String>,
    /// The components.
    pub components: Vec<Component>,
}

/// The running agent.
#[derive(Debug, Serialize)]
pub struct Running {
    /// Its process.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// Since when it runs.
    pub started_at: Timestamp,
    /// Its connection to the server.
    pub link: LinkState,
    /// Since when the connection is as it is.
    pub link_since: Timestamp,
    /// When the server first confirmed a report of this agent.
    pub first_check_in: Option<Timestamp>,
    /// When it last did.
    pub last_check_in: Option<Timestamp>,
    /// What the agent says is wrong.
    pub trouble: Option<String>,
    /// What it says is wrong with the identity or the clock of this host.
    pub identity: Option<String>,
    /// Why the server gives it no work, for example because the connector is in quarantine.
    pub no_work: Option<String>,
}

/// One component.
#[derive(Debug, Serialize)]
pub struct Component {
    /// Name.
    pub name: ComponentName,
    /// The version that shall run.
    pub current: Option<Version>,
    /// The version whose process is alive.
    pub running: Option<Version>,
    /// That process.
    pub pid: Option<u32>,
    /// Times that it had to be started again.
    pub restarts: u32,
    /// The version that an upgrade under way goes to.
    pub upgrade_to: Option<Version>,
    /// The step of that upgrade.
    pub step: Option<UpgradeStep>,
    /// The version that failed last.
    pub last_failed: Option<LastFailed>,
    /// Ends of upgrades that the server does not know yet.
    pub undelivered: usize,
}

/// Looks at the prefix.
pub fn status(prefix: &Prefix) -> Result<Status, Failure> {
    let identity = Identity::load(prefix)?;
    let settings = Settings::read(prefix);
    let trial =
        trial::look(prefix).map_err(|error| Failure::local_because("the trial of settings is not known", error));
    let (settings_on_trial, settings_refused) = trial?;
    let agent_runs = lock::is_held(prefix)?;
    let agent = lock::holder(prefix).filter(|_| agent_runs).map(Running::from);
    let mut status = Status {
        name: identity.name,
        fleet: identity.fleet.as_str().to_owned(),
        certificate_expires: Timestamp::from_seconds(identity.certificate.not_after),
        server: settings.as_ref().ok().map(|settings| settings.server.to_string()),
        proxy: settings.as_ref().ok().map(|settings| settings.proxy.explain(&settings.server)),
        settings_on_trial,
        settings_refused,
        agent_runs,
        agent,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        service: service::state(prefix)?,
        problems: Vec::new(),
        components: journal::known(prefix).into_iter().map(|name| component(prefix, name)).collect::<Result<_, _>>()?,
    };
    let life = status.certificate_expires.since(Timestamp::from_seconds(identity.certificate.not_before));
    let leaves = Removal::read(prefix)?.is_some();
    if let (Err(error), false) = (&settings, leaves) {
        status.problems = unusable(&prefix.settings(), error, status.agent_runs);
    }
    let others = status.find_problems(prefix, leaves, life, Clock::system().now());
    status.problems.extend(others);
    Ok(status)
}

/// The problems of settings that cannot be used, and what that means for the agent.
fn unusable(path: &Path, error: &SettingsError, agent_runs: bool) -> Vec<String> {
    let file = path.display();
    let next = match agent_runs {
        true => "the agent goes on with those that it started with; correct them before it is started again",
        false => "the agent cannot start; correct them",
    };
    let first = format!("the settings in {file} cannot be used: {next}");
    std::iter::once(first).chain(error.problems.iter().map(|problem| format!("settings: {problem}"))).collect()
}

/// Waits until the server has confirmed a report of the agent that runs: the sign that this host is in the fleet.
///
/// Errors: it does not within `patience`, and why: the server refuses, the agent does not run, the server is not reached.
pub async fn wait(prefix: &Prefix, patience: Duration) -> Result<(), Failure> {
    let deadline = tokio::time::Instant::now() + patience;
    Identity::load(prefix)?;
    let start = || typed::command(prefix, "start");
    loop {
        let late = tokio::time::Instant::now() >= deadline;
        let told = lock::holder(prefix);
        let trouble =
            told.as_ref().and_then(|told| told.trouble.clone()).unwrap_or_else(|| "no reason is known".to_owned());
        let within = format!("within {} s", patience.as_secs());
        let failure = match told {
            Some(told) if told.link == LinkState::Up && told.checked_in.is_some() => return Ok(()),
            // Waiting longer would not change it.
            Some(told) if told.link == LinkState::Refused => return Err(Failure::Outcome(trouble)),
            Some(told) if told.link == LinkState::Up => {
                Failure::Outcome(format!("connected, but the server did not confirm this host {within}: {trouble}"))
            }
            Some(_) => Failure::unreachable(format!("the server was not reached {within}: {trouble}")),
            None => Failure::local(format!("no agent was running {within}; start it: {}", start())),
        };
        if late {
            return Err(failure);
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// Between two looks of [`wait`].
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// A certificate with less than this part of its life left is told: it should have been renewed at half of it.
const OVERDUE_PART: u32 = 4;

impl Status {
    fn find_problems(&self, prefix: &Prefix, leaves: bool, certificate_life: Duration, now: Timestamp) -> Vec<String> {
        let typed = |words| typed::command(prefix, words);
        let mut problems = Vec::new();
        if leaves {
            problems.push(format!("the agent is being removed; to finish that: {}", typed("uninstall")));
        }
        let left = self.certificate_expires.since(now);
        if self.certificate_expires <= now {
            problems.push(format!("the certificate expired at {}", self.certificate_expires));
        } else if left < certificate_life / OVERDUE_PART {
            problems.push(format!("the certificate expires at {} and was not renewed", self.certificate_expires));
        }
        match (&self.agent, self.agent_runs) {
            (None, false) => problems.push(format!("the agent does not run; start it: {}", typed("start"))),
            (None, true) => problems.push("an agent runs, but does not say how it stands".to_owned()),
            (Some(agent), _) => {
                problems.extend(agent.identity.clone().into_iter().chain(agent.problem()));
                if let Some(why) = &agent.no_work {
                    let name = &self.name;
                    problems.push(format!(
                        "the server gives this host no work: {why} (on the operator's side: muster connector show {name})"
                    ));
                }
            }
        }
        if let Some(agent) = &self.agent
            && agent.version != self.version
        {
            let (runs, own) = (&agent.version, &self.version);
            let restart = typed("restart");
            problems.push(format!("the agent that runs is version {runs}, this program is {own}: {restart}"));
        }
        match &self.service {
            None => problems.push(format!("no service keeps the agent running: {}", typed("install"))),
            Some(service) if service.state == "failed" => {
                problems.push(format!(
                    "the service has failed; it was started again {} times",
                    service.restarts.unwrap_or(0)
                ));
            }
            Some(service) if service.pid.is_none() && self.agent_runs => {
                problems.push(format!("the agent that runs is not the service's: {}", typed("restart")));
            }
            Some(_) => {}
        }
        let stopped = self.components.iter().filter(|component| component.current.is_some() && component.pid.is_none());
        problems.extend(stopped.map(|component| format!("component {} does not run", component.name)));
        problems
    }
}

impl Running {
    fn problem(&self) -> Option<String> {
        let trouble = self.trouble.as_deref().map(|trouble| format!(": {trouble}")).unwrap_or_default();
        match (self.link, self.last_check_in) {
            (LinkState::Up, Some(_)) => self.trouble.clone(),
            (LinkState::Up, None) => Some(format!("the server has not confirmed this host yet{trouble}")),
            (LinkState::Connecting, _) => Some("the server was not reached yet".to_owned()),
            (LinkState::Down, _) => Some(format!("not connected to the server{trouble}")),
            (LinkState::Refused, _) => Some(format!("the server does not let this host in{trouble}")),
        }
    }
}

impl From<Told> for Running {
    fn from(told: Told) -> Self {
        Self {
            pid: told.process.pid,
            version: told.version,
            started_at: told.started_at,
            link: told.link,
            link_since: told.link_since,
            first_check_in: told.checked_in.map(|at| at.first),
            last_check_in: told.checked_in.map(|at| at.last),
            trouble: told.trouble,
            identity: told.identity,
            no_work: told.no_work,
        }
    }
}

fn component(prefix: &Prefix, name: ComponentName) -> Result<Component, Failure> {
    let home = prefix.home(&name);
    let record = journal::read(&prefix.journal(&name))
        .map_err(|error| Failure::local_because(format!("the state of {name} is not known"), error))?;
    let run = Run::read(&home).ok().flatten();
    let alive = run.as_ref().and_then(|run| run.find().map(|key| (run, key)));
    Ok(Component {
        current: installed::current(&home),
        running: alive.map(|(run, _)| run.version.clone()),
        pid: alive.map(|(_, key)| key.pid),
        restarts: run.as_ref().map_or(0, |run| run.restarts),
        upgrade_to: record.upgrade.as_ref().map(|upgrade| upgrade.document.version.clone()),
        step: record.upgrade.as_ref().map(|upgrade| upgrade.step.public()),
        last_failed: record.last_failed,
        undelivered: record.finished.iter().filter(|end| !end.delivered).count(),
        name,
    })
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "connector    {} of fleet {}", self.name, self.fleet)?;
        writeln!(f, "certificate  good until {}", self.certificate_expires)?;
        let on_trial = if self.settings_on_trial { ", on trial until the server confirms it" } else { "" };
        let unknown = "not known: the settings cannot be used";
        writeln!(f, "server       {}{on_trial}", self.server.as_deref().unwrap_or(unknown))?;
        writeln!(f, "proxy        {}", self.proxy.as_deref().unwrap_or(unknown))?;
        if let Some(refused) = &self.settings_refused {
            writeln!(f, "refused      {refused}")?;
        }
        match (&self.agent, self.agent_runs) {
            (Some(agent), _) => write!(f, "{agent}")?,
            (None, true) => f.write_str("agent        runs")?,
            (None, false) => f.write_str("agent        does not run")?,
        }
        if let Some(service) = &self.service {
            write!(f, "\nservice      {service}")?;
        }
        for component in &self.components {
            write!(f, "\ncomponent    {component}")?;
        }
        for problem in &self.problems {
            write!(f, "\nproblem      {problem}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "agent        version {} runs as process {} since {}", self.version, self.pid, self.started_at)?;
        match self.link {
            LinkState::Connecting => f.write_str("link         connecting")?,
            LinkState::Up => write!(f, "link         connected since {}", self.link_since)?,
            LinkState::Down => write!(f, "link         not connected since {}", self.link_since)?,
            LinkState::Refused => write!(f, "link         refused by the server since {}", self.link_since)?,
        }
        match self.last_check_in {
            Some(at) => write!(f, "\ncheck-in     confirmed by the server at {at}"),
            None => f.write_str("\ncheck-in     not confirmed by the server yet"),
        }
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.current {
            Some(version) => write!(f, "{} {version}", self.name)?,
            None => write!(f, "{} (no version)", self.name)?,
        }
        match (&self.running, self.pid) {
            (Some(version), Some(pid)) if Some(version) == self.current.as_ref() => {
                write!(f, ", runs as process {pid}")?
            }
            (Some(version), Some(pid)) => write!(f, ", {version} runs as process {pid}")?,
            _ => f.write_str(", does not run")?,
        }
        if self.restarts > 0 {
            write!(f, ", started again {} times", self.restarts)?;
        }
        if let (Some(version), Some(step)) = (&self.upgrade_to, self.step) {
            write!(f, ", upgrade to {version}: {}", step.as_str())?;
        }
        if let Some(failed) = &self.last_failed {
            write!(f, ", {} failed: {}", failed.version, failed.reason)?;
        }
        if self.undelivered > 0 {
            write!(f, ", {} results not yet with the server", self.undelivered)?;
        }
        Ok(())
    }
}
