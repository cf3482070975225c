//! Policies by name: added, shown, deleted, given to connectors and taken away.
//!
//! A record is durable before the door's table changes, and the table changes before standing connections are looked at
//! again; when the operator hears of it, it is in force. The records of many connectors are one commit.

use super::{FleetWorker, ROOM_BYTES, Refused, refuse};
use crate::records::{Attachment, Connector, PolicyRecord, key};
use crate::service::{FleetState, ServiceError, Shared};
use muster_bus::{Deliveries, Whose};
use muster_wire::admin::{
    AddPolicy, AttachPolicy, AttachedPolicy, ListPolicies, NamePolicy, PolicyList, PolicyView, ShownPolicy,
};
use muster_wire::id::{PersonName, ThingName};
use muster_wire::limits::{POLICIES_MAX, POLICIES_PER_CONNECTOR_MAX, POLICY_TARGETS_PER_REQUEST_MAX};
use muster_wire::policy::{BUILTINS, DEFAULT, Policy, PolicyName};
use muster_wire::rejection::RejectionCode;
use std::collections::BTreeSet;
use std::sync::Arc;
use tracing::info;

/// Connectors that `policy show` names.
const SHOWN: usize = 100;
/// Connectors that a refusal names.
const NAMED: usize = 5;

/// Fills the table of the door.
pub(in crate::service) fn load(shared: &Shared) -> Result<(), ServiceError> {
    let admission = &shared.config.admission;
    for (name, _, text) in BUILTINS {
        admission.policy(built_in(name), sound(&built_in(name), text)?);
    }
    let fleet = shared.fleet();
    for (name, record) in &fleet.policies {
        admission.policy(name.clone(), sound(name, &record.document)?);
    }
    for attachment in fleet.attachments.values() {
        admission.attach(attachment, fleet.connectors.get(&attachment.thing).map(AsRef::as_ref));
    }
    Ok(())
}

fn sound(name: &PolicyName, text: &str) -> Result<Policy, ServiceError> {
    Policy::parse(text).map_err(|source| ServiceError::Policy { name: name.clone(), source })
}

fn built_in(name: &str) -> PolicyName {
    PolicyName::new(name).expect("a test reads the names of all built-in policies")
}

fn only_default() -> BTreeSet<PolicyName> {
    BTreeSet::from([built_in(DEFAULT)])
}

impl FleetWorker {
    /// Whether there is a policy of this name.
    pub(super) fn is_policy_known(&self, name: &PolicyName) -> bool {
        BUILTINS.iter().any(|(known, ..)| *known == name.as_str()) || self.shared.fleet().policies.contains_key(name)
    }

    /// The policies of a connector, registered or not.
    pub(super) fn policies_of(&self, thing: &ThingName) -> BTreeSet<PolicyName> {
        let attachment = self.shared.fleet().attachments.get(thing).cloned();
        attachment.map_or_else(only_default, |attachment| attachment.policies.clone())
    }

    /// Gives exactly these policies to connectors, registered or not. The names are known, and not too many for one.
    pub(super) fn set_policies(
        &self,
        wanted: Vec<(ThingName, BTreeSet<PolicyName>)>,
        by: &PersonName,
    ) -> Result<(), ServiceError> {
        let at = self.shared.clock.now();
        let attachment = |(thing, policies)| Attachment { thing, policies, by: by.clone(), at };
        let attachments: Vec<Attachment> = wanted.into_iter().map(attachment).collect();
        self.commit(|batch| {
            attachments.iter().try_for_each(|one| match one.policies == only_default() {
                true => batch.delete(&key::attachment(&one.thing)),
                false => batch.put(&key::attachment(&one.thing), one),
            })
        })?;
        for attachment in attachments {
            let thing = attachment.thing.clone();
            info!(connector = %thing, %by, policies = ?attachment.policies, "policies of a connector changed");
            {
                let mut fleet = self.shared.fleet_mut();
                self.shared.config.admission.attach(&attachment, fleet.connectors.get(&thing).map(AsRef::as_ref));
                match attachment.policies == only_default() {
                    true => fleet.attachments.remove(&thing),
                    false => fleet.attachments.insert(thing.clone(), Arc::new(attachment)),
                };
            }
            self.look_again(&thing);
        }
        Ok(())
    }

