//! Connectors that are not at work: disabled, removed, quarantined, or on their way off the host.
//!
//! The fleet's worker writes what an operator decides into the connector's record and wakes the thing; what follows of it
//! is done here, by the thing's worker, whenever it looks at the thing. So nothing is left half done by a crash: the
//! next look does the rest.

use super::batch::Batch;
use super::jobs;
use super::shadows::{self, Which};
use super::{ServiceError, Shared};
use crate::records::{Connector, Lifecycle, Sighting, Suspicion, key};
use muster_bus::Message;
use muster_model::job::Event;
use muster_model::reconcile::Action;
use muster_model::shadow::{ShadowDoc, UpdateRequest};
use muster_wire::codec::Encoding;
use muster_wire::id::{JobId, ThingName};
use muster_wire::shadow::components;
use muster_wire::topic::{Topic, ViewTopic};
use muster_wire::view::{ActionState, Life, LifecycleView};
use serde_json::json;
use std::sync::{Arc, PoisonError};
use tracing::warn;

/// Jobs that take an agent off its host are called so; operators' jobs are not.
pub(super) const UNINSTALL_PREFIX: &str = "uninstall-";

/// Where a connector is in its life. `has_certificate` says whether any certificate of it opens the door.
pub(super) fn view(connector: &Connector, suspicion: Option<&Suspicion>, has_certificate: bool) -> LifecycleView {
    match (&connector.lifecycle, suspicion) {
        (Lifecycle::Removed { at, by }, _) => {
            LifecycleView { state: Life::Removed, since: Some(*at), by: Some(by.clone()), why: None }
        }
        (Lifecycle::Disabled { at, by, reason }, _) => {
            LifecycleView { state: Life::Disabled, since: Some(*at), by: Some(by.clone()), why: reason.clone() }
        }
        (Lifecycle::Active, Some(Suspicion { since, why })) => {
            let next = if has_certificate {
                format!("`muster connector resolve {}` ends it", connector.name)
            } else {
                format!(
                    "its certificates are revoked; `muster connector add {} --reinstall` makes the script for the one \
                     place that goes on",
                    connector.name
                )
            };
            let why = Some(format!("{why}; {next}"));
            LifecycleView { state: Life::Quarantined, since: Some(*since), by: None, why }
        }
        (Lifecycle::Active, None) => LifecycleView::default(),
    }
}

impl Shared {
    /// Where a connector is in its life.
    pub(super) fn lifecycle(&self, connector: &Connector) -> LifecycleView {
        let suspicion = self.quarantine.read().unwrap_or_else(PoisonError::into_inner).get(&connector.name).cloned();
        let known = self.thing_identity(&connector.name).map(|identity| self.config.admission.of(&identity));
        let has_certificate = known.unwrap_or_default().iter().any(|known| known.state.is_good());
        view(connector, suspicion.as_ref(), has_certificate)
    }

    /// Whether nothing may be offered to this thing at present. Things that are not registered get what is theirs.
    pub(super) fn gets_no_work(&self, thing: &ThingName) -> bool {
        let known = self.fleet().connectors.get(thing).cloned();
        known.is_some_and(|connector| !self.works(&connector))
    }

    /// Whether this connector is at work.
    pub(super) fn works(&self, connector: &Connector) -> bool {
        let quarantine = self.quarantine.read().unwrap_or_else(PoisonError::into_inner);
        connector.is_managed() && !quarantine.contains_key(&connector.name)
    }

    /// Notes whether a connector's identity runs in two places.
    pub(super) fn suspect(&self, thing: &ThingName, suspicion: Option<Suspicion>) {
        let mut quarantine = self.quarantine.write().unwrap_or_else(PoisonError::into_inner);
        match suspicion {
            Some(suspicion) => drop(quarantine.insert(thing.clone(), suspicion)),
            None => drop(quarantine.remove(thing)),
        }
    }
}

/// Why a connector gets no work; `None` when it does.
pub(super) fn closed(connector: &Connector, sighting: &Sighting) -> Option<String> {
    let name = &connector.name;
    let current = sighting.incarnation == connector.incarnation;
    match (&connector.lifecycle, &sighting.suspicion) {
        (Lifecycle::Removed { .. }, _) => Some(format!("{name} was removed from the fleet")),
        (Lifecycle::Disabled { .. }, _) => Some(format!("{name} is disabled; an operator can enable it")),
        (Lifecycle::Active, Some(suspicion)) if current => {
            Some(format!("{name} is quarantined and gets no jobs: {}; an operator has to resolve it", suspicion.why))
        }
        (Lifecycle::Active, _) => None,
    }
}

/// A removed connector has no work left: what it had is called off. Its history stays.
pub(super) fn put_away(shared: &Shared, batch: &mut Batch<'_>, connector: &Connector) -> Result<(), ServiceError> {
    let thing = &connector.name;
    for job in open_jobs(shared, batch, thing)? {
        jobs::event(shared, batch, thing, &job, &Event::Remove)?;
    }
    let open: Vec<Action> = batch.scan(&key::actions(thing))?;
    for action in open.into_iter().filter(|action| !action.state.is_end()) {
        let reason = Some("the connector was removed".to_owned());
        let ended = Action { state: ActionState::Failed, step: None, reason, updated_at: batch.now, ..action };
        batch.put(&key::action(thing, ended.intent), &ended)?;
        let payload = Encoding::Json.encode(&ended.view(thing));
        batch.observe(Message::new(Topic::View(ViewTopic::Actions), payload), false);
    }
    Ok(())
}

/// Makes the execution that tells the agent to take itself off the host, and calls off those that nobody wants any more.
pub(super) fn uninstall(shared: &Shared, batch: &mut Batch<'_>, connector: &Connector) -> Result<(), ServiceError> {
    let thing = &connector.name;
    let wanted = connector.uninstall.as_ref().map(|uninstall| &uninstall.job);
    for job in open_jobs(shared, batch, thing)? {
        if job.as_str().starts_with(UNINSTALL_PREFIX) && Some(&job) != wanted {
            jobs::event(shared, batch, thing, &job, &Event::Cancel { force: false })?;
        }
    }
    if let Some(job) = wanted {
        jobs::assign(shared, batch, thing, job)?;
    }
    Ok(())
}

fn open_jobs(shared: &Shared, batch: &mut Batch<'_>, thing: &ThingName) -> Result<Vec<JobId>, ServiceError> {
    let executions = jobs::queued::executions(shared, batch, thing)?;
    Ok(executions.into_iter().filter(|known| !known.status().is_terminal()).map(|known| known.job_id).collect())
}

/// What an earlier installation reported of its components says nothing of the one that enrolled now. Its agent reports
/// all it has on every connection.
pub(super) fn forget_reports(
    shared: &Arc<Shared>,
    batch: &mut Batch<'_>,
    thing: &ThingName,
) -> Result<(), ServiceError> {
    let shadow = components();
    let doc: Option<ShadowDoc> = batch.get(&key::shadow(thing, Some(&shadow)))?;
    if doc.as_ref().and_then(ShadowDoc::reported).is_none() {
        return Ok(());
    }
    let outcome = match UpdateRequest::from_value(json!({ "state": { "reported": null } })) {
        Ok(update) => {
            let which = Which { thing, shadow: Some(&shadow) };
            shadows::apply(batch, shared.bus.as_ref(), which, &update, Encoding::Json)?
        }
        Err((error, _)) => Err(error),
    };
    if let Err(error) = outcome {
        warn!(%thing, %error, "the reports of an earlier installation stay");
    }
    Ok(())
}
