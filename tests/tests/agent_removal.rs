//! The server orders an agent to remove itself: it does so only after the server knows, wholly, and whatever kills it on
//! the way.
#![allow(clippy::unwrap_used, reason = "a test stops at what it cannot set up")]

use muster_runtime::faults::POINTS;
use muster_tests::client::{Credentials, Mqtt, Version};
use muster_tests::eventually::eventually;
use muster_tests::fleet::{Fleet, Host};
use muster_tests::stand::{Stand, deploy};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);
const SIGKILL: i32 = 9;
const VERSION: &str = "1.0";

/// Publishes a greeter whose uninstall command ends with `code`, after it wrote a file beside the prefix.
fn publish(fleet: &Fleet, code: i32) {
    let dir = fleet.package(VERSION, true);
    let recipe = fs::read_to_string(dir.join("component.toml")).unwrap();
    let script =
        format!("echo gone >../../../../$(basename $(dirname $(dirname $(dirname $PWD)))).farewell; exit {code}");
    let command = format!("\n[uninstall]\ncommand = [\"/bin/sh\", \"-c\", \"{script}\"]\n");
    fs::write(dir.join("component.toml"), recipe + &command).unwrap();
    fleet.muster(&["component", "publish", dir.to_str().unwrap()]).succeeded();
}

/// What the uninstall command of a host's component wrote.
fn farewell(host: &Host) -> PathBuf {
    host.prefix().with_extension("farewell")
}

fn order(fleet: &Fleet, host: &Host, job: &str, purge: bool) {
    let document = fleet.root().join(format!("{job}.json"));
    fs::write(&document, json!({ "operation": "uninstall", "purge": purge }).to_string()).unwrap();
    let document = document.to_str().unwrap();
    fleet.muster(&["job", "create", job, "--to-things", host.name(), "--document", document]).succeeded();
}

/// The identity of a host, to look at its job with when the host has none any more.
fn identity(fleet: &Fleet, host: &Host) -> Credentials {
    let read = |name: &str| fs::read_to_string(host.prefix().join("state/identity").join(name)).unwrap();
    Credentials { ca_pem: fleet.ca_pem(), own: Some((read("cert.pem"), read("key.pem"))) }
}

/// Somebody who hears how jobs end.
fn observer(fleet: &Fleet) -> Mqtt {
    let observer = Mqtt::connect(fleet.address(), &fleet.issue_cert("wall", "observer"), "wall", Version::V5);
    observer.subscribe("$aws/events/jobExecution/#").expect("an observer may read this");
    observer
}

/// How the execution of a job ended, as the server announces it after the agent has said so.
#[track_caller]
fn end(observer: &Mqtt, job: &str, how: &str) -> Value {
    observer.wait_for_topic(&format!("$aws/events/jobExecution/{job}/{how}")).json()
}

/// The prefix is gone, and the components were taken along.
#[track_caller]
fn is_gone(host: &Host) {
    assert!(!host.prefix().exists(), "{:?}", fs::read_dir(host.prefix()).map(|all| all.flatten().collect::<Vec<_>>()));
    assert!(farewell(host).exists(), "the uninstall command was run");
    assert_eq!(host.component_pids(), [0; 0]);
}

#[test]
fn an_agent_killed_at_any_moment_of_its_removal_finishes_it_at_the_next_start() {
    let fleet = Fleet::start();
    publish(&fleet, 0);
    let observer = observer(&fleet);
    for point in POINTS.into_iter().filter(|point| point.starts_with("uninstall.")) {
        let mut host = fleet.enrol(&point.replace(['.', '_'], "-"));
        host.run();
        deploy(&fleet, &host, VERSION);
        host.kill();
        host.run_with_fault(point);
        let job = format!("go-{}", host.name());
        order(&fleet, &host, &job, true);
        let status = host.wait_for_end(SOON);
        assert_eq!(status.signal(), Some(SIGKILL), "{point}: {status}");
        assert!(host.prefix().join("state/removal.json").exists(), "{point}");
        host.run();
        let status = host.wait_for_end(SOON);
        assert!(status.success(), "{point}: {status}; {}", host.log());
        is_gone(&host);
        let details = end(&observer, &job, "succeeded")["statusDetails"].take();
        for part in ["component greeter (", "identity "] {
            assert!(details["removed"].as_str().unwrap().contains(part), "{point}: {details}");
        }
        assert_eq!(details["kept"], "nothing", "{point}: {details}");
    }
}

#[test]
fn components_stay_unless_they_are_to_be_purged() {
    let fleet = Fleet::start();
    publish(&fleet, 0);
    let observer = observer(&fleet);
    let mut host = fleet.enrol("alpha");
    host.run();
    let stand = deploy(&fleet, &host, VERSION);
    order(&fleet, &host, "go", false);
    assert!(host.wait_for_end(SOON).success());
    let left: Vec<_> = fs::read_dir(host.prefix()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["components"]);
    assert_eq!(Stand::of(&host), Ok(stand.clone()));
    assert!(!farewell(&host).exists());
    let execution = end(&observer, "go", "succeeded");
    let kept = execution["statusDetails"]["kept"].as_str().unwrap();
    assert!(kept.starts_with(&format!("component greeter 1.0, process {} (", stand.pid)), "{kept}");
}

#[test]
fn a_component_that_cannot_be_removed_keeps_the_agent() {
    let fleet = Fleet::start();
    publish(&fleet, 2);
    let observer = observer(&fleet);
    let mut host = fleet.enrol("alpha");
    host.run();
    deploy(&fleet, &host, VERSION);
    order(&fleet, &host, "go", true);
    eventually("the agent has given up and works on", SOON, || {
        let record = host.prefix().join("state/removal.json");
        if farewell(&host).exists() && !record.exists() { Ok(()) } else { Err(host.log()) }
    });
    // What was stopped for it runs again.
    Stand::settled(&fleet, &host, VERSION);
    assert!(host.is_running());
    let execution = end(&observer, "go", "failed");
    let reason = execution["statusDetails"]["reason"].as_str().unwrap();
    assert!(reason.starts_with("component greeter cannot be removed: its uninstall command failed"), "{reason}");
}

#[test]
fn a_removal_waits_for_the_server_to_know() {
    let mut fleet = Fleet::start();
    publish(&fleet, 0);
    let mut host = fleet.enrol("alpha");
    host.run();
    deploy(&fleet, &host, VERSION);
    host.kill();
    let identity = identity(&fleet, &host);
    host.run_with_fault("uninstall.before_report");
    order(&fleet, &host, "go", true);
    host.wait_for_end(SOON);
    fleet.kill();
    host.run();
    eventually("the agent has tried to tell", SOON, || {
        let status = host.agent(&["status"]).succeeded().stdout;
        if status.contains("not connected to the server") { Ok(()) } else { Err(status) }
    });
    assert!(host.is_running() && host.prefix().join("state/identity/key.pem").exists());
    fleet.serve();
    assert!(host.wait_for_end(SOON).success());
    is_gone(&host);
    let thing = Mqtt::connect(fleet.address(), &identity, "reader", Version::V5);
    let over = thing.ask("$aws/things/alpha/jobs/go/get", json!({})).expect("an answer").expect_err("it is over");
    assert_eq!(over["message"], "The execution of job go is over: SUCCEEDED");
}
