//! One connection as others see it: the service that answers, the map that delivers, the newer connection that takes
//! over. The connection's own task empties it.

use super::end::End;
use super::outbox::{Outbox, Outgoing, Overflow};
use crate::counters::{Counters, add, count};
use muster_bus::{Answer, Caller, Connection, Message, Outcome, Qos, Tag};
use muster_wire::filter::TopicFilter;
use muster_wire::id::ThingName;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use tokio::sync::Notify;

/// One connection.
pub(crate) struct Link {
    pub(crate) caller: Arc<Caller>,
    /// Grows with every connection of the process.
    pub(crate) session: u64,
    counters: Arc<Counters>,
    state: Mutex<State>,
    room: Notify,
}

#[derive(Default)]
struct State {
    /// Tags of requests that are settled.
    settled: Vec<Tag>,
    outbox: Outbox,
    subscriptions: Vec<Subscription>,
    end: Option<End>,
    waker: Option<Waker>,
}

#[derive(Debug)]
struct Subscription {
    filter: TopicFilter,
    qos: Qos,
}

/// What the connection's task took out.
#[derive(Default)]
pub(crate) struct Taken {
    pub(crate) settled: Vec<Tag>,
    pub(crate) messages: Vec<Outgoing>,
    pub(crate) end: Option<End>,
}

impl Link {
    pub(crate) fn new(caller: Arc<Caller>, session: u64, counters: Arc<Counters>) -> Arc<Self> {
        Arc::new(Self { caller, session, counters, state: Mutex::default(), room: Notify::new() })
    }

    /// Sends a message if a subscription of this connection wants it.
    pub(crate) fn offer(&self, message: &Arc<Message>) {
        let mut state = self.lock();
        if state.end.is_none()
            && let Some(granted) = state.granted(&message.topic)
        {
            let outgoing = Outgoing { message: message.clone(), qos: granted.min(message.qos) };
            let waker = self.push(&mut state, outgoing);
            drop(state);
            wake(waker);
        }
    }

    /// Whether a subscription of this connection wants messages of this topic.
    pub(crate) fn wants(&self, topic: &str) -> bool {
        let state = self.lock();
        state.end.is_none() && state.granted(topic).is_some()
    }

    /// The guarantee that this connection was granted for a topic.
    pub(crate) fn granted(&self, topic: &str) -> Option<Qos> {
        self.lock().granted(topic)
    }

    /// Sends a message that a reader of wildcards got, as soon as there is room. `false` when the connection is over.
    pub(crate) async fn send(&self, outgoing: Outgoing) -> bool {
        loop {
            let emptied = self.room.notified();
            {
                let mut state = self.lock();
                if state.end.is_some() {
                    return false;
                }
                if !state.outbox.is_half_full() {
                    let waker = self.push(&mut state, outgoing);
                    drop(state);
                    wake(waker);
                    return true;
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
    pub(crate) fn take(&self, permits: usize, bytes_max: usize, context: &mut Context<'_>) -> Taken {
        let mut state = self.lock();
        let mut taken = Taken { settled: std::mem::take(&mut state.settled), end: state.end, ..Taken::default() };
        if !state.outbox.is_empty() {
            state.outbox.take(permits, bytes_max, &mut taken.messages);
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
    pub(crate) fn subscribe(&self, filter: TopicFilter, qos: Qos) -> bool {
        let mut state = self.lock();
        match state.subscriptions.iter_mut().find(|known| known.filter == filter) {
            Some(known) => {
                known.qos = qos;
                false
            }
            None => {
                // Few have more than a handful, and thousands have a handful.
                if state.subscriptions.len() == state.subscriptions.capacity() {
                    state.subscriptions.reserve_exact(2);
                }
                state.subscriptions.push(Subscription { filter, qos });
                true
            }
        }
    }

    /// Removes a subscription and returns its filter if there was one.
    pub(crate) fn unsubscribe(&self, filter: &str) -> Option<TopicFilter> {
        let mut state = self.lock();
        let at = state.subscriptions.iter().position(|known| known.filter.as_str() == filter)?;
        Some(state.subscriptions.swap_remove(at).filter)
    }

    /// How many subscriptions there are, and whether this filter is among them.
    pub(crate) fn subscriptions(&self, filter: &TopicFilter) -> (usize, bool) {
        let state = self.lock();
        (state.subscriptions.len(), state.subscriptions.iter().any(|known| known.filter == *filter))
    }

    /// The things that subscriptions of this connection are about; a thing may be named more than once.
    pub(crate) fn things(&self) -> Vec<ThingName> {
        self.lock().subscriptions.iter().filter_map(|known| known.filter.thing()).collect()
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
        self.subscriptions.iter().filter(|known| known.filter.matches(topic)).map(|known| known.qos).max()
    }

    fn finish(&mut self, end: End) -> Option<Waker> {
        self.end.get_or_insert(end);
        self.waker.take()
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
            let qos = state.granted(&message.topic).map_or(message.qos, |granted| granted.min(message.qos));
            let pushed = self.push(&mut state, Outgoing { message, qos });
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
