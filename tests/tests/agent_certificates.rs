//! The life of a connector's certificate: renewed under load, killed at every step, replaced with its authority, let in
//! again after its end, and untouched by clocks that are wrong.
#![allow(clippy::unwrap_used, reason = "a test stops at what it cannot set up")]

use muster_certs::CertificateFacts;
use muster_runtime::clock::Clock;
use muster_runtime::faults::{RENEWAL_POINTS, SERVER_RENEWAL_POINTS};
use muster_tests::client::{Mqtt, Version};
use muster_tests::eventually::eventually;
use muster_tests::fleet::{Fleet, Host};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::thread;
use std::time::Duration;

const SIGKILL: i32 = 9;
/// Longer than a short certificate lives, and what a busy machine takes besides.
const SOON: Duration = Duration::from_secs(240);
/// A renewal is due within half a minute, and as long again is left for an agent that starts on a busy machine.
const SHORT: &str = "\"50s\"";
const YEAR_S: i64 = 365 * 86_400;

/// A fleet whose certificates are short.
fn short_lived() -> Fleet {
    let mut fleet = Fleet::init();
    fleet.configure("life", SHORT);
    fleet.serve();
    fleet
}

/// The certificate in one of the host's folders of identities.
fn certificate_in(host: &Host, folder: &str) -> Result<CertificateFacts, String> {
    let path = host.prefix().join("state").join(folder).join("cert.pem");
    let pem = fs::read_to_string(path).map_err(|error| error.to_string())?;
    CertificateFacts::from_pem(&pem).map_err(|error| error.to_string())
}

/// The certificate in use; in the moment of an exchange there is none.
#[track_caller]
fn certificate(host: &Host) -> CertificateFacts {
    eventually(&format!("{} has a certificate", host.name()), SOON, || certificate_in(host, "identity"))
}

fn online(fleet: &Fleet, host: &Host) {
    eventually(&format!("{} is online", host.name()), SOON, || match fleet.connector(host.name())["link"].as_str() {
        Some("online") => Ok(()),
        other => Err(format!("{other:?}; its log:\n{}", host.log())),
    });
}

fn another_certificate(host: &Host, than: &str) -> String {
    eventually(&format!("{} has another certificate", host.name()), SOON, || {
        let facts = certificate_in(host, "identity")?;
        if facts.id == than { Err(format!("the same; its log:\n{}", host.log())) } else { Ok(facts.id) }
    })
}

fn ca(fleet: &Fleet, what: &str, done: impl Fn(&Value) -> bool) -> Value {
    eventually(what, SOON, || {
        let status = fleet.muster_json(&["ca", "status"]);
        if done(&status) { Ok(status) } else { Err(status.to_string()) }
    })
}

fn recoveries(fleet: &Fleet) -> Vec<Value> {
    fleet.muster_json(&["connector", "recoveries"])["recoveries"].as_array().unwrap().clone()
}

fn log_says(host: &Host, words: &str) {
    eventually(&format!("the log of {} says {words:?}", host.name()), SOON, || {
        if host.has_logged(words) { Ok(()) } else { Err(host.log()) }
    });
}

/// Its certificate is short: it runs before anybody else is enrolled.
#[track_caller]
fn enrolled_and_run(fleet: &Fleet, name: &str) -> Host {
    let mut host = fleet.enrol(name);
    host.run();
    host
}

#[test]
fn certificates_are_renewed_under_load_and_no_update_is_lost() {
    let fleet = short_lived();
    let hosts = ["load-1", "load-2", "load-3"].map(|name| enrolled_and_run(&fleet, name));
    let credentials = fleet.issue_cert("device-1", "connector");
    let device = Mqtt::connect(fleet.address(), &credentials, "device-1", Version::V4);
    device.subscribe("$aws/things/device-1/shadow/#").unwrap();
    let mut seen: Vec<BTreeSet<String>> = hosts.iter().map(|host| [certificate(host).id].into()).collect();
    let mut updates = 0;
    eventually("every host renewed three times", 2 * SOON, || {
        for _ in 0..20 {
            updates += 1;
            let update = json!({ "state": { "reported": { "count": updates } } });
            device.ask_accepted("$aws/things/device-1/shadow/update", update);
        }
        for (host, seen) in hosts.iter().zip(&mut seen) {
            seen.extend(certificate_in(host, "identity").map(|facts| facts.id));
        }
        let renewed: Vec<usize> = seen.iter().map(|seen| seen.len() - 1).collect();
        if renewed.iter().all(|times| *times >= 3) { Ok(()) } else { Err(format!("{renewed:?}")) }
    });
    let shadow = device.ask_accepted("$aws/things/device-1/shadow/get", json!({}));
    assert_eq!(shadow["state"]["reported"]["count"], updates);
    assert_eq!(shadow["version"], updates);
    hosts.iter().for_each(|host| online(&fleet, host));
    assert!(recoveries(&fleet).is_empty());
}

