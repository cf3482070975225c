//! How many shadows a thing has, what is left of deleted ones, and what is refused before it is looked at.

use super::*;
use crate::records::key;
use crate::service::batch::Batch;
use crate::store::Key;
use muster_model::shadow::ShadowDoc;
use muster_wire::id::ShadowName;
use muster_wire::limits::{DELETED_SHADOW_KEPT, DELETED_SHADOWS_PER_THING_MAX, SHADOWS_PER_THING_MAX};

fn topic(shadow: &str, verb: &str) -> String {
    format!("$aws/things/a/shadow/name/{shadow}/{verb}")
}

/// Sends a request about a shadow of `a`; returns what is said to it.
fn ask(rig: &mut Rig, shadow: &str, verb: &str, payload: &str) -> (String, Value) {
    let tag = rig.publish(Role::Connector, "a", &topic(shadow, verb), payload.to_owned());
    rig.until(tag);
    answer(rig, shadow, verb)
}

/// The answer that was heard on one of the two topics.
fn answer(rig: &mut Rig, shadow: &str, verb: &str) -> (String, Value) {
    loop {
        let found = rig.backlog.iter().position(|message| {
            ["accepted", "rejected"].iter().any(|end| *message.topic == format!("{}/{end}", topic(shadow, verb)))
        });
        if let Some(at) = found {
            let message = rig.backlog.remove(at);
            let end = message.topic.rsplit('/').next().unwrap().to_owned();
            rig.backlog.clear();
            return (end, serde_json::from_slice(&message.payload).unwrap());
        }
        if let Heard::Delivered(message) = rig.heard.recv_timeout(SOON).expect("an answer") {
            rig.backlog.push(message);
        }
    }
}

fn later(rig: &Rig, by: Duration) {
    rig.clock.set(rig.clock.now().plus(by));
}

fn update(rig: &mut Rig, shadow: &str) -> Result<u64, u64> {
    match ask(rig, shadow, "update", r#"{"state":{"reported":{"x":1}}}"#) {
        (end, answer) if end == "accepted" => Ok(answer["version"].as_u64().unwrap()),
        (_, answer) => Err(answer["code"].as_u64().unwrap()),
    }
}

fn delete(rig: &mut Rig, shadow: &str) -> Result<u64, u64> {
    match ask(rig, shadow, "delete", "") {
        (end, answer) if end == "accepted" => Ok(answer["version"].as_u64().unwrap()),
        (_, answer) => Err(answer["code"].as_u64().unwrap()),
    }
}

/// What is stored of deleted shadows, and how many shadows there are.
fn stored(rig: &Rig) -> (usize, usize) {
    let count = |prefix: Key| rig.store.scan_all(prefix.as_bytes()).unwrap().len();
    (count(key::all_deleted_shadows()), count(key::shadows(&ThingName::new("a").unwrap())))
}

#[test]
fn a_thing_has_a_bounded_number_of_shadows_and_deleted_ones_do_not_count() {
    let mut rig = Rig::new();
    for n in 0..SHADOWS_PER_THING_MAX {
        assert_eq!(update(&mut rig, &format!("s{n}")), Ok(1));
    }
    assert_eq!(update(&mut rig, "more"), Err(429));
    assert_eq!(update(&mut rig, "s0"), Ok(2));
    assert_eq!(delete(&mut rig, "s7"), Ok(1));
    assert_eq!(update(&mut rig, "more"), Ok(1));
    assert_eq!(update(&mut rig, "s7"), Err(429));
    assert_eq!(delete(&mut rig, "more"), Ok(1));
    assert_eq!(update(&mut rig, "s7"), Ok(3));
    assert_eq!(stored(&rig), (1, SHADOWS_PER_THING_MAX));
}

