//! Topics of applications: retained messages, shared subscriptions, properties, aliases (rows B4 to B6, B8 and B9 of the
//! reference's checklist).

use crate::raw::{Got, Hello, Raw, put_text};
use crate::stage::{Stage, eventually};
use mqtt_protocol_core::mqtt::packet::Property;
use muster_broker_bridge::MqttSettings;
use muster_bus::{Deliveries, Message};
use muster_certs::identity::Role::{Connector, Observer, Operator};
use muster_wire::filter::TopicFilter;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

const NOT_AUTHORIZED: u8 = 0x87;

#[tokio::test]
async fn b4_a_wildcard_does_not_match_its_parent_and_the_policy_holds() {
    let stage = Stage::new().await;
    let mut device = Raw::plain(&stage, Connector, "t1", "c", 5).await;
    let mut sibling = Raw::plain(&stage, Connector, "t1", "d", 4).await;
    assert_eq!(device.subscribe("app/t1/a/#", 1).await, 1);
    for topic in ["app/t1/a", "app/t1/a/b"] {
        assert_eq!(sibling.publish(topic, topic, false, &[]).await, 0);
    }
    assert_eq!(device.payload().await, "app/t1/a/b");
    for topic in ["app/t2/x", "sensors/t1", "app"] {
        assert_eq!(device.publish(topic, "x", false, &[]).await, NOT_AUTHORIZED, "{topic}");
    }
    for filter in ["app/#", "app/+/x", "app/t2/#", "#", "+/t1/#"] {
        assert_eq!(device.subscribe(filter, 1).await, NOT_AUTHORIZED, "{filter}");
    }
    device.unsubscribe("app/t1/a/#").await;
    assert_eq!(sibling.publish("app/t1/a/b", "unheard", false, &[]).await, 0);
    device.silent().await;
}

#[tokio::test]
async fn the_settings_say_which_topics_connectors_have() {
    let application_topics = vec![TopicFilter::new("sensors/{thing}/#").unwrap(), TopicFilter::new("all/+").unwrap()];
    let stage = Stage::with_settings(MqttSettings { application_topics, ..MqttSettings::default() }).await;
    let mut device = Raw::plain(&stage, Connector, "t1", "c", 5).await;
    assert_eq!(device.publish("sensors/t1/temperature", "x", false, &[]).await, 0);
    assert_eq!(device.publish("app/t1/x", "x", false, &[]).await, NOT_AUTHORIZED);
    assert_eq!(device.subscribe("all/+", 1).await, 1);
    let mut operator = Raw::plain(&stage, Operator, "ann", "o", 5).await;
    assert_eq!(operator.publish("all/news", "for everybody", false, &[]).await, 0);
    assert_eq!(device.payload().await, "for everybody");
}

#[tokio::test]
async fn b5_retained_messages_come_to_exact_filters_only() {
    let stage = Stage::new().await;
    let mut device = Raw::plain(&stage, Connector, "t1", "c", 5).await;
    let mut live = Raw::plain(&stage, Observer, "o", "live", 5).await;
    live.subscribe("app/t1/state", 1).await;
    assert_eq!(device.publish("app/t1/state", "1", true, &[]).await, 0);
    let got = live.receive().await;
    assert_eq!((got.payload.as_str(), got.retain), ("1", false), "live");
    live.acknowledge(got.id).await;

    for (version, filter, comes) in [
        (4, "app/t1/state", true),
        (5, "app/t1/state", true),
        (4, "app/t1/+", false),
        (5, "app/#", false),
        (5, "$share/g/app/t1/state", false),
    ] {
        let mut late = Raw::plain(&stage, Observer, "o", "late", version).await;
        assert_eq!(late.subscribe(filter, 1).await, 1);
        if comes {
            let got = late.receive().await;
            assert_eq!((got.payload.as_str(), got.retain), ("1", true), "{filter}");
            late.acknowledge(got.id).await;
        }
        late.silent().await;
        late.leave().await;
    }
    // Retain handling 1: only with a new subscription; 2: never. Retain as published keeps the flag of a live message.
    let mut options = Raw::plain(&stage, Observer, "o", "options", 5).await;
    options.subscribe("app/t1/state", 1 | 1 << 4).await;
    assert_eq!(options.payload().await, "1");
    options.subscribe("app/t1/state", 1 | 1 << 4).await;
    options.subscribe("app/t1/state", 1 | 2 << 4).await;
    options.silent().await;
    options.subscribe("app/t1/state", 1 | 2 << 4 | 1 << 3).await;
    assert_eq!(device.publish("app/t1/state", "2", true, &[]).await, 0);
    assert!(options.receive().await.retain);

    // An empty one clears the topic and is delivered.
    assert_eq!(live.payload().await, "2");
    assert_eq!(device.publish("app/t1/state", "", true, &[]).await, 0);
    assert_eq!(live.payload().await, "");
    let mut late = Raw::plain(&stage, Observer, "o", "late", 5).await;
    late.subscribe("app/t1/state", 1).await;
    late.silent().await;
}