#[test]
fn a_renewal_that_somebody_wants_does_not_wait() {
    let fleet = Fleet::start();
    let mut host = fleet.enrol("wanted");
    host.run();
    online(&fleet, &host);
    let before = certificate(&host).id;
    let mut command = std::process::Command::new(&fleet.programs().agent);
    command.arg("renew").arg("--prefix").arg(host.prefix());
    muster_tests::fleet::Output::of(command, SOON).succeeded();
    assert_ne!(certificate(&host).id, before);
    online(&fleet, &host);
}

#[test]
fn an_agent_killed_at_each_step_of_a_renewal_has_a_working_identity() {
    let fleet = short_lived();
    let killed_at = |point: &str| {
        let mut host = fleet.enrol(&point.replace(['.', '_'], "-"));
        host.run_with_fault(point);
        let status = host.wait_for_end(SOON);
        assert_eq!(status.signal(), Some(SIGKILL), "{point}: {status}");
        host.run();
        online(&fleet, &host);
        let found = certificate(&host).id;
        another_certificate(&host, &found);
    };
    thread::scope(|scope| {
        for point in RENEWAL_POINTS {
            scope.spawn(move || killed_at(point));
        }
    });
}

#[test]
fn a_server_killed_at_each_step_of_a_renewal_leaves_a_working_identity() {
    let killed_at = |point: &str| {
        let mut fleet = short_lived();
        let mut host = fleet.enrol("host-1");
        let before = certificate(&host).id;
        fleet.stop();
        fleet.serve_with_fault(point);
        host.run();
        let status = fleet.wait_for_end(SOON);
        assert_eq!(status.signal(), Some(SIGKILL), "{point}: {status}");
        fleet.serve();
        another_certificate(&host, &before);
        online(&fleet, &host);
    };
    thread::scope(|scope| {
        for point in SERVER_RENEWAL_POINTS {
            scope.spawn(move || killed_at(point));
        }
    });
}

#[test]
fn the_authority_is_replaced_with_three_connected_and_one_offline() {
    let mut fleet = Fleet::start();
    let mut hosts: Vec<Host> = ["a", "b", "c"].map(|name| fleet.enrol(name)).into();
    hosts.iter_mut().for_each(Host::run);
    let mut offline = fleet.enrol("offline");
    hosts.iter().for_each(|host| online(&fleet, host));

    fleet.muster(&["ca", "rotate", "--phase", "retired"]).ended_with(1).explaining("the next phase is announced");
    // Without a phase each run would take it one step further: somebody has to say so.
    let unsaid = fleet.muster(&["ca", "rotate"]).ended_with(2).stderr;
    assert!(unsaid.contains("to announced: a new authority is made") && unsaid.contains("--yes"), "{unsaid}");
    fleet.muster_json(&["ca", "rotate", "--yes"]);
    ca(&fleet, "those that are connected trust the new authority", |status| status["trusting"] == 3);
    fleet.muster_json(&["ca", "rotate", "--phase", "trust-both"]);
    fleet.muster_json(&["ca", "rotate", "--phase", "switched"]);
    ca(&fleet, "those that are connected renewed", |status| status["renewed"] == 3);
    fleet.muster(&["ca", "rotate", "--phase", "retired"]).ended_with(1).explaining("offline");

    // It knows only the old authority, and the server shows a certificate of the new one.
    offline.run();
    online(&fleet, &offline);
    ca(&fleet, "the one that was off caught up", |status| status["renewed"] == 4 && status["trusting"] == 4);
    let left_behind = fleet.enrol("left-behind");
    drop(left_behind);
    fleet.muster_json(&["connector", "show", "left-behind"]);
    fleet.muster_json(&["ca", "rotate", "--phase", "retired", "--force"]);
    fleet.restart();
    hosts.iter().chain([&offline]).for_each(|host| online(&fleet, host));
    let status = fleet.muster_json(&["ca", "status"]);
    assert_eq!(status["roots"].as_array().unwrap().len(), 1);
}

#[test]
fn a_host_that_missed_a_whole_rotation_comes_back_after_a_yes_only() {
    let fleet = Fleet::start();
    let mut host = fleet.enrol("missed");
    // A certificate that was never in use is no proof of anything.
    host.run();
    online(&fleet, &host);
    host.kill();
    for phase in ["announced", "trust-both", "switched"] {
        fleet.muster_json(&["ca", "rotate", "--phase", phase]);
    }
    fleet.muster_json(&["ca", "rotate", "--phase", "retired", "--force"]);
    host.run();
    comes_back_after_a_yes(&fleet, &host, "retired authority");
}

