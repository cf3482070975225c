#![allow(clippy::unwrap_used)]
//! The services over a store in memory, driven through the bus by a door that writes down what it gets.

mod lifecycle;
mod provisioning;
mod shadows;
mod tokens;

use super::*;
use crate::store::MemoryStore;
use bytes::Bytes;
use muster_bus::{
    Answer, Caller, Connection, Door, Inbound, LinkChange, LinkState, Message, Outcome, Request, Requests, ResponseTo,
    Tag, Whose,
};
use muster_certs::{Authority, Fleet, Identity, PublisherKey, Role, csr};
use muster_wire::codec::Encoding;
use muster_wire::component::signed_text;
use muster_wire::enrol::{EnrolRequest, HostFacts, artifact_file};
use muster_wire::id::Sha256Hex;
use muster_wire::limits::{RETAINED_BYTES_MAX, RETAINED_MESSAGES_MAX, SHADOW_DEPTH_MAX};
use muster_wire::rejection::RejectionCode;
use muster_wire::time::Timestamp;
use muster_wire::topic::Topic;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::mpsc::{Receiver, Sender, channel};

const SOON: Duration = Duration::from_secs(10);
const START: i64 = 1_800_000_000;

/// Everything that reached a door.
#[derive(Debug)]
enum Heard {
    Answer(Tag, Answer),
    Delivered(Message),
    Rechecked(Whose),
    Kept(Message, Timestamp),
}

struct Ear(std::sync::Mutex<Sender<Heard>>);

impl Connection for Ear {
    fn answer(&self, tag: Tag, answer: Answer) {
        let _ = self.0.lock().unwrap().send(Heard::Answer(tag, answer));
    }
}

impl Door for Ear {
    fn deliver(&self, _thing: &ThingName, message: &Arc<Message>) {
        let _ = self.0.lock().unwrap().send(Heard::Delivered(message.as_ref().clone()));
    }

    fn wanted(&self, _thing: &ThingName, _topic: &str) -> bool {
        true
    }

    fn spread(&self, message: &Arc<Message>) {
        let _ = self.0.lock().unwrap().send(Heard::Delivered(message.as_ref().clone()));
    }

    fn keep(&self, message: &Arc<Message>, at: Timestamp) {
        let _ = self.0.lock().unwrap().send(Heard::Kept(message.as_ref().clone(), at));
    }

    fn kick(&self, _thing: &ThingName) {}

    fn recheck(&self, whose: &Whose) {
        let _ = self.0.lock().unwrap().send(Heard::Rechecked(whose.clone()));
    }
}

fn caller(role: Role, name: &str, certificate_id: &str) -> Arc<Caller> {
    Arc::new(Caller {
        identity: Identity::new(Fleet::new("test").unwrap(), role, name).unwrap(),
        certificate_id: certificate_id.into(),
        client_id: name.into(),
        peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
        certificate: None,
    })
}

struct Rig {
    bus: Arc<EmbeddedBus>,
    ear: Arc<Ear>,
    heard: Receiver<Heard>,
    clock: Clock,
    store: Arc<MemoryStore>,
    publisher: PublisherKey,
    artifacts: tempfile::TempDir,
    vault: Arc<Vault>,
    tag: Tag,
    backlog: Vec<Message>,
    rechecks: VecDeque<Whose>,
    service: Option<Service>,
    admission: Arc<Admission>,
    hooks: Arc<provisioning::Ask>,
    shadow_depth_max: usize,
    retained: RetainedBounds,
    /// Stands before the store, if there is one.
    front: Option<Arc<dyn Store>>,
}

