//! Proof that somebody holds the private key of a certificate, also when the certificate has ended and TLS would no
//! longer take it: a signature over a text that names what it is for.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;

use crate::certificate::{self, CertificateError, hex};
use crate::key::KeyKind;

/// Longest text of a signature that is looked at: base64 of 72 bytes.
const SIGNATURE_TEXT_MAX: usize = 128;

/// Why possession was not proved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PossessionError {
    /// The certificate cannot be read.
    #[error("the old certificate cannot be read")]
    Certificate(#[from] CertificateError),
    /// Only the kind of key that agents make can prove itself so.
    #[error("the old certificate is for {found}; only EC P-256 keys can prove themselves")]
    Key {
        /// The key, in words.
        found: String,
    },
    /// The private key cannot be read.
    #[error("the old private key cannot be used; expected a P-256 key in a `-----BEGIN PRIVATE KEY-----` section")]
    PrivateKey,
    /// The signature is not by the certificate's key, or over another text.
    #[error("the signature is not by the key of the old certificate")]
    Signature,
}

/// Signs `statement` with a P-256 private key in PEM: base64.
///
/// Errors: `PrivateKey`.
pub fn sign(key_pem: &str, statement: &str) -> Result<String, PossessionError> {
    let der = PrivatePkcs8KeyDer::from_pem_slice(key_pem.as_bytes()).map_err(|_| PossessionError::PrivateKey)?;
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der.secret_pkcs8_der())
        .map_err(|_| PossessionError::PrivateKey)?;
    let signature = key.sign(&SystemRandom::new(), statement.as_bytes()).map_err(|_| PossessionError::PrivateKey)?;
    Ok(STANDARD.encode(signature.as_ref()))
}

/// Checks that `signature` is over `statement` by the key of the certificate.
///
/// Whether the certificate is one of ours, and in which state, is the caller's question.
/// Errors: `Certificate`, `Key`, `Signature`.
pub fn verify(certificate_pem: &str, statement: &str, signature: &str) -> Result<(), PossessionError> {
    let der = certificate::first_from_pem(certificate_pem)?;
    let parsed = certificate::parse(&der)?;
    let key = parsed.public_key();
    match KeyKind::of(key) {
        Ok(KeyKind::EcP256) => {}
        Ok(_) => return Err(PossessionError::Key { found: "another kind of key".to_owned() }),
        Err(found) => return Err(PossessionError::Key { found }),
    }
    if signature.len() > SIGNATURE_TEXT_MAX {
        return Err(PossessionError::Signature);
    }
    let signature = STANDARD.decode(signature).map_err(|_| PossessionError::Signature)?;
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key.subject_public_key.data.as_ref())
        .verify(statement.as_bytes(), &signature)
        .map_err(|_| PossessionError::Signature)
}

/// The id of a certificate's public key: 64 hexadecimal digits, the SHA-256 of its SubjectPublicKeyInfo. Equal to
/// [`crate::request::VerifiedRequest::key_id`] of the request that the certificate was made for.
///
/// Errors: any [`CertificateError`].
pub fn key_id(certificate_pem: &str) -> Result<String, CertificateError> {
    let der = certificate::first_from_pem(certificate_pem)?;
    let parsed = certificate::parse(&der)?;
    Ok(hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, parsed.public_key().raw).as_ref()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::identity::Role;
    use crate::request::VerifiedRequest;
    use crate::throwaway::Throwaway;
    use std::time::Duration;

    #[test]
    fn only_the_holder_of_the_key_proves_it_and_only_for_this_text() {
        let fleet = Throwaway::new("test", &["localhost"]).unwrap();
        let (certificate, key) = fleet.issue(Role::Connector, "c1").unwrap();
        let (_, other_key) = fleet.issue(Role::Connector, "c1").unwrap();
        let signature = sign(&key, "let me in").unwrap();
        verify(&certificate, "let me in", &signature).unwrap();
        assert!(verify(&certificate, "let me out", &signature).is_err());
        assert!(verify(&certificate, "let me in", &sign(&other_key, "let me in").unwrap()).is_err());
        for bad in ["", "!", "AAAA", &"A".repeat(1000)] {
            assert!(matches!(verify(&certificate, "let me in", bad), Err(PossessionError::Signature)), "{bad}");
        }
        assert!(matches!(verify("", "x", &signature), Err(PossessionError::Certificate(_))));
        assert!(matches!(sign("no key", "x"), Err(PossessionError::PrivateKey)));
    }

    #[test]
    fn a_key_has_one_id_in_the_request_and_in_the_certificate() {
        let fleet = Throwaway::new("test", &["localhost"]).unwrap();
        let identity = fleet.identity(Role::Connector, "c1").unwrap();
        let (request, _) = crate::csr("c1").unwrap();
        let life = Duration::from_secs(3600);
        let certificate = fleet.authority.issue_from_csr(&request, &identity, life, 1_800_000_000).unwrap();
        assert_eq!(key_id(&certificate).unwrap(), VerifiedRequest::from_pem(&request).unwrap().key_id());
    }
}
