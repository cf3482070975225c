//! The registry: connectors are added, listed and shown.

use super::{FleetWorker, ROOM_BYTES, Refused, refuse};
use crate::records::{Connector, TokenRecord, key};
use crate::service::views::agent_outdated;
use muster_certs::token::Token;
use muster_model::select::{Facts, selects};
use muster_runtime::ids::random_bytes;
use muster_wire::admin::{AddConnector, AddedConnector, ConnectorList, ListConnectors, ShowConnector, ShownConnector};
use muster_wire::id::PersonName;
use muster_wire::limits::DESCRIPTION_BYTES_MAX;
use muster_wire::rejection::RejectionCode;
use muster_wire::view::{ConnectorView, LinkStatus, VIEW_VERSION, WorkStatus};
use std::ops::Bound;
use std::sync::Arc;
use tracing::info;

/// Actions that `connector show` lists.
const ACTIONS_SHOWN: usize = 20;
impl FleetWorker {
    pub(super) fn add_connector(&self, add: AddConnector, by: &PersonName) -> Result<AddedConnector, Refused> {
        let known = self.shared.fleet().connectors.get(&add.name).cloned();
        if add.description.as_ref().is_some_and(|text| text.len() > DESCRIPTION_BYTES_MAX) {
            let message = format!("the description is longer than {DESCRIPTION_BYTES_MAX} bytes");
            return refuse(RejectionCode::TooLarge, message);
        }
        let now = self.shared.clock.now();
        let connector = match (known, add.renew) {
            (None, true) => {
                return refuse(
                    RejectionCode::NotFound,
                    format!("no connector is called {}; add it without --renew", add.name),
                );
            }
            (Some(_), false) => {
                let message =
                    format!("a connector is called {} already; `--renew` makes a new script for it", add.name);
                return refuse(RejectionCode::Conflict, message);
            }
            (Some(known), true) => known.as_ref().clone(),
            (None, false) => Connector {
                pool: add.pool,
                site: add.site,
                description: add.description,
                ..Connector::new(add.name.clone(), by.clone(), now)
            },
        };
        let token = Token::from_random(random_bytes());
        let hash = token.hash().to_string();
        let old_hash = connector.token_hash.clone();
        let connector = Connector { token_hash: Some(hash.clone()), ..connector };
        let expires_at = now.plus(self.shared.config.token_life);
        let record = TokenRecord { connector: add.name.clone(), expires_at, used_at: None, issued_by: by.clone() };
        self.commit(|batch| {
            if let Some(old) = &old_hash {
                batch.delete(&key::token(old))?;
            }
            batch.put(&key::token(&hash), &record)?;
            batch.put(&key::connector(&add.name), &connector)
        })?;
        info!(connector = %add.name, %by, renewed = add.renew, "connector added");
        self.know(connector);
        self.wake(&add.name);
        let agent = self.shared.config.agent.clone();
        Ok(AddedConnector { name: add.name, token: token.reveal().to_owned(), expires_at, agent })
    }

    /// The record is durable: everybody who looks finds it from now on.
    pub(super) fn know(&self, connector: Connector) {
        self.shared.config.admission.connector(&connector);
        self.shared.fleet_mut().connectors.insert(connector.name.clone(), Arc::new(connector));
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

    pub(super) fn show_connector(&self, show: &ShowConnector) -> Result<ShownConnector, Refused> {
        let known = self.shared.fleet().connectors.get(&show.name).cloned();
        let Some(connector) = known else {
            let message = format!("no connector is called {}; `muster connector list` shows all", show.name);
            return refuse(RejectionCode::NotFound, message);
        };
        let mut actions = self.actions_of(&show.name)?;
        actions.truncate(ACTIONS_SHOWN);
        Ok(ShownConnector { connector: self.view_of(&connector), actions })
    }

    /// The view that the connector's worker made; a plain one until it has.
    pub(super) fn view_of(&self, connector: &Connector) -> ConnectorView {
        if let Some(view) = self.shared.views().get(&connector.name) {
            return view.clone();
        }
        let host = connector.enrolled.as_ref().map(|enrolled| enrolled.host.clone()).unwrap_or_default();
        ConnectorView {
            v: VIEW_VERSION,
            name: connector.name.clone(),
            pool: connector.pool.clone(),
            site: connector.site.clone(),
            description: connector.description.clone(),
            link: LinkStatus::Never,
            link_since: connector.registered_at,
            work: WorkStatus::Unknown,
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
