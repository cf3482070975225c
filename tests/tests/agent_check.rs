//! `muster-agent check`: what it says of a host that is fit, and of one whose way to the server is not.
#![allow(clippy::unwrap_used, reason = "a test stops at what it cannot set up")]

use muster_tests::eventually::eventually;
use muster_tests::fleet::{Fleet, Output, Proxy};
use serde_json::Value;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);
const LOCAL: i32 = 2;

/// Checks a host before its enrolment.
fn before(fleet: &Fleet, ca: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(&fleet.programs().agent);
    command.args(["check", "--json", "--before-enrol", "--server", &fleet.address().to_string()]);
    command.arg("--prefix").arg(fleet.root().join("hosts/new")).arg("--ca").arg(ca).args(more);
    Output::of(command, SOON)
}

/// Name and verdict of each check.
fn verdicts(report: &Value) -> Vec<String> {
    let lines = report["checks"].as_array().unwrap();
    lines
        .iter()
        .map(|line| format!("{} {}", line["name"].as_str().unwrap(), line["verdict"].as_str().unwrap()))
        .collect()
}

#[test]
fn a_fit_host_passes_before_and_after_enrolment_and_its_agent_stays() {
    let fleet = Fleet::start();
    let ca = fleet.root().join("ca.pem");
    fs::write(&ca, fleet.ca_pem()).unwrap();
    let proxy = Proxy::start(&fleet, "proxy", IpAddr::V4(Ipv4Addr::LOCALHOST), None);
    let found = before(&fleet, &ca, &["--proxy", &proxy.url(None), "--no-proxy", "none"]).json();
    let all = ["system", "memory", "disk", "rights", "path", "proxy", "dns", "tcp", "tls", "clock", "mqtt"];
    assert_eq!(verdicts(&found), all.map(|name| format!("{name} PASS")), "{found}");
    assert!(proxy.tunnels() >= 2, "MQTT and HTTPS took the proxy");

    let mut host = fleet.enrol("alpha");
    host.run();
    eventually("the agent is online", SOON, || match fleet.connector("alpha") {
        view if view["link"] == "online" => Ok(()),
        view => Err(view.to_string()),
    });
    let since = fleet.connector("alpha")["link_since"].clone();
    let text = host.agent(&["check"]).succeeded().stdout;
    for words in ["PASS  settings", "PASS  mqtt", "accepts alpha"] {
        assert!(text.contains(words), "{text}");
    }
    let view = fleet.connector("alpha");
    assert_eq!((&view["link"], &view["link_since"]), (&"online".into(), &since), "{view}");
}

#[test]
fn an_unfit_way_is_named_with_what_to_do() {
    let mut fleet = Fleet::start();
    let stranger = Fleet::init();
    let [ca, other] = ["ca.pem", "other.pem"].map(|name| fleet.root().join(name));
    fs::write(&ca, fleet.ca_pem()).unwrap();
    fs::write(&other, stranger.ca_pem()).unwrap();
    let fails = |output: Output, check: &str, words: &str| {
        let output = output.ended_with(LOCAL).explaining("not fit for the agent");
        let report: Value = serde_json::from_str(&output.stdout).unwrap();
        let line = report["checks"].as_array().unwrap().last().unwrap().clone();
        assert_eq!((&line["name"], &line["verdict"]), (&check.into(), &"FAIL".into()), "{report}");
        assert!(line["measured"].as_str().unwrap().contains(words) && line["fix"].is_string(), "{line}");
    };
    fails(before(&fleet, &other, &[]), "tls", "no TLS connection");
    let proxy = Proxy::start(&fleet, "proxy", IpAddr::V4(Ipv4Addr::LOCALHOST), Some(("fleet", "geheim")));
    let behind = ["--proxy", &proxy.url(None), "--no-proxy", "none"];
    fails(before(&fleet, &ca, &behind), "tcp", "wants to know who asks");
    before(&fleet, &ca, &["--ca-sha256", &"0".repeat(64)]).ended_with(LOCAL).explaining("get the CA of this server");
    fleet.kill();
    fails(before(&fleet, &ca, &[]), "tcp", "cannot connect to 127.0.0.1:");

    // An enrolled host whose settings are not usable is told so, with everything else.
    fleet.serve();
    let host = fleet.enrol("alpha");
    fs::write(host.prefix().join("agent.toml"), "server = 3\n").unwrap();
    let text = host.agent(&["check"]).ended_with(LOCAL).stdout;
    assert!(text.contains("FAIL  settings") && text.contains("settings are not usable"), "{text}");
}
