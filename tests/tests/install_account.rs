//! The printed script on a clean user account, with a network like any other one and with a proxy as the only way out; and
//! the way back: what it brought is taken away again by the server's order.
#![allow(clippy::unwrap_used, reason = "a test stops at what it cannot set up")]

use muster_tests::eventually::eventually;
use muster_tests::fleet::{Fleet, Namespace, Proxy, Site, find};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);
/// Exit code of the script: the server cannot be reached.
const NOT_DOWNLOADED: i32 = 4;
const COMPONENT: &str = "greeter";

fn downloader() -> &'static str {
    if find("curl").is_some() { "curl" } else { "wget" }
}

fn entries(folder: &Path) -> BTreeSet<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[track_caller]
fn runs_component(fleet: &Fleet, site: &Site, name: &str) {
    eventually("the component that the connector was added with is confirmed", SOON, || {
        let view = fleet.connector(name)["components"][COMPONENT].take();
        if view["confirmed"] == "1.0" { Ok(()) } else { Err(view) }
    });
    assert_eq!(site.pids().len(), 2, "the agent and its component run from the prefix");
}

/// What `muster allowlist` says that agents need, as HOST:PORT.
fn allowed(fleet: &Fleet) -> BTreeSet<String> {
    let listed = fleet.muster_json(&["allowlist"]);
    let listed = listed.as_array().unwrap().iter().filter(|entry| entry["used_by"] == "agents");
    listed.map(|entry| format!("{}:{}", entry["host"].as_str().unwrap(), entry["port"])).collect()
}

#[test]
fn a_clean_account_is_installed_by_the_script_and_clean_again_after_the_removal() {
    let fleet = Fleet::offering();
    fleet.publish("1.0", true);
    let site = Site::with_account(&fleet, "alpha", &[downloader()]);
    let before = entries(site.home());
    let script = site.script_with(&fleet, "alpha", &["--component", "greeter=1.0"]);
    let output = site.run(&script).succeeded();
    assert!(output.stdout.contains("confirmed by the server"), "{output:?}");
    runs_component(&fleet, &site, "alpha");
    let agent = site.prefix().join("agent/current/muster-agent");
    let status = site.start(agent.to_str().unwrap(), &["status", "--json"]).succeeded().json();
    assert_eq!(status["service"]["kind"], "portable", "{status}");
    // What is secret is this user's alone.
    let mode = |path: &str| fs::metadata(site.prefix().join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("state"), mode("state/identity/key.pem")), (0o700, 0o600));

    // The order reaches the agent, which reports, is gone, and is refused from then on.
    let words = ["connector", "remove", "alpha", "--uninstall", "--purge", "--yes", "--json"];
    let removed: Value = fleet.muster(&words).succeeded().json();
    assert_eq!(removed["connector"]["lifecycle"]["state"], "removed", "{removed}");
    let details = &removed["uninstall"]["details"];
    assert!(details["removed"].as_str().unwrap().contains("component greeter"), "{removed}");
    assert_eq!(details["kept"], "nothing", "{removed}");
    eventually("nothing is left of it", SOON, || match (site.pids(), entries(site.home())) {
        (pids, left) if pids.is_empty() && left == before => Ok(()),
        (pids, left) => Err(format!("processes {pids:?}, files {left:?}")),
    });
    // A host that is removed comes back by the operator's word alone.
    site.run(&script).ended_with(5).explaining("not enrolled");
    site.is_bare();
}

#[test]
fn a_removal_without_purge_leaves_the_components_running() {
    let fleet = Fleet::offering();
    fleet.publish("1.0", true);
    let site = Site::new(&fleet, "alpha", &[downloader()]);
    site.run(&site.script_with(&fleet, "alpha", &["--component", "greeter=1.0"])).succeeded();
    runs_component(&fleet, &site, "alpha");
    let told = fleet.muster(&["connector", "remove", "alpha", "--uninstall", "--yes"]).succeeded();
    assert!(told.stdout.contains("component greeter 1.0"), "{told:?}");
    eventually("the agent is gone and the component runs", SOON, || match (site.pids(), entries(site.prefix())) {
        (pids, left) if pids.len() == 1 && left == BTreeSet::from(["components".to_owned()]) => Ok(()),
        (pids, left) => Err(format!("processes {pids:?}, files {left:?}")),
    });
}

#[test]
fn a_host_whose_only_way_out_is_a_proxy_is_installed_by_the_script_and_asks_for_the_allowlist_alone() {
    let Some(network) = Namespace::make() else { return };
    let fleet = Fleet::offering();
    fleet.publish("1.0", true);
    let proxy = Proxy::start(&fleet, "proxy", network.gateway(), Some(("fleet", "geheim")));
    let site = Site::with_account(&fleet, "alpha", &[downloader()]).within(&network);

    // Without the proxy there is no way, and nothing is begun.
    let lost = site.run(&site.script(&fleet, "alpha")).ended_with(NOT_DOWNLOADED);
    assert!(lost.stdout.contains("FAIL  tcp "), "{lost:?}");
    site.is_bare();

    let password = fleet.root().join("password");
    fs::write(&password, "geheim\n").unwrap();
    fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
    let (url, password) = (proxy.url(Some("fleet")), password.to_str().unwrap());
    let behind = ["--proxy", &url, "--proxy-password-file", password, "--no-proxy", "none"];
    fleet.muster(&["connector", "remove", "alpha", "--yes"]).succeeded();
    let script = site.script_with(&fleet, "beta", &[&behind[..], &["--component", "greeter=1.0"]].concat());
    let rehearsed = site.run_with(&script, &["--dry-run"]).succeeded();
    for check in ["PASS  proxy ", "PASS  tls ", "PASS  mqtt "] {
        assert!(rehearsed.stdout.contains(check), "{check:?} is missing: {rehearsed:?}");
    }
    assert_eq!(proxy.targets(), allowed(&fleet), "the prechecks test what the allowlist says, and nothing else");
    let output = site.run(&script).succeeded();
    runs_component(&fleet, &site, "beta");
    assert_eq!(proxy.targets(), allowed(&fleet), "nor does the installed agent need anything else");
    assert_eq!(fleet.connector("beta")["host"]["settings"]["proxy"], url);
    // The password is in one private file, and nowhere else.
    assert!(!format!("{rehearsed:?}{output:?}").contains("geheim"));
    let kept = site.prefix().join("state/proxy-password");
    assert_eq!(fs::metadata(kept).unwrap().permissions().mode() & 0o777, 0o600);
    // Only now: the namespace must outlive what runs in it.
    drop(site);
}
