//! A host: a prefix with an agent, and the components that the agent starts.

use super::process::{Output, Process, tail};
use super::{Fleet, Namespace, Programs};
use crate::client::Credentials;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::thread;
use std::time::Duration;

/// An enrolled host. Dropped, its agent and its components are killed.
pub struct Host {
    name: String,
    prefix: PathBuf,
    log: PathBuf,
    programs: Programs,
    network: Option<String>,
    agent: Option<Process>,
}

impl Host {
    /// Enrols a host with a token, as the install script does: CA and token in files, never as arguments.
    #[track_caller]
    pub fn enrol(fleet: &Fleet, name: &str, token: &str) -> Self {
        let (host, output) = Self::try_enrol(fleet, name, token);
        output.succeeded();
        host
    }

    /// Tries to enrol a host.
    #[track_caller]
    pub fn try_enrol(fleet: &Fleet, name: &str, token: &str) -> (Self, Output) {
        Self::try_enrol_with(fleet, name, token, None, &[])
    }

    /// Tries to enrol a host with more arguments, perhaps in a network of its own, where the agent will run too.
    #[track_caller]
    pub fn try_enrol_with(
        fleet: &Fleet,
        name: &str,
        token: &str,
        network: Option<&Namespace>,
        more: &[&str],
    ) -> (Self, Output) {
        let prefix = fleet.root().join("hosts").join(name);
        fs::create_dir_all(&prefix).expect("a folder in the fleet's");
        // Of this host alone: others may be enrolling at the same time.
        let [ca, token_file] = ["ca.pem", "token"].map(|kind| fleet.root().join(format!("{name}.{kind}")));
        fs::write(&ca, fleet.ca_pem()).expect("a file in the fleet's folder");
        fs::write(&token_file, token).expect("a file in the fleet's folder");
        let programs = fleet.programs().clone();
        let network = network.map(|network| network.name().to_owned());
        let server = fleet.address().to_string();
        let mut command = inside(network.as_deref(), &programs.agent);
        command.arg("enrol").arg("--prefix").arg(&prefix).args(["--server", &server]).args(more);
        command.args(["--name", name]).arg("--ca").arg(&ca).arg("--token-file").arg(&token_file);
        let output = Output::of(command, AGENT_DEADLINE);
        let log = fleet.log_file(name);
        (Self { name: name.to_owned(), prefix, log, programs, network, agent: None }, output)
    }

    /// A copy of this host with all its state at one moment, as a cloned machine has it; its agent does not run yet.
    #[track_caller]
    pub fn copied(&self, fleet: &Fleet, name: &str) -> Self {
        let prefix = fleet.root().join("hosts").join(name);
        let mut copy = Command::new("cp");
        copy.arg("-a").arg(&self.prefix).arg(&prefix);
        self.agent.iter().for_each(Process::freeze);
        Output::of(copy, COPY_DEADLINE).succeeded();
        self.agent.iter().for_each(Process::thaw);
        let log = fleet.log_file(name);
        Self {
            name: self.name.clone(),
            prefix,
            log,
            programs: self.programs.clone(),
            network: self.network.clone(),
            agent: None,
        }
    }

    /// Enrols this host anew, in place of the identity that it has.
    #[track_caller]
    pub fn enrol_again(&self, fleet: &Fleet, token: &str) -> Output {
        let [ca, token_file] = ["ca.pem", "token"].map(|kind| fleet.root().join(format!("{}.{kind}", self.name)));
        fs::write(&ca, fleet.ca_pem()).expect("a file in the fleet's folder");
        fs::write(&token_file, token).expect("a file in the fleet's folder");
        let mut command = Command::new(&self.programs.agent);
        command.args(["enrol", "--force", "--name", &self.name, "--server", &fleet.address().to_string()]);
        command.arg("--prefix").arg(&self.prefix).arg("--ca").arg(&ca).arg("--token-file").arg(&token_file);
        Output::of(command, AGENT_DEADLINE)
    }

    /// Starts the agent.
    #[track_caller]
    pub fn run(&mut self) {
        let command = inside(self.network.as_deref(), &self.programs.agent);
        self.spawn(command);
    }

    /// Starts the agent that kills itself at a fault point (`name` or `name:2` for the second passage).
    #[track_caller]
    pub fn run_with_fault(&mut self, point: &str) {
        let mut command = Command::new(self.programs.with_faults());
        command.env("MUSTER_FAULT", point);
        self.spawn(command);
    }

    /// Starts the agent with these variables in its environment.
    #[track_caller]
    pub fn run_with_environment(&mut self, variables: &[(&str, &str)]) {
        let mut command = Command::new(&self.programs.agent);
        command.envs(variables.iter().copied());
        self.spawn(command);
    }

    /// Starts an agent whose clock is wrong by so many seconds.
    #[track_caller]
    pub fn run_with_clock_error(&mut self, seconds: i64) {
        let mut command = Command::new(self.programs.with_faults());
        command.env("MUSTER_CLOCK_ERROR_S", seconds.to_string());
        self.spawn(command);
    }

