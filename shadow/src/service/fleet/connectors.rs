//! The registry: connectors are listed and shown.

use super::{FleetWorker, ROOM_BYTES};
use crate::records::Connector;
use crate::service::views::agent_outdated;
use muster_model::select::{Facts, selects};
use muster_wire::admin::{ConnectorList, ListConnectors};
use muster_wire::view::{ConnectorView, LinkStatus, VIEW_VERSION, WorkStatus};
use std::ops::Bound;
use std::sync::Arc;

impl FleetWorker {
    /// The record is durable: everybody who looks finds it from now on.
    pub(super) fn know(&self, connector: Connector) {
        self.shared.config.admission.connector(&connector);
        let name = connector.name.clone();
        let before = self.shared.fleet_mut().connectors.insert(name.clone(), Arc::new(connector));
        self.place_is_known(&name, before.as_deref());
    }

    /// One page: as many connectors as surely fit one answer.
    pub(super) fn list_connectors(&self, list: &ListConnectors) -> ConnectorList {
        let fleet = self.shared.fleet();
        let from = list.after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut page = ConnectorList { connectors: Vec::new(), next: None };
        let mut room = ROOM_BYTES;
        for connector in
            fleet.connectors.range::<muster_wire::id::ThingName, _>((from, Bound::Unbounded)).map(|(_, c)| c)
        {
            let view = self.view_of(connector);
            if connector.is_removed() != list.removed {
                continue;
            }
            if !list.selector.as_ref().is_none_or(|selector| selects(selector, &Facts::from(&view))) {
                continue;
            }
            let bytes = serde_json::to_vec(&view).map_or(0, |bytes| bytes.len() + 1);
            if bytes > room {
                page.next = page.connectors.last().map(|last: &ConnectorView| last.name.clone());
                break;
            }
            room -= bytes;
            page.connectors.push(view);
        }
        page
    }

    /// The view that the connector's worker made; a plain one until it has.
    pub(super) fn view_of(&self, connector: &Connector) -> ConnectorView {
        if let Some(view) = self.shared.views().get(&connector.name) {
            // The record may be newer than the view.
            let enrolled_at = connector.enrolled.as_ref().map(|enrolled| enrolled.at);
            return ConnectorView { lifecycle: self.shared.lifecycle(connector), enrolled_at, ..view.clone() };
        }
        let host = connector.enrolled.as_ref().map(|enrolled| enrolled.host.clone()).unwrap_or_default();
        ConnectorView {
            v: VIEW_VERSION,
            name: connector.name.clone(),
            pool: connector.pool.clone(),
            site: connector.site.clone(),
            description: connector.description.clone(),
            lifecycle: self.shared.lifecycle(connector),
            link: LinkStatus::Never,
            link_since: connector.registered_at,
            work: WorkStatus::Unknown,
            work_since: connector.registered_at,
            last_sync: None,
            registered_at: connector.registered_at,
            enrolled_at: connector.enrolled.as_ref().map(|enrolled| enrolled.at),
            agent_outdated: agent_outdated(self.shared.config.agent.as_ref(), &host),
            host,
            components: std::collections::BTreeMap::new(),
            telemetry: None,
            clock_ahead_ms: None,
        }
    }
}
