//! What went wrong, counted by kind, with one example of each. A run with any failure is not a result.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, PoisonError},
};

use serde::Serialize;

/// What a client was doing when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The TCP connection was not made.
    Connect,
    /// The TLS handshake failed.
    Handshake,
    /// The server answered CONNECT with an error.
    Refused,
    /// A filter was refused.
    Subscribe,
    /// The server closed a connection that should have stayed.
    Disconnected,
    /// An answer did not come before the deadline.
    NoAnswer,
    /// The server answered an update or a request with an error.
    Rejected,
    /// The server sent something that is not MQTT.
    Protocol,
    /// The client itself broke.
    Client,
}

/// One failure of one client.
#[derive(Debug)]
pub struct Failure {
    /// What it was doing.
    pub kind: Kind,
    /// What happened, for the example.
    pub text: String,
}

impl Failure {
    /// A failure of `kind` explained by `cause`.
    pub fn new(kind: Kind, cause: impl fmt::Display) -> Self {
        Self { kind, text: cause.to_string() }
    }
}

/// The failures of one run, filled from many threads.
#[derive(Debug, Default)]
pub struct Failures(Mutex<FailureCounts>);

/// Count and first example of each kind.
pub type FailureCounts = BTreeMap<Kind, Counted>;

/// How often, and what the first one said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Counted {
    /// How many clients failed this way.
    pub count: usize,
    /// What the first of them reported.
    pub first: String,
}

impl Failures {
    /// Counts one failure.
    pub fn add(&self, failure: Failure) {
        self.add_many(1, failure);
    }

    /// Counts `count` failures with one explanation; none when `count` is 0.
    pub fn add_many(&self, count: usize, failure: Failure) {
        if count == 0 {
            return;
        }
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.entry(failure.kind).or_insert(Counted { count: 0, first: failure.text }).count += count;
    }

    /// Counts what was counted elsewhere.
    pub fn add_counts(&self, counts: FailureCounts) {
        for (kind, counted) in counts {
            self.add_many(counted.count, Failure::new(kind, counted.first));
        }
    }

    /// What was counted so far.
    #[must_use]
    pub fn counts(&self) -> FailureCounts {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// One line that names every kind, for the terminal.
#[must_use]
pub fn summary(counts: &FailureCounts) -> String {
    counts
        .iter()
        .map(|(kind, counted)| format!("{kind:?} ×{} ({})", counted.count, counted.first))
        .collect::<Vec<_>>()
        .join("; ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_first_example_of_each_kind_is_kept() {
        let failures = Failures::default();
        failures.add(Failure::new(Kind::Refused, "code 5"));
        failures.add(Failure::new(Kind::Refused, "code 3"));
        failures.add_many(0, Failure::new(Kind::NoAnswer, "nobody"));
        let counts = failures.counts();
        assert_eq!(counts[&Kind::Refused], Counted { count: 2, first: "code 5".into() });
        assert_eq!(counts.len(), 1);
        assert_eq!(summary(&counts), "Refused ×2 (code 5)");
    }
}
