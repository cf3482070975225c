//! How many of one address are there at the same time, so that one address does not use up what is for all.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Those who are there, by address.
pub(crate) struct Crowd {
    max: usize,
    per_address_max: usize,
    present: Mutex<Present>,
}

#[derive(Default)]
struct Present {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// A place in a crowd; dropping it leaves.
pub(crate) struct Place {
    crowd: Arc<Crowd>,
    source: IpAddr,
}

impl Crowd {
    pub(crate) fn new(max: usize, per_address_max: usize) -> Arc<Self> {
        Arc::new(Self { max, per_address_max, present: Mutex::default() })
    }

    /// A place, unless all are taken or the address has its share.
    pub(crate) fn enter(self: &Arc<Self>, peer: IpAddr) -> Option<Place> {
        let source = source(peer);
        let mut present = self.lock();
        let here = present.by_address.get(&source).copied().unwrap_or(0);
        if present.all >= self.max || here >= self.per_address_max {
            return None;
        }
        present.all += 1;
        present.by_address.insert(source, here + 1);
        Some(Place { crowd: self.clone(), source })
    }

    fn lock(&self) -> MutexGuard<'_, Present> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut present = self.crowd.lock();
        present.all -= 1;
        match present.by_address.get_mut(&self.source) {
            Some(here) if *here > 1 => *here -= 1,
            _ => {
                present.by_address.remove(&self.source);
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
            ["2001:db8::1", "2001:db8::2", "192.0.2.1", "192.0.2.2"].map(|text| text.parse().unwrap());
        let first = crowd.enter(one).unwrap();
        let second = crowd.enter(neighbour).unwrap();
        assert!(crowd.enter(one).is_none(), "a /64 is one address");
        let _other = crowd.enter(other).unwrap();
        assert!(crowd.enter(third).is_none(), "all places are taken");
        drop(first);
        let _third = crowd.enter(third).unwrap();
        drop(second);
        let present = crowd.lock();
        assert_eq!((present.all, present.by_address.len()), (2, 2), "who left is forgotten");
    }
}
