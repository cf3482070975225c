use crate::client::{Client, Client5, v5};
use crate::stage::{Stage, settle};
use muster_bus::{Answer, Deliveries, LinkState, Message};
use muster_certs::identity::Role;
use muster_wire::topic::Topic;
use rumqttc::{Packet, QoS, SubscribeReasonCode};
use std::sync::Arc;

const UPDATE: &str = "$aws/things/t1/shadow/update";
const ACCEPTED: &str = "$aws/things/t1/shadow/update/accepted";

#[tokio::test]
async fn puback_comes_only_after_the_answer() {
    let mut stage = Stage::new().await;
    let mut client = Client::connect(&stage, Role::Connector, "t1", "c1").await;
    client.publish(UPDATE, "{}").await;
    let request = stage.service.request().await;
    assert_eq!((request.topic.to_string().as_str(), &request.payload[..]), (UPDATE, &b"{}"[..]));
    assert_eq!((request.caller.identity.name(), &*request.caller.client_id), ("t1", "c1"));
    assert_eq!(request.caller.certificate_id.len(), 64);
    // What the server sends after it has taken the request overtakes the PUBACK that is not sent yet.
    let granted = client.subscribe(ACCEPTED, QoS::AtLeastOnce).await;
    assert_eq!(granted, SubscribeReasonCode::Success(QoS::AtLeastOnce));
    settle(&request, Answer::settled());
    assert!(matches!(client.next().await, Ok(Packet::PubAck(_))));
}

#[tokio::test]
async fn many_requests_are_answered_in_both_versions() {
    const COUNT: usize = 1000;
    let stage = Stage::new().await;
    let mut old = Client::connect(&stage, Role::Connector, "t1", "old").await;
    let mut new = Client5::connect(&stage, Role::Connector, "t2", "new").await;
    old.subscribe(ACCEPTED, QoS::AtLeastOnce).await;
    new.subscribe("$aws/things/t2/shadow/update/accepted").await;
    let (a, b) = (old.mqtt.clone(), new.mqtt.clone());
    stage.swarm.spawn(async move {
        for at in 0..COUNT {
            a.publish(UPDATE, QoS::AtLeastOnce, false, at.to_string()).await.unwrap();
            b.publish("$aws/things/t2/shadow/update", v5::QoS::AtLeastOnce, false, at.to_string()).await.unwrap();
        }
    });
    let bus = stage.bus.clone();
    let mut service = stage.service;
    stage.swarm.spawn(async move {
        for _ in 0..COUNT * 2 {
            let request = service.request().await;
            let thing = request.topic.thing().unwrap().clone();
            let topic = format!("{}/accepted", request.topic);
            settle(&request, Answer::settled());
            bus.deliver(&thing, &Arc::new(Message::new(topic, request.payload)));
        }
    });
    let (mut acks, mut messages) = (0, 0);
    while acks < COUNT || messages < COUNT {
        match old.next().await.unwrap() {
            Packet::PubAck(_) => acks += 1,
            Packet::Publish(publish) => {
                assert_eq!(publish.payload, messages.to_string(), "order is kept");
                messages += 1;
            }
            _ => {}
        }
    }
    let (mut acks, mut messages) = (0, 0);
    while acks < COUNT || messages < COUNT {
        match new.next().await.unwrap() {
            v5::Packet::PubAck(ack) => {
                assert_eq!(ack.reason, v5::PubAckReason::Success);
                acks += 1;
            }
            v5::Packet::Publish(_) => messages += 1,
            _ => {}
        }
    }
    assert_eq!(stage.bridge.counters().published, 2 * COUNT as u64);
}

#[tokio::test]
async fn a_direct_answer_reaches_its_client_without_a_subscription() {
    let mut stage = Stage::new().await;
    let mut client = Client::connect(&stage, Role::Connector, "t1", "c1").await;
    let mut other = Client::connect(&stage, Role::Connector, "t1", "c2").await;
    client.publish("$aws/things/t1/jobs/get", "{}").await;
    let request = stage.service.request().await;
    settle(&request, Answer::with(Message::new("$aws/things/t1/jobs/get/accepted", "jobs")));
    let message = client.message().await;
    assert_eq!((message.topic.as_str(), &message.payload[..]), ("$aws/things/t1/jobs/get/accepted", &b"jobs"[..]));
    other.subscribe("$aws/things/t1/jobs/#", QoS::AtMostOnce).await;
    assert!(other.events.try_recv().is_err(), "the other connection got nothing");
}

#[tokio::test]
async fn a_failed_request_is_not_acknowledged_and_ends_the_connection() {
    let mut stage = Stage::new().await;
    let mut client = Client::connect(&stage, Role::Connector, "t1", "c1").await;
    client.publish(UPDATE, "{}").await;
    let request = stage.service.request().await;
    settle(&request, Answer::failed());
    client.ended().await;
}

#[tokio::test]
async fn things_come_and_go_with_growing_sessions() {
    let mut stage = Stage::new().await;
    let client = Client::connect(&stage, Role::Connector, "t1", "c1").await;
    let up = stage.service.link().await;
    assert_eq!((up.thing.as_str(), up.state), ("t1", LinkState::Up));
    client.mqtt.disconnect().await.unwrap();
    let down = stage.service.link().await;
    assert_eq!((down.session, down.state), (up.session, LinkState::Down));
    let _again = Client::connect(&stage, Role::Connector, "t1", "c1").await;
    let again = stage.service.link().await;
    assert!(again.session > up.session && again.state == LinkState::Up);
}

#[tokio::test]
async fn telemetry_at_qos_0_arrives_without_an_acknowledgement() {
    let mut stage = Stage::new().await;
    let mut client = Client::connect(&stage, Role::Connector, "t1", "c1").await;
    client.mqtt.publish("muster/things/t1/telemetry/host", QoS::AtMostOnce, false, "x").await.unwrap();
    let request = stage.service.request().await;
    assert!(matches!(request.topic, Topic::Telemetry { .. }));
    settle(&request, Answer::settled());
    client.subscribe(ACCEPTED, QoS::AtMostOnce).await;
    assert!(client.events.try_recv().is_err());
}
