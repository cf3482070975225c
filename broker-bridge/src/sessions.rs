//! Who is connected: by identity, so that an identity has a bounded number of connections and a client id one; and by
//! thing, so that a delivery finds its connections without matching topics against all filters.

use crate::application::Applications;
use crate::bridge::{Gate, Shared};
use crate::policy::named;
use crate::session::end::End;
use crate::session::kept;
use crate::session::link::Link;
use crate::settings::MqttSettings;
use muster_bus::{Door, Message, Whose};
use muster_certs::identity::Role;
use muster_wire::filter::TopicFilter;
use muster_wire::id::ThingName;
use muster_wire::limits::SESSIONS_PER_CLAIM_MAX;
use muster_wire::time::Timestamp;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, Weak};
use tracing::info;

/// People, dashboards and gateways share an identity over more connections than a device does.
const SESSIONS_PER_PERSON_MAX: usize = 64;
/// Enough that threads seldom meet.
const SHARDS: usize = 16;

/// Why a connection is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoEntry {
    /// Its identity has too many connections.
    Quota,
    /// The server stops.
    Stopping,
}

/// The connections of a bridge.
pub(crate) struct Sessions {
    by_identity: Sharded<(Role, Box<str>)>,
    by_thing: Sharded<ThingName>,
    pub(crate) applications: Applications,
    per_thing_max: usize,
    stopping: AtomicBool,
    gate: Arc<dyn Gate>,
    home: OnceLock<Weak<Shared>>,
}

struct Sharded<K> {
    hasher: RandomState,
    shards: [RwLock<HashMap<K, Vec<Arc<Link>>>>; SHARDS],
}

impl<K: Hash + Eq> Sharded<K> {
    fn new() -> Self {
        Self { hasher: RandomState::new(), shards: std::array::from_fn(|_| RwLock::default()) }
    }

    fn shard(&self, key: &K) -> &RwLock<HashMap<K, Vec<Arc<Link>>>> {
        &self.shards[usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).unwrap_or(0)]
    }

    fn read<T>(&self, key: &K, look: impl FnOnce(&[Arc<Link>]) -> T) -> T {
        let shard = self.shard(key).read().unwrap_or_else(PoisonError::into_inner);
        look(shard.get(key).map_or(&[], Vec::as_slice))
    }

    fn change<T>(&self, key: K, change: impl FnOnce(&mut Vec<Arc<Link>>) -> T) -> T {
        let mut shard = self.shard(&key).write().unwrap_or_else(PoisonError::into_inner);
        // Most keys have one connection for ever.
        let mut links = shard.remove(&key).unwrap_or_else(|| Vec::with_capacity(1));
        let result = change(&mut links);
        if !links.is_empty() {
            shard.insert(key, links);
        }
        result
    }

    /// Every connection, shard by shard: no lock is held for the whole walk, nor while `visit` runs.
    fn each(&self, visit: impl Fn(&Arc<Link>)) {
        for shard in &self.shards {
            let links: Vec<_> = {
                let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
                shard.values().flatten().cloned().collect()
            };
            links.iter().for_each(&visit);
        }
    }
}

impl Sessions {
    pub(crate) fn new(gate: Arc<dyn Gate>, mqtt: &MqttSettings) -> Self {
        Self {
            by_identity: Sharded::new(),
            by_thing: Sharded::new(),
            applications: Applications::new(mqtt.hash_matches_parent),
            per_thing_max: mqtt.connections_per_thing_max,
            stopping: AtomicBool::new(false),
            gate,
            home: OnceLock::new(),
        }
    }

    /// Names the bridge that these are the sessions of.
    pub(crate) fn belong_to(&self, shared: &Arc<Shared>) {
        // Only the first one counts: there is one.
        let _ = self.home.set(Arc::downgrade(shared));
    }

    /// Lets a connection in. One of the same identity and client id is told that it was taken over, and returned.
    pub(crate) fn enter(&self, link: &Arc<Link>) -> Result<Option<Arc<Link>>, NoEntry> {
        let old = self.by_identity.change(key(link), |links| {
            // Read under the lock that `stop` takes afterwards: either it sees this connection or this sees the stop.
            if self.stopping.load(Ordering::SeqCst) {
                return Err(NoEntry::Stopping);
            }
            if let Some(known) = links.iter_mut().find(|known| known.caller.client_id == link.caller.client_id) {
                return Ok(Some(std::mem::replace(known, link.clone())));
            }
            if links.iter().filter(|known| !known.waits()).count() >= self.per_identity_max(link) {
                return Err(NoEntry::Quota);
            }
            links.push(link.clone());
            Ok(None)
        })?;
        if let Some(old) = &old {
            old.end(End::TakenOver);
        }
        Ok(old)
    }

    /// Forgets a connection. What it subscribed to is another matter: [`Sessions::forget`].
    pub(crate) fn leave(&self, link: &Arc<Link>) {
        self.by_identity.change(key(link), |links| links.retain(|known| !Arc::ptr_eq(known, link)));
    }

