//! A host whose certificate is not taken any more proves its old key, and waits for an operator.
//!
//! ```text
//! asked ─▶ listed ── an operator says yes ─▶ approved ── asked again ─▶ certificate, pending ── proven ─▶ forgotten
//! ```
//! Nothing here is automatic: without the yes no certificate is issued, and there is none for a connector that is disabled
//! or removed. What is approved is one key: a request for another one waits again. A crash after the certificate was
//! issued leaves the approval, and the host asks again.

use super::{FleetWorker, ROOM_BYTES, Refused, refuse};
use crate::records::{Certificate, CertificateState, key};
use crate::service::ServiceError;
use crate::service::batch::Batch;
use muster_certs::{CertificateFacts, possession};
use muster_wire::admin::{ApproveRecovery, ListRecoveries, Recovery, RecoveryList};
use muster_wire::certificate::{RecoverRequest, RecoverResponse};
use muster_wire::enrol::EnrolResponse;
use muster_wire::id::{PersonName, Sha256Hex, ThingName};
use muster_wire::limits::{RECOVERY_KEPT, RECOVERY_RETRY_BASE};
use muster_wire::rejection::{Rejection, RejectionCode};
use std::net::IpAddr;
use tracing::{info, warn};

/// A host that is still waiting is noted again after so long.
const NOTED_EVERY: std::time::Duration = std::time::Duration::from_secs(60 * 60);

impl FleetWorker {
    pub(super) fn recover(&self, request: &RecoverRequest, peer: IpAddr) -> Result<RecoverResponse, Refused> {
        let name = &request.name;
        let (old, why) = self.check_recovery(request, peer)?;
        let identity = self.identity(name)?;
        let new_key = self.check_new_key(&identity, &request.csr)?;
        let now = self.shared.clock.now();
        let waiting = self.waiting(name)?;
        let is_approved = waiting.as_ref().is_some_and(|waiting| waiting.approved_at.is_some());
        if is_approved && waiting.as_ref().is_some_and(|waiting| waiting.key == new_key) {
            if let Some(after) = self.too_soon(&identity) {
                let hint = "it got many certificates in a short time".to_owned();
                return Ok(RecoverResponse::Waiting { retry_after_s: after.as_secs().max(1), hint });
            }
            let (certificate, record) = self.issue(&identity, &request.csr)?;
            info!(connector = %name, %peer, certificate = %record.id, "a host was let in again");
            let vault = &self.shared.config.vault;
            return Ok(RecoverResponse::Issued(EnrolResponse {
                name: name.clone(),
                fleet: vault.active().fleet().to_string(),
                certificate,
                ca: vault.trusted_pem(),
                publisher_key: self.shared.config.publisher_key.clone(),
            }));
        }
        // What was approved stays: whoever else has an old key must not take the yes away.
        let is_noted = waiting
            .is_some_and(|waiting| is_approved || waiting.key == new_key && waiting.asked_at.plus(NOTED_EVERY) > now);
        if !is_noted {
            let recovery = Recovery {
                name: name.clone(),
                why,
                key: new_key,
                certificate: old.id.clone(),
                asked_at: now,
                peer: peer.to_string(),
                host: request.host.clone(),
                approved_by: None,
                approved_at: None,
            };
            self.commit(|batch| batch.put(&key::recovery(name), &recovery))?;
            warn!(connector = %name, %peer, "a host asks to be let in again; `muster connector recoveries` lists it");
        }
        Ok(RecoverResponse::Waiting {
            retry_after_s: RECOVERY_RETRY_BASE.as_secs(),
            hint: format!("an operator lets it in with `muster connector approve {name}`"),
        })
    }

