//! How often a source address may fail to enrol: a bucket of attempts for each, filled slowly.

use crate::crowd::source;
use muster_runtime::clock::Clock;
use muster_wire::time::Timestamp;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Failures in a row, or attempts at the same time.
const BURST: u32 = 10;
/// One more attempt after so long.
const REFILL: Duration = Duration::from_millis(REFILL_MS as u64);
const REFILL_MS: i64 = 1000;
/// Addresses remembered. Past it the full buckets are forgotten, which changes nothing for them.
const ADDRESSES_MAX: usize = 10_000;

/// Attempts of each address that failed or are under way.
pub(crate) struct Throttle {
    clock: Clock,
    buckets: Mutex<HashMap<IpAddr, Bucket>>,
}

/// The attempts of one address.
#[derive(Clone, Copy)]
struct Bucket {
    /// When it will be full again.
    full_at: Timestamp,
    /// Attempts refused since it was last full.
    refused: u64,
}

/// Whether an attempt may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// It may.
    Taken,
    /// It may not; so many were refused in a row.
    Refused(u64),
}

impl Throttle {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, buckets: Mutex::default() }
    }

    /// Takes an attempt of this address, if it has one left. Taken before the outcome is known, so that attempts at the
    /// same time count too.
    pub(crate) fn take(&self, peer: IpAddr) -> Attempt {
        let now = self.clock.now();
        let mut buckets = self.lock();
        if buckets.len() >= ADDRESSES_MAX {
            buckets.retain(|_, bucket| bucket.full_at > now);
        }
        let full = Bucket { full_at: now, refused: 0 };
        let mut bucket = buckets.get(&source(peer)).copied().filter(|bucket| bucket.full_at > now).unwrap_or(full);
        let attempt = if bucket.full_at.since(now) <= REFILL * (BURST - 1) {
            bucket.full_at = bucket.full_at.plus(REFILL);
            Attempt::Taken
        } else {
            bucket.refused += 1;
            Attempt::Refused(bucket.refused)
        };
        buckets.insert(source(peer), bucket);
        attempt
    }

    /// Gives one back that did not fail.
    pub(crate) fn give_back(&self, peer: IpAddr) {
        let now = self.clock.now();
        let mut buckets = self.lock();
        let Some(bucket) = buckets.get_mut(&source(peer)) else { return };
        bucket.full_at = Timestamp::from_millis(bucket.full_at.millis() - REFILL_MS);
        if bucket.full_at <= now {
            buckets.remove(&source(peer));
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, Bucket>> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn ten_failures_at_once_then_one_a_second() {
        let clock = Clock::fixed(Timestamp::from_seconds(100));
        let throttle = Throttle::new(clock.clone());
        let (one, other) = ("2001:db8::1".parse().unwrap(), "192.0.2.1".parse().unwrap());
        let neighbour = "2001:db8::2".parse().unwrap();
        for _ in 0..10 {
            assert_eq!(throttle.take(one), Attempt::Taken);
        }
        assert_eq!(throttle.take(one), Attempt::Refused(1));
        assert_eq!(throttle.take(neighbour), Attempt::Refused(2));
        assert_eq!(throttle.take(other), Attempt::Taken);
        clock.set(Timestamp::from_millis(100_999));
        assert_eq!(throttle.take(one), Attempt::Refused(3));
        clock.set(Timestamp::from_seconds(101));
        assert_eq!(throttle.take(one), Attempt::Taken);
        assert_eq!(throttle.take(one), Attempt::Refused(4));
        // When it was full, the count begins anew.
        clock.set(Timestamp::from_seconds(200));
        for _ in 0..10 {
            assert_eq!(throttle.take(one), Attempt::Taken);
        }
        assert_eq!(throttle.take(one), Attempt::Refused(1));
    }

    #[test]
    fn an_attempt_given_back_is_there_again_and_leaves_nothing_behind() {
        let throttle = Throttle::new(Clock::fixed(Timestamp::from_seconds(100)));
        let one = "192.0.2.1".parse().unwrap();
        for _ in 0..100 {
            assert_eq!(throttle.take(one), Attempt::Taken);
            throttle.give_back(one);
        }
        throttle.give_back(one);
        assert!(throttle.lock().is_empty());
        let taken = (0..20).filter(|_| throttle.take(one) == Attempt::Taken).count();
        assert_eq!(taken, 10, "none was won by giving back");
    }
}
