//! `muster-agent status`: what runs here, read from the disk and the processes; the agent itself is not asked, so this
//! works also when it does not run.

use crate::hands::process::Run;
use crate::hands::{installed, journal};
use crate::identity::Identity;
use crate::places::Prefix;
use crate::run::lock;
use crate::settings::Settings;
use crate::trial;
use muster_runtime::failure::Failure;
use muster_wire::component::{LastFailed, UpgradeStep};
use muster_wire::id::{ComponentName, ThingName, Version};
use muster_wire::settings::RefusedSettings;
use muster_wire::time::Timestamp;
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt;

/// What is here.
#[derive(Debug, Serialize)]
pub struct Status {
    /// The connector's name.
    pub name: ThingName,
    /// The fleet that vouches for it.
    pub fleet: String,
    /// Until when its certificate is good.
    pub certificate_expires: Timestamp,
    /// The server of the settings.
    pub server: String,
    /// The proxy in between, and who said so.
    pub proxy: String,
    /// Whether these still wait for the server's confirmation.
    pub settings_on_trial: bool,
    /// Connection settings that were tried and taken back.
    pub settings_refused: Option<RefusedSettings>,
    /// Whether an agent holds this prefix.
    pub agent_runs: bool,
    /// The components.
    pub components: Vec<Component>,
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
    let settings = Settings::read(prefix)
        .map_err(|error| Failure::local_because(format!("{} cannot be used", prefix.settings().display()), error))?;
    let trial =
        trial::look(prefix).map_err(|error| Failure::local_because("the trial of settings is not known", error));
    let (settings_on_trial, settings_refused) = trial?;
    let names: BTreeSet<ComponentName> =
        journal::names(&prefix.journals()).into_iter().chain(journal::names(&prefix.components())).collect();
    Ok(Status {
        name: identity.name,
        fleet: identity.fleet.as_str().to_owned(),
        certificate_expires: Timestamp::from_seconds(identity.certificate.not_after),
        server: settings.server.to_string(),
        proxy: settings.proxy.explain(&settings.server),
        settings_on_trial,
        settings_refused,
        agent_runs: lock(prefix)?.is_none(),
        components: names.into_iter().map(|name| component(prefix, name)).collect::<Result<_, _>>()?,
    })
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
        writeln!(f, "server       {}{on_trial}", self.server)?;
        writeln!(f, "proxy        {}", self.proxy)?;
        if let Some(refused) = &self.settings_refused {
            writeln!(f, "refused      {refused}")?;
        }
        write!(f, "agent        {}", if self.agent_runs { "runs" } else { "does not run" })?;
        for component in &self.components {
            write!(f, "\ncomponent    {component}")?;
        }
        Ok(())
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
