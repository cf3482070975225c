use crate::client::{Client, Client5, v5};
use crate::raw::{Hello, Raw};
use crate::stage::{Stage, eventually, settle};
use muster_broker_bridge::{Gate, Refusal};
use muster_bus::{Answer, Caller, Deliveries, Message, Whose};
use muster_certs::identity::Role;
use muster_wire::id::ThingName;
use muster_wire::policy::{BUILTINS, Grants, Policy};
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
async fn what_is_stored_for_one_filter_comes_when_nothing_is_for_those_before_it() {
    let stage = Stage::new().await;
    stage.bus.observe(Message::new("muster/view/connectors/t1", "stored"), true);
    let mut observer = Raw::plain(&stage, Role::Observer, "o1", "dash", 4).await;
    observer
        .send(0x82, b"\0\x09\0\x11$aws/events/job/+\0\0\x11$aws/events/job/#\0\0\x18muster/view/connectors/+\0")
        .await;
    assert_eq!(observer.next().await, Some((0x90, vec![0, 9, 0, 0, 0])));
    let got = observer.receive().await;
    assert_eq!((got.payload.as_str(), got.retain, got.qos), ("stored", true, 0));
}

#[tokio::test]
async fn filters_about_many_things_and_about_one_get_one_copy_together() {
    let stage = Stage::new().await;
    let mut observer = Raw::plain(&stage, Role::Observer, "o1", "dash", 5).await;
    assert_eq!(observer.subscribe("$aws/things/t1/shadow/update/delta", 0).await, 0);
    assert_eq!(observer.subscribe("$aws/things/+/shadow/#", 1).await, 1);
    let tell = |thing: &str, what: &str| {
        let message = Message::new(format!("$aws/things/{thing}/shadow/{what}"), format!("{thing} {what}"));
        stage.bus.deliver(&ThingName::new(thing).unwrap(), &Arc::new(message));
    };
    tell("t1", "update/documents");
    tell("t1", "update/delta");
    tell("t1", "name/x/update/delta");
    // By the reader alone: whatever else comes by it comes before this.
    tell("t2", "update/delta");
    let mut heard = Vec::new();
    while !heard.iter().any(|(payload, _)| payload == "t2 update/delta") {
        let got = observer.receive().await;
        heard.push((got.payload, got.qos));
    }
    heard.sort();
    let each = ["t1 name/x/update/delta", "t1 update/delta", "t1 update/documents", "t2 update/delta"];
    assert_eq!(heard, each.map(|payload| (payload.to_owned(), 1)), "each once, with the highest guarantee");
    observer.unsubscribe("$aws/things/+/shadow/#").await;
    tell("t1", "update/delta");
    assert_eq!(observer.receive().await.qos, 0);
}

/// Every connector is a gateway, which may speak for any thing.
struct Gateways(Arc<Grants>);

impl Gate for Gateways {
    fn admits(&self, _caller: &Caller) -> Result<(), Refusal> {
        Ok(())
    }

    fn grants(&self, _caller: &Caller) -> Option<Arc<Grants>> {
        Some(self.0.clone())
    }
}

