//! Random histories of a shadow, against the oracle.
#![allow(clippy::unwrap_used)]

use super::oracle::Oracle;
use super::{Previous, ShadowDoc, delete, get, parse_token, parse_update, update};
use muster_wire::codec::Encoding;
use muster_wire::limits::SHADOW_DEPTH_MAX;
use muster_wire::time::Timestamp;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

#[derive(Clone, Debug)]
enum Step {
    Update(Value),
    Get,
    Delete,
}

/// Few names, so that updates meet; one of them is that of a leaf's metadata.
fn key() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "c", "timestamp", ""]).prop_map(str::to_owned)
}

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => Just(Value::Null),
        2 => any::<bool>().prop_map(Value::from),
        4 => (-1i64..2).prop_map(Value::from),
        2 => prop::sample::select(vec![json!(1.0), json!(0.5), json!(-0.0)]),
        2 => prop::sample::select(vec!["", "x", "é\"\n"]).prop_map(Value::from),
        1 => (1usize..5000).prop_map(|length| Value::from("y".repeat(length))),
    ]
}

fn object(of: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    prop::collection::vec((key(), of), 0..4).prop_map(|fields| Value::Object(fields.into_iter().collect()))
}

fn value() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(
        9,
        24,
        3,
        |inner| prop_oneof![3 => object(inner.clone()), 1 => prop::collection::vec(inner, 0..3).prop_map(Value::Array)],
    )
}

/// Around the deepest nesting that is allowed.
fn deep() -> impl Strategy<Value = Value> {
    (prop::collection::vec(any::<bool>(), 5..9), leaf()).prop_map(|(levels, leaf)| {
        levels.into_iter().fold(leaf, |inner, array| if array { json!([{"a": inner}]) } else { json!({"a": inner}) })
    })
}

/// Two or three of them are more than a document may have.
fn large() -> impl Strategy<Value = Value> {
    (3000usize..5000).prop_map(|length| Value::from("z".repeat(length)))
}

fn section() -> impl Strategy<Value = Value> {
    prop_oneof![
        16 => object(value()),
        2 => object(deep()),
        2 => object(large()),
        1 => Just(Value::Null),
        1 => value(),
    ]
}

fn state() -> impl Strategy<Value = Value> {
    let sections = (prop::option::of(section()), prop::option::of(section()), prop::option::weighted(0.02, value()));
    prop_oneof![
        20 => sections.prop_map(|(desired, reported, delta)| {
            let named = [("desired", desired), ("reported", reported), ("delta", delta)];
            Value::Object(named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect())
        }),
        1 => Just(Value::Null),
        1 => value(),
    ]
}

fn request() -> impl Strategy<Value = Value> {
    let version = prop_oneof![
        6 => Just(None),
        4 => (0u64..5).prop_map(|version| Some(json!(version))),
        1 => prop::sample::select(vec![json!(-1), json!(1.0), json!(true), json!("1"), Value::Null]).prop_map(Some),
    ];
    let token = prop_oneof![
        6 => Just(None),
        3 => "[a-zé]{0,40}".prop_map(|token| Some(json!(token))),
        1 => prop::sample::select(vec![json!(3), Value::Null, json!("é".repeat(33))]).prop_map(Some),
    ];
    let state = prop::option::weighted(0.98, state());
    let whole = (state, version, token).prop_map(|(state, version, token)| {
        let named = [("state", state), ("version", version), ("clientToken", token), ("other", Some(json!(1)))];
        let mut fields = Map::new();
        for (name, value) in named {
            fields.extend(value.map(|value| (name.to_owned(), value)));
        }
        Value::Object(fields)
    });
    prop_oneof![40 => whole, 1 => value()]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![12 => request().prop_map(Step::Update), 3 => Just(Step::Get), 1 => Just(Step::Delete)]
}

