//! The key that signs component packages: ECDSA P-256 with SHA-256, signatures and public keys as base64.
//!
//! Which bytes are signed is the caller's decision. The public key is the base64 of its DER (SubjectPublicKeyInfo) and
//! the signature that of its ASN.1 form, so `openssl dgst -sha256 -verify` can check a package without us.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ParsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData, SigningKey};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use x509_parser::prelude::FromDer;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::key::KeyKind;

/// The private half. `Debug` prints the public key only.
pub struct PublisherKey(KeyPair);

/// The public half, which every agent knows; a value that exists is a point on the curve.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublisherPublicKey(Vec<u8>);

/// Why a key was not usable or a signature not good.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublisherError {
    /// A new key could not be made.
    #[error("cannot make a publisher key")]
    Generate(#[source] rcgen::Error),
    /// The private key text cannot be read.
    #[error("cannot read the publisher key; expected a P-256 key in a `-----BEGIN PRIVATE KEY-----` section: {reason}")]
    Key {
        /// What the parser said; never key material.
        reason: String,
    },
    /// The public key text cannot be read.
    #[error("cannot read the publisher's public key; expected the base64 of a P-256 public key in DER: {reason}")]
    PublicKey {
        /// What is wrong with it.
        reason: String,
    },
    /// Signing failed.
    #[error("cannot sign with the publisher key")]
    Sign(#[source] rcgen::Error),
    /// The signature is not base64.
    #[error("the signature is not base64; publish the package again")]
    SignatureText,
    /// The signature is not one by this key over these bytes.
    #[error("the signature does not match: the content was changed, or another publisher signed it")]
    Mismatch,
}

impl PublisherKey {
    /// Makes a new key.
    ///
    /// Errors: [`PublisherError::Generate`].
    pub fn generate() -> Result<Self, PublisherError> {
        KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map(Self).map_err(PublisherError::Generate)
    }

    /// Reads a key from PKCS #8 PEM.
    ///
    /// Errors: [`PublisherError::Key`].
    pub fn from_pkcs8_pem(pem: &str) -> Result<Self, PublisherError> {
        let key = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes())
            .map_err(|_| PublisherError::Key { reason: "no such section found".into() })?;
        KeyPair::from_pkcs8_der_and_sign_algo(&key, &PKCS_ECDSA_P256_SHA256)
            .map(Self)
            .map_err(|error| PublisherError::Key { reason: error.to_string() })
    }

    /// The key as PKCS #8 PEM, for [`crate::store::write_secret`] and nothing else.
    pub fn to_pem(&self) -> String {
        self.0.serialize_pem()
    }

    /// The public half.
    pub fn public_key(&self) -> PublisherPublicKey {
        PublisherPublicKey(self.0.subject_public_key_info())
    }

    /// Signs `bytes`: the signature as base64.
    ///
    /// Errors: [`PublisherError::Sign`].
    pub fn sign(&self, bytes: &[u8]) -> Result<String, PublisherError> {
        let signature = self.0.sign(bytes).map_err(PublisherError::Sign)?;
        Ok(STANDARD.encode(signature))
    }
}

impl PublisherPublicKey {
    /// Checks a signature made by [`PublisherKey::sign`] over the same bytes.
    ///
    /// Errors: [`PublisherError::SignatureText`], [`PublisherError::Mismatch`].
    pub fn verify(&self, bytes: &[u8], signature_base64: &str) -> Result<(), PublisherError> {
        let signature = STANDARD.decode(signature_base64).map_err(|_| PublisherError::SignatureText)?;
        let key = parse(&self.0)?;
        key.verify_sig(bytes, &signature).map_err(|_| PublisherError::Mismatch)
    }
}

