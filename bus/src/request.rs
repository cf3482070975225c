//! Requests from the doors, and the answers to them.

use crate::message::Message;
use crate::retain::Retain;
use bytes::Bytes;
use muster_certs::identity::Identity;
use muster_wire::certificate::{RecoverRequest, RecoverResponse};
use muster_wire::enrol::{EnrolRequest, EnrolResponse};
use muster_wire::id::{JobId, Sha256Hex, ShadowName, ThingName};
use muster_wire::job::{ExecutionDescription, StatusDetails};
use muster_wire::policy::CertificateNames;
use muster_wire::provision::HookAnswer;
use muster_wire::rejection::Rejection;
use muster_wire::topic::Topic;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{Notify, oneshot};

/// Who asks: stamped by the door from the verified certificate. No payload overrules it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The identity in the certificate.
    pub identity: Identity,
    /// SHA-256 of the certificate, hexadecimal.
    pub certificate_id: Box<str>,
    /// The MQTT client id.
    pub client_id: Box<str>,
    /// The peer's address.
    pub peer: IpAddr,
    /// What else the certificate says, if a policy of this client asks for it.
    pub certificate: Option<Arc<CertificateNames>>,
}

/// A request's number within its connection; the door chooses it.
pub type Tag = u64;

/// Where a caller wants its answer (MQTT 5 response topic and correlation data).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseTo {
    /// A topic under `muster/reply/`.
    pub topic: Box<str>,
    /// Returned unchanged.
    pub correlation: Option<Bytes>,
}

/// One publish of a client to a service topic.
pub struct Request {
    /// The parsed topic; the door's policy allowed it.
    pub topic: Topic,
    /// The payload as sent.
    pub payload: Bytes,
    /// Who asks.
    pub caller: Arc<Caller>,
    /// The number of its connection, as in [`LinkChange`].
    pub session: u64,
    /// Where the caller wants an answer, if it said so.
    pub response: Option<ResponseTo>,
    /// The connection, or over HTTP the client, has more unanswered requests of the kind than it may: the service refuses
    /// this one.
    pub is_excess: bool,
    /// Returned with the answer.
    pub tag: Tag,
    /// Who gets the answer.
    pub connection: Arc<dyn Connection>,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").field("topic", &self.topic).field("tag", &self.tag).finish_non_exhaustive()
    }
}

/// The requesting connection, as the service sees it.
pub trait Connection: Send + Sync + 'static {
    /// The request `tag` is over. Called exactly once for each request, never before its changes are durable.
    fn answer(&self, tag: Tag, answer: Answer);

    /// Whether the requester hears its answer and nothing else, as an HTTP client does: it gets every answer directly,
    /// and a refusal concerns nobody else.
    fn hears_only_answers(&self) -> bool {
        false
    }
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done, or refused with a message; in both cases durable where it changed anything. The publish is acknowledged.
    Settled,
    /// The service failed. The publish is not acknowledged and the connection ends, so that the client asks again.
    Failed,
}

/// The end of a request.
#[derive(Clone, Debug)]
pub struct Answer {
    /// What became of it.
    pub outcome: Outcome,
    /// Messages for the requesting connection alone, whether it subscribed or not.
    pub direct: Vec<Arc<Message>>,
}

impl Answer {
    /// Settled, with nothing to say.
    #[must_use]
    pub fn settled() -> Self {
        Self { outcome: Outcome::Settled, direct: Vec::new() }
    }

    /// Settled, with one message for the requester.
    #[must_use]
    pub fn with(message: Message) -> Self {
        Self { outcome: Outcome::Settled, direct: vec![Arc::new(message)] }
    }

    /// The service failed.
    #[must_use]
    pub fn failed() -> Self {
        Self { outcome: Outcome::Failed, direct: Vec::new() }
    }
}

/// A thing's connection came or went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkChange {
    /// Whose connection.
    pub thing: ThingName,
    /// Grows with every connection; tells an old end from a new begin.
    pub session: u64,
    /// Who is connected, and with which certificate.
    pub caller: Arc<Caller>,
    /// Came or went.
    pub state: LinkState,
}

/// Whether a connection came or went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// It is accepted.
    Up,
    /// It is over.
    Down,
}

/// A stored job reached a thing: its execution is to be made, called off or deleted, as the job wants it by then.
/// Repeating it changes nothing.
#[derive(Clone, Debug)]
pub struct Assign {
    /// For whom.
    pub thing: ThingName,
    /// The stored job.
    pub job: JobId,
    /// Counts down when that is durable, or when it could not be done.
    pub done: Option<Arc<Latch>>,
}

/// An operator's order about one execution.
#[derive(Debug)]
pub struct Order {
    /// On which thing.
    pub thing: ThingName,
    /// Of which job.
    pub job: JobId,
    /// What is to be done.
    pub kind: OrderKind,
    /// Where the answer goes, once it is durable: the execution after a cancel, or before it was deleted.
    pub reply: oneshot::Sender<Result<ExecutionDescription, Rejection>>,
}

