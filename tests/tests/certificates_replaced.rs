//! What was replaced or revoked never comes back: not for a thief, not with a restored backup, not in a rotation of the
//! authority. And what is good stays good through all of these.
#![allow(clippy::unwrap_used, reason = "a test stops at what it cannot set up")]

use muster_runtime::clock::Clock;
use muster_tests::client::{Credentials, Mqtt, Raw, Version, connect_packet};
use muster_tests::eventually::eventually;
use muster_tests::fleet::{Fleet, Host};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);
/// Whoever shows a replaced certificate is out by then, once that it is replaced is on the disk.
const OUT: Duration = Duration::from_secs(1);
/// A renewal writes to the disk a few times; it takes no longer than so many of another client's requests, which wait for
/// the same disk.
const WRITES: u32 = 10;
const LET_IN: [u8; 4] = [0x20, 2, 0, 0];
const NOT_AUTHORIZED: [u8; 4] = [0x20, 2, 0, 5];
/// Exit code of the command line: the server is not reached, or ends the connection.
const UNREACHABLE: i32 = 3;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Connects as the thing, and what CONNACK says.
fn knock(fleet: &Fleet, credentials: &Credentials, client_id: &str) -> (Raw, Vec<u8>) {
    let mut raw = Raw::connect(fleet.address(), credentials, &[b"mqtt"]).unwrap();
    raw.send(&connect_packet(client_id)).unwrap();
    let heard = raw.hear(4, SOON).bytes;
    (raw, heard)
}

#[track_caller]
fn online(fleet: &Fleet, host: &Host) -> Value {
    eventually(&format!("{} is online", host.name()), SOON, || match fleet.connector(host.name()) {
        view if view["link"] == "online" => Ok(view),
        view => Err(format!("{view}; its log:\n{}", host.log())),
    })
}

/// Restores a backup over the fleet, whose server does not run, with the ledger that is there.
#[track_caller]
fn restore(fleet: &Fleet, file: &Path) {
    fleet.muster(&["restore", text(file), "--force"]).succeeded();
}

/// The longest that an update of a shadow took while something was done.
fn longest_write(fleet: &Fleet, credentials: &Credentials, done: impl FnOnce()) -> Duration {
    let device = Mqtt::connect(fleet.address(), credentials, "device", Version::V4);
    device.subscribe("$aws/things/device/shadow/update/accepted").unwrap();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let writing = scope.spawn(|| {
            let (clock, mut longest) = (Clock::system(), Duration::ZERO);
            while !over.load(SeqCst) {
                let began = clock.instant();
                let update = json!({ "state": { "reported": { "longest": longest.as_micros() as u64 } } });
                device.ask_accepted("$aws/things/device/shadow/update", update);
                longest = longest.max(began.elapsed());
                device.forget();
            }
            longest
        });
        let _over = Over(&over);
        done();
        over.store(true, SeqCst);
        writing.join().unwrap()
    })
}

/// Ends the writing also when the test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

#[test]
fn a_thief_with_the_old_certificate_is_refused_once_the_new_one_is_proven() {
    let mut fleet = Fleet::start();
    let mut host = fleet.enrol("web-1");
    host.run();
    online(&fleet, &host);
    let stolen = host.credentials();
    let (mut thief, heard) = knock(&fleet, &stolen, "thief");
    assert_eq!(heard, LET_IN, "until the renewal nobody can tell the two apart");
    let device = fleet.issue_cert("device", "connector");
    let write = longest_write(&fleet, &device, || {
        host.agent(&["renew"]).succeeded();
        assert!(thief.hear_all(SOON).closed, "its connection ends");
    });
    let renewed = fleet.logged(&["certificate in use", "connector=web-1"]);
    let refused = fleet.logged(&["no longer let in", "client=thief"]);
    let late = fleet.logged(&[" disconnected ", "client=thief"]).saturating_sub(refused);
    assert!(late < OUT, "its connection ended {late:?} late");
    let late = refused.saturating_sub(renewed);
    assert!(late < OUT + WRITES * write, "it was refused {late:?} late; a write takes {write:?}");
    assert_eq!(knock(&fleet, &stolen, "thief").1, NOT_AUTHORIZED);
    online(&fleet, &host);

    // It cannot renew either, and to be let in again it needs a person's yes, who is told that the key is an old one.
    assert!(Mqtt::try_connect(fleet.address(), &stolen, "web-1", Version::V5).is_err());
    fleet.restart();
    assert_eq!(knock(&fleet, &stolen, "thief").1, NOT_AUTHORIZED);
    online(&fleet, &host);
    assert_eq!(knock(&fleet, &host.credentials(), "the host itself").1, LET_IN);
}

