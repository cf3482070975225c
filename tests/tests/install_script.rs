//! The script of `muster connector add`, checked as text and run for real: by a user with an empty home, and with nothing
//! on the PATH but what it may need.
#![allow(clippy::unwrap_used, reason = "a test stops at what it cannot set up")]

use muster_certs::{certificate, certificate_id};
use muster_tests::eventually::eventually;
use muster_tests::fleet::{Fleet, Site, find};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(90);
/// Exit codes of the script.
const DAMAGED: i32 = 2;
const HOST_LACKS: i32 = 3;
const NOT_DOWNLOADED: i32 = 4;
const NOT_ENROLLED: i32 = 5;

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
    let fleet = Fleet::offering();
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
        site.comes_online(&fleet, downloader);
        let pids = site.pids();
        assert_eq!(pids.len(), 1, "one agent runs");
        let versions: Vec<_> = fs::read_dir(site.prefix().join("agent/versions")).unwrap().flatten().collect();
        assert_eq!(versions.len(), 1, "{versions:?}");
        let certificate = fs::read(site.prefix().join("state/identity/cert.pem")).unwrap();

        // The token is used up, but nothing needs it any more.
        let again = site.run(&script).succeeded();
        for words in ["is here already", "is enrolled already", "runs already"] {
            assert!(again.stdout.contains(words), "{words:?} is missing: {again:?}");
        }
        assert_eq!(site.pids(), pids);
        assert_eq!(fs::read(site.prefix().join("state/identity/cert.pem")).unwrap(), certificate);

        // After a reboot the same script starts the agent.
        kill_process(Pid::from_raw(pids[0]).unwrap(), Signal::KILL).unwrap();
        let process = format!("/proc/{}", pids[0]);
        // Until somebody has collected it, a dead process still has its number.
        eventually("the agent is gone", SOON, || if Path::new(&process).exists() { Err("not yet") } else { Ok(()) });
        site.run(&script).succeeded();
        site.comes_online(&fleet, downloader);
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
    let fleet = Fleet::offering();
    let downloader = if find("curl").is_some() { "curl" } else { "wget" };
    let site = Site::new(&fleet, "alpha", &[downloader]);
    let script = site.script(&fleet, "alpha");
    let rehearsed = site.run_with(&script, &["--dry-run"]).succeeded();
    for check in ["system", "memory", "disk", "rights", "path", "tools", "clock", "dns", "tcp", "tls", "mqtt"] {
        let line = line(&rehearsed.stdout, check);
        assert!(line.contains("; needed: ") && !line.starts_with("FAIL"), "{line}");
    }
    assert!(!site.prefix().exists(), "something was made");
    assert_eq!(fleet.muster_json(&["token", "list"])["tokens"].as_array().unwrap().len(), 1);
    site.run(&script).succeeded();
    site.comes_online(&fleet, "alpha");
}

#[test]
fn a_renewed_script_gives_the_host_a_new_identity_and_the_old_script_is_worth_nothing() {
    let fleet = Fleet::offering();
    let downloader = if find("curl").is_some() { "curl" } else { "wget" };
    let site = Site::new(&fleet, "alpha", &[downloader]);
    let old = site.script(&fleet, "alpha");
    // The prefix is the one of before, and the token of the first script dies.
    let renewed = fleet.muster(&["connector", "add", "alpha", "--renew"]).succeeded().stdout;
    site.run(&old)
        .ended_with(NOT_ENROLLED)
        .explaining("was replaced by a newer one")
        .explaining("connector add alpha --renew");
    site.is_bare();
    site.run(&renewed).succeeded();
    site.comes_online(&fleet, "alpha");
    let certificate = || fs::read(site.prefix().join("state/identity/cert.pem")).unwrap();
    let (first, pids) = (certificate(), site.pids());

    let renewed = fleet.muster(&["connector", "add", "alpha", "--renew"]).succeeded().stdout;
    let output = site.run(&renewed).succeeded();
    assert!(output.stdout.contains("replacing the identity"), "{output:?}");
    assert_ne!(certificate(), first);
    assert_ne!(site.pids(), pids, "the agent goes on with the old identity");
    site.comes_online(&fleet, "alpha");
}

/// Nothing listens at the proxy, so whatever asked it would fail.
#[test]
fn a_proxy_that_is_not_for_this_server_stops_nothing_and_is_named() {
    const DEAD: &str = "http://127.0.0.1:1";
    let fleet = Fleet::offering();
    let downloader = if find("curl").is_some() { "curl" } else { "wget" };
    let site = Site::new(&fleet, "inherits", &[downloader]);
    let file = site.home().join("install.sh");
    fs::write(&file, site.script(&fleet, "inherits")).unwrap();
    let behind = format!("HTTPS_PROXY={DEAD} https_proxy={DEAD} ALL_PROXY={DEAD} exec /bin/sh \"$0\"");
    let installed = site.start("/bin/sh", &["-c", &behind, file.to_str().unwrap()]).succeeded();
    let proxy = line(&installed.stdout, "proxy");
    assert!(proxy.starts_with("PASS") && proxy.contains("what is exempt by default covers it"), "{proxy}");
    site.comes_online(&fleet, "inherits");
    let settings = fs::read_to_string(site.prefix().join("agent.toml")).unwrap();
    assert!(settings.contains(&format!("\nproxy = \"{DEAD}\"")), "{settings}");

    // Given by whoever adds the connector, it is named to them, beside the script and not in its place.
    let site = Site::new(&fleet, "told", &[downloader]);
    let prefix = site.prefix().to_str().unwrap();
    let added = fleet.muster(&["connector", "add", "told", "--prefix", prefix, "--proxy", DEAD]).succeeded();
    let note = format!("The proxy {DEAD} is not used for the server ");
    assert!(added.stderr.contains(&note) && added.stderr.contains("--no-proxy none"), "{}", added.stderr);
    assert!(added.stdout.starts_with("#!/bin/sh\n"), "{}", added.stdout);
    site.run(&added.stdout).succeeded();
    site.comes_online(&fleet, "told");
    // Only who says so sends it through the proxy.
    let site = Site::new(&fleet, "through", &[downloader]);
    let script = site.script_with(&fleet, "through", &["--proxy", DEAD, "--no-proxy", "none"]);
    let refused = site.run(&script).ended_with(NOT_DOWNLOADED);
    assert!(line(&refused.stdout, "proxy").starts_with("FAIL"), "{refused:?}");
    site.is_bare();
}

#[test]
fn success_is_the_servers_word() {
    let fleet = Fleet::offering();
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
    let moved = script.replace(from.prefix().to_str().unwrap(), to.prefix().to_str().unwrap());
    assert_ne!(moved, script);
    moved
}

#[test]
fn a_used_token_is_named_and_nothing_is_left_behind() {
    let fleet = Fleet::offering();
    let downloader = if find("curl").is_some() { "curl" } else { "wget" };
    let [first, second] = ["first", "second"].map(|name| Site::new(&fleet, name, &[downloader]));
    let script = first.script(&fleet, "alpha");
    first.run(&script).succeeded();
    first.comes_online(&fleet, "alpha");
    let output = second.run(&moved(&script, &first, &second)).ended_with(NOT_ENROLLED);
    // For another folder it would not even work unused.
    output.explaining("the enrolment token was used already").explaining("muster connector add alpha --renew");
    second.is_bare();
    assert_eq!(fleet.connector("alpha")["link"], "online");
}

#[test]
fn an_agent_that_cannot_be_had_or_is_another_one_is_not_installed() {
    let mut fleet = Fleet::offering();
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
    site.comes_online(&fleet, "alpha");
}
