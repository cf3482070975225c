//! The processes of the demo: the server, the agents, and the components that the agents started.

use super::child::Child;
use crate::command::{Init, init};
use crate::context::Context;
use crate::datadir::DataDir;
use crate::error::CliError;
use crate::settings::Settings;
use muster_certs::identity::Fleet as FleetName;
use muster_certs::store;
use muster_runtime::clock::Clock;
use muster_runtime::tasks::Swarm;
use muster_wire::admin::AddedConnector;
use muster_wire::id::{PersonName, ThingName};
use rustix::process::{Pid, Signal, kill_process};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{ChildStdout, Command};
use tokio::time::{interval, sleep, timeout};

/// The programs that the demo starts.
#[derive(Clone, Debug)]
pub struct Programs {
    muster: PathBuf,
    agent: PathBuf,
    greeter: PathBuf,
}

/// Everything that runs.
pub struct Fleet {
    root: PathBuf,
    programs: Programs,
    data: DataDir,
    server: Option<Child>,
    agents: Vec<(ThingName, Child)>,
    drains: Swarm,
}

impl Programs {
    /// Finds them beside this program.
    ///
    /// Errors: `Local` that says how to build what is missing.
    pub fn find() -> Result<Self, CliError> {
        let muster = env::current_exe().map_err(|error| CliError::local_because("cannot find this program", error))?;
        let beside = |name: &str| {
            let path = muster.with_file_name(format!("{name}{}", env::consts::EXE_SUFFIX));
            if path.is_file() {
                return Ok(path);
            }
            Err(CliError::local(format!(
                "{} is missing; build everything and start the demo with `cargo demo`, or build it with \
                 `cargo build --release -p muster-agent -p muster-greeter`",
                path.display()
            )))
        };
        Ok(Self { agent: beside("muster-agent")?, greeter: beside("greeter")?, muster: muster.clone() })
    }
}

impl Fleet {
    /// A fleet below `root`; nothing is started yet.
    pub fn new(root: &Path, programs: Programs) -> Result<Self, CliError> {
        let failed = |error| CliError::local_because(format!("cannot use {}", root.display()), error);
        // The kernel names programs by their real path, and the components are found by it.
        let root = root.canonicalize().map_err(failed)?;
        fs::create_dir_all(root.join("logs")).map_err(failed)?;
        let data = DataDir::at(root.join("data"));
        Ok(Self { root, programs, data, server: None, agents: Vec::new(), drains: Swarm::new() })
    }

    /// Makes the data folder and starts the server on free ports.
    ///
    /// Errors: `Outcome` with the end of its log when it does not get ready.
    pub async fn start_server(&mut self) -> Result<Context, CliError> {
        let hosts = vec!["127.0.0.1".to_owned()];
        self.data = init(
            Init {
                data: self.root.join("data"),
                settings: Some(Settings::template(&hosts)),
                hosts,
                fleet: FleetName::new("demo").expect("the name of the demo's fleet is valid"),
                operator: PersonName::new("admin").expect("the name of the demo's operator is valid"),
            },
            &Clock::system(),
        )?;
        let mut command = Command::new(&self.programs.muster);
        command.arg("serve").arg("--data").arg(self.data.root());
        command.args(["--listen", "127.0.0.1:0", "--mqtt-listen", "127.0.0.1:0"]);
        let mut child = Child::start("the server", command, &self.log("server"), true)?;
        let output = child.output().ok_or_else(|| child.failed("has no output"))?;
        let mut lines = BufReader::new(output).lines();
        let ready = timeout(READY_DEADLINE, ready_line(&mut lines)).await;
        match ready {
            Ok(Some(line)) if line.contains("https=") => {}
            Ok(Some(line)) => return Err(child.failed(&format!("says {line:?}, which names no https= address"))),
            Ok(None) => return Err(child.failed("ended before it was ready")),
            Err(_) => return Err(child.failed(&format!("was not ready within {} s", READY_DEADLINE.as_secs()))),
        }
        // Whoever writes into a pipe that nobody reads stops one day.
        self.drains.spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        self.server = Some(child);
        Ok(Context::of(self.data.clone()))
    }

    /// Enrols a host as the install script does: CA and token in private files, never as arguments.
    ///
    /// Errors: `Outcome` with the end of the log.
    pub async fn enrol(&self, cx: &Context, added: &AddedConnector) -> Result<(), CliError> {
        let writing = |error| CliError::local_because("cannot write for the enrolment", error);
        let prefix = self.prefix(&added.name);
        fs::create_dir_all(&prefix)
            .map_err(|error| CliError::local_because(format!("cannot make {}", prefix.display()), error))?;
        let (ca, token) = (self.root.join("ca.pem"), self.root.join(format!("{}.token", added.name)));
        store::write_public(&ca, cx.credentials()?.ca_pem.as_bytes()).map_err(writing)?;
        store::write_secret(&token, added.token.as_bytes()).map_err(writing)?;
        let mut command = Command::new(&self.programs.agent);
        command.arg("enrol").arg("--prefix").arg(&prefix).arg("--server").arg(cx.server()?.to_string());
        command.arg("--name").arg(added.name.as_str()).arg("--ca").arg(&ca).arg("--token-file").arg(&token);
        let name = format!("the enrolment of {}", added.name);
        let enrolled =
            Child::start(&name, command, &self.log(added.name.as_str()), false)?.finish(ENROL_DEADLINE).await;
        let _ = fs::remove_file(&token);
        enrolled
    }