    /// The certificate whose key was proved, and why it is not taken any more.
    fn check_recovery(&self, request: &RecoverRequest, peer: IpAddr) -> Result<(Certificate, String), Refused> {
        let refused = |why: &str| {
            warn!(connector = %request.name, %peer, why, "a host is not let in again");
            refuse(
                RejectionCode::Forbidden,
                format!("{why}; `muster connector add {} --renew` makes a new install script", request.name),
            )
        };
        let statement = RecoverRequest::statement(&request.name, &request.csr);
        if let Err(error) = possession::verify(&request.certificate, &statement, &request.signature) {
            return refused(&error.to_string());
        }
        if self.enrolled(&request.name).is_err() {
            return refused("the connector is not enrolled, or is disabled or removed");
        }
        let facts = CertificateFacts::from_pem(&request.certificate)
            .map_err(|error| Rejection::new(RejectionCode::Invalid, error.to_string()))?;
        let known = Sha256Hex::new(&facts.id).ok().and_then(|id| self.shared.config.admission.get(&id));
        let identity = self.identity(&request.name)?;
        let Some(known) = known.filter(|known| known.identity.as_ref() == Some(&identity)) else {
            return refused("the old certificate is not one of this connector");
        };
        let now = self.shared.clock.now();
        let roots = self.shared.config.vault.roots();
        let is_by_trusted =
            known.issuer.as_ref().is_none_or(|issuer| roots.iter().any(|(id, _)| id == issuer.as_str()));
        let why = match &known.state {
            CertificateState::Revoked { .. } => return refused("the old certificate was revoked"),
            CertificateState::Pending | CertificateState::Awaiting { .. } | CertificateState::Registering => {
                return refused("the old certificate was never in use");
            }
            CertificateState::Replaced { at } => format!("its certificate was replaced at {at}"),
            CertificateState::Current if facts.not_after < now.epoch_seconds() => {
                "its certificate has ended".to_owned()
            }
            CertificateState::Current if !is_by_trusted => "its certificate is by a retired authority".to_owned(),
            CertificateState::Current => {
                let message = "the certificate is still good; connect with it (is the clock of the host right?)";
                return refuse(RejectionCode::Conflict, message);
            }
        };
        Ok((known.as_ref().clone(), why))
    }

    pub(super) fn list_recoveries(&self, _list: &ListRecoveries) -> Result<RecoveryList, Refused> {
        let now = self.shared.clock.now();
        let mut batch = Batch::new(self.shared.store.as_ref(), now);
        let mut recoveries = batch.scan::<Recovery>(&key::recoveries())?;
        recoveries.retain(|recovery| recovery.asked_at.plus(RECOVERY_KEPT) > now);
        let mut room = ROOM_BYTES;
        recoveries.retain(|recovery| {
            let bytes = serde_json::to_vec(recovery).map_or(0, |bytes| bytes.len() + 1);
            let fits = bytes <= room;
            room = room.saturating_sub(bytes);
            fits
        });
        Ok(RecoveryList { recoveries })
    }

    pub(super) fn approve_recovery(&self, approve: &ApproveRecovery, by: &PersonName) -> Result<Recovery, Refused> {
        let name = &approve.name;
        let now = self.shared.clock.now();
        let Some(listed) = self.waiting(name)? else {
            let message =
                format!("{name} does not ask to be let in again; `muster connector recoveries` lists who does");
            return refuse(RejectionCode::NotFound, message);
        };
        if approve.key.as_ref().is_some_and(|key| *key != listed.key) {
            let message = format!("{name} asks with another key now: {}; look at it again", listed.key);
            return refuse(RejectionCode::Conflict, message);
        }
        self.enrolled(name)?;
        let approved = Recovery { approved_by: Some(by.clone()), approved_at: Some(now), ..listed };
        self.commit(|batch| batch.put(&key::recovery(name), &approved))?;
        info!(connector = %name, %by, key = %approved.key, "a host may come in again");
        Ok(approved)
    }

    /// Its certificate is in force: what it asked for is settled.
    pub(super) fn forget_recovery(&self, name: &ThingName) -> Result<(), ServiceError> {
        if self.recovery_of(name)?.is_some() {
            self.commit(|batch| batch.delete(&key::recovery(name)))?;
        }
        Ok(())
    }

    /// That the host asks to be let in again, while it does.
    pub(super) fn waiting(&self, name: &ThingName) -> Result<Option<Recovery>, ServiceError> {
        let now = self.shared.clock.now();
        Ok(self.recovery_of(name)?.filter(|recovery| recovery.asked_at.plus(RECOVERY_KEPT) > now))
    }

    fn recovery_of(&self, name: &ThingName) -> Result<Option<Recovery>, ServiceError> {
        Batch::new(self.shared.store.as_ref(), self.shared.clock.now()).get::<Recovery>(&key::recovery(name))
    }
}
