//! Tokens of install scripts: what they are bound to, who sees them, when they end, and that guessing gets nowhere.
#![allow(clippy::unwrap_used, reason = "a test stops at what it cannot set up")]

use muster_certs::{csr, token::Token};
use muster_runtime::ids::random_bytes;
use muster_tests::client::{Credentials, Raw};
use muster_tests::eventually::eventually;
use muster_tests::fleet::{Fleet, Output, Process};
use serde_json::{Value, json};
use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);
/// A neighbour that asks all the time takes nearly every attempt that is free.
const ROUNDS_MAX: usize = 20;
/// Exit code of the agent: the server says no.
const REFUSED: i32 = 1;

fn host(fleet: &Fleet, name: &str) -> PathBuf {
    fleet.root().join("hosts").join(name)
}

/// Adds a connector and returns its token.
#[track_caller]
fn add(fleet: &Fleet, args: &[&str]) -> String {
    let added = fleet.muster_json(&[&["connector", "add"], args].concat());
    added["token"].as_str().unwrap().to_owned()
}

/// `muster-agent enrol` of this folder.
fn enrol(fleet: &Fleet, folder: &str, name: &str, token: &str, more: &[&str]) -> Output {
    Output::of(enrolment(fleet, folder, name, token, more), SOON)
}

fn enrolment(fleet: &Fleet, folder: &str, name: &str, token: &str, more: &[&str]) -> Command {
    let prefix = host(fleet, folder);
    fs::create_dir_all(&prefix).unwrap();
    let [ca, file] = ["ca", "token"].map(|kind| fleet.root().join(format!("{folder}.{kind}")));
    fs::write(&ca, fleet.ca_pem()).unwrap();
    fs::write(&file, token).unwrap();
    let mut command = Command::new(&fleet.programs().agent);
    command.arg("enrol").arg("--prefix").arg(prefix).args(["--server", &fleet.address().to_string(), "--name", name]);
    command.arg("--ca").arg(ca).arg("--token-file").arg(file).args(more);
    command
}

fn live(fleet: &Fleet) -> Vec<Value> {
    fleet.muster_json(&["token", "list"])["tokens"].as_array().unwrap().clone()
}

#[test]
fn a_token_works_for_its_name_its_pool_and_its_prefix_only() {
    let fleet = Fleet::start();
    let prefix = host(&fleet, "right");
    let token = add(&fleet, &["alpha", "--pool", "blue", "--prefix", prefix.to_str().unwrap()]);
    fleet.add_connector("beta");
    enrol(&fleet, "right", "beta", &token, &[]).ended_with(REFUSED).explaining("for another connector");
    enrol(&fleet, "wrong", "alpha", &token, &[]).ended_with(REFUSED).explaining("for another folder");
    let red = ["--pool", "red"];
    enrol(&fleet, "right", "alpha", &token, &red).ended_with(REFUSED).explaining("for another pool");
    // The wrong ones cost it nothing; the right one spends it.
    enrol(&fleet, "right", "alpha", &token, &["--pool", "blue"]).succeeded();
    enrol(&fleet, "right", "alpha", &token, &["--force"]).ended_with(REFUSED).explaining("used already");
}

