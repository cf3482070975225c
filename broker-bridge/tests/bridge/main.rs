//! The bridge over real sockets and TLS, with rumqttc as the client and a scripted service behind the bus.
#![allow(clippy::unwrap_used, missing_docs)]

mod client;
mod deliveries;
mod door;
mod http;
mod limits;
mod people;
mod policy;
mod requests;
mod stage;