#[test]
fn endless_names_lock_nobody_out_and_fill_no_disk() {
    let mut rig = Rig::new();
    let names = 2 * SHADOWS_PER_THING_MAX + DELETED_SHADOWS_PER_THING_MAX;
    for n in 0..names {
        later(&rig, Duration::from_secs(1));
        assert_eq!(update(&mut rig, &format!("s{n}")), Ok(1));
        assert_eq!(delete(&mut rig, &format!("s{n}")), Ok(1));
    }
    assert_eq!(stored(&rig), (DELETED_SHADOWS_PER_THING_MAX, 0));
    // The versions of the last ones go on; the first ones are forgotten.
    assert_eq!(update(&mut rig, &format!("s{}", names - 1)), Ok(3));
    assert_eq!(update(&mut rig, &format!("s{}", names - DELETED_SHADOWS_PER_THING_MAX)), Ok(3));
    assert_eq!(update(&mut rig, &format!("s{}", names - DELETED_SHADOWS_PER_THING_MAX - 1)), Ok(1));
    assert_eq!(stored(&rig), (DELETED_SHADOWS_PER_THING_MAX - 2, 3));
}

#[test]
fn s13_the_version_of_a_deleted_shadow_goes_on_for_48_hours() {
    let mut rig = Rig::new();
    for name in ["early", "late"] {
        assert_eq!(update(&mut rig, name), Ok(1));
        assert_eq!(delete(&mut rig, name), Ok(1));
    }
    assert_eq!(delete(&mut rig, "early"), Err(404));
    rig.stop();
    rig.start();
    later(&rig, DELETED_SHADOW_KEPT - Duration::from_secs(1));
    assert_eq!(update(&mut rig, "early"), Ok(3));
    later(&rig, Duration::from_secs(1));
    assert_eq!(update(&mut rig, "late"), Ok(1));
    assert_eq!(stored(&rig), (0, 2));
    // What nobody asks for again is forgotten at the start.
    assert_eq!(delete(&mut rig, "late"), Ok(1));
    later(&rig, DELETED_SHADOW_KEPT);
    rig.stop();
    rig.start();
    assert_eq!(stored(&rig), (0, 1));
}

#[test]
fn what_an_earlier_version_kept_of_deleted_shadows_counts_no_more() {
    let mut rig = Rig::new();
    assert_eq!(update(&mut rig, "small"), Ok(1));
    rig.stop();
    let thing = ThingName::new("a").unwrap();
    let now = rig.clock.now();
    let mut batch = Batch::new(rig.store.as_ref(), now);
    for n in 0..SHADOWS_PER_THING_MAX {
        let name = ShadowName::new(format!("old{n}")).unwrap();
        let at = if n == 0 { now } else { Timestamp::from_seconds(START - 200_000) };
        batch.put(&key::shadow(&thing, Some(&name)), &ShadowDoc::deleted(u64::MAX / 2, at)).unwrap();
    }
    batch.commit(rig.bus.as_ref()).unwrap();
    rig.start();
    assert_eq!(stored(&rig), (1, 1));
    assert_eq!(update(&mut rig, "small"), Ok(2));
    assert_eq!(update(&mut rig, "old0"), Ok(u64::MAX / 2 + 1));
    assert_eq!(update(&mut rig, "old1"), Ok(1));
}

#[test]
fn s18_the_depth_is_what_the_settings_say() {
    let mut rig = Rig::new();
    let deep = r#"{"clientToken":"t","state":{"reported":{"1":{"2":{"3":{"4":{"5":{"6":{"7":0}}}}}}}}}"#;
    let (end, refused) = ask(&mut rig, "s", "update", deep);
    assert_eq!((end.as_str(), &refused["clientToken"]), ("rejected", &json!("t")));
    assert_eq!(refused["message"], "JSON contains too many levels of nesting; maximum is 6");
    rig.stop();
    rig.shadow_depth_max = 8;
    rig.start();
    assert_eq!(ask(&mut rig, "s", "update", deep).0, "accepted");
}

