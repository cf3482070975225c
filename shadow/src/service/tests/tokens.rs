//! What a token is bound to, who sees it, and what becomes of it.

use super::*;
use muster_wire::id::PoolName;

fn request(token: &str, name: &str) -> EnrolRequest {
    EnrolRequest {
        token: token.into(),
        name: ThingName::new(name).unwrap(),
        pool: None,
        prefix: None,
        csr: csr(name).unwrap().0,
        host: HostFacts::default(),
    }
}

fn tokens(rig: &mut Rig, all: bool) -> Vec<Value> {
    let listed = rig.operator("token-list", json!({ "all": all })).unwrap();
    listed["tokens"].as_array().unwrap().clone()
}

#[test]
fn a_token_is_bound_to_pool_and_prefix() {
    let mut rig = Rig::new();
    let add = json!({ "name": "a", "pool": "blue", "prefix": "/opt/muster" });
    let added = rig.operator("connector-add", add).unwrap();
    let token = added["token"].as_str().unwrap();
    let refused = |request: EnrolRequest, why: &str| {
        let (code, message) = rig.enrol_with(request).unwrap_err();
        assert_eq!(code, RejectionCode::Forbidden);
        assert!(message.contains(why) && message.contains("--renew"), "{message}");
    };
    let good = || EnrolRequest { prefix: Some("/opt/muster".into()), ..request(token, "a") };
    refused(EnrolRequest { prefix: None, ..good() }, "for another folder");
    refused(EnrolRequest { prefix: Some("/opt/muster2".into()), ..good() }, "for another folder");
    refused(EnrolRequest { pool: Some(PoolName::new("red").unwrap()), ..good() }, "for another pool");
    // The wrong ones cost the token nothing.
    rig.enrol_with(EnrolRequest { pool: Some(PoolName::new("blue").unwrap()), ..good() }).unwrap();

    // Without a prefix of the operator's choice any will do; without a pool no pool may be named.
    let free = rig.add("b");
    let pool = Some(PoolName::new("blue").unwrap());
    let (_, message) = rig.enrol_with(EnrolRequest { pool, ..request(&free, "b") }).unwrap_err();
    assert!(message.contains("for another pool"), "{message}");
    rig.enrol_with(EnrolRequest { prefix: Some("/anywhere".into()), ..request(&free, "b") }).unwrap();
}

#[test]
fn a_renewed_token_keeps_the_prefix_unless_it_is_given_anew() {
    let mut rig = Rig::new();
    rig.operator("connector-add", json!({ "name": "a", "prefix": "/one" })).unwrap();
    let mut renewed = |prefix: Value| {
        let mut add = json!({ "name": "a", "renew": true });
        if !prefix.is_null() {
            add["prefix"] = prefix;
        }
        rig.operator("connector-add", add).unwrap()["prefix"].clone()
    };
    assert_eq!(renewed(Value::Null), "/one");
    assert_eq!(renewed("/two".into()), "/two");
    assert_eq!(renewed(Value::Null), "/two");
}

#[test]
fn operators_see_live_tokens_and_on_request_the_dead_ones_but_never_the_secret() {
    let mut rig = Rig::new();
    let first = rig.operator("connector-add", json!({ "name": "a", "pool": "blue", "token_life_s": 600 })).unwrap();
    let second = rig.add("b");
    let third = rig.add("c");
    let live = tokens(&mut rig, false);
    assert_eq!(live.len(), 3);
    assert_eq!((&live[0]["connector"], &live[0]["pool"]), (&json!("a"), &json!("blue")));
    assert_eq!(
        (&live[0]["issued_by"], &live[0]["uses"], &live[0]["uses_max"]),
        (&json!("admin"), &json!(0), &json!(1))
    );
    assert!(live.iter().all(|token| token["state"] == "live" && token["id"].as_str().unwrap().len() == 12));

    rig.enrol_with(request(&second, "b")).unwrap();
    let revoked = rig.operator("token-revoke", json!({ "connector": "c" })).unwrap();
    assert_eq!(revoked["token"]["connector"], "c");
    assert!(rig.enrol_with(request(&third, "c")).unwrap_err().1.contains("token was revoked; "));
    let again = rig.operator("token-revoke", json!({ "connector": "c" })).unwrap_err();
    assert!(again.1.contains("has no live token"), "{again:?}");
    let fourth = rig.add("d");
    let renew = json!({ "name": "d", "renew": true });
    let fifth = rig.operator("connector-add", renew.clone()).unwrap();
    assert!(rig.enrol_with(request(&fourth, "d")).unwrap_err().1.contains("was replaced by a newer one; "));
    rig.operator("connector-remove", json!({ "name": "d" })).unwrap();
    let removed = rig.enrol_with(request(fifth["token"].as_str().unwrap(), "d")).unwrap_err();
    assert!(removed.1.contains("token was revoked; `muster connector add d --reinstall`"), "{removed:?}");
    rig.clock.set(Timestamp::from_seconds(START + 600));
    // What has expired is not replaced: that ended it.
    rig.operator("connector-add", json!({ "name": "a", "renew": true, "token_life_s": 10 })).unwrap();
    rig.clock.set(Timestamp::from_seconds(START + 620));
    assert!(tokens(&mut rig, false).is_empty());
    let all = tokens(&mut rig, true);
    let mut states: Vec<(&str, &str)> =
        all.iter().map(|token| (token["connector"].as_str().unwrap(), token["state"].as_str().unwrap())).collect();
    states.sort_unstable();
    let ended = [("c", "revoked"), ("d", "replaced"), ("d", "revoked")];
    assert_eq!(states, [&[("a", "expired"), ("a", "expired"), ("b", "used")], &ended[..]].concat());
    let used = all.iter().find(|token| token["state"] == "used").unwrap();
    assert_eq!((&used["uses"], &used["used_from"]), (&json!(1), &json!("127.0.0.1")));
    let told = json!(all).to_string();
    assert!(!told.contains(first["token"].as_str().unwrap()) && !told.contains(&second));

    // A month later nobody asks any more.
    rig.clock.set(Timestamp::from_seconds(START + 31 * 24 * 3600));
    rig.add("e");
    assert_eq!(tokens(&mut rig, true).len(), 1);
}

