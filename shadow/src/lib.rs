//! Keeps the fleet's state and acts on it: the durable store, and the services over it.

pub mod store;
