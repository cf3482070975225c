#![allow(clippy::unwrap_used)]

use rcgen::{Attribute, PKCS_ECDSA_P384_SHA384, PKCS_ECDSA_P521_SHA512, PKCS_ED25519, PKCS_RSA_SHA384, RsaKeySize};
use rustls_pki_types::CertificateSigningRequestDer;

use super::*;

/// A request by another program's habits: any key, any common name.
fn request(key: &KeyPair, common_name: &str) -> String {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.serialize_request(key).unwrap().pem().unwrap()
}

fn pem(der: &[u8]) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN CERTIFICATE REQUEST-----\n{text}\n-----END CERTIFICATE REQUEST-----\n")
}

#[test]
fn own_request_is_accepted_for_its_name_only() {
    let (csr_pem, key_pem) = csr("c1").unwrap();
    let request = VerifiedRequest::from_pem(&csr_pem).unwrap();
    assert_eq!(request.common_name(), Some("c1"));
    request.check_name("c1").unwrap();
    let error = request.check_name("c2").unwrap_err();
    assert!(
        error.to_string().starts_with("CSR for another name: its common name is \"c1\", expected \"c2\""),
        "{error}"
    );
    let key = KeyPair::from_pem(&key_pem).unwrap();
    assert_eq!(rcgen::PublicKeyData::der_bytes(&request.public_key), key.public_key_raw());
}

#[test]
fn common_keys_and_signatures_are_accepted() {
    let p384 = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    let rsa = KeyPair::generate_rsa_for(&PKCS_RSA_SHA384, RsaKeySize::_2048).unwrap();
    for csr in [request(&p384, "c1"), request(&rsa, "c1"), include_str!("fixtures/rsa_pss.pem").into()] {
        let verified = VerifiedRequest::from_pem(&csr).unwrap();
        verified.check_name("c1").unwrap();
    }
}

#[test]
fn ecdsa_with_sha512_is_accepted_on_both_curves_and_checked() {
    for csr in [include_str!("fixtures/ec_p256_sha512.pem"), include_str!("fixtures/ec_p384_sha512.pem")] {
        VerifiedRequest::from_pem(csr).unwrap().check_name("c1").unwrap();
        let mut der = CertificateSigningRequestDer::from_pem_slice(csr.as_bytes()).unwrap().to_vec();
        let at = der.windows(2).position(|window| window == b"c1").unwrap();
        der[at + 1] = b'2';
        assert!(matches!(VerifiedRequest::from_pem(&pem(&der)), Err(RequestError::Signature)));
    }
}

#[test]
fn absent_or_empty_common_name_fits_every_name() {
    let empty = request(&KeyPair::generate().unwrap(), "");
    for csr in [empty.as_str(), include_str!("fixtures/no_common_name.pem")] {
        let request = VerifiedRequest::from_pem(csr).unwrap();
        assert_eq!(request.common_name(), None);
        request.check_name("anything").unwrap();
    }
}

#[test]
fn second_common_name_does_not_slip_through() {
    let request = VerifiedRequest::from_pem(include_str!("fixtures/two_common_names.pem")).unwrap();
    assert!(matches!(request.check_name("c1"), Err(RequestError::OtherName { found, .. }) if found == "c2"));
}

#[test]
fn common_name_in_an_unreadable_encoding_fits_no_name() {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let name = rcgen::string::BmpString::try_from("c1").unwrap();
    params.distinguished_name.push(DnType::CommonName, rcgen::DnValue::BmpString(name));
    let csr = params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap();
    let request = VerifiedRequest::from_pem(&csr).unwrap();
    assert!(matches!(request.check_name("c1"), Err(RequestError::OtherName { .. })));
}

#[test]
fn unsuitable_keys_are_refused_with_the_reason() {
    #[track_caller]
    fn check(csr: &str, reason: &str) {
        let error = VerifiedRequest::from_pem(csr).unwrap_err();
        assert!(matches!(error, RequestError::Key { .. }), "{error}");
        assert!(error.to_string().contains(reason), "{error}");
    }
    check(&request(&KeyPair::generate_for(&PKCS_ECDSA_P521_SHA512).unwrap(), "c1"), "an EC key on curve 1.3.132.0.35");
    check(&request(&KeyPair::generate_for(&PKCS_ED25519).unwrap(), "c1"), "a key of type 1.3.101.112");
    check(include_str!("fixtures/secp256k1.pem"), "an EC key on curve 1.3.132.0.10");
    check(include_str!("fixtures/rsa1024.pem"), "an RSA key of 1024 bits");
    check(include_str!("fixtures/ec_compressed.pem"), "not in uncompressed form");
}

