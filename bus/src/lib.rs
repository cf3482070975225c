//! How the doors and the services meet: requests to a thing's partition, deliveries to a thing, publication to readers.
//!
//! ```text
//!  door ── Requests::submit ──▶ inbox of the thing's partition ──▶ service
//!  door ◀── Connection::answer (durable; direct messages) ──────── service
//!  door ◀── Deliveries::deliver (everyone who speaks for a thing) ─ service
//!  door ◀── Deliveries::spread, keep (applications' topics) ─────── service
//!  reader ◀── Observation (rumqttd inside) ◀── Deliveries::observe ─ service, door
//! ```
//!
//! Refuses to know: MQTT packets, stores, rules. The embedded implementation serves one process; the traits say nothing
//! that a message bus between processes could not do.

mod embedded;
mod message;
mod request;
mod retain;

pub use embedded::{EmbeddedBus, Inboxes, ObserverLink};
pub use message::{Message, Properties, Qos};
pub use request::{
    Answer, Assign, Caller, Connection, HookFailure, Inbound, Latch, LinkChange, LinkState, Order, OrderKind, Outcome,
    Request, ResponseTo, Tag, Verdict,
};
pub use retain::{NotRetained, Retain};

use muster_certs::identity::Identity;
use muster_wire::id::ThingName;
use muster_wire::time::Timestamp;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// The other side of the bus has stopped; the process is shutting down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the service has stopped")]
pub struct Stopped;

/// What became of a submitted request.
pub enum Submitted {
    /// It waits in the inbox of its partition.
    Queued,
    /// The inbox is full: await this before anything else is read from the same connection.
    Full(Pin<Box<dyn Future<Output = Result<(), Stopped>> + Send>>),
}

/// Whose connections are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Those of one identity.
    Identity(Identity),
    /// All: the identity behind a certificate is not known.
    Everyone,
}

/// Door to service.
pub trait Requests: Send + Sync + 'static {
    /// Hands `inbound` to the partition of its thing. Two requests about one thing keep their order when the second is
    /// submitted after the first was queued.
    fn submit(&self, inbound: Inbound) -> Result<Submitted, Stopped>;
}

/// Service to door and to readers.
pub trait Deliveries: Send + Sync + 'static {
    /// Sends a message to every connection that subscribed to its topic, which is about `thing`, and to the readers.
    fn deliver(&self, thing: &ThingName, message: &Arc<Message>);

    /// Whether anybody would get such a message. `true` when that is not known.
    fn wanted(&self, thing: &ThingName, topic: &str) -> bool;

    /// Whether any reader would get a message on this topic. `true` when that is not known.
    fn observed(&self, topic: &str) -> bool;

    /// Sends a message on an application's topic to every connection that subscribed to it.
    fn spread(&self, message: &Arc<Message>);

    /// From now on whoever subscribes to exactly the topic of this message, an application's, gets it at once. It came
    /// at `at`. An empty one ends that.
    fn keep(&self, message: &Arc<Message>, at: Timestamp);

    /// Publishes a message to the readers. A retained one replaces the one before on its topic; an empty retained one
    /// removes it.
    fn observe(&self, message: Message, retain: bool);

    /// Ends every connection of `thing`.
    fn kick(&self, thing: &ThingName);

    /// Asks the gate again, and ends the connections that it no longer lets in.
    fn recheck(&self, whose: &Whose);
}

/// The doors of a process, as the bus sees them.
pub trait Door: Send + Sync + 'static {
    /// Sends a message to every connection that subscribed to its topic, which is about `thing`.
    fn deliver(&self, thing: &ThingName, message: &Arc<Message>);

    /// Whether any connection would get such a message.
    fn wanted(&self, thing: &ThingName, topic: &str) -> bool;

    /// Sends a message on an application's topic to every connection that subscribed to it.
    fn spread(&self, message: &Arc<Message>);

    /// Has this message for whoever subscribes to exactly its topic from now on; an empty one ends that.
    fn keep(&self, message: &Arc<Message>, at: Timestamp);

    /// Ends every connection of `thing`.
    fn kick(&self, thing: &ThingName);

    /// Asks the gate again, and ends the connections that it no longer lets in.
    fn recheck(&self, whose: &Whose);
}
