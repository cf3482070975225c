//! Hosts behind a real HTTP proxy: with and without a password, as the only way out, black-holed, and wrongly set.
#![allow(clippy::unwrap_used, reason = "a test stops at what it cannot set up")]

use muster_runtime::faults::SETTINGS_POINTS;
use muster_tests::eventually::eventually;
use muster_tests::fleet::{Fleet, Host, Namespace, Port, Proxy};
use muster_tests::stand::{COMPONENT, deploy, ended, upgrade};
use serde_json::Value;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const LOCAL: i32 = 2;
const UNREACHED: i32 = 3;
/// Loopback is among the defaults of `no_proxy`.
const EVERYTHING: [&str; 2] = ["--no-proxy", "none"];

#[track_caller]
fn until(fleet: &Fleet, host: &Host, what: &str, holds: impl Fn(&Value) -> bool) {
    eventually(what, SOON, || match fleet.connector(host.name()) {
        view if holds(&view) => Ok(()),
        view => Err(format!("{view}; the end of the agent's log:\n{}", host.log())),
    });
}

#[track_caller]
fn online(fleet: &Fleet, host: &Host) {
    until(fleet, host, "the agent is online", |view| view["link"] == "online");
}

/// Adds lines to `agent.toml`.
fn set(host: &Host, lines: &str) {
    let path = settings(host);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(path, text + lines).unwrap();
}

fn settings(host: &Host) -> PathBuf {
    host.prefix().join("agent.toml")
}

