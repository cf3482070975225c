//! One connection as others see it: the service that answers, the map that delivers, the newer connection that takes
//! over. The connection's own task empties it.

use super::end::End;
use super::in_flight::InFlight;
use super::kept::{Handed, Kept};
use super::outbox::{Outbox, Outgoing, Overflow};
use super::packet::Version;
use super::will::Will;
use crate::application::groups::Group;
use crate::counters::{Counters, add, count};
use crate::policy::named::Rules;
use muster_bus::{Answer, Caller, Connection, Message, Outcome, Qos, Tag};
use muster_wire::filter::{Subscribed, TopicFilter};
use muster_wire::id::ThingName;
use muster_wire::policy::ConnectAttributes;
use muster_wire::time::Timestamp;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::task::{Context, Waker};
use std::time::Duration;
use tokio::sync::Notify;

/// One connection.
pub(crate) struct Link {
    pub(crate) caller: Arc<Caller>,
    /// Grows with every connection of the process.
    pub(crate) session: u64,
    counters: Arc<Counters>,
    state: Mutex<State>,
    room: Notify,
    connect: OnceLock<Connected>,
    /// Whether there are rules: so that the many who have none never ask for the lock.
    has_rules: AtomicBool,
    rules: RwLock<Option<Arc<Rules>>>,
}

/// What a client said when it connected, and when that was.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Connected {
    pub(crate) attributes: ConnectAttributes,
    pub(crate) at: Timestamp,
    pub(crate) keep_alive: Duration,
    pub(crate) clean: bool,
}

#[derive(Default)]
struct State {
    /// Tags of requests that are settled.
    settled: Vec<Tag>,
    outbox: Outbox,
    subscriptions: Vec<Subscription>,
    end: Option<End>,
    waker: Option<Waker>,
    /// What most connections do not have.
    rare: Option<Box<Rare>>,
}

#[derive(Default)]
struct Rare {
    kept: Option<Kept>,
    groups: Vec<Share>,
    /// The connection that got the session of this one.
    successor: Option<Arc<Link>>,
}

/// A shared subscription.
#[derive(Clone)]
pub(crate) struct Share {
    pub(crate) subscribed: Subscribed,
    pub(crate) group: Arc<Group>,
}

#[derive(Debug)]
struct Subscription {
    filter: TopicFilter,
    granted: Granted,
    /// It is the business of a reader; the others get their messages at once.
    spans: bool,
}

/// What a subscription was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Granted {
    pub(crate) qos: Qos,
    /// Not what this connection published itself.
    pub(crate) no_local: bool,
    /// The RETAIN flag of the publisher is forwarded.
    pub(crate) retain_as_published: bool,
    /// `a/#` matches `a` too.
    pub(crate) with_parent: bool,
}

impl Subscription {
    fn matches(&self, topic: &str) -> bool {
        self.filter.matches(topic) || (self.granted.with_parent && self.filter.matches_as_parent(topic))
    }
}

/// What the connection's task took out.
#[derive(Default)]
pub(crate) struct Taken {
    pub(crate) settled: Vec<Tag>,
    pub(crate) messages: Vec<Outgoing>,
    /// Packet ids of the QoS 1 messages, in order, if they were given already because the session is kept.
    pub(crate) ids: Vec<u16>,
    /// Groups whose queues may go on, now that there is room.
    pub(crate) groups: Vec<Arc<Group>>,
    pub(crate) end: Option<End>,
}

/// What the subscriptions of a connection want of a message.
enum Wish {
    Nothing,
    /// One of them gets it at once.
    Direct(Outgoing),
    /// Only those want it that a reader serves.
    ByReader(Outgoing),
}

/// What becomes of a message from a reader.
pub(crate) enum Read {
    Wanted(Outgoing),
    /// Unsubscribed meanwhile, the client's own, or it comes another way.
    NotThisWay,
    /// The subscriptions are elsewhere, or nowhere any more.
    Away,
}

/// What became of a message from a reader.
pub(crate) enum Sent {
    Done,
    /// The connection is over.
    Over,
    /// Another connection has the session now: send it there.
    Moved(Arc<Link>),
}

impl Link {
    pub(crate) fn new(caller: Arc<Caller>, session: u64, counters: Arc<Counters>) -> Arc<Self> {
        Arc::new(Self {
            caller,
            session,
            counters,
            state: Mutex::default(),
            room: Notify::new(),
            connect: OnceLock::new(),
            has_rules: AtomicBool::new(false),
            rules: RwLock::default(),
        })
    }

