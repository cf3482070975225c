//! Sessions that outlive their connection (rows B3, B7 of the reference's checklist).

use crate::raw::{Hello, Raw};
use crate::stage::{Stage, eventually};
use mqtt_protocol_core::mqtt::packet::Property;
use muster_broker_bridge::MqttSettings;
use muster_bus::{Deliveries, Message, Qos};
use muster_certs::identity::Role::{Connector, Observer, Operator};
use muster_wire::id::ThingName;
use muster_wire::limits::OUTBOX_MESSAGES_MAX;
use std::sync::Arc;
use std::time::Duration;

const FILTER: &str = "$aws/things/t1/shadow/update/delta";

fn deliver(stage: &Stage, payload: &'static str, qos: Qos) {
    let message = Message { qos, ..Message::new(FILTER, payload) };
    stage.bus.deliver(&ThingName::new("t1").unwrap(), &Arc::new(message));
}

fn expiry_of(properties: &[Property]) -> Option<u32> {
    properties.iter().find_map(|property| match property {
        Property::SessionExpiryInterval(seconds) => Some(seconds.val()),
        _ => None,
    })
}

async fn waits(stage: &Stage, sessions: u64) {
    eventually(|| stage.bridge.counters().sessions_waiting == sessions && stage.bridge.counters().sessions == 0).await;
}

#[tokio::test]
async fn a_client_that_does_not_hang_up_holds_no_place_and_no_will_back() {
    let stage = Stage::new().await;
    let mut watcher = Raw::plain(&stage, Observer, "o", "w", 5).await;
    assert_eq!(watcher.subscribe("$aws/events/presence/disconnected/+", 1).await, 1);
    let mut full = Vec::new();
    for id in ["a", "b", "c", "d"] {
        let hello = Hello::new(5).with_will("app/t1/gone", "gone");
        full.push(Raw::connect(&stage, Connector, "t1", id, &hello).await.0);
    }
    let (_, fifth) = Raw::greet(&stage, Connector, "t1", "e", &Hello::new(5)).await;
    assert_eq!(fifth.code, 0x97, "four at a time");
    // The server ends it; its socket stays open, and nobody waits for that.
    full[0].send(0x34, b"\0\x01t\0\x01\0").await;
    assert_eq!(full[0].next().await, Some((0xe0, vec![0x9b, 0])));
    let counters = stage.bridge.counters();
    assert_eq!((counters.sessions, counters.wills), (4, 1), "the observer and three of the four");
    assert!(watcher.payload().await.contains("CLIENT_ERROR"));
    Raw::plain(&stage, Connector, "t1", "e", 5).await.silent().await;
    assert_eq!(full.len(), 4);
}

#[tokio::test]
async fn b7_a_session_comes_back_with_its_subscriptions_and_what_waited() {
    for version in [4, 5] {
        let stage = Stage::new().await;
        let hello = Hello::kept(version, 60);
        let (mut client, present) = Raw::connect(&stage, Connector, "t1", "c", &hello).await;
        assert!(!present);
        assert_eq!(client.subscribe(FILTER, 1).await, 1);
        deliver(&stage, "seen", Qos::AtLeastOnce);
        deliver(&stage, "not acknowledged", Qos::AtLeastOnce);
        assert_eq!(client.payload().await, "seen");
        let lost = client.receive().await;
        assert_eq!((lost.payload.as_str(), lost.again), ("not acknowledged", false));
        client.silent().await;
        client.vanish();
        waits(&stage, 1).await;
        assert!(stage.bus.wanted(&ThingName::new("t1").unwrap(), FILTER), "somebody will get it");
        deliver(&stage, "low", Qos::AtMostOnce);
        deliver(&stage, "queued", Qos::AtLeastOnce);

        let (mut client, present) = Raw::connect(&stage, Connector, "t1", "c", &hello).await;
        assert!(present, "version {version}");
        let repeated = client.receive().await;
        assert_eq!((repeated.payload.as_str(), repeated.again, repeated.id), ("not acknowledged", true, lost.id));
        client.acknowledge(repeated.id).await;
        assert_eq!(client.payload().await, "queued");
        deliver(&stage, "live", Qos::AtLeastOnce);
        assert_eq!(client.payload().await, "live");
        client.silent().await;
        let counters = stage.bridge.counters();
        assert_eq!((counters.sessions_waiting, counters.waiting_bytes, counters.sessions_resumed), (0, 0, 1));
        client.leave().await;
        waits(&stage, 1).await;
        let (mut client, present) = Raw::connect(&stage, Connector, "t1", "c", &hello).await;
        assert!(present, "a goodbye keeps the session too");
        client.silent().await;
    }
}

