//! How often one client connected within the last second, when the settings bound that.

use muster_certs::identity::Identity;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);
/// Clients that are remembered before those of more than a second ago are forgotten.
const CLIENTS_MAX: usize = 10_000;

/// The clients of the last second.
#[derive(Debug, Default)]
pub(crate) struct Recent(Mutex<HashMap<String, (Instant, u32)>>);

impl Recent {
    /// Counts a connection. `false` when it is one too many.
    pub(crate) fn admits(&self, identity: &Identity, client_id: &str, max: u32, now: Instant) -> bool {
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if clients.len() >= CLIENTS_MAX {
            clients.retain(|_, (begun, _)| now.saturating_duration_since(*begun) < SECOND);
        }
        let (begun, count) = clients.entry(format!("{identity} {client_id}")).or_insert((now, 0));
        if now.saturating_duration_since(*begun) >= SECOND {
            (*begun, *count) = (now, 0);
        }
        *count += 1;
        *count <= max
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use muster_certs::identity::{Fleet, Role};

    #[test]
    fn b1_one_too_many_in_a_second_is_refused_and_the_next_second_is_new() {
        let recent = Recent::default();
        let who = Identity::new(Fleet::new("test").unwrap(), Role::Connector, "t1").unwrap();
        let now = Instant::now();
        let asks = |client: &str, now| recent.admits(&who, client, 2, now);
        assert_eq!([asks("c", now), asks("c", now), asks("c", now), asks("d", now)], [true, true, false, true]);
        assert!(asks("c", now + SECOND));
    }
}