fn password_file(fleet: &Fleet, password: &str) -> String {
    let path = fleet.root().join(format!("{password}.password"));
    fs::write(&path, format!("{password}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn enrolment_and_upgrade_go_through_a_proxy_with_and_without_password() {
    let fleet = Fleet::start();
    for version in ["1.0", "1.1"] {
        fleet.publish(version, true);
    }
    let open = Proxy::start(&fleet, "open", LOOPBACK, None);
    let closed = Proxy::start(&fleet, "closed", LOOPBACK, Some(("fleet", "geheim")));
    let [right, wrong] = ["geheim", "falsch"].map(|password| password_file(&fleet, password));
    let with_user = closed.url(Some("fleet"));

    // What the closed proxy says to those it does not know, and what an argument may not say.
    let token = fleet.add_connector("beta");
    let fails = |args: &[&str], code: i32, words: &str| {
        let args = [args, &EVERYTHING].concat();
        let (_, output) = Host::try_enrol_with(&fleet, "beta", &token, None, &args);
        let output = output.ended_with(code).explaining(words);
        assert!(!output.stderr.contains("geheim") && !output.stderr.contains("falsch"), "{output:?}");
    };
    fails(&["--proxy", &closed.url(None)], UNREACHED, "wants to know who asks");
    fails(&["--proxy", &with_user, "--proxy-password-file", &wrong], UNREACHED, "does not accept user \"fleet\"");
    fails(&["--proxy", &with_user.replace("fleet@", "fleet:geheim@")], LOCAL, "--proxy-password-file");
    let nobody = Port::reserve();
    fails(&["--proxy", &nobody.address().to_string()], UNREACHED, "cannot connect to the proxy");

    for (name, proxy, args) in [
        ("alpha", &open, vec!["--proxy".to_owned(), open.url(None)]),
        ("beta", &closed, vec!["--proxy".to_owned(), with_user.clone(), "--proxy-password-file".to_owned(), right]),
    ] {
        let token = if name == "beta" { token.clone() } else { fleet.add_connector(name) };
        let before = proxy.tunnels();
        let args: Vec<&str> = args.iter().map(String::as_str).chain(EVERYTHING).collect();
        let (mut host, output) = Host::try_enrol_with(&fleet, name, &token, None, &args);
        output.succeeded();
        assert_eq!(proxy.tunnels(), before + 1, "enrolment took the proxy");
        host.run();
        deploy(&fleet, &host, "1.0");
        deploy(&fleet, &host, "1.1");
        assert!(proxy.tunnels() >= before + 4, "MQTT and two downloads took the proxy: {}", proxy.tunnels());
        let view = fleet.connector(name);
        assert_eq!(view["host"]["settings"]["proxy"], args[1], "{view}");
        let status = host.agent(&["status"]).succeeded().stdout;
        assert!(status.contains(args[1]) && status.contains("set in agent.toml"), "{status}");
        let shown = format!("{status}{view}{}{}", host.log(), fleet.log("server"));
        assert!(!shown.contains("geheim"), "{shown}");
        let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(settings(&host)), 0o600);
        assert!(!fs::read_to_string(settings(&host)).unwrap().contains("geheim"));
    }
}

#[test]
fn a_host_whose_only_way_out_is_a_proxy_is_enrolled_and_upgraded() {
    let Some(network) = Namespace::make() else { return };
    let fleet = Fleet::start();
    fleet.publish("1.0", true);
    let proxy = Proxy::start(&fleet, "proxy", network.gateway(), None);
    let token = fleet.add_connector("alpha");
    let (_, output) = Host::try_enrol_with(&fleet, "alpha", &token, Some(&network), &[]);
    output.ended_with(UNREACHED).explaining("cannot connect to 127.0.0.1:");
    let args = ["--proxy", &proxy.url(None), EVERYTHING[0], EVERYTHING[1]];
    let (mut host, output) = Host::try_enrol_with(&fleet, "alpha", &token, Some(&network), &args);
    output.succeeded();
    host.run();
    online(&fleet, &host);
    // The component is in the namespace too, so only the server's word is asked.
    let action = ended(&fleet, &host, &upgrade(&fleet, &host, "1.0", &[]));
    assert_eq!(action["state"], "confirmed", "{action}");
    until(&fleet, &host, "the component is healthy", |view| view["components"][COMPONENT]["health"] == "healthy");
}

/// An agent that is online through a proxy, and notices silence within seconds.
fn behind(fleet: &Fleet, proxy: &Proxy) -> Host {
    let token = fleet.add_connector("alpha");
    let args = ["--proxy", &proxy.url(None), EVERYTHING[0], EVERYTHING[1]];
    let (mut host, output) = Host::try_enrol_with(fleet, "alpha", &token, None, &args);
    output.succeeded();
    set(&host, "heartbeat_s = 1\nconfirm_within_s = 15\n");
    host.run();
    online(fleet, &host);
    proven(&host, "alpha");
    host
}

/// Waits until the agent has written down that its settings are proven, and nothing is on trial.
#[track_caller]
fn proven(host: &Host, words: &str) {
    eventually("the settings are proven", SOON, || {
        let record = fs::read_to_string(host.prefix().join("state/settings.json")).unwrap_or_default();
        let record: Value = serde_json::from_str(&record).unwrap_or_default();
        let is_proven = record["proven"]["text"].as_str().is_some_and(|text| text.contains(words));
        if is_proven && record["trial"].is_null() { Ok(()) } else { Err(format!("{record}\n{}", host.log())) }
    });
}

#[test]
fn an_agent_comes_back_by_itself_when_its_proxy_does() {
    let fleet = Fleet::start();
    let proxy = Proxy::start(&fleet, "proxy", LOOPBACK, None);
    let mut host = behind(&fleet, &proxy);
    let silence = "did not answer within";
    let before = host.times_logged(silence);
    proxy.freeze();
    eventually(
        "the agent notices",
        SOON,
        || {
            if host.times_logged(silence) > before { Ok(()) } else { Err(host.log()) }
        },
    );
    assert!(host.is_running());
    let before = proxy.tunnels();
    proxy.thaw();
    eventually("the agent asks for a tunnel again", SOON, || match proxy.tunnels() {
        now if now > before => Ok(()),
        now => Err(format!("{now}; {}", host.log())),
    });
    online(&fleet, &host);
    fleet.publish("1.0", true);
    deploy(&fleet, &host, "1.0");
    // The proxy was proven; that it failed for a while is no reason to give it up.
    let status = host.agent(&["status", "--json"]).json();
    assert_eq!((&status["settings_on_trial"], &status["settings_refused"]), (&false.into(), &Value::Null), "{status}");
}

#[test]
fn a_proxy_that_leads_nowhere_is_taken_back_and_a_good_one_stays() {
    let fleet = Fleet::start();
    let proxy = Proxy::start(&fleet, "proxy", LOOPBACK, None);
    let host = behind(&fleet, &proxy);
    let good = fs::read_to_string(settings(&host)).unwrap();

    // It accepts, and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let hole = format!("http://{}", silent.local_addr().unwrap());
    let bad = good.replace(&proxy.url(None), &hole);
    assert_ne!(bad, good);
    fs::write(settings(&host), &bad).unwrap();
    host.agent(&["reload"]).succeeded();
    until(&fleet, &host, "the server hears of it", |view| {
        let settings = &view["host"]["settings"];
        settings["refused"]["proxy"] == hole.as_str()
            && settings["proxy"] == proxy.url(None)
            && view["link"] == "online"
    });
    assert_eq!(fs::read_to_string(settings(&host)).unwrap(), good);
    assert_eq!(fs::read_to_string(host.prefix().join("agent.toml.refused")).unwrap(), bad);
    let status = host.agent(&["status"]).succeeded().stdout;
    assert!(status.contains("was tried and taken back") && status.contains(&hole), "{status}");
    let shown = fleet.muster(&["connector", "show", "alpha"]).succeeded().stdout;
    assert!(shown.contains("was tried and taken back") && shown.contains(&hole), "{shown}");
    assert!(shown.starts_with("not as it should be:\nsettings") && shown.contains("agent.toml.refused"), "{shown}");

    // Settings that cannot be read change nothing.
    fs::write(settings(&host), "server = 3\n").unwrap();
    host.agent(&["reload"]).ended_with(LOCAL).explaining("settings are not usable");
    fs::write(settings(&host), &good).unwrap();

    // A way that works is confirmed, and the refusal is forgotten.
    let other = Proxy::start(&fleet, "other", LOOPBACK, None);
    fs::write(settings(&host), good.replace(&proxy.url(None), &other.url(None))).unwrap();
    host.agent(&["reload"]).succeeded();
    until(&fleet, &host, "the other proxy is in force", |view| {
        let settings = &view["host"]["settings"];
        settings["proxy"] == other.url(None) && settings["on_trial"] == false && settings["refused"].is_null()
    });
    proven(&host, &other.url(None));
}

#[test]
fn an_agent_killed_at_any_step_of_a_trial_ends_with_settings_that_work() {
    let fleet = Fleet::start();
    let proxy = Proxy::start(&fleet, "proxy", LOOPBACK, None);
    let mut host = behind(&fleet, &proxy);
    let good = fs::read_to_string(settings(&host)).unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let bad = good.replace(&proxy.url(None), &format!("http://{}", silent.local_addr().unwrap()));
    // Same way, another list: confirmed at once.
    let better = good.replace("no_proxy = []", "no_proxy = [\"192.0.2.1\"]");
    assert!(bad != good && better != good);
    for point in SETTINGS_POINTS {
        let (new, end) = if point.ends_with("before_confirm") { (&better, &better) } else { (&bad, &good) };
        host.stop();
        fs::write(settings(&host), new).unwrap();
        host.run_with_fault(point);
        host.wait_for_end(SOON);
        host.run();
        let what = format!("after a kill at {point} the settings are the right ones");
        eventually(&what, SOON, || {
            let found = fs::read_to_string(settings(&host)).unwrap();
            let trial = host.agent(&["status", "--json"]).json()["settings_on_trial"].clone();
            if &found == end && trial == false { Ok(()) } else { Err(format!("{trial} {found}\n{}", host.log())) }
        });
        online(&fleet, &host);
        fs::write(settings(&host), &good).unwrap();
        host.stop();
        host.run();
        proven(&host, "no_proxy = []");
    }
}
