//! Sessions that outlive their connection: what waits, for how long, and who takes it over.
//!
//! ```text
//! connection ends ─▶ park ─┬─ the client returns in time ─▶ resume: everything goes to the new connection
//!                          └─ its time is over, it connects clean, it is kicked ─▶ discard
//! ```
//! They live in memory: a restart of the server ends them, and the client is told by "session present" = 0. Devices pull
//! their state on connect, so nothing that matters is lost with them.

use super::link::{Link, Share};
use super::observer::Command;
use super::outbox::Outgoing;
use super::packet::Version;
use super::will::Will;
use crate::bridge::Shared;
use crate::counters::count;
use crate::keeper::{Due, Ticket};
use crate::policy::{Decision, may_subscribe};
use muster_wire::filter::TopicFilter;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{debug, info};

/// What a session has that outlives its connection, beside its subscriptions and its queue.
pub(crate) struct Kept {
    /// A session of one version of MQTT is not resumed by a client of the other.
    pub(crate) version: Version,
    /// How long it waits for its client.
    pub(crate) life: Duration,
    pub(crate) messages_max: usize,
    /// Sent with these packet ids and not acknowledged.
    pub(crate) unacknowledged: VecDeque<(u16, Outgoing)>,
    /// Bytes taken from the budget for what waits.
    pub(crate) charged: usize,
    /// The reader of filters that span things goes on while the session waits.
    pub(crate) observer: Option<mpsc::Sender<Vec<Command>>>,
    /// Said unless the client returns before its delay is over.
    pub(crate) will: Option<Box<Will>>,
    pub(crate) waits: bool,
    timers: Vec<Ticket>,
}

impl Kept {
    pub(crate) fn new(version: Version, life: Duration, messages_max: usize) -> Self {
        Self {
            version,
            life,
            messages_max,
            unacknowledged: VecDeque::new(),
            charged: 0,
            observer: None,
            will: None,
            waits: false,
            timers: Vec::new(),
        }
    }
}

/// Lets a session wait for its client. `false` when it cannot, and ends.
pub(crate) fn park(shared: &Arc<Shared>, link: &Arc<Link>, life: Duration, will_delay: Option<Duration>) -> bool {
    let counters = &shared.counters;
    let waiting = usize::try_from(counters.sessions_waiting.load(Ordering::Relaxed)).unwrap_or(usize::MAX);
    if waiting >= shared.mqtt.sessions_waiting_max {
        count(&counters.sessions_not_kept);
        info!(identity = %link.caller.identity, waiting, "a session is not kept: too many wait for their clients");
        return false;
    }
    counters.sessions_waiting.fetch_add(1, Ordering::Relaxed);
    let Some(evicted) = shared.sessions.wait_for_client(link) else {
        // A newer connection of the same client has come, and decides.
        counters.sessions_waiting.fetch_sub(1, Ordering::Relaxed);
        return true;
    };
    let now = Instant::now();
    let mut timers = vec![shared.keeper.at(shared, now + life, Due::Session(Arc::downgrade(link)))];
    if let Some(delay) = will_delay.filter(|delay| *delay < life) {
        timers.push(shared.keeper.at(shared, now + delay, Due::Will(Arc::downgrade(link))));
    }
    if link.with_kept(|kept| kept.timers.clone_from(&timers)).is_none() {
        // Its client is back already.
        timers.into_iter().for_each(|timer| shared.keeper.cancel(timer));
    }
    for share in link.shares() {
        // Its last member may have gone: what is not kept for one that is away is dropped now.
        share.group.drain();
    }
    debug!(identity = %link.caller.identity, client = %link.caller.client_id, ?life, "session waits for its client");
    for old in evicted {
        count(&counters.sessions_not_kept);
        info!(identity = %old.caller.identity, client = %old.caller.client_id, "the oldest waiting session makes room");
        shared.sessions.leave(&old);
        discard(shared, &old);
    }
    true
}

/// Gives everything of the session `old` to the connection `new`. `false` when there is nothing that it may have.
pub(crate) fn resume(shared: &Arc<Shared>, old: &Arc<Link>, new: &Arc<Link>, version: Version) -> bool {
    if old.with_kept(|kept| kept.version) != Some(version) {
        return false;
    }
    let (caller, rules) = (&new.caller, new.rules());
    let rules = rules.as_deref();
    // What the policy has forbidden since is not resumed.
    let denied: Vec<TopicFilter> = old
        .filters()
        .into_iter()
        .filter(|filter| may_subscribe(&shared.mqtt, caller, rules, filter) == Decision::Deny)
        .collect();
    for filter in denied {
        info!(identity = %caller.identity, %filter, "a kept subscription is denied now");
        old.unsubscribe(filter.as_str());
    }
    let filters = old.filters();
    // First to both, then to the new one alone: what comes in between may come twice, but is not lost.
    for filter in &filters {
        shared.sessions.listen(filter, new);
    }
    let Some(handed) = old.hand_over(new) else { return false };
    for filter in &filters {
        shared.sessions.ignore(filter, old);
    }
    for share in &handed.groups {
        share.group.replace(old, new);
        if may_subscribe(&shared.mqtt, caller, rules, share.subscribed.filter()) == Decision::Deny {
            shared.sessions.applications.groups.leave(shared, &share.subscribed, new);
            new.unshare(&share.subscribed);
        }
        share.group.drain();
    }
    ended_waiting(shared, handed.waited, handed.charged, handed.timers);
    count(&shared.counters.sessions_resumed);
    true
}

/// Ends a session that waits, or takes its state from a connection that is being replaced.
pub(crate) fn discard(shared: &Arc<Shared>, link: &Arc<Link>) {
    let Some(kept) = link.take_kept() else { return };
    shared.sessions.forget(shared, link);
    ended_waiting(shared, kept.waits, kept.charged, kept.timers);
    if let Some(will) = kept.will {
        will.publish(shared, link);
    }
}

/// The delay of a will is over and its client is still away.
pub(crate) fn say_will(shared: &Arc<Shared>, link: &Link) {
    if let Some(Some(will)) = link.with_kept(|kept| kept.will.take()) {
        will.publish(shared, link);
    }
}

fn ended_waiting(shared: &Shared, waited: bool, charged: usize, timers: Vec<Ticket>) {
    for timer in timers {
        shared.keeper.cancel(timer);
    }
    shared.counters.waiting.give_back(charged);
    if waited {
        shared.counters.sessions_waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What came out of a session that was handed over, for those who keep count.
pub(crate) struct Handed {
    pub(crate) groups: Vec<Share>,
    pub(crate) waited: bool,
    pub(crate) charged: usize,
    pub(crate) timers: Vec<Ticket>,
}

impl Kept {
    /// Makes it the state of a connected client and returns what no longer holds.
    pub(crate) fn wake(&mut self) -> (bool, usize, Vec<Ticket>) {
        // Who returns in time has no will to be said.
        self.will = None;
        (std::mem::take(&mut self.waits), std::mem::take(&mut self.charged), std::mem::take(&mut self.timers))
    }
}
