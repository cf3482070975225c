//! Listing, showing and editing connectors.

use super::*;

/// Asks for a listing until it shows these connectors: a view follows its commit a moment later.
#[track_caller]
fn lists(rig: &mut Rig, selector: &str, expected: &str) {
    let clock = Clock::system();
    let end = clock.instant() + SOON;
    loop {
        let listed = rig.operator("connector-list", json!({ "selector": selector })).unwrap();
        let views = listed["connectors"].as_array().unwrap();
        let names: Vec<&str> = views.iter().map(|view| view["name"].as_str().unwrap()).collect();
        if names.join(" ") == expected {
            return;
        }
        assert!(clock.instant() < end, "{selector}: {names:?}");
    }
}

#[test]
fn a_host_that_never_spoke_has_no_last_sync_and_its_work_is_unknown() {
    let mut rig = Rig::new();
    rig.operator("connector-add", json!({ "name": "a", "pool": "blue" })).unwrap();
    rig.publish_version("1.0");
    rig.operator("upgrade", json!({ "component": "web", "version": "1.0", "to": "pool=blue" })).unwrap();
    rig.offered("upgrade-1");
    lists(&mut rig, "pool=blue,work=unknown", "a");
    let shown = rig.operator("connector-show", json!({ "name": "a" })).unwrap();
    // What is wanted of it is stored, and is no word of the host.
    assert_eq!(shown["connector"]["components"]["web"]["desired"], "1.0", "{shown}");
    assert_eq!(shown["connector"]["last_sync"], Value::Null, "{shown}");
    rig.shadow("a", "agent", &json!({ "state": { "reported": { "os": "Debian 12" } } }));
    lists(&mut rig, "pool=blue,work=degraded", "a");
}

#[test]
fn selectors_filter_listings_and_lasting_intents_ask_for_lasting_facts() {
    let mut rig = Rig::new();
    for name in ["a", "web-1", "web-2"] {
        rig.add(name);
    }
    rig.operator("connector-add", json!({ "name": "db-2", "pool": "blue" })).unwrap();
    rig.shadow("a", "agent", &json!({ "state": { "reported": { "os": "Debian 12", "labels": ["env=prod"] } } }));
    lists(&mut rig, "all", "a db-2 web-1 web-2");
    lists(&mut rig, "name=web-*", "web-1 web-2");
    lists(&mut rig, "pool=blue", "db-2");
    lists(&mut rig, "unassigned,!name=web-*", "a");
    lists(&mut rig, "label.env=prod", "a");
    lists(&mut rig, "os=debian*,status=never", "a");
    lists(&mut rig, "status=online", "");
    rig.publish_version("1.0");
    let to = |to: &str| json!({ "component": "web", "version": "1.0", "to": to });
    let (code, message) = rig.operator("upgrade", to("name=web-*,status=online")).unwrap_err();
    assert_eq!(code, "invalid");
    assert!(message.starts_with("\"status=online\" changes by itself"), "{message}");
    let started = rig.operator("upgrade", to("label.env=prod")).unwrap();
    assert_eq!(started["matched"], json!(["a"]));
    rig.offered("upgrade-1");
    rig.bring("t1", "1.0", "s1");
    lists(&mut rig, "component=web@1.0,!outdated", "a");
    rig.publish_version("1.1");
    // The intent wants 1.0 here, so nothing is behind it.
    lists(&mut rig, "outdated", "");
}
