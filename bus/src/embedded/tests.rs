#![allow(clippy::unwrap_used)]
use super::*;
use std::time::Duration;
use tokio::time::timeout;

/// For whatever must happen. None of it takes a second; a busy machine may need many.
const SOON: Duration = Duration::from_secs(60);

fn filter(text: &str) -> TopicFilter {
    TopicFilter::new(text).unwrap()
}

fn thing(name: &str) -> ThingName {
    ThingName::new(name).unwrap()
}

#[tokio::test]
async fn readers_get_what_their_filters_match() {
    let (bus, _inboxes) = EmbeddedBus::new(1);
    let mut reader = bus.observer("r").unwrap();
    reader.subscribe(&filter("$aws/events/#")).unwrap();
    reader.subscribe(&filter("muster/view/connectors/+")).unwrap();
    bus.observe(Message::new("muster/view/connectors/a/metrics", "no"), false);
    bus.observe(Message::new("$aws/events/presence/connected/a", "one"), false);
    bus.observe(Message::new("muster/view/connectors/a", "two"), false);
    let mut got = Vec::new();
    for _ in 0..2 {
        let message = timeout(SOON, reader.next()).await.unwrap().unwrap();
        got.push((message.topic.to_string(), message.payload.clone()));
    }
    got.sort();
    assert_eq!(
        got,
        [
            ("$aws/events/presence/connected/a".to_owned(), "one".into()),
            ("muster/view/connectors/a".to_owned(), "two".into())
        ]
    );
}

#[tokio::test]
async fn a_reader_that_left_wants_nothing() {
    let (bus, _inboxes) = EmbeddedBus::new(1);
    let mut reader = bus.observer("r").unwrap();
    reader.subscribe(&filter("a/#")).unwrap();
    assert!(bus.wanted(&thing("t"), "a/b"));
    reader.unsubscribe(&filter("a/#")).unwrap();
    assert!(!bus.wanted(&thing("t"), "a/b"));
    reader.subscribe(&filter("a/#")).unwrap();
    reader.subscribe(&filter("a/#")).unwrap();
    drop(reader);
    assert!(!bus.wanted(&thing("t"), "a/b"));
}

#[tokio::test]
async fn many_readers_may_come_and_go() {
    let (bus, _inboxes) = EmbeddedBus::new(1);
    for _ in 0..3000 {
        let mut reader = bus.observer("r").unwrap();
        reader.subscribe(&filter("a")).unwrap();
    }
    let mut reader = bus.observer("last").unwrap();
    reader.subscribe(&filter("a")).unwrap();
    bus.observe(Message::new("a", "x"), false);
    assert_eq!(timeout(SOON, reader.next()).await.unwrap().unwrap().payload, "x");
}

#[tokio::test]
async fn a_reader_that_does_not_read_never_stops_the_publisher() {
    let (bus, _inboxes) = EmbeddedBus::new(1);
    let mut lazy = bus.observer("lazy").unwrap();
    lazy.subscribe(&filter("a")).unwrap();
    let mut keen = bus.observer("keen").unwrap();
    keen.subscribe(&filter("a")).unwrap();
    let publisher = bus.clone();
    let all = tokio::task::spawn_blocking(move || {
        for n in 0..20_000 {
            publisher.observe(Message::new("a", format!("{n} {}", "x".repeat(1000))), false);
        }
    });
    timeout(SOON, all).await.unwrap().unwrap();
    let read_all = async {
        loop {
            // Said again while nothing comes: the queue may have been full when it was said before.
            match timeout(Duration::from_millis(100), keen.next()).await {
                Ok(message) if message.as_ref().unwrap().payload == "end" => break,
                Ok(message) => drop(message.unwrap()),
                Err(_) => bus.observe(Message::new("a", "end"), false),
            }
        }
    };
    timeout(SOON, read_all).await.unwrap();
    drop(lazy);
}

