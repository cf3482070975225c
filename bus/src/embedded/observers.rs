//! Readers with wildcards: rumqttd as a library, without listeners.
//!
//! rumqttd keeps a bounded log for each filter and lets every reader move at its own pace: a reader that lags loses the
//! oldest messages and never slows a publisher. Three of its habits are kept away from it:
//!
//! * It never forgets a filter or a topic, and matches every new topic against every old filter. So it sees one
//!   [`Channel`] for each family of topics and nothing else; the real topic travels in front of the payload, and each
//!   reader's own filters are matched here.
//! * Its publisher waits while its router is busy. So one thread publishes, behind a bounded queue that drops when it is
//!   full: whoever has something to say never waits.
//! * It forwards only a window of retained messages to a new reader. So retained states are kept here.

use crate::{Message, Qos, Stopped};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use muster_wire::filter::TopicFilter;
use rumqttd::local::{LinkRx, LinkTx};
use rumqttd::protocol::{Disconnect, DisconnectReasonCode, Packet};
use rumqttd::{Broker, Config, Notification, RouterConfig};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, PoisonError, RwLock};
use tracing::{error, warn};

/// Readers at one time.
const READERS_MAX: usize = 1000;
/// Bytes of one segment of a channel's log, and segments of it: how far a reader may lag.
const SEGMENT_BYTES: usize = 1024 * 1024;
const SEGMENTS_MAX: usize = 4;
/// Messages that rumqttd hands to a reader before it waits for the reader.
const WINDOW: u64 = 200;
/// Messages that wait for the publishing thread. Past it readers miss messages, which is counted and logged.
const WAITING_MAX: usize = 4096;
/// What stands before the topic of a message on its way to the readers.
const HEAD_BYTES: usize = 8 + 1 + 2;

/// A family of topics: the only topics and filters that rumqttd knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Channel {
    Views,
    Events,
    Things,
    Other,
}

impl Channel {
    const ALL: [Self; 4] = [Self::Views, Self::Events, Self::Things, Self::Other];

    const fn name(self) -> &'static str {
        match self {
            Self::Views => "views",
            Self::Events => "events",
            Self::Things => "things",
            Self::Other => "other",
        }
    }

    /// The family of a topic, from its second level: `muster/view`, `$aws/events`, `$aws/things`.
    fn of(topic: &str) -> Self {
        match topic.split('/').nth(1) {
            Some("view") => Self::Views,
            Some("events") => Self::Events,
            Some("things") => Self::Things,
            _ => Self::Other,
        }
    }

    /// The families whose topics a filter may match: all of them when its first two levels have a wildcard.
    fn matched_by(filter: &TopicFilter) -> Vec<Self> {
        let mut levels = filter.as_str().split('/');
        let wild = levels.by_ref().take(2).any(|level| matches!(level, "+" | "#"));
        if wild { Self::ALL.to_vec() } else { vec![Self::of(filter.as_str())] }
    }
}

/// The readers' side of the bus.
pub(super) struct Observers {
    broker: Broker,
    publisher: Option<SyncSender<(Channel, Bytes)>>,
    readers: AtomicU64,
    dropped: AtomicU64,
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
        let publisher = start_publisher(&broker);
        Self { broker, publisher, readers: AtomicU64::new(1), dropped: AtomicU64::new(0), shared: Arc::default() }
    }

    pub(super) fn wanted(&self, topic: &str) -> bool {
        let filters = self.shared.filters.read().unwrap_or_else(PoisonError::into_inner);
        filters.iter().any(|(_, filter)| filter.matches(topic))
    }

    /// Never waits.
    pub(super) fn publish(&self, message: &Message) {
        let Some(publisher) = &self.publisher else { return };
        let Some(envelope) = wrap(message) else { return };
        match publisher.try_send((Channel::of(&message.topic), envelope)) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                let dropped = self.dropped.fetch_add(1, Ordering::Relaxed) + 1;
                if dropped.is_power_of_two() {
                    warn!(dropped, "readers missed messages: more was said than their broker takes");
                }
            }
            Err(TrySendError::Disconnected(_)) => warn!(topic = %message.topic, "readers missed a message"),
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
        Ok(ObserverLink { id, tx, rx, channels: Vec::new(), filters: Vec::new(), shared: self.shared.clone() })
    }
}

