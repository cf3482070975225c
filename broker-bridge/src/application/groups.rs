//! Shared subscriptions: each message of a filter goes to one member of a group, in turn.
//!
//! ```text
//! application topics ── tree ──┐
//!                              ├─▶ Group::offer ─▶ queue ─▶ the next member that is connected and has room
//! views, events, shadows ── reader ─┘
//! ```
//! A group with a member whose session outlives its connection, and who was granted QoS 1, keeps QoS 1 messages while
//! nobody is connected; those of QoS 0 are dropped then. A full queue loses the new message, as the queue of such a
//! session does; all are counted.

use crate::bridge::Shared;
use crate::counters::{Counters, add, count};
use crate::session::link::Link;
use crate::session::outbox::{Outbox, Outgoing};
use muster_bus::{Message, ObserverLink, Qos, Stopped};
use muster_wire::filter::{Subscribed, TopicFilter};
use muster_wire::limits::SHARE_GROUPS_MAX;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_util::sync::CancellationToken;
use tracing::debug;

/// The members of one shared subscription, and what waits for them.
pub(crate) struct Group {
    pub(crate) filter: TopicFilter,
    counters: Arc<Counters>,
    state: Mutex<State>,
    /// Ends the reader of a group whose filter is not the applications'.
    over: CancellationToken,
}

#[derive(Default)]
struct State {
    members: Vec<Member>,
    next: usize,
    queue: Outbox,
}

struct Member {
    link: Arc<Link>,
    qos: Qos,
}

/// The groups of a bridge, by name and filter.
#[derive(Default)]
pub(crate) struct Groups(Mutex<HashMap<Subscribed, Arc<Group>>>);

/// Why nobody joins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoGroup {
    /// There are too many groups.
    Full,
    /// The readers have stopped.
    Stopped,
}

impl Groups {
    /// Makes a connection a member, or changes what it was granted.
    pub(crate) fn join(
        &self,
        shared: &Arc<Shared>,
        subscribed: &Subscribed,
        link: &Arc<Link>,
        qos: Qos,
    ) -> Result<Arc<Group>, NoGroup> {
        let mut groups = self.lock();
        let group = match groups.get(subscribed) {
            Some(group) => group.clone(),
            None if groups.len() >= SHARE_GROUPS_MAX => return Err(NoGroup::Full),
            None => {
                let group = Arc::new(Group {
                    filter: subscribed.filter().clone(),
                    counters: shared.counters.clone(),
                    state: Mutex::default(),
                    over: CancellationToken::new(),
                });
                start(shared, &group).map_err(|Stopped| NoGroup::Stopped)?;
                groups.insert(subscribed.clone(), group.clone());
                group
            }
        };
        // Under the lock of all groups: one that is about to end has no member, and is not found here.
        group.enlist(link, qos);
        drop(groups);
        group.drain();
        Ok(group)
    }

