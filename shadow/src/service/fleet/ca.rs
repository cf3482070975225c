//! The authority and its rotation; and which certificates end soon.
//!
//! The vault is the leading record of a rotation and is durable before anybody is told. Being told is a hint: every
//! connector asks whom to trust when it connects and now and then, so one that was off, or missed the hint, catches up.

use super::{FleetWorker, ROOM_BYTES, Refused, refuse};
use crate::records::{AuthorityMark, CertificateState, Connector, key};
use crate::service::ServiceError;
use muster_bus::{Deliveries, Message};
use muster_certs::VaultError;
use muster_wire::admin::{
    CaPhase, CaRoot, CaStatus, ExpiringCertificate, ExpiringList, LEFT_BEHIND_SHOWN_MAX, ListExpiring, RotateCa, ShowCa,
};
use muster_wire::id::{PersonName, ThingName};
use muster_wire::rejection::RejectionCode;
use muster_wire::time::Timestamp;
use muster_wire::topic::{CertificateTopic, Topic};
use muster_wire::view::LinkStatus;
use std::sync::Arc;
use tracing::{error, info};

/// Names in the text of a refusal.
const NAMED_MAX: usize = 10;

impl FleetWorker {
    pub(super) fn ca_status(&self, _show: &ShowCa) -> CaStatus {
        let vault = &self.shared.config.vault;
        let rotation = vault.rotation();
        let active = vault.active().id().unwrap_or_default();
        let roots = vault.roots().into_iter().map(|(fingerprint, not_after)| CaRoot {
            issues: fingerprint == active,
            not_after: Timestamp::from_seconds(not_after),
            fingerprint,
        });
        let counted = self.counted();
        let count = |is: &dyn Fn(&Connector) -> bool| counted.iter().filter(|connector| is(connector)).count() as u64;
        let behind = self.left_behind(vault.next_phase(), &counted);
        CaStatus {
            roots: roots.collect(),
            phase: rotation.as_ref().map(|rotation| rotation.phase),
            since: rotation.as_ref().map(|rotation| Timestamp::from_seconds(rotation.since)),
            connectors: counted.len() as u64,
            trusting: count(&|connector| self.trusts_newest(connector)),
            renewed: count(&|connector| self.has_newest(connector)),
            left_behind_total: behind.len() as u64,
            left_behind: behind.into_iter().take(LEFT_BEHIND_SHOWN_MAX).collect(),
        }
    }

    pub(super) fn rotate_ca(&self, rotate: &RotateCa, by: &PersonName) -> Result<CaStatus, Refused> {
        let vault = &self.shared.config.vault;
        let phase = rotate.phase.unwrap_or_else(|| vault.next_phase());
        if phase == vault.next_phase() && !rotate.force {
            let behind = self.left_behind(phase, &self.counted());
            if !behind.is_empty() {
                return refuse(RejectionCode::Conflict, would_leave_behind(phase, &behind));
            }
        }
        let rotation = match vault.enter(phase, self.shared.clock.now().epoch_seconds()) {
            Ok(rotation) => rotation,
            Err(error @ VaultError::Order { .. }) => return refuse(RejectionCode::Conflict, error.to_string()),
            Err(failed) => {
                error!(error = super::super::chain(&failed), "the rotation of the authority failed");
                let message = "the files of the authority could not be written; the server's log says why, and its next \
                               start finishes the phase or stays in the one before";
                return refuse(RejectionCode::Internal, message);
            }
        };
        info!(phase = %rotation.phase, %by, from = rotation.from, to = rotation.to, "the authority is being replaced");
        if let Err(error) = self.note_authority() {
            // The vault leads; the next start notes it.
            self.shared.report("note the authority", &error);
        }
        (self.shared.config.on_trust_change)();
        self.tell_everybody();
        Ok(self.ca_status(&ShowCa {}))
    }

    /// Notes where the vault is, so that the ledger knows it.
    pub(super) fn note_authority(&self) -> Result<(), ServiceError> {
        let vault = &self.shared.config.vault;
        let rotation = vault.rotation();
        let mark = AuthorityMark {
            issues: vault.active().id().unwrap_or_default(),
            phase: rotation.as_ref().map(|rotation| rotation.phase),
            since: rotation.map(|rotation| Timestamp::from_seconds(rotation.since)),
        };
        self.commit(|batch| match batch.get::<AuthorityMark>(&key::authority())? {
            Some(noted) if noted == mark => Ok(()),
            _ => batch.put(&key::authority(), &mark),
        })
    }

