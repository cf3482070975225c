//! What the agent says of its host: who it is, and how busy.

pub mod facts;
pub mod metrics;
