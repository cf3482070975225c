//! The demo tells its story with real processes, and its last line is the proof.

#![allow(clippy::unwrap_used)]

use muster_tests::fleet::Programs;
use std::process::Command;

#[test]
fn the_demo_deploys_upgrades_and_rolls_back() {
    let output = Command::new(Programs::find().muster).args(["demo", "--once", "--json"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last().unwrap_or_default();
    let told = format!("{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{told}");
    let result: serde_json::Value = serde_json::from_str(last).unwrap_or_else(|_| panic!("{told}"));
    for (key, expected) in [("connectors", 3), ("deployed", 3), ("upgraded", 3), ("rolled_back", 3)] {
        assert_eq!(result[key], expected, "{key} in {last}");
    }
    assert_eq!(result["ok"], true, "{last}");
}
