//! Which public keys we accept, in requests and as publishers.

use x509_parser::oid_registry::{OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_PKCS1_RSAENCRYPTION};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

/// An accepted kind of public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyKind {
    EcP256,
    EcP384,
    Rsa { bits: usize },
}

/// Smaller RSA keys are within reach of a determined attacker.
const RSA_BITS_MIN: usize = 2048;
/// The largest that the TLS library verifies.
const RSA_BITS_MAX: usize = 8192;
/// The first byte of an uncompressed point, the only form that TLS implementations agree on.
const UNCOMPRESSED: u8 = 4;

impl KeyKind {
    /// Names the kind of a key, or says in words why it is not accepted.
    pub(crate) fn of(key: &SubjectPublicKeyInfo<'_>) -> Result<Self, String> {
        if key.subject_public_key.unused_bits != 0 {
            return Err("a key of broken bits".into());
        }
        if key.algorithm.algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY {
            return elliptic(key);
        }
        if key.algorithm.algorithm == OID_PKCS1_RSAENCRYPTION {
            return rsa(key);
        }
        Err(format!("a key of type {}", key.algorithm.algorithm))
    }
}

fn elliptic(key: &SubjectPublicKeyInfo<'_>) -> Result<KeyKind, String> {
    let parameters = key.algorithm.parameters.as_ref();
    let curve = parameters.and_then(|any| any.as_oid().ok()).ok_or("an EC key without a named curve")?;
    let (kind, coordinate_bytes) = if curve == OID_EC_P256 {
        (KeyKind::EcP256, 32)
    } else if curve == OID_NIST_EC_P384 {
        (KeyKind::EcP384, 48)
    } else {
        return Err(format!("an EC key on curve {curve}"));
    };
    let point = &key.subject_public_key.data;
    if point.first() != Some(&UNCOMPRESSED) || point.len() != 1 + 2 * coordinate_bytes {
        return Err("an EC key whose point is not in uncompressed form".into());
    }
    Ok(kind)
}

fn rsa(key: &SubjectPublicKeyInfo<'_>) -> Result<KeyKind, String> {
    let Ok(PublicKey::RSA(rsa)) = key.parsed() else {
        return Err("an RSA key that cannot be read".into());
    };
    let modulus = &rsa.modulus[rsa.modulus.iter().take_while(|byte| **byte == 0).count()..];
    let bits = modulus.first().map_or(0, |top| modulus.len() * 8 - top.leading_zeros() as usize);
    if (RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits) {
        Ok(KeyKind::Rsa { bits })
    } else {
        Err(format!("an RSA key of {bits} bits"))
    }
}
