//! Upgrades, from intent to proof.

use super::*;

#[test]
fn an_upgrade_goes_from_intent_to_proof() {
    let mut rig = Rig::new();
    rig.add("a");
    for version in ["1", "2"] {
        rig.publish_version(version);
    }
    let started = rig.operator("upgrade", json!({ "component": "web", "version": "1", "to": "name=a" })).unwrap();
    assert_eq!(started, json!({ "target": "t1", "matched": ["a"] }));
    assert_eq!(rig.delivered("$aws/things/a/jobs/notify-next")["execution"]["jobDocument"]["component"], "web");
    rig.bring("t1", "1", "s1");
    rig.operator("upgrade", json!({ "component": "web", "version": "2", "to": "all" })).unwrap();
    rig.offered("upgrade-2");
    rig.bring("t2", "2", "s2");
    let shown = rig.operator("connector-show", json!({ "name": "a" })).unwrap();
    let web = &shown["connector"]["components"]["web"];
    assert_eq!((&web["desired"], &web["reported"], &web["confirmed"]), (&"2".into(), &"2".into(), &"2".into()));
    assert_eq!((&shown["connector"]["work"], &web["why"]), (&"healthy".into(), &Value::Null));
}

#[test]
fn a_failed_version_is_remembered_over_a_restart() {
    let mut rig = Rig::new();
    rig.add("a");
    rig.publish_version("1");
    rig.operator("upgrade", json!({ "component": "web", "version": "1", "to": "all" })).unwrap();
    rig.offered("upgrade-1");
    let job = rig.job("a", "start-next", json!({}))["execution"]["jobId"].as_str().unwrap().to_owned();
    let details = json!({ "reason": "the probe fails", "outcome": "rolled-back" });
    rig.job("a", &format!("{job}/update"), json!({ "status": "FAILED", "statusDetails": details }));
    assert_eq!(rig.action("t1")["state"], "rolled-back");
    rig.start();
    assert_eq!(rig.action("t1")["reason"], "the probe fails");
    rig.operator("upgrade", json!({ "component": "web", "version": "1", "to": "all" })).unwrap();
    rig.shadow("a", "agent", &json!({ "state": { "reported": { "hostname": "box" } } }));
    assert_eq!(rig.action("t2")["state"], "failed");
    assert_eq!(rig.job("a", "start-next", json!({}))["execution"], Value::Null);
    rig.operator("upgrade", json!({ "component": "web", "version": "1", "to": "all", "again": true })).unwrap();
    rig.offered("upgrade-3");
    assert_eq!(rig.action("t3")["state"], "queued");
}
