//! One authority follows another: a successor of the same fleet, and the old one's word for it.
//!
//! A host that knows only the old root still believes a server whose certificate comes from the new one, as long as the
//! server shows the old authority's certificate for the new authority between the two. That is what lets a host that
//! was off during a rotation come back and learn of it.

use std::time::Duration;

use super::{Authority, AuthorityError, authority_params};
use crate::certificate::{certificate_id, first_from_pem, hex, is_signed_by};
use crate::profile;

impl Authority {
    /// Makes an authority that shall follow this one, with a key and a name of its own.
    ///
    /// Errors: `Validity`, `Random`, `Make`.
    pub fn successor(&self, lifetime: Duration, now: i64) -> Result<Self, AuthorityError> {
        let mut mark = [0; 4];
        aws_lc_rs::rand::fill(&mut mark).map_err(|_| AuthorityError::Random)?;
        // Two authorities with one name would make every verifier try both.
        let subject = format!("Muster fleet CA {} {}", self.fleet, hex(&mark));
        Self::create_as(subject, &self.fleet, lifetime, now)
    }

    /// A certificate by this authority for the key and name of `next`: PEM. It ends when either of them does.
    ///
    /// Errors: `Certificate`, `OutsideValidity`, `Random`, `Make`.
    pub fn vouch_for(&self, next: &Self, now: i64) -> Result<String, AuthorityError> {
        if !(self.not_before..=self.not_after).contains(&now) {
            let (not_before, not_after) = (self.not_before, self.not_after);
            return Err(AuthorityError::OutsideValidity { not_before, not_after, now });
        }
        let subject = next.common_name()?;
        let not_before = self.not_before.max(next.not_before);
        let not_after = self.not_after.min(next.not_after);
        let mut params = authority_params(&subject, &self.fleet, not_before, not_after, 0)?;
        params.use_authority_key_identifier_extension = true;
        self.sign(&subject, &params, next.issuer.key())
    }

    /// The id of its certificate: what hosts say they trust, and what a leaf's issuer is called in records.
    ///
    /// Errors: `Certificate`, which cannot happen to an authority that was made or read.
    pub fn id(&self) -> Result<String, AuthorityError> {
        Ok(certificate_id(&first_from_pem(&self.certificate_pem)?))
    }

    /// Whether this authority signed the first certificate of a PEM text.
    pub fn issued(&self, pem: &str) -> bool {
        match (first_from_pem(pem), first_from_pem(&self.certificate_pem)) {
            (Ok(leaf), Ok(root)) => is_signed_by(&leaf, &root),
            _ => false,
        }
    }

    /// First valid second, Unix time.
    pub fn not_before(&self) -> i64 {
        self.not_before
    }

    /// The longest life that a leaf made now may have: what is asked for, but not past the authority's own end.
    pub fn leaf_life(&self, wanted: Duration, now: i64) -> Duration {
        let left = u64::try_from(self.not_after.saturating_sub(now)).unwrap_or(0);
        wanted.min(Duration::from_secs(left)).max(profile::backdate(wanted))
    }

    fn common_name(&self) -> Result<String, AuthorityError> {
        let der = first_from_pem(&self.certificate_pem)?;
        let certificate = crate::certificate::parse(&der)?;
        let name = certificate.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
        Ok(name.unwrap_or_default().to_owned())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;

    use super::*;
    use crate::identity::{Fleet, Identity, Role};
    use crate::verifier::{TimeSource, client_config, server_config};
    use rustls::{ClientConnection, ConnectionCommon, ServerConnection, SideData};
    use rustls_pki_types::ServerName;

    const NOW: i64 = 1_800_000_000;
    const DAY: Duration = Duration::from_secs(86_400);

    fn deliver<A: SideData, B: SideData>(
        from: &mut ConnectionCommon<A>,
        to: &mut ConnectionCommon<B>,
    ) -> Result<(), rustls::Error> {
        let mut bytes = Vec::new();
        while from.wants_write() {
            from.write_tls(&mut bytes).unwrap();
        }
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            to.read_tls(&mut rest).unwrap();
            to.process_new_packets()?;
        }
        Ok(())
    }