#[test]
fn a_preview_checks_everything_and_changes_nothing() {
    let mut rig = Rig::new();
    let shown = rig.operator("connector-add", json!({ "name": "a", "prefix": "/x", "preview": true })).unwrap();
    assert_eq!((&shown["token"], &shown["prefix"]), (&json!(""), &json!("/x")));
    assert!(rig.operator("connector-show", json!({ "name": "a" })).is_err());
    assert!(tokens(&mut rig, true).is_empty());
    let token = rig.add("a");
    let taken = rig.operator("connector-add", json!({ "name": "a", "preview": true })).unwrap_err();
    assert!(taken.1.contains("is called a already"), "{taken:?}");
    // A preview of a renewal leaves the old token alone.
    rig.operator("connector-add", json!({ "name": "a", "preview": true, "renew": true })).unwrap();
    rig.enrol_with(request(&token, "a")).unwrap();
}

#[test]
fn what_cannot_be_a_token_or_a_component_is_refused_before_anything_is_stored() {
    let mut rig = Rig::new();
    rig.publish_version("1");
    for (add, why) in [
        (json!({ "name": "a", "token_life_s": 9 }), "from 10 seconds to 24 hours"),
        (json!({ "name": "a", "token_life_s": 86_401 }), "from 10 seconds to 24 hours"),
        (json!({ "name": "a", "prefix": "" }), "printable ASCII"),
        (json!({ "name": "a", "prefix": "/opt/é" }), "printable ASCII"),
        (json!({ "name": "a", "components": { "web": "2" } }), "has no version 2; published are 1"),
        (json!({ "name": "a", "components": { "db": "1" } }), "no component is called db"),
    ] {
        let (_, message) = rig.operator("connector-add", add).unwrap_err();
        assert!(message.contains(why), "{message}");
    }
    assert!(rig.operator("connector-show", json!({ "name": "a" })).is_err());
}

#[test]
fn what_a_connector_was_added_with_is_wanted_once_it_is_enrolled() {
    let mut rig = Rig::new();
    rig.publish_version("1");
    let add = json!({ "name": "a", "components": { "web": "1" } });
    let token = rig.operator("connector-add", add).unwrap()["token"].as_str().unwrap().to_owned();
    let listed = |rig: &mut Rig| rig.operator("actions", json!({ "thing": "a" })).unwrap()["actions"].clone();
    assert_eq!(listed(&mut rig), json!([]));
    rig.enrol_with(request(&token, "a")).unwrap();
    rig.offered("upgrade-1");
    assert_eq!(listed(&mut rig)[0]["to"], "1");
    // Enrolled anew, it is not wanted a second time.
    let renewed = rig.operator("connector-add", json!({ "name": "a", "renew": true })).unwrap();
    rig.enrol_with(request(renewed["token"].as_str().unwrap(), "a")).unwrap();
    let next = rig.operator("upgrade", json!({ "component": "web", "version": "1", "to": "all" })).unwrap();
    assert_eq!(next["target"], "t2");
}

