//! A connector's certificate after the first one: renewed and proven over its connection, or asked for again after it
//! ended; and which authorities the connector shall trust.
//!
//! ```text
//! …/certificate/renew   key of its own, new      ─▶ a certificate that waits for its proof
//! …/certificate/prove   over a connection with it ─▶ it is the one; the one before is good for nothing
//! …/certificate/trust   what is held             ─▶ what shall be held; what is held is noted
//! POST /v1/recover      the old key's signature  ─▶ waits for an operator, then a certificate
//! ```
//! Answers come back on the connection that asked, in the encoding of the request.

use crate::enrol::{EnrolResponse, HostFacts};
use crate::id::{Sha256Hex, ThingName};
use crate::rejection::RejectionCode;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Asks for another certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RenewRequest {
    /// PKCS #10 request in PEM, over a key that this connector has not used before.
    pub csr: String,
    /// Returned with the answer.
    pub client_token: String,
}

/// The certificate; it opens the door, and is in force once it was proven.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RenewAccepted {
    /// The certificate, PEM.
    pub certificate: String,
    /// The authorities to trust, PEM.
    pub ca: String,
    /// As in the request.
    pub client_token: String,
}

/// Asks over a connection with the new certificate to put it in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProveRequest {
    /// Returned with the answer.
    pub client_token: String,
}

/// The certificate of this connection is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProveAccepted {
    /// Which one.
    pub certificate_id: String,
    /// As in the request.
    pub client_token: String,
}

/// Says which authorities are trusted here, and asks which shall be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrustRequest {
    /// The SHA-256 of each certificate that is trusted, durably.
    pub roots: Vec<Sha256Hex>,
    /// What the host's clock says.
    pub now: Timestamp,
    /// Returned with the answer.
    pub client_token: String,
}

/// Which authorities shall be trusted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrustAccepted {
    /// Their certificates, PEM.
    pub ca: String,
    /// What the server's clock says.
    pub now: Timestamp,
    /// Renew within so many seconds, whatever the age of the certificate: another authority issues now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renew_within_s: Option<u64>,
    /// As in the request.
    pub client_token: String,
}

/// A request about a certificate was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateRejected {
    /// Kind of the refusal.
    pub code: RejectionCode,
    /// What failed, on what, and what to do next.
    pub message: String,
    /// Ask again after so many seconds, not before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_s: Option<u64>,
    /// As in the request, if it was readable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_token: Option<String>,
}

/// Asks for a certificate with proof of the key of one that is not taken any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecoverRequest {
    /// The connector's name.
    pub name: ThingName,
    /// PKCS #10 request in PEM, over a new key.
    pub csr: String,
    /// The old certificate, PEM.
    pub certificate: String,
    /// [`RecoverRequest::statement`] signed by the old key: ECDSA with SHA-256, ASN.1, base64.
    pub signature: String,
    /// What the agent knows of its host.
    pub host: HostFacts,
}

impl RecoverRequest {
    /// What the old key signs: what this is for, for whom, and for which new key.
    #[must_use]
    pub fn statement(name: &ThingName, csr: &str) -> String {
        format!("muster recover v1\n{name}\n{csr}")
    }
}

/// The client id of the connection that proves a new certificate of `thing`: the agent's own is taken by the connection
/// that goes on meanwhile.
#[must_use]
pub fn proof_client(thing: &str) -> String {
    format!("{thing}-proof")
}

/// What became of a [`RecoverRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecoverResponse {
    /// An operator has to say yes. Ask again with the same request.
    Waiting {
        /// After so many seconds.
        retry_after_s: u64,
        /// How an operator says it.
        hint: String,
    },
    /// An operator said yes.
    Issued(EnrolResponse),
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_the_old_key_signs_names_the_purpose_the_connector_and_the_new_key() {
        let name = ThingName::new("host-1").unwrap();
        assert_eq!(RecoverRequest::statement(&name, "CSR"), "muster recover v1\nhost-1\nCSR");
    }

    #[test]
    fn answers_have_the_documented_shape() {
        let waiting = RecoverResponse::Waiting { retry_after_s: 10, hint: "ask".to_owned() };
        let text = serde_json::to_string(&waiting).unwrap();
        assert_eq!(text, r#"{"waiting":{"retry_after_s":10,"hint":"ask"}}"#);
        let trust = TrustAccepted {
            ca: "PEM".to_owned(),
            now: Timestamp::from_seconds(1),
            renew_within_s: None,
            client_token: "t".to_owned(),
        };
        assert_eq!(serde_json::to_string(&trust).unwrap(), r#"{"ca":"PEM","now":1000,"clientToken":"t"}"#);
    }
}
