//! Tables: what AWS's documents and captures show.
#![allow(clippy::unwrap_used)]

use super::{Previous, ShadowDoc, UpdateRequest, delete, get, parse_token, update};
use muster_wire::codec::Encoding;
use muster_wire::limits::{SHADOW_DEPTH_MAX, SHADOW_DEPTH_SETTING_MAX};
use muster_wire::shadow::ShadowError;
use muster_wire::time::Timestamp;
use serde_json::{Value, json};

const JSON: Encoding = Encoding::Json;

fn parse_update(payload: &[u8], encoding: Encoding) -> Result<UpdateRequest, (ShadowError, Option<String>)> {
    super::parse_update(payload, encoding, SHADOW_DEPTH_MAX)
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

fn read(payload: &[u8]) -> Value {
    serde_json::from_slice(payload).unwrap()
}

/// Sends `request` at `seconds`; returns accepted, delta (or null) and documents.
fn send(doc: &mut ShadowDoc, request: &Value, seconds: i64) -> Result<[Value; 3], ShadowError> {
    let request = parse_update(request.to_string().as_bytes(), JSON).map_err(|(error, _)| error)?;
    let updated = update(doc, &request, at(seconds), Previous::Keep)?;
    let delta = updated.delta(JSON).map_or(Value::Null, |payload| read(&payload));
    Ok([read(&updated.accepted(JSON)), delta, read(&updated.documents(JSON).unwrap())])
}

fn fetch(doc: &ShadowDoc) -> Value {
    read(&get(doc, "s", at(99), None, JSON).unwrap())
}

#[track_caller]
fn check_state(updates: &[Value], expected: &Value) {
    let mut doc = ShadowDoc::default();
    for state in updates {
        send(&mut doc, &json!({"state": state}), 1).unwrap();
    }
    assert_eq!(&fetch(&doc)["state"], expected, "after {updates:?}");
    assert_eq!(doc.version(), updates.len() as u64);
}

#[test]
fn states_are_those_that_aws_was_seen_to_make() {
    check_state(
        &[json!({"desired": {"online": true}}), json!({"reported": {"online": false}})],
        &json!({"desired": {"online": true}, "reported": {"online": false}, "delta": {"online": true}}),
    );
    check_state(
        &[json!({"desired": {"enabled": true}}), json!({"reported": {"online": false, "enabled": true}})],
        &json!({"desired": {"enabled": true}, "reported": {"online": false, "enabled": true}}),
    );
    check_state(&[json!({})], &json!({}));
    check_state(&[json!({}), json!({"reported": {"online": null}})], &json!({}));
    check_state(
        &[json!({"desired": {}}), json!({"reported": {"online": false}})],
        &json!({"reported": {"online": false}}),
    );
    check_state(
        &[json!({"desired": {"enabled": true}}), json!({"reported": {}})],
        &json!({"desired": {"enabled": true}, "delta": {"enabled": true}}),
    );
    check_state(
        &[json!({"reported": {"list": ["v1", "v2"]}}), json!({"desired": {"list": ["v1"]}})],
        &json!({"reported": {"list": ["v1", "v2"]}, "desired": {"list": ["v1"]}, "delta": {"list": ["v1"]}}),
    );
    check_state(
        &[json!({"reported": {"list": [["v1"], ["v2"]]}}), json!({"desired": {"list": [["v1"]]}})],
        &json!({"reported": {"list": [["v1"], ["v2"]]}, "desired": {"list": [["v1"]]}, "delta": {"list": [["v1"]]}}),
    );
    check_state(
        &[json!({"reported": {"a": {"b": ["d"]}}}), json!({"desired": {"a": {"b": ["c", "d"]}}})],
        &json!({"reported": {"a": {"b": ["d"]}}, "desired": {"a": {"b": ["c", "d"]}}, "delta": {"a": {"b": ["c", "d"]}}}),
    );
    check_state(
        &[json!({"reported": {"a": {"b": {"c": "d", "e": "f"}}}}), json!({"desired": {"a": {"b": {"c": "d2"}}}})],
        &json!({"reported": {"a": {"b": {"c": "d", "e": "f"}}}, "desired": {"a": {"b": {"c": "d2"}}},
                "delta": {"a": {"b": {"c": "d2"}}}}),
    );
    check_state(
        &[
            json!({"reported": {"a1": {"b1": {"c": "d"}}}}),
            json!({"desired": {"a1": {"b1": {"c": "d"}}, "a2": {"b2": "sth"}}}),
        ],
        &json!({"reported": {"a1": {"b1": {"c": "d"}}}, "desired": {"a1": {"b1": {"c": "d"}}, "a2": {"b2": "sth"}},
                "delta": {"a2": {"b2": "sth"}}}),
    );
    check_state(
        &[json!({"reported": {"a": {"b1": {"c": "d"}}}}), json!({"desired": {"a": {"b1": {"c": "d"}, "b2": "sth"}}})],
        &json!({"reported": {"a": {"b1": {"c": "d"}}}, "desired": {"a": {"b1": {"c": "d"}, "b2": "sth"}},
                "delta": {"a": {"b2": "sth"}}}),
    );
    check_state(
        &[
            json!({"desired": {"lights": {"color": {"r": 255, "g": 255, "b": 255}}}}),
            json!({"reported": {"lights": {"color": {"r": 255, "g": 0, "b": 255}}}}),
            json!({"reported": {"lights": null, "own": 1}}),
            json!({"reported": {"lights": {"color": {"r": 255, "g": 0, "b": 255}}}}),
        ],
        &json!({"desired": {"lights": {"color": {"r": 255, "g": 255, "b": 255}}},
                "reported": {"lights": {"color": {"r": 255, "g": 0, "b": 255}}, "own": 1},
                "delta": {"lights": {"color": {"g": 255}}}}),
    );
}

#[test]
fn patches_merge_field_by_field() {
    let cases = [
        // stored, patch, result
        (json!({"x": 1, "k": 0}), json!({"x": null}), json!({"k": 0})),
        (json!({"k": 0}), json!({"x": null}), json!({"k": 0})),
        (json!({"k": 0}), json!({"x": [1]}), json!({"k": 0, "x": [1]})),
        (json!({"k": 0}), json!({"x": {"y": 1, "z": null}}), json!({"k": 0, "x": {"y": 1}})),
        (json!({"x": {"y": 1}}), json!({"x": {"z": 2}}), json!({"x": {"y": 1, "z": 2}})),
        (json!({"x": {"y": 1}}), json!({"x": 3}), json!({"x": 3})),
        (json!({"x": {"y": 1}}), json!({"x": [3]}), json!({"x": [3]})),
        (json!({"x": 3}), json!({"x": {}}), json!({"x": {}})),
        (json!({"x": 3}), json!({"x": {"d": 3}}), json!({"x": {"d": 3}})),
        (json!({"x": [1, 2, 3]}), json!({"x": [9]}), json!({"x": [9]})),
        (json!({"k": 0}), json!({"d": {}}), json!({"k": 0, "d": {}})),
        (json!({"x": {"y": 1}}), json!({"x": {}}), json!({"x": {"y": 1}})),
        (json!({"x": {"y": 1}}), json!({"x": {"y": null}}), json!({"x": {}})),
        (json!({"k": 0}), json!({"a": {"b": null}}), json!({"k": 0})),
        (json!({"k": 0}), json!({"a": {"b": {"c": null}}}), json!({"k": 0})),
        (json!({"a": {}}), json!({"a": {"b": {"c": null}}}), json!({"a": {}})),
        (json!({"k": 0}), json!({"n": 9_007_199_254_740_993_u64}), json!({"k": 0, "n": 9_007_199_254_740_993_u64})),
    ];
    for (stored, patch, result) in cases {
        check_state(&[json!({"reported": stored}), json!({"reported": patch})], &json!({"reported": result}));
    }
    check_state(
        &[json!({"desired": {"a": 1}, "reported": {"a": 1}}), json!({"desired": null})],
        &json!({"reported": {"a": 1}}),
    );
    check_state(&[json!({"reported": {"a": 1}}), json!({"reported": {"a": null}})], &json!({}));
    check_state(&[json!({"reported": {"a": 1}}), Value::Null], &json!({}));
    check_state(
        &[json!({"desired": {"a": {}, "b": 1}})],
        &json!({"desired": {"a": {}, "b": 1}, "delta": {"a": {}, "b": 1}}),
    );
}

#[test]
fn a_delta_compares_values_not_spellings() {
    let cases = [
        (json!(1), json!(1.0), true),
        (json!([1, {"a": 2.0}]), json!([1.0, {"a": 2}]), true),
        (json!(1), json!(true), false),
        (json!(0), json!(null), false),
        (json!("1"), json!(1), false),
        (json!({"a": 1}), json!(1), false),
        (json!(1), json!({"a": 1}), false),
        (json!([1, 2]), json!([2, 1]), false),
        (json!(9_007_199_254_740_993_u64), json!(9_007_199_254_740_992.0), false),
        (json!(u64::MAX), json!(u64::MAX), true),
        (json!(1e300), json!(1e300), true),
    ];
    for (desired, reported, equal) in cases {
        let mut doc = ShadowDoc::default();
        let request = json!({"state": {"desired": {"k": desired}, "reported": {"k": reported}}});
        let [_, delta, _] = send(&mut doc, &request, 1).unwrap();
        assert_eq!(delta.is_null(), equal, "{request}");
    }
}

#[test]
fn answers_are_those_of_the_transcripts() {
    let mut doc = ShadowDoc::default();
    let [accepted, delta, documents] =
        send(&mut doc, &json!({"clientToken": "t", "state": {"desired": {"Color": "red", "Status": "Great"}}}), 10)
            .unwrap();
    let stamps = json!({"Color": {"timestamp": 10}, "Status": {"timestamp": 10}});
    assert_eq!(
        accepted,
        json!({"clientToken": "t", "state": {"desired": {"Color": "red", "Status": "Great"}},
               "metadata": {"desired": stamps}, "timestamp": 10, "version": 1})
    );
    assert_eq!(
        delta,
        json!({"clientToken": "t", "state": {"Color": "red", "Status": "Great"}, "metadata": stamps,
               "timestamp": 10, "version": 1})
    );
    assert_eq!(
        documents,
        json!({"clientToken": "t", "timestamp": 10, "current": {"version": 1, "metadata": {"desired": stamps},
               "state": {"desired": {"Color": "red", "Status": "Great"}}}})
    );

    // The delta carries the time at which desired was set, and the token of the update that caused it.
    let [accepted, delta, documents] =
        send(&mut doc, &json!({"state": {"reported": {"Status": "Awful", "Color": "red"}}}), 20).unwrap();
    assert_eq!(accepted["metadata"], json!({"reported": {"Status": {"timestamp": 20}, "Color": {"timestamp": 20}}}));
    assert_eq!(
        delta,
        json!({"state": {"Status": "Great"}, "metadata": {"Status": {"timestamp": 10}}, "timestamp": 20, "version": 2})
    );
    assert_eq!(documents["previous"]["version"], 1);
    assert_eq!(documents["previous"]["state"], json!({"desired": {"Color": "red", "Status": "Great"}}));
    assert_eq!(documents["current"]["version"], 2);

    // An update elsewhere still tells the whole difference.
    let [_, delta, _] = send(&mut doc, &json!({"state": {"reported": {"own": 1}}}), 30).unwrap();
    assert_eq!(delta["state"], json!({"Status": "Great"}));

    assert_eq!(
        fetch(&doc),
        json!({"state": {"desired": {"Color": "red", "Status": "Great"},
                         "reported": {"Color": "red", "Status": "Awful", "own": 1}, "delta": {"Status": "Great"}},
               "metadata": {"desired": stamps,
                            "reported": {"Color": {"timestamp": 20}, "Status": {"timestamp": 20}, "own": {"timestamp": 30}},
                            "delta": {"Status": {"timestamp": 10}}},
               "version": 3, "timestamp": 99})
    );
}

#[test]
fn only_the_named_leaves_get_a_new_time() {
    let mut doc = ShadowDoc::default();
    send(&mut doc, &json!({"state": {"reported": {"a": 1, "o": {"x": 1, "y": [1, {"z": 2}]}, "timestamp": 4}}}), 10)
        .unwrap();
    send(&mut doc, &json!({"state": {"reported": {"a": 1, "o": {"x": null, "w": {}}}}}), 20).unwrap();
    assert_eq!(
        fetch(&doc)["metadata"]["reported"],
        json!({"a": {"timestamp": 20}, "timestamp": {"timestamp": 10},
               "o": {"y": [{"timestamp": 10}, {"z": {"timestamp": 10}}], "w": {}}})
    );
}

#[test]
fn clearing_keeps_the_shadow() {
    let mut doc = ShadowDoc::default();
    let [accepted, delta, _] = send(&mut doc, &json!({"state": null}), 5).unwrap();
    assert_eq!(accepted, json!({"state": null, "metadata": {"timestamp": 5}, "timestamp": 5, "version": 1}));
    assert_eq!(delta, Value::Null);
    assert_eq!(fetch(&doc), json!({"state": {}, "metadata": {}, "version": 1, "timestamp": 99}));
    let [accepted, _, documents] =
        send(&mut doc, &json!({"state": {"desired": null, "reported": {"a": null}}}), 6).unwrap();
    assert_eq!(accepted["state"], json!({"desired": null, "reported": {"a": null}}));
    assert_eq!(accepted["metadata"], json!({"reported": {"a": {"timestamp": 6}}}));
    assert_eq!(documents["previous"], json!({"state": {}, "metadata": {}, "version": 1}));
}

#[test]
fn a_deleted_shadow_goes_on_with_its_version() {
    let mut doc = ShadowDoc::default();
    let missing = ShadowError::new(404, "No shadow exists with name: 's'");
    assert_eq!(get(&doc, "s", at(1), None, JSON), Err(missing.clone()));
    assert_eq!(delete(&mut doc, "s", at(1), None, JSON), Err(missing.clone()));
    assert_eq!(doc, ShadowDoc::default());
    for _ in 0..9 {
        send(&mut doc, &json!({"state": {"desired": {"a": 1}}}), 1).unwrap();
    }
    let answer = delete(&mut doc, "s", at(2), Some("t"), JSON).unwrap();
    assert_eq!(read(&answer), json!({"version": 9, "timestamp": 2, "clientToken": "t"}));
    assert_eq!(get(&doc, "s", at(3), None, JSON), Err(missing));
    assert!(!doc.is_live() && doc.desired().is_none());
    let [accepted, _, documents] = send(&mut doc, &json!({"state": {"reported": {"b": 1}}}), 4).unwrap();
    assert_eq!(accepted["version"], 11);
    assert_eq!(documents.get("previous"), None);
}

#[test]
fn the_version_must_be_the_stored_one() {
    let conflict = Err(ShadowError::new(409, "Version conflict"));
    let request = |version: u64| json!({"state": {"desired": {"a": 1}}, "version": version});
    let mut doc = ShadowDoc::default();
    assert_eq!(send(&mut doc, &request(2), 1), conflict);
    for first in [0, 1] {
        assert!(send(&mut ShadowDoc::default(), &request(first), 1).is_ok());
    }
    for _ in 0..10 {
        send(&mut doc, &json!({"state": {}}), 1).unwrap();
    }
    assert_eq!(send(&mut doc, &request(9), 1), conflict);
    assert_eq!(doc.version(), 10);
    assert_eq!(send(&mut doc, &request(10), 1).unwrap()[0]["version"], 11);
}

#[track_caller]
fn check_refused(payload: &[u8], encoding: Encoding, code: u16, message: &str, token: Option<&str>) {
    let found = parse_update(payload, encoding);
    assert_eq!(found, Err((ShadowError::new(code, message), token.map(str::to_owned))));
}

#[test]
fn each_fault_has_its_literal_message() {
    let long = "x".repeat(65);
    let cases = [
        ("", "Invalid JSON", None),
        ("{", "Invalid JSON", None),
        ("[]", "Invalid JSON", None),
        ("3", "Invalid JSON", None),
        ("{\"state\":{}} x", "Invalid JSON", None),
        (r#"{"clientToken":"t"}"#, "Missing required node: state", Some("t")),
        (r#"{"clientToken":"t","state":3}"#, "State node must be an object", Some("t")),
        (r#"{"state":[]}"#, "State node must be an object", None),
        (r#"{"state":{"desired":[]}}"#, "Desired node must be an object", None),
        (r#"{"state":{"reported":"x"}}"#, "Reported node must be an object", None),
        (r#"{"state":{},"version":-1}"#, "Invalid version", None),
        (r#"{"state":{},"version":1.5}"#, "Invalid version", None),
        (r#"{"state":{},"version":"1"}"#, "Invalid version", None),
        (r#"{"state":{},"version":true}"#, "Invalid version", None),
        (r#"{"state":{},"clientToken":7}"#, "Invalid clientToken", None),
        (&format!(r#"{{"clientToken":"{long}"}}"#), "Invalid clientToken", None),
        (r#"{"state":{"delta":{}}}"#, "State contains an invalid node", None),
        (r#"{"state":{"desired":{"a":[1,null]}}}"#, "Invalid JSON", None),
        (r#"{"state":{"desired":{"a":1e400}},"clientToken":"t"}"#, "Invalid JSON", Some("t")),
        (r#"{"state":{"desired":{"a":"\ud800"}},"clientToken":"t"}"#, "Invalid JSON", Some("t")),
        (
            r#"{"state":{"desired":{"1":{"2":{"3":{"4":{"5":{"6":{"7":0}}}}}}}}}"#,
            "JSON contains too many levels of nesting; maximum is 6",
            None,
        ),
        (
            r#"{"state":{"reported":{"1":{"2":{"3":{"4":{"5":[{"6":{"7":0}}]}}}}}}}"#,
            "JSON contains too many levels of nesting; maximum is 6",
            None,
        ),
        // Of two faults the first in the order of the checks.
        (r#"{"state":3,"clientToken":7}"#, "Invalid clientToken", None),
        (r#"{"state":{"x":1,"desired":3}}"#, "Desired node must be an object", None),
        (r#"{"state":{"x":1},"version":-1}"#, "State contains an invalid node", None),
        (r#"{"state":{"desired":{"a":[null]}},"version":-1}"#, "Invalid JSON", None),
    ];
    for (payload, message, token) in cases {
        check_refused(payload.as_bytes(), JSON, 400, message, token);
        if let Ok(value) = serde_json::from_str::<Value>(payload) {
            check_refused(&Encoding::Cbor.encode(&value), Encoding::Cbor, 400, message, token);
        }
    }
    let utf8 = "Unsupported documented encoding; supported encoding is UTF-8";
    check_refused(b"{\"state\":{\"desired\":{\"a\":\"\xff\"}}}", JSON, 415, utf8, None);
    check_refused(&[0xa1, 0x61], Encoding::Cbor, 400, "Invalid JSON", None);
    // {"state": {"desired": {"a": Infinity}}, "clientToken": "t"} must not remove `a`.
    let infinite = b"\xa2\x65state\xa1\x67desired\xa1\x61a\xf9\x7c\0\x6bclientToken\x61t";
    let message = "Invalid JSON: a number is infinite or not a number";
    check_refused(infinite, Encoding::Cbor, 400, message, Some("t"));
}

#[test]
fn six_levels_and_a_token_of_64_bytes_pass() {
    let token = "é".repeat(32);
    let payload = format!(
        r#"{{"clientToken":"{token}","extra":1,"state":{{"desired":{{"1":{{"2":{{"3":{{"4":{{"5":{{"6":[[[0]]],"e":{{}}}}}}}}}}}}}}}}}}"#
    );
    assert_eq!(parse_update(payload.as_bytes(), JSON).unwrap().client_token(), Some(token.as_str()));
}

#[test]
fn only_objects_are_levels_and_arrays_in_arrays_have_an_end_too() {
    let nested =
        |depth: usize| format!(r#"{{"state":{{"desired":{{"a":{}{}}}}}}}"#, "[".repeat(depth), "]".repeat(depth));
    for depth in [30, 99] {
        let request = parse_update(nested(depth).as_bytes(), JSON).unwrap();
        // It can be stored and told in every form.
        let mut doc = ShadowDoc::default();
        update(&mut doc, &request, at(1), Previous::Drop).unwrap();
        for encoding in [JSON, Encoding::Cbor] {
            assert_eq!(encoding.decode::<ShadowDoc>(&encoding.encode(&doc)), Ok(doc.clone()));
            let updated = update(&mut doc, &request, at(1), Previous::Keep).unwrap();
            for payload in [updated.documents(encoding), updated.delta(encoding), Some(updated.accepted(encoding))] {
                encoding.decode::<Value>(&payload.unwrap()).unwrap();
            }
        }
    }
    check_refused(nested(100).as_bytes(), JSON, 400, TOO_DEEP, None);
}

#[test]
fn what_is_too_deep_to_be_read_is_refused_for_that_with_its_token() {
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
        for depth in [120, 20_000] {
            let nested = format!("{}1{}", open.repeat(depth), close.repeat(depth));
            let payload = format!(r#"{{"state":{{"desired":{{"a":{nested}}}}},"clientToken":"t"}}"#);
            check_refused(payload.as_bytes(), JSON, 400, TOO_DEEP, Some("t"));
            assert_eq!(parse_token(payload.as_bytes(), JSON), Ok(Some("t".to_owned())));
            check_refused(&payload.as_bytes()[..payload.len() - 1], JSON, 400, "Invalid JSON", None);
            let bad = format!(r#"{{"state":{nested},"clientToken":7}}"#);
            check_refused(bad.as_bytes(), JSON, 400, "Invalid clientToken", None);
        }
    }
}

#[test]
fn the_depth_that_the_settings_allow_is_the_one_that_counts_and_is_named() {
    let nested = |depth: usize| format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
    for most in [1, 5, 8, SHADOW_DEPTH_SETTING_MAX] {
        let parse = |depth| {
            let payload = format!(r#"{{"state":{{"reported":{}}}}}"#, nested(depth));
            super::parse_update(payload.as_bytes(), JSON, most)
        };
        assert!(parse(most).is_ok());
        let message = format!("JSON contains too many levels of nesting; maximum is {most}");
        assert_eq!(parse(most + 1), Err((ShadowError::new(400, message), None)));
    }
}

const TOO_DEEP: &str = "JSON contains too many levels of nesting; maximum is 6";

#[test]
fn a_document_of_the_largest_size_passes_and_no_larger() {
    // {"reported":{"k":"…"}} has 21 bytes around the text.
    let filled = |length: usize| json!({"state": {"reported": {"k": "x".repeat(length)}}});
    let mut doc = ShadowDoc::default();
    send(&mut doc, &filled(8192 - 21), 1).unwrap();
    assert_eq!(doc.state_bytes(), 8192);
    let before = doc.clone();
    let too_large = Err(ShadowError::new(413, "The payload exceeds the maximum size allowed"));
    assert_eq!(send(&mut doc, &filled(8192 - 20), 2), too_large);
    assert_eq!(send(&mut doc, &json!({"state": {"desired": {"a": 1}}}), 2), too_large);
    assert_eq!(doc, before);
    // A full document can still be changed and emptied.
    assert_eq!(send(&mut doc, &filled(8192 - 21), 2).unwrap()[0]["version"], 2);
    assert_eq!(send(&mut doc, &json!({"state": {"reported": {"k": null}}}), 3).unwrap()[0]["version"], 3);
}

#[test]
fn the_content_of_get_and_delete_is_ignored_but_for_the_token() {
    for payload in ["", "x", "[]", "{}", r#"{"clientToken":null}"#] {
        assert_eq!(parse_token(payload.as_bytes(), JSON), Ok(None));
    }
    assert_eq!(parse_token(br#"{"clientToken":"t","a":1}"#, JSON), Ok(Some("t".to_owned())));
    assert_eq!(
        parse_token(&Encoding::Cbor.encode(&json!({"clientToken": "t"})), Encoding::Cbor),
        Ok(Some("t".to_owned()))
    );
    assert_eq!(parse_token(br#"{"clientToken":1}"#, JSON), Err(ShadowError::new(400, "Invalid clientToken")));
}

#[test]
fn documents_are_built_only_from_a_kept_copy() {
    let mut doc = ShadowDoc::default();
    let request = parse_update(br#"{"state":{}}"#, JSON).unwrap();
    assert_eq!(update(&mut doc, &request, at(1), Previous::Drop).unwrap().documents(JSON), None);
}

#[test]
fn the_stored_form_is_compact() {
    let mut doc = ShadowDoc::default();
    send(&mut doc, &json!({"state": {"reported": {"a": [1, {"timestamp": 2}]}}}), 10).unwrap();
    let stored = serde_json::to_string(&doc).unwrap();
    assert_eq!(
        stored,
        r#"{"reported":{"values":{"a":[1,{"timestamp":2}]},"metadata":{"a":[10,{"timestamp":10}]}},"version":1,"live":true,"updated_at":10000}"#
    );
    assert_eq!(serde_json::from_str::<ShadowDoc>(&stored).unwrap(), doc);
}

#[test]
fn the_largest_documents_fit_a_message() {
    let update = |count: usize| {
        let payload = serde_json::json!({ "state": { "reported": { "a": vec![1; count] } } }).to_string();
        parse_update(payload.as_bytes(), Encoding::Json).unwrap()
    };
    let most = muster_wire::limits::SHADOW_LEAVES_MAX;
    let mut doc = ShadowDoc::default();
    let refused = super::update(&mut doc, &update(most + 1), Timestamp::from_seconds(1), Previous::Keep).map(drop);
    assert_eq!(refused.unwrap_err().code, 413);
    assert_eq!(doc, ShadowDoc::default());
    for _ in 0..2 {
        let request = update(most);
        let updated =
            super::update(&mut doc, &request, Timestamp::from_seconds(1_800_000_000), Previous::Keep).unwrap();
        let documents = updated.documents(Encoding::Json).unwrap();
        assert!(documents.len() < muster_wire::limits::PAYLOAD_BYTES_MAX, "{} bytes", documents.len());
    }
}
