//! The agent as a systemd unit, of the whole host or of one user: a file, and calls of `systemctl`.
//!
//! A unit lies outside the prefix, so one that does not start the agent of this very prefix is never touched.

use super::{Kind, Manager, Spec, State};
use crate::hands::files;
use crate::hands::process;
use crate::places::Prefix;
use crate::platform;
use muster_certs::store;
use muster_runtime::failure::Failure;
use muster_runtime::settings::environment;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Whose systemd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Of the host.
    System,
    /// Of the user that runs this.
    User,
}

/// One unit.
pub struct Systemd {
    scope: Scope,
    prefix: Prefix,
    unit: String,
}

/// Where systemd says that it is the one that booted this host (sd_booted(3)).
const BOOTED: &str = "/run/systemd/system";
/// The name of the first unit on a host; another prefix gets a name with its digest.
const FIRST: &str = "muster-agent.service";

/// Whether this systemd runs and answers.
pub fn runs(scope: Scope) -> bool {
    match scope {
        Scope::System => Path::new(BOOTED).is_dir() && systemctl(scope, &["--version"]).is_ok(),
        Scope::User => systemctl(scope, &["show-environment"]).is_ok(),
    }
}

/// The name for the unit of this prefix: the plain one, unless that is another prefix's.
pub fn free_name(scope: Scope, prefix: &Prefix) -> Result<String, Failure> {
    let plain = folder(scope)?.join(FIRST);
    match fs::read_to_string(&plain) {
        Ok(text) if starts(&text, prefix) => Ok(FIRST.to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(FIRST.to_owned()),
        _ => {
            let digest = process::sha256_of(prefix.root().to_string_lossy().as_bytes());
            Ok(format!("muster-agent-{:.8}.service", digest.to_string()))
        }
    }
}

impl Systemd {
    /// The unit of this name.
    pub fn new(scope: Scope, prefix: &Prefix, unit: &str) -> Self {
        Self { scope, prefix: prefix.clone(), unit: unit.to_owned() }
    }

    fn path(&self) -> Result<PathBuf, Failure> {
        folder(self.scope).map(|folder| folder.join(&self.unit))
    }

    /// The text of the unit's file; `None` when there is none.
    ///
    /// Errors: the unit is not ours.
    fn text(&self) -> Result<Option<String>, Failure> {
        let path = self.path()?;
        match fs::read_to_string(&path) {
            Ok(text) if starts(&text, &self.prefix) => Ok(Some(text)),
            Ok(_) => {
                let (path, root) = (path.display(), self.prefix.root().display());
                Err(Failure::local(format!("{path} does not start the agent of {root}, so it is left alone")))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Failure::local_because(format!("cannot read {}", path.display()), error)),
        }
    }

    fn call(&self, arguments: &[&str]) -> Result<String, Failure> {
        systemctl(self.scope, &[arguments, &[&self.unit]].concat())
    }
}

impl Manager for Systemd {
    fn install(&self, spec: &Spec) -> Result<Vec<String>, Failure> {
        self.text()?;
        let path = self.path()?;
        let failed = |error: io::Error| Failure::local_because(format!("cannot write {}", path.display()), error);
        fs::create_dir_all(folder(self.scope)?).map_err(failed)?;
        let text = unit(self.scope, spec)?;
        store::write_public(&path, text.as_bytes())
            .map_err(|error| Failure::local_because("the unit was not written", error))?;
        systemctl(self.scope, &["daemon-reload"])?;
        self.call(&["enable"])?;
        let mut said = vec![format!("installed as {}, started at boot", path.display())];
        if self.scope == Scope::User && !lingers() {
            said.push("it ends when you log out, unless you run: loginctl enable-linger".to_owned());
        }
        Ok(said)
    }

    fn start(&self) -> Result<(), Failure> {
        // A unit that failed before is given a new chance.
        let _ = self.call(&["reset-failed"]);
        self.call(&["start"]).map(drop).map_err(|failure| {
            Failure::Outcome(format!("the agent did not start ({}); see: {}", failure.chain(), self.log()))
        })
    }

    fn stop(&self) -> Result<(), Failure> {
        if self.text()?.is_none() {
            return Ok(());
        }
        self.call(&["stop"]).map(drop)
    }

    fn remove(&self) -> Result<Vec<String>, Failure> {
        if self.text()?.is_none() {
            return Ok(Vec::new());
        }
        let path = self.path()?;
        self.call(&["disable"])?;
        files::remove_file(&path)
            .and_then(|()| platform::sync_parent(&path))
            .map_err(|error| Failure::local_because(format!("cannot remove {}", path.display()), error))?;
        systemctl(self.scope, &["daemon-reload"])?;
        Ok(vec![format!("unit {}", path.display())])
    }

    fn state(&self) -> Result<State, Failure> {
        let answer = self.call(&["show", "--property=ActiveState,UnitFileState,MainPID,NRestarts"])?;
        let facts: BTreeMap<&str, &str> = answer.lines().filter_map(|line| line.split_once('=')).collect();
        let number = |key: &str| facts.get(key).and_then(|text| text.parse::<u32>().ok());
        let kind = if self.scope == Scope::System { Kind::System } else { Kind::User };
        Ok(State {
            kind,
            unit: Some(self.unit.clone()),
            state: facts.get("ActiveState").copied().unwrap_or("unknown").to_owned(),
            enabled: facts.get("UnitFileState") == Some(&"enabled"),
            pid: number("MainPID").filter(|pid| *pid > 0),
            restarts: number("NRestarts"),
        })
    }

    fn log(&self) -> String {
        let whose = if self.scope == Scope::User { " --user" } else { "" };
        format!("journalctl{whose} -u {}", self.unit)
    }
}

/// The text of the unit.
fn unit(scope: Scope, spec: &Spec) -> Result<String, Failure> {
    let command = format!("{} run --prefix {}", word(&spec.program)?, word(spec.prefix.root())?);
    let name = &spec.name;
    let mut text = format!(
        "# Written by `muster-agent install`; for settings of your own use `systemctl edit`.\n\
         [Unit]\n\
         Description=Muster agent of connector {name}\n"
    );
    if scope == Scope::System {
        text += "Wants=network-online.target\nAfter=network-online.target\n";
    }
    text += &format!(
        "# A host that was away for long must find its agent trying: the pause between two starts is the limit.\n\
         StartLimitIntervalSec=0\n\
         \n\
         [Service]\n\
         # Ready when everything that runs is taken over; the server need not be there for that.\n\
         Type=notify\n\
         NotifyAccess=main\n\
         ExecStart={command}\n\
         Restart=always\n\
         RestartSec=10\n\
         WatchdogSec=60\n\
         TimeoutStartSec=90\n\
         TimeoutStopSec=30\n\
         # The agent alone is stopped, restarted or killed by the watchdog: its components go on, and the next agent\n\
         # takes them over. One that runs out of memory does not take the agent and the others along.\n\
         KillMode=process\n\
         OOMPolicy=continue\n\
         TasksMax=infinity\n"
    );
    if scope == Scope::System {
        // Components are children of the agent and inherit every restriction, so only what no component needs is taken
        // away. A user's systemd would add NoNewPrivileges to any of these, which breaks sudo in a component.
        text += "# Components inherit what is forbidden here: only what none of them needs.\n\
                 CapabilityBoundingSet=~CAP_SYS_BOOT CAP_SYS_RAWIO CAP_MAC_ADMIN CAP_MAC_OVERRIDE\n\
                 LockPersonality=yes\n\
                 UMask=0022\n";
    }
    let target = if scope == Scope::System { "multi-user.target" } else { "default.target" };
    text += &format!("\n[Install]\nWantedBy={target}\n");
    Ok(text)
}

/// Whether a unit starts the agent of this prefix. The install script of earlier versions wrote such units, too.
fn starts(unit: &str, prefix: &Prefix) -> bool {
    let Ok(root) = word(prefix.root()) else { return false };
    let end = format!(" run --prefix {root}");
    unit.lines().any(|line| line.starts_with("ExecStart=") && line.ends_with(&end))
}

/// A path as one word of a unit's command line (systemd.service(5), "Command lines").
fn word(path: &Path) -> Result<String, Failure> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._+-:@=,".contains(c);
    match path.to_str() {
        Some(text) if text.chars().all(plain) => Ok(text.to_owned()),
        Some(text) if !text.contains(char::is_control) => {
            let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%").replace('$', "$$");
            Ok(format!("\"{escaped}\""))
        }
        _ => Err(Failure::local(format!("{} cannot stand in a systemd unit; use a plain path", path.display()))),
    }
}