impl Rig {
    fn new() -> Self {
        let fleet = Fleet::new("test").unwrap();
        let authority = Authority::create(&fleet, START).unwrap();
        let vault = Arc::new(Vault::in_memory(&authority).unwrap());
        let mut rig = Self {
            bus: EmbeddedBus::new(2).0,
            ear: Arc::new(Ear(std::sync::Mutex::new(channel().0))),
            heard: channel().1,
            clock: Clock::fixed(Timestamp::from_seconds(START)),
            store: Arc::new(MemoryStore::new()),
            publisher: PublisherKey::generate().unwrap(),
            artifacts: tempfile::tempdir().unwrap(),
            vault,
            tag: 0,
            backlog: Vec::new(),
            rechecks: VecDeque::new(),
            service: None,
            admission: Admission::new(),
            hooks: Arc::default(),
            shadow_depth_max: SHADOW_DEPTH_MAX,
            retained: RetainedBounds { messages: RETAINED_MESSAGES_MAX, bytes: RETAINED_BYTES_MAX },
            front: None,
        };
        rig.start();
        rig
    }

    /// Starts the services over the store as it is: after a stop, a restart.
    fn start(&mut self) {
        let (bus, inboxes) = EmbeddedBus::new(2);
        let (sender, heard) = channel();
        let ear = Arc::new(Ear(std::sync::Mutex::new(sender)));
        bus.open(ear.clone());
        self.admission = Admission::new();
        let config = ServiceConfig {
            vault: self.vault.clone(),
            certificate_life: muster_wire::limits::CERTIFICATE_LIFE,
            on_trust_change: Box::new(|| {}),
            publisher_key: self.publisher.public_key().to_string(),
            artifacts_dir: self.artifacts.path().to_owned(),
            data_dir: self.artifacts.path().to_owned(),
            agent: None,
            token_life: Duration::from_secs(300),
            offline_after: Duration::from_secs(300),
            access_master: AccessMaster::from_random([7; 32]),
            admission: self.admission.clone(),
            hooks: self.hooks.clone(),
            shadow_depth_max: self.shadow_depth_max,
            retained: self.retained,
            on_fatal: Box::new(|why| panic!("{why}")),
        };
        let store = self.front.clone().unwrap_or_else(|| self.store.clone());
        let service = Service::start(config, store, bus.clone(), inboxes, self.clock.clone()).unwrap();
        self.backlog.clear();
        self.rechecks.clear();
        (self.bus, self.ear, self.heard, self.service) = (bus, ear, heard, Some(service));
    }

    fn stop(&mut self) {
        self.service.take().unwrap().stop();
    }

    fn publish(&mut self, role: Role, name: &str, topic: &str, payload: impl Into<Bytes>) -> Tag {
        self.publish_from(1, role, name, topic, payload)
    }

    fn publish_from(&mut self, session: u64, role: Role, name: &str, topic: &str, payload: impl Into<Bytes>) -> Tag {
        self.publish_as(session, caller(role, name, "c"), topic, payload)
    }

    fn publish_as(&mut self, session: u64, caller: Arc<Caller>, topic: &str, payload: impl Into<Bytes>) -> Tag {
        self.submit(session, caller, topic, payload.into(), false)
    }

    fn submit(&mut self, session: u64, caller: Arc<Caller>, topic: &str, payload: Bytes, is_excess: bool) -> Tag {
        self.tag += 1;
        let request = Request {
            topic: Topic::parse(topic).unwrap(),
            payload,
            caller,
            session,
            response: Some(ResponseTo { topic: "muster/reply/x".into(), correlation: Some("7".into()) }),
            is_excess,
            tag: self.tag,
            connection: self.ear.clone(),
        };
        assert!(self.bus.submit(Inbound::Request(request)).is_ok());
        self.tag
    }

    /// Waits for the answer to `tag`; returns its own messages.
    fn until(&mut self, tag: Tag) -> Vec<Message> {
        loop {
            match self.heard.recv_timeout(SOON).expect("the service answers") {
                Heard::Answer(found, answer) if found == tag => {
                    assert_eq!(answer.outcome, Outcome::Settled);
                    return answer.direct.iter().map(|message| message.as_ref().clone()).collect();
                }
                Heard::Rechecked(whose) => self.rechecks.push_back(whose),
                Heard::Answer(..) | Heard::Kept(..) => {}
                Heard::Delivered(message) => self.backlog.push(message),
            }
        }
    }