    /// The connections, and the sessions that wait, with this client id. More than one when several identities use it.
    pub(crate) fn of_client(&self, client: &str) -> Vec<Arc<Link>> {
        let found: Mutex<Vec<Arc<Link>>> = Mutex::default();
        self.by_identity.each(|link| {
            if &*link.caller.client_id == client {
                found.lock().unwrap_or_else(PoisonError::into_inner).push(link.clone());
            }
        });
        found.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends a session that waits for its client.
    pub(crate) fn discard_waiting(&self, shared: &Arc<Shared>, link: &Arc<Link>, says_will: bool) {
        if !says_will {
            link.with_kept(|kept| kept.will = None);
        }
        self.leave(link);
        kept::discard(shared, link);
    }

    /// A session waits for its client. Returns the oldest waiting ones of its identity that are too many now; `None`
    /// when the client has a newer connection.
    pub(crate) fn wait_for_client(&self, link: &Arc<Link>) -> Option<Vec<Arc<Link>>> {
        self.by_identity.change(key(link), |links| {
            links.iter().any(|known| Arc::ptr_eq(known, link)).then_some(())?;
            link.with_kept(|kept| kept.waits = true)?;
            let mut waiting: Vec<_> = links.iter().filter(|known| known.waits()).cloned().collect();
            waiting.sort_by_key(|known| known.session);
            let too_many = waiting.len().saturating_sub(self.per_identity_max(link));
            waiting.truncate(too_many);
            Some(waiting)
        })
    }

    /// Ends all subscriptions of a connection.
    pub(crate) fn forget(&self, shared: &Shared, link: &Arc<Link>) {
        for filter in link.filters() {
            self.ignore(&filter, link);
        }
        for share in link.shares() {
            self.applications.groups.leave(shared, &share.subscribed, link);
        }
    }

    /// Sends what the filter matches to this connection from now on, if it is about one thing or an application's.
    /// Other filters are the business of a reader.
    pub(crate) fn listen(&self, filter: &TopicFilter, link: &Arc<Link>) {
        if let Some(thing) = filter.thing() {
            self.by_thing.change(thing, |links| {
                if !links.iter().any(|known| Arc::ptr_eq(known, link)) {
                    links.push(link.clone());
                }
            });
        } else if filter.is_application() {
            self.applications.listen(filter, link);
        }
    }

    /// Sends it no longer, nor what other filters about the same thing match.
    pub(crate) fn ignore(&self, filter: &TopicFilter, link: &Arc<Link>) {
        if let Some(thing) = filter.thing() {
            self.by_thing.change(thing, |links| links.retain(|known| !Arc::ptr_eq(known, link)));
        } else if filter.is_application() {
            self.applications.ignore(filter, link);
        }
    }

    /// Ends every connection and lets none in any more.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        // Ending wakes tasks, which leave: that needs the lock.
        self.by_identity.each(|link| link.end(End::Shutdown));
    }

    fn end_if_refused(&self, link: &Arc<Link>) {
        if let Err(refusal) = self.gate.admits(&link.caller) {
            info!(identity = %link.caller.identity, client = %link.caller.client_id, %refusal, "no longer let in");
            link.end(End::NotLetIn);
            return self.end_waiting(link);
        }
        if let Some(shared) = self.home.get().and_then(Weak::upgrade)
            && let Err(why) = named::refresh(&shared, link)
        {
            info!(identity = %link.caller.identity, client = %link.caller.client_id, why, "ended by its policies");
            link.end(End::Kicked);
            self.end_waiting(link);
        }
    }

    fn per_identity_max(&self, link: &Link) -> usize {
        match link.caller.identity.role() {
            // One certificate may carry many things, each over its own connection.
            Role::Connector if link.rules().is_some() => SESSIONS_PER_PERSON_MAX,
            Role::Connector | Role::Provisioned => self.per_thing_max,
            Role::Claim => SESSIONS_PER_CLAIM_MAX,
            Role::Operator | Role::Observer | Role::Service => SESSIONS_PER_PERSON_MAX,
        }
    }

    /// Ends a session that waits for a client that may not come back.
    fn end_waiting(&self, link: &Arc<Link>) {
        if let Some(shared) = self.home.get().and_then(Weak::upgrade)
            && link.waits()
        {
            self.leave(link);
            kept::discard(&shared, link);
        }
    }
}

fn key(link: &Link) -> (Role, Box<str>) {
    (link.caller.identity.role(), link.caller.identity.name().into())
}

impl Door for Sessions {
    fn deliver(&self, thing: &ThingName, message: &Arc<Message>) {
        self.by_thing.read(thing, |links| {
            for link in links {
                link.offer(message);
            }
        });
    }

    fn wanted(&self, thing: &ThingName, topic: &str) -> bool {
        self.by_thing.read(thing, |links| links.iter().any(|link| link.wants(topic)))
    }

    fn spread(&self, message: &Arc<Message>) {
        self.applications.spread(message);
    }

    fn keep(&self, message: &Arc<Message>, at: Timestamp) {
        self.applications.keep(message, at);
    }

    fn kick(&self, thing: &ThingName) {
        let links = self.by_identity.read(&(Role::Connector, thing.as_str().into()), <[_]>::to_vec);
        for link in links {
            link.end(End::Kicked);
            self.end_waiting(&link);
        }
    }

    fn recheck(&self, whose: &Whose) {
        match whose {
            Whose::Identity(identity) => {
                let links = self.by_identity.read(&(identity.role(), identity.name().into()), <[_]>::to_vec);
                links.iter().for_each(|link| self.end_if_refused(link));
            }
            Whose::Everyone => self.by_identity.each(|link| self.end_if_refused(link)),
        }
    }
}
