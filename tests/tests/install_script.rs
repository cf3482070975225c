//! The script of `muster connector add`, checked as text and run for real: by a user with an empty home, and with nothing
//! on the PATH but what it may need.
#![allow(clippy::unwrap_used, reason = "a test stops at what it cannot set up")]

use muster_certs::{certificate, certificate_id};
use muster_tests::eventually::eventually;
use muster_tests::fleet::{Fleet, Output};
use rustix::process::{Pid, Signal, getuid, kill_process};
use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(90);
/// Exit codes of the script.
const DAMAGED: i32 = 2;
const HOST_LACKS: i32 = 3;
const NOT_DOWNLOADED: i32 = 4;
const NOT_ENROLLED: i32 = 5;
/// A user that no machine has, when the test itself runs as root; others are ordinary users already.
const STRANGER: u32 = 61_235;

/// What the script may use besides a downloader. There is no `systemctl`: a test installs no unit on the machine.
const TOOLS: [&str; 19] = [
    "base64",
    "cat",
    "chmod",
    "cut",
    "date",
    "df",
    "id",
    "ln",
    "mkdir",
    "mktemp",
    "mv",
    "nohup",
    "readlink",
    "rm",
    "rmdir",
    "sha256sum",
    "sleep",
    "tr",
    "uname",
];

/// A host on which a script is run. Dropped, everything that runs from its prefix is killed.
struct Site {
    prefix: PathBuf,
    home: PathBuf,
    path: PathBuf,
    user: Option<u32>,
}

impl Site {
    /// A host whose PATH has these downloaders.
    fn new(fleet: &Fleet, name: &str, downloaders: &[&str]) -> Self {
        let home = fleet.root().join("hosts").join(name);
        let path = fleet.root().join("bin").join(name);
        fs::create_dir_all(&path).unwrap();
        fs::create_dir_all(&home).unwrap();
        // Another user must get to its home, and finds it empty.
        for folder in [fleet.root(), &fleet.root().join("hosts")] {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let user = getuid().is_root().then_some(STRANGER);
        chown(&home, user, user).unwrap();
        for tool in TOOLS.iter().chain(downloaders) {
            symlink(find(tool).unwrap_or_else(|| panic!("{tool} is not on the PATH")), path.join(tool)).unwrap();
        }
        Self { prefix: home.join("muster"), home, path, user }
    }

    /// The script of a new connector for this host.
    #[track_caller]
    fn script(&self, fleet: &Fleet, name: &str) -> String {
        let prefix = self.prefix.to_str().unwrap();
        fleet.muster(&["connector", "add", name, "--prefix", prefix]).succeeded().stdout
    }

    #[track_caller]
    fn run(&self, script: &str) -> Output {
        self.run_with(script, &[])
    }

    #[track_caller]
    fn run_with(&self, script: &str, args: &[&str]) -> Output {
        let file = self.path.join("install.sh");
        fs::write(&file, script).unwrap();
        let mut command = Command::new("/bin/sh");
        command.arg(file).args(args).env_clear().env("HOME", &self.home).env("PATH", &self.path);
        command.current_dir(&self.home);
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        Output::of(command, SOON)
    }

    /// The processes whose program lies in the prefix.
    fn pids(&self) -> Vec<i32> {
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let ours = |pid: &i32| fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe.starts_with(&self.prefix));
        processes.filter_map(|process| process.file_name().to_str()?.parse().ok()).filter(ours).collect()
    }

    fn agent_log(&self) -> String {
        fs::read_to_string(self.prefix.join("state/agent.log")).unwrap_or_default()
    }

