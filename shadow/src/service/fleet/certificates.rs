//! Certificates: issued, proven by a connection, replaced, revoked; each has a record, and the door asks the table that
//! these records fill.
//!
//! The order of the durable steps, and what a crash between them leaves: a new certificate becomes current before the
//! old one is replaced, so there is always one that opens the door; the start replaces the old one then. A record is
//! durable before the table changes, and the table changes before standing connections are looked at again.

use super::{FleetWorker, ROOM_BYTES, Refused, all, refuse};
use crate::records::{AccessKey, Certificate, CertificateState, Connector, key};
use crate::service::batch::Batch;
use crate::service::{ServiceError, Shared};
use crate::store::Kind;
use muster_bus::{Deliveries, Whose};
use muster_certs::certificate::CertificateFacts;
use muster_certs::{AuthorityError, Identity, Role, possession};
use muster_wire::admin::{CertificateList, CertificateView, ListCertificates, RevokeCertificate};
use muster_wire::id::{PersonName, Sha256Hex, ThingName};
use muster_wire::limits::{CERTIFICATE_LIFE, CERTIFICATE_RECORD_KEPT};
use muster_wire::rejection::{Rejection, RejectionCode};
use muster_wire::time::Timestamp;
use std::collections::BTreeSet;
use std::sync::Arc;
use tracing::{info, warn};

/// Fills the table of the door. Connectors that enrolled before certificates had records get theirs.
pub(in crate::service) fn load(shared: &Shared) -> Result<(), ServiceError> {
    let mut certificates: Vec<Certificate> = all(shared.store.as_ref(), Kind::Certificate)?;
    let known: BTreeSet<Sha256Hex> = certificates.iter().map(|certificate| certificate.id.clone()).collect();
    let connectors: Vec<Arc<Connector>> = shared.fleet().connectors.values().cloned().collect();
    let missing: Vec<Certificate> = connectors
        .iter()
        .filter_map(|connector| before_records(shared, connector))
        .filter(|certificate| !known.contains(&certificate.id))
        .collect();
    if !missing.is_empty() {
        let mut batch = Batch::new(shared.store.as_ref(), shared.clock.now());
        for certificate in &missing {
            batch.put(&key::certificate(&certificate.id), certificate)?;
        }
        batch.commit(shared.bus.as_ref())?;
        info!(certificates = missing.len(), "certificates from before there were records of them are recorded");
    }
    certificates.extend(missing);
    shared.config.admission.load_keys(all::<AccessKey>(shared.store.as_ref(), Kind::AccessKey)?);
    shared.config.admission.load(connectors.iter().map(AsRef::as_ref), certificates);
    Ok(())
}

/// What an enrolment without a record says of its certificate.
fn before_records(shared: &Shared, connector: &Connector) -> Option<Certificate> {
    let enrolled = connector.enrolled.as_ref()?;
    Some(Certificate {
        id: Sha256Hex::new(&enrolled.certificate_id).ok()?,
        identity: Some(shared.thing_identity(&connector.name)?),
        issued_at: Some(enrolled.at),
        not_after: Some(enrolled.at.plus(CERTIFICATE_LIFE)),
        state: CertificateState::Current,
        issuer: None,
        key: None,
    })
}

impl Shared {
    /// The identity of a connector in this fleet. Every thing name is a name of that role.
    pub(in crate::service) fn thing_identity(&self, name: &ThingName) -> Option<Identity> {
        Identity::new(self.config.vault.active().fleet().clone(), Role::Connector, name.as_str()).ok()
    }
}

impl FleetWorker {
    /// Issues a certificate for `identity` over the key of a request, and records it as pending.
    pub(super) fn issue(&self, identity: &Identity, csr: &str) -> Result<(String, Certificate), Refused> {
        let now = self.shared.clock.now();
        let authority = self.shared.config.vault.active();
        let life = self.shared.config.certificate_life;
        let pem =
            authority.issue_from_csr(csr, identity, life, now.epoch_seconds()).map_err(|error| not_issued(&error))?;
        let unreadable = |error: String| {
            warn!(error, "a certificate of our own cannot be read");
            Rejection::internal()
        };
        let facts = CertificateFacts::from_pem(&pem).map_err(|error| unreadable(error.to_string()))?;
        let record = Certificate {
            id: Sha256Hex::new(&facts.id).map_err(|error| unreadable(error.to_string()))?,
            identity: Some(identity.clone()),
            issued_at: Some(now),
            not_after: Some(Timestamp::from_seconds(facts.not_after)),
            state: CertificateState::Pending,
            issuer: authority.id().ok().and_then(|id| Sha256Hex::new(&id).ok()),
            key: possession::key_id(&pem).ok().and_then(|id| Sha256Hex::new(&id).ok()),
        };
        self.put_certificates(vec![record.clone()])?;
        self.prune(identity)?;
        Ok((pem, record))
    }

