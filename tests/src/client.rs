//! MQTT and HTTPS clients for the tests, as somebody else would write them: topics and packets are spelled out, not
//! taken from the product, so that a mistake shared with the server shows.

mod https;
mod mqtt;
mod raw;

pub use https::{Answer, https};
pub use mqtt::{Message, Mqtt, Version};
pub use raw::{Heard, Raw, connect_packet, publish_packet, subscribe_packet};

use muster_certs::{Role, Throwaway};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use std::sync::Arc;

/// What a client shows and whom it trusts.
#[derive(Clone)]
pub struct Credentials {
    /// The authority that it trusts, PEM.
    pub ca_pem: String,
    /// Its certificate and key, PEM, if it has them.
    pub own: Option<(String, String)>,
}

impl Credentials {
    /// Trusts the same authority and shows nothing.
    pub fn anonymous(&self) -> Self {
        Self { ca_pem: self.ca_pem.clone(), own: None }
    }

    /// Trusts the same authority and shows the certificate of another one that gives itself the same fleet name.
    #[track_caller]
    pub fn of_a_stranger(&self, role: Role, name: &str) -> Self {
        let other = Throwaway::new("muster", &["localhost"]).expect("a fleet in memory");
        let own = other.issue(role, name).expect("a certificate of that fleet");
        Self { ca_pem: self.ca_pem.clone(), own: Some(own) }
    }

    /// TLS settings that offer these protocols.
    #[track_caller]
    pub fn tls(&self, alpn: &[&[u8]]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(self.ca_pem.as_bytes()) {
            roots.add(certificate.expect("the authority is PEM")).expect("the authority is one");
        }
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider has TLS versions")
            .with_root_certificates(roots);
        let mut config = match &self.own {
            None => config.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = CertificateDer::pem_slice_iter(certificate.as_bytes());
                let chain = chain.collect::<Result<Vec<_>, _>>().expect("the certificate is PEM");
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("the key is PEM");
                config.with_client_auth_cert(chain, key).expect("certificate and key fit")
            }
        };
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Arc::new(config)
    }
}
