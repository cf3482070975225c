//! How much memory an agent takes.
#![allow(clippy::unwrap_used, reason = "a test stops at what it cannot set up")]

use muster_tests::eventually::eventually;
use muster_tests::fleet::{Fleet, Host};
use muster_tests::stand::deploy;
use std::fs;
use std::time::Duration;

/// The promise for a connected agent with one running component.
const RESIDENT_KIB_MAX: u64 = 15 * 1024;
/// Telemetry is sent at once after a connect, and then every 30 s.
const FIRST_TELEMETRY: Duration = Duration::from_secs(60);

/// A line of `/proc/<pid>/status`, in KiB.
fn memory_kib(host: &Host, line: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", host.agent_pid())).unwrap();
    let value = status.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(':')).unwrap();
    value.trim().strip_suffix(" kB").unwrap().parse().unwrap()
}

#[test]
fn a_connected_agent_with_one_component_stays_small() {
    let fleet = Fleet::start();
    fleet.publish("1.0", true);
    fleet.publish("1.1", true);
    let mut host = fleet.enrol("alpha");
    host.run();
    deploy(&fleet, &host, "1.0");
    deploy(&fleet, &host, "1.1");
    // It has connected, upgraded and measured its host by now: nothing bigger comes.
    eventually("telemetry has arrived", FIRST_TELEMETRY, || {
        let view = fleet.connector(host.name());
        if view["telemetry"].is_object() { Ok(()) } else { Err(view.to_string()) }
    });
    let resident = memory_kib(&host, "VmRSS");
    println!("resident {resident} KiB, at most so far {} KiB", memory_kib(&host, "VmHWM"));
    assert!(resident <= RESIDENT_KIB_MAX, "{resident} KiB resident, {RESIDENT_KIB_MAX} are allowed");

    // A new agent that only adopts is no bigger.
    host.kill();
    host.run();
    deploy(&fleet, &host, "1.0");
    let resident = memory_kib(&host, "VmRSS");
    println!("resident {resident} KiB after a restart and the way back to 1.0");
    assert!(resident <= RESIDENT_KIB_MAX, "{resident} KiB resident, {RESIDENT_KIB_MAX} are allowed");
}
