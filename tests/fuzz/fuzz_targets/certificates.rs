//! Certificates: identity, facts, fleet and chains.

#![no_main]

use muster_certs::certificate::{CertificateFacts, chain_from_pem};
use muster_certs::identity::{Fleet, Identity};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(fleet) = Fleet::new("acme") {
        let alone = Identity::from_certificate(bytes, &fleet);
        let both = Identity::with_facts(bytes, &fleet);
        assert_eq!(alone.ok(), both.ok().map(|(identity, _)| identity));
    }
    let _ = Fleet::from_certificate(bytes);
    if let Ok(facts) = CertificateFacts::from_der(bytes) {
        assert_eq!(facts.id.len(), 64);
        let _ = (facts.renew_after(), facts.is_valid_at(0));
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = chain_from_pem(text);
        if let Ok(identity) = text.parse::<Identity>() {
            assert_eq!(identity.to_string(), text);
        }
    }
});