#[test]
fn sha1_signature_is_refused() {
    let error = VerifiedRequest::from_pem(include_str!("fixtures/rsa_sha1.pem")).unwrap_err();
    assert!(matches!(error, RequestError::SignatureAlgorithm { .. }), "{error}");
}

#[test]
fn request_signed_by_another_key_is_refused() {
    // Signature of one key, public key of another: nobody proved to hold that key.
    let (mine, theirs) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let csr = request(&theirs, "c1");
    let mut der = CertificateSigningRequestDer::from_pem_slice(csr.as_bytes()).unwrap().to_vec();
    let at = der.windows(65).position(|window| window == theirs.public_key_raw()).unwrap();
    der[at..at + 65].copy_from_slice(mine.public_key_raw());
    let error = VerifiedRequest::from_pem(&pem(&der)).unwrap_err();
    assert!(matches!(error, RequestError::Signature), "{error}");
}

#[test]
fn changed_name_breaks_the_signature() {
    let (csr_pem, _) = csr("victim").unwrap();
    let mut der = CertificateSigningRequestDer::from_pem_slice(csr_pem.as_bytes()).unwrap().to_vec();
    let at = der.windows(6).position(|window| window == b"victim").unwrap();
    der[at] = b'V';
    assert!(matches!(VerifiedRequest::from_pem(&pem(&der)), Err(RequestError::Signature)));
}

#[test]
fn texts_that_are_no_request_are_refused() {
    let (good, key_pem) = csr("c1").unwrap();
    let der = CertificateSigningRequestDer::from_pem_slice(good.as_bytes()).unwrap().to_vec();
    for text in ["", "hello", &key_pem, &good[..good.len() / 2]] {
        assert!(matches!(VerifiedRequest::from_pem(text), Err(RequestError::Pem(_))), "{text}");
    }
    for bytes in [&b""[..], b"hello", &der[..der.len() - 1], &[der.as_slice(), b"x"].concat()] {
        assert!(matches!(VerifiedRequest::from_pem(&pem(bytes)), Err(RequestError::Der { .. })), "{bytes:?}");
    }
    let large = format!("{good}{}", " ".repeat(REQUEST_BYTES_MAX));
    assert!(matches!(VerifiedRequest::from_pem(&large), Err(RequestError::TooLarge { .. })));
}

#[test]
fn changed_byte_never_yields_another_key_or_name() {
    let (good, _) = csr("c1").unwrap();
    let der = CertificateSigningRequestDer::from_pem_slice(good.as_bytes()).unwrap().to_vec();
    let original = VerifiedRequest::from_der(&der).unwrap();
    for at in 0..der.len() {
        assert!(VerifiedRequest::from_der(&der[..at]).is_err(), "cut at {at}");
        for bits in [0x01, 0x80, 0xff] {
            let mut changed = der.clone();
            changed[at] ^= bits;
            // The parser overlooks some bits of the outer envelope, which no signature covers.
            if let Ok(accepted) = VerifiedRequest::from_der(&changed) {
                assert_eq!(accepted.public_key, original.public_key, "byte {at} xor {bits:#x}");
                assert_eq!(accepted.common_names, original.common_names, "byte {at} xor {bits:#x}");
            }
        }
    }
}

#[test]
fn unknown_attributes_are_ignored() {
    // challengePassword, which some tools add on their own.
    let attribute = Attribute { oid: &[1, 2, 840, 113_549, 1, 9, 7], values: b"\x31\x06\x0c\x04pass".to_vec() };
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let csr = params.serialize_request_with_attributes(&KeyPair::generate().unwrap(), vec![attribute]).unwrap();
    VerifiedRequest::from_pem(&csr.pem().unwrap()).unwrap();
}
