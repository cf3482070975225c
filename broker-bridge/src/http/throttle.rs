//! How often a source address may fail to enrol: a bucket of attempts for each, filled slowly.

use muster_runtime::clock::Clock;
use muster_wire::time::Timestamp;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Failures in a row.
const BURST: i64 = 10;
/// One more attempt after so long.
const REFILL_MS: i64 = 1000;
/// Addresses remembered. Past it the full buckets are forgotten, which changes nothing for them.
const ADDRESSES_MAX: usize = 10_000;

/// Failures of each address.
pub(crate) struct Throttle {
    clock: Clock,
    /// When the bucket of an address will be full again.
    full_at: Mutex<HashMap<IpAddr, Timestamp>>,
}

impl Throttle {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, full_at: Mutex::default() }
    }

    /// Whether an address may try.
    pub(crate) fn allows(&self, peer: IpAddr) -> bool {
        let now = self.clock.now().millis();
        let full_at = self.lock().get(&source(peer)).map_or(now, |at| at.millis());
        full_at - now <= (BURST - 1) * REFILL_MS
    }

    /// An address tried and failed.
    pub(crate) fn failed(&self, peer: IpAddr) {
        let now = self.clock.now().millis();
        let mut addresses = self.lock();
        if addresses.len() >= ADDRESSES_MAX {
            addresses.retain(|_, full_at| full_at.millis() > now);
        }
        let full_at = addresses.get(&source(peer)).map_or(now, |at| at.millis()).max(now) + REFILL_MS;
        addresses.insert(source(peer), Timestamp::from_millis(full_at));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, Timestamp>> {
        self.full_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One customer of IPv6 has at least a /64.
fn source(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
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
            assert!(throttle.allows(one));
            throttle.failed(one);
        }
        assert!(!throttle.allows(one) && !throttle.allows(neighbour) && throttle.allows(other));
        clock.set(Timestamp::from_millis(100_999));
        assert!(!throttle.allows(one));
        clock.set(Timestamp::from_seconds(101));
        assert!(throttle.allows(one));
        throttle.failed(one);
        assert!(!throttle.allows(one));
    }
}