fn start_publisher(broker: &Broker) -> Option<SyncSender<(Channel, Bytes)>> {
    let (queue, waiting) = sync_channel(WAITING_MAX);
    // The publisher subscribes to nothing, so nothing is ever sent to its receiving half.
    let (link, _nothing_to_read) = match broker.link("service") {
        Ok(link) => link,
        Err(error) => {
            error!(%error, "readers get nothing: their broker did not start");
            return None;
        }
    };
    match std::thread::Builder::new().name("readers".to_owned()).spawn(move || publish_all(link, &waiting)) {
        Ok(_ends_with_its_queue) => Some(queue),
        Err(error) => {
            error!(%error, "readers get nothing: no thread for them");
            None
        }
    }
}

fn publish_all(mut link: LinkTx, waiting: &Receiver<(Channel, Bytes)>) {
    while let Ok((channel, envelope)) = waiting.recv() {
        if let Err(error) = link.publish(Bytes::from_static(channel.name().as_bytes()), envelope) {
            error!(%error, "readers get nothing more: their broker ended");
            return;
        }
    }
}

/// Who published it, its guarantee, the topic with its length in two bytes before it, and the payload. `None` for a topic
/// that no filter could match.
fn wrap(message: &Message) -> Option<Bytes> {
    let length = u16::try_from(message.topic.len()).ok()?;
    let mut envelope = BytesMut::with_capacity(HEAD_BYTES + message.topic.len() + message.payload.len());
    envelope.put_u64(message.origin);
    envelope.put_u8(u8::from(message.qos == Qos::AtLeastOnce));
    envelope.put_u16(length);
    envelope.put_slice(message.topic.as_bytes());
    envelope.put_slice(&message.payload);
    Some(envelope.freeze())
}

fn unwrap(mut envelope: Bytes) -> Option<Message> {
    let origin = envelope.try_get_u64().ok()?;
    let qos = if envelope.try_get_u8().ok()? == 0 { Qos::AtMostOnce } else { Qos::AtLeastOnce };
    let length = usize::from(envelope.try_get_u16().ok()?);
    let topic = String::from_utf8(envelope.get(..length)?.to_vec()).ok()?;
    Some(Message { origin, qos, ..Message::new(topic, envelope.split_off(length)) })
}

/// One reader: its subscriptions and the messages for it.
pub struct ObserverLink {
    id: u64,
    tx: LinkTx,
    rx: LinkRx,
    /// What this reader gets from rumqttd. It stays subscribed until it leaves: there are only four.
    channels: Vec<Channel>,
    filters: Vec<TopicFilter>,
    shared: Arc<Shared>,
}

impl ObserverLink {
    /// Adds a subscription. Live messages come from [`ObserverLink::next`]; ask the bus for the retained ones after this.
    pub fn subscribe(&mut self, filter: &TopicFilter) -> Result<(), Stopped> {
        for channel in Channel::matched_by(filter) {
            if !self.channels.contains(&channel) {
                self.tx.subscribe(channel.name()).map_err(|_| Stopped)?;
                self.channels.push(channel);
            }
        }
        if !self.filters.contains(filter) {
            self.filters.push(filter.clone());
            let mut filters = self.shared.filters.write().unwrap_or_else(PoisonError::into_inner);
            filters.push((self.id, filter.clone()));
        }
        Ok(())
    }

    /// Ends a subscription.
    pub fn unsubscribe(&mut self, filter: &TopicFilter) -> Result<(), Stopped> {
        self.filters.retain(|known| known != filter);
        let mut filters = self.shared.filters.write().unwrap_or_else(PoisonError::into_inner);
        filters.retain(|(id, known)| *id != self.id || known != filter);
        Ok(())
    }

    /// The next live message that one of the filters matches.
    ///
    /// Cancel-safe: a message that was taken from rumqttd is returned by this call or by the next one.
    pub async fn next(&mut self) -> Result<Arc<Message>, Stopped> {
        loop {
            match self.rx.next().await {
                Ok(Some(Notification::Forward(forward))) => {
                    let Some(message) = unwrap(forward.publish.payload) else { continue };
                    if !self.filters.iter().any(|filter| filter.matches(&message.topic)) {
                        continue;
                    }
                    return Ok(Arc::new(message));
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
