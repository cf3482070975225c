#![allow(clippy::unwrap_used)]

use rcgen::CustomExtension;
use x509_parser::certificate::X509Certificate;

use super::*;
use crate::certificate::{CertificateFacts, first_from_pem, parse};
use crate::identity::Role;
use crate::request::csr;

/// 2026-01-01T00:00:00Z.
const NOW: i64 = 1_767_225_600;
const DAY: Duration = Duration::from_secs(86_400);
const DAY_SECONDS: i64 = 86_400;

fn acme() -> Authority {
    Authority::create(&Fleet::new("acme").unwrap(), NOW).unwrap()
}

fn identity(text: &str) -> Identity {
    text.parse().unwrap()
}

fn c1() -> Identity {
    identity("spiffe://acme/connector/c1")
}

/// Hands the parsed first certificate of `pem` to `look`.
fn with_certificate<T>(pem: &str, look: impl FnOnce(&X509Certificate<'_>) -> T) -> T {
    let der = first_from_pem(pem).unwrap();
    look(&parse(&der).unwrap())
}

fn assert_signed_by(pem: &str, authority: &Authority) {
    with_certificate(authority.certificate_pem(), |ca| {
        with_certificate(pem, |leaf| {
            leaf.verify_signature(Some(ca.public_key())).unwrap();
            assert_eq!(leaf.issuer(), ca.subject());
        });
    });
}

#[test]
fn authority_says_what_it_is_and_has_room_for_one_below() {
    let authority = acme();
    assert_signed_by(authority.certificate_pem(), &authority);
    with_certificate(authority.certificate_pem(), |ca| {
        assert_eq!(ca.subject().to_string(), "CN=Muster fleet CA acme");
        let constraints = ca.basic_constraints().unwrap().unwrap();
        assert!(constraints.critical && constraints.value.ca);
        assert_eq!(constraints.value.path_len_constraint, Some(1));
        let usage = ca.key_usage().unwrap().unwrap();
        assert!(usage.critical && usage.value.key_cert_sign() && usage.value.crl_sign());
        assert!(!usage.value.digital_signature());
    });
    let facts = CertificateFacts::from_pem(authority.certificate_pem()).unwrap();
    assert_eq!(facts.not_before, NOW - 300);
    assert_eq!(facts.not_after, NOW + 3653 * DAY_SECONDS);
}

#[test]
fn authority_reads_back_and_issues_the_same() {
    let first = acme();
    let again = Authority::from_pem(first.certificate_pem(), &first.key_pem()).unwrap();
    assert_eq!(again.fleet(), first.fleet());
    assert_eq!(again.certificate_pem(), first.certificate_pem());
    assert_eq!(again.not_after(), first.not_after());
    let (leaf, _) = again.issue_with_new_key(&c1(), DAY, NOW).unwrap();
    assert_signed_by(&leaf, &first);
    let key_id = |pem: &str| with_certificate(pem, |c| format!("{:?}", c.extensions().first().map(|e| e.value)));
    let (before, _) = first.issue_with_new_key(&c1(), DAY, NOW).unwrap();
    assert_eq!(key_id(&leaf), key_id(&before), "authority key identifier differs after reading back");
}

#[test]
fn files_that_are_no_authority_are_refused() {
    let (a, b) = (acme(), acme());
    let (leaf, leaf_key) = a.issue_with_new_key(&c1(), DAY, NOW).unwrap();
    let p384 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap().serialize_pem();
    let foreign_key = KeyPair::generate().unwrap();
    let mut foreign = CertificateParams::default();
    foreign.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    foreign.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let foreign = foreign.self_signed(&foreign_key).unwrap().pem();

    let read = |certificate: &str, key: &str| Authority::from_pem(certificate, key).unwrap_err();
    assert!(matches!(read("", &a.key_pem()), AuthorityError::Certificate(CertificateError::Absent)));
    assert!(matches!(read(a.certificate_pem(), ""), AuthorityError::Key { .. }));
    assert!(matches!(read(a.certificate_pem(), a.certificate_pem()), AuthorityError::Key { .. }));
    assert!(matches!(read(a.certificate_pem(), &p384), AuthorityError::Key { .. }));
    assert!(matches!(read(a.certificate_pem(), &b.key_pem()), AuthorityError::KeyMismatch));
    assert!(matches!(read(&leaf, &leaf_key), AuthorityError::NotAnAuthority));
    assert!(matches!(read(&foreign, &foreign_key.serialize_pem()), AuthorityError::NoFleet(_)));
}

#[test]
fn certificate_from_a_request_has_the_identity_and_nothing_else() {
    let authority = acme();
    let (csr_pem, key_pem) = csr("c1").unwrap();
    let pem = authority.issue_from_csr(&csr_pem, &c1(), DAY, NOW).unwrap();
    assert_signed_by(&pem, &authority);
    let der = first_from_pem(&pem).unwrap();
    assert_eq!(Identity::from_certificate(&der, authority.fleet()).unwrap(), c1());
    with_certificate(&pem, |leaf| {
        assert_eq!(leaf.subject().to_string(), "CN=c1");
        assert!(!leaf.is_ca());
        let usage = leaf.extended_key_usage().unwrap().unwrap().value;
        assert!(usage.client_auth && !usage.server_auth && !usage.any);
        assert_eq!(leaf.public_key().raw, KeyPair::from_pem(&key_pem).unwrap().subject_public_key_info());
    });
    let facts = CertificateFacts::from_der(&der).unwrap();
    assert_eq!((facts.not_before, facts.not_after), (NOW - 300, NOW + DAY_SECONDS));
}

#[test]
fn wishes_of_a_request_are_ignored() {
    let key = KeyPair::generate().unwrap();
    let mut wishes = CertificateParams::default();
    wishes.distinguished_name = DistinguishedName::new();
    wishes.distinguished_name.push(DnType::OrganizationName, "Operators");
    wishes.distinguished_name.push(DnType::CommonName, "c1");
    wishes.subject_alt_names =
        vec![uri("spiffe://acme/operator/root".into()).unwrap(), server_name("muster.example").unwrap()];
    wishes.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    wishes.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    wishes.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any, ExtendedKeyUsagePurpose::ServerAuth];
    wishes.custom_extensions = vec![CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999], vec![5, 0])];
    let csr_pem = wishes.serialize_request(&key).unwrap().pem().unwrap();

    let authority = acme();
    let pem = authority.issue_from_csr(&csr_pem, &c1(), DAY, NOW).unwrap();
    let der = first_from_pem(&pem).unwrap();
    assert_eq!(Identity::from_certificate(&der, authority.fleet()).unwrap(), c1());
    let plain = authority.issue_from_csr(&csr("c1").unwrap().0, &c1(), DAY, NOW).unwrap();
    let shape = |pem: &str| {
        with_certificate(pem, |leaf| {
            let extensions: Vec<_> = leaf.extensions().iter().map(|extension| extension.oid.to_id_string()).collect();
            let names = leaf.subject_alternative_name().unwrap().unwrap().value.general_names.len();
            let usage = leaf.extended_key_usage().unwrap().unwrap().value.clone();
            (leaf.subject().to_string(), leaf.is_ca(), extensions, names, usage.any, usage.server_auth)
        })
    };
    assert_eq!(shape(&pem), shape(&plain));
}