    #[track_caller]
    fn spawn(&mut self, mut command: Command) {
        assert!(self.agent.is_none(), "the agent of {} runs already", self.name);
        command.arg("run").arg("--prefix").arg(&self.prefix);
        self.agent = Some(Process::spawn(&format!("the agent of {}", self.name), command, &self.log));
    }

    /// Runs another verb of the agent for this host to its end.
    #[track_caller]
    pub fn agent(&self, args: &[&str]) -> Output {
        let mut command = inside(self.network.as_deref(), &self.programs.agent);
        command.args(args).arg("--prefix").arg(&self.prefix);
        Output::of(command, AGENT_DEADLINE)
    }

    /// Ends the agent with SIGKILL. Its components stay.
    #[track_caller]
    pub fn kill(&mut self) {
        self.agent.take().expect("the agent was started").kill();
    }

    /// Ends the agent with SIGTERM and waits for its end. Its components stay.
    #[track_caller]
    pub fn stop(&mut self) -> ExitStatus {
        self.agent.take().expect("the agent was started").stop(STOP_DEADLINE)
    }

    /// Waits until the agent ends by itself, as it does at a fault point.
    #[track_caller]
    pub fn wait_for_end(&mut self, deadline: Duration) -> ExitStatus {
        let status = self.agent.as_mut().expect("the agent was started").wait(deadline);
        self.agent = None;
        status
    }

    /// Whether the agent runs.
    pub fn is_running(&mut self) -> bool {
        self.agent.as_mut().is_some_and(|agent| agent.ended().is_none())
    }

    /// The process of the agent.
    #[track_caller]
    pub fn agent_pid(&self) -> u32 {
        self.agent.as_ref().expect("the agent was started").pid()
    }

    /// The connector's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The agent's folder.
    pub fn prefix(&self) -> &Path {
        &self.prefix
    }

    /// The host's own identity, as a client that speaks for it needs it.
    #[track_caller]
    pub fn credentials(&self) -> Credentials {
        let folder = self.prefix.join("state/identity");
        let read = |file: &str| fs::read_to_string(folder.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        Credentials { ca_pem: read("ca.pem"), own: Some((read("cert.pem"), read("key.pem"))) }
    }

    /// The folder of a component.
    pub fn component(&self, component: &str) -> PathBuf {
        self.prefix.join("components").join(component)
    }

    /// What `run.json` of a component says, if it is there.
    pub fn run_record(&self, component: &str) -> Option<Value> {
        serde_json::from_slice(&fs::read(self.component(component).join("run.json")).ok()?).ok()
    }

    /// The processes whose program lies in the prefix, or that a `run.json` names.
    pub fn component_pids(&self) -> Vec<i32> {
        let mut pids = Vec::new();
        for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            // The program of a removed version reads "… (deleted)", and is still below the folder.
            if fs::read_link(process.path().join("exe")).is_ok_and(|program| program.starts_with(&self.prefix)) {
                pids.push(pid);
            }
        }
        for component in fs::read_dir(self.prefix.join("components")).into_iter().flatten().flatten() {
            let record = self.run_record(&component.file_name().to_string_lossy()).unwrap_or_default();
            let process = &record["process"];
            let pid = process["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
            // The number may belong to a stranger by now; its start mark tells.
            if let Some(pid) = pid
                && start_mark(pid) == process["start"].as_u64()
                && !pids.contains(&pid)
            {
                pids.push(pid);
            }
        }
        pids
    }

    /// The end of the agent's log, for failures.
    pub fn log(&self) -> String {
        tail(&self.log)
    }

    /// Whether the agent has ever written these words to its log.
    pub fn has_logged(&self, words: &str) -> bool {
        self.times_logged(words) > 0
    }

    /// How often the agent has written these words to its log.
    pub fn times_logged(&self, words: &str) -> usize {
        fs::read(&self.log).map_or(0, |log| String::from_utf8_lossy(&log).matches(words).count())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        drop(self.agent.take());
        for pid in self.component_pids().into_iter().filter_map(Pid::from_raw) {
            // A component leads its group; what it started is in there too.
            if kill_process_group(pid, Signal::KILL).is_err() {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        if thread::panicking() {
            eprintln!("the end of the log of {}:\n{}", self.name, self.log());
        }
    }
}

/// The program, started in a network of its own if there is one.
fn inside(network: Option<&str>, program: &Path) -> Command {
    match network {
        None => Command::new(program),
        Some(network) => {
            let mut command = Command::new("/usr/sbin/ip");
            command.args(["netns", "exec", network]).arg(program);
            command
        }
    }
}

/// When the kernel started a process, in clock ticks since boot: the 22nd field, counted from behind the name.
fn start_mark(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

/// Stopping a service may take as long as the agent's own grace, and longer on a busy machine.
const AGENT_DEADLINE: Duration = Duration::from_secs(90);
const STOP_DEADLINE: Duration = Duration::from_secs(90);
/// A few files of a prefix, on a busy disk.
const COPY_DEADLINE: Duration = Duration::from_secs(60);
