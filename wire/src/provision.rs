//! Payloads of fleet provisioning: how a device that holds nothing but a claim gets an identity of its own.
//!
//! Source: AWS IoT Core's "Device provisioning MQTT API". Some of them hold secrets; their `Debug` prints none.

use crate::codec::Encoding;
use crate::id::{ClaimId, NameError, TemplateName, ThingName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// What a claim is called, in its certificate too: `TEMPLATE:ID`. It may provision with that template and do nothing else.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClaimName {
    /// The only template that it may use.
    pub template: TemplateName,
    /// Tells it from the others.
    pub id: ClaimId,
}

/// Why a text is not the name of a claim.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClaimNameError {
    /// There is no colon.
    #[error("a claim is called TEMPLATE:ID; `muster claim list` shows all")]
    Shape,
    /// One of the two is no name.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl FromStr for ClaimName {
    type Err = ClaimNameError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (template, id) = text.split_once(':').ok_or(ClaimNameError::Shape)?;
        Ok(Self { template: TemplateName::new(template)?, id: ClaimId::new(id)? })
    }
}

impl TryFrom<String> for ClaimName {
    type Error = ClaimNameError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ClaimName> for String {
    fn from(name: ClaimName) -> Self {
        name.to_string()
    }
}

impl fmt::Display for ClaimName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.template, self.id)
    }
}

/// The name of a template as AWS IoT Core writes it, without region and account.
#[must_use]
pub fn provisioning_template_arn(template: &TemplateName) -> String {
    format!("arn:aws:iot:::provisioningtemplate/{template}")
}

/// The values that a device gives for the parameters of a template.
pub type Parameters = BTreeMap<String, String>;

/// The answer to CreateKeysAndCertificate.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreatedKeys {
    /// SHA-256 of the certificate.
    pub certificate_id: String,
    /// The certificate.
    pub certificate_pem: String,
    /// Its private key. Nobody else has it.
    pub private_key: String,
    /// With it the certificate becomes that of a thing.
    pub certificate_ownership_token: String,
}

/// CreateCertificateFromCsr.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateFromCsr {
    /// A PKCS #10 request in PEM.
    #[serde(default)]
    pub certificate_signing_request: String,
}

/// The answer to CreateCertificateFromCsr.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreatedFromCsr {
    /// With it the certificate becomes that of a thing.
    pub certificate_ownership_token: String,
    /// SHA-256 of the certificate.
    pub certificate_id: String,
    /// The certificate.
    pub certificate_pem: String,
}

/// RegisterThing.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RegisterThing {
    /// What came with the certificate.
    #[serde(default)]
    pub certificate_ownership_token: String,
    /// For the template, and for its hook.
    #[serde(default)]
    pub parameters: Parameters,
}

/// The answer to RegisterThing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RegisteredThing {
    /// Who the device is from its next connection on.
    pub thing_name: ThingName,
    /// What the template says to the device.
    pub device_configuration: BTreeMap<String, String>,
}

/// Why a request was refused: the words of AWS IoT Core, as far as they are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProvisioningErrorCode {
    /// The payload is not what the API takes.
    InvalidPayload,
    /// The certificate request is not usable.
    InvalidCertificateSigningRequest,
    /// The ownership token is missing, wrong, used, too old or of another claim.
    InvalidCertificateOwnershipToken,
    /// The parameters do not make a thing of the template.
    InvalidParameters,
    /// The claim is not good for this, or the hook did not allow it.
    AccessDenied,
    /// There is no such template.
    ResourceNotFound,
    /// The thing exists and may not be taken over.
    ResourceConflict,
    /// Too much waits already; try again later.
    Throttling,
    /// The server failed.
    InternalFailure,
}

