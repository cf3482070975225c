//! How TLS is spoken with the server: one value for all connections, exchanged when the certificate or the trusted
//! authorities are. A connection that stands is not touched.

use crate::identity::Identity;
use muster_certs::TimeSource;
use muster_runtime::clock::Clock;
use muster_runtime::failure::Failure;
use rustls::ClientConfig;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::Notify;

/// The settings in force. They keep the sessions that can be resumed, and a resumed session carries the certificate
/// that it began with: new settings begin with none.
#[derive(Clone)]
pub struct Tls(Arc<Settings>);

struct Settings {
    current: RwLock<Arc<ClientConfig>>,
    replaced: Notify,
}

impl Tls {
    /// For this identity and this use.
    pub fn of(identity: &Identity, alpn: &[&[u8]], clock: &Clock) -> Result<Self, Failure> {
        Ok(Self::with(settings(identity, alpn, clock)?))
    }

    /// For a server that is met without a certificate.
    pub fn fixed(mut config: ClientConfig, clock: &Clock) -> Self {
        config.time_provider = time(clock).into_provider();
        Self::with(Arc::new(config))
    }

    fn with(config: Arc<ClientConfig>) -> Self {
        Self(Arc::new(Settings { current: RwLock::new(config), replaced: Notify::new() }))
    }

    /// What the next connection uses.
    pub fn current(&self) -> Arc<ClientConfig> {
        self.0.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The next connections are made as this identity.
    pub fn replace(&self, identity: &Identity, clock: &Clock) -> Result<(), Failure> {
        let alpn = self.current().alpn_protocols.clone();
        let alpn: Vec<&[u8]> = alpn.iter().map(Vec::as_slice).collect();
        let config = settings(identity, &alpn, clock)?;
        *self.0.current.write().unwrap_or_else(PoisonError::into_inner) = config;
        self.0.replaced.notify_one();
        Ok(())
    }

    /// Waits until others were set, or not at all when that happened since the last wait. One waits at a time.
    pub async fn replaced(&self) {
        self.0.replaced.notified().await;
    }
}

fn settings(identity: &Identity, alpn: &[&[u8]], clock: &Clock) -> Result<Arc<ClientConfig>, Failure> {
    let mut config = identity.tls(alpn)?;
    config.time_provider = time(clock).into_provider();
    Ok(Arc::new(config))
}

/// The clock that everything else on this host goes by.
pub fn time(clock: &Clock) -> TimeSource {
    let clock = clock.clone();
    TimeSource::new(move || clock.now().epoch_seconds())
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}
