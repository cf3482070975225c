//! An authority, a server and clients in memory, for tests of TLS, doors and agents.
//!
//! Its certificates are valid from 2020 for a century, so that a test needs neither a clock nor a date.

use std::time::Duration;

use rustls::{ClientConfig, ServerConfig};

use crate::authority::{Authority, AuthorityError};
use crate::identity::{Fleet, Identity, IdentityError, Role};
use crate::verifier::{self, VerifierError};

/// An authority with one server certificate.
#[derive(Debug)]
pub struct Throwaway {
    /// The authority of the fleet.
    pub authority: Authority,
    /// The server's certificate chain.
    pub server_chain_pem: String,
    server_key_pem: ServerKey,
}

struct ServerKey(String);

/// Why a throwaway fleet could not be made: a name that is not one, or the library's failure.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ThrowawayError {
    /// A fleet or identity name is not usable.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The authority refused.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The TLS settings were refused.
    #[error(transparent)]
    Verifier(#[from] VerifierError),
}

impl Throwaway {
    /// Makes a fleet whose server answers to `hosts` (DNS names or IP addresses).
    ///
    /// Errors: `Identity` for the fleet name, `Authority` for the hosts.
    pub fn new(fleet: &str, hosts: &[&str]) -> Result<Self, ThrowawayError> {
        let authority = Authority::create_for(&Fleet::new(fleet)?, LIFETIME, BEGIN)?;
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let (server_chain_pem, server_key_pem) = authority.issue_server(&hosts, LIFETIME, BEGIN)?;
        Ok(Self { authority, server_chain_pem, server_key_pem: ServerKey(server_key_pem) })
    }

    /// The certificate of the authority.
    pub fn ca_pem(&self) -> &str {
        self.authority.certificate_pem()
    }

    /// The server's private key.
    pub fn server_key_pem(&self) -> &str {
        &self.server_key_pem.0
    }

    /// An identity of this fleet.
    ///
    /// Errors: `Identity`.
    pub fn identity(&self, role: Role, name: &str) -> Result<Identity, ThrowawayError> {
        Ok(Identity::new(self.authority.fleet().clone(), role, name)?)
    }

    /// A client certificate with its key: `(certificate_pem, key_pem)`.
    ///
    /// Errors: `Identity`, `Authority`.
    pub fn issue(&self, role: Role, name: &str) -> Result<(String, String), ThrowawayError> {
        let identity = self.identity(role, name)?;
        Ok(self.authority.issue_with_new_key(&identity, LIFETIME, BEGIN)?)
    }

    /// TLS settings of the server.
    ///
    /// Errors: `Verifier`.
    pub fn server_config(&self, alpn: &[&[u8]]) -> Result<ServerConfig, ThrowawayError> {
        let (chain, key) = (&self.server_chain_pem, self.server_key_pem());
        Ok(verifier::server_config(chain, key, self.ca_pem(), alpn)?)
    }

    /// TLS settings of a client with a new certificate for this role and name.
    ///
    /// Errors: any [`ThrowawayError`].
    pub fn client_config(&self, role: Role, name: &str, alpn: &[&[u8]]) -> Result<ClientConfig, ThrowawayError> {
        let (chain, key) = self.issue(role, name)?;
        Ok(verifier::client_config(self.ca_pem(), Some((&chain, &key)), alpn)?)
    }

    /// TLS settings of a client without a certificate.
    ///
    /// Errors: `Verifier`.
    pub fn anonymous_config(&self, alpn: &[&[u8]]) -> Result<ClientConfig, ThrowawayError> {
        Ok(verifier::client_config(self.ca_pem(), None, alpn)?)
    }
}

impl std::fmt::Debug for ServerKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("\"...\"")
    }
}

/// 2020-01-01T00:00:00Z.
const BEGIN: i64 = 1_577_836_800;
const LIFETIME: Duration = Duration::from_secs(36_525 * 24 * 60 * 60);
