use crate::client::{Client, Client5, connect_packet, v5};
use crate::raw::{Hello, Raw};
use crate::stage::{Stage, in_time, settle};
use mqtt_protocol_core::mqtt::packet::ReceiveMaximum;
use muster_broker_bridge::MqttSettings;
use muster_bus::{Answer, Deliveries, Message, Qos};
use muster_certs::identity::Role;
use muster_wire::id::ThingName;
use muster_wire::limits::{
    OUTBOX_MESSAGES_MAX, PAYLOAD_BYTES_MAX, REQUESTS_IN_FLIGHT_PER_CONNECTION_MAX, SHADOW_REQUESTS_IN_FLIGHT_MAX,
};
use rumqttc::{Packet, QoS, SubscribeFilter, SubscribeReasonCode};
use rustls::ClientConfig;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn b1_the_largest_payload_passes_and_a_larger_one_ends_the_connection() {
    let mut stage = Stage::new().await;
    let mut client = Client::connect(&stage, Role::Connector, "t1", "c1").await;
    client.publish("$aws/things/t1/shadow/update", &"x".repeat(PAYLOAD_BYTES_MAX)).await;
    let request = stage.service.request().await;
    assert_eq!(request.payload.len(), PAYLOAD_BYTES_MAX);
    settle(&request, Answer::settled());
    assert!(matches!(client.next().await, Ok(Packet::PubAck(_))));
    client.publish("$aws/things/t1/shadow/update", &"x".repeat(PAYLOAD_BYTES_MAX + 1)).await;
    client.ended().await;
}

