//! A list of roots as one PEM text, each known by its id.

use rustls_pki_types::CertificateDer;

use crate::authority::Authority;
use crate::certificate::{
    CertificateError, CertificateFacts, certificate_id, chain_from_pem, first_from_pem, is_signed_by,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

#[derive(Clone)]
pub(super) struct Roots(Vec<CertificateDer<'static>>);

impl Roots {
    pub(super) fn from_pem(pem: &str) -> Result<Self, CertificateError> {
        chain_from_pem(pem).map(Self)
    }

    pub(super) fn pem(&self) -> String {
        self.0.iter().map(|der| one_pem(der)).collect()
    }

    pub(super) fn has(&self, id: &str) -> bool {
        self.0.iter().any(|der| certificate_id(der) == id)
    }

    /// The roots with their last second.
    pub(super) fn list(&self) -> Vec<(String, i64)> {
        let facts = self.0.iter().filter_map(|der| CertificateFacts::from_der(der).ok());
        facts.map(|facts| (facts.id, facts.not_after)).collect()
    }

    /// Adds the certificate of `pem` that has this id, if it is not there.
    pub(super) fn add(&mut self, pem: &str, id: &str) -> Result<(), CertificateError> {
        let new = chain_from_pem(pem)?.into_iter().find(|der| certificate_id(der) == id);
        self.0.extend(new.filter(|_| !self.has(id)));
        Ok(())
    }

    pub(super) fn put_first(&mut self, id: &str) {
        self.0.sort_by_key(|der| certificate_id(der) != id);
    }

    pub(super) fn keep_only(&mut self, id: &str) {
        self.0.retain(|der| certificate_id(der) == id);
    }

    /// Whether one of them signed the first certificate of a PEM text.
    pub(super) fn issued(&self, pem: &str) -> bool {
        first_from_pem(pem).is_ok_and(|leaf| self.0.iter().any(|root| is_signed_by(&leaf, root)))
    }

    /// The authority whose key this is.
    pub(super) fn belonging_to(&self, key_pem: &str) -> Option<Authority> {
        self.0.iter().find_map(|der| Authority::from_pem(&one_pem(der), key_pem).ok())
    }
}

fn one_pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    for start in (0..text.len()).step_by(64) {
        pem.push_str(&text[start..text.len().min(start + 64)]);
        pem.push('\n');
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}
