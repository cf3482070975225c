//! What a bridge counted since it started.

use muster_wire::limits::SESSIONS_WAITING_BYTES_MAX;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Live counters; shared by every connection.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) accepted: AtomicU64,
    pub(crate) turned_away: AtomicU64,
    pub(crate) handshakes_failed: AtomicU64,
    pub(crate) sessions: AtomicU64,
    pub(crate) connects_refused: AtomicU64,
    pub(crate) denied: AtomicU64,
    pub(crate) published: AtomicU64,
    pub(crate) delivered: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) oversized: AtomicU64,
    pub(crate) throttled: AtomicU64,
    pub(crate) bytes_in: AtomicU64,
    pub(crate) bytes_out: AtomicU64,
    pub(crate) sessions_waiting: AtomicU64,
    pub(crate) sessions_resumed: AtomicU64,
    pub(crate) sessions_not_kept: AtomicU64,
    pub(crate) queue_dropped: AtomicU64,
    pub(crate) expired: AtomicU64,
    pub(crate) wills: AtomicU64,
    pub(crate) retained_refused: AtomicU64,
    pub(crate) paced: AtomicU64,
    pub(crate) waiting: Budget,
}

/// Bytes that wait for clients that are not there; a gauge with a bound.
#[derive(Debug)]
pub(crate) struct Budget {
    used: AtomicUsize,
    max: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { used: AtomicUsize::new(0), max: SESSIONS_WAITING_BYTES_MAX }
    }
}

impl Budget {
    pub(crate) fn new(max: usize) -> Self {
        Self { used: AtomicUsize::new(0), max }
    }

    /// Takes so many bytes; `false` when that is more than there are. Taken all the same: give them back.
    pub(crate) fn take(&self, bytes: usize) -> bool {
        self.used.fetch_add(bytes, Ordering::Relaxed) + bytes <= self.max
    }

    pub(crate) fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CountersSnapshot {
    /// TCP connections accepted.
    pub accepted: u64,
    /// Connections closed at once, because there were too many, or too many of their address or without a certificate.
    pub turned_away: u64,
    /// TLS handshakes that failed or took too long.
    pub handshakes_failed: u64,
    /// MQTT sessions that are open now.
    pub sessions: u64,
    /// CONNECTs that were refused.
    pub connects_refused: u64,
    /// Publishes and subscriptions that the policy denied.
    pub denied: u64,
    /// Publishes taken from clients.
    pub published: u64,
    /// Messages sent to clients.
    pub delivered: u64,
    /// QoS 0 messages dropped for slow clients.
    pub dropped: u64,
    /// Messages dropped because they are larger than their client takes.
    pub oversized: u64,
    /// Connections ended because a QoS 1 message no longer fitted.
    pub throttled: u64,
    /// MQTT bytes read from clients.
    pub bytes_in: u64,
    /// MQTT bytes written to clients.
    pub bytes_out: u64,
    /// Sessions that wait for their client now.
    pub sessions_waiting: u64,
    /// Sessions that their client came back to.
    pub sessions_resumed: u64,
    /// Sessions that ended with their connection because too many waited.
    pub sessions_not_kept: u64,
    /// Messages dropped because the queue of a waiting session or group was full.
    pub queue_dropped: u64,
    /// Messages dropped because their time was over.
    pub expired: u64,
    /// Wills published.
    pub wills: u64,
    /// Retained messages refused because there was no room.
    pub retained_refused: u64,
    /// Pauses because a client said more in a second than the settings allow.
    pub paced: u64,
    /// Bytes in the queues of waiting sessions and groups now.
    pub waiting_bytes: u64,
}

impl Counters {
    pub(crate) fn snapshot(&self) -> CountersSnapshot {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CountersSnapshot {
            accepted: read(&self.accepted),
            turned_away: read(&self.turned_away),
            handshakes_failed: read(&self.handshakes_failed),
            sessions: read(&self.sessions),
            connects_refused: read(&self.connects_refused),
            denied: read(&self.denied),
            published: read(&self.published),
            delivered: read(&self.delivered),
            dropped: read(&self.dropped),
            oversized: read(&self.oversized),
            throttled: read(&self.throttled),
            bytes_in: read(&self.bytes_in),
            bytes_out: read(&self.bytes_out),
            sessions_waiting: read(&self.sessions_waiting),
            sessions_resumed: read(&self.sessions_resumed),
            sessions_not_kept: read(&self.sessions_not_kept),
            queue_dropped: read(&self.queue_dropped),
            expired: read(&self.expired),
            wills: read(&self.wills),
            retained_refused: read(&self.retained_refused),
            paced: read(&self.paced),
            waiting_bytes: self.waiting.used.load(Ordering::Relaxed) as u64,
        }
    }
}

/// One more.
pub(crate) fn count(counter: &AtomicU64) {
    add(counter, 1);
}

/// So many more.
pub(crate) fn add(counter: &AtomicU64, amount: usize) {
    counter.fetch_add(amount as u64, Ordering::Relaxed);
}