    /// Ends a membership; a group without members ends too.
    pub(crate) fn leave(&self, shared: &Shared, subscribed: &Subscribed, link: &Arc<Link>) {
        let mut groups = self.lock();
        let Some(group) = groups.get(subscribed) else { return };
        if group.dismiss(link) {
            group.over.cancel();
            shared.sessions.applications.forget_group(group);
            groups.remove(subscribed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Subscribed, Arc<Group>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets messages come to a new group.
fn start(shared: &Arc<Shared>, group: &Arc<Group>) -> Result<(), Stopped> {
    if group.filter.is_application() {
        shared.sessions.applications.remember_group(group);
        return Ok(());
    }
    let mut reader = shared.bus.observer("group")?;
    reader.subscribe(&group.filter)?;
    shared.swarm.spawn(read(group.clone(), reader));
    Ok(())
}

async fn read(group: Arc<Group>, mut reader: ObserverLink) {
    loop {
        let message = tokio::select! {
            // Cancel-safe: cancelled() holds no state.
            () = group.over.cancelled() => break,
            // Cancel-safe, as its documentation says.
            message = reader.next() => message,
        };
        match message {
            Ok(message) => group.offer(&message),
            Err(Stopped) => break,
        }
    }
    debug!(filter = %group.filter, "group ended");
}

impl Group {
    /// Gives a message to one member.
    pub(crate) fn offer(&self, message: &Arc<Message>) {
        let mut state = self.lock();
        if message.qos == Qos::AtMostOnce && !state.is_heard(&message.topic) {
            // Not even behind one that waits.
            return count(&self.counters.dropped);
        }
        let outgoing = Outgoing { message: message.clone(), qos: message.qos, retain: false };
        let weight = message.weight();
        if !self.counters.waiting.take(weight) || !state.queue.has_room_for(weight) {
            // What is old is kept: it is nearer to its receiver.
            self.counters.waiting.give_back(weight);
            count(&self.counters.queue_dropped);
            return;
        }
        // Cannot overflow: there is room.
        let _ = state.queue.push(outgoing);
        self.serve(&mut state);
    }

    /// Goes on after a member has come or has room again.
    pub(crate) fn drain(&self) {
        let mut state = self.lock();
        if !state.queue.is_empty() {
            self.serve(&mut state);
        }
    }

    /// Hands the session of one connection to the next.
    pub(crate) fn replace(&self, old: &Arc<Link>, new: &Arc<Link>) {
        let mut state = self.lock();
        for member in state.members.iter_mut().filter(|member| Arc::ptr_eq(&member.link, old)) {
            member.link = new.clone();
        }
    }

    fn serve(&self, state: &mut State) {
        while let Some(outgoing) = state.queue.pop() {
            let weight = outgoing.message.weight();
            if state.hand(&outgoing) {
                self.counters.waiting.give_back(weight);
                continue;
            }
            // Who may not have it is not waited for.
            let topic = &outgoing.message.topic;
            let busy = state.is_heard(topic);
            if busy || (outgoing.qos == Qos::AtLeastOnce && state.waits_for(topic)) {
                state.queue.put_back(outgoing);
                if !busy {
                    self.keep_guaranteed(state);
                }
                return;
            }
            self.counters.waiting.give_back(weight);
            count(&self.counters.dropped);
        }
    }

    /// Forgets what nobody waits for.
    fn keep_guaranteed(&self, state: &mut State) {
        let (messages, bytes) = (state.queue.len(), state.queue.bytes());
        let kept = state.queue.keep_guaranteed();
        self.counters.waiting.give_back(bytes - kept);
        add(&self.counters.dropped, messages - state.queue.len());
    }

    /// The guarantee that a member was granted.
    pub(crate) fn granted(&self, link: &Arc<Link>) -> Option<Qos> {
        let state = self.lock();
        state.members.iter().find(|member| Arc::ptr_eq(&member.link, link)).map(|member| member.qos)
    }

    fn enlist(&self, link: &Arc<Link>, qos: Qos) {
        let mut state = self.lock();
        match state.members.iter_mut().find(|member| Arc::ptr_eq(&member.link, link)) {
            Some(member) => member.qos = qos,
            None => state.members.push(Member { link: link.clone(), qos }),
        }
    }

    /// `true` when nobody is left.
    fn dismiss(&self, link: &Arc<Link>) -> bool {
        let mut state = self.lock();
        state.members.retain(|member| !Arc::ptr_eq(&member.link, link));
        if state.members.is_empty() {
            while let Some(outgoing) = state.queue.pop() {
                self.counters.waiting.give_back(outgoing.message.weight());
                count(&self.counters.queue_dropped);
            }
        }
        state.members.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether a member that is connected may have messages of this topic, now or when it has room.
    fn is_heard(&self, topic: &str) -> bool {
        self.members.iter().any(|member| member.link.is_online() && member.link.may_receive(topic))
    }

    /// Whether a message of this topic waits for a member that is away: it was granted QoS 1, and its session is kept.
    fn waits_for(&self, topic: &str) -> bool {
        let mut waiting = self.members.iter().filter(|member| member.qos == Qos::AtLeastOnce && member.link.is_kept());
        waiting.any(|member| member.link.may_receive(topic))
    }

    /// `false` when no member is connected and has room.
    fn hand(&mut self, outgoing: &Outgoing) -> bool {
        for _ in 0..self.members.len() {
            let member = &self.members[self.next % self.members.len()];
            self.next = self.next.wrapping_add(1);
            let qos = member.qos.min(outgoing.qos);
            if member.link.hand(Outgoing { qos, ..outgoing.clone() }) {
                return true;
            }
        }
        false
    }
}
