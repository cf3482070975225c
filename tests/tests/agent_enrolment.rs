//! How a host gets its identity, and every way in which it does not.
#![allow(clippy::unwrap_used, reason = "a test stops at what it cannot set up")]

use muster_certs::Throwaway;
use muster_tests::eventually::eventually;
use muster_tests::fleet::{Fleet, Host, Output, Port};
use muster_tests::stand::{COMPONENT, deploy};
use rustls::{ServerConnection, StreamOwned};
use serde_json::{Value, json};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(90);
/// Exit codes of the agent: refused by the server, wrong on this host, server not reached.
const REFUSED: i32 = 1;
const LOCAL: i32 = 2;
const UNREACHED: i32 = 3;

/// An enrolment that is about to be tried.
struct Attempt<'a> {
    fleet: &'a Fleet,
    /// Folder of the host.
    host: &'a str,
    /// The name that it gives.
    name: &'a str,
    token: &'a str,
    server: String,
    ca_pem: String,
}

impl<'a> Attempt<'a> {
    fn new(fleet: &'a Fleet, host: &'a str, name: &'a str, token: &'a str) -> Self {
        Self { fleet, host, name, token, server: fleet.address().to_string(), ca_pem: fleet.ca_pem() }
    }

    fn prefix(&self) -> PathBuf {
        self.fleet.root().join("hosts").join(self.host)
    }

    #[track_caller]
    fn run(&self) -> Output {
        let prefix = self.prefix();
        fs::create_dir_all(&prefix).unwrap();
        let [ca, token] = ["ca", "token"].map(|kind| self.fleet.root().join(format!("{}.{kind}", self.host)));
        fs::write(&ca, &self.ca_pem).unwrap();
        fs::write(&token, self.token).unwrap();
        let mut command = Command::new(&self.fleet.programs().agent);
        command.arg("enrol").arg("--prefix").arg(prefix).args(["--server", &self.server, "--name", self.name]);
        command.arg("--ca").arg(ca).arg("--token-file").arg(token);
        Output::of(command, SOON)
    }

    /// It is refused, with these words, and nothing of an identity is left.
    #[track_caller]
    fn fails(&self, code: i32, words: &str) {
        self.run().ended_with(code).explaining(words);
        let state = self.prefix().join("state");
        assert!(!state.join("identity").exists() && !state.join("identity.new").exists(), "half an identity is there");
        assert!(!self.prefix().join("agent.toml").exists());
    }
}

fn status(fleet: &Fleet, prefix: &Path) -> Output {
    let mut command = Command::new(&fleet.programs().agent);
    command.arg("status").arg("--prefix").arg(prefix).arg("--json");
    Output::of(command, SOON)
}

#[test]
fn a_token_works_once_and_for_its_name_only() {
    let fleet = Fleet::start();
    let (alpha, beta) = (fleet.add_connector("alpha"), fleet.add_connector("beta"));

    Attempt::new(&fleet, "wrong-name", "beta", &alpha).fails(REFUSED, "for another connector");
    Attempt::new(&fleet, "alpha", "alpha", &alpha).run().succeeded();
    Attempt::new(&fleet, "alpha-again", "alpha", &alpha).fails(REFUSED, "used already");

    // A token in the right form that nobody issued.
    let unknown = format!("mst1_{}", "A".repeat(43));
    Attempt::new(&fleet, "unknown-token", "beta", &unknown).fails(REFUSED, "not valid");
    Attempt::new(&fleet, "unknown-name", "gamma", &beta).fails(REFUSED, "for another connector");
    Attempt::new(&fleet, "cut-token", "beta", &beta[..20]).fails(LOCAL, "copy the whole token");

    // Renewing kills the old token; the failures above cost the new one nothing.
    let renewed = fleet.muster_json(&["connector", "add", "beta", "--renew"]);
    let renewed = renewed["token"].as_str().unwrap();
    Attempt::new(&fleet, "old-token", "beta", &beta).fails(REFUSED, "muster connector add beta --renew");
    Attempt::new(&fleet, "beta", "beta", renewed).run().succeeded();

    // The host was lost: another one takes its name, by an operator's will.
    let again = fleet.muster_json(&["connector", "add", "beta", "--renew"]);
    Attempt::new(&fleet, "beta-anew", "beta", again["token"].as_str().unwrap()).run().succeeded();
}

#[test]
fn a_used_token_stays_used_when_the_server_is_killed() {
    let mut fleet = Fleet::start();
    let token = fleet.add_connector("alpha");
    let mut host = Host::enrol(&fleet, "alpha", &token);
    fleet.restart();
    Attempt::new(&fleet, "alpha-again", "alpha", &token).fails(REFUSED, "used already");
    host.run();
    eventually("the enrolled connector is online", SOON, || {
        let view = fleet.connector("alpha");
        if view["link"] == "online" { Ok(()) } else { Err(view.to_string()) }
    });
}

#[test]
fn a_server_that_is_not_the_one_meant_learns_nothing() {
    let (fleet, other) = (Fleet::start(), Fleet::init());
    let token = fleet.add_connector("alpha");
    Attempt { ca_pem: other.ca_pem(), ..Attempt::new(&fleet, "alpha", "alpha", &token) }.fails(UNREACHED, "CA");
    Attempt { ca_pem: "no PEM".to_owned(), ..Attempt::new(&fleet, "alpha", "alpha", &token) }.fails(LOCAL, "--ca");
    let nobody = Port::reserve();
    Attempt { server: nobody.address().to_string(), ..Attempt::new(&fleet, "alpha", "alpha", &token) }
        .fails(UNREACHED, "not reached");
    Attempt { server: "localhost".to_owned(), ..Attempt::new(&fleet, "alpha", "alpha", &token) }
        .fails(LOCAL, "--server");
    // None of that spent the token.
    Attempt::new(&fleet, "alpha", "alpha", &token).run().succeeded();
}

