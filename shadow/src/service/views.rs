//! What dashboards and operators see of a connector.

use super::batch::Batch;
use super::{FleetState, ServiceError, Shared};
use crate::records::{Connector, Seen, Sighting, Work, key};
use muster_bus::{Caller, Message};
use muster_model::reconcile::{Action, View};
use muster_model::shadow::ShadowDoc;
use muster_wire::admin::AgentDownload;
use muster_wire::codec::Encoding;
use muster_wire::component::Health;
use muster_wire::enrol::HostFacts;
use muster_wire::id::{ComponentName, ThingName, Version};
use muster_wire::shadow::agent;
use muster_wire::time::Timestamp;
use muster_wire::topic::{Topic, ViewTopic};
use muster_wire::view::{ActionState, ComponentView, ConnectorView, Life, LinkStatus, VIEW_VERSION, WorkStatus};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// A connector's link, as its worker knows it.
#[derive(Clone, Debug, Default)]
pub(super) struct Link {
    /// Connections that are up, and who holds them.
    pub(super) sessions: BTreeMap<u64, Arc<Caller>>,
    /// When it last came and went.
    pub(super) seen: Seen,
    /// Where its identity runs.
    pub(super) sighting: Sighting,
    /// Connections that reported as an agent, with their client ids.
    pub(super) agents: BTreeMap<u64, Box<str>>,
}

impl Link {
    /// The status and since when; and when it changes by itself.
    fn status(
        &self,
        connector: &Connector,
        now: Timestamp,
        offline_after: Duration,
    ) -> (LinkStatus, Timestamp, Option<Timestamp>) {
        match (self.sessions.is_empty(), self.seen.up, self.seen.down) {
            (false, up, _) => (LinkStatus::Online, up.unwrap_or(now), None),
            (true, None, None) => (LinkStatus::Never, connector.registered_at, None),
            (true, up, down) => {
                let gone = down.max(up).unwrap_or(now);
                let offline_at = gone.plus(offline_after);
                if now >= offline_at {
                    (LinkStatus::Offline, offline_at, None)
                } else {
                    (LinkStatus::Stale, gone, Some(offline_at))
                }
            }
        }
    }
}

/// Builds the view of a connector, keeps it, and publishes it when it changed.
pub(super) fn refresh(
    shared: &Arc<Shared>,
    batch: &mut Batch<'_>,
    connector: &Connector,
    link: &Link,
    host: HostFacts,
    view: &View,
    why: &BTreeMap<ComponentName, String>,
) -> Result<(), ServiceError> {
    let (status, since, changes_at) = link.status(connector, batch.now, shared.config.offline_after);
    if let Some(at) = changes_at {
        shared.timers.set(at, &connector.name);
    }
    let agent_doc: Option<ShadowDoc> = batch.get(&key::shadow(&connector.name, Some(&agent())))?;
    let components = components(&shared.fleet(), view, why);
    let last_sync = agent_doc.as_ref().and_then(ShadowDoc::reported_at).max(view.synced_at);
    // Nothing is behind on a host that never came.
    let came = status != LinkStatus::Never || last_sync.is_some();
    let work = if came { work(&components) } else { WorkStatus::Unknown };
    let work_since = work_since(batch, connector, work)?;
    let fresh = ConnectorView {
        v: VIEW_VERSION,
        name: connector.name.clone(),
        pool: connector.pool.clone(),
        site: connector.site.clone(),
        description: connector.description.clone(),
        lifecycle: shared.lifecycle(connector),
        link: status,
        link_since: since,
        work,
        work_since,
        last_sync,
        registered_at: connector.registered_at,
        enrolled_at: connector.enrolled.as_ref().map(|enrolled| enrolled.at),
        agent_outdated: agent_outdated(shared.config.agent.as_ref(), &host),
        host,
        components,
        telemetry: None,
        clock_ahead_ms: None,
    };
    let shared = shared.clone();
    batch.then(move |committed| {
        if committed {
            publish(&shared, fresh);
        }
    });
    Ok(())
}

/// Since when its work is so. Stored when it changes, so that a restart of the server does not begin anew.
fn work_since(batch: &mut Batch<'_>, connector: &Connector, work: WorkStatus) -> Result<Timestamp, ServiceError> {
    let key = key::work(&connector.name);
    let known = batch.get::<Work>(&key)?;
    // At first there is nothing to do.
    let known = known.unwrap_or(Work { status: WorkStatus::Unknown, since: connector.registered_at });
    if known.status == work {
        return Ok(known.since);
    }
    let now = batch.now;
    batch.put(&key, &Work { status: work, since: now })?;
    Ok(now)
}

