//! Enrolment tokens.

use muster_wire::id::{PersonName, PoolName, ThingName};
use muster_wire::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// An enrolment token; its key is the hash of its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRecord {
    /// The only connector that may use it.
    pub connector: ThingName,
    /// When it stops to work.
    pub expires_at: Timestamp,
    /// When it was used; it works once.
    pub used_at: Option<Timestamp>,
    /// Who made it.
    pub issued_by: PersonName,
    /// When it was made.
    #[serde(default)]
    pub issued_at: Option<Timestamp>,
    /// What it is bound to besides the name. Records of earlier versions have none.
    #[serde(default)]
    pub binding: Option<Binding>,
    /// From where it was used.
    #[serde(default)]
    pub used_from: Option<IpAddr>,
    /// Whether its use makes the connector anew: what is wanted of it is wanted again.
    #[serde(default)]
    pub reinstall: bool,
    /// Why it works no more although it was neither used nor too old.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<TokenEnd>,
}

/// What ended a token that still worked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TokenEnd {
    /// A newer one of the same connector.
    Replaced,
    /// An operator, by itself or with its connector.
    Revoked,
}

/// What a token is bound to besides the name of its connector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// The pool of the connector when the token was made; none if it had none.
    pub pool: Option<PoolName>,
    /// The only folder on the host for which it works; any when absent.
    pub prefix: Option<String>,
}
