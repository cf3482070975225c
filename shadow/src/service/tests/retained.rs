//! Retained messages of applications outlive the server, within bounds.

use super::*;
use crate::records::key;
use crate::service::retained::RetainedBounds;
use crate::store::{Expect, Key, Kind, Op, VALUE_BYTES_MAX};
use muster_bus::{NotRetained, Properties, Qos, Retain};
use std::sync::Mutex;
use tokio::sync::oneshot;

fn text(topic: &str, payload: &str) -> Message {
    Message { retain: true, ..Message::new(topic, payload.to_owned()) }
}

fn until(expires: i64, message: Message) -> Message {
    let expires = Some(Timestamp::from_seconds(START + expires));
    Message { properties: Some(Box::new(Properties { expires, ..Properties::default() })), ..message }
}

impl Rig {
    fn within(messages: usize) -> Self {
        let mut rig = Self::new();
        rig.stop();
        rig.retained.messages = messages;
        rig.start();
        rig
    }

    fn ask(&mut self, message: Message) -> oneshot::Receiver<Result<(), NotRetained>> {
        let (reply, answer) = oneshot::channel();
        assert!(self.bus.submit(Inbound::Retain(Retain { message: Arc::new(message), reply })).is_ok());
        answer
    }

    /// Publishes a message to retain. Returns the answer, and what the door heard before it.
    fn retain(&mut self, message: Message) -> (Result<(), NotRetained>, Vec<Heard>) {
        let answer = self.ask(message).blocking_recv().expect("the service answers");
        (answer, self.heard.try_iter().collect())
    }

    /// What the door is told at the start of the service: what there is, by topic.
    fn told_again(&mut self) -> Vec<(String, String)> {
        self.stop();
        self.start();
        self.told()
    }

    fn told(&mut self) -> Vec<(String, String)> {
        let told = self.heard.try_iter().filter_map(|heard| match heard {
            Heard::Kept(message, _) => {
                Some((message.topic.to_string(), String::from_utf8(message.payload.to_vec()).unwrap()))
            }
            _ => None,
        });
        told.collect()
    }

    /// From now on whatever is retained tells when it is about to be written, and hears whether that succeeds.
    fn gate(&mut self) -> (Receiver<()>, Sender<bool>) {
        let ((reached, is_reached), (go, may_go)) = (channel(), channel::<bool>());
        let (reached, may_go) = (Mutex::new(reached), Mutex::new(may_go));
        self.look_before(move |ops| {
            if ops.iter().any(|op| op.key.starts_with(Key::new(Kind::Retained).as_bytes())) {
                reached.lock().unwrap().send(()).unwrap();
                if !may_go.lock().unwrap().recv_timeout(SOON).unwrap() {
                    ops.push(Op::put(key::retained("large"), Expect::Any, vec![0; VALUE_BYTES_MAX + 1]));
                }
            }
        });
        (is_reached, go)
    }

    fn stored(&self) -> usize {
        self.store.scan_all(Key::new(Kind::Retained).as_bytes()).unwrap().len()
    }
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(topic, payload)| ((*topic).to_owned(), (*payload).to_owned())).collect()
}