#[tokio::test]
async fn b5_retained_messages_are_bounded_and_not_for_the_service() {
    let stage = Stage::new().await;
    stage.retaining.room.store(1, SeqCst);
    let mut device = Raw::plain(&stage, Connector, "t1", "c", 5).await;
    assert_eq!(device.publish("app/t1/a", "1", true, &[]).await, 0);
    assert_eq!(device.publish("app/t1/b", "1", true, &[]).await, 0x97, "quota exceeded");
    assert_eq!(stage.bridge.counters().retained_refused, 1);
    device.say("$aws/things/t1/shadow/update", "{}", true, &[]).await;
    assert_eq!(device.next().await, Some((0xe0, vec![0x9a, 0])), "retain not supported there");
}

#[tokio::test]
async fn a_retained_message_is_acknowledged_after_the_service_has_it_and_is_not_overtaken() {
    let stage = Stage::new().await;
    let mut device = Raw::plain(&stage, Connector, "t1", "c", 5).await;
    let mut live = Raw::plain(&stage, Observer, "o", "live", 5).await;
    live.subscribe("app/t1/state", 1).await;
    let turn = stage.retaining.turn.lock().await;
    device.say("app/t1/state", "kept", true, &[]).await;
    device.say("app/t1/state", "later", false, &[]).await;
    // Somebody else's messages do not wait for it, and nobody hears of it yet.
    let mut other = Raw::plain(&stage, Connector, "t2", "c", 5).await;
    assert_eq!(other.publish("app/t2/x", "x", false, &[]).await, 0);
    live.silent().await;
    live.subscribe("app/t1/state", 1).await;
    live.silent().await;
    drop(turn);
    assert_eq!(device.next().await.map(|(header, _)| header), Some(0x40));
    assert_eq!(device.next().await.map(|(header, _)| header), Some(0x40));
    assert_eq!((live.payload().await.as_str(), live.payload().await.as_str()), ("kept", "later"));
    live.subscribe("app/t1/state", 1).await;
    assert_eq!(live.payload().await, "kept");
}

#[tokio::test]
async fn a_retained_message_that_the_service_cannot_keep_is_not_acknowledged() {
    let stage = Stage::new().await;
    stage.retaining.fails.store(true, SeqCst);
    for (version, end) in [(4, None), (5, Some((0xe0, vec![0x80, 0])))] {
        let mut device = Raw::plain(&stage, Connector, "t1", "c", version).await;
        device.say("app/t1/state", "1", true, &[]).await;
        assert_eq!(device.next().await, end, "MQTT {version}");
    }
    stage.retaining.room.store(0, SeqCst);
    stage.retaining.fails.store(false, SeqCst);
    let mut device = Raw::plain(&stage, Connector, "t1", "c", 4).await;
    device.say("app/t1/state", "1", true, &[]).await;
    assert_eq!(device.next().await, None, "MQTT 3.1.1 cannot say that there is no room");
}