#[test]
fn a_request_too_many_is_refused_and_changes_nothing() {
    let mut rig = Rig::new();
    assert_eq!(update(&mut rig, "s"), Ok(1));
    for (verb, payload) in [
        ("update", r#"{"state":{"reported":{"x":2}},"clientToken":"t"}"#),
        ("get", r#"{"clientToken":"t"}"#),
        ("delete", r#"{"clientToken":"t"}"#),
    ] {
        let tag = rig.submit(1, caller(Role::Connector, "a", "c"), &topic("s", verb), payload.into(), true);
        rig.until(tag);
        let (end, refused) = answer(&mut rig, "s", verb);
        assert_eq!((end.as_str(), &refused["code"], &refused["clientToken"]), ("rejected", &json!(429), &json!("t")));
    }
    assert_eq!(update(&mut rig, "s"), Ok(2));
}

#[test]
fn a_shadow_update_is_answered_and_tells_who_listens() {
    let mut rig = Rig::new();
    let payload = r#"{"state":{"desired":{"a":1}},"clientToken":"t"}"#;
    let tag = rig.publish(Role::Connector, "a", "$aws/things/a/shadow/update", payload);
    rig.until(tag);
    assert_eq!(rig.delivered("$aws/things/a/shadow/update/accepted")["version"], 1);
    assert_eq!(rig.delivered("$aws/things/a/shadow/update/delta")["state"], json!({ "a": 1 }));
    assert_eq!(rig.delivered("$aws/things/a/shadow/update/documents")["clientToken"], "t");
    let tag = rig.publish(Role::Connector, "a", "$aws/things/a/shadow/name/x/get", r#"{"clientToken":"u"}"#);
    rig.until(tag);
    let rejected = rig.delivered("$aws/things/a/shadow/name/x/get/rejected");
    assert_eq!(rejected["message"], "No shadow exists with name: 'x'");
    assert_eq!(rejected["clientToken"], "u");
}

#[test]
fn cbor_is_answered_in_cbor() {
    let mut rig = Rig::new();
    let payload = Encoding::Cbor.encode(&json!({ "state": { "reported": { "a": 1 } }, "clientToken": "t" }));
    let tag = rig.publish(Role::Connector, "a", "$aws/things/a/shadow/update", payload);
    rig.until(tag);
    let accepted = rig.next_on("$aws/things/a/shadow/update/accepted");
    assert_eq!(Encoding::of(&accepted.payload), Encoding::Cbor);
}

#[test]
fn numbers_and_keys_come_back_as_they_are_kept() {
    let mut rig = Rig::new();
    let sent = r#"{"b":1e2,"a":-0,"c":18446744073709551617,"d":1,"d":18446744073709551615,"e":-9223372036854775808}"#;
    let kept = r#"{"a":-0.0,"b":100.0,"c":1.8446744073709552e+19,"d":18446744073709551615,"e":-9223372036854775808}"#;
    let update = format!(r#"{{"state":{{"desired":{sent}}}}}"#);
    let create = format!(r#"{{"job_id":"j","targets":["a"],"document":{sent}}}"#);
    for (role, who, topic, payload, answer, name) in [
        (
            Role::Connector,
            "a",
            "$aws/things/a/shadow/update",
            update,
            "$aws/things/a/shadow/update/accepted",
            "desired",
        ),
        (
            Role::Connector,
            "a",
            "$aws/things/a/shadow/get",
            String::new(),
            "$aws/things/a/shadow/get/accepted",
            "desired",
        ),
        (Role::Operator, "admin", "muster/op/job-create", create, "$aws/things/a/jobs/notify-next", "jobDocument"),
    ] {
        let tag = rig.publish(role, who, topic, payload);
        rig.until(tag);
        let told = rig.next_on(answer);
        let text = std::str::from_utf8(&told.payload).unwrap();
        assert!(text.contains(&format!(r#""{name}":{kept}"#)), "{text}");
    }
}
