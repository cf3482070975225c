//! The bridge over real sockets and TLS, with rumqttc as the client and a scripted service behind the bus.
#![allow(clippy::unwrap_used, missing_docs)]

mod application;
mod client;
mod deliveries;
mod door;
mod http;
mod limits;
mod people;
mod policy;
mod raw;
mod requests;
mod sessions;
mod stage;
mod wills;