#[test]
fn an_identity_is_not_overwritten_and_its_key_is_private() {
    let fleet = Fleet::start();
    let alpha = fleet.add_connector("alpha");
    let first = Attempt::new(&fleet, "host", "alpha", &alpha);
    first.run().succeeded();
    let identity = first.prefix().join("state/identity");
    let texts = || {
        let read = |name| fs::read_to_string(identity.join(name)).unwrap();
        ["key.pem", "cert.pem", "ca.pem", "publisher.pub"].map(read)
    };
    let before = texts();

    let beta = fleet.add_connector("beta");
    let second = Attempt::new(&fleet, "host", "beta", &beta);
    second.run().ended_with(LOCAL).explaining("enrolled already; add --force");
    assert_eq!(texts(), before);

    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&identity.join("key.pem")), 0o600);
    assert_eq!(mode(&first.prefix().join("state")), 0o700);
    // A key that others may read is not used.
    fs::set_permissions(identity.join("key.pem"), fs::Permissions::from_mode(0o644)).unwrap();
    status(&fleet, &first.prefix()).ended_with(LOCAL).explaining("key.pem");
}

/// Takes one HTTPS request in the place of a server, answers 500 and returns the request's body.
fn overhear(fleet: &Throwaway) -> (String, thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let config = Arc::new(fleet.server_config(&[b"http/1.1"]).unwrap());
    let heard = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
        let mut text = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let length = stream.read(&mut buffer).unwrap();
            text.extend_from_slice(&buffer[..length]);
            let so_far = String::from_utf8(text.clone()).unwrap();
            let Some((head, body)) = so_far.split_once("\r\n\r\n") else { continue };
            let announced =
                head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if Some(body.len()) == announced || length == 0 {
                stream.write_all(b"HTTP/1.1 500 no\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
                stream.flush().unwrap();
                return so_far;
            }
        }
    });
    (address, heard)
}

#[test]
fn only_a_request_leaves_the_host_and_never_the_key() {
    let fleet = Fleet::start();
    let token = fleet.add_connector("alpha");
    let stand_in = Throwaway::new("muster", &["127.0.0.1"]).unwrap();
    let (server, heard) = overhear(&stand_in);
    let ca_pem = stand_in.ca_pem().to_owned();
    Attempt { server, ca_pem, ..Attempt::new(&fleet, "alpha", "alpha", &token) }.fails(REFUSED, "500");
    let heard = heard.join().unwrap();
    assert!(!heard.contains("PRIVATE KEY"), "{heard}");
    let (head, body) = heard.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /v1/enrol HTTP/1.1\r\n") && !head.contains(&token), "{head}");
    let body: Value = serde_json::from_str(body).unwrap();
    let mut keys: Vec<&str> = body.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["csr", "host", "name", "prefix", "token"]);
    let csr = body["csr"].as_str().unwrap();
    assert!(csr.starts_with("-----BEGIN CERTIFICATE REQUEST-----"), "{csr}");
}

#[test]
fn status_says_what_runs_also_when_the_agent_does_not() {
    let fleet = Fleet::start();
    fleet.publish("1.0", true);
    let nowhere = fleet.root().join("hosts/nobody");
    status(&fleet, &nowhere).ended_with(LOCAL).explaining("is not enrolled");

    let mut host = fleet.enrol("alpha");
    let fresh = status(&fleet, host.prefix()).json();
    assert_eq!((&fresh["name"], &fresh["fleet"]), (&json!("alpha"), &json!("muster")));
    assert_eq!((&fresh["agent_runs"], &fresh["components"]), (&json!(false), &json!([])));

    host.run();
    let stand = deploy(&fleet, &host, "1.0");
    let expected = |agent_runs: bool| {
        move |found: &Value| {
            let component = &found["components"][0];
            found["agent_runs"] == agent_runs
                && component["name"] == COMPONENT
                && component["current"] == "1.0"
                && component["running"] == "1.0"
                && component["pid"] == stand.pid
                && component["undelivered"] == 0
                && component["step"].is_null()
        }
    };
    let shows = |what: &str, expected: &dyn Fn(&Value) -> bool| {
        eventually(what, SOON, || match status(&fleet, host.prefix()).json() {
            found if expected(&found) => Ok(()),
            found => Err(found.to_string()),
        });
    };
    shows("the agent and its component run", &expected(true));
    host.kill();
    let found = status(&fleet, host.prefix()).json();
    assert!(expected(false)(&found), "{found}");
}

#[test]
fn one_prefix_has_one_agent() {
    let fleet = Fleet::start();
    let mut host = fleet.enrol("alpha");
    host.run();
    eventually("the agent is online", SOON, || {
        let view = fleet.connector("alpha");
        if view["link"] == "online" { Ok(()) } else { Err(view.to_string()) }
    });
    let mut second = Command::new(&fleet.programs().agent);
    second.arg("run").arg("--prefix").arg(host.prefix());
    Output::of(second, SOON).ended_with(REFUSED).explaining("another agent runs");
    assert!(host.is_running());
}

#[test]
fn every_problem_of_the_settings_is_told_at_once() {
    let fleet = Fleet::start();
    let host = fleet.enrol("alpha");
    fs::write(host.prefix().join("agent.toml"), "server = \"no where\"\nlog_level = \"loud\"\ncolour = 3\n").unwrap();
    let mut command = Command::new(&fleet.programs().agent);
    command.arg("run").arg("--prefix").arg(host.prefix());
    let mut output = Output::of(command, SOON).ended_with(LOCAL);
    for key in ["server", "log_level", "colour", "name"] {
        output = output.explaining(key);
    }
}
