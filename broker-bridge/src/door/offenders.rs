//! Which addresses lately sent what no client sends, and how long their next connections wait for it.
//!
//! A handshake costs as much as several requests. Who sends garbage, or holds a connection until its time is up, and
//! comes back at once, would make others pay for it; so each further offence adds half a second before the next handshake.
//! Nobody is turned away for the offences of a neighbour behind the same address, and one client of that address who
//! does everything right makes up for them.

use crate::crowd::source;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Offences that cost nothing: a scanner, a wrong setting.
const FREE: u32 = 4;
/// One offence is forgotten after so long.
const FORGOTTEN: Duration = Duration::from_secs(10);
/// What each offence over these adds.
const STEP: Duration = Duration::from_millis(500);
/// The longest wait. Clients give up a connection after five seconds or more, handshake and CONNECT included.
const WAIT_MAX: Duration = Duration::from_secs(2);
/// No more than this is held against anybody.
const OFFENCES_MAX: u32 = 10;
/// Addresses remembered. Past it those that have been forgiven go, and if none has, all: better than to grow.
const ADDRESSES_MAX: usize = 10_000;

/// For each address, when all of its offences will be forgotten.
#[derive(Debug, Default)]
pub(crate) struct Offenders(Mutex<HashMap<IpAddr, Instant>>);

impl Offenders {
    /// How long a connection of this address waits for its handshake.
    pub(crate) fn wait(&self, peer: IpAddr, now: Instant) -> Duration {
        let Some(forgiven_at) = self.lock().get(&source(peer)).copied() else { return Duration::ZERO };
        let left = forgiven_at.saturating_duration_since(now).as_millis();
        let offences = u32::try_from(left.div_ceil(FORGOTTEN.as_millis())).unwrap_or(OFFENCES_MAX);
        (STEP * offences.saturating_sub(FREE)).min(WAIT_MAX)
    }

    /// Notes an offence.
    pub(crate) fn note(&self, peer: IpAddr, now: Instant) {
        let mut addresses = self.lock();
        if addresses.len() >= ADDRESSES_MAX {
            addresses.retain(|_, forgiven_at| *forgiven_at > now);
            if addresses.len() >= ADDRESSES_MAX {
                addresses.clear();
            }
        }
        let forgiven_at = addresses.entry(source(peer)).or_insert(now);
        *forgiven_at = ((*forgiven_at).max(now) + FORGOTTEN).min(now + FORGOTTEN * OFFENCES_MAX);
    }

    /// Forgives the address: a client of it did everything right.
    pub(crate) fn forgive(&self, peer: IpAddr) {
        let mut addresses = self.lock();
        // Mostly there is nobody to forgive, and a lookup in an empty map costs nothing.
        if !addresses.is_empty() {
            addresses.remove(&source(peer));
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn who_goes_on_offending_waits_longer_up_to_a_bound_and_is_forgiven_in_time() {
        let (offenders, now) = (Offenders::default(), Instant::now());
        let [bad, other] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse::<IpAddr>().unwrap());
        let waits: Vec<u64> = (0..10)
            .map(|_| {
                offenders.note(bad, now);
                u64::try_from(offenders.wait(bad, now).as_millis()).unwrap()
            })
            .collect();
        assert_eq!(waits, [0, 0, 0, 0, 500, 1000, 1500, 2000, 2000, 2000]);
        assert_eq!(offenders.wait(other, now), Duration::ZERO);
        let later = |seconds| offenders.wait(bad, now + Duration::from_secs(seconds)).as_millis();
        assert_eq!([later(0), later(40), later(50), later(60), later(3600)], [2000, 1000, 500, 0, 0]);
        for _ in 0..100 {
            offenders.note(bad, now);
        }
        assert_eq!(later(60), 0, "no more is held against it");
    }

    #[test]
    fn a_good_client_makes_up_for_its_neighbours_in_the_same_network() {
        let (offenders, now) = (Offenders::default(), Instant::now());
        let [bad, neighbour] = ["2001:db8::1", "2001:db8::2"].map(|text| text.parse::<IpAddr>().unwrap());
        for _ in 0..9 {
            offenders.note(bad, now);
        }
        assert_eq!(offenders.wait(neighbour, now), WAIT_MAX);
        offenders.forgive(neighbour);
        assert_eq!(offenders.wait(bad, now), Duration::ZERO);
    }

    #[test]
    fn only_so_many_addresses_are_remembered() {
        let (offenders, now) = (Offenders::default(), Instant::now());
        for number in 0..ADDRESSES_MAX as u32 + 1 {
            offenders.note(std::net::Ipv4Addr::from_bits(number).into(), now);
        }
        assert_eq!(offenders.lock().len(), 1);
    }
}