    /// A connector's pool or site may be others now, and policies may name them.
    pub(super) fn place_is_known(&self, name: &ThingName, before: Option<&Connector>) {
        {
            let fleet = self.shared.fleet();
            let (Some(attachment), Some(connector)) = (fleet.attachments.get(name), fleet.connectors.get(name)) else {
                return;
            };
            if before.is_some_and(|before| (&before.pool, &before.site) == (&connector.pool, &connector.site)) {
                return;
            }
            self.shared.config.admission.attach(attachment, Some(connector));
        }
        self.look_again(name);
    }

    fn look_again(&self, thing: &ThingName) {
        if let Some(identity) = self.shared.thing_identity(thing) {
            self.shared.bus.recheck(&Whose::Identity(identity));
        }
    }

    pub(super) fn add_policy(&self, add: AddPolicy, by: &PersonName) -> Result<PolicyView, Refused> {
        let AddPolicy { name, document, replace } = add;
        is_not_built_in(&name)?;
        let policy =
            Policy::parse(&document).or_else(|problems| refuse(RejectionCode::Invalid, problems.to_string()))?;
        let (known, count) = {
            let fleet = self.shared.fleet();
            (fleet.policies.get(&name).cloned(), fleet.policies.len())
        };
        let version = match known {
            Some(known) if known.document == document => return Ok(view(&self.shared.fleet(), &known)),
            Some(known) if replace => known.version + 1,
            Some(_) => {
                let message = format!("a policy is called {name} already; replace it with --replace");
                return refuse(RejectionCode::Conflict, message);
            }
            None if count >= POLICIES_MAX => {
                let message = format!("there are {count} policies, and at most {POLICIES_MAX}; delete one first");
                return refuse(RejectionCode::Conflict, message);
            }
            None => 1,
        };
        let at = self.shared.clock.now();
        let record = PolicyRecord { name: name.clone(), document, version, by: by.clone(), at };
        self.commit(|batch| batch.put(&key::policy(&name), &record))?;
        info!(policy = %name, version, %by, "policy stored");
        let (view, things) = {
            let mut fleet = self.shared.fleet_mut();
            fleet.policies.insert(name.clone(), Arc::new(record.clone()));
            self.shared.config.admission.policy(name.clone(), policy);
            for attachment in holders(&fleet, &name) {
                let connector = fleet.connectors.get(&attachment.thing).map(AsRef::as_ref);
                self.shared.config.admission.attach(attachment, connector);
            }
            let things: Vec<ThingName> = holders(&fleet, &name).map(|holder| holder.thing.clone()).collect();
            (view(&fleet, &record), things)
        };
        things.iter().for_each(|thing| self.look_again(thing));
        Ok(view)
    }

    pub(super) fn list_policies(&self, list: &ListPolicies) -> PolicyList {
        let fleet = self.shared.fleet();
        let built_in = BUILTINS.iter().map(|(name, purpose, _)| view_of_built_in(&fleet, name, purpose));
        let stored = fleet.policies.values().map(|record| view(&fleet, record));
        let mut policies: Vec<PolicyView> = built_in.chain(stored).collect();
        policies.retain(|policy| list.after.as_ref().is_none_or(|after| policy.name > *after));
        policies.sort_by(|one, other| one.name.cmp(&other.name));
        let mut page = PolicyList { policies: Vec::new(), next: None };
        let mut room = ROOM_BYTES;
        for policy in policies {
            let bytes = serde_json::to_vec(&policy).map_or(0, |bytes| bytes.len() + 1);
            if bytes > room {
                page.next = page.policies.last().map(|last: &PolicyView| last.name.clone());
                break;
            }
            room -= bytes;
            page.policies.push(policy);
        }
        page
    }

    pub(super) fn show_policy(&self, show: &NamePolicy) -> Result<ShownPolicy, Refused> {
        let fleet = self.shared.fleet();
        let connectors = holders(&fleet, &show.name).map(|holder| holder.thing.clone()).take(SHOWN).collect();
        if let Some((name, purpose, text)) = BUILTINS.iter().find(|(name, ..)| *name == show.name.as_str()) {
            let policy = view_of_built_in(&fleet, name, purpose);
            return Ok(ShownPolicy { policy, document: (*text).to_owned(), connectors });
        }
        match fleet.policies.get(&show.name) {
            Some(record) => {
                Ok(ShownPolicy { policy: view(&fleet, record), document: record.document.clone(), connectors })
            }
            None => unknown(&show.name),
        }
    }

