//! Everything about one connector: where it is, why it is not where it should be, and what to do next.

use super::{FleetWorker, Refused, certificates, refuse};
use crate::records::{Connector, Seen, key};
use crate::service::batch::Batch;
use crate::service::jobs::queued::executions;
use crate::service::{ServiceError, Shared};
use muster_model::diagnose::{diagnose, distrusts, explain};
use muster_model::job::{Execution, State};
use muster_wire::admin::{CertificateStatus, CertificateView, OpenJob, ShowConnector, ShownConnector};
use muster_wire::component::DETAIL_STEP;
use muster_wire::id::ThingName;
use muster_wire::rejection::RejectionCode;
use std::sync::Arc;

/// Actions that `connector show` lists.
const ACTIONS_SHOWN: usize = 20;
/// Certificates that it lists.
const CERTIFICATES_SHOWN: usize = 10;
/// Open jobs that it lists.
const JOBS_SHOWN: usize = 20;

impl FleetWorker {
    pub(super) fn show_connector(&self, show: &ShowConnector) -> Result<ShownConnector, Refused> {
        let known = self.known(&show.name)?;
        let connector = self.view_of(&known);
        let mut actions = self.actions_of(&show.name)?;
        actions.truncate(ACTIONS_SHOWN);
        let certificates = self.certificates_of(&show.name);
        let in_use = certificates.iter().find(|one| one.status == CertificateStatus::Current);
        let recovery = self.waiting(&show.name)?;
        let in_use = in_use.or(certificates.first());
        let findings = diagnose(&connector, in_use, recovery.as_ref(), self.shared.clock.now());
        let mut findings = explain(&connector, self.token_of(&known)?.as_ref(), &certificates, findings);
        if let Some(newest) = self.distrusted(&known) {
            findings.push(distrusts(&connector, &newest));
        }
        let mut batch = Batch::new(self.shared.store.as_ref(), self.shared.clock.now());
        let seen: Option<Seen> = batch.get(&key::seen(&show.name))?;
        let mut link_history = seen.map(|seen| seen.history).unwrap_or_default();
        link_history.reverse();
        let jobs = open_jobs(&self.shared, &mut batch, &show.name)?;
        let policies = self.policies_of(&show.name).into_iter().collect();
        let (provisioned_by, attributes) = (known.provisioned_by.clone(), known.attributes.clone());
        Ok(ShownConnector {
            connector,
            actions,
            findings,
            certificates,
            policies,
            jobs,
            link_history,
            provisioned_by,
            attributes,
        })
    }

    /// A registered connector.
    pub(super) fn known(&self, name: &ThingName) -> Result<Arc<Connector>, Refused> {
        match self.shared.fleet().connectors.get(name).cloned() {
            Some(connector) => Ok(connector),
            None => refuse(
                RejectionCode::NotFound,
                format!("no connector is called {name}; `muster connector list` shows all"),
            ),
        }
    }

    fn certificates_of(&self, name: &ThingName) -> Vec<CertificateView> {
        let identity = self.shared.thing_identity(name);
        let all = identity.map(|identity| self.shared.config.admission.of(&identity)).unwrap_or_default();
        all.iter().rev().take(CERTIFICATES_SHOWN).map(|certificate| certificates::view(certificate)).collect()
    }
}

fn open_jobs(shared: &Shared, batch: &mut Batch<'_>, thing: &ThingName) -> Result<Vec<OpenJob>, ServiceError> {
    let mut open = executions(shared, batch, thing)?;
    open.retain(|execution| !matches!(execution.state, State::Finished { .. }));
    open.sort_by_key(|execution| execution.queued_at);
    let job = |execution: Execution| OpenJob {
        status: execution.status(),
        step: execution.status_details.get(DETAIL_STEP).cloned(),
        queued_at: execution.queued_at,
        updated_at: execution.last_updated_at,
        job: execution.job_id,
    };
    Ok(open.into_iter().take(JOBS_SHOWN).map(job).collect())
}
