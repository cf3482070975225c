//! Clients that we did not write: the AWS IoT Device SDK for Python and Eclipse paho, driven by the scripts in `tests/aws`.
//!
//! Each script prints one line for each of its checks. How many there must be is written here, so that a check that is
//! not run any more is noticed.

use muster_tests::fleet::{Fleet, Output, Process, Programs};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/aws");
/// For a whole script, each of whose requests a busy machine may answer late.
const DEADLINE: Duration = Duration::from_secs(900);

#[derive(Clone, Copy)]
enum Mqtt {
    V3,
    V5,
}

/// Runs a script against a new fleet. Without a Python on this machine it says so and checks nothing.
#[track_caller]
fn run(script: &str, mqtt: Mqtt, checks: usize) {
    let Some(python) = python(script) else { return };
    let fleet = Fleet::start();
    let output = Output::of(command(&python, script, mqtt, &fleet), DEADLINE).succeeded();
    let passed = output.stdout.lines().filter(|line| line.starts_with("ok ")).count();
    assert_eq!(passed, checks, "checks of {script}:\n{}", output.stdout);
}

/// Runs the script that wants its server to die.
#[track_caller]
fn run_over_a_restart(mqtt: Mqtt) {
    let script = "reconnect.py";
    let Some(python) = python(script) else { return };
    let mut fleet = Fleet::start();
    let log = fleet.root().join("logs").join("reconnect.log");
    let mut process = Process::spawn_and_listen(script, command(&python, script, mqtt, &fleet), &log);
    process.wait_for_line("ready", DEADLINE);
    fleet.restart();
    process.wait_for_line("ok ", DEADLINE);
    assert!(process.wait(DEADLINE).success());
}

/// Retained messages that were acknowledged are there after SIGKILL, and in a fleet that was restored from a backup.
#[track_caller]
fn retain_over_a_kill_and_a_restore(mqtt: Mqtt) {
    let script = "retained.py";
    let Some(python) = python(script) else { return };
    let mut fleet = Fleet::start();
    let log = fleet.root().join("logs").join("retained.log");
    let mut process = Process::spawn_and_listen(script, command(&python, script, mqtt, &fleet), &log);
    process.wait_for_line("ready", DEADLINE);
    fleet.kill();
    assert!(process.wait(DEADLINE).success());
    fleet.serve();
    let found = |fleet: &Fleet| {
        let output = Output::of(command(&python, script, mqtt, fleet), DEADLINE).succeeded();
        assert!(output.stdout.starts_with("ok "), "{}", output.stdout);
    };
    found(&fleet);

    let (backup, ledger) = (fleet.root().join("fleet.backup"), fleet.root().join("ledger.log"));
    let path = |path: &Path| path.to_str().expect("an ASCII path").to_owned();
    fleet.muster(&["backup", &path(&backup), "--without-artifacts"]).succeeded();
    fleet.kill();
    fs::copy(fleet.data().join("ledger.log"), &ledger).expect("the ledger can be read");
    fs::remove_dir_all(fleet.data()).expect("the data folder can be removed");
    let mut restore = Command::new(&fleet.programs().muster);
    restore.args(["restore", &path(&backup), "--data", &path(&fleet.data()), "--ledger", &path(&ledger)]);
    Output::of(restore, DEADLINE).succeeded();
    fleet.serve();
    found(&fleet);
}

fn command(python: &Path, script: &str, mqtt: Mqtt, fleet: &Fleet) -> Command {
    let work = fleet.root().join("aws");
    fs::create_dir_all(&work).expect("a folder in the fleet's");
    // For devices that ask for a certificate: Python has nothing to make a request with.
    let (request, key) = muster_certs::csr("device").expect("a key can be made");
    fs::write(work.join("request.csr"), request).expect("the new folder can be written");
    fs::write(work.join("request.key"), key).expect("the new folder can be written");
    let mut command = Command::new(python);
    command.arg(Path::new(SCRIPTS).join(script)).env("PYTHONDONTWRITEBYTECODE", "1");
    command.args(["--host", "localhost", "--port", &fleet.address().port().to_string()]);
    command.args(["--mqtt", if matches!(mqtt, Mqtt::V3) { "3" } else { "5" }]);
    command.arg("--muster").arg(&fleet.programs().muster).arg("--data").arg(fleet.data()).arg("--work").arg(work);
    command
}

/// The Python that `cargo verify` prepared; none where there is no Python to prepare one with.
#[track_caller]
fn python(script: &str) -> Option<PathBuf> {
    let programs = Programs::find();
    let target = programs.muster.ancestors().nth(2).expect("a program lies in a folder of the target folder");
    let wanted = fs::read_to_string(Path::new(SCRIPTS).join("requirements.txt")).expect("a file of the sources");
    if fs::read_to_string(target.join("python/requirements.txt")).is_ok_and(|made| made == wanted) {
        return Some(target.join("python/bin/python"));
    }
    let here = Command::new("python3").arg("--version").output().is_ok();
    assert!(!here, "the Python of the tests is missing; `cargo verify --only python` prepares it");
    eprintln!("skipped: {script} needs python3");
    None
}

