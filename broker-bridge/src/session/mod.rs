//! One MQTT session: the rules of its packets (pure), its queue, and the task that moves bytes both ways.
//!
//! mqtt-protocol-core supplies the packets of MQTT 3.1.1 and 5. Its `Connection` is not used: it keeps eight hash sets and
//! a store for each connection, makes a list of events for each packet, and wants every PUBLISH built by itself before it
//! knows the packet id again, while a server that grants QoS 1 at most needs a list of ids.

pub(crate) mod alias;
pub(crate) mod connect;
pub(crate) mod connection;
pub(crate) mod encode;
pub(crate) mod end;
pub(crate) mod frame;
pub(crate) mod in_flight;
pub(crate) mod kept;
pub(crate) mod link;
pub(crate) mod membership;
pub(crate) mod observer;
pub(crate) mod outbox;
pub(crate) mod pace;
pub(crate) mod packet;
mod properties;
mod requests;
pub(crate) mod will;
