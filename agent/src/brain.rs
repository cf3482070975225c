//! The agent's rules as functions over values: what an upgrade does next, when a component counts as healthy, which
//! requests the server has not answered. Nothing here waits, opens a file or reads a clock.

pub mod health;
pub mod record;
pub mod requests;
pub mod upgrade;
