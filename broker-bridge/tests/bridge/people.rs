use crate::client::{Client, Client5, v5};
use crate::stage::{Stage, settle};
use muster_bus::{Answer, Deliveries, Message};
use muster_certs::identity::Role;
use muster_wire::id::ThingName;
use muster_wire::presence::{DisconnectReason, Presence};
use rumqttc::QoS;
use std::sync::Arc;

#[tokio::test]
async fn an_observer_gets_retained_states_and_live_messages_of_every_thing() {
    let stage = Stage::new().await;
    stage.bus.observe(Message::new("muster/view/connectors/t1", "old"), true);
    stage.bus.observe(Message::new("muster/view/connectors/t2", "other"), true);
    let mut observer = Client::connect(&stage, Role::Observer, "o1", "dash").await;
    observer.subscribe("muster/view/connectors/+", QoS::AtLeastOnce).await;
    let (first, second) = (observer.message().await, observer.message().await);
    assert!(first.retain && second.retain);
    assert_eq!((&first.payload[..], &second.payload[..]), (&b"old"[..], &b"other"[..]));
    stage.bus.observe(Message::new("muster/view/connectors/t1", "new"), true);
    let live = observer.message().await;
    assert_eq!((&live.payload[..], live.retain), (&b"new"[..], false));

    observer.subscribe("$aws/things/+/shadow/#", QoS::AtLeastOnce).await;
    // The reader beside the connection may not have been told yet.
    crate::stage::eventually(|| {
        stage.bus.wanted(&ThingName::new("t9").unwrap(), "$aws/things/t9/shadow/update/documents")
    })
    .await;
    let documents = Message::new("$aws/things/t9/shadow/update/documents", "docs");
    stage.bus.deliver(&ThingName::new("t9").unwrap(), &Arc::new(documents));
    assert_eq!(observer.message().await.payload, "docs");
}

#[tokio::test]
async fn b12_an_observer_sees_clients_come_and_go() {
    let stage = Stage::new().await;
    let mut observer = Client5::connect(&stage, Role::Observer, "o1", "dash").await;
    observer.subscribe("$aws/events/presence/+/device").await;
    let filter_is_known = || {
        let topic = "$aws/events/presence/connected/device";
        stage.bus.wanted(&ThingName::new("any").unwrap(), topic)
    };
    crate::stage::eventually(filter_is_known).await;
    let device = Client::connect(&stage, Role::Connector, "t1", "device").await;
    let came: Presence = serde_json::from_slice(&observer.message().await.payload).unwrap();
    assert_eq!((came.client_id.as_str(), came.event_type.as_str()), ("device", "connected"));
    assert_eq!((came.thing_name.as_deref(), came.ip_address.as_deref()), (Some("t1"), Some("127.0.0.1")));
    device.mqtt.disconnect().await.unwrap();
    let went: Presence = serde_json::from_slice(&observer.message().await.payload).unwrap();
    assert_eq!(went.disconnect_reason, Some(DisconnectReason::ClientInitiatedDisconnect));
    assert_eq!((went.version_number, went.session_identifier), (came.version_number, came.session_identifier));
}

#[tokio::test]
async fn an_operator_gets_its_reply_with_its_correlation_data() {
    let mut stage = Stage::new().await;
    let mut operator = Client5::connect(&stage, Role::Operator, "ann", "cli-1").await;
    operator.subscribe("muster/reply/cli-1/#").await;
    let ask = |reply: &str| v5::PublishProperties {
        response_topic: Some(reply.to_owned()),
        correlation_data: Some(vec![1, 2, 3].into()),
        ..v5::PublishProperties::default()
    };
    let topic = "muster/op/connector-list";
    let at_least_once = v5::QoS::AtLeastOnce;
    operator
        .mqtt
        .publish_with_properties(topic, at_least_once, false, "{}", ask("muster/reply/cli-1/7"))
        .await
        .unwrap();
    let request = stage.service.operator().await;
    let response = request.response.clone().unwrap();
    assert_eq!(&*response.topic, "muster/reply/cli-1/7");
    let reply = Message { correlation: response.correlation, ..Message::new(&response.topic, "done") };
    settle(&request, Answer::with(reply));
    let message = operator.message().await;
    assert_eq!((&message.topic[..], &message.payload[..]), (&b"muster/reply/cli-1/7"[..], &b"done"[..]));
    assert_eq!(message.properties.unwrap().correlation_data.unwrap(), vec![1, 2, 3]);

    // Nobody has answers sent to somebody else.
    operator
        .mqtt
        .publish_with_properties(topic, at_least_once, false, "{}", ask("muster/reply/cli-2/7"))
        .await
        .unwrap();
    loop {
        if let v5::Packet::PubAck(ack) = operator.next().await.unwrap()
            && ack.reason != v5::PubAckReason::Success
        {
            assert_eq!(ack.reason, v5::PubAckReason::NotAuthorized);
            break;
        }
    }
}
