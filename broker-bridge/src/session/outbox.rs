//! What waits to be sent to one client, within its bounds. Pure: no lock, no waker.

use muster_bus::{Message, Qos};
use muster_wire::limits::{OUTBOX_BYTES_MAX, OUTBOX_MESSAGES_MAX};
use std::collections::VecDeque;
use std::sync::Arc;

/// A message for one client.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    pub(crate) message: Arc<Message>,
    /// The lower of what the message wishes and the subscription was granted.
    pub(crate) qos: Qos,
    /// The packet's RETAIN flag.
    pub(crate) retain: bool,
}

/// A QoS 1 message did not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Overflow;

/// The queue of one client. Takes no memory while it is empty.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    messages: VecDeque<Outgoing>,
    bytes: usize,
}

impl Outbox {
    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Whether a reader that can wait should.
    pub(crate) fn is_half_full(&self) -> bool {
        self.messages.len() >= OUTBOX_MESSAGES_MAX / 2 || self.bytes >= OUTBOX_BYTES_MAX / 2
    }

    /// Whether a message of this weight fits without dropping another.
    pub(crate) fn has_room_for(&self, weight: usize) -> bool {
        self.messages.len() < OUTBOX_MESSAGES_MAX && self.bytes + weight <= OUTBOX_BYTES_MAX
    }

    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    /// What all of it weighs.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// All of it, in order.
    pub(crate) fn into_messages(self) -> VecDeque<Outgoing> {
        self.messages
    }

    /// The oldest message.
    pub(crate) fn pop(&mut self) -> Option<Outgoing> {
        let oldest = self.messages.pop_front()?;
        self.bytes -= oldest.message.weight();
        Some(oldest)
    }

    /// Makes a message the oldest again.
    pub(crate) fn put_back(&mut self, outgoing: Outgoing) {
        self.bytes += outgoing.message.weight();
        self.messages.push_front(outgoing);
    }

    /// Forgets what is not worth keeping for a client that is not there, and returns the bytes of what is left.
    pub(crate) fn keep_guaranteed(&mut self) -> usize {
        self.messages.retain(|waiting| waiting.qos == Qos::AtLeastOnce);
        self.bytes = self.messages.iter().map(|waiting| waiting.message.weight()).sum();
        self.bytes
    }

    /// Adds a message and returns how many were dropped for it. A full queue loses its oldest QoS 0 messages, or a new
    /// one of QoS 0; a QoS 1 message that does not fit then is an overflow.
    pub(crate) fn push(&mut self, outgoing: Outgoing) -> Result<usize, Overflow> {
        let weight = outgoing.message.weight();
        let mut dropped = 0;
        while self.messages.len() >= OUTBOX_MESSAGES_MAX || self.bytes + weight > OUTBOX_BYTES_MAX {
            let oldest = self.messages.iter().position(|waiting| waiting.qos == Qos::AtMostOnce);
            match oldest.and_then(|at| self.messages.remove(at)) {
                Some(lost) => self.bytes -= lost.message.weight(),
                None if outgoing.qos == Qos::AtMostOnce => return Ok(dropped + 1),
                None => return Err(Overflow),
            }
            dropped += 1;
        }
        self.bytes += weight;
        self.messages.push_back(outgoing);
        Ok(dropped)
    }

    /// Moves the next messages to `taken`, in order: at most `permits` of QoS 1, and about `bytes_max` in all.
    pub(crate) fn take(&mut self, mut permits: usize, bytes_max: usize, taken: &mut Vec<Outgoing>) {
        let mut bytes = 0;
        while bytes < bytes_max {
            match self.messages.front() {
                Some(next) if next.qos == Qos::AtMostOnce || permits > 0 => {}
                _ => break,
            }
            let Some(next) = self.messages.pop_front() else { break };
            permits -= usize::from(next.qos == Qos::AtLeastOnce);
            let weight = next.message.weight();
            self.bytes -= weight;
            bytes += weight;
            taken.push(next);
        }
        if self.messages.is_empty() {
            self.messages = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn outgoing(topic: usize, bytes: usize, qos: Qos) -> Outgoing {
        Outgoing { message: Arc::new(Message::new(topic, vec![0; bytes])), qos, retain: false }
    }

    fn topics(outbox: &mut Outbox, permits: usize) -> Vec<String> {
        let mut taken = Vec::new();
        outbox.take(permits, usize::MAX, &mut taken);
        taken.iter().map(|next| next.message.topic.to_string()).collect()
    }

    #[test]
    fn a_full_queue_loses_its_oldest_qos_0_messages() {
        let mut outbox = Outbox::default();
        for at in 0..OUTBOX_MESSAGES_MAX {
            let qos = if at == 1 || at == 3 { Qos::AtMostOnce } else { Qos::AtLeastOnce };
            assert_eq!(outbox.push(outgoing(at, 1, qos)), Ok(0));
        }
        assert_eq!(outbox.push(outgoing(5000, 1, Qos::AtLeastOnce)), Ok(1), "1 made room");
        assert_eq!(outbox.push(outgoing(5001, 1, Qos::AtMostOnce)), Ok(1), "3 made room");
        assert_eq!(outbox.push(outgoing(5002, 1, Qos::AtMostOnce)), Ok(1), "5001 made room");
        assert_eq!(outbox.push(outgoing(5003, 1, Qos::AtLeastOnce)), Ok(1), "5002 made room");
        assert_eq!(outbox.push(outgoing(5004, 1, Qos::AtMostOnce)), Ok(1), "itself was dropped");
        assert_eq!(outbox.push(outgoing(5005, 1, Qos::AtLeastOnce)), Err(Overflow));
        let left = topics(&mut outbox, usize::MAX);
        assert_eq!(left.len(), OUTBOX_MESSAGES_MAX);
        assert!(!left.contains(&"1".to_owned()) && left.ends_with(&["5000".to_owned(), "5003".to_owned()]));
    }

    #[test]
    fn bytes_are_bounded_too() {
        let mut outbox = Outbox::default();
        let half = OUTBOX_BYTES_MAX / 2 - 1;
        assert_eq!(outbox.push(outgoing(1, half, Qos::AtLeastOnce)), Ok(0));
        assert_eq!(outbox.push(outgoing(2, half, Qos::AtLeastOnce)), Ok(0));
        assert!(outbox.is_half_full());
        assert_eq!(outbox.push(outgoing(3, 1, Qos::AtLeastOnce)), Err(Overflow));
        assert_eq!(topics(&mut outbox, 1), ["1"]);
        assert_eq!(outbox.push(outgoing(4, half, Qos::AtLeastOnce)), Ok(0));
    }

    #[test]
    fn without_permits_qos_1_waits_and_order_is_kept() {
        let mut outbox = Outbox::default();
        for (at, qos) in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::AtMostOnce, Qos::AtLeastOnce].into_iter().enumerate()
        {
            outbox.push(outgoing(at, 1, qos)).unwrap();
        }
        assert_eq!(topics(&mut outbox, 0), ["0"]);
        assert_eq!(topics(&mut outbox, 0), [""; 0]);
        assert_eq!(topics(&mut outbox, 1), ["1", "2"]);
        assert_eq!(topics(&mut outbox, 1), ["3"]);
        assert!(outbox.is_empty() && outbox.messages.capacity() == 0);
    }
}
