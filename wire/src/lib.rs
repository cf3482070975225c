//! Everything that crosses a boundary, as values: names, topics, payloads in JSON and CBOR, time, limits.
//!
//! Refuses to know: sockets, clocks, randomness, storage. Every other crate may use this one; it uses none of them.
//!
//! Invariants: a name that exists is valid; [`topic`] is the only place that joins or splits a topic on `/`;
//! [`limits`] is the only place for bounds; [`time::Timestamp`] is the only stored or sent time.

pub mod admin;
pub mod certificate;
pub mod codec;
pub mod component;
pub mod enrol;
pub mod filter;
pub mod id;
pub mod job;
pub mod label;
pub mod limits;
pub mod plane;
pub mod policy;
pub mod presence;
pub mod provision;
pub mod proxy;
pub mod rejection;
pub mod settings;
pub mod shadow;
pub mod stream;
pub mod telemetry;
pub mod time;
pub mod topic;
pub mod view;