    /// A connector is connected with this certificate: it becomes current, and those before it are good for nothing.
    pub(super) fn certificate_proven(&self, thing: &ThingName, id: &Sha256Hex) -> Result<(), ServiceError> {
        let admission = &self.shared.config.admission;
        let Some(identity) = self.shared.thing_identity(thing) else { return Ok(()) };
        let Some(proven) = admission.get(id).filter(|known| known.identity.as_ref() == Some(&identity)) else {
            return Ok(());
        };
        if proven.state == CertificateState::Pending {
            let current = Certificate { state: CertificateState::Current, ..proven.as_ref().clone() };
            self.put_certificates(vec![current])?;
            info!(connector = %thing, certificate = %id, "certificate in use");
        }
        self.replace_older(&identity, &proven)
    }

    fn replace_older(&self, identity: &Identity, newest: &Certificate) -> Result<(), ServiceError> {
        let at = self.shared.clock.now();
        let older = self
            .shared
            .config
            .admission
            .of(identity)
            .into_iter()
            .filter(|known| known.id != newest.id && known.state.is_good() && known.issued_at <= newest.issued_at);
        let replaced: Vec<Certificate> =
            older.map(|old| Certificate { state: CertificateState::Replaced { at }, ..old.as_ref().clone() }).collect();
        if replaced.is_empty() {
            return Ok(());
        }
        self.put_certificates(replaced)?;
        self.shared.bus.recheck(&Whose::Identity(identity.clone()));
        Ok(())
    }

    /// A crash may have left two current certificates of one identity, and good ones of a removed connector.
    pub(super) fn finish_certificates(&self) -> Result<(), ServiceError> {
        let removed: Vec<Arc<Connector>> =
            self.shared.fleet().connectors.values().filter(|connector| connector.is_removed()).cloned().collect();
        for connector in removed {
            self.revoke_of_removed(&connector)?;
        }
        let current = |known: &Arc<Certificate>| known.state == CertificateState::Current;
        for certificate in self.shared.config.admission.all().into_iter().filter(current) {
            if let Some(identity) = &certificate.identity {
                self.replace_older(identity, &certificate)?;
            }
        }
        Ok(())
    }

    /// Takes back every certificate of an identity, and ends its connections. Returns how many were taken back now.
    pub(super) fn revoke_all(&self, identity: &Identity, by: &PersonName, reason: &str) -> Result<usize, ServiceError> {
        let state =
            CertificateState::Revoked { at: self.shared.clock.now(), by: by.clone(), reason: reason.to_owned() };
        // Replaced ones too: a connector whose newest certificate is gone must not recover with an older one.
        let known = self.shared.config.admission.of(identity).into_iter();
        let revoked: Vec<Certificate> = known
            .filter(|known| !matches!(known.state, CertificateState::Revoked { .. }))
            .map(|known| Certificate { state: state.clone(), ..known.as_ref().clone() })
            .collect();
        let count = revoked.len();
        self.put_certificates(revoked)?;
        self.shared.bus.recheck(&Whose::Identity(identity.clone()));
        Ok(count)
    }

