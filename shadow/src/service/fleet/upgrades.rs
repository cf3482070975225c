//! Intents, and the actions that they cause.

use super::jobs::UPGRADE_PREFIX;
use super::{FleetWorker, ROOM_BYTES, Refused, refuse};
use crate::records::{Connector, StoredAction, Target, key};
use crate::service::reconcile::wanted;
use crate::service::{FleetState, ServiceError};
use crate::store::{Key, Kind, codec};
use muster_model::reconcile::Action;
use muster_model::select::{Facts, selects};
use muster_wire::admin::{ActionList, ListActions, Selector, Upgrade, UpgradeStarted};
use muster_wire::id::{ComponentName, JobId, PersonName, TargetId, ThingName, Version};
use muster_wire::limits::ACTIONS_LISTED_MAX;
use muster_wire::rejection::RejectionCode;
use muster_wire::view::ActionView;
use std::collections::BTreeMap;
use std::sync::Arc;
use tracing::info;

impl FleetState {
    /// The number of the next intent. After a restore there is a gap: see [`crate::records::Numbering`].
    fn next_target(&self) -> u64 {
        self.targets.last().map_or(1, |last| last.number + 1).max(self.targets_from)
    }

    /// Whether this version is published.
    ///
    /// Errors: `NotFound` that names the versions that are.
    pub(super) fn published(&self, component: &ComponentName, version: &Version) -> Result<(), Refused> {
        if self.component(component, version).is_some() {
            return Ok(());
        }
        let versions: Vec<&str> = self
            .components
            .values()
            .filter(|published| published.name == *component)
            .map(|published| published.version.as_str())
            .collect();
        let message = if versions.is_empty() {
            format!("no component is called {component}; `muster component list` shows all")
        } else {
            format!("{component} has no version {version}; published are {}", versions.join(", "))
        };
        refuse(RejectionCode::NotFound, message)
    }
}

impl FleetWorker {
    /// Stores the intent, then wakes the connectors that it means. Everything else follows from the record.
    pub(super) fn upgrade(&self, upgrade: Upgrade, by: &PersonName) -> Result<UpgradeStarted, Refused> {
        if let Err(error) = upgrade.to.check_lasting() {
            return refuse(RejectionCode::Invalid, error.to_string());
        }
        let fleet = self.shared.fleet();
        fleet.published(&upgrade.component, &upgrade.version)?;
        let selected: Vec<Arc<Connector>> = fleet
            .connectors
            .values()
            .filter(|connector| !connector.is_removed())
            .filter(|connector| selects(&upgrade.to, &Facts { now: None, ..Facts::from(&self.view_of(connector)) }))
            .cloned()
            .collect();
        drop(fleet);
        if selected.is_empty() {
            let message = format!("no connector matches {}; `muster connector list` shows all", upgrade.to);
            return refuse(RejectionCode::NotFound, message);
        }
        // For the others the intent waits until they are at work again.
        let working = selected.into_iter().filter(|connector| self.shared.works(connector));
        let matched: Vec<ThingName> = working.map(|connector| connector.name.clone()).collect();
        if matched.iter().map(|name| name.as_str().len() + 3).sum::<usize>() > ROOM_BYTES {
            let message = format!(
                "{} connectors are too many for one answer; upgrade pool by pool or site by site",
                matched.len()
            );
            return refuse(RejectionCode::TooLarge, message);
        }
        let id = self.intend(&upgrade, by)?;
        for thing in &matched {
            self.wake(thing);
        }
        Ok(UpgradeStarted { target: id, matched })
    }

