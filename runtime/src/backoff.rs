//! Waits between tries: exponential with full jitter, also at the cap, so that a fleet never moves in step.

use std::time::Duration;

/// The growing wait of one activity.
#[derive(Clone, Debug)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    tries: u32,
}

impl Backoff {
    /// The first wait is at most `base`; every further one at most twice as long, up to `cap`.
    #[must_use]
    pub fn new(base: Duration, cap: Duration) -> Self {
        Self { base, cap, tries: 0 }
    }

    /// The next wait. `fraction` is a random number below one ([`crate::ids::random_fraction`]).
    pub fn next(&mut self, fraction: f64) -> Duration {
        let ceiling = self.base.saturating_mul(2_u32.saturating_pow(self.tries.min(30))).min(self.cap);
        self.tries = self.tries.saturating_add(1);
        ceiling.mul_f64(fraction.clamp(0.0, 1.0))
    }

    /// Starts over, after a success.
    pub fn reset(&mut self) {
        self.tries = 0;
    }

    /// Failures since the last success.
    #[must_use]
    pub fn tries(&self) -> u32 {
        self.tries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ceiling_doubles_up_to_the_cap_and_jitter_stays_there() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(10));
        let ceilings: Vec<u64> = (0..6).map(|_| backoff.next(1.0).as_secs()).collect();
        assert_eq!(ceilings, [1, 2, 4, 8, 10, 10]);
        assert_eq!(backoff.next(0.25), Duration::from_millis(2500));
        for _ in 0..100 {
            assert!(backoff.next(1.0) <= Duration::from_secs(10));
        }
        backoff.reset();
        assert_eq!(backoff.next(1.0), Duration::from_secs(1));
    }
}