    /// Connectors that count in a rotation: enrolled and not removed. A disabled one may come back.
    fn counted(&self) -> Vec<Arc<Connector>> {
        let fleet = self.shared.fleet();
        let counted = fleet.connectors.values().filter(|connector| connector.enrolled.is_some());
        counted.filter(|connector| !connector.is_removed()).cloned().collect()
    }

    /// Who could not go on by itself after this phase began.
    fn left_behind(&self, phase: CaPhase, counted: &[Arc<Connector>]) -> Vec<ThingName> {
        let is_behind = |connector: &&Arc<Connector>| match phase {
            CaPhase::Announced | CaPhase::TrustBoth => false,
            // One that is off is served by the word of the old authority for the new one, and catches up.
            CaPhase::Switched => self.is_connected(connector) && !self.trusts_newest(connector),
            CaPhase::Retired => !self.trusts_newest(connector) || !self.has_newest(connector),
        };
        counted.iter().filter(is_behind).map(|connector| connector.name.clone()).collect()
    }

    fn is_connected(&self, connector: &Connector) -> bool {
        self.shared.views().get(&connector.name).is_some_and(|view| view.link == LinkStatus::Online)
    }

    fn trusts_newest(&self, connector: &Connector) -> bool {
        let newest = self.shared.config.vault.newest();
        connector.trusts.iter().any(|root| root.as_str() == newest)
    }

    /// The id of the authority that follows, while a rotation waits for this connector to trust it.
    pub(super) fn distrusted(&self, connector: &Connector) -> Option<String> {
        let vault = &self.shared.config.vault;
        let rotation = vault.rotation().filter(|rotation| rotation.phase != CaPhase::Retired)?;
        let counts = connector.enrolled.is_some() && !connector.is_removed();
        (counts && !self.trusts_newest(connector)).then_some(rotation.to)
    }

    fn has_newest(&self, connector: &Connector) -> bool {
        let Some(identity) = self.shared.thing_identity(&connector.name) else { return false };
        let known = self.shared.config.admission.of(&identity);
        let mut current = known.iter().filter(|known| known.state == CertificateState::Current);
        current.any(|known| self.is_by_newest(known.issuer.as_ref()))
    }

    fn tell_everybody(&self) {
        for connector in self.counted() {
            let topic = Topic::Certificate { thing: connector.name.clone(), verb: CertificateTopic::Notify };
            let message = Arc::new(Message::new(topic.to_string(), b"{}".to_vec()));
            self.shared.bus.deliver(&connector.name, &message);
        }
    }

    pub(super) fn expiring(&self, list: &ListExpiring) -> ExpiringList {
        let counted = self.counted();
        let mut certificates: Vec<ExpiringCertificate> = counted
            .iter()
            .filter_map(|connector| {
                let identity = self.shared.thing_identity(&connector.name)?;
                let known = self.shared.config.admission.of(&identity);
                let current = known.into_iter().rev().find(|known| known.state == CertificateState::Current)?;
                let not_after = current.not_after.filter(|end| *end < list.before)?;
                Some(ExpiringCertificate { name: connector.name.clone(), id: current.id.clone(), not_after })
            })
            .collect();
        certificates.sort_by(|one, other| (one.not_after, &one.name).cmp(&(other.not_after, &other.name)));
        let mut room = ROOM_BYTES;
        let fit = certificates.iter().take_while(|certificate| {
            let bytes = serde_json::to_vec(certificate).map_or(0, |bytes| bytes.len() + 1);
            let fits = bytes <= room;
            room = room.saturating_sub(bytes);
            fits
        });
        let fit = fit.count();
        let more = (certificates.len() - fit) as u64;
        certificates.truncate(fit);
        ExpiringList { certificates, more }
    }
}

fn would_leave_behind(phase: CaPhase, behind: &[ThingName]) -> String {
    let names: Vec<&str> = behind.iter().take(NAMED_MAX).map(ThingName::as_str).collect();
    let more = match behind.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let what = match phase {
        CaPhase::Retired => "do not trust the new authority yet, or have no certificate of it",
        _ => "are connected and do not trust the new authority yet",
    };
    format!(
        "{} of the connectors {what}: {}{more}; wait for them (`muster ca status`), remove them, or leave them behind with --force",
        behind.len(),
        names.join(", ")
    )
}