fn read(encoding: Encoding, payload: &[u8]) -> Value {
    encoding.decode(payload).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn every_history_is_that_of_the_oracle(
        steps in prop::collection::vec(step(), 1..12),
        cbor in any::<bool>(),
    ) {
        let encoding = if cbor { Encoding::Cbor } else { Encoding::Json };
        let (mut doc, mut oracle) = (ShadowDoc::default(), Oracle::new());
        for (at, step) in steps.iter().enumerate() {
            let seconds = 1_000 + i64::try_from(at).unwrap();
            let now = Timestamp::from_millis(seconds * 1000 + 999);
            let before = doc.clone();
            match step {
                Step::Update(value) => {
                    let payload = encoding.encode(value);
                    let expected = oracle.update(value, seconds);
                    let request = parse_update(&payload, encoding, SHADOW_DEPTH_MAX);
                    // The token is echoed whenever it is a good one.
                    let token = value["clientToken"].as_str().filter(|token| token.len() <= 64);
                    let echoed = match &request {
                        Ok(request) => request.client_token(),
                        Err((_, token)) => token.as_deref(),
                    };
                    prop_assert_eq!(echoed, token);
                    let found = match &request {
                        Ok(request) => update(&mut doc, request, now, Previous::Keep),
                        Err((error, _)) => Err(error.clone()),
                    };
                    match (found, expected) {
                        (Ok(found), Ok(expected)) => {
                            prop_assert_eq!(read(encoding, &found.accepted(encoding)), expected.accepted);
                            let delta = found.delta(encoding).map(|payload| read(encoding, &payload));
                            prop_assert_eq!(delta, expected.delta);
                            prop_assert_eq!(read(encoding, &found.documents(encoding).unwrap()), expected.documents);
                            prop_assert_eq!(doc.version(), before.version() + 1);
                        }
                        (Err(found), Err(expected)) => {
                            prop_assert_eq!((found.code, found.message), expected);
                            prop_assert_eq!(&doc, &before);
                        }
                        (found, expected) => prop_assert!(false, "found {found:?}, expected {expected:?}"),
                    }
                }
                Step::Get => {
                    let found = get(&doc, "s", now, None, encoding).map(|payload| read(encoding, &payload));
                    prop_assert_eq!(found.map_err(|e| (e.code, e.message)), oracle.get("s", seconds));
                }
                Step::Delete => {
                    let found = delete(&mut doc, "s", now, None, encoding).map(|payload| read(encoding, &payload));
                    prop_assert_eq!(found.map_err(|e| (e.code, e.message)), oracle.delete("s", seconds));
                }
            }
            prop_assert_eq!((doc.version(), doc.is_live()), (oracle.version, oracle.live));
            let stored = encoding.encode(&doc);
            prop_assert_eq!(encoding.decode::<ShadowDoc>(&stored), Ok(doc.clone()));
        }
    }

    /// What the device would report if it followed every delta leaves nothing to do.
    #[test]
    fn reporting_the_delta_ends_the_delta(desired in object(value()), reported in object(value())) {
        let mut doc = ShadowDoc::default();
        let now = Timestamp::from_seconds(7);
        let request = json!({"state": {"desired": desired, "reported": reported}});
        let Ok(request) = parse_update(&Encoding::Json.encode(&request), Encoding::Json, SHADOW_DEPTH_MAX) else { return Ok(()) };
        let Ok(updated) = update(&mut doc, &request, now, Previous::Drop) else { return Ok(()) };
        let Some(delta) = updated.delta(Encoding::Json) else { return Ok(()) };
        let difference = read(Encoding::Json, &delta)["state"].take();
        // Objects that replace each other would be merged; a device sets the field anew.
        prop_assume!(!has_null(&difference));
        for (key, value) in difference.as_object().unwrap() {
            for change in [Value::Null, value.clone()] {
                if change.is_null() && value.is_object() && doc.reported().is_some_and(|r| r.get(key).is_some_and(Value::is_object)) {
                    continue;
                }
                let report = json!({"state": {"reported": {key: change}}});
                let request = parse_update(&Encoding::Json.encode(&report), Encoding::Json, SHADOW_DEPTH_MAX).unwrap();
                if update(&mut doc, &request, now, Previous::Drop).is_err() {
                    return Ok(());
                }
            }
        }
        let answer = read(Encoding::Json, &get(&doc, "s", now, None, Encoding::Json).unwrap());
        prop_assert_eq!(&answer["state"]["delta"], &Value::Null);
    }

    #[test]
    fn no_bytes_make_the_readers_fail_otherwise_than_by_an_error(payload in prop::collection::vec(any::<u8>(), 0..64)) {
        for encoding in [Encoding::Json, Encoding::Cbor] {
            let _ = parse_update(&payload, encoding, SHADOW_DEPTH_MAX);
            let _ = parse_token(&payload, encoding);
        }
    }
}

fn has_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.iter().any(has_null),
        Value::Object(fields) => fields.values().any(has_null),
        _ => false,
    }
}
