//! The agent as a service without systemd, under an ordinary user with a clean account; and what it tells a service
//! manager that listens.
#![allow(clippy::unwrap_used, reason = "a test stops at what it cannot set up")]

use muster_tests::eventually::eventually;
use muster_tests::fleet::{Fleet, Output};
use rustix::process::{Pid, Signal, getuid, kill_process, kill_process_group};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);
/// Exit codes of the agent.
const REFUSED: i32 = 1;
const LOCAL: i32 = 2;
const UNREACHED: i32 = 3;
/// A user that no machine has, when the test itself runs as root.
const STRANGER: u32 = 61_234;

/// A user with a home that holds nothing but the agent's program.
struct Account {
    name: String,
    home: PathBuf,
    /// Only root can become somebody else; anybody else is an ordinary user already.
    user: Option<u32>,
}

impl Account {
    fn new(fleet: &Fleet, name: &str) -> Self {
        // Another user must get to its home.
        fs::set_permissions(fleet.root(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(fleet.root().join("hosts"), fs::Permissions::from_mode(0o755)).unwrap();
        let home = fleet.root().join("hosts").join(name);
        fs::create_dir(&home).unwrap();
        let account = Self { name: name.to_owned(), home, user: getuid().is_root().then_some(STRANGER) };
        // By a child: what this process has open for writing is open too in whatever another test is about to start, and
        // a program that somebody has open for writing cannot be run.
        let mut copy = Command::new("cp");
        copy.arg(&fleet.programs().agent).arg(account.home.join("muster-agent"));
        Output::of(copy, SOON).succeeded();
        fs::write(account.home.join("ca.pem"), fleet.ca_pem()).unwrap();
        fs::write(account.home.join("token"), fleet.add_connector(name)).unwrap();
        for path in [".", "muster-agent", "ca.pem", "token"] {
            chown(account.home.join(path), account.user, account.user).unwrap();
        }
        let server = fleet.address().to_string();
        account
            .agent(&["enrol", "--server", &server, "--name", name, "--ca", "ca.pem", "--token-file", "token"])
            .succeeded();
        account
    }

    /// Runs the agent with these arguments, in the home, with an empty environment but HOME and PATH.
    #[track_caller]
    fn agent(&self, args: &[&str]) -> Output {
        let mut command = Command::new(self.home.join("muster-agent"));
        command.args(args);
        if self.user.is_some() {
            // What is usual differs for root and for others, and that is told from the user.
            command.uid(STRANGER).gid(STRANGER);
        }
        command.arg("--prefix").arg(self.prefix()).current_dir(&self.home);
        command.env_clear().env("HOME", &self.home).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        Output::of(command, SOON)
    }

    fn prefix(&self) -> PathBuf {
        self.home.join(".muster")
    }

    #[track_caller]
    fn status(&self) -> Value {
        self.agent(&["status", "--json"]).json()
    }

    #[track_caller]
    fn agent_pid(&self) -> i32 {
        let status = self.status();
        i32::try_from(status["agent"]["pid"].as_i64().unwrap_or_else(|| panic!("no agent: {status}"))).unwrap()
    }

    /// Deploys a version of the greeter and returns its process.
    #[track_caller]
    fn deploy(&self, fleet: &Fleet, version: &str) -> i32 {
        fleet.muster(&["upgrade", "greeter", version, "--to", &format!("name={}", self.name)]).succeeded();
        eventually("the component is confirmed", SOON, || {
            let view = fleet.connector(&self.name)["components"]["greeter"].take();
            if view["confirmed"] == version { Ok(()) } else { Err(view) }
        });
        let status = self.status();
        i32::try_from(status["components"][0]["pid"].as_i64().unwrap_or_else(|| panic!("{status}"))).unwrap()
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let is_ours = fs::read_link(process.path().join("exe")).is_ok_and(|exe| exe.starts_with(&self.home));
            if let Some(pid) = Pid::from_raw(pid).filter(|_| is_ours)
                && kill_process_group(pid, Signal::KILL).is_err()
            {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}

fn is_alive(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

fn entries(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn without_systemd_an_ordinary_user_installs_starts_stops_restarts_and_removes_the_agent() {
    let fleet = Fleet::start();
    fleet.publish("1.0", true);
    let account = Account::new(&fleet, "alpha");
    // Neither the program nor, later, the one in the prefix is on the PATH: hints name them as they must be typed.
    let [home, prefix] = [&account.home, &account.prefix()].map(|path| path.display().to_string());
    let hint = format!("run: {home}/muster-agent install --prefix {prefix}");
    account.agent(&["start"]).ended_with(LOCAL).explaining(&hint);
    let said = account.agent(&["install", "--as", "portable"]).succeeded().stdout;
    assert!(said.contains("@reboot") && said.contains("runs as process"), "{said}");
    account.agent(&["status", "--wait", "60"]).succeeded();
    let status = account.status();
    let service = &status["service"];
    assert_eq!((&service["kind"], &service["state"]), (&"portable".into(), &"active".into()), "{status}");
    assert_eq!((&status["agent"]["link"], &status["problems"]), (&"up".into(), &Value::Array(vec![])), "{status}");
    assert!(status["agent"]["last_check_in"].is_u64(), "{status}");
    assert_eq!((&service["pid"], &status["agent"]["version"]), (&status["agent"]["pid"], &status["version"]));
    // It is this user's process, from a program inside the prefix.
    let pid = account.agent_pid();
    let process = PathBuf::from(format!("/proc/{pid}"));
    assert!(fs::read_link(process.join("exe")).unwrap().starts_with(account.prefix().join("agent/versions")));
    if let Some(user) = account.user {
        assert_eq!(std::os::unix::fs::MetadataExt::uid(&fs::metadata(&process).unwrap()), user);
    }

    let component = account.deploy(&fleet, "1.0");
    account.agent(&["restart"]).succeeded();
    account.agent(&["status", "--wait", "60"]).succeeded();
    assert_ne!(account.agent_pid(), pid);
    assert!(is_alive(component) && !is_alive(pid));

    // A mistake in the settings stops no agent that works: every problem is told, and the status is still there.
    let settings = account.prefix().join("agent.toml");
    let good = fs::read_to_string(&settings).unwrap();
    fs::write(&settings, format!("{good}\nheartbeat_s = 0\nlog_level = \"loud\"\nfoo = 1\n")).unwrap();
    let pid = account.agent_pid();
    for command in [&["restart"][..], &["install", "--as", "portable"]] {
        let refused = account.agent(command).ended_with(LOCAL).stderr;
        for key in ["heartbeat_s", "log_level", "foo"] {
            assert!(refused.contains(key), "{command:?} does not tell of {key}: {refused}");
        }
        assert_eq!(account.agent_pid(), pid);
    }
    let status = account.agent(&["status"]).succeeded().stdout;
    for part in ["runs as process", "goes on with those that it started with", "heartbeat_s", "log_level", "foo"] {
        assert!(status.contains(part), "the status does not say {part:?}: {status}");
    }
    fs::write(&settings, good).unwrap();

    // One agent for each prefix, and whoever tries is told which.
    let pid = account.agent_pid();
    account.agent(&["start"]).succeeded();
    assert_eq!(account.agent_pid(), pid);
    account
        .agent(&["run"])
        .ended_with(REFUSED)
        .explaining(&format!("another agent runs with prefix {}, process {pid} since", account.prefix().display()));

    assert!(account.agent(&["stop"]).succeeded().stdout.starts_with("the agent is stopped"));
    assert!(account.agent(&["stop"]).succeeded().stdout.starts_with("the agent did not run"));
    let status = account.status();
    assert_eq!((&status["agent_runs"], &status["agent"]), (&false.into(), &Value::Null), "{status}");
    assert!(status["problems"].to_string().contains("the agent does not run"), "{status}");
    let hint = format!("no agent was running within 1 s; start it: {prefix}/agent/current/muster-agent start\n");
    account.agent(&["status", "--wait", "1"]).ended_with(LOCAL).explaining(&hint);
    assert!(is_alive(component));

    // After a crash as after a stop.
    account.agent(&["start"]).succeeded();
    kill_process(Pid::from_raw(account.agent_pid()).unwrap(), Signal::KILL).unwrap();
    eventually("the agent is gone", SOON, || {
        if account.status()["agent_runs"] == false { Ok(()) } else { Err("it runs") }
    });
    account.agent(&["start"]).succeeded();
    assert!(is_alive(component));

    account.agent(&["uninstall"]).ended_with(LOCAL).explaining("to agree, add --yes");
    let report = account.agent(&["uninstall", "--yes", "--report", "--json"]).json();
    for part in ["identity", "settings", "state", "programs"] {
        assert!(report["removed"].to_string().contains(part), "{report}");
    }
    assert!(
        report["kept"][0].as_str().unwrap().starts_with(&format!("component greeter 1.0, process {component} (")),
        "{report}"
    );
    // What people were told to make, they are told to take away.
    assert!(report["kept"].to_string().contains("@reboot "), "{report}");
    assert_eq!(entries(&account.prefix()), ["components"]);
    assert!(is_alive(component));
    let again = account.agent(&["uninstall", "--yes"]).succeeded().stdout;
    assert!(again.starts_with("there is no agent in "), "{again}");
}

#[test]
fn a_purge_runs_the_uninstall_command_of_a_component_and_leaves_nothing() {
    let fleet = Fleet::start();
    let dir = fleet.package("1.0", true);
    let account = Account::new(&fleet, "alpha");
    let farewell = account.home.join("farewell");
    let recipe = fs::read_to_string(dir.join("component.toml")).unwrap();
    let command =
        format!("\n[uninstall]\ncommand = [\"/bin/sh\", \"-c\", \"echo $MUSTER_VERSION >{}\"]\n", farewell.display());
    fs::write(dir.join("component.toml"), recipe + &command).unwrap();
    fleet.muster(&["component", "publish", dir.to_str().unwrap()]).succeeded();
    account.agent(&["install", "--as", "portable"]).succeeded();
    let component = account.deploy(&fleet, "1.0");
    let report = account.agent(&["uninstall", "--purge", "--yes", "--report"]).succeeded().stdout;
    assert!(report.contains("removed  component greeter (") && report.matches("kept ").count() == 1, "{report}");
    assert!(report.contains("kept     the crontab's line"), "{report}");
    assert_eq!(fs::read_to_string(farewell).unwrap(), "1.0\n");
    assert!(!is_alive(component) && !account.prefix().exists());
}

#[test]
fn the_wait_for_the_first_check_in_says_what_is_in_the_way() {
    let mut fleet = Fleet::start();
    let account = Account::new(&fleet, "alpha");
    fleet.kill();
    // Without its server the agent works, too: only the check-in is missing.
    account.agent(&["install", "--as", "portable"]).succeeded();
    account.agent(&["status", "--wait", "2"]).ended_with(UNREACHED).explaining("the server was not reached within 2 s");
    let status = account.agent(&["status"]).succeeded().stdout;
    assert!(status.contains("not confirmed by the server yet"), "{status}");
    fleet.serve();
    account.agent(&["status", "--wait", "60"]).succeeded();
}

/// Everything that comes, as it comes, until nothing has come for long.
fn read_all(manager: UnixDatagram) -> mpsc::Receiver<String> {
    manager.set_read_timeout(Some(SOON)).unwrap();
    let (sender, messages) = mpsc::channel();
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length) = manager.recv(&mut buffer)
            && sender.send(String::from_utf8_lossy(&buffer[..length]).into_owned()).is_ok()
        {}
    });
    messages
}

#[test]
fn a_service_manager_hears_that_the_agent_is_ready_lives_and_stops() {
    let mut fleet = Fleet::start();
    let mut host = fleet.enrol("alpha");
    fleet.kill();
    let socket = fleet.root().join("notify");
    let manager = UnixDatagram::bind(&socket).unwrap();
    // The agent does not wait for a manager that does not read.
    let messages = read_all(manager);
    let heard = || messages.recv_timeout(SOON).expect("a message within the deadline");
    let hear = |start: &str| {
        eventually(&format!("the manager hears {start}"), SOON, || {
            let message = heard();
            if message.contains(start) { Ok(message) } else { Err(message) }
        })
    };
    host.run_with_environment(&[("NOTIFY_SOCKET", socket.to_str().unwrap()), ("WATCHDOG_USEC", "1000000")]);
    // Ready without the server: components must not wait for it.
    assert!(heard().starts_with("READY=1\nSTATUS=Connecting"));
    hear("STATUS=Not connected since ");
    for _ in 0..3 {
        hear("WATCHDOG=1");
    }
    fleet.serve();
    hear("STATUS=Connected; last confirmed by the server at ");
    hear("WATCHDOG=1");
    assert!(host.stop().success());
    hear("STOPPING=1");
}