#[tokio::test]
async fn no_local_keeps_away_what_the_client_said_itself() {
    let stage = Stage::new().await;
    let mut one = Raw::plain(&stage, Connector, "t1", "one", 5).await;
    let mut two = Raw::plain(&stage, Connector, "t1", "two", 5).await;
    for client in [&mut one, &mut two] {
        client.subscribe("app/t1/chat", 1 | 1 << 2).await;
    }
    assert_eq!(one.publish("app/t1/chat", "hello", false, &[]).await, 0);
    assert_eq!(two.payload().await, "hello");
    one.silent().await;
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Said {
    user: Vec<(String, String)>,
    kind: Option<String>,
    answer: Option<String>,
    correlation: Option<Vec<u8>>,
}

fn properties_of(got: &Got) -> Said {
    let mut said = Said::default();
    for property in &got.properties {
        match property {
            Property::UserProperty(pair) => said.user.push((pair.key().to_owned(), pair.val().to_owned())),
            Property::ContentType(text) => said.kind = Some(text.val().to_owned()),
            Property::ResponseTopic(topic) => said.answer = Some(topic.val().to_owned()),
            Property::CorrelationData(data) => said.correlation = Some(data.val().to_vec()),
            _ => {}
        }
    }
    said
}

#[tokio::test]
async fn b8_both_versions_hear_each_other_and_properties_reach_the_newer_one() {
    let stage = Stage::new().await;
    let mut old = Raw::plain(&stage, Connector, "t1", "old", 4).await;
    let mut new = Raw::plain(&stage, Connector, "t1", "new", 5).await;
    for client in [&mut old, &mut new] {
        assert_eq!(client.subscribe("app/t1/#", 1).await, 1);
    }
    let mut properties = vec![0x01, 1, 0x03, 0, 1, b'j', 0x08, 0, 8];
    properties.extend_from_slice(b"app/t1/r");
    properties.extend_from_slice(&[0x09, 0, 2, 1, 2]);
    for value in ["1", "2"] {
        properties.push(0x26);
        put_text(&mut properties, "k");
        put_text(&mut properties, value);
    }
    let mut speaker = Raw::plain(&stage, Connector, "t1", "speaker", 5).await;
    assert_eq!(speaker.publish("app/t1/x", "from 5", false, &properties).await, 0);
    assert_eq!(old.payload().await, "from 5");
    let got = new.receive().await;
    assert_eq!(got.payload, "from 5");
    let expected = Said {
        user: vec![("k".to_owned(), "1".to_owned()), ("k".to_owned(), "2".to_owned())],
        kind: Some("j".into()),
        answer: Some("app/t1/r".into()),
        correlation: Some(vec![1, 2]),
    };
    assert_eq!(properties_of(&got), expected);
    assert!(
        got.text(|property| match property {
            Property::PayloadFormatIndicator(format) => Some(format.val().to_string()),
            _ => None,
        }) == Some("1".into())
    );
    new.acknowledge(got.id).await;
    assert_eq!(old.publish_and_hear("app/t1/x", "from 4").await, "from 4", "its own message comes back");
    assert_eq!(new.payload().await, "from 4");
}

fn life(got: &Got) -> Option<u32> {
    got.properties.iter().find_map(|property| match property {
        Property::MessageExpiryInterval(seconds) => Some(seconds.val()),
        _ => None,
    })
}

#[tokio::test]
async fn b9_the_life_of_a_message_counts_down() {
    let stage = Stage::new().await;
    let mut device = Raw::plain(&stage, Connector, "t1", "c", 5).await;
    let mut live = Raw::plain(&stage, Observer, "o", "live", 5).await;
    live.subscribe("app/t1/x", 1).await;
    // 0 becomes 1, and much becomes a week.
    for (wish, least, most) in [(0_u32, 0, 1), (100, 98, 100), (u32::MAX, 604_798, 604_800)] {
        let mut properties = vec![0x02];
        properties.extend_from_slice(&wish.to_be_bytes());
        assert_eq!(device.publish("app/t1/x", "x", true, &properties).await, 0);
        let got = live.receive().await;
        live.acknowledge(got.id).await;
        assert!((least..=most).contains(&life(&got).unwrap()), "{wish}: {:?}", life(&got));
    }
    // Who comes later finds less of it; who comes too late finds nothing.
    assert_eq!(device.publish("app/t1/x", "short", true, &[0x02, 0, 0, 0, 2]).await, 0);
    let (waiting, _) = Raw::connect(&stage, Observer, "o", "waiting", &Hello::kept(4, 0)).await;
    let mut waiting = waiting;
    waiting.subscribe("app/t1/y", 1).await;
    waiting.leave().await;
    eventually(|| stage.bridge.counters().sessions_waiting == 1).await;
    assert_eq!(device.publish("app/t1/y", "short", false, &[0x02, 0, 0, 0, 1]).await, 0);
    assert_eq!(device.publish("app/t1/y", "long", false, &[]).await, 0);
    // Both lives pass: a subscriber in the last moment of one could lose it on its way, which counts as over too.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut late = Raw::plain(&stage, Observer, "o", "late", 5).await;
    late.subscribe("app/t1/x", 0).await;
    // A stored message may come after the first answer, but not after the second.
    for _ in 0..2 {
        late.send(0xc0, &[]).await;
        assert_eq!(late.next().await.unwrap().0, 0xd0, "the stored one is over");
    }
    let (mut waiting, present) = Raw::connect(&stage, Observer, "o", "waiting", &Hello::kept(4, 0)).await;
    assert!(present);
    assert_eq!(waiting.payload().await, "long", "the short one is over, for a client of 3.1.1 too");
    assert_eq!(stage.bridge.counters().expired, 1);
}

#[tokio::test]
async fn topic_aliases_work_in_both_directions() {
    let stage = Stage::new().await;
    let hello = Hello { properties: vec![0x22, 0, 1], ..Hello::new(5) };
    let (mut client, _) = Raw::connect(&stage, Connector, "t1", "c", &hello).await;
    client.subscribe("app/t1/#", 0).await;
    client.say("app/t1/a", "1", false, &[0x23, 0, 8]).await;
    client.say("", "2", false, &[0x23, 0, 8]).await;
    let alias = |got: &Got| {
        got.properties.iter().find_map(|property| match property {
            Property::TopicAlias(alias) => Some(alias.val()),
            _ => None,
        })
    };
    let mut heard = Vec::new();
    while heard.len() < 2 {
        if let Some(got) = client.receive_or_ack().await {
            heard.push((got.topic.clone(), got.payload.clone(), alias(&got)));
        }
    }
    assert_eq!(heard[0], ("app/t1/a".into(), "1".into(), Some(1)));
    assert_eq!(heard[1], (String::new(), "2".into(), Some(1)));
    client.say("", "3", false, &[0x23, 0, 9]).await;
    while let Some((header, body)) = client.next().await {
        if header == 0xe0 {
            assert_eq!(body[0], 0x94, "topic alias invalid");
            return;
        }
    }
    panic!("no DISCONNECT");
}

#[tokio::test]
async fn b6_a_group_shares_and_each_message_comes_once() {
    let stage = Stage::new().await;
    let mut members = Vec::new();
    for id in ["a", "b"] {
        let mut member = Raw::plain(&stage, Observer, "o", id, 5).await;
        assert_eq!(member.subscribe("$share/group/app/+/x", 1).await, 1);
        members.push(member);
    }
    let mut other = Raw::plain(&stage, Observer, "o", "other", 4).await;
    assert_eq!(other.subscribe("$share/other/app/t1/x", 1).await, 1);
    let mut device = Raw::plain(&stage, Connector, "t1", "c", 5).await;
    for payload in ["1", "2", "3", "4"] {
        assert_eq!(device.publish("app/t1/x", payload, false, &[]).await, 0);
    }
    let mut all = Vec::new();
    for member in &mut members {
        let mine = [member.payload().await, member.payload().await];
        all.extend(mine);
        member.silent().await;
    }
    all.sort_unstable();
    assert_eq!(all, ["1", "2", "3", "4"], "each once, two for each member");
    for payload in ["1", "2", "3", "4"] {
        assert_eq!(other.payload().await, payload, "every group gets one copy");
    }
    // A member that leaves gets no more.
    members.remove(0).leave().await;
    eventually(|| stage.bridge.counters().sessions == 3).await;
    for payload in ["5", "6"] {
        assert_eq!(device.publish("app/t1/x", payload, false, &[]).await, 0);
        assert_eq!(members[0].payload().await, payload);
    }
    members[0].unsubscribe("$share/group/app/+/x").await;
    assert_eq!(device.publish("app/t1/x", "7", false, &[]).await, 0);
    members[0].silent().await;
}

#[tokio::test]
async fn b6_what_a_member_was_handed_goes_to_no_other_when_it_ends() {
    let stage = Stage::new().await;
    let mut device = Raw::plain(&stage, Connector, "t1", "c", 5).await;
    let mut gone = Raw::plain(&stage, Observer, "o", "gone", 5).await;
    assert_eq!(gone.subscribe("$share/group/app/+/x", 1).await, 1);
    assert_eq!(device.publish("app/t1/x", "1", false, &[]).await, 0);
    assert_eq!(gone.receive().await.payload, "1");
    let mut stays = Raw::plain(&stage, Observer, "o", "stays", 5).await;
    assert_eq!(stays.subscribe("$share/group/app/+/x", 1).await, 1);
    gone.vanish();
    eventually(|| stage.bridge.counters().sessions == 2).await;
    stays.silent().await;
    assert_eq!(device.publish("app/t1/x", "2", false, &[]).await, 0);
    assert_eq!(stays.payload().await, "2");
}

#[tokio::test]
async fn b6_no_local_on_a_group_breaks_the_protocol() {
    let stage = Stage::new().await;
    let mut client = Raw::plain(&stage, Connector, "t1", "c", 5).await;
    client.send(0x82, b"\0\x01\0\0\x08app/t1/#\x01\0\x11$share/g/app/t1/#\x05").await;
    assert_eq!(client.next().await, Some((0xe0, vec![0x82, 0])));
}

#[tokio::test]
async fn b6_a_group_with_a_kept_member_queues_while_nobody_is_there() {
    let stage = Stage::new().await;
    let hello = Hello::kept(5, 600);
    let (mut member, _) = Raw::connect(&stage, Observer, "o", "m", &hello).await;
    member.subscribe("$share/group/app/+/x", 1).await;
    member.leave().await;
    eventually(|| stage.bridge.counters().sessions_waiting == 1).await;
    let mut device = Raw::plain(&stage, Connector, "t1", "c", 5).await;
    for payload in ["1", "2"] {
        assert_eq!(device.publish("app/t1/x", payload, false, &[]).await, 0);
    }
    let mut fresh = Raw::plain(&stage, Observer, "o", "fresh", 4).await;
    fresh.subscribe("$share/group/app/+/x", 1).await;
    assert_eq!((fresh.payload().await, fresh.payload().await), ("1".into(), "2".into()), "whoever comes first");
    fresh.leave().await;
    eventually(|| stage.bridge.counters().sessions == 1).await;
    assert_eq!(device.publish("app/t1/x", "3", false, &[]).await, 0);
    let (mut member, present) = Raw::connect(&stage, Observer, "o", "m", &hello).await;
    assert!(present);
    assert_eq!(member.payload().await, "3");
    assert_eq!(stage.bridge.counters().waiting_bytes, 0);
    // Without a kept member nothing waits.
    Raw::plain(&stage, Observer, "o", "m", 5).await.leave().await;
    member.vanish();
    eventually(|| stage.bridge.counters().sessions == 1).await;
    assert_eq!(device.publish("app/t1/x", "4", false, &[]).await, 0);
    let mut late = Raw::plain(&stage, Observer, "o", "late", 5).await;
    late.subscribe("$share/group/app/+/x", 1).await;
    late.silent().await;
}

#[tokio::test]
async fn b6_a_group_keeps_nothing_of_qos_0_and_nothing_for_who_was_granted_it() {
    let stage = Stage::new().await;
    let hello = Hello::kept(5, 600);
    for (id, granted) in [("m", 1), ("n", 0)] {
        let (mut member, _) = Raw::connect(&stage, Observer, "o", id, &hello).await;
        assert_eq!(member.subscribe(&format!("$share/{id}/app/+/x"), granted).await, granted);
        member.leave().await;
    }
    eventually(|| stage.bridge.counters().sessions_waiting == 2).await;
    let mut device = Raw::plain(&stage, Connector, "t1", "c", 5).await;
    assert_eq!(device.publish("app/t1/x", "1", false, &[]).await, 0);
    device.toss("app/t1/x", "nobody is there").await;
    assert_eq!(device.publish("app/t1/x", "2", false, &[]).await, 0);
    let (mut member, _) = Raw::connect(&stage, Observer, "o", "m", &hello).await;
    assert_eq!((member.payload().await, member.payload().await), ("1".into(), "2".into()));
    member.silent().await;
    let (mut member, present) = Raw::connect(&stage, Observer, "o", "n", &hello).await;
    assert!(present);
    member.silent().await;
    let counters = stage.bridge.counters();
    assert_eq!((counters.dropped, counters.waiting_bytes), (4, 0), "one for the first group, three for the second");
}

#[tokio::test]
async fn b6_views_and_events_are_shared_too() {
    let stage = Stage::new().await;
    let mut members = Vec::new();
    for id in ["a", "b"] {
        let mut member = Raw::plain(&stage, Observer, "o", id, 5).await;
        assert_eq!(member.subscribe("$share/g/$aws/events/job/#", 1).await, 1);
        members.push(member);
    }
    for payload in ["1", "2"] {
        stage.bus.observe(Message::new("$aws/events/job/j/completed", payload), false);
    }
    let mut all = [members[0].payload().await, members[1].payload().await];
    all.sort_unstable();
    assert_eq!(all, ["1", "2"]);
    let mut device = Raw::plain(&stage, Connector, "t1", "c", 5).await;
    assert_eq!(device.subscribe("$share/g/$aws/events/job/#", 1).await, NOT_AUTHORIZED);
    assert_eq!(device.subscribe("$share/g/app/t1/#", 1).await, 1);
}

#[tokio::test]
async fn a_bad_filter_is_answered_and_ends_nothing() {
    let stage = Stage::new().await;
    for (version, code) in [(4, 0x80), (5, 0x8f)] {
        let mut device = Raw::plain(&stage, Connector, "t1", "c", version).await;
        for filter in ["$share//x", "$share/g", "$share/g/", "$share/g+/x", "$share/#/x", "app/t1/#/x", "app/t1/x+"] {
            assert_eq!(device.subscribe(filter, 1).await, code, "{filter}");
            device.unsubscribe(filter).await;
        }
        assert_eq!(device.subscribe("$share/g/app/t1/#", 1).await, 1);
    }
}

#[tokio::test]
async fn a_topic_or_filter_with_null_ends_the_connection() {
    let stage = Stage::new().await;
    for version in [4, 5] {
        let properties: &[u8] = if version == 5 { &[0] } else { &[] };
        let topic = b"\0\x0aapp/t1/\0/x";
        for (header, before, after) in
            [(0x30, &b""[..], &b""[..]), (0x32, b"", b"\0\x01"), (0x82, b"\0\x01", b"\x01"), (0xa2, b"\0\x01", b"")]
        {
            let body = match header {
                0x30 | 0x32 => [topic, after, properties].concat(),
                _ => [before, properties, topic, after].concat(),
            };
            let mut client = Raw::plain(&stage, Connector, "t1", "c", version).await;
            client.send(header, &body).await;
            assert_eq!(client.next().await, (version == 5).then(|| (0xe0, vec![0x81, 0])), "{header:#x} {version}");
        }
    }
}

#[tokio::test]
async fn options_of_mqtt_5_end_a_connection_of_3_1_1() {
    let stage = Stage::new().await;
    for options in [0x05, 0x09, 0x0d, 0x11, 0x21] {
        let mut client = Raw::plain(&stage, Connector, "t1", "new", 5).await;
        assert_eq!(client.subscribe("app/t1/#", options).await, 1, "{options:#x}");
        let mut client = Raw::plain(&stage, Connector, "t1", "old", 4).await;
        client.send(0x82, &[b"\0\x01\0\x08app/t1/#" as &[u8], &[options]].concat()).await;
        assert_eq!(client.next().await, None, "{options:#x}");
    }
}

#[tokio::test]
async fn requests_are_seen_by_who_subscribed_to_their_topic() {
    let mut stage = Stage::new().await;
    let mut sibling = Raw::plain(&stage, Connector, "t1", "sibling", 5).await;
    sibling.subscribe("$aws/things/t1/shadow/#", 1).await;
    let mut device = Raw::plain(&stage, Connector, "t1", "c", 5).await;
    device.say("$aws/things/t1/shadow/update", "{}", false, &[]).await;
    let got = sibling.receive().await;
    assert_eq!((got.topic.as_str(), got.payload.as_str()), ("$aws/things/t1/shadow/update", "{}"));
    assert_eq!(stage.service.request().await.payload, "{}");
}

#[tokio::test]
async fn a_request_to_no_jobs_api_is_rejected_as_such() {
    let stage = Stage::new().await;
    for version in [4, 5] {
        let mut device = Raw::plain(&stage, Connector, "t1", "c", version).await;
        let topic = "$aws/things/t1/jobs/j/nonsense";
        device.say(topic, r#"{"clientToken":"mine"}"#, false, &[]).await;
        let (mut acknowledged, mut answer) = (false, None);
        while !acknowledged || answer.is_none() {
            match device.receive_or_ack().await {
                Some(got) => answer = Some(got),
                None => acknowledged = true,
            }
        }
        let answer = answer.unwrap();
        assert_eq!(answer.topic, format!("{topic}/rejected"));
        let body: serde_json::Value = serde_json::from_str(&answer.payload).unwrap();
        assert_eq!((&body["code"], &body["clientToken"]), (&"InvalidTopic".into(), &"mine".into()));
    }
    let mut device = Raw::plain(&stage, Connector, "t1", "c", 5).await;
    assert_eq!(device.publish("$aws/things/t2/jobs/j/nonsense", "{}", false, &[]).await, NOT_AUTHORIZED);
}
