//! The rules of the product as plain functions over plain values.
//!
//! Refuses to know: clocks, randomness, waiting, files, sockets. Time comes in as an argument.
//!
//! Invariants: the same input gives the same output; a refusal changes nothing.

pub mod component;
pub mod diagnose;
pub mod job;
pub mod provision;
pub mod reconcile;
pub mod select;
pub mod shadow;