#[test]
fn request_for_another_name_or_fleet_is_refused() {
    let authority = acme();
    let (csr_pem, _) = csr("c2").unwrap();
    let other_name = authority.issue_from_csr(&csr_pem, &c1(), DAY, NOW).unwrap_err();
    assert!(matches!(other_name, AuthorityError::Request(RequestError::OtherName { .. })), "{other_name}");
    assert!(other_name.to_string().starts_with("CSR for another name"), "{other_name}");

    let stranger = identity("spiffe://other/connector/c2");
    let other_fleet = authority.issue_from_csr(&csr_pem, &stranger, DAY, NOW).unwrap_err();
    assert!(matches!(other_fleet, AuthorityError::OtherFleet { .. }), "{other_fleet}");
    let broken = authority.issue_from_csr("hello", &c1(), DAY, NOW).unwrap_err();
    assert!(matches!(broken, AuthorityError::Request(RequestError::Pem(_))), "{broken}");
}

#[test]
fn server_certificate_has_names_and_addresses() {
    let authority = acme();
    let names = ["muster.example", "10.0.0.1", "::1"].map(str::to_owned);
    let (chain, key) = authority.issue_server(&names, profile::SERVER_LIFETIME, NOW).unwrap();
    assert_signed_by(&chain, &authority);
    assert!(key.contains("-----BEGIN PRIVATE KEY-----"));
    with_certificate(&chain, |leaf| {
        let names = leaf.subject_alternative_name().unwrap().unwrap().value.general_names.iter();
        let names: Vec<_> = names.map(ToString::to_string).collect();
        let loopback = "IPAddress(00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:01)";
        assert_eq!(names, ["DNSName(muster.example)", "IPAddress(0a:00:00:01)", loopback]);
        let usage = leaf.extended_key_usage().unwrap().unwrap().value;
        assert!(usage.server_auth && !usage.client_auth);
    });
    // A server is not an identity of the fleet.
    assert!(Identity::from_certificate(&first_from_pem(&chain).unwrap(), authority.fleet()).is_err());
}