#[tokio::test]
async fn b7_what_is_repeated_keeps_the_window_of_the_new_connection() {
    let stage = Stage::new().await;
    let (mut client, _) = Raw::connect(&stage, Connector, "t1", "c", &Hello::kept(5, 60)).await;
    assert_eq!(client.subscribe(FILTER, 1).await, 1);
    let payloads = ["0", "1", "2", "3", "4"];
    let mut ids = Vec::new();
    for payload in payloads {
        deliver(&stage, payload, Qos::AtLeastOnce);
        ids.push(client.receive().await.id);
    }
    client.vanish();
    waits(&stage, 1).await;
    deliver(&stage, "new", Qos::AtLeastOnce);
    let narrow = Hello { properties: [Hello::kept(5, 60).properties, vec![0x21, 0, 2]].concat(), ..Hello::kept(5, 60) };
    let again = async |client: &mut Raw, at: usize| {
        let got = client.receive().await;
        assert_eq!((got.payload.as_str(), got.id, got.again, got.qos), (payloads[at], ids[at], true, 1));
    };

    let (mut client, present) = Raw::connect(&stage, Connector, "t1", "c", &narrow).await;
    assert!(present);
    again(&mut client, 0).await;
    again(&mut client, 1).await;
    client.silent().await;
    // Of those that are out the later one; and one that came over the former connection.
    client.acknowledge(ids[1]).await;
    client.acknowledge(ids[3]).await;
    again(&mut client, 2).await;
    client.silent().await;
    client.vanish();
    waits(&stage, 1).await;

    let (mut client, present) = Raw::connect(&stage, Connector, "t1", "c", &narrow).await;
    assert!(present);
    again(&mut client, 0).await;
    again(&mut client, 2).await;
    client.silent().await;
    client.acknowledge(ids[0]).await;
    again(&mut client, 4).await;
    client.silent().await;
    client.acknowledge(ids[2]).await;
    let new = client.receive().await;
    assert_eq!((new.payload.as_str(), new.again), ("new", false));
    assert!(!ids.contains(&new.id));
    client.silent().await;
}

#[tokio::test]
async fn b7_a_wish_that_is_too_long_is_reduced_and_the_client_told() {
    let settings = MqttSettings { session_expiry_max: Duration::from_secs(100), ..MqttSettings::default() };
    let stage = Stage::with_settings(settings).await;
    for (wish, told) in [(99, None), (100, None), (101, Some(100)), (u32::MAX, Some(100))] {
        let (client, welcome) = Raw::greet(&stage, Connector, "t1", "c", &Hello::kept(5, wish)).await;
        assert_eq!(expiry_of(&welcome.properties), told, "{wish}");
        client.vanish();
    }
    let stage =
        Stage::with_settings(MqttSettings { session_expiry_max: Duration::ZERO, ..MqttSettings::default() }).await;
    let (client, welcome) = Raw::greet(&stage, Connector, "t1", "c", &Hello::kept(5, 60)).await;
    assert_eq!(expiry_of(&welcome.properties), Some(0), "none is kept");
    client.vanish();
    eventually(|| stage.bridge.counters().sessions == 0).await;
    assert_eq!(stage.bridge.counters().sessions_waiting, 0);
}

#[tokio::test]
async fn b7_a_session_ends_by_time_by_a_clean_connect_and_by_the_other_version() {
    let stage = Stage::new().await;
    let wanted = || stage.bus.wanted(&ThingName::new("t1").unwrap(), FILTER);
    let ends: [(Hello, Option<Hello>); 3] = [
        (Hello::kept(5, 1), None),
        (Hello::kept(5, 600), Some(Hello::kept(5, 600).clean())),
        (Hello::kept(4, 0), Some(Hello::kept(5, 600))),
    ];
    for (hello, next) in ends {
        let (mut client, _) = Raw::connect(&stage, Connector, "t1", "c", &hello).await;
        client.subscribe(FILTER, 1).await;
        client.leave().await;
        deliver(&stage, "lost", Qos::AtLeastOnce);
        let Some(next) = next else {
            // A second may be over before anybody has looked.
            waits(&stage, 0).await;
            assert!(!wanted(), "its time is over");
            continue;
        };
        waits(&stage, 1).await;
        let (mut client, present) = Raw::connect(&stage, Connector, "t1", "c", &next).await;
        assert!(!present && !wanted());
        client.silent().await;
        let counters = stage.bridge.counters();
        assert_eq!((counters.sessions_waiting, counters.waiting_bytes), (0, 0));
        // With its DISCONNECT a client may still say that nothing is kept.
        client.send(0xe0, &[0, 5, 0x11, 0, 0, 0, 0]).await;
        assert_eq!(client.next().await, None);
        waits(&stage, 0).await;
    }
}