#[tokio::test]
async fn no_local_keeps_away_what_the_client_said_itself_about_many_things() {
    let (_, _, gateway) = BUILTINS.iter().find(|(name, ..)| *name == "gateway").unwrap();
    let policies = vec![Arc::new(Policy::parse(gateway).unwrap())];
    let grants = Arc::new(Grants { includes_default: false, policies, attributes: Vec::new() });
    let mut stage = Stage::with_gate(Arc::new(Gateways(grants))).await;
    let mut one = Raw::plain(&stage, Role::Connector, "g1", "one", 5).await;
    let mut two = Raw::plain(&stage, Role::Connector, "g1", "two", 5).await;
    for client in [&mut one, &mut two] {
        assert_eq!(client.subscribe("$aws/things/+/shadow/#", 1 | 1 << 2).await, 1);
    }
    for (client, payload) in [(&mut one, "{}"), (&mut two, "{ }")] {
        client.say("$aws/things/t1/shadow/get", payload, false, &[]).await;
        settle(&stage.service.request().await, Answer::settled());
    }
    for (client, of_the_other) in [(&mut one, "{ }"), (&mut two, "{}")] {
        let mut heard = Vec::new();
        while heard.len() < 2 {
            heard.push(client.receive_or_ack().await.map(|got| got.payload));
        }
        heard.sort();
        assert_eq!(heard, [None, Some(of_the_other.to_owned())]);
        client.silent().await;
    }
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
async fn b12_a_client_that_disconnects_with_an_error_went_by_itself() {
    let stage = Stage::new().await;
    let mut watcher = Raw::plain(&stage, Role::Observer, "o", "w", 5).await;
    let topic = "$aws/events/presence/disconnected/c";
    assert_eq!(watcher.subscribe(topic, 1).await, 1);
    for (goodbye, reason, by_itself, wills) in [
        (Some(&[][..]), "CLIENT_INITIATED_DISCONNECT", true, 0),
        (Some(&[0x04, 0]), "CLIENT_INITIATED_DISCONNECT", true, 1),
        (Some(&[0x80, 0]), "CLIENT_INITIATED_DISCONNECT", true, 2),
        (Some(&[0x93]), "CLIENT_INITIATED_DISCONNECT", true, 3),
        (None, "CONNECTION_LOST", false, 4),
    ] {
        let hello = Hello::new(5).with_will("app/t1/gone", "gone");
        let (mut client, _) = Raw::connect(&stage, Role::Connector, "t1", "c", &hello).await;
        match goodbye {
            Some(body) => {
                client.send(0xe0, body).await;
                assert_eq!(client.next().await, None, "{goodbye:?}");
            }
            None => client.vanish(),
        }
        let event = heard(&mut watcher, topic).await;
        assert_eq!(
            (event["disconnectReason"].as_str(), event["clientInitiatedDisconnect"].as_bool()),
            (Some(reason), Some(by_itself)),
            "{goodbye:?}"
        );
        eventually(|| stage.bridge.counters().wills == wills).await;
    }
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

async fn heard(watcher: &mut Raw, topic: &str) -> serde_json::Value {
    let got = watcher.receive().await;
    watcher.acknowledge(got.id).await;
    assert_eq!(got.topic, topic);
    serde_json::from_str(&got.payload).unwrap()
}

#[tokio::test]
async fn an_observer_hears_who_begins_and_ceases_to_listen() {
    let stage = Stage::new().await;
    let mut watcher = Raw::plain(&stage, Role::Observer, "o", "w", 5).await;
    assert_eq!(watcher.subscribe("$aws/events/subscriptions/+/c", 1).await, 1);
    let mut device = Raw::plain(&stage, Role::Connector, "t1", "c", 5).await;
    // Two filters, of which one is denied; then one that is denied alone, and one that was never there: no event.
    device.send(0x82, b"\0\x09\0\0\x08app/t1/a\x01\0\x08app/t2/a\x01").await;
    assert_eq!(device.next().await, Some((0x90, vec![0, 9, 0, 1, 0x87])));
    assert_eq!(device.subscribe("app/t2/b", 1).await, 0x87);
    device.unsubscribe("app/t1/b").await;
    assert_eq!(device.subscribe("$share/g/app/t1/b", 1).await, 1);
    // Two more that are granted, and one that cannot be, in one packet; then the end of two of three.
    device.send(0x82, b"\0\x0a\0\0\x08app/t1/c\x01\0\x03a#b\x01\0\x08app/t1/d\0").await;
    assert_eq!(device.next().await, Some((0x90, vec![0, 10, 0, 1, 0x8f, 0])));
    device.send(0xa2, b"\0\x0b\0\0\x08app/t1/a\0\x08app/t1/b\0\x08app/t1/d").await;
    assert_eq!(device.next().await, Some((0xb0, vec![0, 11, 0, 0, 0x11, 0])));
    let first = heard(&mut watcher, "$aws/events/subscriptions/subscribed/c").await;
    assert_eq!((&first["clientId"], &first["eventType"]), (&"c".into(), &"subscribed".into()));
    assert_eq!(first["topics"], serde_json::json!(["app/t1/a"]));
    assert!(first["timestamp"].is_i64() && first["principalIdentifier"].as_str().is_some_and(|id| !id.is_empty()));
    let second = heard(&mut watcher, "$aws/events/subscriptions/subscribed/c").await;
    assert_eq!(second["topics"], serde_json::json!(["$share/g/app/t1/b"]));
    assert_eq!(second["sessionIdentifier"], first["sessionIdentifier"]);
    let third = heard(&mut watcher, "$aws/events/subscriptions/subscribed/c").await;
    assert_eq!(third["topics"], serde_json::json!(["app/t1/c", "app/t1/d"]));
    let last = heard(&mut watcher, "$aws/events/subscriptions/unsubscribed/c").await;
    assert_eq!(last["eventType"], "unsubscribed");
    assert_eq!(last["topics"], serde_json::json!(["app/t1/a", "app/t1/d"]));
    watcher.silent().await;
}

/// Refuses everybody of a name, from now on.
#[derive(Default)]
struct NoMore(std::sync::atomic::AtomicBool);

impl Gate for NoMore {
    fn admits(&self, caller: &Caller) -> Result<(), Refusal> {
        let refused = caller.identity.name() == "t1" && self.0.load(std::sync::atomic::Ordering::SeqCst);
        if refused { Err(Refusal { reason: "revoked".into() }) } else { Ok(()) }
    }
}

#[tokio::test]
async fn an_observer_hears_who_is_not_let_in_any_more() {
    let gate = Arc::new(NoMore::default());
    let stage = Stage::with_gate(gate.clone()).await;
    let mut watcher = Raw::plain(&stage, Role::Observer, "o", "w", 5).await;
    assert_eq!(watcher.subscribe("$aws/events/presence/+/c", 1).await, 1);
    let mut device = Raw::plain(&stage, Role::Connector, "t1", "c", 5).await;
    heard(&mut watcher, "$aws/events/presence/connected/c").await;
    gate.0.store(true, std::sync::atomic::Ordering::SeqCst);
    stage.bus.recheck(&Whose::Everyone);
    assert_eq!(device.next().await, Some((0xe0, vec![0x98, 0])));
    let event = heard(&mut watcher, "$aws/events/presence/disconnected/c").await;
    assert_eq!(
        (&event["disconnectReason"], &event["clientInitiatedDisconnect"]),
        (&"AUTH_ERROR".into(), &false.into())
    );
    let failed = "$aws/events/presence/connect_failed/c";
    for (name, hello) in [("t1", Hello::new(5)), ("t2", Hello::new(5).with_will("app/t1/x", "not its own"))] {
        let (_, welcome) = Raw::greet(&stage, Role::Connector, name, "c", &hello).await;
        assert_eq!(welcome.code, 0x87);
        let event = heard(&mut watcher, failed).await;
        assert_eq!((&event["clientId"], &event["eventType"]), (&"c".into(), &"connect_failed".into()));
        assert_eq!(event["connectFailureReason"], "AUTHORIZATION_FAILED");
    }
    watcher.silent().await;
}
