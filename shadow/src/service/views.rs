//! What dashboards and operators see of a connector.

use super::batch::Batch;
use super::{ServiceError, Shared};
use crate::records::{Connector, Seen, key};
use muster_bus::Message;
use muster_model::reconcile::{Action, View};
use muster_model::shadow::ShadowDoc;
use muster_wire::codec::Encoding;
use muster_wire::component::Health;
use muster_wire::enrol::HostFacts;
use muster_wire::id::{ComponentName, ThingName, Version};
use muster_wire::limits::OFFLINE_AFTER;
use muster_wire::shadow::agent;
use muster_wire::time::Timestamp;
use muster_wire::topic::{Topic, ViewTopic};
use muster_wire::view::{ActionState, ComponentView, ConnectorView, LinkStatus, VIEW_VERSION, WorkStatus};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A connector's link, as its worker knows it.
#[derive(Clone, Debug, Default)]
pub(super) struct Link {
    /// Connections that are up.
    pub(super) sessions: BTreeSet<u64>,
    /// When it last came and went.
    pub(super) seen: Seen,
}

impl Link {
    /// The status and since when; and when it changes by itself.
    fn status(&self, connector: &Connector, now: Timestamp) -> (LinkStatus, Timestamp, Option<Timestamp>) {
        match (self.sessions.is_empty(), self.seen.up, self.seen.down) {
            (false, up, _) => (LinkStatus::Online, up.unwrap_or(now), None),
            (true, None, None) => (LinkStatus::Never, connector.registered_at, None),
            (true, up, down) => {
                // After a restart of the server nobody saw it go: count from when it came.
                let gone = down.max(up).unwrap_or(now);
                let offline_at = gone.plus(OFFLINE_AFTER);
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
    view: &View,
    why: &BTreeMap<ComponentName, String>,
) -> Result<(), ServiceError> {
    let (status, since, changes_at) = link.status(connector, batch.now);
    if let Some(at) = changes_at {
        shared.timers.set(at, &connector.name);
    }
    let agent_doc: Option<ShadowDoc> = batch.get(&key::shadow(&connector.name, Some(&agent())))?;
    let components = components(view, why);
    let fresh = ConnectorView {
        v: VIEW_VERSION,
        name: connector.name.clone(),
        pool: connector.pool.clone(),
        site: connector.site.clone(),
        description: connector.description.clone(),
        link: status,
        link_since: since,
        work: work(&components),
        last_sync: agent_doc.as_ref().map(ShadowDoc::updated_at).max(view.synced_at),
        registered_at: connector.registered_at,
        enrolled_at: connector.enrolled.as_ref().map(|enrolled| enrolled.at),
        host: host(connector, agent_doc.as_ref()),
        components,
        telemetry: None,
    };
    let shared = shared.clone();
    batch.then(move |committed| {
        if committed {
            publish(&shared, fresh);
        }
    });
    Ok(())
}

fn publish(shared: &Shared, mut fresh: ConnectorView) {
    let mut views = shared.views_mut();
    let telemetry = views.get(&fresh.name).and_then(|known| known.telemetry.clone());
    if views.get(&fresh.name).is_some_and(|known| same(known, &fresh)) {
        return;
    }
    let message = Message::new(Topic::View(ViewTopic::Connector(fresh.name.clone())), Encoding::Json.encode(&fresh));
    fresh.telemetry = telemetry;
    views.insert(fresh.name.clone(), fresh);
    drop(views);
    use muster_bus::Deliveries;
    shared.bus.observe(message, true);
}

fn same(known: &ConnectorView, fresh: &ConnectorView) -> bool {
    let bare = ConnectorView { telemetry: None, ..known.clone() };
    bare == *fresh
}

fn host(connector: &Connector, agent: Option<&ShadowDoc>) -> HostFacts {
    let reported = agent.and_then(ShadowDoc::reported).cloned().map(serde_json::Value::Object);
    let facts = reported.and_then(|value| serde_json::from_value(value).ok());
    facts.or_else(|| connector.enrolled.as_ref().map(|enrolled| enrolled.host.clone())).unwrap_or_default()
}

fn components(view: &View, why: &BTreeMap<ComponentName, String>) -> BTreeMap<ComponentName, ComponentView> {
    let names: BTreeSet<&ComponentName> = view.desired.keys().chain(view.reported.keys()).chain(why.keys()).collect();
    names
        .into_iter()
        .map(|name| {
            let report = view.reported.get(name);
            let component = ComponentView {
                desired: view.desired.get(name).cloned(),
                reported: report.map(|report| report.version.clone()),
                confirmed: confirmed(&view.actions, name),
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
    if let Some(view) = shared.views_mut().get_mut(thing) {
        view.telemetry = Some(telemetry);
        shared.bus.observe(message, true);
    }
}