    /// The next message on `topic`, heard already or still to come.
    fn next_on(&mut self, topic: &str) -> Message {
        loop {
            if let Some(at) = self.backlog.iter().position(|message| &*message.topic == topic) {
                return self.backlog.remove(at);
            }
            match self.heard.recv_timeout(SOON).unwrap_or_else(|_| panic!("nothing came on {topic}")) {
                Heard::Delivered(message) => self.backlog.push(message),
                Heard::Rechecked(whose) => self.rechecks.push_back(whose),
                Heard::Answer(..) | Heard::Kept(..) => {}
            }
        }
    }

    fn delivered(&mut self, topic: &str) -> Value {
        let message = self.next_on(topic);
        Encoding::of(&message.payload).decode(&message.payload).unwrap()
    }

    /// Waits until `a` is told that the job of this intent is next.
    fn offered(&mut self, job: &str) {
        while self.delivered("$aws/things/a/jobs/notify-next")["execution"]["jobId"] != job {}
    }

    fn operator(&mut self, verb: &str, payload: Value) -> Result<Value, (String, String)> {
        let tag = self.publish(Role::Operator, "admin", &format!("muster/op/{verb}"), payload.to_string());
        let messages = self.until(tag);
        let reply = messages.last().unwrap();
        assert_eq!((&*reply.topic, reply.correlation.as_deref()), ("muster/reply/x", Some(&b"7"[..])));
        let mut reply: Value = serde_json::from_slice(&reply.payload).unwrap();
        match reply.get_mut("ok") {
            Some(ok) => Ok(ok.take()),
            None => {
                let error = &reply["error"];
                Err((error["code"].as_str().unwrap().into(), error["message"].as_str().unwrap().into()))
            }
        }
    }

    fn job(&mut self, thing: &str, api: &str, payload: Value) -> Value {
        let topic = format!("$aws/things/{thing}/jobs/{api}");
        let tag = self.publish(Role::Connector, thing, &topic, payload.to_string());
        let answer = self.until(tag).pop().unwrap();
        let mut value: Value = serde_json::from_slice(&answer.payload).unwrap();
        value["topic"] = answer.topic.trim_start_matches(&topic).into();
        value
    }

    fn shadow(&mut self, thing: &str, shadow: &str, payload: &Value) {
        let topic = format!("$aws/things/{thing}/shadow/name/{shadow}/update");
        let tag = self.publish(Role::Connector, thing, &topic, payload.to_string());
        self.until(tag);
    }

    fn enrol(&self, token: &str, name: &str, csr: &str) -> Result<String, Rejection2> {
        self.enrol_with(EnrolRequest {
            token: token.into(),
            name: ThingName::new(name).unwrap(),
            pool: None,
            prefix: None,
            csr: csr.into(),
            host: HostFacts { hostname: "box".into(), ..HostFacts::default() },
        })
    }

    fn enrol_with(&self, request: EnrolRequest) -> Result<String, Rejection2> {
        let (reply, answer) = tokio::sync::oneshot::channel();
        let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
        assert!(self.bus.submit(Inbound::Enrol { request: Box::new(request), peer, reply }).is_ok());
        answer.blocking_recv().unwrap().map(|response| response.certificate).map_err(|r| (r.code, r.message))
    }

    fn add(&mut self, name: &str) -> String {
        self.operator("connector-add", json!({ "name": name })).unwrap()["token"].as_str().unwrap().to_owned()
    }

