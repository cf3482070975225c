//! Readers with wildcards: rumqttd as a library, without listeners.
//!
//! rumqttd keeps a bounded log for each filter and lets every reader move at its own pace: a reader that lags loses the
//! oldest messages and never slows a publisher. It does not take filters that begin with `$`, so a leading `$` becomes
//! [`STAND_IN`] on the way in and `$` again on the way out. Retained states are kept here, one for each topic: rumqttd
//! forwards at most a window of them to a new reader.

use crate::{Message, Qos, Stopped};
use bytes::Bytes;
use muster_wire::filter::TopicFilter;
use rumqttd::local::{LinkRx, LinkTx};
use rumqttd::protocol::{Disconnect, DisconnectReasonCode, Packet};
use rumqttd::{Broker, Config, Notification, RouterConfig};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use tracing::warn;

/// Stands for a leading `$` inside rumqttd. Clients cannot use it: no policy allows such a topic.
const STAND_IN: char = '~';
/// Readers at one time.
const READERS_MAX: usize = 1000;
/// Bytes of one segment of a filter's log, and segments of it: how far a reader may lag.
const SEGMENT_BYTES: usize = 1024 * 1024;
const SEGMENTS_MAX: usize = 4;
/// Messages that rumqttd hands to a reader before it waits for the reader.
const WINDOW: u64 = 200;

/// The readers' side of the bus.
pub(super) struct Observers {
    broker: Broker,
    publisher: Option<Mutex<LinkTx>>,
    readers: AtomicU64,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    filters: RwLock<Vec<(u64, TopicFilter)>>,
    retained: RwLock<BTreeMap<Box<str>, Arc<Message>>>,
}

impl Observers {
    pub(super) fn start() -> Self {
        let router = RouterConfig {
            max_connections: READERS_MAX,
            max_outgoing_packet_count: WINDOW,
            max_segment_size: SEGMENT_BYTES,
            max_segment_count: SEGMENTS_MAX,
            ..RouterConfig::default()
        };
        let broker = Broker::new(Config { router, ..Config::default() });
        let publisher = match broker.link("service") {
            // The publisher subscribes to nothing, so nothing is ever sent to its receiving half.
            Ok((publisher, _nothing_to_read)) => Some(Mutex::new(publisher)),
            Err(error) => {
                warn!(%error, "readers get nothing: their broker did not start");
                None
            }
        };
        Self { broker, publisher, readers: AtomicU64::new(1), shared: Arc::default() }
    }

    pub(super) fn wanted(&self, topic: &str) -> bool {
        let filters = self.shared.filters.read().unwrap_or_else(PoisonError::into_inner);
        filters.iter().any(|(_, filter)| filter.matches(topic))
    }

    pub(super) fn publish(&self, message: &Message) {
        let Some(publisher) = &self.publisher else { return };
        let topic = Bytes::from(inside(&message.topic).into_owned());
        let sent = lock(publisher).publish(topic, message.payload.clone());
        if let Err(error) = sent {
            warn!(%error, topic = %message.topic, "readers missed a message");
        }
    }

    pub(super) fn retain(&self, message: &Message) {
        let mut retained = self.shared.retained.write().unwrap_or_else(PoisonError::into_inner);
        if message.payload.is_empty() {
            retained.remove(&message.topic);
        } else {
            retained.insert(message.topic.clone(), Arc::new(Message { retained: true, ..message.clone() }));
        }
    }

    pub(super) fn retained(&self, filter: &TopicFilter) -> Vec<Arc<Message>> {
        let retained = self.shared.retained.read().unwrap_or_else(PoisonError::into_inner);
        if filter.has_wildcard() {
            retained.iter().filter(|(topic, _)| filter.matches(topic)).map(|(_, message)| message.clone()).collect()
        } else {
            retained.get(filter.as_str()).cloned().into_iter().collect()
        }
    }

    pub(super) fn link(&self, name: &str) -> Result<ObserverLink, Stopped> {
        let id = self.readers.fetch_add(1, Ordering::Relaxed);
        let (tx, rx) = self.broker.link(&format!("reader-{id}")).map_err(|error| {
            warn!(%error, name, "a reader was not let in");
            Stopped
        })?;
        Ok(ObserverLink { id, tx, rx, shared: self.shared.clone() })
    }
}

/// One reader: its subscriptions and the messages for it.
pub struct ObserverLink {
    id: u64,
    tx: LinkTx,
    rx: LinkRx,
    shared: Arc<Shared>,
}

impl ObserverLink {
    /// Adds a subscription. Live messages come from [`ObserverLink::next`]; ask the bus for the retained ones after this.
    pub fn subscribe(&mut self, filter: &TopicFilter) -> Result<(), Stopped> {
        let inside = inside(filter.as_str()).into_owned();
        self.tx.subscribe(inside).map_err(|_| Stopped)?;
        let mut filters = self.shared.filters.write().unwrap_or_else(PoisonError::into_inner);
        filters.retain(|(id, known)| *id != self.id || known != filter);
        filters.push((self.id, filter.clone()));
        Ok(())
    }

    /// Ends a subscription.
    pub fn unsubscribe(&mut self, filter: &TopicFilter) -> Result<(), Stopped> {
        let mut filters = self.shared.filters.write().unwrap_or_else(PoisonError::into_inner);
        filters.retain(|(id, known)| *id != self.id || known != filter);
        drop(filters);
        self.tx.unsubscribe(inside(filter.as_str()).into_owned()).map(drop).map_err(|_| Stopped)
    }

    /// The next live message.
    ///
    /// Cancel-safe: a message that was taken from rumqttd is returned by this call or by the next one.
    pub async fn next(&mut self) -> Result<Arc<Message>, Stopped> {
        loop {
            match self.rx.next().await {
                Ok(Some(Notification::Forward(forward))) => {
                    let Some(topic) = outside(&forward.publish.topic) else { continue };
                    return Ok(Arc::new(Message {
                        topic: topic.into(),
                        payload: forward.publish.payload,
                        qos: Qos::AtLeastOnce,
                        retained: false,
                        correlation: None,
                    }));
                }
                // The window is full and now read: ask for more.
                Ok(Some(Notification::Unschedule)) => self.rx.ready().map_err(|_| Stopped)?,
                Ok(Some(Notification::Disconnect(..))) | Err(_) => return Err(Stopped),
                Ok(_) => {}
            }
        }
    }
}

impl Drop for ObserverLink {
    fn drop(&mut self) {
        let mut filters = self.shared.filters.write().unwrap_or_else(PoisonError::into_inner);
        filters.retain(|(id, _)| *id != self.id);
        drop(filters);
        // rumqttd frees a link only when it says goodbye. `send` has no await inside: polled once, it is done.
        let goodbye = Packet::Disconnect(Disconnect { reason_code: DisconnectReasonCode::NormalDisconnection }, None);
        let mut sent = std::pin::pin!(self.tx.send(goodbye));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let _ = std::future::Future::poll(sent.as_mut(), &mut context);
    }
}

fn inside(topic: &str) -> Cow<'_, str> {
    match topic.strip_prefix('$') {
        Some(rest) => Cow::Owned(format!("{STAND_IN}{rest}")),
        None => Cow::Borrowed(topic),
    }
}

fn outside(topic: &[u8]) -> Option<String> {
    let topic = std::str::from_utf8(topic).ok()?;
    Some(match topic.strip_prefix(STAND_IN) {
        Some(rest) => format!("${rest}"),
        None => topic.to_owned(),
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
