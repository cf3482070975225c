//! The door of the server: ends the clients' MQTT sessions and serves HTTPS, on one TLS port.
//!
//! ```text
//! TCP ─▶ door (TLS, which protocol, who) ─▶ session (MQTT) ─▶ policy ─▶ bus (requests)
//!                    │                          ▲  outbox ◀── sessions (by thing) ◀── bus (deliveries)
//!                    └─▶ http (enrolment, artifacts, the agent)
//! ```
//!
//! | module | subject |
//! |---|---|
//! | [`policy`] | who may publish and subscribe to what; pure |
//! | `door` | the accept loop, TLS, telling MQTT from HTTP, CONNECT |
//! | `session` | one MQTT session: packets, queue, task |
//! | `sessions` | all of them, by identity and by thing |
//! | `application` | topics of the user's own programs: who subscribed, what is retained, who shares |
//! | `http` | enrolment, artifacts, the agent's binary, MQTT over WebSocket |
//!
//! Refuses to know: shadows, jobs, stores. A PUBACK of a request is sent when the service has answered, never before.
//! Nothing here would be missed after a restart: sessions end with it, and clients pull their state on connect.

mod application;
mod bridge;
mod counters;
mod crowd;
mod door;
#[cfg(fuzzing)]
pub mod fuzzing;
mod http;
mod keeper;
pub mod policy;
mod presence;
mod session;
mod sessions;
mod settings;

pub use bridge::{Bridge, BridgeConfig, BridgeError, Gate, Refusal, Signer};
pub use counters::CountersSnapshot;
pub use door::listener::{BindError, Listener};
pub use door::protocol::ALPN;
pub use settings::{APPLICATION_TOPICS, MqttSettings};