#[test]
fn a_restored_backup_brings_no_replaced_certificate_back_and_takes_no_new_one_away() {
    let mut fleet = Fleet::start();
    let mut host = fleet.enrol("web-1");
    host.run();
    online(&fleet, &host);
    let first = host.credentials();
    let file = fleet.root().join("fleet.backup");
    fleet.muster(&["backup", text(&file)]).succeeded();

    host.agent(&["renew"]).succeeded();
    let second = host.credentials();
    fleet.kill();
    restore(&fleet, &file);
    fleet.serve();
    online(&fleet, &host);
    assert_eq!(knock(&fleet, &first, "thief").1, NOT_AUTHORIZED, "in the backup it was the one in use");
    assert_eq!(knock(&fleet, &second, "the host itself").1, LET_IN);

    // And what was revoked since: a certificate that the backup has never heard of.
    let id = muster_certs::CertificateFacts::from_pem(&second.own.as_ref().unwrap().0).unwrap().id;
    fleet.muster(&["cert", "revoke", &id]).succeeded();
    fleet.kill();
    restore(&fleet, &file);
    fleet.serve();
    for stolen in [&first, &second] {
        assert_eq!(knock(&fleet, stolen, "thief").1, NOT_AUTHORIZED);
    }
    let log = |words: &str| {
        eventually("the agent says why it is out", SOON, || match host.agent(&["status"]).succeeded().stdout.clone() {
            status if status.contains(words) => Ok(()),
            status => Err(status),
        });
    };
    log("the old certificate was revoked");
}

#[test]
fn a_backup_in_the_middle_of_a_rotation_goes_on_with_both_authorities() {
    let mut fleet = Fleet::start();
    let mut host = fleet.enrol("web-1");
    host.run();
    online(&fleet, &host);
    let file = fleet.root().join("fleet.backup");
    for phase in ["announced", "trust-both"] {
        fleet.muster_json(&["ca", "rotate", "--phase", phase]);
    }
    eventually("it trusts the new authority", SOON, || match fleet.muster_json(&["ca", "status"]) {
        status if status["trusting"] == 1 => Ok(()),
        status => Err(status.to_string()),
    });
    let before = fleet.muster_json(&["ca", "status"]);
    fleet.muster(&["backup", text(&file)]).succeeded();
    fleet.muster(&["restore", text(&file), "--verify"]).succeeded();
    fleet.kill();
    restore(&fleet, &file);
    fleet.serve();
    online(&fleet, &host);
    let after = fleet.muster_json(&["ca", "status"]);
    assert_eq!((&after["phase"], &after["roots"]), (&before["phase"], &before["roots"]));

    // The key of the authority that follows was in it.
    fleet.muster_json(&["ca", "rotate", "--phase", "switched"]);
    eventually("it renewed", SOON, || match fleet.muster_json(&["ca", "status"]) {
        status if status["renewed"] == 1 => Ok(()),
        status => Err(status.to_string()),
    });
    fleet.muster_json(&["ca", "rotate", "--phase", "retired"]);
    fleet.restart();
    online(&fleet, &host);
}

#[test]
fn operators_come_in_through_a_whole_rotation_and_revoked_ones_do_not() {
    let mut fleet = Fleet::start();
    let folder = fleet.data().join("operators");
    for name in ["ann", "mallory"] {
        fleet.muster(&["cert", "issue", "--policy", "operator", "--name", name, "--out", text(&folder)]).succeeded();
    }
    let elsewhere = fleet.issue_cert("dora", "operator");
    fleet.muster(&["cert", "revoke", text(&folder.join("mallory.crt"))]).succeeded();
    let ask = |fleet: &Fleet, name: &str| fleet.muster(&["connector", "list", "--as", name]);
    for phase in ["announced", "trust-both", "switched", "retired"] {
        let said = fleet.muster(&["ca", "rotate", "--phase", phase]).succeeded().stdout.clone();
        assert!(said.contains("back up now"), "{said}");
        assert_eq!(said.contains("issue it again before"), phase == "switched", "{said}");
        for name in ["admin", "ann"] {
            eventually("the operator is let in", SOON, || {
                let output = ask(&fleet, name);
                if output.code == Some(0) { Ok(()) } else { Err(format!("{phase}: {}", output.stderr)) }
            });
        }
        ask(&fleet, "mallory").ended_with(UNREACHABLE);
    }
    fleet.restart();
    ask(&fleet, "admin").succeeded();
    ask(&fleet, "ann").succeeded();
    ask(&fleet, "mallory").ended_with(UNREACHABLE);
    // Files that were handed out do not follow: the phase before said so.
    assert!(Mqtt::try_connect(fleet.address(), &elsewhere, "dora", Version::V5).is_err());
}
