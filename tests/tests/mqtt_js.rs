//! A client that we did not write, and that browsers use: MQTT.js, driven by the program in `tests/js`.
//!
//! It prints one line for each of its checks. How many there must be is written here, so that a check that is not run any
//! more is noticed.

use muster_tests::fleet::{Fleet, Output, Programs};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/js");
const CHECKS: usize = 21;
const DEADLINE: Duration = Duration::from_secs(300);

#[test]
fn mqtt_js_works_over_mqtt_3() {
    run("3");
}

#[test]
fn mqtt_js_works_over_mqtt_5() {
    run("5");
}

/// Runs the checks against a new fleet. Without Node on this machine it says so and checks nothing.
#[track_caller]
fn run(mqtt: &str) {
    let Some(packages) = packages() else { return };
    let fleet = Fleet::start();
    let work = fleet.root().join("js");
    fs::create_dir(&work).expect("a folder in the fleet's");
    let mut node = Command::new("node");
    node.arg(Path::new(SOURCE).join("endpoint.js")).env("NODE_PATH", packages);
    node.args(["--host", "localhost", "--port", &fleet.address().port().to_string(), "--mqtt", mqtt]);
    node.arg("--muster").arg(&fleet.programs().muster).arg("--data").arg(fleet.data()).arg("--work").arg(work);
    let output = Output::of(node, DEADLINE).succeeded();
    let passed = output.stdout.lines().filter(|line| line.starts_with("ok ")).count();
    assert_eq!(passed, CHECKS, "checks of endpoint.js:\n{}", output.stdout);
}

/// The packages that `cargo verify` installed; none where there is no Node to use them with.
#[track_caller]
fn packages() -> Option<PathBuf> {
    let programs = Programs::find();
    let target = programs.muster.ancestors().nth(2).expect("a program lies in a folder of the target folder");
    let wanted = fs::read_to_string(Path::new(SOURCE).join("package-lock.json")).expect("a file of the sources");
    if fs::read_to_string(target.join("node/installed.json")).is_ok_and(|made| made == wanted) {
        return Some(target.join("node/node_modules"));
    }
    let here = ["node", "npm"].iter().all(|program| Command::new(program).arg("--version").output().is_ok());
    assert!(!here, "the MQTT.js of the tests is missing; `cargo verify --only node` installs it");
    eprintln!("skipped: endpoint.js needs node and npm");
    None
}