#[test]
fn the_second_shadow_client_works_over_mqtt_3() {
    run("shadow_v2.py", Mqtt::V3, 24);
}

#[test]
fn the_second_shadow_client_works_over_mqtt_5() {
    run("shadow_v2.py", Mqtt::V5, 24);
}

#[test]
fn the_first_shadow_client_works_over_mqtt_3() {
    run("shadow_v1.py", Mqtt::V3, 11);
}

#[test]
fn the_first_shadow_client_works_over_mqtt_5() {
    run("shadow_v1.py", Mqtt::V5, 11);
}

#[test]
fn shadows_keep_the_rules_over_mqtt_3() {
    run("shadow_rules.py", Mqtt::V3, 26);
}

#[test]
fn shadows_keep_the_rules_over_mqtt_5() {
    run("shadow_rules.py", Mqtt::V5, 26);
}

#[test]
fn the_second_jobs_client_works_over_mqtt_3() {
    run("jobs_v2.py", Mqtt::V3, 18);
}

#[test]
fn the_second_jobs_client_works_over_mqtt_5() {
    run("jobs_v2.py", Mqtt::V5, 18);
}

#[test]
fn the_first_jobs_client_works_over_mqtt_3() {
    run("jobs_v1.py", Mqtt::V3, 4);
}

#[test]
fn the_first_jobs_client_works_over_mqtt_5() {
    run("jobs_v1.py", Mqtt::V5, 4);
}

#[test]
fn jobs_keep_the_rules_over_mqtt_3() {
    run("jobs_rules.py", Mqtt::V3, 8);
}

#[test]
fn jobs_keep_the_rules_over_mqtt_5() {
    run("jobs_rules.py", Mqtt::V5, 8);
}

#[test]
fn the_second_identity_client_works_over_mqtt_3() {
    run("provision_v2.py", Mqtt::V3, 4);
}

#[test]
fn the_second_identity_client_works_over_mqtt_5() {
    run("provision_v2.py", Mqtt::V5, 4);
}

#[test]
fn the_first_identity_client_works_over_mqtt_3() {
    run("provision_v1.py", Mqtt::V3, 3);
}

#[test]
fn the_first_identity_client_works_over_mqtt_5() {
    run("provision_v1.py", Mqtt::V5, 3);
}

#[test]
fn provisioning_keeps_the_rules_over_mqtt_3() {
    run("provision_rules.py", Mqtt::V3, 7);
}

#[test]
fn provisioning_keeps_the_rules_over_mqtt_5() {
    run("provision_rules.py", Mqtt::V5, 7);
}

#[test]
fn paho_finds_the_limits_and_the_policy_over_mqtt_3() {
    run("broker_paho.py", Mqtt::V3, 29);
}

#[test]
fn paho_finds_the_limits_and_the_policy_over_mqtt_5() {
    run("broker_paho.py", Mqtt::V5, 29);
}

#[test]
fn policies_hold_for_paho_over_mqtt_3() {
    run("policies.py", Mqtt::V3, 11);
}

#[test]
fn policies_hold_for_paho_over_mqtt_5() {
    run("policies.py", Mqtt::V5, 11);
}

#[test]
fn the_data_plane_serves_devices_with_certificates() {
    run("plane_web.py", Mqtt::V5, 12);
}

#[test]
fn the_data_plane_serves_boto3_with_access_keys() {
    run("plane_boto3.py", Mqtt::V5, 11);
}

#[test]
fn files_come_over_mqtt_3() {
    run("streams.py", Mqtt::V3, 12);
}

#[test]
fn files_come_over_mqtt_5() {
    run("streams.py", Mqtt::V5, 12);
}

#[test]
fn the_tests_that_aws_wrote_for_its_sdk_pass() {
    run("aws_own.py", Mqtt::V5, 22);
}

#[test]
fn the_sdk_comes_back_to_a_killed_server_over_mqtt_3() {
    run_over_a_restart(Mqtt::V3);
}

#[test]
fn the_sdk_comes_back_to_a_killed_server_over_mqtt_5() {
    run_over_a_restart(Mqtt::V5);
}

#[test]
fn retained_messages_outlive_a_killed_server_and_come_back_from_a_backup_over_mqtt_3() {
    retain_over_a_kill_and_a_restore(Mqtt::V3);
}

#[test]
fn retained_messages_outlive_a_killed_server_and_come_back_from_a_backup_over_mqtt_5() {
    retain_over_a_kill_and_a_restore(Mqtt::V5);
}
