//! Keeps the fleet's state and acts on it: the durable store, the records in it, and the services over it.
//!
//! Refuses to know: MQTT, TLS, who may say what (the door decides). Meets the door on the bus only.
//!
//! Invariants: a request is answered after its changes are durable; a thing's records are written by one worker.

pub mod admission;
pub mod backup;
pub mod records;
pub mod service;
pub mod store;
