//! Muster as an operator would set it up: `init`, `cert issue`, `serve`.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

use super::{Daemon, Options, Started, register::register};
use crate::load::{
    identity::{SERVER_NAME, Trust},
    traffic,
    trigger::Trigger,
};

/// Name of the operator who starts the fan-out.
const OPERATOR: &str = "load-operator";

#[derive(Debug)]
pub struct Muster {
    program: PathBuf,
    /// Holds `data`, `pristine` (its state before any run) and `certificates`.
    dir: tempfile::TempDir,
    options: Options,
}

impl Muster {
    /// With certificates for `count` things that the fleet does not know otherwise.
    pub fn prepare(options: &Options, cache: &Path, count: usize) -> Result<Self> {
        let muster = Self::init(options, cache)?;
        if muster.issue(count).is_err() {
            // Issuing may need a server to ask.
            let started = muster.serve()?;
            let issued = muster.issue(count);
            started.daemon.stop()?;
            issued?;
        }
        muster.keep()
    }

    /// With `things` connectors that were added and enrolled and have a shadow.
    pub fn registered(options: &Options, cache: &Path, things: usize) -> Result<Self> {
        let muster = Self::init(options, cache)?;
        muster.issue_operator()?;
        let started = muster.serve()?;
        let registered = register(started.addr, &muster.certificates(), OPERATOR, things);
        started.daemon.stop()?;
        registered?;
        muster.keep()
    }

    fn init(options: &Options, cache: &Path) -> Result<Self> {
        let program = match &options.muster {
            Some(program) => program.clone(),
            None => std::env::current_exe().context("cannot find this program's own path")?.with_file_name("muster"),
        };
        ensure!(
            program.exists(),
            "{} is not there; build it with `cargo build --release -p muster-cli`",
            program.display()
        );
        // On the same disk as the build, not in /tmp, which may be memory: durable writes must cost what they cost.
        let dir = tempfile::Builder::new()
            .prefix("muster-")
            .tempdir_in(cache)
            .with_context(|| format!("cannot create a data folder in {}", cache.display()))?;
        let muster = Self { program, dir, options: options.clone() };
        muster.command(&["init", "--data", &muster.path("data"), "--host", SERVER_NAME])?;
        Ok(muster)
    }

    /// Keeps the state of now as the one that every run starts with.
    fn keep(self) -> Result<Self> {
        copy(&self.dir.path().join("data"), &self.dir.path().join("pristine"))?;
        Ok(self)
    }

    pub fn certificates(&self) -> PathBuf {
        self.dir.path().join("certificates")
    }

    /// Starts it as it was before the first run: a job that a thing still has would hide the next one.
    pub fn start(&self) -> Result<Started> {
        let data = self.dir.path().join("data");
        fs::remove_dir_all(&data).with_context(|| format!("cannot remove {}", data.display()))?;
        copy(&self.dir.path().join("pristine"), &data)?;
        self.serve()
    }

    pub fn trigger(&self) -> Result<Trigger> {
        if let Some(command) = &self.options.trigger {
            return Ok(Trigger::Command(format!("export MUSTER_DATA='{}'; {command}", self.path("data"))));
        }
        let dir = self.certificates();
        Ok(Trigger::Request(Trust::load(&dir.join("ca.crt"))?.identity(&dir, OPERATOR)?))
    }

    fn issue(&self, count: usize) -> Result<()> {
        let (data, out, count) = (self.path("data"), self.path("certificates"), count.to_string());
        self.command(&[
            "cert",
            "issue",
            "--data",
            &data,
            "--name",
            traffic::NAME,
            "--count",
            &count,
            "--policy",
            "connector",
            "--out",
            &out,
        ])?;
        self.issue_operator()
    }

    fn issue_operator(&self) -> Result<()> {
        let (data, out) = (self.path("data"), self.path("certificates"));
        self.command(&["cert", "issue", "--data", &data, "--name", OPERATOR, "--policy", "operator", "--out", &out])
    }

    fn serve(&self) -> Result<Started> {
        let mut command = Command::new(&self.program);
        command.args(["serve", "--data", &self.path("data"), "--listen", "127.0.0.1:0"]);
        let log = self.dir.path().with_file_name("muster.log");
        let mut daemon = Daemon::spawn(command, &log)?;
        let line = daemon.wait_line("ready")?;
        let addr = parse_ready(&line).with_context(|| format!("muster's line {line:?} names no ADDR:PORT"))?;
        Ok(Started { daemon, addr, plain: None, dir: None })
    }

    fn command(&self, args: &[&str]) -> Result<()> {
        let output = Command::new(&self.program)
            .args(args)
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot run {}", self.program.display()))?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "`muster {}` ended with {}: {}", args.join(" "), output.status, said.trim());
        Ok(())
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }
}

/// The address for MQTT in a line like `ready https=127.0.0.1:8443 mqtt=127.0.0.1:8883`: the one called
/// `mqtt`, else the first, as one port carries everything.
fn parse_ready(line: &str) -> Option<SocketAddr> {
    let addresses = || {
        line.split_whitespace().filter_map(|token| {
            let (key, value) = token.split_once('=').unwrap_or(("", token));
            let value = value.rsplit_once("//").map_or(value, |(_, rest)| rest);
            Some((key, value.trim_end_matches(['/', ',']).parse().ok()?))
        })
    };
    addresses().find(|(key, _)| *key == "mqtt").or_else(|| addresses().next()).map(|(_, addr)| addr)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let failed = || format!("cannot copy {} to {}", from.display(), to.display());
    fs::create_dir_all(to).with_context(failed)?;
    for entry in fs::read_dir(from).with_context(failed)? {
        let entry = entry.with_context(failed)?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().with_context(failed)?;
        if kind.is_dir() {
            copy(&from, &to)?;
        } else if kind.is_file() {
            fs::copy(&from, &to).with_context(failed)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: Option<&str>) {
        assert_eq!(parse_ready(line).map(|addr| addr.to_string()).as_deref(), expected);
    }

    #[test]
    fn the_address_for_mqtt_is_found_in_the_ready_line() {
        check("ready https=127.0.0.1:1 mqtt=127.0.0.1:2", Some("127.0.0.1:2"));
        check("ready https=127.0.0.1:1 mqtt=-", Some("127.0.0.1:1"));
        check("ready https://127.0.0.1:1/", Some("127.0.0.1:1"));
        check("ready [::1]:1", Some("[::1]:1"));
        check("ready", None);
    }
}
