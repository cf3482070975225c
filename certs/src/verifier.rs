//! rustls settings for both ends of every Muster connection: one provider, TLS 1.2 and 1.3, our authority only.
//!
//! The server asks for a client certificate but lets a client without one in: enrolment needs that. What such a
//! client may do is the policy's business. A certificate that is shown must be good, or the handshake fails.
//!
//! A resumed session carries the client's certificate along without checking it again, up to twelve hours later. So the
//! server looks at validity ([`crate::CertificateFacts`]) and asks its gate on every connection, resumed or not. Nothing
//! is revoked yet; the gate is where that belongs.

use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use rustls::client::ClientConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{NoServerSessionStorage, ServerConfig, VerifierBuilderError, WebPkiClientVerifier};
use rustls::time_provider::TimeProvider;
use rustls::version::{TLS12, TLS13};
use rustls::{CipherSuite, RootCertStore, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{PrivateKeyDer, UnixTime};

use crate::certificate::{self, CertificateError};

/// Why TLS settings could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifierError {
    /// The certificate of the authority cannot be read.
    #[error("cannot read the CA certificate")]
    Authority(#[source] CertificateError),
    /// The certificate of the authority cannot serve as a root.
    #[error("the CA certificate cannot be used as a root of trust")]
    Root(#[source] rustls::Error),
    /// The own certificate chain cannot be read.
    #[error("cannot read the own certificate chain")]
    Chain(#[source] CertificateError),
    /// The own private key cannot be read.
    #[error("cannot read the own private key; expected a `-----BEGIN PRIVATE KEY-----` section")]
    Key(#[source] rustls_pki_types::pem::Error),
    /// Key and certificate are unusable or do not belong together.
    #[error("the private key and the certificate cannot be used together")]
    KeyPair(#[source] rustls::Error),
    /// The check of client certificates could not be built.
    #[error("cannot build the check of client certificates")]
    Verifier(#[source] VerifierBuilderError),
    /// The library refused the settings.
    #[error("the TLS library refuses these settings")]
    Settings(#[source] rustls::Error),
}

/// What time it is for the checks of certificates, in Unix seconds. Without it the TLS library asks the machine.
pub struct TimeSource(Box<dyn Fn() -> i64 + Send + Sync>);

impl TimeSource {
    /// Asks `now`.
    pub fn new(now: impl Fn() -> i64 + Send + Sync + 'static) -> Self {
        Self(Box::new(now))
    }

    /// For the `time_provider` of TLS settings.
    pub fn into_provider(self) -> Arc<dyn TimeProvider> {
        Arc::new(self)
    }
}

impl TimeProvider for TimeSource {
    fn current_time(&self) -> Option<UnixTime> {
        // Before 1970 no certificate is valid, whatever the second.
        Some(UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from((self.0)()).unwrap_or(0))))
    }
}

impl fmt::Debug for TimeSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TimeSource")
    }
}

/// The one cryptography provider of all Muster programs.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
        let mut provider = aws_lc_rs::default_provider();
        // AES-128-GCM with SHA-256 first: processors do SHA-256 in hardware, SHA-384 they do not, and a handshake hashes
        // and derives much. The sort is stable: everything else keeps its order.
        provider.cipher_suites.sort_by_key(|suite| !is_quick(suite.suite()));
        Arc::new(provider)
    });
    Arc::clone(&PROVIDER)
}

fn is_quick(suite: CipherSuite) -> bool {
    matches!(suite, CipherSuite::TLS13_AES_128_GCM_SHA256 | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256)
}

/// Settings for the server: its chain and key, client certificates of our authority welcome but optional.
///
/// `ca_pem` may hold several roots while the authority is being replaced. `alpn` is in order of preference.
/// Errors: any [`VerifierError`].
pub fn server_config(
    server_chain_pem: &str,
    key_pem: &str,
    ca_pem: &str,
    alpn: &[&[u8]],
) -> Result<ServerConfig, VerifierError> {
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(ca_pem)?), provider())
        .allow_unauthenticated()
        .build()
        .map_err(VerifierError::Verifier)?;
    let chain = certificate::chain_from_pem(server_chain_pem).map_err(VerifierError::Chain)?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(VERSIONS)
        .map_err(VerifierError::Settings)?
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, private_key(key_pem)?)
        .map_err(VerifierError::KeyPair)?;
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    // Tickets hold the session on the client's side: thousands of clients cost the server no memory.
    // One ticket is enough, for a client keeps one connection; two would double the work of each handshake.
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(VerifierError::Settings)?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 1;
    config.ignore_client_order = true;
    Ok(config)
}

/// Settings for a client that trusts our authority only, with its own certificate `(chain_pem, key_pem)` if it has one.
///
/// Sessions are kept for resumption inside the returned value: share one `Arc` of it for the life of the program.
/// Errors: any [`VerifierError`].
pub fn client_config(ca_pem: &str, own: Option<(&str, &str)>, alpn: &[&[u8]]) -> Result<ClientConfig, VerifierError> {
    client_config_for(VERSIONS, ca_pem, own, alpn)
}

fn client_config_for(
    versions: &[&'static SupportedProtocolVersion],
    ca_pem: &str,
    own: Option<(&str, &str)>,
    alpn: &[&[u8]],
) -> Result<ClientConfig, VerifierError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .map_err(VerifierError::Settings)?
        .with_root_certificates(roots(ca_pem)?);
    let mut config = match own {
        None => builder.with_no_client_auth(),
        Some((chain_pem, key_pem)) => {
            let chain = certificate::chain_from_pem(chain_pem).map_err(VerifierError::Chain)?;
            builder.with_client_auth_cert(chain, private_key(key_pem)?).map_err(VerifierError::KeyPair)?
        }
    };
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(config)
}

fn roots(ca_pem: &str) -> Result<RootCertStore, VerifierError> {
    let mut roots = RootCertStore::empty();
    for root in certificate::chain_from_pem(ca_pem).map_err(VerifierError::Authority)? {
        roots.add(root).map_err(VerifierError::Root)?;
    }
    Ok(roots)
}

fn private_key(pem: &str) -> Result<PrivateKeyDer<'static>, VerifierError> {
    PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(VerifierError::Key)
}

const VERSIONS: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];

#[cfg(test)]
mod tests;
