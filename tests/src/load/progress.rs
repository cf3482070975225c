//! How far the clients of a fleet are: they count, the controller waits, each on its own threads.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Counts of a fleet of known size.
#[derive(Debug)]
pub struct Progress {
    total: usize,
    counts: Mutex<Counts>,
    changed: Condvar,
}

/// Where the clients of a fleet are.
#[derive(Debug, Default, Clone)]
pub struct Counts {
    /// Connected and subscribed.
    pub connected: usize,
    /// Failed before they were connected.
    pub refused: usize,
    /// Failed afterwards.
    pub lost: usize,
    /// When each client that was to be told of a job received it.
    pub received: Vec<Instant>,
    /// How long each connect took, from its start to the SUBACK.
    pub connects: Vec<Duration>,
}

impl Counts {
    fn all_connected(&self, total: usize) -> bool {
        self.connected + self.refused >= total
    }

    fn all_received(&self, total: usize) -> bool {
        self.received.len() + self.refused + self.lost >= total
    }
}

impl Progress {
    /// For `total` clients, none of them anywhere yet.
    #[must_use]
    pub fn new(total: usize) -> Self {
        Self { total, counts: Mutex::default(), changed: Condvar::new() }
    }

    /// One more client is connected and subscribed.
    pub fn connected(&self, took: Duration) {
        self.change(|counts| {
            counts.connected += 1;
            counts.connects.push(took);
        });
    }

    /// One more client has failed before it was connected.
    pub fn refused(&self) {
        self.change(|counts| counts.refused += 1);
    }

    /// One more client has failed after it was connected.
    pub fn lost(&self) {
        self.change(|counts| counts.lost += 1);
    }

    /// One more client has received its job.
    pub fn received(&self, at: Instant) {
        self.change(|counts| counts.received.push(at));
    }

    /// Waits until every client is connected or has failed; false when `patience` ends first.
    pub fn wait_all_connected(&self, patience: Duration) -> bool {
        self.wait(patience, Counts::all_connected)
    }

    /// Waits until every client has received its job or failed; false when `patience` ends first.
    pub fn wait_all_received(&self, patience: Duration) -> bool {
        self.wait(patience, Counts::all_received)
    }

    /// The counts now.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.lock().clone()
    }

    fn change(&self, change: impl FnOnce(&mut Counts)) {
        let mut counts = self.lock();
        change(&mut counts);
        // Wake the controller only when it may have what it waits for; it shares the processors with the server.
        if counts.all_connected(self.total) || counts.all_received(self.total) {
            self.changed.notify_all();
        }
    }

    fn wait(&self, patience: Duration, done: fn(&Counts, usize) -> bool) -> bool {
        let waiting = |counts: &mut Counts| !done(counts, self.total);
        let (_guard, result) =
            self.changed.wait_timeout_while(self.lock(), patience, waiting).unwrap_or_else(PoisonError::into_inner);
        !result.timed_out()
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_ends_with_the_last_client_or_with_patience() {
        let progress = Progress::new(2);
        progress.connected(Duration::ZERO);
        assert!(!progress.wait_all_connected(Duration::from_millis(1)));
        progress.refused();
        assert!(progress.wait_all_connected(Duration::ZERO));
        assert!(!progress.wait_all_received(Duration::ZERO));
        progress.received(Instant::now());
        assert!(progress.wait_all_received(Duration::ZERO));
    }
}