    /// Nothing of an installation is there.
    #[track_caller]
    fn is_bare(&self) {
        let mut left = Vec::new();
        let mut folders = vec![self.prefix.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                if entry.file_type().unwrap().is_dir() {
                    folders.push(entry.path());
                } else {
                    left.push(entry.path());
                }
            }
        }
        assert!(left.is_empty(), "left behind: {left:?}");
        assert_eq!(self.pids(), [0; 0], "something runs");
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        for pid in self.pids().into_iter().filter_map(Pid::from_raw) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// A program on the PATH of the test.
fn find(program: &str) -> Option<PathBuf> {
    let found = Command::new("sh").args(["-c", "command -v \"$1\"", "sh", program]).output().ok()?;
    let path = String::from_utf8(found.stdout).ok()?.trim().to_owned();
    Path::new(&path).is_file().then(|| path.into())
}

/// A fleet that offers a copy of the agent: a build may replace the original while the test runs.
fn fleet() -> Fleet {
    let mut fleet = Fleet::init();
    let agent = fleet.root().join("muster-agent");
    fs::copy(&fleet.programs().agent, &agent).unwrap();
    let settings = fleet.data().join("muster.toml");
    let text = fs::read_to_string(&settings).unwrap();
    let offering = text.replace("# binary = \"\"", &format!("binary = {agent:?}"));
    assert_ne!(offering, text);
    fs::write(settings, offering).unwrap();
    fleet.serve();
    fleet
}

#[track_caller]
fn comes_online(fleet: &Fleet, site: &Site, name: &str) {
    eventually(&format!("{name} is online"), SOON, || {
        let view = fleet.connector(name);
        if view["link"] == "online" { Ok(()) } else { Err(format!("{view}; its log:\n{}", site.agent_log())) }
    });
}

#[test]
fn the_script_is_clean_shell() {
    let fleet = Fleet::start();
    let prefix = fleet.root().join("hosts/alpha");
    let script = fleet.muster(&["connector", "add", "alpha", "--prefix", prefix.to_str().unwrap()]).succeeded().stdout;
    assert!(script.starts_with("#!/bin/sh\n"), "{script}");
    let is_placeholder = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
    let left: Vec<&str> = script.split('@').filter(|word| is_placeholder(word)).collect();
    assert_eq!(left, [""; 0], "placeholders of the template are left");
    let mut checks = vec![vec!["sh", "-n"]];
    if find("shellcheck").is_some() {
        checks.push(vec!["shellcheck", "--shell=sh", "-"]);
    } else {
        eprintln!("skipped: shellcheck is not installed");
    }
    for check in checks {
        let mut child = Command::new(check[0])
            .args(&check[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success() && said.is_empty(), "{check:?} says:\n{said}");
    }
}

#[test]
fn a_host_is_installed_enrolled_and_online_and_a_second_run_changes_nothing() {
    let fleet = fleet();
    let mut tried = 0;
    for downloader in ["curl", "wget"] {
        if find(downloader).is_none() {
            eprintln!("skipped: {downloader} is not installed");
            continue;
        }
        tried += 1;
        let site = Site::new(&fleet, downloader, &[downloader]);
        let script = site.script(&fleet, downloader);
        let output = site.run(&script).succeeded();
        assert!(output.stdout.contains("downloading the agent"), "{output:?}");
        comes_online(&fleet, &site, downloader);
        let pids = site.pids();
        assert_eq!(pids.len(), 1, "one agent runs");
        let versions: Vec<_> = fs::read_dir(site.prefix.join("agent/versions")).unwrap().flatten().collect();
        assert_eq!(versions.len(), 1, "{versions:?}");
        let certificate = fs::read(site.prefix.join("state/identity/cert.pem")).unwrap();

        // The token is used up, but nothing needs it any more.
        let again = site.run(&script).succeeded();
        for words in ["is here already", "is enrolled already", "runs already"] {
            assert!(again.stdout.contains(words), "{words:?} is missing: {again:?}");
        }
        assert_eq!(site.pids(), pids);
        assert_eq!(fs::read(site.prefix.join("state/identity/cert.pem")).unwrap(), certificate);

        // After a reboot the same script starts the agent.
        kill_process(Pid::from_raw(pids[0]).unwrap(), Signal::KILL).unwrap();
        let process = format!("/proc/{}", pids[0]);
        // Until somebody has collected it, a dead process still has its number.
        eventually("the agent is gone", SOON, || if Path::new(&process).exists() { Err("not yet") } else { Ok(()) });
        site.run(&script).succeeded();
        comes_online(&fleet, &site, downloader);
        assert_eq!(site.pids().len(), 1);
    }
    assert!(tried > 0, "neither curl nor wget is installed");
}

/// The line of a precheck.
#[track_caller]
fn line<'a>(output: &'a str, check: &str) -> &'a str {
    let found = output.lines().find(|line| line.get(6..).is_some_and(|rest| rest.starts_with(check)));
    found.unwrap_or_else(|| panic!("no line on {check}:\n{output}"))
}

#[test]
fn a_dry_run_checks_everything_changes_nothing_and_keeps_the_token() {
    let fleet = fleet();
    let downloader = if find("curl").is_some() { "curl" } else { "wget" };
    let site = Site::new(&fleet, "alpha", &[downloader]);
    let script = site.script(&fleet, "alpha");
    let rehearsed = site.run_with(&script, &["--dry-run"]).succeeded();
    for check in ["system", "memory", "disk", "rights", "path", "tools", "clock", "dns", "tcp", "tls"] {
        let line = line(&rehearsed.stdout, check);
        assert!(line.contains("; needed: ") && !line.starts_with("FAIL"), "{line}");
    }
    assert!(!site.prefix.exists(), "something was made");
    assert_eq!(fleet.muster_json(&["token", "list"])["tokens"].as_array().unwrap().len(), 1);
    site.run(&script).succeeded();
    comes_online(&fleet, &site, "alpha");
}