#[test]
fn intents_that_a_crash_left_are_stored_at_the_next_start() {
    use crate::records::{Connector, StoredConnector, key};
    use crate::store::{Expect, Op, codec};
    let mut rig = Rig::new();
    rig.publish_version("1");
    let add = json!({ "name": "a", "components": { "web": "1" } });
    let token = rig.operator("connector-add", add).unwrap()["token"].as_str().unwrap().to_owned();
    rig.enrol_with(request(&token, "a")).unwrap();
    rig.offered("upgrade-1");
    rig.service.take().unwrap().stop();

    // As if the process had ended after the intent and before the connector said so.
    let key = key::connector(&ThingName::new("a").unwrap());
    let stored = rig.store.get(key.as_bytes()).unwrap().unwrap();
    let connector: Connector = codec::decode::<StoredConnector>(key.as_bytes(), &stored.value).unwrap().into();
    assert!(connector.wanted.is_empty() && connector.enrolled.is_some());
    let wanted = [(ComponentName::new("web").unwrap(), Version::new("1").unwrap())].into();
    let unsettled = StoredConnector::from(Connector { wanted, ..connector });
    let value = codec::encode(key.as_bytes(), &unsettled).unwrap();
    // The store in memory applies before it answers.
    drop(rig.store.apply(vec![Op::put(key.as_bytes(), Expect::Any, value)]));
    rig.start();
    let next = rig.operator("upgrade", json!({ "component": "web", "version": "1", "to": "all" })).unwrap();
    assert_eq!(next["target"], "t2", "the intent that was there is not stored again");
}

#[test]
fn enrolment_refuses_everything_that_is_not_the_token_of_this_connector() {
    let mut rig = Rig::new();
    let (csr_a, _) = csr("a").unwrap();
    let (csr_b, _) = csr("b").unwrap();
    let (first, second) = (rig.add("a"), rig.add("b"));
    let refused = |outcome: Result<String, Rejection2>, what: &str| {
        let (code, message) = outcome.unwrap_err();
        assert!(message.contains(what), "{message}");
        code
    };
    assert_eq!(refused(rig.enrol("nonsense", "a", &csr_a), "is not valid"), RejectionCode::Forbidden);
    assert_eq!(refused(rig.enrol(&second, "a", &csr_a), "for another connector"), RejectionCode::Forbidden);
    assert_eq!(refused(rig.enrol(&first, "a", &csr_b), "CSR for another name"), RejectionCode::Invalid);
    assert_eq!(refused(rig.enrol(&first, "a", "no csr"), ""), RejectionCode::Invalid);
    let certificate = rig.enrol(&first, "a", &csr_a).unwrap();
    let fleet = Fleet::new("test").unwrap();
    let der = muster_certs::certificate::first_from_pem(&certificate).unwrap();
    assert_eq!(Identity::from_certificate(&der, &fleet).unwrap().name(), "a");
    assert_eq!(refused(rig.enrol(&first, "a", &csr_a), "was used already"), RejectionCode::Forbidden);
    rig.clock.set(Timestamp::from_seconds(START + 300));
    assert_eq!(refused(rig.enrol(&second, "b", &csr_b), "has expired"), RejectionCode::Forbidden);
    let renewed = rig.operator("connector-add", json!({ "name": "b", "renew": true })).unwrap();
    // What ended it is told, and that was not the renewal.
    assert_eq!(refused(rig.enrol(&second, "b", &csr_b), "has expired"), RejectionCode::Forbidden);
    assert!(rig.enrol(renewed["token"].as_str().unwrap(), "b", &csr_b).is_ok());
    // A lost host comes back under its name with an operator's yes.
    let again = rig.operator("connector-add", json!({ "name": "b", "renew": true })).unwrap();
    assert!(rig.enrol(again["token"].as_str().unwrap(), "b", &csr_b).is_ok());
}

#[test]
fn a_renewal_changes_nothing_but_the_token() {
    let mut rig = Rig::new();
    rig.operator("connector-add", json!({ "name": "a", "pool": "blue", "description": "d" })).unwrap();
    rig.operator("connector-add", json!({ "name": "b" })).unwrap();
    rig.operator("connector-add", json!({ "name": "a", "renew": true })).unwrap();
    let moved = rig.operator("connector-add", json!({ "name": "a", "renew": true, "pool": "red" })).unwrap_err();
    assert!(moved.1.contains("leave out pool"), "{moved:?}");
    let mut shown = |name: &str| rig.operator("connector-show", json!({ "name": name })).unwrap()["connector"].clone();
    let (a, b) = (shown("a"), shown("b"));
    assert_eq!((&a["pool"], &a["description"], &b["pool"]), (&"blue".into(), &"d".into(), &Value::Null));
}
