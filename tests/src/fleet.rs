//! A real fleet for a test: the built programs as processes, on a port and in a folder of their own.
//!
//! Whatever is started here ends with the value that stands for it. When a test fails, the folder with data and logs
//! stays and is named. All of it blocks: a test is a plain function.

mod gate;
mod host;
mod package;
mod port;
mod process;
mod programs;
mod proxy;
mod site;

pub use gate::{Gate, Rule};
pub use host::Host;
pub use package::Package;
pub use port::Port;
pub use process::{Output, Process};
pub use programs::Programs;
pub use proxy::{Namespace, Proxy};
pub use site::{Site, find};

use crate::client::Credentials;
use muster_wire::time::Timestamp;
use serde_json::Value;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::thread;
use std::time::Duration;

/// A data folder and its server.
pub struct Fleet {
    programs: Programs,
    /// `data`, `logs`, `hosts`, `packages`, `certificates`.
    root: PathBuf,
    /// Removes `root`, unless the test fails.
    folder: Option<tempfile::TempDir>,
    server: Option<Process>,
    port: Port,
    address: Option<SocketAddr>,
}

impl Fleet {
    /// A fleet whose server accepts connections.
    #[track_caller]
    pub fn start() -> Self {
        let mut fleet = Self::init();
        fleet.serve();
        fleet
    }

    /// A fleet whose server offers a copy of the agent: a build may replace the original while the test runs.
    #[track_caller]
    pub fn offering() -> Self {
        let mut fleet = Self::init();
        let agent = fleet.root().join("muster-agent");
        fs::copy(&fleet.programs().agent, &agent).expect("a copy in the fleet's folder");
        let settings = fleet.data().join("muster.toml");
        let text = fs::read_to_string(&settings).expect("a new data folder has settings");
        let offering = text.replace("# binary = \"\"", &format!("binary = {agent:?}"));
        assert_ne!(offering, text, "the settings have a place for the agent");
        fs::write(settings, offering).expect("settings can be written");
        fleet.serve();
        fleet
    }

    /// A fleet whose server does not run yet.
    #[track_caller]
    pub fn init() -> Self {
        let folder = tempfile::Builder::new().prefix("muster-test-").tempdir().expect("a temporary folder");
        // The kernel names programs by their real path, and leftover components are found by it.
        let root = folder.path().canonicalize().expect("the temporary folder is there");
        for name in ["logs", "hosts", "packages", "certificates"] {
            fs::create_dir(root.join(name)).expect("a new folder in the temporary one");
        }
        let programs = Programs::find();
        let port = Port::reserve();
        let fleet = Self { programs, root, folder: Some(folder), server: None, port, address: None };
        fleet.muster(&["init", "--host", "localhost"]).succeeded();
        fleet
    }

    /// Starts the server, on the fleet's own port. Returns when it is ready.
    #[track_caller]
    pub fn serve(&mut self) {
        let command = Command::new(&self.programs.muster);
        self.serve_by(command);
    }

    /// Starts the server that kills itself at a fault point.
    #[track_caller]
    pub fn serve_with_fault(&mut self, point: &str) {
        let mut command = Command::new(self.programs.server_with_faults());
        command.env("MUSTER_FAULT", point);
        self.serve_by(command);
    }

    /// Starts a server whose clock is wrong by so many seconds.
    #[track_caller]
    pub fn serve_with_clock_error(&mut self, seconds: i64) {
        let mut command = Command::new(self.programs.server_with_faults());
        command.env("MUSTER_CLOCK_ERROR_S", seconds.to_string());
        self.serve_by(command);
    }

    /// Waits until the server ends by itself, as it does at a fault point.
    #[track_caller]
    pub fn wait_for_end(&mut self, deadline: Duration) -> ExitStatus {
        self.server.take().expect("the server runs").wait(deadline)
    }

    /// Sets `key` of the server's settings, which has its default so far; the server must not run.
    #[track_caller]
    pub fn configure(&self, key: &str, value: &str) {
        assert!(self.server.is_none(), "the server reads its settings when it starts");
        let path = self.data().join("muster.toml");
        let text = fs::read_to_string(&path).expect("`muster init` wrote the settings");
        let is_default =
            |line: &str| line.strip_prefix("# ").is_some_and(|line| line.starts_with(&format!("{key} = ")));
        assert_eq!(text.lines().filter(|line| is_default(line)).count(), 1, "the settings have one {key}");
        let set = |line: &str| if is_default(line) { format!("{key} = {value}\n") } else { format!("{line}\n") };
        fs::write(&path, text.lines().map(set).collect::<String>()).expect("the settings can be written");
    }

    #[track_caller]
    fn serve_by(&mut self, mut command: Command) {
        assert!(self.server.is_none(), "the server runs already");
        let listen = self.port.address().to_string();
        command.arg("serve").arg("--data").arg(self.data()).args(["--listen", &listen]);
        let mut server = Process::spawn_and_listen("the server", command, &self.log_file("server"));
        let line = server.wait_for_line("ready ", READY_DEADLINE);
        let address = line.split_whitespace().find_map(|word| word.strip_prefix("https="));
        let address = address.and_then(|text| text.parse().ok());
        self.address = Some(address.unwrap_or_else(|| panic!("the line {line:?} names no https=ADDR:PORT")));
        self.server = Some(server);
    }

    /// Ends the server with SIGKILL.
    #[track_caller]
    pub fn kill(&mut self) {
        self.server.take().expect("the server runs").kill();
    }

    /// Ends the server with SIGTERM and waits for its end.
    #[track_caller]
    pub fn stop(&mut self) -> ExitStatus {
        self.server.take().expect("the server runs").stop(STOP_DEADLINE)
    }