    /// Whether a host with these roots and this certificate, and a server with these, come together.
    fn meet(client: (&str, &(String, String)), server: (&str, &(String, String))) -> Result<(), rustls::Error> {
        let at_now = || TimeSource::new(|| NOW).into_provider();
        let own = Some((client.1.0.as_str(), client.1.1.as_str()));
        let mut settings = client_config(client.0, own, &[]).unwrap();
        settings.time_provider = at_now();
        let host = ServerName::try_from("muster.example").unwrap();
        let mut near = ClientConnection::new(Arc::new(settings), host).unwrap();
        let mut settings = server_config(&server.1.0, &server.1.1, server.0, &[]).unwrap();
        settings.time_provider = at_now();
        let mut far = ServerConnection::new(Arc::new(settings)).unwrap();
        while near.is_handshaking() || far.is_handshaking() || near.wants_write() || far.wants_write() {
            deliver(&mut near, &mut far)?;
            deliver(&mut far, &mut near)?;
        }
        Ok(())
    }

    #[test]
    fn in_every_phase_a_host_that_knows_only_the_old_root_is_served() {
        let fleet = Fleet::new("acme").unwrap();
        let old = Authority::create_for(&fleet, DAY * 1000, NOW).unwrap();
        let new = old.successor(DAY * 2000, NOW).unwrap();
        let host = Identity::new(fleet, Role::Connector, "host-1").unwrap();
        let by = |authority: &Authority| authority.issue_with_new_key(&host, DAY, NOW).unwrap();
        let names = ["muster.example".to_owned()];
        let of_old = old.issue_server(&names, DAY, NOW).unwrap();
        let (leaf, key) = new.issue_server(&names, DAY, NOW).unwrap();
        let of_new = (leaf.clone() + &old.vouch_for(&new, NOW).unwrap(), key.clone());
        let both = old.certificate_pem().to_owned() + new.certificate_pem();
        let (only_old, only_new) = (old.certificate_pem(), new.certificate_pem());

        // Announced, not switched.
        meet((only_old, &by(&old)), (&both, &of_old)).unwrap();
        meet((&both, &by(&old)), (&both, &of_old)).unwrap();
        // Switched.
        meet((only_old, &by(&old)), (&both, &of_new)).unwrap();
        meet((&both, &by(&new)), (&both, &of_new)).unwrap();
        meet((only_new, &by(&new)), (&both, &of_new)).unwrap();
        // Retired: what the old one signed is refused, and a host that knows only the new root is served.
        meet((only_new, &by(&new)), (only_new, &of_new)).unwrap();
        assert!(meet((only_old, &by(&old)), (only_new, &of_new)).is_err());
        // Without the old one's word, who knows only the old root does not believe the server.
        assert!(meet((only_old, &by(&old)), (&both, &(leaf, key))).is_err());
    }

    #[test]
    fn a_successor_is_another_authority_of_the_same_fleet() {
        let old = Authority::create_for(&Fleet::new("acme").unwrap(), DAY * 1000, NOW).unwrap();
        let new = old.successor(DAY * 10, NOW).unwrap();
        assert_eq!(old.fleet(), new.fleet());
        assert_ne!(old.id().unwrap(), new.id().unwrap());
        assert_ne!(old.common_name().unwrap(), new.common_name().unwrap());
        let read = Authority::from_pem(new.certificate_pem(), &new.key_pem()).unwrap();
        assert_eq!(read.id().unwrap(), new.id().unwrap());
        // A cross certificate is not a root of its own, and never outlives either.
        let cross = old.vouch_for(&new, NOW).unwrap();
        let facts = crate::CertificateFacts::from_pem(&cross).unwrap();
        assert_eq!(facts.not_after, NOW + 10 * 86_400);
        assert!(Authority::from_pem(&cross, &old.key_pem()).is_err());
    }
}
