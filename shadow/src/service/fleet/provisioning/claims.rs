//! Claims: made, listed, revoked. A claim is a certificate like any other, and its record says what it is good for.

use crate::records::{Certificate, CertificateState};
use crate::service::ServiceError;
use crate::service::fleet::{FleetWorker, ROOM_BYTES, Refused, refuse};
use muster_certs::certificate::CertificateFacts;
use muster_certs::{AuthorityError, Identity, Role, possession};
use muster_wire::admin::{ClaimList, ClaimState, ClaimView, CreateClaim, CreatedClaim, ListClaims, RevokeClaim};
use muster_wire::id::{PersonName, Sha256Hex, TemplateName};
use muster_wire::limits::{CLAIM_LIFE, CLAIM_LIFE_MAX, CLAIM_LIFE_TEMPORARY};
use muster_wire::provision::ClaimName;
use muster_wire::rejection::{Rejection, RejectionCode};
use muster_wire::time::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tracing::{info, warn};

impl FleetWorker {
    pub(in crate::service::fleet) fn create_claim(
        &self,
        create: CreateClaim,
        by: &PersonName,
    ) -> Result<CreatedClaim, Refused> {
        self.known_template(&create.claim.template)?;
        let life = create.life_s.map_or(CLAIM_LIFE, |seconds| Duration::from_secs(seconds.into()));
        if !(CLAIM_LIFE_TEMPORARY..=CLAIM_LIFE_MAX).contains(&life) {
            let (least, most) = (CLAIM_LIFE_TEMPORARY.as_secs() / 60, CLAIM_LIFE_MAX.as_secs() / (24 * 3600));
            let message = format!("a claim lives from {least} minutes to {most} days, not {} seconds", life.as_secs());
            return refuse(RejectionCode::Invalid, message);
        }
        let identity = self.claim_identity(&create.claim)?;
        if !self.shared.config.admission.of(&identity).is_empty() {
            return refuse(RejectionCode::Conflict, format!("a claim is called {} already", create.claim));
        }
        let now = self.shared.clock.now();
        let authority = self.shared.config.vault.active();
        let pem = match authority.issue_from_csr(&create.csr, &identity, life, now.epoch_seconds()) {
            Ok(pem) => pem,
            Err(AuthorityError::Request(error)) => return refuse(RejectionCode::Invalid, error.to_string()),
            Err(error) => {
                warn!(%error, "a claim could not be issued");
                return Err(Rejection::internal().into());
            }
        };
        let unreadable = |error: String| {
            warn!(error, "a certificate of our own cannot be read");
            Rejection::internal()
        };
        let facts = CertificateFacts::from_pem(&pem).map_err(|error| unreadable(error.to_string()))?;
        let record = Certificate {
            id: Sha256Hex::new(&facts.id).map_err(|error| unreadable(error.to_string()))?,
            identity: Some(identity),
            issued_at: Some(now),
            not_after: Some(Timestamp::from_seconds(facts.not_after)),
            state: CertificateState::Pending,
            issuer: authority.id().ok().and_then(|id| Sha256Hex::new(&id).ok()),
            key: possession::key_id(&pem).ok().and_then(|id| Sha256Hex::new(&id).ok()),
        };
        self.put_certificates(vec![record.clone()])?;
        info!(claim = %create.claim, %by, certificate = %record.id, life_s = life.as_secs(), "claim made");
        let ca = self.shared.config.vault.trusted_pem();
        Ok(CreatedClaim { claim: view(create.claim, &record, now), certificate: pem, ca })
    }

    pub(in crate::service::fleet) fn list_claims(&self, list: &ListClaims) -> ClaimList {
        let now = self.shared.clock.now();
        let mut page = ClaimList { now, claims: Vec::new(), next: None };
        let mut room = ROOM_BYTES;
        let wanted = |name: &ClaimName| {
            list.after.as_ref().is_none_or(|after| name > after)
                && list.template.as_ref().is_none_or(|template| name.template == *template)
        };
        for (name, record) in self.claims().into_iter().filter(|(name, _)| wanted(name)) {
            let view = view(name, &record, now);
            let bytes = serde_json::to_vec(&view).map_or(0, |bytes| bytes.len() + 1);
            if bytes > room {
                page.next = page.claims.last().map(|last: &ClaimView| last.claim.clone());
                break;
            }
            room -= bytes;
            page.claims.push(view);
        }
        page
    }

    pub(in crate::service::fleet) fn revoke_claim(
        &self,
        revoke: RevokeClaim,
        by: &PersonName,
    ) -> Result<ClaimView, Refused> {
        let identity = self.claim_identity(&revoke.claim)?;
        let reason = revoke.reason.as_deref().unwrap_or("revoked by an operator");
        self.revoke_all(&identity, by, reason)?;
        let Some(record) = self.shared.config.admission.of(&identity).pop() else {
            let message = format!("no claim is called {}; `muster claim list` shows all", revoke.claim);
            return refuse(RejectionCode::NotFound, message);
        };
        info!(claim = %revoke.claim, %by, "claim revoked");
        Ok(view(revoke.claim, &record, self.shared.clock.now()))
    }

    /// Takes back every claim of a template. Returns how many were good.
    pub(super) fn revoke_claims_of(&self, template: &TemplateName, by: &PersonName) -> Result<usize, ServiceError> {
        let mut revoked = 0;
        for (name, record) in self.claims() {
            if name.template == *template
                && let Some(identity) = &record.identity
            {
                revoked += self.revoke_all(identity, by, "its template was deleted")?;
            }
        }
        Ok(revoked)
    }

    fn claims(&self) -> BTreeMap<ClaimName, Arc<Certificate>> {
        let named = |record: Arc<Certificate>| {
            let identity = record.identity.as_ref().filter(|identity| identity.role() == Role::Claim)?;
            Some((identity.name().parse().ok()?, record))
        };
        self.shared.config.admission.all().into_iter().filter_map(named).collect()
    }

    fn claim_identity(&self, name: &ClaimName) -> Result<Identity, Refused> {
        Identity::new(self.shared.config.vault.active().fleet().clone(), Role::Claim, name.to_string())
            .or_else(|error| refuse(RejectionCode::Invalid, error.to_string()))
    }
}

fn view(claim: ClaimName, record: &Certificate, now: Timestamp) -> ClaimView {
    let (state, reason) = match &record.state {
        CertificateState::Revoked { reason, .. } => (ClaimState::Revoked, Some(reason.clone())),
        _ if record.not_after.is_some_and(|end| end <= now) => (ClaimState::Expired, None),
        _ => (ClaimState::Live, None),
    };
    ClaimView {
        claim,
        certificate: record.id.clone(),
        state,
        issued_at: record.issued_at,
        not_after: record.not_after,
        reason,
    }
}
