//! Operator requests about certificates.

use crate::id::{PersonName, Sha256Hex, ThingName};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// [`super::Verb::CertRevoke`]. Answered with the [`CertificateView`] after it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevokeCertificate {
    /// SHA-256 of the certificate.
    pub id: Sha256Hex,
    /// Whom it speaks for, as in its URI, if the operator has it at hand: its connections are found sooner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// Its last valid moment, if the operator has it at hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Timestamp>,
    /// Why; for the listing and the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// [`super::Verb::CertList`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListCertificates {
    /// Only those of this connector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connector: Option<ThingName>,
    /// Only ids after this one: the `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Sha256Hex>,
}

/// One page of certificates, sorted by id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateList {
    /// The page.
    pub certificates: Vec<CertificateView>,
    /// Where the next page starts; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Sha256Hex>,
}

/// What a certificate is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CertificateStatus {
    /// Issued; nobody has shown it yet.
    Pending,
    /// In use.
    Current,
    /// A newer one is in use; it is refused.
    Replaced,
    /// Taken back by an operator; it is refused.
    Revoked,
    /// A device that provisions itself has it and is no thing yet; it is refused.
    PendingActivation,
}

/// A certificate that was issued by enrolment or renewal, or revoked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateView {
    /// SHA-256 of the certificate.
    pub id: Sha256Hex,
    /// Whom it speaks for: `spiffe://FLEET/ROLE/NAME`; absent when it was revoked by its id alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// When it was issued, if by this server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued_at: Option<Timestamp>,
    /// Its last valid moment, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Timestamp>,
    /// What it is good for.
    pub status: CertificateStatus,
    /// Since when it is replaced or revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Who revoked it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<PersonName>,
    /// Why it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