    fn package(&mut self, version: &str) -> Value {
        let (name, version) = (ComponentName::new("web").unwrap(), Version::new(version).unwrap());
        let sha256 = Sha256Hex::from_bytes(&[version.as_str().bytes().last().unwrap(); 32]);
        let file = self.artifacts.path().join(artifact_file(&sha256));
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, b"four").unwrap();
        let signature = self.publisher.sign(signed_text(&name, &version, &sha256, 4).as_bytes()).unwrap();
        json!({ "name": name, "version": version, "sha256": sha256, "size": 4, "signature": signature, "soak_s": 1 })
    }

    fn publish_version(&mut self, version: &str) {
        let package = self.package(version);
        self.operator("component-publish", package).unwrap();
    }

    fn action(&mut self, target: &str) -> Value {
        let listed = self.operator("actions", json!({ "target": target })).unwrap();
        assert_eq!(listed["actions"].as_array().unwrap().len(), 1, "{listed}");
        listed["actions"][0].clone()
    }

    fn report(version: &str, start: &str) -> Value {
        let package = Sha256Hex::from_bytes(&[version.bytes().last().unwrap(); 32]);
        json!({ "state": { "reported": { "web": {
            "version": version, "package_sha256": package, "program_sha256": package, "start_id": start,
            "health": "healthy", "healthy_for_s": 1, "port": 80
        } } } })
    }

    /// Brings `web` to `version` on connector `a` as an agent would.
    fn bring(&mut self, target: &str, version: &str, start: &str) {
        let started = self.job("a", "start-next", json!({}));
        assert_eq!(started["execution"]["jobDocument"]["version"], version, "{started}");
        let job = started["execution"]["jobId"].as_str().unwrap().to_owned();
        self.job("a", &format!("{job}/update"), json!({ "status": "SUCCEEDED" }));
        assert_eq!(self.action(target)["state"], "proving");
        self.shadow("a", "components", &Self::report(version, start));
        assert_eq!(self.action(target)["state"], "confirmed");
    }
}

type Rejection2 = (RejectionCode, String);