fn publish(shared: &Shared, mut fresh: ConnectorView) {
    let mut views = shared.views_mut();
    let measured = views.get(&fresh.name).map(|known| (known.telemetry.clone(), known.clock_ahead_ms));
    if views.get(&fresh.name).is_some_and(|known| same(known, &fresh)) {
        return;
    }
    let topic = Topic::View(ViewTopic::Connector(fresh.name.clone()));
    let message = Message::new(&topic, Encoding::Json.encode(&fresh));
    let is_removed = fresh.lifecycle.state == Life::Removed;
    let metrics = Topic::View(ViewTopic::Metrics(fresh.name.clone()));
    (fresh.telemetry, fresh.clock_ahead_ms) = measured.unwrap_or_default();
    views.insert(fresh.name.clone(), fresh);
    drop(views);
    use muster_bus::Deliveries;
    shared.bus.observe(message, !is_removed);
    if is_removed {
        // Readers that come later do not find it any more.
        for topic in [topic, metrics] {
            shared.bus.observe(Message::new(topic, ""), true);
        }
    }
}

fn same(known: &ConnectorView, fresh: &ConnectorView) -> bool {
    let bare = ConnectorView { telemetry: None, clock_ahead_ms: None, ..known.clone() };
    bare == *fresh
}

/// What a connector said of its host: its latest report, else what it said when it enrolled.
pub(super) fn host(batch: &mut Batch<'_>, connector: &Connector) -> Result<HostFacts, ServiceError> {
    let doc: Option<ShadowDoc> = batch.get(&key::shadow(&connector.name, Some(&agent())))?;
    let reported = doc.as_ref().and_then(ShadowDoc::reported).cloned().map(serde_json::Value::Object);
    let facts = reported.and_then(|value| serde_json::from_value(value).ok());
    Ok(facts.or_else(|| connector.enrolled.as_ref().map(|enrolled| enrolled.host.clone())).unwrap_or_default())
}

/// Whether the agent is another program than the offered one for its platform.
pub(super) fn agent_outdated(offered: Option<&AgentDownload>, host: &HostFacts) -> Option<bool> {
    let offered = offered.filter(|agent| agent.path.contains(&format!("-{}/", host.arch)))?;
    host.agent_sha256.as_ref().map(|own| *own != offered.sha256)
}

fn components(
    fleet: &FleetState,
    view: &View,
    why: &BTreeMap<ComponentName, String>,
) -> BTreeMap<ComponentName, ComponentView> {
    let names: BTreeSet<&ComponentName> = view.desired.keys().chain(view.reported.keys()).chain(why.keys()).collect();
    names
        .into_iter()
        .map(|name| {
            let report = view.reported.get(name);
            let wanted = view.wanted.get(name).map(|wanted| wanted.package.version.clone());
            let latest = wanted.or_else(|| fleet.newest(name).map(|newest| newest.version.clone()));
            let outdated = report.is_some_and(|report| latest.as_ref().is_some_and(|latest| *latest != report.version));
            let component = ComponentView {
                desired: view.desired.get(name).cloned(),
                reported: report.map(|report| report.version.clone()),
                confirmed: confirmed(&view.actions, name),
                latest,
                outdated,
                health: report.map(|report| report.health),
                port: report.and_then(|report| report.port),
                last_failed: report.and_then(|report| report.last_failed.clone()),
                why: why.get(name).cloned(),
            };
            (name.clone(), component)
        })
        .collect()
}

fn confirmed(actions: &[Action], component: &ComponentName) -> Option<Version> {
    let ends = actions.iter().filter(|action| action.component == *component && action.state == ActionState::Confirmed);
    ends.max_by_key(|action| action.intent).map(|action| action.to.clone())
}

fn work(components: &BTreeMap<ComponentName, ComponentView>) -> WorkStatus {
    let one = |component: &ComponentView| match component.health {
        Some(Health::Stopped | Health::Unhealthy) => WorkStatus::Failed,
        Some(Health::Healthy) if component.why.is_none() && component.desired == component.reported => {
            WorkStatus::Healthy
        }
        Some(Health::Healthy) if component.desired.is_none() => WorkStatus::Healthy,
        Some(Health::Starting | Health::Healthy) | None => WorkStatus::Degraded,
    };
    let rank = |status: &WorkStatus| match status {
        WorkStatus::Unknown => 0,
        WorkStatus::Healthy => 1,
        WorkStatus::Degraded => 2,
        WorkStatus::Failed => 3,
    };
    components.values().map(one).max_by_key(rank).unwrap_or_default()
}

/// A measurement came: kept in memory and published.
pub(super) fn telemetry(shared: &Shared, thing: &ThingName, telemetry: muster_wire::telemetry::HostTelemetry) {
    use muster_bus::Deliveries;
    let message = Message::new(Topic::View(ViewTopic::Metrics(thing.clone())), Encoding::Json.encode(&telemetry));
    let ahead_ms = telemetry.at.millis().saturating_sub(shared.clock.now().millis());
    if let Some(view) = shared.views_mut().get_mut(thing) {
        view.telemetry = Some(telemetry);
        view.clock_ahead_ms = Some(ahead_ms);
        shared.bus.observe(message, true);
    }
}