fn folder(scope: Scope) -> Result<PathBuf, Failure> {
    match scope {
        Scope::System => Ok("/etc/systemd/system".into()),
        Scope::User => {
            let config = environment("XDG_CONFIG_HOME").map(PathBuf::from);
            let config = config.or_else(|| environment("HOME").map(|home| Path::new(&home).join(".config")));
            let config = config.ok_or_else(|| Failure::local("HOME is not set, so there is no place for a unit"))?;
            Ok(config.join("systemd/user"))
        }
    }
}

/// Whether this user's systemd stays when the user logs out.
fn lingers() -> bool {
    environment("USER").is_some_and(|user| Path::new("/var/lib/systemd/linger").join(user).exists())
}

fn systemctl(scope: Scope, arguments: &[&str]) -> Result<String, Failure> {
    let whose = if scope == Scope::User { "--user" } else { "--system" };
    let mut command = Command::new("systemctl");
    command.args([whose, "--no-pager", "--no-ask-password"]).args(arguments).stdin(Stdio::null());
    let line = || format!("systemctl {whose} {}", arguments.join(" "));
    let output = command.output().map_err(|error| Failure::local_because(format!("cannot start {}", line()), error))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    Err(Failure::Outcome(format!("`{}` failed: {}", line(), said.join("; "))))
}

#[cfg(test)]
mod tests;
