//! The certificates of the operators in the data folder follow the authority: after the switch each is issued anew by the
//! one that issues, over the key that it has. So an operator comes in before, during and after a rotation.
//!
//! Whoever is not let in gets nothing here: a certificate that was revoked, has ended, or is by nobody whom this fleet
//! trusts stays as it is. One file is replaced, whole; a crash leaves certificates that the next look issues.

use crate::datadir::DataDir;
use crate::error::CliError;
use muster_certs::{CertificateFacts, Identity, Vault, certificate, csr_for, store};
use muster_runtime::clock::Clock;
use muster_runtime::faults;
use std::path::Path;
use std::time::Duration;
use tracing::{error, info};

/// Whether an identity is let in with the certificate of this id.
pub type Admits = Box<dyn Fn(&Identity, &str) -> bool + Send + Sync>;

/// The operators of a data folder.
pub struct Operators {
    data: DataDir,
    admits: Admits,
}

impl Operators {
    /// Those in a data folder.
    pub fn of(data: DataDir, admits: Admits) -> Self {
        Self { data, admits }
    }

    /// Issues what is by another authority than the one that issues. Doing it again changes nothing.
    pub fn follow(&self, vault: &Vault, clock: &Clock) {
        let names = match self.data.operator_names() {
            Ok(names) => names,
            Err(failed) => return error!(error = failed.chain(), "cannot look after the operators"),
        };
        for path in names.iter().map(|name| self.data.operator(name).0) {
            match self.issue_anew(&path, vault, clock.now().epoch_seconds()) {
                Ok(Some(identity)) => info!(%identity, "an operator has a certificate of the authority that issues"),
                Ok(None) => {}
                Err(failed) => error!(
                    path = %path.display(),
                    error = failed.chain(),
                    "the certificate does not follow the authority; `muster cert renew` makes another one"
                ),
            }
        }
    }

    fn issue_anew(&self, path: &Path, vault: &Vault, now: i64) -> Result<Option<Identity>, CliError> {
        let unreadable = |error| CliError::local_because("it cannot be read", error);
        let pem = store::read_pem(path).map_err(|error| CliError::local_because("it cannot be read", error))?;
        let authority = vault.active();
        if authority.issued(&pem) || !vault.vouches_for(&pem) {
            return Ok(None);
        }
        let facts = CertificateFacts::from_pem(&pem).map_err(unreadable)?;
        let der = certificate::first_from_pem(&pem).map_err(unreadable)?;
        let identity = Identity::from_certificate(&der, authority.fleet())
            .map_err(|error| CliError::local_because("it names nobody of this fleet", error))?;
        if facts.not_after <= now || !(self.admits)(&identity, &facts.id) {
            return Ok(None);
        }
        let key = store::read_pem(&path.with_extension("key"))
            .map_err(|error| CliError::local_because("its key cannot be read", error))?;
        let request =
            csr_for(identity.name(), &key).map_err(|error| CliError::local_because("its key cannot be used", error))?;
        // The rest of its life, not a new one: a rotation makes nobody an operator for longer.
        let life = Duration::from_secs(facts.not_after.saturating_sub(now).unsigned_abs());
        let issued = authority
            .issue_from_csr(&request, &identity, authority.leaf_life(life, now), now)
            .map_err(|error| CliError::local_because("it cannot be issued", error))?;
        store::write_public(path, issued.as_bytes())
            .map_err(|error| CliError::local_because("it cannot be written", error))?;
        faults::point("server.ca.operator");
        Ok(Some(identity))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use muster_certs::verifier::client_config;
    use muster_certs::{Authority, Fleet, Role, Throwaway};
    use muster_wire::admin::CaPhase;
    use muster_wire::time::Timestamp;
    use std::fs;

    const NOW: i64 = 1_800_000_000;
    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn operators_follow_the_authority_with_key_role_and_end_and_the_revoked_do_not() {
        let clock = Clock::fixed(Timestamp::from_seconds(NOW));
        let fleet = Fleet::new("acme").unwrap();
        let old = Authority::create(&fleet, NOW - 3 * 86_400).unwrap();
        let vault = Vault::in_memory(&old).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::create(folder.path().join("data")).unwrap();
        let path = |name: &str| data.operator(name).0;
        let read = |name: &str| fs::read_to_string(path(name)).unwrap();
        let put = |name: &str, pair: (String, String)| {
            fs::write(path(name), &pair.0).unwrap();
            store::write_secret(&path(name).with_extension("key"), pair.1.as_bytes()).unwrap();
            pair.0
        };
        let identity = |role, name: &str| Identity::new(fleet.clone(), role, name).unwrap();
        put("admin", old.issue_with_new_key(&identity(Role::Operator, "admin"), DAY * 100, NOW).unwrap());
        put("screen", old.issue_with_new_key(&identity(Role::Observer, "screen"), DAY * 100, NOW).unwrap());
        let gone = put("gone", old.issue_with_new_key(&identity(Role::Operator, "gone"), DAY * 100, NOW).unwrap());
        let ended =
            put("ended", old.issue_with_new_key(&identity(Role::Operator, "ended"), DAY, NOW - 86_400 * 2).unwrap());
        // Of the same name, by nobody whom this fleet trusts.
        let strange =
            put("strange", Throwaway::new("acme", &["localhost"]).unwrap().issue(Role::Operator, "strange").unwrap());
        let operators = Operators::of(data.clone(), Box::new(|identity, _| identity.name() != "gone"));

        let before = read("admin");
        for phase in [CaPhase::Announced, CaPhase::TrustBoth] {
            vault.enter(phase, NOW).unwrap();
            operators.follow(&vault, &clock);
            assert_eq!(read("admin"), before, "{phase}");
        }
        vault.enter(CaPhase::Switched, NOW).unwrap();
        operators.follow(&vault, &clock);
        for (name, role) in [("admin", Role::Operator), ("screen", Role::Observer)] {
            let pem = read(name);
            assert!(vault.active().issued(&pem), "{name}");
            let der = certificate::first_from_pem(&pem).unwrap();
            assert_eq!(Identity::from_certificate(&der, &fleet).unwrap(), identity(role, name));
            assert_eq!(CertificateFacts::from_pem(&pem).unwrap().not_after, NOW + 100 * 86_400);
            // The key is the one that it had.
            let key = fs::read_to_string(path(name).with_extension("key")).unwrap();
            client_config(&vault.trusted_pem(), Some((&pem, &key)), &[]).unwrap();
        }
        assert_eq!((read("gone"), read("ended"), read("strange")), (gone, ended, strange));
        let once = read("admin");
        operators.follow(&vault, &clock);
        assert_eq!(read("admin"), once);
    }
}
