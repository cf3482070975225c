//! A rotation of the authority under bad conditions: the server is killed inside each phase, and a host has a file of its
//! own that says whom it trusts.
#![allow(clippy::unwrap_used, reason = "a test stops at what it cannot set up")]

use muster_tests::eventually::eventually;
use muster_tests::fleet::{Fleet, Host};
use serde_json::Value;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);
const SIGKILL: i32 = 9;
const PHASES: [&str; 4] = ["announced", "trust-both", "switched", "retired"];

#[track_caller]
fn online(fleet: &Fleet, host: &Host) {
    eventually(&format!("{} is online", host.name()), SOON, || match fleet.connector(host.name()) {
        view if view["link"] == "online" => Ok(()),
        view => Err(format!("{view}; its log:\n{}", host.log())),
    });
}

/// Waits for the rotation to be so.
#[track_caller]
fn ca(fleet: &Fleet, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    eventually(what, SOON, || match fleet.muster_json(&["ca", "status"]) {
        status if is_so(&status) => Ok(status),
        status => Err(status.to_string()),
    })
}

/// Enters the phase once everybody is ready for it.
#[track_caller]
fn enter(fleet: &Fleet, phase: &str) {
    await_readiness(fleet, phase);
    fleet.muster_json(&["ca", "rotate", "--phase", phase]);
}

#[track_caller]
fn await_readiness(fleet: &Fleet, phase: &str) {
    let ready = |status: &Value| match phase {
        "switched" => status["trusting"] == status["connectors"],
        "retired" => status["trusting"] == status["connectors"] && status["renewed"] == status["connectors"],
        _ => true,
    };
    ca(fleet, &format!("everybody is ready for {phase}"), ready);
}

/// A fleet with a host that is connected, in the phase before `phase`.
fn before(phase: &str) -> (Fleet, Host) {
    let fleet = Fleet::start();
    let mut host = fleet.enrol("alpha");
    host.run();
    online(&fleet, &host);
    PHASES.iter().take_while(|one| **one != phase).for_each(|phase| enter(&fleet, phase));
    await_readiness(&fleet, phase);
    (fleet, host)
}

/// The server dies at the point on its way into the phase. Says whether it did; the phase is entered otherwise.
fn killed_at(point: &str, phase: &str) -> bool {
    let (mut fleet, mut host) = before(phase);
    let was = fleet.muster_json(&["ca", "status"]);
    fleet.stop();
    fleet.serve_with_fault(point);
    // The authority's files are changed before the answer; what follows from them is done behind it.
    let asked = fleet.muster(&["ca", "rotate", "--phase", phase]);
    let died = if asked.code == Some(0) && point.starts_with("server.ca.file") {
        fleet.assert_serving();
        fleet.kill();
        false
    } else {
        let status = fleet.wait_for_end(SOON);
        assert_eq!(status.signal(), Some(SIGKILL), "{point}: {status}");
        true
    };
    // The next start is wholly before the phase, or wholly in it; and the rotation goes on to its end from there.
    fleet.serve();
    let is = fleet.muster_json(&["ca", "status"]);
    let entered = is["phase"] == phase;
    assert!(entered || is["phase"] == was["phase"], "{point}: {was} became {is}");
    assert_eq!(
        is["roots"].as_array().unwrap().iter().filter(|root| root["issues"] == true).count(),
        1,
        "{point}: {is}"
    );
    online(&fleet, &host);
    let left = PHASES.iter().skip_while(|one| **one != phase).skip(usize::from(entered));
    left.for_each(|phase| enter(&fleet, phase));
    let end = ca(&fleet, "one authority is left", |status| status["phase"] == "retired");
    let roots = end["roots"].as_array().unwrap();
    assert!(roots.len() == 1 && roots[0]["issues"] == true, "{point}: {end}");
    // What the files say, and the host too: new connections on both sides.
    fleet.restart();
    host.kill();
    host.run();
    online(&fleet, &host);
    assert!(fleet.muster_json(&["connector", "recoveries"])["recoveries"].as_array().unwrap().is_empty(), "{point}");
    died
}

