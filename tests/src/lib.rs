//! What the end-to-end tests and the load program share. It may use every crate; nothing uses it.

pub mod load;