#[test]
fn retained_states_are_replaced_and_removed() {
    let (bus, _inboxes) = EmbeddedBus::new(1);
    bus.observe(Message::new("muster/view/connectors/a", "1"), true);
    bus.observe(Message::new("muster/view/connectors/a", "2"), true);
    bus.observe(Message::new("muster/view/connectors/b", "3"), true);
    let payloads = |text: &str| bus.retained(&filter(text)).iter().map(|m| m.payload.clone()).collect::<Vec<_>>();
    assert_eq!(payloads("muster/view/connectors/+"), ["2", "3"]);
    assert_eq!(payloads("muster/view/connectors/a"), ["2"]);
    bus.observe(Message::new("muster/view/connectors/a", ""), true);
    assert_eq!(payloads("muster/view/#"), ["3"]);
}

#[test]
fn a_thing_always_goes_to_the_same_partition() {
    let (bus, mut inboxes) = EmbeddedBus::new(4);
    for _ in 0..10 {
        assert!(matches!(bus.submit(Inbound::Wake(thing("host-1"))), Ok(Submitted::Queued)));
    }
    let counts: Vec<usize> =
        inboxes.partitions.iter_mut().map(|inbox| std::iter::from_fn(|| inbox.try_recv().ok()).count()).collect();
    assert_eq!(counts.iter().sum::<usize>(), 10);
    assert_eq!(counts.iter().filter(|count| **count > 0).count(), 1);
}

#[tokio::test]
async fn a_full_inbox_makes_the_door_wait_and_loses_nothing() {
    let (bus, mut inboxes) = EmbeddedBus::new(1);
    for _ in 0..PARTITION_QUEUE_MAX {
        assert!(matches!(bus.submit(Inbound::Wake(thing("a"))), Ok(Submitted::Queued)));
    }
    let Ok(Submitted::Full(wait)) = bus.submit(Inbound::Wake(thing("last"))) else { panic!("the inbox is full") };
    let mut inbox = inboxes.partitions.remove(0);
    inbox.recv().await.unwrap();
    timeout(SOON, wait).await.unwrap().unwrap();
    let last = std::iter::from_fn(|| inbox.try_recv().ok()).last().unwrap();
    assert_eq!(last.thing(), Some(&thing("last")));
}

#[tokio::test]
async fn fresh_topics_and_filters_leave_nothing_behind_and_stay_quick() {
    let (bus, _inboxes) = EmbeddedBus::new(1);
    let mut reader = bus.observer("r").unwrap();
    for n in 0..20_000 {
        let fresh = filter(&format!("muster/view/x{n}"));
        reader.subscribe(&fresh).unwrap();
        reader.unsubscribe(&fresh).unwrap();
    }
    reader.subscribe(&filter("muster/view/#")).unwrap();
    let publisher = bus.clone();
    let all = tokio::task::spawn_blocking(move || {
        for n in 0..20_000 {
            publisher.observe(Message::new(format!("muster/view/y{n}"), "x"), false);
            if n % 1000 == 999 {
                // Not more at once than a reader may lag.
                std::thread::yield_now();
            }
        }
        publisher.observe(Message::new("muster/view/last", "end"), true);
    });
    timeout(SOON, all).await.unwrap().unwrap();
    assert_eq!(bus.retained(&filter("muster/view/#")).len(), 1);
    let first = timeout(SOON, reader.next()).await.unwrap().unwrap();
    assert!(first.topic.starts_with("muster/view/"), "{}", first.topic);
}

#[tokio::test]
async fn a_filter_gets_its_own_topics_only() {
    let (bus, _inboxes) = EmbeddedBus::new(1);
    let mut reader = bus.observer("r").unwrap();
    reader.subscribe(&filter("muster/view/connectors/b")).unwrap();
    reader.subscribe(&filter("+/view/actions")).unwrap();
    for topic in ["muster/view/connectors/a", "muster/view/actions", "$aws/events/x", "muster/view/connectors/b"] {
        bus.observe(Message::new(topic, "x"), false);
        bus.deliver(&thing("t"), &Arc::new(Message::new(topic, "x")));
    }
    let mut got = Vec::new();
    for _ in 0..4 {
        got.push(timeout(SOON, reader.next()).await.unwrap().unwrap().topic.to_string());
    }
    got.sort();
    let (a, b) = ("muster/view/actions", "muster/view/connectors/b");
    assert_eq!(got, [a, a, b, b]);
}
