//! When a component counts as healthy: single failures are forgiven, a run of them is not.

use muster_wire::component::Health;
use std::time::{Duration, Instant};

/// The verdict over the probes of one run of a process.
#[derive(Clone, Debug)]
pub struct Verdict {
    failures_max: u32,
    failures: u32,
    health: Health,
    since: Option<Instant>,
    last_failure: Option<String>,
}

impl Verdict {
    /// For a process that was just started or found. `failures_max` failures in a row make it unhealthy.
    pub fn new(failures_max: u32) -> Self {
        Self { failures_max, failures: 0, health: Health::Starting, since: None, last_failure: None }
    }

    /// A probe passed at `now`.
    pub fn passed(&mut self, now: Instant) {
        self.failures = 0;
        self.last_failure = None;
        self.health = Health::Healthy;
        self.since.get_or_insert(now);
    }

    /// A probe failed.
    pub fn failed(&mut self, why: String) {
        self.failures = self.failures.saturating_add(1);
        self.last_failure = Some(why);
        // Before the first pass it is starting, however long that takes: whoever waits has a deadline of their own.
        if self.health != Health::Starting && self.failures >= self.failures_max {
            self.health = Health::Unhealthy;
            self.since = None;
        }
    }

    /// The verdict.
    pub fn health(&self) -> Health {
        self.health
    }

    /// Since when it has been healthy without a break.
    pub fn since(&self) -> Option<Instant> {
        self.since
    }

    /// Why the latest probe failed, if it did.
    pub fn last_failure(&self) -> Option<&str> {
        self.last_failure.as_deref()
    }
}

/// Whole seconds of health at `now`.
pub fn healthy_for_s(since: Option<Instant>, now: Instant) -> u32 {
    let healthy_for = since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
    u32::try_from(healthy_for.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "a test needs some moment to count from")]
    use super::*;

    #[test]
    fn a_run_of_failures_breaks_health_and_a_single_one_does_not() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut verdict = Verdict::new(2);
        verdict.failed("refused".into());
        verdict.failed("refused".into());
        assert_eq!((verdict.health(), verdict.last_failure()), (Health::Starting, Some("refused")));
        verdict.passed(at(1));
        verdict.failed("slow".into());
        verdict.passed(at(3));
        assert_eq!((verdict.health(), healthy_for_s(verdict.since(), at(11))), (Health::Healthy, 10));
        verdict.failed("slow".into());
        verdict.failed("slow".into());
        assert_eq!((verdict.health(), verdict.since()), (Health::Unhealthy, None));
        verdict.passed(at(20));
        assert_eq!(healthy_for_s(verdict.since(), at(21)), 1);
    }
}
