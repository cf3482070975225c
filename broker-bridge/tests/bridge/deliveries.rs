use crate::client::{Client, Client5, v5};
use crate::stage::{Stage, settle};
use muster_bus::{Answer, Deliveries, Message};
use muster_certs::identity::Role;
use muster_wire::id::ThingName;
use rumqttc::{Packet, QoS};
use std::sync::Arc;

fn thing(name: &str) -> ThingName {
    ThingName::new(name).unwrap()
}

fn delta(name: &str, payload: &'static str) -> Arc<Message> {
    Arc::new(Message::new(format!("$aws/things/{name}/shadow/update/delta"), payload))
}

#[tokio::test]
async fn a_delivery_reaches_its_thing_alone_and_honours_the_granted_qos() {
    let stage = Stage::new().await;
    let mut one = Client::connect(&stage, Role::Connector, "t1", "c1").await;
    let mut low = Client::connect(&stage, Role::Connector, "t1", "c2").await;
    let mut other = Client::connect(&stage, Role::Connector, "t2", "c1").await;
    one.subscribe("$aws/things/t1/shadow/#", QoS::AtLeastOnce).await;
    low.subscribe("$aws/things/t1/shadow/update/delta", QoS::AtMostOnce).await;
    other.subscribe("$aws/things/t2/shadow/#", QoS::AtLeastOnce).await;
    assert!(stage.bus.wanted(&thing("t1"), "$aws/things/t1/shadow/update/delta"));
    assert!(!stage.bus.wanted(&thing("t1"), "$aws/things/t1/jobs/notify"));
    assert!(!stage.bus.wanted(&thing("t3"), "$aws/things/t3/shadow/update/delta"));
    stage.bus.deliver(&thing("t1"), &delta("t1", "for t1"));
    stage.bus.deliver(&thing("t2"), &delta("t2", "for t2"));
    let message = one.message().await;
    assert_eq!((&message.payload[..], message.qos), (&b"for t1"[..], QoS::AtLeastOnce));
    let message = low.message().await;
    assert_eq!((&message.payload[..], message.qos), (&b"for t1"[..], QoS::AtMostOnce));
    assert_eq!(other.message().await.payload, "for t2", "and not what is for t1");
}

#[tokio::test]
async fn overlapping_subscriptions_get_one_copy_and_unsubscribing_ends_it() {
    let stage = Stage::new().await;
    let mut client = Client::connect(&stage, Role::Connector, "t1", "c1").await;
    client.subscribe("$aws/things/t1/shadow/#", QoS::AtMostOnce).await;
    client.subscribe("$aws/things/t1/shadow/update/delta", QoS::AtLeastOnce).await;
    stage.bus.deliver(&thing("t1"), &delta("t1", "1"));
    stage.bus.deliver(&thing("t1"), &delta("t1", "2"));
    assert_eq!(client.message().await.payload, "1");
    assert_eq!(client.message().await.payload, "2");
    for filter in ["$aws/things/t1/shadow/#", "$aws/things/t1/shadow/update/delta"] {
        client.mqtt.unsubscribe(filter).await.unwrap();
        assert!(matches!(client.next().await, Ok(Packet::UnsubAck(_))));
    }
    assert!(!stage.bus.wanted(&thing("t1"), "$aws/things/t1/shadow/update/delta"));
}

#[tokio::test]
async fn a_newer_connection_takes_over_and_only_its_own_client_id() {
    let mut stage = Stage::new().await;
    let mut old = Client5::connect(&stage, Role::Connector, "t1", "same").await;
    let mut beside = Client5::connect(&stage, Role::Connector, "t1", "beside").await;
    let mut stranger = Client5::connect(&stage, Role::Connector, "t2", "same").await;
    let mut new = Client5::connect(&stage, Role::Connector, "t1", "same").await;
    match old.next().await {
        Ok(v5::Packet::Disconnect(goodbye)) => {
            assert_eq!(goodbye.reason_code, v5::DisconnectReasonCode::SessionTakenOver);
        }
        other => {
            let error = other.unwrap_err();
            assert!(error.contains("SessionTakenOver"), "{error}");
        }
    }
    for client in [&mut beside, &mut new] {
        client.mqtt.publish("$aws/things/t1/shadow/get", v5::QoS::AtLeastOnce, false, "").await.unwrap();
        settle(&stage.service.request().await, Answer::settled());
        assert!(matches!(client.next().await, Ok(v5::Packet::PubAck(_))));
    }
    stranger.mqtt.publish("$aws/things/t2/shadow/get", v5::QoS::AtLeastOnce, false, "").await.unwrap();
    settle(&stage.service.request().await, Answer::settled());
    assert!(matches!(stranger.next().await, Ok(v5::Packet::PubAck(_))));
}

#[tokio::test]
async fn a_kicked_thing_loses_every_connection() {
    let stage = Stage::new().await;
    let mut one = Client::connect(&stage, Role::Connector, "t1", "c1").await;
    let mut two = Client::connect(&stage, Role::Connector, "t1", "c2").await;
    let mut other = Client::connect(&stage, Role::Connector, "t2", "c1").await;
    stage.bus.kick(&thing("t1"));
    one.ended().await;
    two.ended().await;
    other.subscribe("$aws/things/t2/shadow/#", QoS::AtLeastOnce).await;
}
