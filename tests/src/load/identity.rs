//! The devices' certificates, read and checked before anything is timed.

use std::{
    fs,
    path::Path,
    sync::{Arc, OnceLock},
};

use anyhow::{Context, Result};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        Resumption, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};

/// What all devices share: algorithms and trust.
#[derive(Clone, Debug)]
pub struct Trust {
    provider: Arc<CryptoProvider>,
    verifier: Arc<VerifyOnce>,
}

/// Name that every server certificate is made for.
pub const SERVER_NAME: &str = "localhost";

/// Offered to every server: Muster tells MQTT from HTTPS by it, mosquitto ignores it.
const ALPN: &[u8] = b"mqtt";

impl Trust {
    /// Trusts the authorities in `ca`, a PEM file.
    pub fn load(ca: &Path) -> Result<Self> {
        // The same key exchange with every server, so that neither gets cheaper or dearer handshakes by preference.
        let provider = Arc::new(CryptoProvider {
            kx_groups: vec![aws_lc_rs::kx_group::X25519, aws_lc_rs::kx_group::SECP256R1],
            ..aws_lc_rs::default_provider()
        });
        let mut roots = RootCertStore::empty();
        for certificate in certificates(ca)? {
            roots
                .add(certificate)
                .with_context(|| format!("{} holds a certificate that is no authority", ca.display()))?;
        }
        let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .with_context(|| format!("cannot verify servers with {}", ca.display()))?;
        Ok(Self { provider, verifier: Arc::new(VerifyOnce { inner, known: OnceLock::new() }) })
    }

    /// The TLS settings of somebody without a certificate who speaks HTTPS: a host that enrols.
    pub fn stranger(&self) -> Result<Arc<ClientConfig>> {
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .context("the provider has no usable TLS version")?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&self.verifier) as Arc<dyn ServerCertVerifier>)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// The TLS settings of the holder of `DIR/NAME.crt` and `DIR/NAME.key`. Sessions are never resumed.
    pub fn identity(&self, dir: &Path, name: &str) -> Result<Arc<ClientConfig>> {
        let chain = certificates(&dir.join(format!("{name}.crt")))?;
        let path = dir.join(format!("{name}.key"));
        let key =
            PrivateKeyDer::from_pem_file(&path).with_context(|| format!("cannot read the key {}", path.display()))?;
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .context("the provider has no usable TLS version")?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&self.verifier) as Arc<dyn ServerCertVerifier>)
            .with_client_auth_cert(chain, key)
            .with_context(|| format!("certificate and key of {name} in {} do not fit", dir.display()))?;
        config.resumption = Resumption::disabled();
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Arc::new(config))
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let pem = fs::read(path).with_context(|| format!("cannot read the certificate {}", path.display()))?;
    let found = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<Vec<_>, _>>()
        .with_context(|| format!("{} is not usable PEM", path.display()))?;
    anyhow::ensure!(!found.is_empty(), "{} holds no certificate", path.display());
    Ok(found)
}

/// Verifies the server's chain once and then knows its certificate: thousands of devices see the same one, and
/// their work shares the processors with the server. Each handshake's signature is still checked.
#[derive(Debug)]
struct VerifyOnce {
    inner: Arc<WebPkiServerVerifier>,
    known: OnceLock<CertificateDer<'static>>,
}

impl ServerCertVerifier for VerifyOnce {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(known) = self.known.get() {
            return if known == end_entity {
                Ok(ServerCertVerified::assertion())
            } else {
                Err(CertificateError::ApplicationVerificationFailure.into())
            };
        }
        let verified = self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp, now)?;
        // Another thread may have been first; it saw the same server.
        let _ = self.known.set(end_entity.clone().into_owned());
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
