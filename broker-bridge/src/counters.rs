//! What a bridge counted since it started.

use std::sync::atomic::{AtomicU64, Ordering};

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
