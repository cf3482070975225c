//! The script of `muster connector add`, ended from outside while it waits for a server that says nothing: at each of its
//! connections, by each signal that ends a shell.
#![allow(clippy::unwrap_used, reason = "a test stops at what it cannot set up")]

use muster_tests::eventually::eventually;
use muster_tests::fleet::{Fleet, Gate, Process, Rule, Site, find};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::Read;
use std::net::{Shutdown, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);
/// Shorter than any time that the script gives the server, and what a busy machine takes to end a shell.
const AT_ONCE: Duration = Duration::from_secs(10);

fn downloader() -> &'static str {
    if find("curl").is_some() { "curl" } else { "wget" }
}

/// The same script, through the gate.
fn through(script: &str, fleet: &Fleet, gate: &Gate) -> String {
    let [server, gate] = [fleet.address(), gate.address()].map(|address| format!("localhost:{}", address.port()));
    let moved = script.replace(&server, &gate);
    assert_ne!(moved, script);
    moved
}

fn send(process: &Process, signal: Signal) {
    kill_process(Pid::from_raw(process.pid().try_into().unwrap()).unwrap(), signal).unwrap();
}

/// Everything below a folder.
fn below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            found.push(entry.path());
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(entry.path());
            }
        }
    }
    found
}

/// How many connections the script makes until it enrols: as many as a rehearsal, which does everything else.
fn connections_before_enrolment(site: &Site, script: &str, gate: &Gate) -> usize {
    gate.let_through(Rule::All);
    let before = gate.passed();
    site.run_with(script, &["--dry-run"]).succeeded();
    // The script may end before the gate has seen its last connection; they are seen in the order in which they came.
    let mut last = TcpStream::connect(gate.address()).unwrap();
    last.shutdown(Shutdown::Write).unwrap();
    // Its end or its reset: either comes from behind the gate.
    let _ = last.read_to_end(&mut Vec::new());
    gate.passed() - before - 1
}

fn token(script: &str) -> &str {
    let token = script.lines().find(|line| line.starts_with("mst1_")).unwrap();
    assert!(token.len() > 40, "{token}");
    token
}

/// Begins the script and waits until its `last` connection but none before hears nothing.
fn held(site: &Site, script: &str, gate: &Gate, last: usize) -> Process {
    let held = gate.held();
    gate.let_through(Rule::First(last));
    let mut process = site.begin(script);
    eventually("the server is silent", SOON, || match process.ended() {
        Some(status) => panic!("the script ended with {status} before its connection {last}"),
        None if gate.held() > held => Ok(()),
        None => Err("nobody has come"),
    });
    process
}

#[test]
fn whoever_ends_the_script_does_not_wait_and_finds_nothing_left() {
    let fleet = Fleet::offering();
    let site = Site::new(&fleet, "alpha", &[downloader()]);
    let gate = Gate::open(fleet.address(), Rule::All);
    let script = through(&site.script(&fleet, "alpha"), &fleet, &gate);
    let before = connections_before_enrolment(&site, &script, &gate);
    assert!(before >= 3, "a check, a download and what the agent checks: {before}");
    // Each connection once; the last one is the enrolment, for which each signal is tried.
    let signals = [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT];
    let each = (0..before).zip(signals.iter().cycle()).chain(signals.iter().map(|signal| (before, signal)));
    for (last, &signal) in each {
        let mut process = held(&site, &script, &gate, last);
        assert!(!below(site.home()).is_empty(), "the script has its files elsewhere, so this test sees nothing");
        send(&process, signal);
        let status = process.wait(AT_ONCE);
        assert_eq!(status.code(), Some(128 + signal.as_raw()), "{signal:?} at connection {last}");
        assert_eq!(below(site.home()), [""; 0].map(PathBuf::from), "{signal:?} at connection {last}");
        site.is_bare();
    }
    // None of that has cost the token.
    gate.let_through(Rule::All);
    site.run(&script).succeeded();
    site.comes_online(&fleet, "alpha");
}

#[test]
fn a_script_whose_reader_is_gone_cleans_up_too() {
    let fleet = Fleet::offering();
    let site = Site::new(&fleet, "alpha", &[downloader()]);
    let file = fleet.root().join("alpha.sh");
    fs::write(&file, site.script(&fleet, "alpha")).unwrap();
    // As when an ssh breaks: the next word of the script finds nobody.
    let unheard = "TMPDIR=\"$HOME\" /bin/sh \"$0\" | true";
    site.start("/bin/sh", &["-c", unheard, file.to_str().unwrap()]).succeeded();
    assert_eq!(below(site.home()), [""; 0].map(PathBuf::from));
    assert_eq!(fleet.muster_json(&["token", "list"])["tokens"].as_array().unwrap().len(), 1, "the token is good");
}

#[test]
fn what_sigkill_leaves_has_no_token_and_is_this_users_alone() {
    let fleet = Fleet::offering();
    let site = Site::new(&fleet, "alpha", &[downloader()]);
    let gate = Gate::open(fleet.address(), Rule::All);
    let direct = site.script(&fleet, "alpha");
    let script = through(&direct, &fleet, &gate);
    let before = connections_before_enrolment(&site, &script, &gate);
    let mut process = held(&site, &script, &gate, before);
    send(&process, Signal::KILL);
    process.wait(AT_ONCE);
    let left = below(site.home());
    let inside: Vec<&PathBuf> = left.iter().filter(|path| !path.starts_with(site.prefix())).collect();
    assert!(inside.len() > 1, "a folder with the authority, at least: {left:?}");
    for path in inside {
        let mode = fs::metadata(path).unwrap().permissions().mode() & 0o077;
        assert_eq!(mode, 0, "{} is open to others", path.display());
    }
    let token = token(&script).as_bytes();
    for path in left.iter().filter(|path| path.is_file()) {
        let bytes = fs::read(path).unwrap();
        assert!(!bytes.windows(token.len()).any(|part| part == token), "{} holds the token", path.display());
    }
    // The agent that was enrolling may still ask; the gate answers it with the end. The next run goes on.
    drop(gate);
    site.run(&direct).succeeded();
    site.comes_online(&fleet, "alpha");
}
