//! Requests that the server has not answered: each has a token, and one that stays unanswered is asked again.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// An answer must be there by then, or the request is made again.
pub const ANSWER_DEADLINE: Duration = Duration::from_secs(30);

/// The open requests, by client token; `T` says what was asked.
#[derive(Debug)]
pub struct Requests<T> {
    open: HashMap<String, (T, Instant)>,
}

impl<T: Clone + PartialEq> Requests<T> {
    /// None is open.
    pub fn new() -> Self {
        Self { open: HashMap::new() }
    }

    /// Notes a request that is being sent.
    pub fn sent(&mut self, token: String, what: T, now: Instant) {
        self.open.insert(token, (what, now));
    }

    /// Whether `what` was asked and waits for its answer.
    pub fn is_open(&self, what: &T) -> bool {
        self.open.values().any(|(open, _)| open == what)
    }

    /// Takes the request that this answer belongs to. Answers without a known token are late or somebody else's.
    pub fn answered(&mut self, token: Option<&str>) -> Option<T> {
        self.open.remove(token?).map(|(what, _)| what)
    }

    /// Takes the requests whose deadline has passed.
    pub fn overdue(&mut self, now: Instant) -> Vec<T> {
        let is_overdue = |sent: &Instant| now.saturating_duration_since(*sent) >= ANSWER_DEADLINE;
        let overdue = self.open.values().filter(|(_, sent)| is_overdue(sent)).map(|(what, _)| what.clone()).collect();
        self.open.retain(|_, (_, sent)| !is_overdue(sent));
        overdue
    }

    /// When the next one is overdue.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.open.values().map(|(_, sent)| *sent + ANSWER_DEADLINE).min()
    }

    /// Forgets all, because the connection is gone and everything is asked anew on the next one.
    pub fn clear(&mut self) {
        self.open.clear();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "a test needs some moment to count from")]
    use super::*;

    #[test]
    fn an_unanswered_request_is_overdue_once() {
        let start = Instant::now();
        let mut requests = Requests::new();
        requests.sent("a".into(), 1, start);
        requests.sent("b".into(), 2, start + Duration::from_secs(10));
        assert!(requests.is_open(&1) && !requests.is_open(&3));
        assert_eq!(requests.answered(Some("x")), None);
        assert_eq!(requests.overdue(start + ANSWER_DEADLINE), [1]);
        assert_eq!(requests.overdue(start + ANSWER_DEADLINE), [0; 0]);
        assert_eq!(requests.answered(Some("b")), Some(2));
        assert_eq!(requests.answered(Some("b")), None);
    }
}