    /// What its CONNECT said.
    pub(crate) fn has_connected(&self, connected: Connected) {
        // Only the first one counts: there is one.
        let _ = self.connect.set(connected);
    }

    pub(crate) fn connected(&self) -> Connected {
        self.connect.get().copied().unwrap_or_default()
    }

    pub(crate) fn connect_attributes(&self) -> ConnectAttributes {
        self.connected().attributes
    }

    /// What was granted to it by name.
    pub(crate) fn rules(&self) -> Option<Arc<Rules>> {
        if !self.has_rules.load(Ordering::Acquire) {
            return None;
        }
        self.rules.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_rules(&self, rules: Option<Arc<Rules>>) {
        let mut known = self.rules.write().unwrap_or_else(PoisonError::into_inner);
        self.has_rules.store(rules.is_some(), Ordering::Release);
        *known = rules;
    }

    /// Whether a message on this topic may be delivered to it.
    pub(crate) fn may_receive(&self, topic: &str) -> bool {
        self.rules().is_none_or(|rules| rules.may_receive(topic))
    }

    /// Sends a message if a subscription of this connection wants it, or keeps it for a client that is away.
    pub(crate) fn offer(&self, message: &Arc<Message>) {
        let mut state = self.lock();
        if state.is_gone() {
            return;
        }
        if let Wish::Direct(outgoing) = state.wish(message, self.session)
            && self.may_receive(&message.topic)
        {
            let waker = self.put(&mut state, outgoing);
            drop(state);
            wake(waker);
        }
    }

    /// Takes a message of a group. `false` when the client is away, has no room, or may not have it.
    pub(crate) fn hand(&self, outgoing: Outgoing) -> bool {
        if !self.may_receive(&outgoing.message.topic) {
            return false;
        }
        let mut state = self.lock();
        if state.end.is_some() || state.outbox.is_half_full() {
            return false;
        }
        let waker = self.push(&mut state, outgoing);
        drop(state);
        wake(waker);
        true
    }

    /// Sends a message to this connection alone, whether it subscribed or not.
    pub(crate) fn tell(&self, message: Message) {
        if !self.may_receive(&message.topic) {
            return;
        }
        let mut state = self.lock();
        if state.end.is_none() {
            let qos = state.granted(&message.topic).map_or(message.qos, |granted| granted.min(message.qos));
            let waker = self.push(&mut state, Outgoing { message: Arc::new(message), qos, retain: false });
            drop(state);
            wake(waker);
        }
    }

    /// Sends a message that was stored before this connection subscribed.
    pub(crate) fn send_stored(&self, message: &Arc<Message>, qos: Qos) {
        if !self.may_receive(&message.topic) {
            return;
        }
        let mut state = self.lock();
        if state.end.is_none() {
            let outgoing = Outgoing { message: message.clone(), qos: qos.min(message.qos), retain: true };
            let waker = self.push(&mut state, outgoing);
            drop(state);
            wake(waker);
        }
    }

    /// Whether a subscription of this connection wants messages of this topic.
    pub(crate) fn wants(&self, topic: &str) -> bool {
        let state = self.lock();
        !state.is_gone() && state.granted(topic).is_some()
    }

    /// Whether this connection gets a message by its reader, and how. What one of its other subscriptions wants too came
    /// already; a stored message comes this way alone.
    pub(crate) fn read(&self, message: &Arc<Message>) -> Read {
        let state = self.lock();
        match state.wish(message, self.session) {
            Wish::ByReader(outgoing) => Read::Wanted(outgoing),
            Wish::Direct(outgoing) if message.retained => Read::Wanted(outgoing),
            Wish::Nothing if state.is_gone() => Read::Away,
            Wish::Direct(_) | Wish::Nothing => Read::NotThisWay,
        }
    }

    /// Sends a message that a reader of wildcards got, as soon as there is room.
    pub(crate) async fn send(&self, outgoing: Outgoing) -> Sent {
        if !self.may_receive(&outgoing.message.topic) {
            return Sent::Done;
        }
        loop {
            let emptied = self.room.notified();
            {
                let mut state = self.lock();
                if state.is_gone() {
                    return match state.rare.as_mut().and_then(|rare| rare.successor.clone()) {
                        Some(next) => Sent::Moved(next),
                        None => Sent::Over,
                    };
                }
                if !state.outbox.is_half_full() {
                    let waker = self.put(&mut state, outgoing);
                    drop(state);
                    wake(waker);
                    return Sent::Done;
                }
            }
            emptied.await;
        }
    }

    /// Ends the connection; the first reason counts.
    pub(crate) fn end(&self, end: End) {
        let mut state = self.lock();
        let waker = state.finish(end);
        drop(state);
        self.room.notify_waiters();
        wake(waker);
    }

    /// Takes what can be sent now: every settled tag, and messages with at most `permits` of QoS 1.
    /// When there is nothing, `context` is woken as soon as there is.
    pub(crate) fn take(
        &self,
        permits: usize,
        bytes_max: usize,
        in_flight: &mut InFlight,
        context: &mut Context<'_>,
    ) -> Taken {
        let mut state = self.lock();
        let mut taken = Taken { settled: std::mem::take(&mut state.settled), end: state.end, ..Taken::default() };
        if !state.outbox.is_empty() {
            state.outbox.take(permits, bytes_max, &mut taken.messages);
            if let Some(rare) = &mut state.rare {
                rare.sends(&mut taken, in_flight);
            }
        }
        if taken.settled.is_empty() && taken.messages.is_empty() && taken.end.is_none() {
            match &state.waker {
                Some(waker) if waker.will_wake(context.waker()) => {}
                _ => state.waker = Some(context.waker().clone()),
            }
        }
        drop(state);
        if !taken.messages.is_empty() {
            self.room.notify_waiters();
        }
        taken
    }

    /// Adds a subscription, or changes the one with the same filter. `false` when it is a change.
    pub(crate) fn subscribe(&self, filter: TopicFilter, granted: Granted) -> bool {
        let mut state = self.lock();
        match state.subscriptions.iter_mut().find(|known| known.filter == filter) {
            Some(known) => {
                known.granted = granted;
                false
            }
            None => {
                // Few have more than a handful, and thousands have a handful.
                if state.subscriptions.len() == state.subscriptions.capacity() {
                    state.subscriptions.reserve_exact(2);
                }
                let spans = filter.thing().is_none() && !filter.is_application() && !filter.is_answer();
                state.subscriptions.push(Subscription { filter, granted, spans });
                true
            }
        }
    }

    /// Remembers a shared subscription.
    pub(crate) fn share(&self, share: Share) {
        let mut state = self.lock();
        let groups = &mut state.rare.get_or_insert_default().groups;
        if !groups.iter().any(|known| known.subscribed == share.subscribed) {
            groups.push(share);
        }
    }

    /// Forgets a shared subscription. `false` when there was none.
    pub(crate) fn unshare(&self, subscribed: &Subscribed) -> bool {
        let mut state = self.lock();
        let Some(rare) = &mut state.rare else { return false };
        let before = rare.groups.len();
        rare.groups.retain(|known| known.subscribed != *subscribed);
        rare.groups.len() < before
    }

    /// Removes a subscription and returns its filter if there was one.
    pub(crate) fn unsubscribe(&self, filter: &str) -> Option<TopicFilter> {
        let mut state = self.lock();
        let at = state.subscriptions.iter().position(|known| known.filter.as_str() == filter)?;
        Some(state.subscriptions.swap_remove(at).filter)
    }

    /// How many subscriptions there are, and whether this one is among them.
    pub(crate) fn subscriptions(&self, wanted: &Subscribed) -> (usize, bool) {
        let state = self.lock();
        let groups = state.rare.as_ref().map_or(&[][..], |rare| &rare.groups);
        let known = match wanted {
            Subscribed::Own(filter) => state.subscriptions.iter().any(|known| known.filter == *filter),
            Subscribed::Shared { .. } => groups.iter().any(|known| known.subscribed == *wanted),
        };
        (state.subscriptions.len() + groups.len(), known)
    }

    /// The filters of its own subscriptions.
    pub(crate) fn filters(&self) -> Vec<TopicFilter> {
        self.lock().subscriptions.iter().map(|known| known.filter.clone()).collect()
    }

    /// Its own subscriptions, each with the guarantee that it was granted.
    pub(crate) fn granted_filters(&self) -> Vec<(String, Qos)> {
        let state = self.lock();
        state.subscriptions.iter().map(|known| (known.filter.to_string(), known.granted.qos)).collect()
    }

    /// Its shared subscriptions.
    pub(crate) fn shares(&self) -> Vec<Share> {
        self.lock().rare.as_ref().map_or_else(Vec::new, |rare| rare.groups.clone())
    }

    /// Whether a subscription of this connection is about a thing.
    pub(crate) fn is_about(&self, thing: &ThingName) -> bool {
        self.lock().subscriptions.iter().any(|known| known.filter.thing().as_ref() == Some(thing))
    }

    /// Whether the client is connected.
    pub(crate) fn is_online(&self) -> bool {
        self.lock().end.is_none()
    }

    /// Whether the session outlives its connection.
    pub(crate) fn is_kept(&self) -> bool {
        self.lock().is_kept()
    }

    /// Whether the session waits for its client.
    pub(crate) fn waits(&self) -> bool {
        self.with_kept(|kept| kept.waits) == Some(true)
    }

    /// The session shall outlive its connection by so much; zero: not at all.
    pub(crate) fn keep(&self, version: Version, life: Duration, messages_max: usize) {
        let mut state = self.lock();
        match &mut state.rare.get_or_insert_default().kept {
            Some(kept) => kept.life = life,
            kept => *kept = Some(Kept::new(version, life, messages_max)),
        }
    }

    /// Looks at or changes what the session keeps, if it is kept.
    pub(crate) fn with_kept<T>(&self, look: impl FnOnce(&mut Kept) -> T) -> Option<T> {
        self.lock().rare.as_mut().and_then(|rare| rare.kept.as_mut()).map(look)
    }

    /// The client has the message with this packet id.
    pub(crate) fn acknowledged(&self, id: u16) {
        self.with_kept(|kept| kept.unacknowledged.retain(|(known, _)| *known != id));
    }

    /// Begins to wait for the client: what is not worth keeping is forgotten, and the rest is charged. A will that has a
    /// delay waits too; one that comes back is said now. `None` when the session is not kept, or another has it.
    pub(crate) fn retire(&self, will: &mut Option<Box<Will>>) -> Option<Duration> {
        let mut state = self.lock();
        let State { outbox, rare, .. } = &mut *state;
        let rare = rare.as_mut()?;
        let Some(kept) = rare.kept.as_mut().filter(|kept| !kept.life.is_zero()) else {
            if rare.successor.is_some() {
                // Its client is there: nobody need be told, unless it wanted that at once.
                *will = will.take().filter(|will| will.delay.is_zero());
            }
            return None;
        };
        kept.will = will.take_if(|will| !will.delay.is_zero());
        let unacknowledged: usize = kept.unacknowledged.iter().map(|(_, sent)| sent.message.weight()).sum();
        let weight = outbox.keep_guaranteed() + unacknowledged;
        self.counters.waiting.give_back(kept.charged);
        // More than there is, for once: it was in memory before.
        let _ = self.counters.waiting.take(weight);
        kept.charged = weight;
        Some(kept.life)
    }

    /// Ends a kept session.
    pub(crate) fn take_kept(&self) -> Option<Kept> {
        let kept = self.lock().rare.as_mut().and_then(|rare| rare.kept.take());
        self.room.notify_waiters();
        kept
    }

    /// Gives subscriptions, queue and everything else to another connection of the same client.
    pub(crate) fn hand_over(&self, new: &Arc<Self>) -> Option<Handed> {
        // Two connections are locked at the same time here alone, the older one first.
        let mut old = self.lock();
        let mut state = new.lock();
        let mut rare = old.rare.take()?;
        let Some(mut kept) = rare.kept.take() else {
            old.rare = Some(rare);
            return None;
        };
        let (waited, charged, timers) = kept.wake();
        state.subscriptions = std::mem::take(&mut old.subscriptions);
        let fresh = std::mem::replace(&mut state.outbox, std::mem::take(&mut old.outbox));
        let mut dropped = 0;
        for outgoing in fresh.into_messages() {
            // It came while both were listening, and the older queue is full: the newest is the one to lose.
            dropped += state.outbox.push(outgoing).unwrap_or(1);
        }
        add(&self.counters.dropped, dropped);
        let groups = std::mem::take(&mut rare.groups);
        old.rare = Some(Box::new(Rare { successor: Some(new.clone()), ..Rare::default() }));
        state.rare = Some(Box::new(Rare { kept: Some(kept), groups: groups.clone(), successor: None }));
        drop((state, old));
        self.room.notify_waiters();
        Some(Handed { groups, waited, charged, timers })
    }

    /// Sends it, or keeps it for a client that is away.
    fn put(&self, state: &mut State, outgoing: Outgoing) -> Option<Waker> {
        if state.end.is_none() {
            return self.push(state, outgoing);
        }
        let State { outbox, rare, .. } = state;
        let kept = rare.as_mut().and_then(|rare| rare.kept.as_mut())?;
        if outgoing.qos == Qos::AtMostOnce {
            return None;
        }
        let weight = outgoing.message.weight();
        let room = outbox.len() < kept.messages_max && outbox.has_room_for(weight);
        if room && self.counters.waiting.take(weight) {
            kept.charged += weight;
            // Cannot overflow: there is room.
            let _ = outbox.push(outgoing);
        } else {
            if room {
                self.counters.waiting.give_back(weight);
            }
            count(&self.counters.queue_dropped);
        }
        None
    }

    fn push(&self, state: &mut State, outgoing: Outgoing) -> Option<Waker> {
        match state.outbox.push(outgoing) {
            Ok(dropped) => {
                if dropped > 0 {
                    add(&self.counters.dropped, dropped);
                }
                state.waker.take()
            }
            Err(Overflow) => {
                count(&self.counters.throttled);
                state.finish(End::Throttled)
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The highest guarantee granted for a topic: overlapping subscriptions get one copy.
    fn granted(&self, topic: &str) -> Option<Qos> {
        self.subscriptions.iter().filter(|known| known.matches(topic)).map(|known| known.granted.qos).max()
    }

    /// How a message is sent, if a subscription wants it: one copy, with the highest guarantee of those that want it.
    fn wish(&self, message: &Arc<Message>, session: u64) -> Wish {
        let own = message.origin == session;
        let matching = self.subscriptions.iter().filter(|known| known.matches(&message.topic));
        let (mut qos, mut retain, mut direct) = (None, message.retained, false);
        for known in matching.filter(|known| !(own && known.granted.no_local)) {
            qos = qos.max(Some(known.granted.qos));
            retain |= known.granted.retain_as_published && message.retain;
            direct |= !known.spans;
        }
        let outgoing = qos.map(|qos| Outgoing { message: message.clone(), qos: qos.min(message.qos), retain });
        match outgoing {
            None => Wish::Nothing,
            Some(outgoing) if direct => Wish::Direct(outgoing),
            Some(outgoing) => Wish::ByReader(outgoing),
        }
    }

    fn is_kept(&self) -> bool {
        self.rare.as_ref().and_then(|rare| rare.kept.as_ref()).is_some_and(|kept| !kept.life.is_zero())
    }

    /// Whether nothing can be said to the client any more, not even later.
    fn is_gone(&self) -> bool {
        self.end.is_some() && !self.is_kept()
    }

    fn finish(&mut self, end: End) -> Option<Waker> {
        self.end.get_or_insert(end);
        self.waker.take()
    }
}

impl Rare {
    /// Notes what is sent now: a kept session repeats it until it is acknowledged.
    fn sends(&mut self, taken: &mut Taken, in_flight: &mut InFlight) {
        if let Some(kept) = &mut self.kept {
            for sent in taken.messages.iter().filter(|sent| sent.qos == Qos::AtLeastOnce) {
                let id = in_flight.begin();
                kept.unacknowledged.push_back((id, sent.clone()));
                taken.ids.push(id);
            }
        }
        if !taken.messages.is_empty() {
            taken.groups = self.groups.iter().map(|share| share.group.clone()).collect();
        }
    }
}

impl Connection for Link {
    fn answer(&self, tag: Tag, answer: Answer) {
        let mut state = self.lock();
        let mut waker = match answer.outcome {
            Outcome::Settled => {
                state.settled.push(tag);
                state.waker.take()
            }
            Outcome::Failed => state.finish(End::Failed),
        };
        for message in answer.direct {
            if state.end.is_some() {
                break;
            }
            if !self.may_receive(&message.topic) {
                continue;
            }
            let qos = state.granted(&message.topic).map_or(message.qos, |granted| granted.min(message.qos));
            let pushed = self.push(&mut state, Outgoing { message, qos, retain: false });
            waker = waker.or(pushed);
        }
        drop(state);
        wake(waker);
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}
