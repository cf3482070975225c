//! The certificate of a thing, and whom it trusts: what stands behind `muster/things/{thing}/certificate/`.

use std::fmt;

/// A request about a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CertificateVerb {
    /// Issue another one.
    Renew,
    /// This connection shows the new one.
    Prove,
    /// Say which authorities are trusted, and hear which shall be.
    Trust,
}

/// What is said about a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CertificateTopic {
    /// A client asks.
    Request(CertificateVerb),
    /// The service did it.
    Accepted(CertificateVerb),
    /// The service refused it.
    Rejected(CertificateVerb),
    /// Something changed: ask what shall be trusted.
    Notify,
}

impl CertificateTopic {
    pub(super) fn from_parts(parts: &[&str]) -> Option<Self> {
        let verb = |text: &str| match text {
            "renew" => Some(CertificateVerb::Renew),
            "prove" => Some(CertificateVerb::Prove),
            "trust" => Some(CertificateVerb::Trust),
            _ => None,
        };
        match parts {
            ["notify"] => Some(Self::Notify),
            [text] => verb(text).map(Self::Request),
            [text, "accepted"] => verb(text).map(Self::Accepted),
            [text, "rejected"] => verb(text).map(Self::Rejected),
            _ => None,
        }
    }
}

impl fmt::Display for CertificateTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verb, tail) = match self {
            Self::Request(verb) => (verb, ""),
            Self::Accepted(verb) => (verb, "/accepted"),
            Self::Rejected(verb) => (verb, "/rejected"),
            Self::Notify => return f.write_str("notify"),
        };
        let verb = match verb {
            CertificateVerb::Renew => "renew",
            CertificateVerb::Prove => "prove",
            CertificateVerb::Trust => "trust",
        };
        write!(f, "{verb}{tail}")
    }
}