/// What an operator orders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderKind {
    /// It is called off.
    Cancel {
        /// Also when it has started.
        force: bool,
        /// Only when it has this version.
        expected_version: Option<u64>,
        /// Replace those of the device.
        status_details: Option<StatusDetails>,
    },
    /// It is deleted.
    Delete {
        /// Which try; absent is the latest.
        execution_number: Option<u64>,
        /// Also when it is not over.
        force: bool,
    },
}

/// What the hook of a provisioning template says of a device that wants to become a thing.
#[derive(Debug)]
pub struct Verdict {
    /// What the device asked.
    pub request: Request,
    /// Which hook was asked.
    pub hook: Box<str>,
    /// What it said, or why it said nothing that counts.
    pub said: Result<HookAnswer, HookFailure>,
}

/// Why a hook said nothing that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookFailure {
    /// It did not answer, or not in time. In words, for operators.
    Silent(String),
    /// It answered, and not as hooks do. In words, for operators.
    Unusable(String),
}

impl HookFailure {
    /// What is wrong, for operators.
    #[must_use]
    pub fn why(&self) -> &str {
        match self {
            Self::Silent(why) | Self::Unusable(why) => why,
        }
    }
}

/// Everything that goes to a partition.
#[derive(Debug)]
pub enum Inbound {
    /// A publish of a client.
    Request(Request),
    /// A connection came or went.
    Link(LinkChange),
    /// A host asks for its first certificate.
    Enrol {
        /// What it says.
        request: Box<EnrolRequest>,
        /// From where.
        peer: IpAddr,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<EnrolResponse, Rejection>>,
    },
    /// A connector is connected with this certificate: whoever has it can use it.
    Proven {
        /// Whose.
        thing: ThingName,
        /// Which one.
        certificate: Sha256Hex,
    },
    /// Which named shadows a thing has.
    Shadows {
        /// Of which thing.
        thing: ThingName,
        /// Where the answer goes, in the order of the names.
        reply: oneshot::Sender<Result<Vec<ShadowName>, Rejection>>,
    },
    /// A host whose certificate is not taken any more asks for another one.
    Recover {
        /// What it says.
        request: Box<RecoverRequest>,
        /// From where.
        peer: IpAddr,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<RecoverResponse, Rejection>>,
    },
    /// The hook of a provisioning template has spoken.
    Verdict(Box<Verdict>),
    /// A message that shall be kept for whoever subscribes later.
    Retain(Retain),
    /// A job reached a thing.
    Assign(Assign),
    /// An operator's order about one execution.
    Order(Order),
    /// Look at the jobs again. Carries no data: which ones is read anew.
    Jobs,
    /// Look at this thing again. Carries no data: what to do is read anew.
    Wake(ThingName),
    /// Nothing follows: the worker ends after what came before.
    Stop,
}

impl Inbound {
    /// The thing whose partition this goes to; `None` for what goes elsewhere.
    #[must_use]
    pub fn thing(&self) -> Option<&ThingName> {
        match self {
            Self::Request(request) => request.topic.partition(),
            Self::Link(change) => Some(&change.thing),
            Self::Enrol { .. }
            | Self::Recover { .. }
            | Self::Proven { .. }
            | Self::Verdict(_)
            | Self::Retain(_)
            | Self::Jobs
            | Self::Stop => None,
            Self::Assign(assign) => Some(&assign.thing),
            Self::Order(order) => Some(&order.thing),
            Self::Wake(thing) | Self::Shadows { thing, .. } => Some(thing),
        }
    }
}

/// Opens when it was counted down as often as it was made for.
#[derive(Debug)]
pub struct Latch {
    left: AtomicUsize,
    failed: AtomicUsize,
    open: Notify,
}

impl Latch {
    /// A latch for `count` events.
    #[must_use]
    pub fn new(count: usize) -> Arc<Self> {
        Arc::new(Self { left: AtomicUsize::new(count), failed: AtomicUsize::new(0), open: Notify::new() })
    }

    /// One event is over, well or not.
    pub fn count_down(&self, well: bool) {
        if !well {
            self.failed.fetch_add(1, Ordering::AcqRel);
        }
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.open.notify_waiters();
        }
    }

    /// How many events did not go well, once every event is over.
    #[must_use]
    pub fn outcome(&self) -> Option<usize> {
        (self.left.load(Ordering::Acquire) == 0).then(|| self.failed.load(Ordering::Acquire))
    }

    /// Waits until every event is over. Returns how many did not go well.
    pub async fn wait(&self) -> usize {
        loop {
            let opened = self.open.notified();
            if self.left.load(Ordering::Acquire) == 0 {
                return self.failed.load(Ordering::Acquire);
            }
            opened.await;
        }
    }
}
