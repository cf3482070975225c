//! A certificate and what it is good for.

use muster_certs::Identity;
use muster_wire::id::{PersonName, Sha256Hex};
use muster_wire::time::Timestamp;
use serde::{Deserialize, Serialize};

/// A certificate that was issued by enrolment or renewal, or revoked. Written by the fleet's worker alone.
///
/// ```text
///  Awaiting ─▶ Registering ─┐      a device that provisions itself
///                           ▼
/// issued ─▶ Pending ── a connection proves it ─▶ Current ── a newer one is proven ─▶ Replaced
///              └───────────────┴──── an operator ────┴──────────────────────────────▶ Revoked
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// SHA-256 of the certificate.
    pub id: Sha256Hex,
    /// Whom it speaks for; absent when it was revoked by its id alone.
    pub identity: Option<Identity>,
    /// When it was issued; absent when it was not issued by this server.
    pub issued_at: Option<Timestamp>,
    /// Its last valid moment; absent when that is not known.
    pub not_after: Option<Timestamp>,
    /// What it is good for.
    pub state: CertificateState,
    /// The authority that issued it; absent in records from before there could be two.
    #[serde(default)]
    pub issuer: Option<Sha256Hex>,
    /// Its public key; absent in records from before keys were compared.
    #[serde(default)]
    pub key: Option<Sha256Hex>,
}

/// What a certificate is good for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CertificateState {
    /// Its device is no thing yet. It opens nothing, and is dropped when its time is over.
    Awaiting {
        /// Until when the device may become one.
        until: Timestamp,
    },
    /// Its device becomes a thing; its ownership token is used. It opens nothing. Only a crash leaves it so.
    Registering,
    /// It is issued; nobody has shown it yet.
    Pending,
    /// It was shown.
    Current,
    /// A newer one was shown. It is good for nothing any more.
    Replaced {
        /// Since when.
        at: Timestamp,
    },
    /// An operator took it back. An end: nothing revives it.
    Revoked {
        /// Since when.
        at: Timestamp,
        /// Who did it.
        by: PersonName,
        /// Why.
        reason: String,
    },
}

impl CertificateState {
    /// Whether the certificate opens the door.
    #[must_use]
    pub fn is_good(&self) -> bool {
        matches!(self, Self::Pending | Self::Current)
    }
}