#[test]
fn a_retained_message_is_stored_then_kept_then_heard_then_acknowledged() {
    let mut rig = Rig::new();
    let (answer, heard) = rig.retain(text("app/a/x", "1"));
    assert_eq!((answer, rig.stored()), (Ok(()), 1));
    match &heard[..] {
        [Heard::Kept(kept, at), Heard::Delivered(heard)] => {
            assert_eq!((kept.retained, &kept.payload[..]), (true, &b"1"[..]));
            assert_eq!((heard.retained, &heard.payload[..]), (false, &b"1"[..]));
            assert_eq!(*at, Timestamp::from_seconds(START));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_retained_and_what_is_cleared_survives_a_restart() {
    let mut rig = Rig::new();
    for (topic, payload) in [("app/a", "1"), ("app/b", "1"), ("app/a", "2"), ("app/b", ""), ("app/none", "")] {
        assert_eq!(rig.retain(text(topic, payload)).0, Ok(()), "{topic}");
    }
    rig.clock.set(Timestamp::from_seconds(START + 9));
    rig.stop();
    rig.start();
    let kept: Vec<Heard> = rig.heard.try_iter().collect();
    match &kept[..] {
        [Heard::Kept(kept, at)] => {
            assert_eq!((&*kept.topic, &kept.payload[..], kept.qos), ("app/a", &b"2"[..], Qos::AtLeastOnce));
            assert_eq!(*at, Timestamp::from_seconds(START), "it came before the restart");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_end_of_a_message_is_the_same_after_a_restart() {
    let mut rig = Rig::new();
    assert_eq!(rig.retain(until(60, text("app/short", "1"))).0, Ok(()));
    assert_eq!(rig.retain(until(90, text("app/long", "1"))).0, Ok(()));
    rig.clock.set(Timestamp::from_seconds(START + 60));
    rig.stop();
    rig.start();
    let told: Vec<Heard> = rig.heard.try_iter().collect();
    match &told[..] {
        [Heard::Kept(kept, _)] => {
            let expires = kept.properties.as_ref().unwrap().expires;
            assert_eq!((&*kept.topic, expires), ("app/long", Some(Timestamp::from_seconds(START + 90))));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(rig.stored(), 1, "what nobody needs any more is not in the store");
}

#[test]
fn the_bounds_hold_over_a_restart_and_a_refused_message_is_heard_by_nobody() {
    let mut rig = Rig::within(2);
    assert_eq!(rig.retain(text("app/a", "1")).0, Ok(()));
    assert_eq!(rig.retain(until(60, text("app/b", "1"))).0, Ok(()));
    assert_eq!(rig.told_again(), pairs(&[("app/a", "1"), ("app/b", "1")]));
    let (answer, heard) = rig.retain(text("app/c", "1"));
    assert!(matches!((answer, &heard[..]), (Err(NotRetained::Full), [])), "{heard:?}");
    assert_eq!((rig.retain(text("app/a", "2")).0, rig.stored()), (Ok(()), 2), "in the place of another");

    rig.clock.set(Timestamp::from_seconds(START + 60));
    assert_eq!((rig.retain(text("app/c", "1")).0, rig.stored()), (Ok(()), 2), "the time of b is over");
    assert_eq!(rig.told_again(), pairs(&[("app/a", "2"), ("app/c", "1")]));
    rig.stop();
    rig.retained = RetainedBounds { messages: 0, bytes: 0 };
    rig.start();
    assert_eq!(rig.told(), pairs(&[("app/a", "2"), ("app/c", "1")]), "lower settings take nothing away");
    assert_eq!(rig.retain(text("app/a", "3")).0, Err(NotRetained::Full));
    assert_eq!((rig.retain(text("app/a", "")).0, rig.stored()), (Ok(()), 1), "removing needs no room");
}

#[test]
fn a_damaged_record_keeps_nobody_from_being_served_and_is_replaced() {
    let mut rig = Rig::new();
    rig.stop();
    for topic in ["app/a", "app/b"] {
        let op = Op::put(key::retained(topic), Expect::Any, vec![1, 0xff]);
        rig.store.apply(vec![op]).wait().unwrap();
    }
    rig.start();
    assert_eq!(rig.told(), []);
    assert_eq!(rig.retain(text("app/a", "1")).0, Ok(()));
    assert_eq!(rig.retain(text("app/b", "")).0, Ok(()));
    assert_eq!(rig.stored(), 1);
    assert_eq!(rig.told_again(), pairs(&[("app/a", "1")]));
}

#[test]
fn nobody_hears_of_a_message_before_it_is_durable() {
    let mut rig = Rig::new();
    let (reached, go) = rig.gate();
    for message in [text("app/a", "1"), text("app/a", "")] {
        let mut answer = rig.ask(message);
        reached.recv_timeout(SOON).unwrap();
        assert!(answer.try_recv().is_err(), "acknowledged before the commit");
        assert!(rig.heard.try_recv().is_err(), "told before the commit");
        go.send(true).unwrap();
        assert_eq!(answer.blocking_recv().unwrap(), Ok(()));
        assert_eq!(rig.heard.try_iter().count(), 2);
    }
}

#[test]
fn a_message_that_the_store_refuses_is_not_acknowledged_and_takes_no_room() {
    let mut rig = Rig::within(1);
    let (reached, go) = rig.gate();
    for (topic, well) in [("app/a", false), ("app/b", true)] {
        go.send(well).unwrap();
        let (answer, heard) = rig.retain(text(topic, "1"));
        reached.recv_timeout(SOON).unwrap();
        assert_eq!((answer.is_ok(), heard.len()), (well, if well { 2 } else { 0 }), "{topic}: {answer:?}");
    }
    assert_eq!(rig.retain(text("app/c", "1")).0, Err(NotRetained::Full));
}
