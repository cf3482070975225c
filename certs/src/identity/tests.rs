#![allow(clippy::unwrap_used)]

use rcgen::string::Ia5String;
use rcgen::{CertificateParams, KeyPair, SanType};

use super::*;

/// A certificate with these URIs and one DNS name; nobody verified signs it, for reading must not care.
fn certificate(uris: &[&str]) -> Vec<u8> {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let uris = uris.iter().map(|uri| SanType::URI(Ia5String::try_from(*uri).unwrap()));
    params.subject_alt_names.extend(uris);
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
}

fn acme() -> Fleet {
    Fleet::new("acme").unwrap()
}

#[test]
fn identities_read_back_as_printed() {
    let name = "n".repeat(128);
    for text in [
        "spiffe://acme/connector/c1",
        "spiffe://a.b-c.0/connector/plant:7_A-b",
        "spiffe://acme/operator/anna.smith",
        "spiffe://acme/observer/wall",
        "spiffe://acme/service/shadow-0",
        &format!("spiffe://{}/connector/{name}", "f".repeat(64)),
    ] {
        let identity: Identity = text.parse().unwrap();
        assert_eq!(identity.to_string(), text);
        let der = certificate(&[text]);
        assert_eq!(Identity::from_certificate(&der, identity.fleet()).unwrap(), identity);
        let facts = CertificateFacts::from_der(&der).unwrap();
        assert_eq!(Identity::with_facts(&der, identity.fleet()).unwrap(), (identity.clone(), facts));
        let json = serde_json::to_string(&identity).unwrap();
        assert_eq!(serde_json::from_str::<Identity>(&json).unwrap(), identity);
    }
    let identity: Identity = "spiffe://acme/operator/anna".parse().unwrap();
    assert_eq!((identity.fleet().as_str(), identity.role(), identity.name()), ("acme", Role::Operator, "anna"));
}

#[test]
fn texts_that_are_no_identity_are_refused_with_the_reason() {
    #[track_caller]
    fn check(text: &str, reason: &str) {
        let error = text.parse::<Identity>().unwrap_err().to_string();
        assert!(error.contains(reason), "{text}: {error}");
    }
    check("", "expected spiffe://<fleet>/<role>/<name>");
    check("https://acme/connector/c1", "expected spiffe://");
    check("SPIFFE://acme/connector/c1", "expected spiffe://");
    check("spiffe://acme", "expected spiffe://");
    check("spiffe://acme/connector", "expected spiffe://");
    check("spiffe://acme/connector/c1/", "expected spiffe://");
    check("spiffe://acme/connector/c1/c2", "expected spiffe://");
    check("spiffe:///connector/c1", "fleet name \"\" is not usable");
    check("spiffe://Acme/connector/c1", "fleet name \"Acme\" is not usable");
    check("spiffe://acme:1/connector/c1", "is not usable");
    check(&format!("spiffe://{}/connector/c1", "f".repeat(65)), "fleet name");
    check("spiffe://acme/thing/c1", "role \"thing\" does not exist");
    check("spiffe://acme/Connector/c1", "role \"Connector\" does not exist");
    check("spiffe://acme/connector/", "connector name \"\" is not usable");
    check("spiffe://acme/connector/a.b", "connector name \"a.b\" is not usable");
    check("spiffe://acme/connector/a%2Fb", "is not usable");
    check("spiffe://acme/connector/a?b", "is not usable");
    check("spiffe://acme/connector/+", "is not usable");
    check("spiffe://acme/connector/ü", "is not usable");
    check("spiffe://acme/operator/..", "no leading dot");
    check(&format!("spiffe://acme/connector/{}", "n".repeat(129)), "1 to 128");
}

#[test]
fn certificate_needs_exactly_one_uri() {
    let none = Identity::from_certificate(&certificate(&[]), &acme());
    assert!(matches!(none, Err(IdentityError::UriCount { count: 0 })), "{none:?}");
    let uri = "spiffe://acme/connector/c1";
    for uris in [[uri, uri], [uri, "spiffe://acme/operator/root"], ["https://example.com", uri]] {
        let two = Identity::from_certificate(&certificate(&uris), &acme());
        assert!(matches!(two, Err(IdentityError::UriCount { count: 2 })), "{two:?}");
    }
    let der = CertificateParams::default().self_signed(&KeyPair::generate().unwrap()).unwrap();
    let plain = Identity::from_certificate(der.der(), &acme());
    assert!(matches!(plain, Err(IdentityError::UriCount { count: 0 })), "{plain:?}");
}

#[test]
fn certificate_of_another_fleet_or_kind_is_refused() {
    let other = Identity::from_certificate(&certificate(&["spiffe://other/connector/c1"]), &acme());
    assert!(matches!(other, Err(IdentityError::OtherFleet { .. })), "{other:?}");
    let shape = Identity::from_certificate(&certificate(&["https://example.com"]), &acme());
    assert!(matches!(shape, Err(IdentityError::Shape { .. })), "{shape:?}");
    let authority = Identity::from_certificate(&certificate(&["spiffe://acme"]), &acme());
    assert!(matches!(authority, Err(IdentityError::Shape { .. })), "{authority:?}");
    let garbage = Identity::from_certificate(b"garbage", &acme());
    assert!(matches!(garbage, Err(IdentityError::Certificate(_))), "{garbage:?}");
}

#[test]
fn errors_do_not_repeat_endless_input() {
    let error = Fleet::new("x".repeat(100_000)).unwrap_err().to_string();
    assert!(error.len() < 400, "{}", error.len());
}
