//! Moving a connector between pools and sites, and describing it.
//!
//! The connector's record is the leading one. What its new pool wants follows from it, but for one case: an intent that
//! this connector had served already, before another one moved it on. That intent is stated once more for this connector
//! alone. A crash between the two records leaves a connector that has moved and says why it is not where its pool is;
//! the same command again states the intent.

use super::{FleetWorker, Refused, check_text};
use crate::records::{Connector, Target, key};
use crate::service::ServiceError;
use crate::service::batch::Batch;
use crate::service::reconcile::wanted;
use muster_model::reconcile::{Action, Wanted};
use muster_wire::admin::{Edit, EditConnector, EditedConnector, Intent, Selector};
use muster_wire::id::{ComponentName, JobId, PersonName, TargetId};
use muster_wire::view::ActionState;
use std::collections::BTreeMap;
use std::sync::Arc;
use tracing::info;

impl FleetWorker {
    pub(super) fn edit_connector(&self, edit: EditConnector, by: &PersonName) -> Result<EditedConnector, Refused> {
        let known = self.in_fleet(&edit.name)?;
        if let Edit::Set(description) = &edit.description {
            check_text("description", Some(description))?;
        }
        let connector = Connector {
            pool: edit.pool.apply(known.pool.clone()),
            site: edit.site.apply(known.site.clone()),
            description: edit.description.apply(known.description.clone()),
            ..known.as_ref().clone()
        };
        let host = self.view_of(&known).host;
        let (before, after) = {
            let fleet = self.shared.fleet();
            (wanted(&fleet, &known, &host), wanted(&fleet, &connector, &host))
        };
        if connector != *known {
            self.commit(|batch| batch.put(&key::connector(&edit.name), &connector))?;
            info!(connector = %edit.name, %by, pool = ?connector.pool, site = ?connector.site, "connector edited");
            self.know(connector.clone());
        }
        for wanted in after.values() {
            if self.was_served_before(&connector, wanted)? {
                self.state_again(&connector, wanted, by)?;
            }
        }
        self.wake(&edit.name);
        let mut view = self.view_of(&connector);
        // The connector's worker makes the view anew in a moment; what the operator said is true now.
        (view.pool, view.site, view.description) = (connector.pool, connector.site, connector.description);
        Ok(EditedConnector {
            connector: view,
            wanted_now: difference(&after, &before),
            wanted_no_more: difference(&before, &after),
        })
    }

    /// Whether the connector has ended this intent well, and another one has moved the component on since.
    fn was_served_before(&self, connector: &Connector, wanted: &Wanted) -> Result<bool, ServiceError> {
        let mut batch = Batch::new(self.shared.store.as_ref(), self.shared.clock.now());
        let mut actions: Vec<Action> = batch.scan(&key::actions(&connector.name))?;
        actions.retain(|action| action.component == wanted.package.name);
        let served = actions.iter().find(|action| action.intent == wanted.intent);
        let ended = served.filter(|action| matches!(action.state, ActionState::Confirmed | ActionState::Superseded));
        let moved =
            |ended: &Action| actions.iter().any(|other| other.created_at > ended.created_at && other.to != ended.to);
        Ok(ended.is_some_and(moved))
    }

    fn state_again(&self, connector: &Connector, wanted: &Wanted, by: &PersonName) -> Result<(), ServiceError> {
        let number = self.shared.fleet().targets.last().map_or(1, |last| last.number + 1);
        let target = Target {
            number,
            id: TargetId::new(format!("t{number}")).expect("letters and digits"),
            job: JobId::new(format!("upgrade-{number}")).expect("letters and digits"),
            component: wanted.package.name.clone(),
            version: wanted.package.version.clone(),
            selector: Selector::name(&connector.name),
            again: false,
            by: by.clone(),
            at: self.shared.clock.now(),
        };
        self.commit(|batch| batch.put(&key::target(number), &target))?;
        info!(target = %target.id, component = %target.component, version = %target.version, connector = %connector.name,
              "intent stated again");
        self.shared.fleet_mut().targets.push(Arc::new(target));
        Ok(())
    }
}

/// What is wanted in `one` and not, or in another version, in `other`.
fn difference(one: &BTreeMap<ComponentName, Wanted>, other: &BTreeMap<ComponentName, Wanted>) -> Vec<Intent> {
    let version = |wanted: &Wanted| wanted.package.version.clone();
    one.iter()
        .filter(|(name, wanted)| other.get(*name).map(version) != Some(version(wanted)))
        .map(|(name, wanted)| Intent {
            component: name.clone(),
            version: version(wanted),
            target: wanted.target.clone(),
        })
        .collect()
}
