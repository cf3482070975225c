//! Certificate signing requests: made on a host, checked by the authority.
//!
//! A request proves one thing, possession of a private key. Everything else that it asks for (extensions, key usages,
//! alternative names, validity) is ignored; only a common name that contradicts the expected one stops it, because
//! then the request was meant for something else.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ECDSA_P256_SHA512_ASN1, ECDSA_P384_SHA512_ASN1, UnparsedPublicKey};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls_pki_types::CertificateSigningRequestDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::oid_registry::{
    OID_PKCS1_RSASSAPSS, OID_PKCS1_SHA256WITHRSA, OID_PKCS1_SHA384WITHRSA, OID_PKCS1_SHA512WITHRSA,
    OID_SIG_ECDSA_WITH_SHA256, OID_SIG_ECDSA_WITH_SHA384, OID_SIG_ECDSA_WITH_SHA512,
};
use x509_parser::prelude::FromDer;

use crate::certificate::hex;
use crate::key::KeyKind;

/// The largest request that is looked at. One with an 8192-bit RSA key is 4 KB.
pub const REQUEST_BYTES_MAX: usize = 16 * 1024;

/// Why a request was refused, or could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The text is longer than [`REQUEST_BYTES_MAX`].
    #[error("the CSR is {bytes} bytes long, at most {REQUEST_BYTES_MAX} are accepted")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// The text holds no PEM request.
    #[error("the CSR is not PEM; expected one `-----BEGIN CERTIFICATE REQUEST-----` section")]
    Pem(#[source] rustls_pki_types::pem::Error),
    /// The bytes are not a PKCS #10 request.
    #[error("the CSR is not readable as PKCS #10: {reason}")]
    Der {
        /// What the parser said.
        reason: String,
    },
    /// The key is of a kind that we do not certify.
    #[error("the CSR is for {found}; use EC P-256, EC P-384, or RSA of 2048 to 8192 bits")]
    Key {
        /// The key, in words.
        found: String,
    },
    /// The request is signed with an algorithm that proves too little (or one we do not know).
    #[error("the CSR is signed with algorithm {found}; use SHA-256 or stronger with ECDSA or RSA")]
    SignatureAlgorithm {
        /// The object identifier.
        found: String,
    },
    /// The signature is not by the key in the request.
    #[error("the signature of the CSR does not match its key; make the CSR anew with the private key at hand")]
    Signature,
    /// The common name is another than the one that the certificate is for.
    #[error("CSR for another name: its common name is {found:?}, expected {expected:?} or none")]
    OtherName {
        /// The name in the request, cut to a printable length.
        found: String,
        /// The name that was asked for.
        expected: String,
    },
    /// The cryptography library failed while making a request.
    #[error("cannot make the CSR for {name:?}")]
    Make {
        /// The common name.
        name: String,
        /// What the library said.
        #[source]
        source: rcgen::Error,
    },
}

/// Makes a new P-256 key and a request for it with common name `name`: `(csr_pem, key_pem)`.
///
/// The key stays with the caller; write it with [`crate::store::write_secret`] before the request is sent.
/// Errors: [`RequestError::Make`].
pub fn csr(name: &str) -> Result<(String, String), RequestError> {
    let make = || {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        Ok((request_by(name, &key)?, key.serialize_pem()))
    };
    make().map_err(|source| RequestError::Make { name: name.to_owned(), source })
}

/// Makes a request for a key that is there already, such as one whose answer was lost: PEM.
///
/// Errors: [`RequestError::Make`].
pub fn csr_for(name: &str, key_pem: &str) -> Result<String, RequestError> {
    let make = || {
        let key = KeyPair::from_pem(key_pem)?;
        request_by(name, &key)
    };
    make().map_err(|source| RequestError::Make { name: name.to_owned(), source })
}

fn request_by(name: &str, key: &KeyPair) -> Result<String, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.serialize_request(key)?.pem()
}

/// A request whose signature and key were found good.
#[derive(Debug)]
pub struct VerifiedRequest {
    pub(crate) public_key: rcgen::SubjectPublicKeyInfo,
    key_id: String,
    common_names: Vec<String>,
}