/// Kills behind each change of the authority's files on the way into the phase; there are that many.
#[track_caller]
fn killed_behind_each_change(phase: &str, changes: usize) {
    for change in 1..=changes {
        assert!(killed_at(&format!("server.ca.file:{change}"), phase), "there is no change {change} into {phase}");
    }
    let more = changes + 1;
    assert!(!killed_at(&format!("server.ca.file:{more}"), phase), "there is a change {more} into {phase}");
}

#[test]
fn a_server_killed_inside_the_announcement_goes_on() {
    // Key, word and certificate of the authority that follows, the record, the roots.
    killed_behind_each_change("announced", 5);
}

#[test]
fn a_server_killed_on_the_way_to_trusting_both_goes_on() {
    // The record.
    killed_behind_each_change("trust-both", 1);
}

#[test]
fn a_server_killed_inside_the_switch_goes_on() {
    // The record, the roots, the word, the key, and three files that go.
    killed_behind_each_change("switched", 7);
}

#[test]
fn a_server_killed_inside_the_retirement_goes_on() {
    // The record, the roots.
    killed_behind_each_change("retired", 2);
}

#[test]
fn a_server_killed_between_its_own_new_files_after_the_switch_goes_on() {
    for point in ["server.ca.own_key", "server.ca.own_certificate", "server.ca.operator"] {
        assert!(killed_at(point, "switched"));
    }
}

#[test]
fn a_host_with_its_own_ca_file_says_loudly_what_it_lacks_and_goes_on_once_it_has_it() {
    let mut fleet = Fleet::start();
    let mut host = fleet.enrol("pinned");
    let own = host.prefix().join("own-ca.pem");
    fs::write(&own, fleet.ca_pem()).unwrap();
    let settings = host.prefix().join("agent.toml");
    let text = fs::read_to_string(&settings).unwrap();
    fs::write(&settings, format!("{text}\nca_file = \"own-ca.pem\"\n")).unwrap();
    host.run();
    online(&fleet, &host);
    let authority = |host: &Host| -> Value {
        let checks = host.agent(&["check", "--json"]).json()["checks"].take();
        checks.as_array().unwrap().iter().find(|line| line["name"] == "authority").unwrap().clone()
    };
    assert_eq!(authority(&host)["verdict"], "PASS", "{}", authority(&host));
    let finding = |fleet: &Fleet| {
        let findings = fleet.muster_json(&["connector", "show", "pinned"])["findings"].take();
        findings.as_array().unwrap().iter().find(|finding| finding["about"] == "authority").cloned()
    };
    assert_eq!(finding(&fleet), None);

    enter(&fleet, "announced");
    enter(&fleet, "trust-both");
    let new = ca(&fleet, "two authorities are there", |status| status["roots"].as_array().unwrap().len() == 2);
    let new =
        new["roots"].as_array().unwrap().iter().find(|root| root["issues"] == false).unwrap()["fingerprint"].clone();
    let new = new.as_str().unwrap();
    let warning = eventually("the agent was told", SOON, || match authority(&host) {
        line if line["verdict"] == "WARN" => Ok(line),
        line => Err(line.to_string()),
    });
    assert!(warning["measured"].as_str().unwrap().contains(new), "{warning}");
    eventually("the agent says it loudly", SOON, || {
        if host.has_logged("ca_file of agent.toml") { Ok(()) } else { Err(host.log()) }
    });
    let found = eventually("the server knows it too", SOON, || finding(&fleet).ok_or("no finding"));
    assert!(found["what"].as_str().unwrap().contains(new), "{found}");
    assert!(found["next"].as_str().unwrap().contains("ca_file"), "{found}");
    // It would be cut off: the server does not do that unasked.
    fleet.muster(&["ca", "rotate", "--phase", "switched"]).ended_with(1).explaining("pinned");

    // As the check says: from where the agent keeps what it was told.
    assert!(warning["fix"].as_str().unwrap().contains("state/identity/ca.pem"), "{warning}");
    fs::copy(host.prefix().join("state/identity/ca.pem"), &own).unwrap();
    host.agent(&["reload"]).succeeded();
    enter(&fleet, "switched");
    enter(&fleet, "retired");
    fleet.restart();
    host.kill();
    host.run();
    online(&fleet, &host);
    assert_eq!((authority(&host)["verdict"].as_str(), finding(&fleet)), (Some("PASS"), None));
}
