//! How often a source address may fail to enrol: a bucket of attempts for each, filled slowly.

use crate::door::crowd::source;
use muster_runtime::clock::Clock;
use muster_wire::time::Timestamp;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Failures in a row, or attempts at the same time.
const BURST: i64 = 10;
/// One more attempt after so long.
const REFILL_MS: i64 = 1000;
/// Addresses remembered. Past it the full buckets are forgotten, which changes nothing for them.
const ADDRESSES_MAX: usize = 10_000;

/// Attempts of each address that failed or are under way.
pub(crate) struct Throttle {
    clock: Clock,
    /// When the bucket of an address will be full again.
    full_at: Mutex<HashMap<IpAddr, Timestamp>>,
}

impl Throttle {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, full_at: Mutex::default() }
    }

    /// Takes an attempt of this address, if it has one left. Taken before the outcome is known, so that attempts at the
    /// same time count too.
    pub(crate) fn take(&self, peer: IpAddr) -> bool {
        let now = self.clock.now().millis();
        let mut addresses = self.lock();
        if addresses.len() >= ADDRESSES_MAX {
            addresses.retain(|_, full_at| full_at.millis() > now);
        }
        let full_at = addresses.get(&source(peer)).map_or(now, |at| at.millis()).max(now);
        let may = full_at - now <= (BURST - 1) * REFILL_MS;
        if may {
            addresses.insert(source(peer), Timestamp::from_millis(full_at + REFILL_MS));
        }
        may
    }

    /// Gives one back that did not fail.
    pub(crate) fn give_back(&self, peer: IpAddr) {
        let now = self.clock.now().millis();
        let mut addresses = self.lock();
        let Some(full_at) = addresses.get_mut(&source(peer)) else { return };
        *full_at = Timestamp::from_millis(full_at.millis() - REFILL_MS);
        if full_at.millis() <= now {
            addresses.remove(&source(peer));
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, Timestamp>> {
        self.full_at.lock().unwrap_or_else(PoisonError::into_inner)
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
            assert!(throttle.take(one));
        }
        assert!(!throttle.take(one) && !throttle.take(neighbour) && throttle.take(other));
        clock.set(Timestamp::from_millis(100_999));
        assert!(!throttle.take(one));
        clock.set(Timestamp::from_seconds(101));
        assert!(throttle.take(one));
        assert!(!throttle.take(one));
    }

    #[test]
    fn an_attempt_given_back_is_there_again_and_leaves_nothing_behind() {
        let throttle = Throttle::new(Clock::fixed(Timestamp::from_seconds(100)));
        let one = "192.0.2.1".parse().unwrap();
        for _ in 0..100 {
            assert!(throttle.take(one));
            throttle.give_back(one);
        }
        throttle.give_back(one);
        assert!(throttle.lock().is_empty());
        let taken = (0..20).filter(|_| throttle.take(one)).count();
        assert_eq!(taken, 10, "none was won by giving back");
    }
}