impl VerifiedRequest {
    /// Reads a PEM request and checks its key and its signature.
    ///
    /// Errors: any but `OtherName` and `Make`.
    pub fn from_pem(pem: &str) -> Result<Self, RequestError> {
        if pem.len() > REQUEST_BYTES_MAX {
            return Err(RequestError::TooLarge { bytes: pem.len() });
        }
        let der = CertificateSigningRequestDer::from_pem_slice(pem.as_bytes()).map_err(RequestError::Pem)?;
        Self::from_der(&der)
    }

    fn from_der(der: &[u8]) -> Result<Self, RequestError> {
        let request = match X509CertificationRequest::from_der(der) {
            Ok(([], request)) => request,
            Ok((rest, _)) => return Err(RequestError::Der { reason: format!("{} bytes follow it", rest.len()) }),
            Err(error) => return Err(RequestError::Der { reason: error.to_string() }),
        };
        let info = &request.certification_request_info;
        let kind = KeyKind::of(&info.subject_pki).map_err(|found| RequestError::Key { found })?;
        check_signature(&request, kind)?;
        let public_key = rcgen::SubjectPublicKeyInfo::from_der(info.subject_pki.raw)
            .map_err(|error| RequestError::Key { found: format!("a key with unusual parameters ({error})") })?;
        // A name in an exotic string type is kept in a form that equals no valid name.
        let common_names = info.subject.iter_common_name();
        let common_names = common_names.map(|name| name.as_str().unwrap_or("(not text)").to_owned()).collect();
        let key_id = hex(digest(&SHA256, info.subject_pki.raw).as_ref());
        Ok(Self { public_key, key_id, common_names })
    }

    /// The id of the public key: 64 hexadecimal digits, the SHA-256 of its SubjectPublicKeyInfo.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// The first common name that is not empty.
    pub fn common_name(&self) -> Option<&str> {
        self.common_names.iter().map(String::as_str).find(|name| !name.is_empty())
    }

    /// Refuses a request that names anything but `expected`; naming nothing is fine.
    ///
    /// Errors: [`RequestError::OtherName`].
    pub fn check_name(&self, expected: &str) -> Result<(), RequestError> {
        match self.common_names.iter().find(|name| !name.is_empty() && *name != expected) {
            None => Ok(()),
            Some(found) => {
                Err(RequestError::OtherName { found: found.chars().take(200).collect(), expected: expected.to_owned() })
            }
        }
    }
}

/// The parser's own check would also take SHA-1, so the algorithm is looked at first.
fn check_signature(request: &X509CertificationRequest<'_>, kind: KeyKind) -> Result<(), RequestError> {
    let algorithm = &request.signature_algorithm.algorithm;
    let known = match kind {
        KeyKind::EcP256 | KeyKind::EcP384 => {
            [OID_SIG_ECDSA_WITH_SHA256, OID_SIG_ECDSA_WITH_SHA384, OID_SIG_ECDSA_WITH_SHA512].contains(algorithm)
        }
        KeyKind::Rsa { .. } => {
            [OID_PKCS1_SHA256WITHRSA, OID_PKCS1_SHA384WITHRSA, OID_PKCS1_SHA512WITHRSA, OID_PKCS1_RSASSAPSS]
                .contains(algorithm)
        }
    };
    if !known {
        return Err(RequestError::SignatureAlgorithm { found: algorithm.to_string() });
    }
    // The parser leaves this one out, though the library beneath it knows it.
    if *algorithm == OID_SIG_ECDSA_WITH_SHA512 {
        let curve = if kind == KeyKind::EcP256 { &ECDSA_P256_SHA512_ASN1 } else { &ECDSA_P384_SHA512_ASN1 };
        let info = &request.certification_request_info;
        let key = UnparsedPublicKey::new(curve, &info.subject_pki.subject_public_key.data);
        return key.verify(info.raw, &request.signature_value.data).map_err(|_| RequestError::Signature);
    }
    request.verify_signature().map_err(|_| RequestError::Signature)
}

#[cfg(test)]
mod tests;
