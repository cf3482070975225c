//! The server's own certificate: issued anew at half of its life, when another authority issues, and when a crash left key
//! and certificate of two different ones. Connections that stand are not touched.

use crate::datadir::DataDir;
use crate::error::CliError;
use crate::serve::operators::Operators;
use muster_broker_bridge::{ALPN, Bridge};
use muster_certs::renewal::{Due, due};
use muster_certs::{CertificateFacts, TimeSource, Vault, certificate, server_config, store};
use muster_runtime::clock::Clock;
use muster_runtime::faults;
use rustls::ServerConfig;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// The longest time between two looks.
const LOOK: Duration = Duration::from_secs(60);
/// Everybody renews somewhere around the half; one server does so at the half.
const AT_THE_HALF: f64 = 0.5;

/// The certificate and what it depends on.
pub struct OwnCertificate {
    /// Where the files are.
    pub data: DataDir,
    /// Who issues it.
    pub vault: Arc<Vault>,
    /// Life of a new one.
    pub life: Duration,
    /// The time.
    pub clock: Clock,
    /// Whose certificates follow the authority.
    pub operators: Operators,
}

impl OwnCertificate {
    /// TLS settings with what is on the disk, which is put right first.
    ///
    /// Errors: `Local` when there is no usable pair and none can be made.
    pub fn tls(&self) -> Result<Arc<ServerConfig>, CliError> {
        if let Err(failed) = self.renew_if_due() {
            // What is there may still do.
            error!(error = failed.chain(), "the server's certificate cannot be renewed");
        }
        self.settings().map(Arc::new)
    }

    fn settings(&self) -> Result<ServerConfig, CliError> {
        let unusable = |error| CliError::local_because("cannot load the server's identity", error);
        let chain = store::read_pem(&self.data.server_chain()).map_err(unusable)?;
        let key = store::read_pem(&self.data.server_key()).map_err(unusable)?;
        let mut config = server_config(&chain, &key, &self.vault.client_roots_pem(), &ALPN)
            .map_err(|error| CliError::local_because("the server's certificate is not usable", error))?;
        let clock = self.clock.clone();
        config.time_provider = TimeSource::new(move || clock.now().epoch_seconds()).into_provider();
        Ok(config)
    }

    /// Issues another certificate when one is needed; says whether it did.
    fn renew_if_due(&self) -> Result<bool, CliError> {
        let chain = store::read_pem(&self.data.server_chain())
            .map_err(|error| CliError::local_because("cannot load the server's identity", error))?;
        let facts = CertificateFacts::from_pem(&chain)
            .map_err(|error| CliError::local_because("the server's certificate cannot be read", error))?;
        let now = self.clock.now().epoch_seconds();
        let is_ours = self.vault.active().issued(&chain);
        let has_word = chain.ends_with(&self.vault.cross_pem());
        if is_ours && has_word && self.settings().is_ok() {
            match due(&facts, now, AT_THE_HALF) {
                Due::At(_) => return Ok(false),
                Due::NotYet => {
                    warn!(
                        not_before = facts.not_before,
                        now, "the clock is before the server's certificate began; set it"
                    );
                    return Ok(false);
                }
                Due::Now | Due::Ended => {}
            }
        }
        let unusable = |error| CliError::local_because("cannot issue the server's certificate", error);
        let names = certificate::server_names(&chain)
            .map_err(|error| CliError::local_because("the server's certificate cannot be read", error))?;
        let authority = self.vault.active();
        let (leaf, key) = authority.issue_server(&names, authority.leaf_life(self.life, now), now).map_err(unusable)?;
        // The names are read from the certificate, so it goes last: after a crash between the two it is issued again.
        let failed = |error| CliError::local_because("cannot write the server's certificate", error);
        store::write_secret(&self.data.server_key(), key.as_bytes()).map_err(failed)?;
        faults::point("server.ca.own_key");
        store::write_public(&self.data.server_chain(), (leaf + &self.vault.cross_pem()).as_bytes()).map_err(failed)?;
        faults::point("server.ca.own_certificate");
        info!(names = names.join(" "), "the server has another certificate");
        Ok(true)
    }

    /// Keeps the certificate good until `stop`; `changed` says that another authority issues or is trusted.
    pub async fn keep(self, bridge: Bridge, changed: Arc<Notify>, stop: CancellationToken) {
        let pause = LOOK.min(self.life / 20).max(Duration::from_secs(1));
        // A crash may have come between the switch and this.
        self.operators.follow(&self.vault, &self.clock);
        loop {
            let must_reload = tokio::select! {
                // Cancel-safe: none of them holds anything but the permit, which ends with the wait for it.
                () = stop.cancelled() => return,
                () = changed.notified() => true,
                () = tokio::time::sleep(pause) => false,
            };
            match self.renew_if_due() {
                Ok(false) if !must_reload => continue,
                Ok(_) => {}
                Err(failed) => error!(error = failed.chain(), "the server's certificate cannot be renewed"),
            }
            self.operators.follow(&self.vault, &self.clock);
            match self.settings() {
                Ok(config) => bridge.reload_tls(Arc::new(config)),
                Err(failed) => error!(error = failed.chain(), "the door goes on with the settings that it has"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::command::{Init, init};
    use muster_wire::admin::CaPhase;
    use muster_wire::time::Timestamp;

    #[test]
    fn it_is_issued_anew_at_half_of_its_life_after_a_crash_and_by_another_authority() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::fixed(Timestamp::from_seconds(1_800_000_000));
        let new = Init {
            data: folder.path().join("data"),
            hosts: vec!["muster.example.org".to_owned()],
            fleet: "acme".parse().unwrap(),
            operator: "admin".parse().unwrap(),
            settings: None,
        };
        let data = init(new, &clock).unwrap();
        let vault = Arc::new(Vault::open(&data.authority()).unwrap());
        let life = Duration::from_secs(1000);
        let operators = Operators::of(data.clone(), Box::new(|_, _| true));
        let own = OwnCertificate { data: data.clone(), vault: vault.clone(), life, clock: clock.clone(), operators };
        let read = || std::fs::read_to_string(data.server_chain()).unwrap();
        let names = certificate::server_names(&read()).unwrap();
        assert!(names.contains(&"muster.example.org".to_owned()) && names.contains(&"127.0.0.1".to_owned()));
        assert!(!own.renew_if_due().unwrap());

        // Half of 825 days.
        clock.set(Timestamp::from_seconds(1_800_000_000 + 413 * 86_400));
        assert!(own.renew_if_due().unwrap() && !own.renew_if_due().unwrap());
        assert_eq!(certificate::server_names(&read()).unwrap(), names);
        own.settings().unwrap();

        // The key was written, the certificate was not.
        let (_, other_key) = vault.active().issue_server(&names, life, clock.now().epoch_seconds()).unwrap();
        store::write_secret(&data.server_key(), other_key.as_bytes()).unwrap();
        assert!(own.settings().is_err());
        own.tls().unwrap();

        for phase in CaPhase::ALL {
            vault.enter(phase, clock.now().epoch_seconds()).unwrap();
            assert_eq!(own.renew_if_due().unwrap(), phase == CaPhase::Switched, "{phase}");
            assert!(vault.active().issued(&read()));
        }
        assert_eq!(certificate::chain_from_pem(&read()).unwrap().len(), 2);
    }
}
