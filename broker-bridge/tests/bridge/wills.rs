//! Last wills (row B16 of the reference's checklist).

use crate::raw::{Hello, Raw};
use crate::stage::{Stage, eventually};
use muster_bus::Deliveries;
use muster_certs::identity::Role::{Connector, Observer};
use muster_wire::id::ThingName;

const TOPIC: &str = "app/t1/gone";

async fn listener(stage: &Stage) -> Raw {
    let mut listener = Raw::plain(stage, Observer, "o", "listener", 5).await;
    assert_eq!(listener.subscribe("app/#", 1).await, 1);
    listener
}

/// Shows that nothing came before a message that is sent now.
async fn nothing_came(stage: &Stage, listener: &mut Raw) {
    let mut other = Raw::plain(stage, Connector, "t9", "marker", 5).await;
    assert_eq!(other.publish("app/t9/x", "marker", false, &[]).await, 0);
    assert_eq!(listener.payload().await, "marker");
    other.leave().await;
}

#[tokio::test]
async fn b16_every_end_but_a_goodbye_publishes_the_will() {
    for version in [4, 5] {
        let stage = Stage::new().await;
        let mut listener = listener(&stage).await;
        let hello = Hello::new(version).with_will(TOPIC, "gone");

        let (client, _) = Raw::connect(&stage, Connector, "t1", "c", &hello).await;
        client.leave().await;
        nothing_came(&stage, &mut listener).await;

        let (client, _) = Raw::connect(&stage, Connector, "t1", "c", &hello).await;
        client.vanish();
        assert_eq!(listener.payload().await, "gone", "the connection was lost");

        let (mut client, _) = Raw::connect(&stage, Connector, "t1", "c", &hello).await;
        client.send(0x34, b"\0\x01t\0\x01\0").await;
        assert_eq!(listener.payload().await, "gone", "a protocol error");

        let (_old, _) = Raw::connect(&stage, Connector, "t1", "c", &hello).await;
        let mut new = Raw::plain(&stage, Connector, "t1", "c", version).await;
        assert_eq!(listener.payload().await, "gone", "a take-over");
        new.silent().await;

        let (_kicked, _) = Raw::connect(&stage, Connector, "t1", "d", &hello).await;
        stage.bus.kick(&ThingName::new("t1").unwrap());
        assert_eq!(listener.payload().await, "gone", "ended by the server");

        let (mut client, _) = Raw::connect(&stage, Connector, "t1", "c", &hello).await;
        client.say("$aws/things/t2/shadow/update", "{}", false, &[]).await;
        if version == 4 {
            assert_eq!(listener.payload().await, "gone", "it did what it may not do");
        } else {
            client.send(0xe0, &[4, 0]).await;
            assert_eq!(listener.payload().await, "gone", "it said goodbye and wants it");
        }
        assert_eq!(stage.bridge.counters().wills, 5);
    }
}

#[tokio::test]
async fn b16_a_delayed_will_is_said_unless_the_client_returns() {
    let stage = Stage::new().await;
    let mut listener = listener(&stage).await;
    let delayed = |expiry: u32, delay: u8| {
        let mut hello = Hello::kept(5, expiry).with_will(TOPIC, "gone");
        hello.will.as_mut().unwrap().properties = vec![0x18, 0, 0, 0, delay];
        hello
    };
    // It returns in time.
    let (client, _) = Raw::connect(&stage, Connector, "t1", "c", &delayed(600, 200)).await;
    client.vanish();
    eventually(|| stage.bridge.counters().sessions_waiting == 1).await;
    let (client, present) = Raw::connect(&stage, Connector, "t1", "c", &delayed(600, 1)).await;
    assert!(present);
    nothing_came(&stage, &mut listener).await;
    // It does not.
    client.vanish();
    assert_eq!(listener.payload().await, "gone", "after a second");
    // Its session ends before the delay does: by a clean connection, by its time, or with the connection.
    for (hello, next) in [(delayed(600, 200), true), (delayed(1, 200), false), (delayed(0, 200), false)] {
        let (client, _) = Raw::connect(&stage, Connector, "t1", "e", &hello).await;
        client.vanish();
        if next {
            eventually(|| stage.bridge.counters().sessions_waiting == 2).await;
            Raw::plain(&stage, Connector, "t1", "e", 5).await.leave().await;
        }
        assert_eq!(listener.payload().await, "gone");
    }
    assert_eq!(stage.bridge.counters().wills, 4);
}

#[tokio::test]
async fn b16_a_will_that_may_not_be_said_is_refused_at_connect() {
    let stage = Stage::new().await;
    let cases = [
        ("app/t2/x", 0x87),
        ("$aws/things/t2/shadow/update", 0x87),
        ("$aws/things/t1/shadow/update/accepted", 0x87),
        ("muster/things/t1/telemetry/host", 0x90),
        ("muster/nothing", 0x90),
        ("app/+/x", 0x90),
    ];
    for (topic, code) in cases {
        let (_, welcome) = Raw::greet(&stage, Connector, "t1", "c", &Hello::new(5).with_will(topic, "x")).await;
        assert_eq!(welcome.code, code, "{topic}");
    }
    let mut hello = Hello::new(5).with_will("$aws/things/t1/shadow/update", "x");
    hello.will.as_mut().unwrap().retain = true;
    let (_, welcome) = Raw::greet(&stage, Connector, "t1", "c", &hello).await;
    assert_eq!(welcome.code, 0x9a, "no retained message on a topic of the service");
    hello = Hello::new(5).with_will(TOPIC, "x");
    hello.will.as_mut().unwrap().qos = 2;
    let (_, welcome) = Raw::greet(&stage, Connector, "t1", "c", &hello).await;
    assert_eq!(welcome.code, 0x9b);
    let (_, welcome) = Raw::greet(&stage, Connector, "t1", "c", &Hello::new(4).with_will("app/t2/x", "x")).await;
    assert_eq!(welcome.code, 5);
}

#[tokio::test]
async fn b16_a_will_on_a_shadow_topic_is_heard_and_changes_nothing() {
    let mut stage = Stage::new().await;
    let topic = "$aws/things/t1/shadow/update";
    let mut sibling = Raw::plain(&stage, Connector, "t1", "sibling", 4).await;
    sibling.subscribe("$aws/things/t1/shadow/#", 1).await;
    let (client, _) = Raw::connect(&stage, Connector, "t1", "c", &Hello::new(4).with_will(topic, "{}")).await;
    client.vanish();
    let got = sibling.receive().await;
    assert_eq!((got.topic.as_str(), got.payload.as_str()), (topic, "{}"));
    sibling.acknowledge(got.id).await;
    sibling.say("$aws/things/t1/shadow/get", "", false, &[]).await;
    let request = stage.service.request().await;
    assert!(request.topic.to_string().ends_with("/get"), "the will is no request: {}", request.topic);
}

#[tokio::test]
async fn b16_a_will_may_be_retained() {
    let stage = Stage::new().await;
    let mut hello = Hello::new(5).with_will(TOPIC, "gone");
    hello.will.as_mut().unwrap().retain = true;
    let (client, _) = Raw::connect(&stage, Connector, "t1", "c", &hello).await;
    client.vanish();
    eventually(|| stage.bridge.counters().wills == 1).await;
    let mut late = Raw::plain(&stage, Observer, "o", "late", 5).await;
    late.subscribe(TOPIC, 1).await;
    let got = late.receive().await;
    assert_eq!((got.payload.as_str(), got.retain), ("gone", true));
}
