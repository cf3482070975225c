//! Access keys: made, listed, revoked.
//!
//! A record is durable before the table of the door changes, and before the secret is told. A key that was revoked is
//! refused from the next request on: the door asks the table about every one.

use super::{FleetWorker, ROOM_BYTES, Refused, check_text, refuse};
use crate::records::{AccessKey, KeyRevoked, key};
use crate::service::ServiceError;
use muster_certs::access_key::access_key_id;
use muster_runtime::ids::random_bytes;
use muster_wire::admin::{CreateKey, CreatedKey, KeyList, KeyPolicy, KeyView, ListKeys, RevokeKey};
use muster_wire::id::{PersonName, ThingName};
use muster_wire::limits::ACCESS_KEYS_MAX;
use muster_wire::rejection::RejectionCode;
use std::sync::Arc;
use tracing::info;

impl FleetWorker {
    pub(super) fn create_key(&self, create: CreateKey, by: &PersonName) -> Result<CreatedKey, Refused> {
        check_text("description", create.description.as_deref())?;
        if let KeyPolicy::Connector(thing) = &create.policy
            && self.shared.fleet().connectors.get(thing).is_some_and(|connector| connector.is_removed())
        {
            let message = format!("connector {thing} was removed; `muster connector add {thing}` brings it back");
            return refuse(RejectionCode::Conflict, message);
        }
        self.make_room_for_a_key()?;
        let made = AccessKey {
            id: access_key_id(random_bytes()),
            policy: create.policy,
            description: create.description,
            created_at: self.shared.clock.now(),
            created_by: by.clone(),
            revoked: None,
        };
        self.put_key(made.clone())?;
        info!(key = %made.id, policy = %made.policy, %by, "access key made");
        let secret = self.shared.config.access_master.secret(&made.id).reveal().to_owned();
        Ok(CreatedKey { key: view(&made), secret })
    }

    pub(super) fn list_keys(&self, list: &ListKeys) -> KeyList {
        let keys = self.shared.config.admission.keys();
        let after = |known: &&Arc<AccessKey>| list.after.as_ref().is_none_or(|after| known.id > *after);
        let mut rest = keys.iter().filter(after).map(|known| view(known)).peekable();
        let (mut keys, mut room) = (Vec::new(), ROOM_BYTES);
        while let Some(next) = rest.peek() {
            let bytes = serde_json::to_vec(next).map_or(0, |bytes| bytes.len() + 1);
            if bytes > room {
                break;
            }
            room -= bytes;
            keys.extend(rest.next());
        }
        let next = rest.peek().and_then(|_| keys.last()).map(|last: &KeyView| last.id.clone());
        KeyList { keys, next }
    }

    pub(super) fn revoke_key(&self, revoke: &RevokeKey, by: &PersonName) -> Result<KeyView, Refused> {
        let known = self.shared.config.admission.keys().into_iter().find(|known| known.id == revoke.id);
        let Some(known) = known else {
            let message = format!("no access key is called {}; see `muster key list`", revoke.id);
            return refuse(RejectionCode::NotFound, message);
        };
        Ok(view(&self.take_back(&known, by)?))
    }

    /// A removed connector comes back with a new enrolment only, so its keys end with it.
    pub(super) fn revoke_keys_of(&self, thing: &ThingName, by: &PersonName) -> Result<(), ServiceError> {
        let policy = KeyPolicy::Connector(thing.clone());
        for known in self.shared.config.admission.keys().iter().filter(|known| known.policy == policy) {
            self.take_back(known, by)?;
        }
        Ok(())
    }

    fn take_back(&self, known: &AccessKey, by: &PersonName) -> Result<AccessKey, ServiceError> {
        if known.revoked.is_some() {
            return Ok(known.clone());
        }
        let at = self.shared.clock.now();
        let revoked = AccessKey { revoked: Some(KeyRevoked { at, by: by.clone() }), ..known.clone() };
        self.put_key(revoked.clone())?;
        info!(key = %revoked.id, %by, "access key revoked");
        Ok(revoked)
    }

    fn put_key(&self, made: AccessKey) -> Result<(), ServiceError> {
        self.commit(|batch| batch.put(&key::access_key(&made.id), &made))?;
        self.shared.config.admission.key(made);
        Ok(())
    }

    /// A key that is forgotten is as good as revoked: nobody is let in with a key that is not known.
    fn make_room_for_a_key(&self) -> Result<(), Refused> {
        let keys = self.shared.config.admission.keys();
        if keys.len() < ACCESS_KEYS_MAX {
            return Ok(());
        }
        let revoked = keys.iter().filter_map(|known| Some((known.revoked.as_ref()?.at, &known.id)));
        let Some((_, oldest)) = revoked.min() else {
            let message = format!("there are {ACCESS_KEYS_MAX} access keys; revoke one that is not used any more");
            return refuse(RejectionCode::Conflict, message);
        };
        self.commit(|batch| batch.delete(&key::access_key(oldest)))?;
        self.shared.config.admission.forget_key(oldest);
        Ok(())
    }
}

fn view(known: &AccessKey) -> KeyView {
    KeyView {
        id: known.id.clone(),
        policy: known.policy.clone(),
        description: known.description.clone(),
        created_at: known.created_at,
        created_by: known.created_by.clone(),
        revoked_at: known.revoked.as_ref().map(|revoked| revoked.at),
        revoked_by: known.revoked.as_ref().map(|revoked| revoked.by.clone()),
    }
}
