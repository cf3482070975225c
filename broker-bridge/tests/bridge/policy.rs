use crate::client::{Client, Client5, v5};
use crate::raw::Raw;
use crate::stage::{Stage, eventually};
use muster_certs::identity::Role;
use rumqttc::QoS;

const FOREIGN: &str = "$aws/things/t2/shadow/update";

#[tokio::test]
async fn a_denied_publish_closes_a_3_1_1_connection() {
    let mut stage = Stage::new().await;
    let mut client = Client::connect(&stage, Role::Connector, "t1", "c1").await;
    client.publish(FOREIGN, "{}").await;
    client.ended().await;
    assert_eq!(stage.bridge.counters().denied, 1);
    drop(stage.bus);
    while let Ok(inbound) = stage.service.things.try_recv() {
        assert!(matches!(inbound, muster_bus::Inbound::Link(_)), "the service saw {inbound:?}");
    }
}

#[tokio::test]
async fn b10_b17_a_denied_publish_is_refused_in_mqtt_5_and_the_connection_lives() {
    let stage = Stage::new().await;
    let mut client = Client5::connect(&stage, Role::Connector, "t1", "c1").await;
    for (topic, reason) in [
        (FOREIGN, v5::PubAckReason::NotAuthorized),
        ("$aws/things/t1/shadow/update/accepted", v5::PubAckReason::NotAuthorized),
        ("muster/op/upgrade", v5::PubAckReason::NotAuthorized),
        ("anything/else", v5::PubAckReason::NotAuthorized),
        ("muster/else", v5::PubAckReason::TopicNameInvalid),
        ("$aws/things/t1/shadow/a/b/c/d/e/f", v5::PubAckReason::TopicNameInvalid),
    ] {
        client.mqtt.publish(topic, v5::QoS::AtLeastOnce, false, "{}").await.unwrap();
        match client.next().await {
            Ok(v5::Packet::PubAck(ack)) => assert_eq!(ack.reason, reason, "{topic}"),
            other => panic!("{topic}: {other:?}"),
        }
    }
    client.mqtt.publish(FOREIGN, v5::QoS::AtMostOnce, false, "{}").await.unwrap();
    match client.next().await {
        Ok(v5::Packet::Disconnect(goodbye)) => {
            assert_eq!(goodbye.reason_code, v5::DisconnectReasonCode::NotAuthorized);
        }
        other => {
            let error = other.unwrap_err();
            assert!(error.contains("NotAuthorized"), "{error}");
        }
    }
}

#[tokio::test]
async fn b10_a_denied_subscription_closes_3_1_1_and_is_refused_in_5() {
    let stage = Stage::new().await;
    let mut old = Client::connect(&stage, Role::Connector, "t1", "old").await;
    old.mqtt.subscribe("$aws/things/t2/shadow/#", QoS::AtLeastOnce).await.unwrap();
    old.ended().await;
    let mut new = Client5::connect(&stage, Role::Connector, "t1", "new").await;
    for (filter, code) in [
        ("$aws/things/t2/shadow/#", v5::SubscribeReasonCode::NotAuthorized),
        ("$aws/events/#", v5::SubscribeReasonCode::NotAuthorized),
        ("#", v5::SubscribeReasonCode::NotAuthorized),
        ("$share/g/$aws/things/t2/shadow/#", v5::SubscribeReasonCode::NotAuthorized),
        ("$aws/things/t1/#", v5::SubscribeReasonCode::Success(v5::QoS::AtLeastOnce)),
    ] {
        assert_eq!(new.subscribe(filter).await, code, "{filter}");
    }
}

#[tokio::test]
async fn retain_is_refused() {
    let stage = Stage::new().await;
    let mut client = Client::connect(&stage, Role::Connector, "t1", "c1").await;
    client.mqtt.publish("$aws/things/t1/shadow/update", QoS::AtLeastOnce, true, "{}").await.unwrap();
    client.ended().await;
    eventually(|| stage.bridge.counters().sessions == 0).await;
}

#[tokio::test]
async fn metrics_for_device_defender_are_taken_and_dropped_and_tunnels_are_silent() {
    let mut stage = Stage::new().await;
    for version in [4, 5] {
        let mut device = Raw::plain(&stage, Role::Connector, "t1", "c", version).await;
        for topic in ["$aws/things/t1/defender/metrics/json", "$aws/things/t1/defender/metrics/cbor"] {
            assert_eq!(device.publish(topic, "{}", false, &[]).await, 0, "{topic}");
        }
        for filter in ["$aws/things/t1/tunnels/notify", "$aws/things/t1/defender/metrics/json/+"] {
            assert_eq!(device.subscribe(filter, 1).await, 1, "{filter}");
        }
        device.toss("$aws/things/t1/defender/metrics/json", "{}").await;
        device.silent().await;
        device.say("$aws/things/t2/defender/metrics/json", "{}", false, &[]).await;
        let refused = if version == 4 { None } else { Some((0x40, Some(0x87))) };
        assert_eq!(device.next().await.map(|(header, body)| (header, body.get(2).copied())), refused);
    }
    while let Ok(inbound) = stage.service.things.try_recv() {
        assert!(matches!(inbound, muster_bus::Inbound::Link(_)), "the service saw {inbound:?}");
    }
}
