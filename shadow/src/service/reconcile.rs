//! The reconciler's shell: reads everything about one connector anew, lets the model plan, carries the steps out.

use super::batch::Batch;
use super::shadows::{self, Which};
use super::views::{self, Link};
use super::{FleetState, ServiceError, Shared, jobs, lives};
use crate::records::{Connector, key};
use muster_bus::Message;
use muster_model::diagnose::NO_ROOM;
use muster_model::job::{Event, Execution, Outcome, State};
use muster_model::reconcile::{Action, ExecutionFacts, Step, View, Wanted, plan};
use muster_model::select::{Facts, selects};
use muster_model::shadow::{ShadowDoc, UpdateRequest};
use muster_wire::codec::Encoding;
use muster_wire::component::{
    ComponentReport, DETAIL_OUTCOME, DETAIL_REASON, DETAIL_STEP, DesiredComponent, FailureOutcome,
};
use muster_wire::enrol::HostFacts;
use muster_wire::id::{ComponentName, ThingName};
use muster_wire::limits::ACTIONS_KEPT_PER_THING;
use muster_wire::shadow::components;
use muster_wire::topic::{Topic, ViewTopic};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use tracing::{debug, info, warn};

/// Looks at one connector: plans, does what the plan says, refreshes the view. For one that gets no work nothing is
/// planned; its intents wait.
pub(super) fn look(
    shared: &Arc<Shared>,
    batch: &mut Batch<'_>,
    connector: &Connector,
    link: &Link,
) -> Result<(), ServiceError> {
    jobs::look(shared, batch, &connector.name)?;
    let host = views::host(batch, connector)?;
    if connector.is_removed() {
        lives::put_away(shared, batch, connector)?;
    } else if lives::closed(connector, &link.sighting).is_none() {
        lives::uninstall(shared, batch, connector)?;
    }
    let mut view = read(shared, batch, connector, &host)?;
    if is_outdated(shared, connector) {
        return Ok(());
    }
    if connector.uninstall.is_some() || lives::closed(connector, &link.sighting).is_some() {
        return views::refresh(shared, batch, connector, link, host, &view, &BTreeMap::new());
    }
    let mut plan = plan(&view, batch.now);
    for step in &plan.steps {
        plan.why.extend(carry_out(shared, batch, connector, step)?);
    }
    if let Some(at) = plan.look_again {
        shared.timers.set(at, &connector.name);
    }
    if !plan.steps.is_empty() {
        view = read(shared, batch, connector, &host)?;
        prune(batch, &connector.name, &view.actions)?;
    }
    views::refresh(shared, batch, connector, link, host, &view, &plan.why)
}

/// Whether the host enrolled anew since `connector` was read. The fleet's worker writes the new incarnation before its
/// intents, so the intents that were read may be those of a host whose predecessor's reports are not forgotten yet: they
/// would be taken for done. Whoever enrolled it wakes this worker once all is written.
fn is_outdated(shared: &Shared, connector: &Connector) -> bool {
    let fleet = shared.fleet();
    fleet.connectors.get(&connector.name).is_some_and(|now| now.incarnation != connector.incarnation)
}

/// What a selector of an intent can ask of a connector.
pub(super) fn lasting<'a>(connector: &'a Connector, host: &'a HostFacts) -> Facts<'a> {
    Facts {
        name: &connector.name,
        pool: connector.pool.as_ref(),
        site: connector.site.as_ref(),
        os: &host.os,
        labels: &host.labels,
        now: None,
    }
}

fn read(shared: &Shared, batch: &mut Batch<'_>, connector: &Connector, host: &HostFacts) -> Result<View, ServiceError> {
    let doc: Option<ShadowDoc> = batch.get(&key::shadow(&connector.name, Some(&components())))?;
    let actions: Vec<Action> = batch.scan(&key::actions(&connector.name))?;
    let executions = jobs::queued::executions(shared, batch, &connector.name)?;
    let desired: BTreeMap<ComponentName, DesiredComponent> =
        section(&connector.name, "desired", doc.as_ref().and_then(ShadowDoc::desired));
    let reported: BTreeMap<ComponentName, ComponentReport> =
        section(&connector.name, "reported", doc.as_ref().and_then(ShadowDoc::reported));
    Ok(View {
        wanted: wanted(&shared.fleet(), connector, host),
        desired: desired.into_iter().map(|(name, desired)| (name, desired.version)).collect(),
        reported,
        actions,
        executions: executions.iter().map(|execution| (execution.job_id.clone(), facts(execution))).collect(),
        synced_at: doc.as_ref().and_then(ShadowDoc::reported_at),
    })
}

