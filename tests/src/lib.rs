//! What the end-to-end tests and the load program share. It may use every crate; nothing uses it.

pub mod client;
pub mod eventually;
pub mod fleet;
pub mod load;
pub mod stand;