#[tokio::test]
async fn b1_subscriptions_are_bounded() {
    let stage = Stage::new().await;
    let mut client = Client5::connect(&stage, Role::Connector, "t1", "c1").await;
    let granted = v5::SubscribeReasonCode::Success(v5::QoS::AtLeastOnce);
    for at in 0..50 {
        assert_eq!(client.subscribe(&format!("$aws/things/t1/shadow/name/{at}/#")).await, granted);
    }
    assert_eq!(client.subscribe("$aws/things/t1/shadow/#").await, v5::SubscribeReasonCode::QuotaExceeded);
    assert_eq!(client.subscribe("$aws/things/t1/shadow/name/7/#").await, granted, "a repetition is none more");

    let mut old = Client::connect(&stage, Role::Connector, "t1", "c2").await;
    let filter = |at: i32| SubscribeFilter::new(format!("$aws/things/t1/jobs/{at}/get/+"), QoS::AtLeastOnce);
    old.mqtt.subscribe_many((0..9).map(filter)).await.unwrap();
    match old.next().await {
        Ok(Packet::SubAck(suback)) => assert_eq!(suback.return_codes, [SubscribeReasonCode::Failure; 9]),
        other => panic!("{other:?}"),
    }
    old.mqtt.subscribe_many((0..8).map(filter)).await.unwrap();
    match old.next().await {
        Ok(Packet::SubAck(suback)) => {
            assert_eq!(suback.return_codes, [SubscribeReasonCode::Success(QoS::AtLeastOnce); 8]);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn b1_reading_pauses_while_too_many_requests_are_unanswered() {
    const MAX: usize = REQUESTS_IN_FLIGHT_PER_CONNECTION_MAX as usize;
    let mut stage = Stage::new().await;
    let mut tls = stage.tls(stage.config(Role::Connector, "t1", &[b"mqtt"])).await.unwrap();
    let mut packets = connect_packet(4, "c1");
    for id in 1..=(MAX as u16 + 20) {
        packets.extend_from_slice(&[0x32, 29, 0, 25]);
        packets.extend_from_slice(b"$aws/things/t1/shadow/get");
        packets.extend_from_slice(&id.to_be_bytes());
    }
    packets.extend_from_slice(&[0xc0, 0]);
    tls.write_all(&packets).await.unwrap();
    let mut answer = [0; 4];
    in_time(tls.read_exact(&mut answer)).await.unwrap();
    let mut requests = Vec::new();
    for _ in 0..MAX {
        requests.push(stage.service.request().await);
    }
    let refused = requests.iter().filter(|request| request.is_excess).count();
    assert_eq!(refused, MAX - SHADOW_REQUESTS_IN_FLIGHT_MAX);
    assert!(stage.service.things.try_recv().is_err(), "the hundred and first waits");
    settle(&requests[0], Answer::settled());
    requests.push(stage.service.request().await);
    for request in &requests[1..] {
        settle(request, Answer::settled());
    }
    for _ in 1..20 {
        settle(&stage.service.request().await, Answer::settled());
    }
    let mut acks = vec![0; (MAX + 20) * 4];
    let mut read = 0;
    while read < acks.len() {
        read += in_time(tls.read(&mut acks[read..])).await.unwrap();
    }
}

#[tokio::test]
async fn shadow_requests_past_the_limit_are_marked_until_one_is_answered() {
    let settings = MqttSettings { shadow_requests_max: 2, ..MqttSettings::default() };
    let mut stage = Stage::with_settings(settings).await;
    let mut tls = stage.tls(stage.config(Role::Connector, "t1", &[b"mqtt"])).await.unwrap();
    tls.write_all(&connect_packet(4, "c1")).await.unwrap();
    in_time(tls.read_exact(&mut [0; 4])).await.unwrap();
    let packet = |topic: &str| {
        let length = u8::try_from(topic.len()).unwrap();
        [&[0x32, length + 4, 0, length], topic.as_bytes(), &[0, 7]].concat()
    };
    let (get, update) = (packet("$aws/things/t1/shadow/get"), packet("$aws/things/t1/shadow/name/n/update"));
    let job = packet("$aws/things/t1/jobs/get");
    let mut requests = Vec::new();
    for (packet, is_excess) in [(&get, false), (&update, false), (&get, true), (&update, true), (&job, false)] {
        tls.write_all(packet).await.unwrap();
        requests.push(stage.service.request().await);
        assert_eq!(requests.last().unwrap().is_excess, is_excess);
    }
    // One that was refused makes no room when it is answered; one that was served does.
    for (answered, is_excess) in [(2, true), (4, true), (0, false)] {
        settle(&requests[answered], Answer::settled());
        in_time(tls.read_exact(&mut [0; 4])).await.unwrap();
        tls.write_all(&get).await.unwrap();
        assert_eq!(stage.service.request().await.is_excess, is_excess);
    }
}

#[tokio::test]
async fn shadow_requests_over_http_are_counted_for_who_asks_about_a_thing() {
    let settings = MqttSettings { shadow_requests_max: 2, ..MqttSettings::default() };
    let mut stage = Stage::with_settings(settings).await;
    let device = stage.config(Role::Connector, "t1", &[b"http/1.1"]);
    let reader = stage.config(Role::Observer, "o1", &[b"http/1.1"]);
    let ask = async |stage: &mut Stage, config: &Arc<ClientConfig>, thing: &str| {
        let mut tls = stage.tls(config.clone()).await.unwrap();
        let request = format!("GET /things/{thing}/shadow HTTP/1.1\r\nHost: localhost\r\n\r\n");
        tls.write_all(request.as_bytes()).await.unwrap();
        let asked = stage.service.request().await;
        (tls, asked)
    };
    let mut kept = Vec::new();
    for (config, thing, is_excess) in [
        (&device, "t1", false),
        (&device, "t1", false),
        (&device, "t1", true),
        (&reader, "t1", false),
        (&reader, "t2", false),
        (&reader, "t1", false),
        (&reader, "t1", true),
    ] {
        kept.push(ask(&mut stage, config, thing).await);
        assert_eq!(kept.last().unwrap().1.is_excess, is_excess, "{thing}");
    }
    // Who hangs up has asked all the same.
    let (mut first, asked) = kept.remove(0);
    first.shutdown().await.unwrap();
    // The server hangs up too, without a word.
    let _ = in_time(first.read_to_end(&mut Vec::new())).await;
    assert!(ask(&mut stage, &device, "t1").await.1.is_excess);
    settle(&asked, Answer::settled());
    assert!(!ask(&mut stage, &device, "t1").await.1.is_excess, "the answer made room");
}

#[tokio::test]
async fn b1_qos_1_messages_wait_for_acknowledgements_and_overflow_ends_the_connection() {
    let stage = Stage::new().await;
    let mut tls = stage.tls(stage.config(Role::Connector, "t1", &[b"mqtt"])).await.unwrap();
    let mut packets = connect_packet(4, "c1");
    let filter = b"$aws/things/t1/jobs/#";
    packets.extend_from_slice(&[0x82, 5 + filter.len() as u8, 0, 1, 0, filter.len() as u8]);
    packets.extend_from_slice(filter);
    packets.push(1);
    tls.write_all(&packets).await.unwrap();
    let mut head = [0; 9];
    in_time(tls.read_exact(&mut head)).await.unwrap();
    assert_eq!(head, [0x20, 2, 0, 0, 0x90, 3, 0, 1, 1]);
    let thing = ThingName::new("t1").unwrap();
    let message = Arc::new(Message::new("$aws/things/t1/jobs/notify", "x"));
    let size = 2 + 2 + message.topic.len() + 2 + 1;
    for _ in 0..150 {
        stage.bus.deliver(&thing, &message);
    }
    let mut sent = vec![0; 100 * size];
    in_time(tls.read_exact(&mut sent)).await.unwrap();
    // Acknowledging one lets one more through.
    let id = &sent[size - 3..size - 1];
    tls.write_all(&[0x40, 2, id[0], id[1]]).await.unwrap();
    in_time(tls.read_exact(&mut sent[..size])).await.unwrap();
    let low = Arc::new(Message { qos: Qos::AtMostOnce, ..Message::clone(&message) });
    for _ in 0..OUTBOX_MESSAGES_MAX {
        stage.bus.deliver(&thing, &low);
    }
    assert_eq!(stage.bridge.counters().dropped, 49, "as many QoS 0 messages as there was no room for");
    for _ in 0..OUTBOX_MESSAGES_MAX - 48 {
        stage.bus.deliver(&thing, &message);
    }
    let mut rest = Vec::new();
    let _ = in_time(tls.read_to_end(&mut rest)).await;
    assert_eq!(stage.bridge.counters().throttled, 1);
    crate::stage::eventually(|| stage.bridge.counters().sessions == 0).await;
}

#[tokio::test]
async fn b1_limits_that_are_settings_hold() {
    let settings = MqttSettings {
        payload_bytes_max: 1024,
        subscriptions_max: 2,
        filters_per_subscribe_max: 1,
        connects_per_second_max: Some(1),
        ..MqttSettings::default()
    };
    let stage = Stage::with_settings(settings).await;
    let mut client = Raw::plain(&stage, Role::Connector, "t1", "c", 5).await;
    let codes = [client.subscribe("app/t1/a", 1).await, client.subscribe("app/t1/b", 1).await];
    assert_eq!((codes, client.subscribe("app/t1/c", 1).await), ([1, 1], 0x97));
    client.send(0x82, b"\0\x09\0\0\x01a\x01\0\x01b\x01").await;
    assert_eq!(client.next().await, Some((0x90, vec![0, 9, 0, 0x97, 0x97])), "two filters in one SUBSCRIBE");
    assert_eq!(client.publish("app/t1/z", &"x".repeat(1024), false, &[]).await, 0);
    client.say("app/t1/z", &"x".repeat(1025), false, &[]).await;
    assert_eq!(client.next().await, Some((0xe0, vec![0x95, 0])), "packet too large");
}

#[tokio::test]
async fn b1_topics_client_ids_and_connections_can_be_held_to_less() {
    let settings = MqttSettings {
        topic_bytes_max: 16,
        topic_slashes_max: 3,
        client_id_bytes_max: 16,
        connections_per_thing_max: 2,
        ..MqttSettings::default()
    };
    let stage = Stage::with_settings(settings).await;
    let mut client = Raw::plain(&stage, Role::Connector, "t1", "c234567890123456", 5).await;
    for (topic, code, granted) in [
        ("app/t1/34567890ab", 0x90, 0x8f),
        ("app/t1/34567890a", 0, 1),
        ("app/t1/3/4", 0, 1),
        ("app/t1/3/4/5", 0x90, 0x8f),
    ] {
        assert_eq!(client.subscribe(topic, 1).await, granted, "{topic}");
        client.unsubscribe(topic).await;
        assert_eq!(client.publish(topic, "x", false, &[]).await, code, "{topic}");
        assert_eq!(client.subscribe(&format!("$share/group/{topic}"), 1).await, granted, "the group does not count");
        client.unsubscribe(&format!("$share/group/{topic}")).await;
    }
    assert_eq!(client.subscribe("$aws/things/t1/shadow/name/n/update/accepted", 1).await, 1, "the service's own");
    let hello = Hello::new(5).with_will("app/t2/3/4/5", "x");
    let mut others = Vec::new();
    for (name, id, hello, code) in [
        ("t2", "c", &hello, 0x90),
        ("t2", "c2345678901234567", &Hello::new(5), 0x85),
        ("t1", "second", &Hello::new(5), 0),
        ("t2", "of another", &Hello::new(5), 0),
    ] {
        let (kept, welcome) = Raw::greet(&stage, Role::Connector, name, id, hello).await;
        assert_eq!(welcome.code, code, "{id}");
        others.push(kept);
    }
    let (_, third) = Raw::greet(&stage, Role::Connector, "t1", "third", &Hello::new(5)).await;
    assert_eq!(third.code, 0x97);
}

#[tokio::test]
async fn b1_less_may_be_unacknowledged_either_way() {
    let settings = MqttSettings { unacknowledged_in_max: 2, unacknowledged_out_max: 1, ..MqttSettings::default() };
    let mut stage = Stage::with_settings(settings).await;
    let (mut client, welcome) = Raw::greet(&stage, Role::Connector, "t1", "c", &Hello::new(5)).await;
    assert!(welcome.properties.contains(&ReceiveMaximum::new(2).unwrap().into()));
    client.subscribe("app/t1/x", 1).await;
    let mut other = Raw::plain(&stage, Role::Connector, "t1", "d", 5).await;
    for payload in ["1", "2"] {
        assert_eq!(other.publish("app/t1/x", payload, false, &[]).await, 0);
    }
    let first = client.receive().await;
    assert_eq!(first.payload, "1");
    client.silent().await;
    client.acknowledge(first.id).await;
    assert_eq!(client.payload().await, "2");
    for _ in 0..3 {
        client.say("$aws/things/t1/shadow/get", "", false, &[]).await;
    }
    let requests = [stage.service.request().await, stage.service.request().await];
    assert!(stage.service.things.try_recv().is_err(), "the third waits");
    settle(&requests[0], Answer::settled());
    stage.service.request().await;
}

#[tokio::test]
async fn b4_a_wildcard_matches_its_parent_when_the_settings_say_so() {
    let stage = Stage::with_settings(MqttSettings { hash_matches_parent: true, ..MqttSettings::default() }).await;
    let mut client = Raw::plain(&stage, Role::Observer, "o", "c", 5).await;
    let mut member = Raw::plain(&stage, Role::Observer, "o", "d", 5).await;
    assert_eq!(client.subscribe("app/t1/+/#", 1).await, 1);
    assert_eq!(member.subscribe("$share/g/app/t1/a/#", 1).await, 1);
    let mut device = Raw::plain(&stage, Role::Connector, "t1", "e", 5).await;
    for topic in ["app/t1/a", "app/t1/a/b"] {
        assert_eq!(device.publish(topic, topic, false, &[]).await, 0);
        assert_eq!((client.payload().await.as_str(), member.payload().await.as_str()), (topic, topic));
    }
    assert_eq!(device.publish("app/t1/b", "not the group's", false, &[]).await, 0);
    assert_eq!(client.payload().await, "not the group's");
    client.silent().await;
    member.silent().await;
}

#[tokio::test]
async fn b1_a_pace_slows_the_reading_and_loses_nothing() {
    let settings = MqttSettings { publishes_per_second_max: Some(2), ..MqttSettings::default() };
    let stage = Stage::with_settings(settings).await;
    let mut client = Raw::plain(&stage, Role::Connector, "t1", "c", 5).await;
    let begun = tokio::time::Instant::now();
    for _ in 0..6 {
        client.say("app/t1/z", "x", false, &[]).await;
    }
    for _ in 0..6 {
        assert_eq!(client.next().await.expect("a PUBACK").0, 0x40);
    }
    // What is read is answered; the pause comes after it.
    assert!(begun.elapsed().as_millis() >= 1400, "four more than a second's worth: {:?}", begun.elapsed());
    assert!(stage.bridge.counters().paced > 0);
}

#[tokio::test]
async fn b1_topics_have_256_bytes_and_seven_slashes() {
    let stage = Stage::new().await;
    let mut client = Raw::plain(&stage, Role::Connector, "t1", "c", 5).await;
    let long = format!("app/t1/{}", "x".repeat(249));
    let (longer, deep, deeper) = (format!("{long}x"), "app/t1/3/4/5/6/7/8", "app/t1/3/4/5/6/7/8/9");
    for (topic, code, granted) in [(&*long, 0, 0), (&*longer, 0x90, 0x8f), (deep, 0, 0), (deeper, 0x90, 0x8f)] {
        assert_eq!(client.publish(topic, "x", false, &[]).await, code, "{topic}");
        assert_eq!(client.subscribe(topic, 0).await, granted, "{topic}");
        client.unsubscribe(topic).await;
    }
    let share = format!("$share/{}/app/t1/3/4/5/6/7/8", "g".repeat(128));
    assert_eq!(client.subscribe(&share, 1).await, 1, "the name of a group does not count");
    assert_eq!(client.subscribe(&format!("$share/{}/app/t1/x", "g".repeat(129)), 1).await, 0x8f);
}

#[tokio::test]
async fn b15_a_client_that_names_no_server_is_refused_when_the_settings_say_so() {
    for (server_name_required, code) in [(false, 0), (true, 0x87)] {
        let settings = MqttSettings { server_name_required, ..MqttSettings::default() };
        let stage = Stage::with_settings(settings).await;
        let mut config = rustls::ClientConfig::clone(&stage.config(Role::Connector, "t1", &[b"mqtt"]));
        config.enable_sni = false;
        let mut tls = stage.tls(Arc::new(config)).await.unwrap();
        tls.write_all(&connect_packet(5, "c")).await.unwrap();
        let mut connack = [0; 4];
        in_time(tls.read_exact(&mut connack)).await.unwrap();
        assert_eq!((connack[0], connack[3]), (0x20, code));
        Raw::plain(&stage, Role::Connector, "t1", "named", 5).await.silent().await;
    }
}