#[tokio::test]
async fn a_client_that_kept_nothing_cannot_keep_it_when_it_leaves() {
    let stage = Stage::new().await;
    let mut client = Raw::plain(&stage, Connector, "t1", "c", 5).await;
    client.send(0xe0, &[0, 5, 0x11, 0, 0, 0, 9]).await;
    assert_eq!(client.next().await, Some((0xe0, vec![0x82, 0])));
}

#[tokio::test]
async fn what_waits_is_bounded_and_what_does_not_fit_is_counted() {
    let settings = MqttSettings { session_messages_max: 2, sessions_waiting_max: 5, ..MqttSettings::default() };
    let stage = Stage::with_settings(settings).await;
    let (mut client, _) = Raw::connect(&stage, Connector, "t1", "c", &Hello::kept(5, 600)).await;
    client.subscribe(FILTER, 1).await;
    client.vanish();
    waits(&stage, 1).await;
    for payload in ["first", "second", "third"] {
        deliver(&stage, payload, Qos::AtLeastOnce);
    }
    assert_eq!(stage.bridge.counters().queue_dropped, 1);
    let (mut client, _) = Raw::connect(&stage, Connector, "t1", "c", &Hello::kept(5, 600)).await;
    assert_eq!((client.payload().await, client.payload().await), ("first".into(), "second".into()));
    client.silent().await;
    client.leave().await;

    // Of one identity four wait; the oldest makes room.
    for id in ["d", "e", "f", "g"] {
        Raw::connect(&stage, Connector, "t1", id, &Hello::kept(5, 600)).await.0.leave().await;
    }
    waits(&stage, 4).await;
    assert_eq!(stage.bridge.counters().sessions_not_kept, 1);
    let (client, present) = Raw::connect(&stage, Connector, "t1", "c", &Hello::new(5)).await;
    assert!(!present);
    client.leave().await;
    // Of all identities five, by this setting; the sixth is not kept.
    for name in ["t2", "t3"] {
        Raw::connect(&stage, Connector, name, "c", &Hello::kept(5, 600)).await.0.leave().await;
    }
    eventually(|| stage.bridge.counters().sessions_not_kept == 2).await;
    waits(&stage, 5).await;
}

#[tokio::test]
async fn who_falls_too_far_behind_is_ended_and_its_session_loses_the_excess_alone() {
    let stage = Stage::new().await;
    for (hello, present_after) in [(Hello::new(5), false), (Hello::kept(5, 600), true)] {
        let (mut client, _) = Raw::connect(&stage, Connector, "t1", "c", &hello).await;
        client.subscribe(FILTER, 1).await;
        for _ in 0..OUTBOX_MESSAGES_MAX {
            deliver(&stage, "fits", Qos::AtLeastOnce);
        }
        deliver(&stage, "excess", Qos::AtLeastOnce);
        let mut last = client.next().await;
        while let Some((0x32, _)) = last {
            last = client.next().await;
        }
        assert_eq!(last, Some((0xe0, vec![0x97, 0])));
        client.vanish();
        eventually(|| stage.bridge.counters().sessions == 0).await;
        let (mut client, present) = Raw::connect(&stage, Connector, "t1", "c", &Hello::kept(5, 600)).await;
        assert_eq!(present, present_after);
        for _ in 0..if present { OUTBOX_MESSAGES_MAX } else { 0 } {
            assert_eq!(client.payload().await, "fits");
        }
        client.silent().await;
        client.leave().await;
        Raw::plain(&stage, Connector, "t1", "c", 5).await.leave().await;
    }
    assert_eq!(stage.bridge.counters().throttled, 2);
}

#[tokio::test]
async fn a_budget_of_bytes_bounds_all_that_waits() {
    let settings = MqttSettings { sessions_waiting_bytes_max: 100, ..MqttSettings::default() };
    let stage = Stage::with_settings(settings).await;
    let (mut client, _) = Raw::connect(&stage, Connector, "t1", "c", &Hello::kept(5, 600)).await;
    client.subscribe(FILTER, 1).await;
    client.vanish();
    waits(&stage, 1).await;
    for _ in 0..4 {
        deliver(&stage, "x", Qos::AtLeastOnce);
    }
    let counters = stage.bridge.counters();
    assert_eq!((counters.queue_dropped, counters.waiting_bytes), (2, 2 * (FILTER.len() as u64 + 1)));
}