#[test]
fn unusable_server_names_are_refused() {
    let authority = acme();
    assert!(matches!(authority.issue_server(&[], DAY, NOW), Err(AuthorityError::NoServerName)));
    for name in ["", "a b", "host:8883", "[::1]", "*.example", "https://example", "-a", "ü.example"] {
        let error = authority.issue_server(&["ok.example".into(), name.into()], DAY, NOW).unwrap_err();
        assert!(matches!(error, AuthorityError::ServerName { .. }), "{name}: {error}");
    }
}

#[test]
fn certificates_stay_within_the_life_of_the_authority() {
    let authority = acme();
    let end = authority.not_after();
    let (pem, _) = authority.issue_with_new_key(&c1(), DAY * 100_000, NOW).unwrap();
    assert_eq!(CertificateFacts::from_pem(&pem).unwrap().not_after, end);
    let (pem, _) = authority.issue_with_new_key(&c1(), DAY, NOW - 300).unwrap();
    assert_eq!(CertificateFacts::from_pem(&pem).unwrap().not_before, NOW - 300);
    for now in [NOW - 301, end + 1, i64::MIN, i64::MAX] {
        let error = authority.issue_with_new_key(&c1(), DAY, now).unwrap_err();
        assert!(matches!(error, AuthorityError::OutsideValidity { .. }), "{now}: {error}");
    }
}

#[test]
fn impossible_validity_is_refused() {
    let fleet = Fleet::new("acme").unwrap();
    for (lifetime, now) in
        [(Duration::ZERO, NOW), (DAY, 0), (DAY, i64::MIN), (DAY, i64::MAX), (Duration::MAX, NOW), (DAY, YEAR_9999_END)]
    {
        let error = Authority::create_for(&fleet, lifetime, now).unwrap_err();
        assert!(matches!(error, AuthorityError::Validity { .. }), "{lifetime:?} {now}: {error}");
    }
    let short = acme().issue_with_new_key(&c1(), Duration::from_millis(999), NOW).unwrap_err();
    assert!(matches!(short, AuthorityError::Validity { .. }), "{short}");
    // The last moment of X.509 time is still written correctly.
    let last = Authority::create_for(&fleet, DAY, YEAR_9999_END - DAY_SECONDS).unwrap();
    assert_eq!(CertificateFacts::from_pem(last.certificate_pem()).unwrap().not_after, YEAR_9999_END);
}

#[test]
fn serial_numbers_are_fresh() {
    let authority = acme();
    let serial = || {
        let (pem, _) = authority.issue_with_new_key(&c1(), DAY, NOW).unwrap();
        with_certificate(&pem, |leaf| leaf.raw_serial().to_vec())
    };
    let (one, two) = (serial(), serial());
    assert_ne!(one, two);
    // 16 random bytes, perhaps with a sign byte, perhaps with leading zeros dropped.
    assert!((13..=17).contains(&one.len()) && one[0] < 0x80, "{one:?}");
}

#[test]
fn every_role_gets_its_identity() {
    let authority = acme();
    for (role, name) in
        [(Role::Connector, "c:1"), (Role::Operator, "anna.b"), (Role::Observer, "wall"), (Role::Service, "shadow-0")]
    {
        let identity = Identity::new(authority.fleet().clone(), role, name).unwrap();
        let (pem, _) = authority.issue_with_new_key(&identity, profile::lifetime(role), NOW).unwrap();
        let der = first_from_pem(&pem).unwrap();
        assert_eq!(Identity::from_certificate(&der, authority.fleet()).unwrap(), identity);
    }
}

#[test]
fn debug_does_not_print_the_key() {
    let authority = acme();
    let body: String = authority.key_pem().lines().filter(|line| !line.starts_with("-----")).collect();
    assert!(!format!("{authority:?}").contains(&body[..40]));
}