#[test]
fn a_renewed_script_gives_the_host_a_new_identity_and_the_old_script_is_worth_nothing() {
    let fleet = fleet();
    let downloader = if find("curl").is_some() { "curl" } else { "wget" };
    let site = Site::new(&fleet, "alpha", &[downloader]);
    let old = site.script(&fleet, "alpha");
    // The prefix is the one of before, and the token of the first script dies.
    let renewed = fleet.muster(&["connector", "add", "alpha", "--renew"]).succeeded().stdout;
    site.run(&old).ended_with(NOT_ENROLLED).explaining("is not valid").explaining("muster connector add alpha --renew");
    site.is_bare();
    site.run(&renewed).succeeded();
    comes_online(&fleet, &site, "alpha");
    let certificate = || fs::read(site.prefix.join("state/identity/cert.pem")).unwrap();
    let (first, pids) = (certificate(), site.pids());

    let renewed = fleet.muster(&["connector", "add", "alpha", "--renew"]).succeeded().stdout;
    let output = site.run(&renewed).succeeded();
    assert!(output.stdout.contains("replacing the identity"), "{output:?}");
    assert_ne!(certificate(), first);
    assert_ne!(site.pids(), pids, "the agent goes on with the old identity");
    comes_online(&fleet, &site, "alpha");
}

#[test]
fn success_is_the_servers_word() {
    let fleet = fleet();
    let downloader = if find("curl").is_some() { "curl" } else { "wget" };
    let site = Site::new(&fleet, "alpha", &[downloader]);
    let output = site.run(&site.script(&fleet, "alpha")).succeeded();
    assert!(output.stdout.contains("confirmed by the server"), "{output:?}");
    // Without any waiting: what the script says has happened.
    let view = fleet.connector("alpha");
    assert!(view["link"] == "online" && !view["last_sync"].is_null(), "{view}");
}

/// The same script for the folder of another host.
fn moved(script: &str, from: &Site, to: &Site) -> String {
    let moved = script.replace(from.prefix.to_str().unwrap(), to.prefix.to_str().unwrap());
    assert_ne!(moved, script);
    moved
}

#[test]
fn a_used_token_is_named_and_nothing_is_left_behind() {
    let fleet = fleet();
    let downloader = if find("curl").is_some() { "curl" } else { "wget" };
    let [first, second] = ["first", "second"].map(|name| Site::new(&fleet, name, &[downloader]));
    let script = first.script(&fleet, "alpha");
    first.run(&script).succeeded();
    comes_online(&fleet, &first, "alpha");
    let output = second.run(&moved(&script, &first, &second)).ended_with(NOT_ENROLLED);
    // For another folder it would not even work unused.
    output.explaining("the enrolment token was used already").explaining("muster connector add alpha --renew");
    second.is_bare();
    assert_eq!(fleet.connector("alpha")["link"], "online");
}

#[test]
fn an_agent_that_cannot_be_had_or_is_another_one_is_not_installed() {
    let mut fleet = fleet();
    let downloader = if find("curl").is_some() { "curl" } else { "wget" };
    let site = Site::new(&fleet, "alpha", &[downloader]);
    let script = site.script(&fleet, "alpha");

    let bare = Site::new(&fleet, "no-downloader", &[]);
    let refused =
        bare.run(&moved(&script, &site, &bare)).ended_with(HOST_LACKS).explaining("cannot be a connector yet");
    assert!(line(&refused.stdout, "tools").contains("curl or wget is needed"), "{refused:?}");
    bare.is_bare();

    let digest = script.lines().find(|line| line.starts_with("AGENT_SHA256=")).unwrap();
    let other = script.replace(digest, &format!("AGENT_SHA256='{}'", "0".repeat(64)));
    site.run(&other).ended_with(NOT_DOWNLOADED).explaining("is not the announced one");
    site.is_bare();

    // An authority that is not the one of the fingerprint, and a server that the script's authority does not vouch for.
    let stranger = Fleet::init();
    let damaged = script.replace(fleet.ca_pem().trim_end(), stranger.ca_pem().trim_end());
    assert_ne!(damaged, script);
    site.run(&damaged).ended_with(DAMAGED).explaining("this script is damaged");
    let fingerprint = |pem: &str| certificate_id(&certificate::first_from_pem(pem).unwrap());
    let trusting = damaged.replace(&fingerprint(&fleet.ca_pem()), &fingerprint(&stranger.ca_pem()));
    let refused = site.run(&trusting).ended_with(NOT_DOWNLOADED).explaining("cannot download the agent");
    assert!(line(&refused.stdout, "tls").starts_with("FAIL"), "{refused:?}");
    site.is_bare();

    fleet.kill();
    let refused = site.run(&script).ended_with(NOT_DOWNLOADED).explaining("cannot download the agent");
    let tcp = line(&refused.stdout, "tcp");
    assert!(tcp.starts_with("FAIL") && tcp.contains("check that this host reaches"), "{tcp}");
    site.is_bare();

    // All of that left the token good.
    fleet.serve();
    site.run(&script).succeeded();
    comes_online(&fleet, &site, "alpha");
}