#[test]
fn operators_see_live_tokens_and_take_them_back() {
    let fleet = Fleet::start();
    let token = add(&fleet, &["alpha", "--pool", "blue", "--prefix", "/opt/muster", "--ttl", "2h"]);
    let other = fleet.add_connector("beta");
    let list = fleet.muster(&["token", "list"]).succeeded().stdout;
    for words in ["alpha", "blue", "/opt/muster", "admin", "1h 59m", "0 of 1", "beta", "any"] {
        assert!(list.contains(words), "{words:?} is missing:\n{list}");
    }
    assert!(!list.contains(&token) && !list.contains("mst1_"), "{list}");

    fleet.muster(&["token", "revoke", "beta"]).succeeded();
    enrol(&fleet, "beta", "beta", &other, &[]).ended_with(REFUSED).explaining("was revoked");
    assert_eq!(live(&fleet).len(), 1);
    fleet.muster(&["token", "revoke", "beta"]).ended_with(1).explaining("no live token");

    // Renewing kills the old token: there is one of each connector.
    let renewed = add(&fleet, &["alpha", "--renew", "--prefix", host(&fleet, "alpha").to_str().unwrap()]);
    let alive = live(&fleet);
    assert_eq!((alive.len(), &alive[0]["connector"]), (1, &json!("alpha")));
    enrol(&fleet, "alpha", "alpha", &token, &[]).ended_with(REFUSED).explaining("was replaced by a newer one");
    enrol(&fleet, "alpha", "alpha", &renewed, &[]).succeeded();
    assert!(live(&fleet).is_empty());
    let all = fleet.muster_json(&["token", "list", "--all"]);
    let of = |state: &str| all["tokens"].as_array().unwrap().iter().find(|token| token["state"] == state).unwrap();
    let used = of("used");
    assert_eq!((&used["uses"], &used["used_from"]), (&json!(1), &json!("127.0.0.1")));
    assert_eq!((&of("revoked")["connector"], &of("replaced")["connector"]), (&json!("beta"), &json!("alpha")));
    let text = fleet.muster(&["token", "list", "--all"]).succeeded().stdout;
    assert!(text.contains("replaced") && text.contains("revoked"), "{text}");
}

#[test]
fn an_expired_token_is_refused_with_what_to_do() {
    let fleet = Fleet::start();
    let token = add(&fleet, &["alpha", "--ttl", "10s"]);
    fleet.muster(&["connector", "add", "beta", "--ttl", "9s"]).ended_with(2).explaining("from 10 seconds to 24 hours");
    fleet.muster(&["connector", "add", "beta", "--ttl", "25h"]).ended_with(2).explaining("from 10 seconds to 24 hours");
    eventually("the token has expired", SOON, || match live(&fleet).as_slice() {
        [] => Ok(()),
        alive => Err(json!(alive).to_string()),
    });
    let refused = enrol(&fleet, "alpha", "alpha", &token, &[]).ended_with(REFUSED);
    refused.explaining("has expired").explaining("muster connector add alpha --renew");
}

#[test]
fn a_preview_makes_no_token_and_no_connector() {
    let fleet = Fleet::start();
    let script = fleet.muster(&["connector", "add", "alpha", "--preview"]).succeeded().stdout;
    assert!(script.contains("mst1_****") && script.starts_with("#!/bin/sh"), "{script}");
    assert!(live(&fleet).is_empty());
    fleet.muster(&["connector", "show", "alpha"]).ended_with(1).explaining("no connector is called alpha");
    let windows = fleet.muster(&["connector", "add", "alpha", "--preview", "--windows"]).succeeded().stdout;
    assert!(windows.contains("$ErrorActionPreference") && windows.contains("mst1_****"), "{windows}");
}

#[test]
fn a_connector_gets_what_it_was_added_with() {
    let fleet = Fleet::start();
    fleet.publish("1.0", true);
    fleet
        .muster(&["connector", "add", "beta", "--component", "greeter=2.0"])
        .ended_with(1)
        .explaining("greeter has no version 2.0");
    let token = add(&fleet, &["alpha", "--component", "greeter=1.0"]);
    let mut agent = muster_tests::fleet::Host::enrol(&fleet, "alpha", &token);
    agent.run();
    eventually("the component is confirmed", SOON, || {
        let view = fleet.connector("alpha");
        if view["components"]["greeter"]["confirmed"] == "1.0" { Ok(()) } else { Err(view.to_string()) }
    });
}

/// One request after the other on one connection: the status of each, and whether it says when to come back.
struct Guesser {
    connection: Raw,
    csr: String,
}