    /// Takes back one certificate, known or not.
    pub(super) fn revoke_certificate(
        &self,
        revoke: RevokeCertificate,
        by: &PersonName,
    ) -> Result<CertificateView, Refused> {
        if !revoke.id.is_complete() {
            let message = format!("{} is no certificate id; it has 64 hexadecimal digits", revoke.id);
            return refuse(RejectionCode::Invalid, message);
        }
        let shown = match revoke.identity.as_deref().map(str::parse::<Identity>).transpose() {
            Ok(identity) => identity,
            Err(error) => return refuse(RejectionCode::Invalid, error.to_string()),
        };
        let known = self.shared.config.admission.get(&revoke.id);
        if let Some(known) = &known
            && matches!(known.state, CertificateState::Revoked { .. })
        {
            return Ok(view(known));
        }
        let reason = revoke.reason.unwrap_or_else(|| "revoked by an operator".to_owned());
        let state = CertificateState::Revoked { at: self.shared.clock.now(), by: by.clone(), reason };
        let record = match known {
            Some(known) => Certificate { state, ..known.as_ref().clone() },
            None => Certificate {
                id: revoke.id,
                identity: shown,
                issued_at: None,
                not_after: revoke.not_after,
                state,
                issuer: None,
                key: None,
            },
        };
        self.put_certificates(vec![record.clone()])?;
        info!(certificate = %record.id, identity = ?record.identity.as_ref().map(ToString::to_string), %by, "certificate revoked");
        let whose = record.identity.clone().map_or(Whose::Everyone, Whose::Identity);
        self.shared.bus.recheck(&whose);
        Ok(view(&record))
    }

    /// One page: as many certificates as surely fit one answer.
    pub(super) fn list_certificates(&self, list: &ListCertificates) -> CertificateList {
        let mut page = CertificateList { certificates: Vec::new(), next: None };
        let mut room = ROOM_BYTES;
        let identity = list.connector.as_ref().and_then(|name| self.shared.thing_identity(name));
        let wanted = |known: &Arc<Certificate>| {
            list.after.as_ref().is_none_or(|after| known.id > *after)
                && (identity.is_none() || known.identity == identity)
        };
        for known in self.shared.config.admission.all().into_iter().filter(wanted) {
            let view = view(&known);
            let bytes = serde_json::to_vec(&view).map_or(0, |bytes| bytes.len() + 1);
            if bytes > room {
                page.next = page.certificates.last().map(|last: &CertificateView| last.id.clone());
                break;
            }
            room -= bytes;
            page.certificates.push(view);
        }
        page
    }

    /// Writes the records, then lets the door know.
    pub(super) fn put_certificates(&self, certificates: Vec<Certificate>) -> Result<(), ServiceError> {
        self.commit(|batch| {
            certificates.iter().try_for_each(|record| batch.put(&key::certificate(&record.id), record))
        })?;
        for certificate in certificates {
            self.shared.config.admission.certificate(certificate);
        }
        Ok(())
    }

    /// Forgets certificates of an identity that ended so long ago that no clock would take them.
    fn prune(&self, identity: &Identity) -> Result<(), ServiceError> {
        let now = self.shared.clock.now();
        let known = self.shared.config.admission.of(identity);
        let old = known.iter().filter(|known| {
            known.state != CertificateState::Current
                && known.not_after.is_some_and(|end| end.plus(CERTIFICATE_RECORD_KEPT) < now)
        });
        let old: Vec<Sha256Hex> = old.map(|known| known.id.clone()).collect();
        if old.is_empty() {
            return Ok(());
        }
        self.commit(|batch| old.iter().try_for_each(|id| batch.delete(&key::certificate(id))))?;
        old.iter().for_each(|id| self.shared.config.admission.forget(id));
        Ok(())
    }
}

pub(super) fn view(certificate: &Certificate) -> CertificateView {
    use muster_wire::admin::CertificateStatus as Status;
    let (status, since, by, reason) = match &certificate.state {
        CertificateState::Awaiting { .. } | CertificateState::Registering => {
            (Status::PendingActivation, None, None, None)
        }
        CertificateState::Pending => (Status::Pending, None, None, None),
        CertificateState::Current => (Status::Current, None, None, None),
        CertificateState::Replaced { at } => (Status::Replaced, Some(*at), None, None),
        CertificateState::Revoked { at, by, reason } => {
            (Status::Revoked, Some(*at), Some(by.clone()), Some(reason.clone()))
        }
    };
    CertificateView {
        id: certificate.id.clone(),
        identity: certificate.identity.as_ref().map(ToString::to_string),
        issued_at: certificate.issued_at,
        not_after: certificate.not_after,
        status,
        since,
        by,
        reason,
    }
}

fn not_issued(error: &AuthorityError) -> Rejection {
    match error {
        AuthorityError::Request(error) => Rejection::new(RejectionCode::Invalid, error.to_string()),
        other => {
            warn!(error = %other, "a certificate could not be issued");
            Rejection::internal()
        }
    }
}
