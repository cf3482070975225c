//! Where the component of a host stands: by its files and processes, by its own answer, and by what the server says.

use crate::eventually::eventually;
use crate::fleet::{Fleet, Host};
use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

/// The component of the tests.
pub const COMPONENT: &str = "greeter";
/// An upgrade takes a few seconds; a machine under load gets many times as many.
pub const UPGRADE_DEADLINE: Duration = Duration::from_secs(180);

/// The one process of the component on a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stand {
    /// What it answers, what `current` points to, and what `run.json` names: the same.
    pub version: String,
    /// Its number.
    pub pid: i32,
    /// When the kernel started it; with the number it names this start.
    pub start: u64,
    /// Where it listens.
    pub port: u16,
    /// Times that the agent had to start it again.
    pub restarts: u64,
}

impl Stand {
    /// Looks at the host alone: exactly one process runs, and everything that tells its version tells the same.
    pub fn of(host: &Host) -> Result<Self, String> {
        let pids = host.component_pids();
        let [pid] = pids[..] else { return Err(format!("{} processes of the component run: {pids:?}", pids.len())) };
        let run = host.run_record(COMPONENT).ok_or("there is no run.json")?;
        let (process, version) = (&run["process"], current(host).ok_or("there is no link `current`")?);
        if process["pid"].as_i64() != Some(pid.into()) {
            return Err(format!("process {pid} runs, but run.json says {run}"));
        }
        if run["version"] != version.as_str() {
            return Err(format!("`current` is {version}, but run.json says {run}"));
        }
        let program = fs::read_link(format!("/proc/{pid}/exe")).map_err(|error| error.to_string())?;
        let wanted = host.component(COMPONENT).join(&version).join("bin/greeter");
        if program != wanted {
            return Err(format!("process {pid} runs {}, not {}", program.display(), wanted.display()));
        }
        let port = fs::read_to_string(host.component(COMPONENT).join("data/port")).map_err(|e| format!("port: {e}"))?;
        let port = port.trim().parse().map_err(|error| format!("port {port:?}: {error}"))?;
        let answer = ask(port, "/version")?;
        if answer != version {
            return Err(format!("`current` is {version}, but the process answers {answer:?}"));
        }
        let number = |value: &Value| value.as_u64().ok_or_else(|| format!("a number is missing in {run}"));
        Ok(Self { version, pid, start: number(&process["start"])?, port, restarts: number(&run["restarts"])? })
    }

    /// Looks at the host and asks the server, who must agree: `version` runs, healthy and confirmed.
    pub fn agreed(fleet: &Fleet, host: &Host, version: &str) -> Result<Self, String> {
        let stand = Self::of(host)?;
        let view = &fleet.connector(host.name())["components"][COMPONENT];
        let agreed = view["reported"] == version
            && view["confirmed"] == version
            && view["health"] == "healthy"
            && view["port"] == stand.port;
        if stand.version == version && agreed {
            Ok(stand)
        } else {
            Err(format!("the host has {stand:?}, the server says {view}, and {version} was expected"))
        }
    }

    /// Waits until host and server agree that `version` runs.
    #[track_caller]
    pub fn settled(fleet: &Fleet, host: &Host, version: &str) -> Self {
        let what = format!("{} runs {version}, by host and server", host.name());
        eventually(&what, UPGRADE_DEADLINE, || Self::agreed(fleet, host, version))
    }
}

/// Asks for a version on one host; returns the name of the intent.
#[track_caller]
pub fn upgrade(fleet: &Fleet, host: &Host, version: &str, more: &[&str]) -> String {
    let to = format!("name={}", host.name());
    let started = fleet.muster_json(&[&["upgrade", COMPONENT, version, "--to", &to], more].concat());
    started["target"].as_str().unwrap_or_else(|| panic!("no target in {started}")).to_owned()
}

/// Waits until the action of an intent on a host has ended, and returns it.
#[track_caller]
pub fn ended(fleet: &Fleet, host: &Host, target: &str) -> Value {
    let what = format!("the action of {target} on {} ends", host.name());
    eventually(&what, UPGRADE_DEADLINE, || {
        let mut list = fleet.muster_json(&["actions", "--connector", host.name(), "--target", target]);
        let action = list["actions"][0].take();
        match action["state"].as_str() {
            Some("confirmed" | "rolled-back" | "failed" | "superseded") => Ok(action),
            _ => Err(format!("{action}; the end of the agent's log:\n{}", host.log())),
        }
    })
}

/// Upgrades a host, which must end confirmed; host and server agree.
#[track_caller]
pub fn deploy(fleet: &Fleet, host: &Host, version: &str) -> Stand {
    let action = ended(fleet, host, &upgrade(fleet, host, version, &[]));
    assert_eq!(action["state"], "confirmed", "{action}");
    Stand::settled(fleet, host, version)
}

/// The version that `current` points to.
pub fn current(host: &Host) -> Option<String> {
    fs::read_link(host.component(COMPONENT).join("current")).ok()?.into_os_string().into_string().ok()
}

/// The upgrade under way, as the agent's journal has it; null without one.
pub fn journaled(host: &Host) -> Value {
    let path: PathBuf = host.prefix().join("state/journal").join(format!("{COMPONENT}.json"));
    let journal = fs::read(path).ok().and_then(|text| serde_json::from_slice::<Value>(&text).ok());
    journal.map_or(Value::Null, |mut journal| journal["upgrade"].take())
}

/// What a component answers to a GET; the error says how it did not.
pub fn ask(port: u16, path: &str) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("port {port}: {error}");
    let mut stream = TcpStream::connect(("127.0.0.1", port)).map_err(failed)?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).map_err(failed)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").map_err(failed)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(failed)?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.contains(" 200 ") => Ok(body.to_owned()),
        _ => Err(format!("port {port} answers {answer:?}")),
    }
}
