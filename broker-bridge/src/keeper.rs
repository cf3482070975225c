//! Deadlines that no connection waits for: the end of a waiting session, the delay of a will.
//!
//! One task, started with the first deadline. A server that stops forgets them: sessions end with it.

use crate::bridge::Shared;
use crate::session::kept;
use crate::session::link::Link;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// What happens at a deadline.
pub(crate) enum Due {
    /// A session has waited long enough for its client.
    Session(Weak<Link>),
    /// A will is said.
    Will(Weak<Link>),
}

/// Names one deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(Instant, u64);

/// See the module.
#[derive(Default)]
pub(crate) struct Keeper {
    due: Mutex<BTreeMap<Ticket, Due>>,
    next: AtomicU64,
    started: AtomicBool,
    changed: Notify,
    stopped: CancellationToken,
}

impl Keeper {
    /// Remembers a deadline.
    pub(crate) fn at(&self, shared: &Arc<Shared>, when: Instant, due: Due) -> Ticket {
        let ticket = Ticket(when, self.next.fetch_add(1, Ordering::Relaxed));
        let first = {
            let mut known = self.lock();
            known.insert(ticket, due);
            known.first_key_value().is_some_and(|(first, _)| *first == ticket)
        };
        if !self.started.swap(true, Ordering::AcqRel) {
            shared.swarm.spawn(run(shared.clone()));
        } else if first {
            self.changed.notify_one();
        }
        ticket
    }

    /// Forgets a deadline.
    pub(crate) fn cancel(&self, ticket: Ticket) {
        self.lock().remove(&ticket);
    }

    /// Forgets all and ends the task.
    pub(crate) fn stop(&self) {
        self.stopped.cancel();
    }

    /// What is due now, and when to look again.
    fn take(&self, now: Instant) -> (Vec<Due>, Option<Instant>) {
        let mut known = self.lock();
        let mut due = Vec::new();
        while let Some(entry) = known.first_entry()
            && entry.key().0 <= now
        {
            due.push(entry.remove());
        }
        (due, known.first_key_value().map(|(ticket, _)| ticket.0))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Ticket, Due>> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn run(shared: Arc<Shared>) {
    let keeper = &shared.keeper;
    loop {
        let (due, next) = keeper.take(Instant::now());
        for due in due {
            match due {
                Due::Session(link) => {
                    if let Some(link) = link.upgrade() {
                        shared.sessions.leave(&link);
                        kept::discard(&shared, &link);
                    }
                }
                Due::Will(link) => {
                    if let Some(link) = link.upgrade() {
                        kept::say_will(&shared, &link);
                    }
                }
            }
        }
        let next = next.unwrap_or_else(|| Instant::now() + IDLE);
        tokio::select! {
            // Cancel-safe: cancelled() holds no state.
            () = keeper.stopped.cancelled() => return,
            // Cancel-safe: a notification that was not taken is kept.
            () = keeper.changed.notified() => {}
            // Cancel-safe: the deadline is read anew.
            () = sleep_until(next) => {}
        }
    }
}

/// Looks again when there is no deadline; any number would do.
const IDLE: Duration = Duration::from_secs(3600);