impl ProvisioningErrorCode {
    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidPayload => "InvalidPayload",
            Self::InvalidCertificateSigningRequest => "InvalidCertificateSigningRequest",
            Self::InvalidCertificateOwnershipToken => "InvalidCertificateOwnershipToken",
            Self::InvalidParameters => "InvalidParameters",
            Self::AccessDenied => "ACCESS_DENIED",
            Self::ResourceNotFound => "ResourceNotFound",
            Self::ResourceConflict => "ResourceConflictsException",
            Self::Throttling => "Throttling",
            Self::InternalFailure => "InternalFailure",
        }
    }

    /// The HTTP status of the same meaning.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::InvalidPayload
            | Self::InvalidCertificateSigningRequest
            | Self::InvalidCertificateOwnershipToken
            | Self::InvalidParameters => 400,
            Self::AccessDenied => 403,
            Self::ResourceNotFound => 404,
            Self::ResourceConflict => 409,
            Self::Throttling => 429,
            Self::InternalFailure => 500,
        }
    }
}

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvisioningError {
    /// What kind.
    pub code: ProvisioningErrorCode,
    /// For people.
    pub message: String,
}

impl ProvisioningError {
    /// A refusal of kind `code`.
    #[must_use]
    pub fn new(code: ProvisioningErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// As it stands on the wire.
    #[must_use]
    pub fn encode(&self, format: Encoding) -> Vec<u8> {
        format.encode(&Refusal {
            status_code: self.code.status(),
            error_code: self.code.as_str(),
            error_message: &self.message,
        })
    }
}

impl fmt::Display for ProvisioningError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.message)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Refusal<'a> {
    status_code: u16,
    error_code: &'a str,
    error_message: &'a str,
}

/// What the hook of a template is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HookQuestion {
    /// SHA-256 of the claim certificate.
    pub claim_certificate_id: String,
    /// SHA-256 of the certificate that the device wants to use.
    pub certificate_id: String,
    /// That certificate.
    pub certificate_pem: String,
    /// Ends in the template's name.
    pub template_arn: String,
    /// The MQTT client id of the device.
    pub client_id: String,
    /// What the device said.
    pub parameters: Parameters,
}

/// What a hook says. Other fields are ignored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HookAnswer {
    /// Whether the device may become the thing.
    pub allow_provisioning: bool,
    /// Replace and add to what the device said.
    #[serde(default)]
    pub parameter_overrides: Parameters,
}

macro_rules! quiet {
    ($($type:ident),+) => {$(
        impl fmt::Debug for $type {
            /// Holds a secret.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($type)).finish_non_exhaustive()
            }
        }
    )+};
}

quiet!(CreatedKeys, CreatedFromCsr, RegisterThing);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn debug_prints_no_secret() {
        let keys = CreatedKeys {
            certificate_id: "id".into(),
            certificate_pem: "pem".into(),
            private_key: "secret".into(),
            certificate_ownership_token: "secret".into(),
        };
        let register = RegisterThing { certificate_ownership_token: "secret".into(), parameters: Parameters::new() };
        let csr = CreatedFromCsr {
            certificate_ownership_token: "secret".into(),
            certificate_id: "id".into(),
            certificate_pem: "pem".into(),
        };
        assert!(!format!("{keys:?}{register:?}{csr:?}").contains("secret"));
    }

    #[test]
    fn a_claim_is_called_after_its_template() {
        let name: ClaimName = "cameras:a-1".parse().unwrap();
        assert_eq!((name.template.as_str(), name.id.as_str()), ("cameras", "a-1"));
        assert_eq!(name.to_string(), "cameras:a-1");
        for bad in ["cameras", ":a", "cameras:", "a:b:c", "a b:c"] {
            assert!(bad.parse::<ClaimName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_refusal_is_the_same_map_in_both_encodings() {
        use ProvisioningErrorCode::InvalidCertificateOwnershipToken;
        let refusal =
            ProvisioningError::new(InvalidCertificateOwnershipToken, "Certificate ownership token cannot be empty.");
        let expected = serde_json::json!({
            "statusCode": 400,
            "errorCode": "InvalidCertificateOwnershipToken",
            "errorMessage": "Certificate ownership token cannot be empty.",
        });
        for format in [Encoding::Json, Encoding::Cbor] {
            let found: serde_json::Value = format.decode(&refusal.encode(format)).unwrap();
            assert_eq!(found, expected);
        }
    }
}