    pub(super) fn delete_policy(&self, delete: &NamePolicy, by: &PersonName) -> Result<PolicyView, Refused> {
        let name = &delete.name;
        is_not_built_in(name)?;
        let (known, named) = {
            let fleet = self.shared.fleet();
            let named: Vec<String> = holders(&fleet, name).map(|holder| holder.thing.to_string()).take(NAMED).collect();
            (fleet.policies.get(name).cloned(), named)
        };
        let Some(known) = known else { return unknown(name) };
        if !named.is_empty() {
            let named = named.join(" ");
            let message = format!("{name} is attached; detach it first: `muster policy detach {name} {named}`");
            return refuse(RejectionCode::Conflict, message);
        }
        self.commit(|batch| batch.delete(&key::policy(name)))?;
        info!(policy = %name, %by, "policy deleted");
        let mut fleet = self.shared.fleet_mut();
        fleet.policies.remove(name);
        self.shared.config.admission.forget_policy(name);
        Ok(view(&fleet, &known))
    }

    /// Attaches, or detaches.
    pub(super) fn attach_policy(
        &self,
        attach: AttachPolicy,
        is_wanted: bool,
        by: &PersonName,
    ) -> Result<AttachedPolicy, Refused> {
        let AttachPolicy { name, connectors, any_name } = attach;
        if !self.is_policy_known(&name) {
            return unknown(&name);
        }
        let things: BTreeSet<ThingName> = connectors.into_iter().collect();
        if things.len() > POLICY_TARGETS_PER_REQUEST_MAX {
            let count = things.len();
            let message = format!("{count} connectors are too many; name at most {POLICY_TARGETS_PER_REQUEST_MAX}");
            return refuse(RejectionCode::TooLarge, message);
        }
        let mut answer = AttachedPolicy { name: name.clone(), changed: Vec::new(), unchanged: Vec::new() };
        let mut wanted = Vec::new();
        for thing in things {
            let is_noted = self.shared.fleet().attachments.contains_key(&thing);
            if !any_name && !is_noted {
                self.in_fleet(&thing)?;
            }
            let mut policies = self.policies_of(&thing);
            let changes = match is_wanted {
                true => policies.insert(name.clone()),
                false => policies.remove(&name),
            };
            if !changes {
                answer.unchanged.push(thing);
                continue;
            }
            if policies.len() > POLICIES_PER_CONNECTOR_MAX {
                let message = format!("{thing} has {POLICIES_PER_CONNECTOR_MAX} policies, the most; detach one first");
                return refuse(RejectionCode::Conflict, message);
            }
            answer.changed.push(thing.clone());
            wanted.push((thing, policies));
        }
        self.set_policies(wanted, by)?;
        Ok(answer)
    }
}

fn is_not_built_in(name: &PolicyName) -> Result<(), Refused> {
    match BUILTINS.iter().any(|(known, ..)| *known == name.as_str()) {
        true => refuse(RejectionCode::Conflict, format!("{name} is built in and stays as it is; choose another name")),
        false => Ok(()),
    }
}

/// The attachments that name a policy.
fn holders<'a>(fleet: &'a FleetState, name: &'a PolicyName) -> impl Iterator<Item = &'a Arc<Attachment>> {
    fleet.attachments.values().filter(move |attachment| attachment.policies.contains(name))
}

fn view(fleet: &FleetState, record: &PolicyRecord) -> PolicyView {
    PolicyView {
        name: record.name.clone(),
        built_in: None,
        version: record.version,
        connectors: holders(fleet, &record.name).count(),
        by: Some(record.by.clone()),
        at: Some(record.at),
    }
}

fn view_of_built_in(fleet: &FleetState, name: &str, purpose: &str) -> PolicyView {
    let name = built_in(name);
    let connectors = holders(fleet, &name).count();
    PolicyView { name, built_in: Some(purpose.to_owned()), version: 1, connectors, by: None, at: None }
}

fn unknown<T>(name: &PolicyName) -> Result<T, Refused> {
    refuse(RejectionCode::NotFound, format!("no policy is called {name}; `muster policy list` shows all"))
}
