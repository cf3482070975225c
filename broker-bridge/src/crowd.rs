//! How many of one kind are there at the same time, so that one of them (an address, a client) does not use up what is
//! for all.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Those who are there, by whom they belong to.
pub(crate) struct Crowd<K: Eq + Hash> {
    max: usize,
    each_max: usize,
    present: Mutex<Present<K>>,
}

struct Present<K> {
    all: usize,
    by_key: HashMap<K, usize>,
}

/// A place in a crowd; dropping it leaves.
pub(crate) struct Place<K: Eq + Hash> {
    crowd: Arc<Crowd<K>>,
    key: K,
}

impl<K: Eq + Hash + Clone> Crowd<K> {
    pub(crate) fn new(max: usize, each_max: usize) -> Arc<Self> {
        Arc::new(Self { max, each_max, present: Mutex::new(Present { all: 0, by_key: HashMap::new() }) })
    }

    /// A place, unless all are taken or `key` has its share.
    pub(crate) fn enter(self: &Arc<Self>, key: K) -> Option<Place<K>> {
        let mut present = self.lock();
        let here = present.by_key.get(&key).copied().unwrap_or(0);
        if present.all >= self.max || here >= self.each_max {
            return None;
        }
        present.all += 1;
        present.by_key.insert(key.clone(), here + 1);
        Some(Place { crowd: self.clone(), key })
    }
}

impl<K: Eq + Hash> Crowd<K> {
    fn lock(&self) -> MutexGuard<'_, Present<K>> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        let mut present = self.crowd.lock();
        present.all -= 1;
        match present.by_key.get_mut(&self.key) {
            Some(here) if *here > 1 => *here -= 1,
            _ => {
                present.by_key.remove(&self.key);
            }
        }
    }
}

/// What counts as one address: one customer of IPv6 has at least a /64.
pub(crate) fn source(peer: IpAddr) -> IpAddr {
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
    fn an_address_has_its_share_and_all_have_a_bound() {
        let crowd = Crowd::new(3, 2);
        let [one, neighbour, other, third] =
            ["2001:db8::1", "2001:db8::2", "192.0.2.1", "192.0.2.2"].map(|text| source(text.parse().unwrap()));
        let first = crowd.enter(one).unwrap();
        let second = crowd.enter(neighbour).unwrap();
        assert!(crowd.enter(one).is_none(), "a /64 is one address");
        let _other = crowd.enter(other).unwrap();
        assert!(crowd.enter(third).is_none(), "all places are taken");
        drop(first);
        let _third = crowd.enter(third).unwrap();
        drop(second);
        let present = crowd.lock();
        assert_eq!((present.all, present.by_key.len()), (2, 2), "who left is forgotten");
    }
}