    /// Stores an intent. Nobody is woken yet.
    fn intend(&self, upgrade: &Upgrade, by: &PersonName) -> Result<TargetId, ServiceError> {
        let number = self.shared.fleet().next_target();
        let target = Target {
            number,
            id: TargetId::new(format!("t{number}")).expect("letters and digits"),
            job: JobId::new(format!("{UPGRADE_PREFIX}{number}")).expect("letters and digits"),
            component: upgrade.component.clone(),
            version: upgrade.version.clone(),
            selector: upgrade.to.clone(),
            again: upgrade.again,
            by: by.clone(),
            at: self.shared.clock.now(),
        };
        self.commit(|batch| batch.put(&key::target(number), &target))?;
        info!(target = %target.id, component = %target.component, version = %target.version, to = %target.selector, %by, "upgrade");
        let id = target.id.clone();
        self.shared.fleet_mut().targets.push(Arc::new(target));
        Ok(id)
    }

    /// Stores the intents with which a connector was added, now that it is enrolled. After a crash in between, the start
    /// of the server does the rest; an intent that is there already is not stored again.
    pub(super) fn intend_wanted(&self, connector: &Connector) -> Result<(), ServiceError> {
        if connector.wanted.is_empty() {
            return Ok(());
        }
        let selector = Selector::name(&connector.name);
        let since = connector.enrolled.as_ref().map_or(connector.registered_at, |enrolled| enrolled.at);
        // On a host that was made anew it does not count that a version failed on the one before.
        let again = connector.incarnation > 1;
        for (component, version) in &connector.wanted {
            let is_there = self.shared.fleet().targets.iter().any(|target| {
                target.selector == selector
                    && target.component == *component
                    && target.version == *version
                    && target.at >= since
            });
            if !is_there {
                let (component, version) = (component.clone(), version.clone());
                let upgrade = Upgrade { component, version, to: selector.clone(), again };
                self.intend(&upgrade, &connector.registered_by)?;
            }
        }
        let settled = Connector { wanted: BTreeMap::new(), ..connector.clone() };
        self.commit(|batch| batch.put(&key::connector(&connector.name), &settled))?;
        self.know(settled);
        Ok(())
    }

    /// What the intents want of a connector.
    pub(super) fn wanted_of(&self, connector: &Connector) -> BTreeMap<ComponentName, Version> {
        let host = self.view_of(connector).host;
        let wanted = wanted(&self.shared.fleet(), connector, &host).into_iter();
        wanted.map(|(component, wanted)| (component, wanted.package.version)).collect()
    }

    pub(super) fn list_actions(&self, list: &ListActions) -> Result<ActionList, Refused> {
        let mut actions = match &list.thing {
            Some(thing) => self.actions_of(thing)?,
            None => self.actions_under(&Key::new(Kind::Action))?,
        };
        if let Some(target) = &list.target {
            actions.retain(|action| action.target == *target);
        }
        actions.sort_by_key(|action| std::cmp::Reverse((action.updated_at, action.created_at)));
        let mut room = ROOM_BYTES;
        let fits = actions.iter().take(ACTIONS_LISTED_MAX).take_while(|action| {
            let bytes = serde_json::to_vec(action).map_or(0, |bytes| bytes.len() + 1);
            let fits = bytes <= room;
            room = room.saturating_sub(bytes);
            fits
        });
        let count = fits.count();
        actions.truncate(count);
        Ok(ActionList { actions })
    }

    /// The actions of one connector, newest first.
    pub(super) fn actions_of(&self, thing: &ThingName) -> Result<Vec<ActionView>, Refused> {
        let mut actions = self.actions_under(&key::actions(thing))?;
        actions.reverse();
        Ok(actions)
    }

    fn actions_under(&self, prefix: &Key) -> Result<Vec<ActionView>, Refused> {
        let store = self.shared.store.as_ref();
        let entries = store.scan_all(prefix.as_bytes()).map_err(ServiceError::from)?;
        let mut actions = Vec::with_capacity(entries.len());
        for (found, stored) in entries {
            let action: Action =
                codec::decode::<StoredAction>(&found, &stored.value).map_err(ServiceError::from)?.into();
            let thing = Key::parse(&found).ok().and_then(|key| ThingName::new(key.parts.first()?).ok());
            actions.extend(thing.map(|thing| action.view(&thing)));
        }
        Ok(actions)
    }
}
