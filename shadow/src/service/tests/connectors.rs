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

#[test]
fn links_go_from_never_over_online_to_offline() {
    let mut rig = Rig::new();
    rig.add("a");
    let link = |rig: &mut Rig| {
        rig.shadow("a", "agent", &json!({ "state": { "reported": { "hostname": "box" } } }));
        rig.operator("connector-show", json!({ "name": "a" })).unwrap()["connector"]["link"].clone()
    };
    assert_eq!(link(&mut rig), "never");
    let change = |session, state| {
        Inbound::Link(LinkChange {
            thing: ThingName::new("a").unwrap(),
            session,
            caller: caller(Role::Connector, "a", "c"),
            state,
        })
    };
    assert!(rig.bus.submit(change(1, LinkState::Up)).is_ok());
    assert_eq!(link(&mut rig), "online");
    assert!(rig.bus.submit(change(2, LinkState::Up)).is_ok());
    assert!(rig.bus.submit(change(1, LinkState::Down)).is_ok());
    assert_eq!(link(&mut rig), "online");
    assert!(rig.bus.submit(change(2, LinkState::Down)).is_ok());
    assert_eq!(link(&mut rig), "stale");
    rig.clock.set(Timestamp::from_seconds(START + 301));
    assert_eq!(link(&mut rig), "offline");
    // A server that dies sees nobody go; the next one counts from when it begins.
    assert!(rig.bus.submit(change(3, LinkState::Up)).is_ok());
    assert_eq!(link(&mut rig), "online");
    rig.clock.set(Timestamp::from_seconds(START + 10_000));
    rig.start();
    assert_eq!(link(&mut rig), "stale");
    rig.clock.set(Timestamp::from_seconds(START + 10_299));
    rig.start();
    assert_eq!(link(&mut rig), "stale", "not anew at each start");
    rig.clock.set(Timestamp::from_seconds(START + 10_301));
    assert_eq!(link(&mut rig), "offline");
}

#[test]
fn one_things_nonsense_stays_its_own() {
    let mut rig = Rig::new();
    rig.add("a");
    rig.add("b");
    rig.shadow(
        "a",
        "components",
        &json!({ "state": { "reported": { "web": 5, "../x": {}, "db": { "version": 1 } } } }),
    );
    let payload = r#"{"at":1,"cpu_percent":1e300,"memory_total_bytes":1,"memory_available_bytes":1,"disk_total_bytes":1,
        "disk_available_bytes":1,"uptime_s":1,"agent_memory_bytes":1}"#;
    let tag = rig.publish(Role::Connector, "a", "muster/things/a/telemetry/host", payload);
    rig.until(tag);
    let listed = rig.operator("connector-list", json!({})).unwrap();
    let list: muster_wire::admin::ConnectorList = serde_json::from_value(listed).unwrap();
    assert_eq!(list.connectors.len(), 2);
    assert!(list.connectors.iter().all(|view| view.telemetry.is_none() && view.components.is_empty()));
}

#[test]
fn listings_come_in_pages_that_fit() {
    let mut rig = Rig::new();
    let description = "d".repeat(1000);
    for n in 0..300 {
        rig.operator("connector-add", json!({ "name": format!("h{n}"), "description": description })).unwrap();
    }
    let (mut names, mut after) = (Vec::new(), Value::Null);
    loop {
        let page = rig.operator("connector-list", json!({ "after": after })).unwrap();
        names.extend(page["connectors"].as_array().unwrap().iter().map(|view| view["name"].clone()));
        after = page["next"].clone();
        if after.is_null() {
            break;
        }
    }
    names.dedup();
    assert_eq!(names.len(), 300);
}