    /// Ends the server with SIGKILL if it runs, and starts it on the same port.
    #[track_caller]
    pub fn restart(&mut self) {
        if self.server.is_some() {
            self.kill();
        }
        self.serve();
    }

    /// Fails the test if the server has ended by itself.
    #[track_caller]
    pub fn assert_serving(&mut self) {
        let server = self.server.as_mut().expect("the server runs");
        if let Some(status) = server.ended() {
            panic!("the server ended by itself with {status}; the end of its log:\n{}", self.log("server"));
        }
    }

    /// The process of the server.
    #[track_caller]
    pub fn server_pid(&self) -> u32 {
        self.server.as_ref().expect("the server runs").pid()
    }

    /// Where MQTT and HTTPS are served; known from the first start on.
    #[track_caller]
    pub fn address(&self) -> SocketAddr {
        self.address.expect("the server was started once")
    }

    /// Where MQTT and HTTPS are served, if the server was started once.
    pub fn known_address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Everything of this fleet lies here.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The data folder of the server.
    pub fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    /// The programs.
    pub fn programs(&self) -> &Programs {
        &self.programs
    }

    /// The authority of the fleet, PEM.
    #[track_caller]
    pub fn ca_pem(&self) -> String {
        fs::read_to_string(self.data().join("ca/ca.crt")).expect("`muster init` wrote ca/ca.crt")
    }

    /// Runs `muster ARGS --data DIR` to its end.
    #[track_caller]
    pub fn muster(&self, args: &[&str]) -> Output {
        let mut command = Command::new(&self.programs.muster);
        command.args(args).arg("--data").arg(self.data());
        Output::of(command, COMMAND_DEADLINE)
    }

    /// Runs `muster ARGS --json`, which must succeed, and returns what it prints.
    #[track_caller]
    pub fn muster_json(&self, args: &[&str]) -> Value {
        let mut args = args.to_vec();
        args.push("--json");
        self.muster(&args).json()
    }

    /// Issues a certificate; `policy` is `connector`, `observer` or `operator`.
    #[track_caller]
    pub fn issue_cert(&self, name: &str, policy: &str) -> Credentials {
        let out = self.root.join("certificates").join(policy);
        let out_text = out.to_str().expect("the temporary folder has a plain name");
        self.muster(&["cert", "issue", "--name", name, "--policy", policy, "--out", out_text]).succeeded();
        let read = |file: String| fs::read_to_string(out.join(&file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        Credentials {
            ca_pem: read("ca.crt".to_owned()),
            own: Some((read(format!("{name}.crt")), read(format!("{name}.key")))),
        }
    }

    /// Registers a connector and returns its enrolment token.
    #[track_caller]
    pub fn add_connector(&self, name: &str) -> String {
        let added = self.muster_json(&["connector", "add", name]);
        added["token"].as_str().unwrap_or_else(|| panic!("no token in {added}")).to_owned()
    }

    /// Registers a connector and enrols a host as it, as the install script does. Its agent does not run yet.
    #[track_caller]
    pub fn enrol(&self, name: &str) -> Host {
        let token = self.add_connector(name);
        Host::enrol(self, name, &token)
    }

    /// Writes the folder of a component version, ready to be published.
    #[track_caller]
    pub fn package(&self, version: &str, healthy: bool) -> PathBuf {
        Package { healthy, ..Package::new(version) }.write(self)
    }

    /// Publishes a version of the component `greeter`.
    #[track_caller]
    pub fn publish(&self, version: &str, healthy: bool) -> Value {
        let dir = self.package(version, healthy);
        self.muster_json(&["component", "publish", dir.to_str().expect("a plain name")])
    }

    /// What `muster connector show NAME --json` says of the connector.
    #[track_caller]
    pub fn connector(&self, name: &str) -> Value {
        self.muster_json(&["connector", "show", name])["connector"].take()
    }

    /// The end of the log of the server or of a host.
    pub fn log(&self, name: &str) -> String {
        process::tail(&self.log_file(name))
    }

    /// When the server wrote the last line of its log that has all of these words, since 1970. What is promised of the
    /// server is measured so: when this machine gets round to telling the test is another matter.
    #[track_caller]
    pub fn logged(&self, words: &[&str]) -> Duration {
        let log = fs::read_to_string(self.log_file("server")).expect("the server has a log");
        let line = log.lines().rev().find(|line| words.iter().all(|word| line.contains(word)));
        let line = line.unwrap_or_else(|| panic!("no line with {words:?} in:\n{}", self.log("server")));
        written_at(line).unwrap_or_else(|| panic!("no time is in front of {line:?}"))
    }

    fn log_file(&self, name: &str) -> PathBuf {
        self.root.join("logs").join(format!("{name}.log"))
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        drop(self.server.take());
        if thread::panicking()
            && let Some(folder) = self.folder.take()
        {
            let kept = folder.keep();
            eprintln!("the end of the server's log:\n{}\ndata and logs are in {}", self.log("server"), kept.display());
        }
    }
}

/// The time in front of a line of a log: `2026-11-22T14:00:00.123456Z  INFO …`.
fn written_at(line: &str) -> Option<Duration> {
    let (second, micros) = line.split_whitespace().next()?.strip_suffix('Z')?.split_once('.')?;
    let second = u64::try_from(Timestamp::from_utc(&format!("{second}Z"))?.epoch_seconds()).ok()?;
    Some(Duration::from_secs(second) + Duration::from_micros(micros.parse().ok()?))
}

/// Starting includes the recovery of the store.
const READY_DEADLINE: Duration = Duration::from_secs(120);
/// Longer than the server's own grace for its connections.
const STOP_DEADLINE: Duration = Duration::from_secs(120);
/// Longer than the command line waits for an answer.
const COMMAND_DEADLINE: Duration = Duration::from_secs(120);
