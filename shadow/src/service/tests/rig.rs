//! The services over a store in memory, a clock that is moved, and a door that writes down what reaches it.

use super::*;
use crate::store::{ApplyFuture, Op, SnapshotVisit, Stored, Visit};

/// For whatever must happen. None of it takes a second; a busy machine may need many.
pub(super) const SOON: Duration = Duration::from_secs(60);
pub(super) const START: i64 = 1_800_000_000;

/// A store in front of another: whoever put it there looks at every batch first, and may wait, or change it.
struct Front<B> {
    store: Arc<MemoryStore>,
    before: B,
}

impl<B: Fn(&mut Vec<Op>) + Send + Sync + 'static> Store for Front<B> {
    fn get(&self, key: &[u8]) -> Result<Option<Stored>, StoreError> {
        self.store.get(key)
    }

    fn scan_from(&self, prefix: &[u8], after: Option<&[u8]>, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        self.store.scan_from(prefix, after, visit)
    }

    fn apply(&self, mut ops: Vec<Op>) -> ApplyFuture {
        (self.before)(&mut ops);
        self.store.apply(ops)
    }

    fn snapshot(&self, visit: &mut SnapshotVisit<'_>) -> Result<(), StoreError> {
        self.store.snapshot(visit)
    }

    fn live_bytes(&self) -> u64 {
        self.store.live_bytes()
    }

    fn size_on_disk(&self) -> Result<u64, StoreError> {
        self.store.size_on_disk()
    }
}

/// Everything that reached a door.
#[derive(Debug)]
pub(super) enum Heard {
    Answer(Tag, Answer),
    Delivered(Message),
    Rechecked(Whose),
    Kept(Message, Timestamp),
}

pub(super) struct Ear(std::sync::Mutex<Sender<Heard>>);

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

pub(super) fn caller(role: Role, name: &str, certificate_id: &str) -> Arc<Caller> {
    Arc::new(Caller {
        identity: Identity::new(Fleet::new("test").unwrap(), role, name).unwrap(),
        certificate_id: certificate_id.into(),
        client_id: name.into(),
        peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
        certificate: None,
    })
}

pub(super) struct Rig {
    pub(super) bus: Arc<EmbeddedBus>,
    pub(super) ear: Arc<Ear>,
    pub(super) heard: Receiver<Heard>,
    pub(super) clock: Clock,
    pub(super) store: Arc<MemoryStore>,
    pub(super) publisher: PublisherKey,
    pub(super) artifacts: tempfile::TempDir,
    pub(super) vault: Arc<Vault>,
    pub(super) tag: Tag,
    pub(super) backlog: Vec<Message>,
    pub(super) rechecks: VecDeque<Whose>,
    pub(super) service: Option<Service>,
    pub(super) admission: Arc<Admission>,
    pub(super) hooks: Arc<provisioning::Ask>,
    pub(super) shadow_depth_max: usize,
    pub(super) retained: RetainedBounds,
    /// Stands before the store, if there is one.
    pub(super) front: Option<Arc<dyn Store>>,
}