/// The newest intent for each component that selects this connector.
pub(super) fn wanted(fleet: &FleetState, connector: &Connector, host: &HostFacts) -> BTreeMap<ComponentName, Wanted> {
    let mut newest = BTreeMap::new();
    for target in fleet.targets.iter().rev() {
        if newest.contains_key(&target.component) || !selects(&target.selector, &lasting(connector, host)) {
            continue;
        }
        // A target is made only for a published version, and versions are never withdrawn.
        let Some(package) = fleet.component(&target.component, &target.version) else { continue };
        let wanted = Wanted {
            intent: target.number,
            target: target.id.clone(),
            job: target.job.clone(),
            package: package.as_ref().clone(),
            again: target.again,
            by: target.by.clone(),
        };
        newest.insert(target.component.clone(), wanted);
    }
    newest
}

/// Reads a section of the shadow `components`. An entry that is not of the wanted shape is left out: one strange report
/// must not hide the others. It is a device's fault, so it is logged for those who look for it only.
fn section<T: serde::de::DeserializeOwned>(
    thing: &ThingName,
    name: &'static str,
    section: Option<&Map<String, Value>>,
) -> BTreeMap<ComponentName, T> {
    let mut read = BTreeMap::new();
    let mut strange = Vec::new();
    for (component, value) in section.into_iter().flatten() {
        match (ComponentName::new(component), serde_json::from_value(value.clone())) {
            (Ok(component), Ok(value)) => {
                read.insert(component, value);
            }
            (Err(error), _) => strange.push(error.to_string()),
            (Ok(component), Err(error)) => strange.push(format!("{component}: {error}")),
        }
    }
    if let Some(first) = strange.first() {
        debug!(%thing, section = name, entries = strange.len(), first, "entries of the shadow components are not usable");
    }
    read
}

fn facts(execution: &Execution) -> ExecutionFacts {
    let detail = |name: &str| execution.status_details.get(name).cloned();
    let timed_out = matches!(execution.state, State::Finished { outcome: Outcome::TimedOut, .. });
    ExecutionFacts {
        status: execution.status(),
        step: detail(DETAIL_STEP),
        reason: detail(DETAIL_REASON).or_else(|| {
            let step = detail(DETAIL_STEP).filter(|_| timed_out)?;
            Some(format!("its last step was {step}"))
        }),
        outcome: detail(DETAIL_OUTCOME).as_deref().and_then(FailureOutcome::from_text),
    }
}

/// Carries a step out. Returns the component that it was about, with the reason, when it could not.
fn carry_out(
    shared: &Arc<Shared>,
    batch: &mut Batch<'_>,
    connector: &Connector,
    step: &Step,
) -> Result<Option<(ComponentName, String)>, ServiceError> {
    let thing = &connector.name;
    match step {
        Step::SetDesired { component, version } => {
            let desired = json!({ "state": { "desired": { component.as_str(): DesiredComponent { version: version.clone() } } } });
            let shadow = components();
            let which = Which { thing, shadow: Some(&shadow) };
            let outcome = match UpdateRequest::from_value(desired) {
                Ok(update) => shadows::apply(batch, shared.bus.as_ref(), which, &update, Encoding::Json)?,
                Err((error, _)) => Err(error),
            };
            if let Err(error) = outcome {
                warn!(%thing, %component, %error, "the wanted version does not fit into the shadow components");
                return Ok(Some((component.clone(), format!("{NO_ROOM}: {error}"))));
            }
        }
        Step::CancelExecution { job } => {
            jobs::event(shared, batch, thing, job, &Event::Cancel { force: false })?;
        }
        Step::MakeExecution { job } => {
            jobs::assign(shared, batch, thing, job)?;
        }
        Step::Keep(action) => {
            info!(%thing, component = %action.component, to = %action.to, state = action.state.as_str(),
                  reason = action.reason.as_deref(), "upgrade");
            batch.put(&key::action(thing, action.intent), action)?;
            let payload = Encoding::Json.encode(&action.view(thing));
            batch.observe(Message::new(Topic::View(ViewTopic::Actions), payload), false);
        }
    }
    Ok(None)
}

fn prune(batch: &mut Batch<'_>, thing: &ThingName, actions: &[Action]) -> Result<(), ServiceError> {
    let mut ended: Vec<&Action> = actions.iter().filter(|action| action.state.is_end()).collect();
    ended.sort_by_key(|action| std::cmp::Reverse(action.intent));
    for action in ended.into_iter().skip(ACTIONS_KEPT_PER_THING) {
        batch.delete(&key::action(thing, action.intent))?;
    }
    Ok(())
}
