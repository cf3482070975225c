//! What an agent says of its connection settings.

use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How the agent is connected, and what became of the last change. Every member is always written: in a shadow an absent
/// one stays as it was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SettingsReport {
    /// The server, `HOST:PORT`, as the agent calls it.
    pub server: String,
    /// The proxy in between, without password.
    pub proxy: Option<String>,
    /// Whether these settings still wait for the server's confirmation.
    pub on_trial: bool,
    /// Settings that were tried and taken back.
    pub refused: Option<RefusedSettings>,
}

/// Connection settings that led nowhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedSettings {
    /// The server that was tried.
    pub server: String,
    /// The proxy that was tried, without password.
    pub proxy: Option<String>,
    /// When they were taken back.
    pub at: Timestamp,
    /// Why.
    pub reason: String,
}

impl fmt::Display for RefusedSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let proxy = self.proxy.as_ref().map_or("no proxy".to_owned(), |proxy| format!("proxy {proxy}"));
        write!(f, "server {} with {proxy} was tried and taken back at {}: {}", self.server, self.at, self.reason)
    }
}