impl Rig {
    pub(super) fn new() -> Self {
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
    pub(super) fn start(&mut self) {
        if self.service.is_some() {
            // Two would write the same records.
            self.stop();
        }
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

    /// Restarts the services behind a look at every batch that they write.
    pub(super) fn look_before(&mut self, before: impl Fn(&mut Vec<Op>) + Send + Sync + 'static) {
        self.stop();
        self.front = Some(Arc::new(Front { store: self.store.clone(), before }));
        self.start();
    }

    pub(super) fn stop(&mut self) {
        self.service.take().unwrap().stop();
    }

    pub(super) fn publish(&mut self, role: Role, name: &str, topic: &str, payload: impl Into<Bytes>) -> Tag {
        self.publish_from(1, role, name, topic, payload)
    }

    pub(super) fn publish_from(
        &mut self,
        session: u64,
        role: Role,
        name: &str,
        topic: &str,
        payload: impl Into<Bytes>,
    ) -> Tag {
        self.publish_as(session, caller(role, name, "c"), topic, payload)
    }

    pub(super) fn publish_as(
        &mut self,
        session: u64,
        caller: Arc<Caller>,
        topic: &str,
        payload: impl Into<Bytes>,
    ) -> Tag {
        self.submit(session, caller, topic, payload.into(), false)
    }

    pub(super) fn submit(
        &mut self,
        session: u64,
        caller: Arc<Caller>,
        topic: &str,
        payload: Bytes,
        is_excess: bool,
    ) -> Tag {
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
    pub(super) fn until(&mut self, tag: Tag) -> Vec<Message> {
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
    pub(super) fn next_on(&mut self, topic: &str) -> Message {
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

    pub(super) fn delivered(&mut self, topic: &str) -> Value {
        let message = self.next_on(topic);
        Encoding::of(&message.payload).decode(&message.payload).unwrap()
    }

    /// Waits until `a` is told that the job of this intent is next.
    pub(super) fn offered(&mut self, job: &str) {
        while self.delivered("$aws/things/a/jobs/notify-next")["execution"]["jobId"] != job {}
    }

    pub(super) fn operator(&mut self, verb: &str, payload: Value) -> Result<Value, (String, String)> {
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

    pub(super) fn job(&mut self, thing: &str, api: &str, payload: Value) -> Value {
        let topic = format!("$aws/things/{thing}/jobs/{api}");
        let tag = self.publish(Role::Connector, thing, &topic, payload.to_string());
        let answer = self.until(tag).pop().unwrap();
        let mut value: Value = serde_json::from_slice(&answer.payload).unwrap();
        value["topic"] = answer.topic.trim_start_matches(&topic).into();
        value
    }

    pub(super) fn shadow(&mut self, thing: &str, shadow: &str, payload: &Value) {
        let topic = format!("$aws/things/{thing}/shadow/name/{shadow}/update");
        let tag = self.publish(Role::Connector, thing, &topic, payload.to_string());
        self.until(tag);
    }

    pub(super) fn enrol(&self, token: &str, name: &str, csr: &str) -> Result<String, Rejection2> {
        self.enrol_with(EnrolRequest {
            token: token.into(),
            name: ThingName::new(name).unwrap(),
            pool: None,
            prefix: None,
            csr: csr.into(),
            host: HostFacts { hostname: "box".into(), ..HostFacts::default() },
        })
    }

    pub(super) fn enrol_with(&self, request: EnrolRequest) -> Result<String, Rejection2> {
        let (reply, answer) = tokio::sync::oneshot::channel();
        let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
        assert!(self.bus.submit(Inbound::Enrol { request: Box::new(request), peer, reply }).is_ok());
        answer.blocking_recv().unwrap().map(|response| response.certificate).map_err(|r| (r.code, r.message))
    }

    pub(super) fn add(&mut self, name: &str) -> String {
        self.operator("connector-add", json!({ "name": name })).unwrap()["token"].as_str().unwrap().to_owned()
    }

    pub(super) fn package(&mut self, version: &str) -> Value {
        let (name, version) = (ComponentName::new("web").unwrap(), Version::new(version).unwrap());
        let sha256 = Sha256Hex::from_bytes(&[version.as_str().bytes().last().unwrap(); 32]);
        let file = self.artifacts.path().join(artifact_file(&sha256));
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, b"four").unwrap();
        let signature = self.publisher.sign(signed_text(&name, &version, &sha256, 4).as_bytes()).unwrap();
        json!({ "name": name, "version": version, "sha256": sha256, "size": 4, "signature": signature, "soak_s": 1 })
    }

    pub(super) fn publish_version(&mut self, version: &str) {
        let package = self.package(version);
        self.operator("component-publish", package).unwrap();
    }

    pub(super) fn action(&mut self, target: &str) -> Value {
        let listed = self.operator("actions", json!({ "target": target })).unwrap();
        assert_eq!(listed["actions"].as_array().unwrap().len(), 1, "{listed}");
        listed["actions"][0].clone()
    }

    pub(super) fn report(version: &str, start: &str) -> Value {
        let package = Sha256Hex::from_bytes(&[version.bytes().last().unwrap(); 32]);
        json!({ "state": { "reported": { "web": {
            "version": version, "package_sha256": package, "program_sha256": package, "start_id": start,
            "health": "healthy", "healthy_for_s": 1, "port": 80
        } } } })
    }

    /// Brings `web` to `version` on connector `a` as an agent would.
    pub(super) fn bring(&mut self, target: &str, version: &str, start: &str) {
        let started = self.job("a", "start-next", json!({}));
        assert_eq!(started["execution"]["jobDocument"]["version"], version, "{started}");
        let job = started["execution"]["jobId"].as_str().unwrap().to_owned();
        self.job("a", &format!("{job}/update"), json!({ "status": "SUCCEEDED" }));
        assert_eq!(self.action(target)["state"], "proving");
        self.shadow("a", "components", &Self::report(version, start));
        assert_eq!(self.action(target)["state"], "confirmed");
    }
}

pub(super) type Rejection2 = (RejectionCode, String);