fn parse(der: &[u8]) -> Result<ParsedPublicKey, PublisherError> {
    let refused = |reason: String| PublisherError::PublicKey { reason };
    let (rest, info) = SubjectPublicKeyInfo::from_der(der).map_err(|error| refused(error.to_string()))?;
    if !rest.is_empty() {
        return Err(refused(format!("{} bytes follow it", rest.len())));
    }
    match KeyKind::of(&info).map_err(refused)? {
        KeyKind::EcP256 => {}
        KeyKind::EcP384 => return Err(refused("an EC key on curve P-384".into())),
        KeyKind::Rsa { bits } => return Err(refused(format!("an RSA key of {bits} bits"))),
    }
    ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &*info.subject_public_key.data)
        .map_err(|error| refused(error.to_string()))
}

impl FromStr for PublisherPublicKey {
    type Err = PublisherError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let der = STANDARD.decode(text).map_err(|error| PublisherError::PublicKey { reason: error.to_string() })?;
        parse(&der)?;
        Ok(Self(der))
    }
}

impl fmt::Display for PublisherPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(&self.0))
    }
}

impl fmt::Debug for PublisherPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublisherPublicKey({self})")
    }
}

impl fmt::Debug for PublisherKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublisherKey(public: {})", self.public_key())
    }
}

impl TryFrom<String> for PublisherPublicKey {
    type Error = PublisherError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<PublisherPublicKey> for String {
    fn from(key: PublisherPublicKey) -> Self {
        key.to_string()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn signature_holds_for_the_same_bytes_and_key_only() {
        let key = PublisherKey::generate().unwrap();
        let signature = key.sign(b"package").unwrap();
        let public: PublisherPublicKey = key.public_key().to_string().parse().unwrap();
        public.verify(b"package", &signature).unwrap();

        let other = PublisherKey::generate().unwrap().public_key();
        assert!(matches!(public.verify(b"Package", &signature), Err(PublisherError::Mismatch)));
        assert!(matches!(other.verify(b"package", &signature), Err(PublisherError::Mismatch)));
        assert!(matches!(public.verify(b"package", "AAAA"), Err(PublisherError::Mismatch)));
        assert!(matches!(public.verify(b"package", ""), Err(PublisherError::Mismatch)));
        assert!(matches!(public.verify(b"package", "%"), Err(PublisherError::SignatureText)));
    }

    #[test]
    fn key_reads_back_from_pem() {
        let key = PublisherKey::generate().unwrap();
        let again = PublisherKey::from_pkcs8_pem(&key.to_pem()).unwrap();
        assert_eq!(key.public_key(), again.public_key());
        again.public_key().verify(b"x", &key.sign(b"x").unwrap()).unwrap();
    }

    #[test]
    fn other_private_keys_are_refused() {
        let p384 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap().serialize_pem();
        let public = KeyPair::generate().unwrap().public_key_pem();
        for pem in ["", "no key", &p384, &public] {
            assert!(matches!(PublisherKey::from_pkcs8_pem(pem), Err(PublisherError::Key { .. })), "{pem}");
        }
    }

    #[test]
    fn other_public_keys_are_refused_with_the_reason() {
        #[track_caller]
        fn check(text: &str, reason: &str) {
            let error = text.parse::<PublisherPublicKey>().unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
        let good = PublisherKey::generate().unwrap().public_key().0;
        let mut long = good.clone();
        long.push(0);
        let mut off_curve = good.clone();
        *off_curve.last_mut().unwrap() ^= 1;
        let p384 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap().subject_public_key_info();
        let ed25519 = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().subject_public_key_info();
        check("%", "Invalid");
        check("", "");
        check(&STANDARD.encode(&good[..40]), "");
        check(&STANDARD.encode(long), "1 bytes follow");
        check(&STANDARD.encode(off_curve), "DER");
        check(&STANDARD.encode(p384), "P-384");
        check(&STANDARD.encode(ed25519), "a key of type");
    }

    #[test]
    fn debug_does_not_print_the_secret() {
        let key = PublisherKey::generate().unwrap();
        let body: String = key.to_pem().lines().filter(|line| !line.starts_with("-----")).collect();
        assert!(!format!("{key:?}").contains(&body[..40]));
        assert!(format!("{key:?}").contains(&key.public_key().to_string()));
    }
}
