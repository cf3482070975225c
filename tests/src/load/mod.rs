//! The load program: what a server costs per connected client and per operation, measured from outside.
//!
//! It starts a server, plays thousands of devices against it with the least work per packet that keeps
//! the result honest, and reads the server's processor time and memory from `/proc`. Muster and mosquitto go
//! through exactly the same code; only how they are started and what stands behind the broker differs.
//!
//! ```text
//! compare ──▶ server (start, stop) ──▶ scenario (storm, shadow, fan-out) ──▶ figures ──▶ report
//!                                          │
//!                                        fleet: threads of clients ── client ── packet
//!                                          │
//!                                        usage: /proc before and after
//! ```
//!
//! The topics and packets are written out here on purpose instead of taken from `wire`: a mistake shared with the
//! server would not show.

#![expect(clippy::disallowed_methods, reason = "real time is what this program measures; there is no clock to pass in")]

pub mod client;
pub mod compare;
pub mod failures;
pub mod figures;
pub mod fleet;
pub mod identity;
pub mod machine;
pub mod mint;
pub mod packet;
pub mod process;
pub mod progress;
pub mod quiet;
pub mod registered;
pub mod report;
pub mod responder;
pub mod scenario;
pub mod server;
pub mod traffic;
pub mod trigger;
pub mod usage;