#[test]
fn a_shadow_update_is_answered_and_tells_who_listens() {
    let mut rig = Rig::new();
    let payload = r#"{"state":{"desired":{"a":1}},"clientToken":"t"}"#;
    let tag = rig.publish(Role::Connector, "a", "$aws/things/a/shadow/update", payload);
    rig.until(tag);
    assert_eq!(rig.delivered("$aws/things/a/shadow/update/accepted")["version"], 1);
    assert_eq!(rig.delivered("$aws/things/a/shadow/update/delta")["state"], json!({ "a": 1 }));
    assert_eq!(rig.delivered("$aws/things/a/shadow/update/documents")["clientToken"], "t");
    let tag = rig.publish(Role::Connector, "a", "$aws/things/a/shadow/name/x/get", r#"{"clientToken":"u"}"#);
    rig.until(tag);
    let rejected = rig.delivered("$aws/things/a/shadow/name/x/get/rejected");
    assert_eq!(rejected["message"], "No shadow exists with name: 'x'");
    assert_eq!(rejected["clientToken"], "u");
}

#[test]
fn cbor_is_answered_in_cbor() {
    let mut rig = Rig::new();
    let payload = Encoding::Cbor.encode(&json!({ "state": { "reported": { "a": 1 } }, "clientToken": "t" }));
    let tag = rig.publish(Role::Connector, "a", "$aws/things/a/shadow/update", payload);
    rig.until(tag);
    let accepted = rig.next_on("$aws/things/a/shadow/update/accepted");
    assert_eq!(Encoding::of(&accepted.payload), Encoding::Cbor);
}

#[test]
fn enrolment_refuses_everything_that_is_not_the_token_of_this_connector() {
    let mut rig = Rig::new();
    let (csr_a, _) = csr("a").unwrap();
    let (csr_b, _) = csr("b").unwrap();
    let (first, second) = (rig.add("a"), rig.add("b"));
    let refused = |outcome: Result<String, Rejection2>, what: &str| {
        let (code, message) = outcome.unwrap_err();
        assert!(message.contains(what), "{message}");
        code
    };
    assert_eq!(refused(rig.enrol("nonsense", "a", &csr_a), "is not valid"), RejectionCode::Forbidden);
    assert_eq!(refused(rig.enrol(&second, "a", &csr_a), "for another connector"), RejectionCode::Forbidden);
    assert_eq!(refused(rig.enrol(&first, "a", &csr_b), "CSR for another name"), RejectionCode::Invalid);
    assert_eq!(refused(rig.enrol(&first, "a", "no csr"), ""), RejectionCode::Invalid);
    let certificate = rig.enrol(&first, "a", &csr_a).unwrap();
    let fleet = Fleet::new("test").unwrap();
    let der = muster_certs::certificate::first_from_pem(&certificate).unwrap();
    assert_eq!(Identity::from_certificate(&der, &fleet).unwrap().name(), "a");
    assert_eq!(refused(rig.enrol(&first, "a", &csr_a), "was used already"), RejectionCode::Forbidden);
    rig.clock.set(Timestamp::from_seconds(START + 300));
    assert_eq!(refused(rig.enrol(&second, "b", &csr_b), "has expired"), RejectionCode::Forbidden);
    let renewed = rig.operator("connector-add", json!({ "name": "b", "renew": true })).unwrap();
    assert_eq!(refused(rig.enrol(&second, "b", &csr_b), "is not valid"), RejectionCode::Forbidden);
    assert!(rig.enrol(renewed["token"].as_str().unwrap(), "b", &csr_b).is_ok());
    // A lost host comes back under its name with an operator's yes.
    let again = rig.operator("connector-add", json!({ "name": "b", "renew": true })).unwrap();
    assert!(rig.enrol(again["token"].as_str().unwrap(), "b", &csr_b).is_ok());
}

#[test]
fn a_renewal_changes_nothing_but_the_token() {
    let mut rig = Rig::new();
    rig.operator("connector-add", json!({ "name": "a", "pool": "blue", "description": "d" })).unwrap();
    rig.operator("connector-add", json!({ "name": "b" })).unwrap();
    rig.operator("connector-add", json!({ "name": "a", "renew": true })).unwrap();
    let moved = rig.operator("connector-add", json!({ "name": "a", "renew": true, "pool": "red" })).unwrap_err();
    assert!(moved.1.contains("leave out pool"), "{moved:?}");
    let mut shown = |name: &str| rig.operator("connector-show", json!({ "name": name })).unwrap()["connector"].clone();
    let (a, b) = (shown("a"), shown("b"));
    assert_eq!((&a["pool"], &a["description"], &b["pool"]), (&"blue".into(), &"d".into(), &Value::Null));
}

#[test]
fn operators_learn_why_they_are_refused() {
    let mut rig = Rig::new();
    rig.add("a");
    rig.publish_version("1");
    let mut other = rig.package("1");
    other["sha256"] = Sha256Hex::from_bytes(&[9; 32]).to_string().into();
    let mut forged = rig.package("2");
    forged["version"] = "3".into();
    let mut missing = rig.package("4");
    std::fs::remove_dir_all(rig.artifacts.path()).unwrap();
    missing["description"] = "gone".into();
    let cases = [
        ("connector-add", json!({ "name": "a" }), "conflict", "a connector is called a already"),
        ("connector-show", json!({ "name": "z" }), "not-found", "no connector is called z"),
        (
            "connector-add",
            json!({ "name": "c", "description": "red\u{1b}[31m\nlife  forged" }),
            "invalid",
            "the description has control characters",
        ),
        (
            "connector-edit",
            json!({ "name": "a", "description": "a\u{9b}b" }),
            "invalid",
            "the description has control characters",
        ),
        ("connector-disable", json!({ "name": "a", "reason": "a\rb" }), "invalid", "the reason has control characters"),
        ("connector-add", json!({ "name": "a/b" }), "invalid", "character '/' is not allowed"),
        (
            "job-create",
            json!({ "job_id": "upgrade-1", "targets": ["a"], "document": {} }),
            "invalid",
            "kept for the server",
        ),
        ("component-publish", other, "conflict", "web 1 is published already with other content"),
        ("component-publish", forged, "forbidden", "the signature is not the publisher's"),
        ("component-publish", missing, "not-found", "the package was not uploaded"),
        (
            "upgrade",
            json!({ "component": "db", "version": "1", "to": "all" }),
            "not-found",
            "no component is called db",
        ),
        ("upgrade", json!({ "component": "web", "version": "9", "to": "all" }), "not-found", "published are 1"),
        (
            "upgrade",
            json!({ "component": "web", "version": "1", "to": "pool=x" }),
            "not-found",
            "no connector matches pool=x",
        ),
        ("upgrade", json!({ "component": "web", "version": "1", "to": "poool" }), "invalid", "\"poool\" has no ="),
    ];
    for (verb, payload, code, message) in cases {
        let (found, text) = rig.operator(verb, payload).unwrap_err();
        assert_eq!(found, code, "{verb}: {text}");
        assert!(text.contains(message), "{verb}: {text}");
    }
}

#[test]
fn an_upgrade_goes_from_intent_to_proof() {
    let mut rig = Rig::new();
    rig.add("a");
    for version in ["1", "2"] {
        rig.publish_version(version);
    }
    let started = rig.operator("upgrade", json!({ "component": "web", "version": "1", "to": "name=a" })).unwrap();
    assert_eq!(started, json!({ "target": "t1", "matched": ["a"] }));
    assert_eq!(rig.delivered("$aws/things/a/jobs/notify-next")["execution"]["jobDocument"]["component"], "web");
    rig.bring("t1", "1", "s1");
    rig.operator("upgrade", json!({ "component": "web", "version": "2", "to": "all" })).unwrap();
    rig.offered("upgrade-2");
    rig.bring("t2", "2", "s2");
    let shown = rig.operator("connector-show", json!({ "name": "a" })).unwrap();
    let web = &shown["connector"]["components"]["web"];
    assert_eq!((&web["desired"], &web["reported"], &web["confirmed"]), (&"2".into(), &"2".into(), &"2".into()));
    assert_eq!((&shown["connector"]["work"], &web["why"]), (&"healthy".into(), &Value::Null));
}

#[test]
fn a_failed_version_is_remembered_over_a_restart() {
    let mut rig = Rig::new();
    rig.add("a");
    rig.publish_version("1");
    rig.operator("upgrade", json!({ "component": "web", "version": "1", "to": "all" })).unwrap();
    rig.offered("upgrade-1");
    let job = rig.job("a", "start-next", json!({}))["execution"]["jobId"].as_str().unwrap().to_owned();
    let details = json!({ "reason": "the probe fails", "outcome": "rolled-back" });
    rig.job("a", &format!("{job}/update"), json!({ "status": "FAILED", "statusDetails": details }));
    assert_eq!(rig.action("t1")["state"], "rolled-back");
    rig.start();
    assert_eq!(rig.action("t1")["reason"], "the probe fails");
    rig.operator("upgrade", json!({ "component": "web", "version": "1", "to": "all" })).unwrap();
    rig.shadow("a", "agent", &json!({ "state": { "reported": { "hostname": "box" } } }));
    assert_eq!(rig.action("t2")["state"], "failed");
    assert_eq!(rig.job("a", "start-next", json!({}))["execution"], Value::Null);
    rig.operator("upgrade", json!({ "component": "web", "version": "1", "to": "all", "again": true })).unwrap();
    rig.offered("upgrade-3");
    assert_eq!(rig.action("t3")["state"], "queued");
}

#[test]
fn a_job_reaches_every_thing_once() {
    let mut rig = Rig::new();
    let things: Vec<String> = (0..300).map(|n| format!("t{n}")).collect();
    let created =
        rig.operator("job-create", json!({ "job_id": "j", "targets": things, "document": { "do": "it" } })).unwrap();
    assert_eq!(created["executions"], 300);
    let (code, _) =
        rig.operator("job-create", json!({ "job_id": "j", "targets": ["t0"], "document": {} })).unwrap_err();
    assert_eq!(code, "conflict");
    assert_eq!(rig.job("t299", "start-next", json!({}))["execution"]["jobDocument"], json!({ "do": "it" }));
    let first = rig.job("t0", "j/update", json!({ "status": "SUCCEEDED" }));
    assert_eq!(first["topic"], "/accepted");
    let second = rig.job("t0", "j/update", json!({ "status": "IN_PROGRESS" }));
    assert_eq!((&second["topic"], &second["code"]), (&"/rejected".into(), &"InvalidStateTransition".into()));
    let unknown = rig.job("t0", "k/get", json!({ "clientToken": "x" }));
    assert_eq!((&unknown["code"], &unknown["clientToken"]), (&"ResourceNotFound".into(), &"x".into()));
}

#[test]
fn links_go_from_never_over_online_to_offline() {
    let mut rig = Rig::new();
    rig.add("a");
    let link = |rig: &mut Rig| {
        rig.shadow("a", "agent", &json!({ "state": { "reported": { "hostname": "box" } } }));
        rig.operator("connector-show", json!({ "name": "a" })).unwrap()["connector"]["link"].clone()
    };
    assert_eq!(link(&mut rig), "never");
    let change = |session, state| {
        Inbound::Link(LinkChange {
            thing: ThingName::new("a").unwrap(),
            session,
            caller: caller(Role::Connector, "a", "c"),
            state,
        })
    };
    assert!(rig.bus.submit(change(1, LinkState::Up)).is_ok());
    assert_eq!(link(&mut rig), "online");
    assert!(rig.bus.submit(change(2, LinkState::Up)).is_ok());
    assert!(rig.bus.submit(change(1, LinkState::Down)).is_ok());
    assert_eq!(link(&mut rig), "online");
    assert!(rig.bus.submit(change(2, LinkState::Down)).is_ok());
    assert_eq!(link(&mut rig), "stale");
    rig.clock.set(Timestamp::from_seconds(START + 301));
    assert_eq!(link(&mut rig), "offline");
    // A server that dies sees nobody go; the next one counts from when it begins.
    assert!(rig.bus.submit(change(3, LinkState::Up)).is_ok());
    assert_eq!(link(&mut rig), "online");
    rig.clock.set(Timestamp::from_seconds(START + 10_000));
    rig.start();
    assert_eq!(link(&mut rig), "stale");
    rig.clock.set(Timestamp::from_seconds(START + 10_299));
    rig.start();
    assert_eq!(link(&mut rig), "stale", "not anew at each start");
    rig.clock.set(Timestamp::from_seconds(START + 10_301));
    assert_eq!(link(&mut rig), "offline");
}

#[test]
fn one_things_nonsense_stays_its_own() {
    let mut rig = Rig::new();
    rig.add("a");
    rig.add("b");
    rig.shadow(
        "a",
        "components",
        &json!({ "state": { "reported": { "web": 5, "../x": {}, "db": { "version": 1 } } } }),
    );
    let payload = r#"{"at":1,"cpu_percent":1e300,"memory_total_bytes":1,"memory_available_bytes":1,"disk_total_bytes":1,
        "disk_available_bytes":1,"uptime_s":1,"agent_memory_bytes":1}"#;
    let tag = rig.publish(Role::Connector, "a", "muster/things/a/telemetry/host", payload);
    rig.until(tag);
    let listed = rig.operator("connector-list", json!({})).unwrap();
    let list: muster_wire::admin::ConnectorList = serde_json::from_value(listed).unwrap();
    assert_eq!(list.connectors.len(), 2);
    assert!(list.connectors.iter().all(|view| view.telemetry.is_none() && view.components.is_empty()));
}

#[test]
fn listings_come_in_pages_that_fit() {
    let mut rig = Rig::new();
    let description = "d".repeat(1000);
    for n in 0..300 {
        rig.operator("connector-add", json!({ "name": format!("h{n}"), "description": description })).unwrap();
    }
    let (mut names, mut after) = (Vec::new(), Value::Null);
    loop {
        let page = rig.operator("connector-list", json!({ "after": after })).unwrap();
        names.extend(page["connectors"].as_array().unwrap().iter().map(|view| view["name"].clone()));
        after = page["next"].clone();
        if after.is_null() {
            break;
        }
    }
    names.dedup();
    assert_eq!(names.len(), 300);
}

mod connectors;
mod jobs;
mod retained;
