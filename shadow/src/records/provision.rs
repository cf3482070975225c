//! What is kept of fleet provisioning.

use muster_wire::id::{PersonName, Sha256Hex, TemplateName};
use muster_wire::time::Timestamp;
use serde::{Deserialize, Serialize};

/// A template by which devices provision themselves. Written by the fleet's worker alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProvisioningTemplate {
    /// Name.
    pub name: TemplateName,
    /// The document as it was given, JSON. It was read once: it can be read again.
    pub document: String,
    /// What it is for.
    pub description: Option<String>,
    /// Who is asked before a device may become a thing.
    pub hook: Option<String>,
    /// Who made it.
    pub by: PersonName,
    /// When.
    pub at: Timestamp,
}

/// A certificate that waits for its device to become a thing; its key is the hash of the ownership token. That the token
/// was used stands in the certificate's record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ownership {
    /// SHA-256 of the certificate.
    pub certificate: Sha256Hex,
    /// The certificate, for the hook.
    pub pem: String,
    /// SHA-256 of the claim certificate, the only one with which the token is good.
    pub claim: Sha256Hex,
    /// When it stops to work.
    pub expires_at: Timestamp,
}