#[tokio::test]
async fn b3_the_newer_connection_takes_over_the_session() {
    let stage = Stage::new().await;
    let hello = Hello::kept(5, 600);
    let (mut old, _) = Raw::connect(&stage, Connector, "t1", "c", &hello).await;
    old.subscribe(FILTER, 1).await;
    deliver(&stage, "unacknowledged", Qos::AtLeastOnce);
    assert_eq!(old.receive().await.payload, "unacknowledged");
    let (mut new, present) = Raw::connect(&stage, Connector, "t1", "c", &hello).await;
    assert!(present);
    assert_eq!(old.next().await, Some((0xe0, vec![0x8e, 0])), "session taken over");
    let again = new.receive().await;
    assert!(again.again && again.payload == "unacknowledged");
    deliver(&stage, "live", Qos::AtLeastOnce);
    assert_eq!(new.payload().await, "live");
    old.vanish();
    eventually(|| stage.bridge.counters().sessions == 1).await;
    deliver(&stage, "still", Qos::AtLeastOnce);
    assert_eq!(new.payload().await, "still", "the end of the old connection takes nothing away");
}

#[tokio::test]
async fn a_kicked_thing_keeps_nothing() {
    let stage = Stage::new().await;
    let (mut away, _) = Raw::connect(&stage, Connector, "t1", "away", &Hello::kept(5, 600)).await;
    away.subscribe(FILTER, 1).await;
    away.leave().await;
    waits(&stage, 1).await;
    let (mut here, _) = Raw::connect(&stage, Connector, "t1", "here", &Hello::kept(5, 600)).await;
    here.subscribe(FILTER, 1).await;
    let thing = ThingName::new("t1").unwrap();
    stage.bus.kick(&thing);
    assert_eq!(here.next().await, Some((0xe0, vec![0x98, 0])));
    waits(&stage, 0).await;
    assert!(!stage.bus.wanted(&thing, FILTER));
}

#[tokio::test]
async fn a_reader_of_wildcards_is_resumed_with_what_it_missed() {
    let stage = Stage::new().await;
    let hello = Hello::kept(5, 600);
    for role in [Observer, Operator] {
        let (mut reader, _) = Raw::connect(&stage, role, "o", "wall", &hello).await;
        // Without retained states: they are what would come first.
        assert_eq!(reader.subscribe("muster/view/connectors/+", 1 | 2 << 4).await, 1);
        reader.leave().await;
        waits(&stage, 1).await;
        stage.bus.observe(Message::new("muster/view/connectors/t1", "missed"), false);
        let (mut reader, present) = Raw::connect(&stage, role, "o", "wall", &hello).await;
        assert!(present);
        assert_eq!(reader.payload().await, "missed");
        stage.bus.observe(Message::new("muster/view/connectors/t1", "live"), false);
        assert_eq!(reader.payload().await, "live");
        Raw::connect(&stage, role, "o", "wall", &Hello::new(5)).await.0.leave().await;
        waits(&stage, 0).await;
    }
}

#[tokio::test]
async fn the_first_message_after_a_suback_is_not_missed() {
    let stage = Stage::new().await;
    for round in 0..20 {
        let mut reader = Raw::plain(&stage, Observer, "o", &format!("r{round}"), 5).await;
        assert_eq!(reader.subscribe("$aws/events/job/+/completed", 1).await, 1);
        stage.bus.observe(Message::new("$aws/events/job/j/completed", "first"), false);
        assert_eq!(reader.payload().await, "first");
    }
}

#[tokio::test]
async fn a_reader_that_is_behind_may_subscribe_again_before_it_acknowledges() {
    let stage = Stage::new().await;
    for at in 0..OUTBOX_MESSAGES_MAX {
        stage.bus.observe(Message::new(format!("muster/view/connectors/t{at}"), "x"), true);
    }
    let hello = Hello { properties: vec![0x21, 0, 2], ..Hello::new(5) };
    let (mut reader, _) = Raw::connect(&stage, Observer, "o", "wall", &hello).await;
    assert_eq!(reader.subscribe("muster/view/connectors/+", 1).await, 1);
    let first = [reader.receive().await, reader.receive().await];
    // What is stored fills its queue, and the rest waits for room.
    reader.send(0x82, b"\0\x09\0\0\x11$aws/events/job/+\x01").await;
    for got in &first {
        reader.acknowledge(got.id).await;
    }
    let mut topics: Vec<String> = first.into_iter().map(|got| got.topic).collect();
    let mut granted = false;
    while topics.len() < OUTBOX_MESSAGES_MAX || !granted {
        let (header, body) = reader.next().await.expect("a packet");
        if header == 0x90 {
            granted = true;
            continue;
        }
        let got = reader.read_message(header, body);
        reader.acknowledge(got.id).await;
        topics.push(got.topic);
    }
    topics.sort_unstable();
    topics.dedup();
    assert_eq!(topics.len(), OUTBOX_MESSAGES_MAX, "each once");
    reader.silent().await;
}