    /// Starts the agent of an enrolled host.
    pub fn start_agent(&mut self, name: &ThingName) -> Result<(), CliError> {
        let mut command = Command::new(&self.programs.agent);
        command.arg("run").arg("--prefix").arg(self.prefix(name));
        let child = Child::start(&format!("the agent of {name}"), command, &self.log(name.as_str()), false)?;
        self.agents.push((name.clone(), child));
        Ok(())
    }

    /// The folder of the demo.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The data folder of the server.
    pub fn data(&self) -> &Path {
        self.data.root()
    }

    /// This program.
    pub fn muster(&self) -> &Path {
        &self.programs.muster
    }

    /// The program of the component.
    pub fn greeter(&self) -> &Path {
        &self.programs.greeter
    }

    /// The log of the server or of a connector.
    pub fn log(&self, name: &str) -> PathBuf {
        self.root.join("logs").join(format!("{name}.log"))
    }

    /// A child that has ended although nobody asked it to.
    pub fn casualty(&mut self) -> Option<CliError> {
        let agents = self.agents.iter_mut().map(|(_, child)| child);
        self.server.iter_mut().chain(agents).find_map(|child| {
            let status = child.ended()?;
            Some(child.failed(&format!("ended by itself with {status}")))
        })
    }

    /// Returns when a child has ended by itself.
    pub async fn watch(&mut self) -> CliError {
        let mut tick = interval(WATCH_EVERY);
        loop {
            tick.tick().await;
            if let Some(error) = self.casualty() {
                return error;
            }
        }
    }

    /// Stops the agents, then the components that they leave running, then the server.
    pub async fn stop(&mut self) {
        // All are asked before the first is waited for.
        for (_, agent) in &self.agents {
            agent.ask_to_end();
        }
        for (_, agent) in self.agents.drain(..) {
            agent.stop(GRACE).await;
        }
        for signal in [Signal::TERM, Signal::KILL] {
            let gone = async {
                while self.signal_components(signal) > 0 {
                    sleep(COMPONENT_PAUSE).await;
                }
            };
            if timeout(GRACE, gone).await.is_ok() {
                break;
            }
        }
        if let Some(server) = self.server.take() {
            server.stop(GRACE).await;
        }
        self.drains.drain(GRACE).await;
    }

    fn prefix(&self, name: &ThingName) -> PathBuf {
        self.root.join("hosts").join(name.as_str())
    }

    /// Signals every process whose program lies below the demo's folder, and says how many there are.
    ///
    /// The agents leave components running when they stop, as they should; nobody else knows them.
    fn signal_components(&self, signal: Signal) -> usize {
        let Ok(processes) = fs::read_dir("/proc") else { return 0 };
        let hosts = self.root.join("hosts");
        let mut found = 0;
        for process in processes.flatten() {
            let number = process.file_name().to_str().and_then(|name| name.parse().ok());
            let Some(pid) = number.and_then(Pid::from_raw) else { continue };
            // The program of a removed version reads "… (deleted)", and is still below the folder.
            if fs::read_link(process.path().join("exe")).is_ok_and(|program| program.starts_with(&hosts)) {
                found += usize::from(kill_process(pid, signal).is_ok());
            }
        }
        found
    }
}

impl Drop for Fleet {
    /// The last resort: whatever still runs when the demo panics or forgets.
    fn drop(&mut self) {
        for (_, child) in &mut self.agents {
            child.kill();
        }
        self.signal_components(Signal::KILL);
        if let Some(server) = &mut self.server {
            server.kill();
        }
    }
}

async fn ready_line(lines: &mut Lines<BufReader<ChildStdout>>) -> Option<String> {
    while let Ok(Some(line)) = lines.next_line().await {
        if line.starts_with("ready ") {
            return Some(line);
        }
    }
    None
}

const READY_DEADLINE: Duration = Duration::from_secs(30);
const ENROL_DEADLINE: Duration = Duration::from_secs(30);
/// For each of agents, components and server.
const GRACE: Duration = Duration::from_secs(10);
const COMPONENT_PAUSE: Duration = Duration::from_millis(50);
const WATCH_EVERY: Duration = Duration::from_millis(500);