impl Guesser {
    fn guess(&mut self) -> (u16, bool) {
        let guess = Token::from_random(random_bytes());
        let body = json!({ "token": guess.reveal(), "name": "alpha", "csr": self.csr, "host": {} }).to_string();
        let head = format!(
            "POST /v1/enrol HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        self.connection.send(format!("{head}{body}").as_bytes()).unwrap();
        let mut text = String::new();
        loop {
            let heard = self.connection.hear(1, SOON);
            text.push_str(&String::from_utf8(heard.bytes).unwrap());
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let lines = || head.lines().map(str::to_lowercase);
            let length: usize = lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap();
            if body.len() >= length {
                let status = head.get(9..12).unwrap().parse().unwrap();
                return (status, lines().any(|line| line.starts_with("retry-after: ")));
            }
            assert!(!heard.closed, "the server hung up after {text:?}");
        }
    }
}

#[test]
fn a_thousand_guesses_are_refused_throttled_and_logged_and_cost_nobody_else_anything() {
    let fleet = Fleet::start();
    let token = fleet.add_connector("alpha");
    let source: IpAddr = "127.0.0.2".parse().unwrap();
    let tls = Credentials { ca_pem: fleet.ca_pem(), own: None }.tls(&[b"http/1.1"]);
    let connection = Raw::from_source(source, fleet.address(), tls).unwrap();
    let mut guesser = Guesser { connection, csr: csr("alpha").unwrap().0 };
    let answers: Vec<(u16, bool)> = (0..1000).map(|_| guesser.guess()).collect();
    assert!(answers.iter().all(|(status, _)| [403, 429].contains(status)), "a guess was not refused");
    let throttled = answers.iter().filter(|(status, retry_after)| *status == 429 && *retry_after).count();
    // Ten at once, then one a second: a machine that needs a minute for all of it lets 70 through to a refusal.
    assert!(throttled > 800, "only {throttled} of 1000 guesses were throttled");

    // The owner of the token, from another address, notices nothing.
    let enrolled = enrol(&fleet, "alpha", "alpha", &token, &[]).succeeded();
    assert!(!enrolled.stderr.contains("busy"), "{enrolled:?}");
    let log = fs::read_to_string(fleet.root().join("logs/server.log")).unwrap();
    let said = |words: &str| log.lines().any(|line| line.contains(words) && line.contains("127.0.0.2"));
    assert!(said("enrolment refused") && said("throttled"), "the log does not name the guesser");
    assert!(!log.contains("mst1_"), "the log holds a token");
    let named = log.lines().filter(|line| line.contains("throttled")).count();
    assert!(named <= 20, "the guesser fills the log: {named} lines");
}

/// Ends the guessing also when the test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

#[test]
fn a_throttled_host_waits_as_it_is_told_and_enrols_in_the_end() {
    let fleet = Fleet::start();
    let mut token = fleet.add_connector("alpha");
    let tls = Credentials { ca_pem: fleet.ca_pem(), own: None }.tls(&[b"http/1.1"]);
    let connection = Raw::from_source("127.0.0.1".parse().unwrap(), fleet.address(), tls).unwrap();
    let mut guesser = Guesser { connection, csr: csr("alpha").unwrap().0 };
    // A neighbour behind the same address uses up what the address may try, until the host has been told to wait.
    while guesser.guess().0 != 429 {}
    let waits = AtomicBool::new(false);
    thread::scope(|scope| {
        let over = Over(&waits);
        scope.spawn(|| {
            while !waits.load(SeqCst) {
                guesser.guess();
            }
        });
        for round in 0..ROUNDS_MAX {
            let folder = format!("alpha-{round}");
            let log = fleet.root().join(format!("{folder}.log"));
            let command = enrolment(&fleet, &folder, "alpha", &token, &[]);
            let mut enrolment = Process::spawn("the enrolment", command, &log);
            let is_told = eventually("the host is told to wait", SOON, || {
                let said = fs::read_to_string(&log).unwrap_or_default();
                match enrolment.ended() {
                    _ if said.contains("trying again in") => Ok(true),
                    Some(status) if status.success() => Ok(false),
                    Some(status) => panic!("it ended with {status}:\n{said}"),
                    None => Err(said),
                }
            });
            if is_told {
                drop(over);
                assert!(enrolment.wait(SOON).success(), "{}", fs::read_to_string(&log).unwrap());
                return;
            }
            // It was quicker than the neighbour to what the address may try again.
            token = add(&fleet, &["alpha", "--renew"]);
        }
        panic!("the host was {ROUNDS_MAX} times quicker than its neighbour");
    });
}