#[test]
fn a_host_whose_certificate_has_ended_comes_back_after_a_yes_only() {
    let fleet = short_lived();
    let mut host = enrolled_and_run(&fleet, "ended");
    online(&fleet, &host);
    host.kill();
    // It may have died in the middle of a renewal, with a certificate that it would go on with.
    let held = ["identity", "identity.next", "identity.new"].map(|folder| certificate_in(&host, folder));
    let end = held.iter().flatten().map(|facts| facts.not_after).max().unwrap();
    let clock = Clock::system();
    eventually("every certificate has ended", SOON, || {
        let now = clock.now().epoch_seconds();
        if now > end + 1 { Ok(()) } else { Err(format!("{} s left", end - now)) }
    });
    host.run();
    comes_back_after_a_yes(&fleet, &host, "has ended");
}

#[track_caller]
fn comes_back_after_a_yes(fleet: &Fleet, host: &Host, why: &str) {
    let name = host.name();
    fleet.muster(&["connector", "approve", name]).ended_with(1);
    let listed = eventually("it asks to be let in again", SOON, || {
        recoveries(fleet).pop().ok_or_else(|| format!("nobody; its log:\n{}", host.log()))
    });
    assert_eq!(listed["name"], *name);
    assert!(listed["why"].as_str().unwrap().contains(why), "{listed}");
    log_says(host, "it waits for an operator");
    assert_ne!(fleet.connector(name)["link"], "online");
    let key = listed["key"].as_str().unwrap();
    let other = "0".repeat(64);
    fleet.muster(&["connector", "approve", name, "--key", &other]).ended_with(1).explaining("another key");
    fleet.muster(&["connector", "approve", name, "--key", key]).succeeded();
    online(fleet, host);
    eventually("what it asked for is settled", SOON, || {
        let left = recoveries(fleet);
        if left.is_empty() { Ok(()) } else { Err(json!(left).to_string()) }
    });
}

#[test]
fn a_host_whose_clock_is_wrong_by_a_year_says_so_and_keeps_its_certificate() {
    let fleet = Fleet::start();
    let mut host = fleet.enrol("clock");
    let before = certificate(&host);
    host.run_with_clock_error(-YEAR_S);
    log_says(&host, "the clock of this host is 365 days behind the server's");
    log_says(&host, "timedatectl set-ntp true");
    host.kill();
    host.run_with_clock_error(YEAR_S);
    log_says(&host, "the clock of this host is 365 days ahead of the server's");
    // The server's certificate is still good then, and whether its own is due is asked of the server's clock.
    online(&fleet, &host);
    assert_eq!(certificate(&host), before);
    assert!(recoveries(&fleet).is_empty());
    host.kill();
    host.run();
    online(&fleet, &host);
    assert_eq!(certificate(&host), before);
}

#[test]
fn a_server_whose_clock_is_wrong_by_a_year_makes_no_host_ask_for_another_certificate() {
    let mut fleet = Fleet::start();
    let mut host = fleet.enrol("clock");
    let before = certificate(&host);
    fleet.stop();
    for (error, words) in [(YEAR_S, "365 days behind the server's"), (-YEAR_S, "365 days ahead of the server's")] {
        fleet.serve_with_clock_error(error);
        host.run();
        log_says(&host, words);
        host.kill();
        fleet.stop();
    }
    fleet.serve();
    assert!(recoveries(&fleet).is_empty());
    host.run();
    online(&fleet, &host);
    assert_eq!(certificate(&host), before);
}

#[test]
fn certificates_are_listed_by_the_time_that_is_left() {
    let fleet = Fleet::start();
    let mut host = fleet.enrol("listed");
    host.run();
    online(&fleet, &host);
    let rows = eventually("the certificate in use is listed", SOON, || {
        let rows =
            fleet.muster_json(&["certs", "expiring", "--within", "4000"])["certificates"].as_array().unwrap().clone();
        if rows.iter().any(|row| row["kind"] == "connector") { Ok(rows) } else { Err(json!(rows).to_string()) }
    });
    let kinds: Vec<&str> = rows.iter().map(|row| row["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["connector", "operator", "server", "authority"]);
    assert_eq!(rows[0]["days_left"], 29);
    assert!(fleet.muster(&["certs", "expiring", "--within", "10"]).succeeded().stdout.contains("no certificate ends"));
    fleet.muster(&["cert", "renew", "--days", "20"]).succeeded();
    fleet.muster(&["connector", "list"]).succeeded().explaining("muster cert renew --as admin");
}
