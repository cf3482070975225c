//! What the owner of a host says in its `agent.toml`, and the server sees or has to keep to.
#![allow(clippy::unwrap_used, reason = "a test stops at what it cannot set up")]

use muster_tests::eventually::eventually;
use muster_tests::fleet::{Fleet, Host};
use muster_tests::stand::{deploy, ended, upgrade};
use serde_json::json;
use std::fs;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);

/// Sets keys of `agent.toml`, which the file does not have yet.
fn set(host: &Host, lines: &str) {
    let path = host.prefix().join("agent.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(path, text + lines).unwrap();
}

#[test]
fn a_job_outside_of_the_allow_list_is_rejected_until_the_owner_allows_it() {
    let fleet = Fleet::start();
    fleet.publish("1.0", true);
    let mut host = fleet.enrol("alpha");
    set(&host, "labels = [\"rack=4\"]\nallow = [\"db-*\", \"uninstall:greeter\"]\n");
    host.run();
    eventually("the server sees the label", SOON, || match fleet.connector("alpha") {
        view if view["host"]["labels"] == json!(["rack=4"]) => Ok(()),
        view => Err(format!("{view}\n{}", host.log())),
    });
    let action = ended(&fleet, &host, &upgrade(&fleet, &host, "1.0", &[]));
    assert_eq!(action["state"], "failed", "{action}");
    let why = "this host does not accept upgrade of greeter: allow in its agent.toml names db-*, uninstall:greeter";
    assert!(action.to_string().contains(why), "{action}");
    assert_eq!(host.component_pids(), [0; 0], "nothing was installed");

    let path = host.prefix().join("agent.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(path, text.replace("\"db-*\", ", "\"gree*\", ").replace("rack=4", "rack=5")).unwrap();
    host.agent(&["reload"]).succeeded();
    eventually("the server sees the other label alone", SOON, || match fleet.connector("alpha") {
        view if view["host"]["labels"] == json!(["rack=5"]) => Ok(()),
        view => Err(format!("{view}\n{}", host.log())),
    });
    fleet.publish("1.1", true);
    deploy(&fleet, &host, "1.1");
}
