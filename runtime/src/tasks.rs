//! Tasks with an owner, a name and an end.

use std::future::Future;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, error, info_span, warn};

/// What the end of a task means for the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnExit {
    /// Nothing works without it: stop everything.
    StopAll,
    /// Note it and go on.
    Log,
}

/// A task ended in a way that it should not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TaskError {
    /// It panicked; the panic message was printed where it happened.
    #[error("task {0} panicked")]
    Panicked(String),
    /// It was still running after the grace period.
    #[error("these tasks did not stop within {grace_s} s: {names}")]
    Stuck {
        /// Length of the grace period, seconds.
        grace_s: u64,
        /// Names, separated by commas.
        names: String,
    },
    /// It ended although nobody asked it to, and nothing works without it.
    #[error("task {0} ended by itself")]
    Ended(String),
}

/// A few long-lived tasks and the token that stops them.
pub struct TaskGroup {
    stop: CancellationToken,
    set: JoinSet<()>,
    names: Vec<(tokio::task::Id, &'static str, OnExit)>,
}

impl TaskGroup {
    /// A group that ends when `stop` is cancelled.
    #[must_use]
    pub fn new(stop: CancellationToken) -> Self {
        Self { stop, set: JoinSet::new(), names: Vec::new() }
    }

    /// Starts a task. It should end soon after the group's token is cancelled.
    pub fn spawn(&mut self, name: &'static str, on_exit: OnExit, task: impl Future<Output = ()> + Send + 'static) {
        let handle = self.set.spawn(task.instrument(info_span!("task", name).or_current()));
        self.names.push((handle.id(), name, on_exit));
    }

    /// Waits until the group is told to stop or a task that all depend on ends; then stops all and waits for them.
    ///
    /// Errors: the first task that panicked, ended by itself or would not stop within `grace`.
    pub async fn join(mut self, grace: Duration) -> Result<(), TaskError> {
        let mut first_error = None;
        while !self.stop.is_cancelled() && !self.set.is_empty() {
            tokio::select! {
                // A task that ends because of the stop, or that called for it, is no news.
                biased;
                // Cancel-safe: cancelled() holds no state.
                () = self.stop.cancelled() => {}
                // Cancel-safe: join_next_with_id() keeps the task in the set until it returns.
                Some(ended) = self.set.join_next_with_id() => {
                    if let Some(error) = self.judge(ended) {
                        first_error.get_or_insert(error);
                        self.stop.cancel();
                    }
                }
            }
        }
        self.stop.cancel();
        let drained = tokio::time::timeout(grace, async {
            while let Some(ended) = self.set.join_next_with_id().await {
                let (id, panicked) = match &ended {
                    Ok((id, ())) => (*id, false),
                    Err(error) => (error.id(), error.is_panic()),
                };
                let name = self.forget(id).0;
                if panicked {
                    first_error.get_or_insert(TaskError::Panicked(name.to_owned()));
                }
            }
        })
        .await;
        if drained.is_err() {
            let names = self.names.iter().map(|(_, name, _)| *name).collect::<Vec<_>>().join(", ");
            warn!(names, "tasks did not stop in time");
            first_error.get_or_insert(TaskError::Stuck { grace_s: grace.as_secs(), names });
        }
        first_error.map_or(Ok(()), Err)
    }

    fn judge(&mut self, ended: Result<(tokio::task::Id, ()), tokio::task::JoinError>) -> Option<TaskError> {
        match ended {
            Ok((id, ())) => match self.forget(id) {
                (name, OnExit::StopAll) => Some(TaskError::Ended(name.to_owned())),
                (name, OnExit::Log) => {
                    warn!(name, "task ended");
                    None
                }
            },
            Err(error) => {
                let (name, _) = self.forget(error.id());
                error!(name, "task panicked");
                Some(TaskError::Panicked(name.to_owned()))
            }
        }
    }

    fn forget(&mut self, id: tokio::task::Id) -> (&'static str, OnExit) {
        match self.names.iter().position(|(known, ..)| *known == id) {
            Some(at) => {
                let (_, name, on_exit) = self.names.swap_remove(at);
                (name, on_exit)
            }
            None => ("unknown", OnExit::Log),
        }
    }
}

/// Many short-lived tasks of one kind, such as connections.
#[derive(Clone, Debug, Default)]
pub struct Swarm(TaskTracker);

impl Swarm {
    /// An empty swarm.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a task of the swarm.
    #[expect(clippy::disallowed_methods, reason = "the tracker owns the task")]
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let tracked = self.0.track_future(task);
        tokio::spawn(tracked);
    }

    /// Tasks that are running.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no task is running.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Waits until every task has ended, at most `grace`. Returns how many have not.
    pub async fn drain(&self, grace: Duration) -> usize {
        self.0.close();
        let _ = tokio::time::timeout(grace, self.0.wait()).await;
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_end_of_an_essential_task_stops_all_and_is_named() {
        let stop = CancellationToken::new();
        let mut group = TaskGroup::new(stop.clone());
        let waits = stop.clone();
        group.spawn("waiter", OnExit::StopAll, async move { waits.cancelled().await });
        group.spawn("quitter", OnExit::StopAll, async {});
        assert_eq!(group.join(Duration::from_secs(5)).await, Err(TaskError::Ended("quitter".into())));
        assert!(stop.is_cancelled());
    }

    #[tokio::test]
    async fn a_task_may_call_for_the_stop_and_end() {
        for _ in 0..100 {
            let stop = CancellationToken::new();
            let mut group = TaskGroup::new(stop.clone());
            group.spawn("signals", OnExit::StopAll, async move { stop.cancel() });
            assert_eq!(group.join(Duration::from_secs(5)).await, Ok(()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_will_not_stop_is_named() {
        let stop = CancellationToken::new();
        let mut group = TaskGroup::new(stop.clone());
        group.spawn("stubborn", OnExit::Log, std::future::pending());
        stop.cancel();
        let expected = TaskError::Stuck { grace_s: 3, names: "stubborn".into() };
        assert_eq!(group.join(Duration::from_secs(3)).await, Err(expected));
    }

    #[tokio::test]
    async fn a_panic_is_news() {
        let mut group = TaskGroup::new(CancellationToken::new());
        group.spawn("faulty", OnExit::Log, async { panic!("as planned") });
        assert_eq!(group.join(Duration::from_secs(5)).await, Err(TaskError::Panicked("faulty".into())));
    }

    #[tokio::test]
    async fn a_swarm_counts_and_drains() {
        let swarm = Swarm::new();
        let stop = CancellationToken::new();
        for _ in 0..3 {
            let stop = stop.clone();
            swarm.spawn(async move { stop.cancelled().await });
        }
        assert_eq!(swarm.len(), 3);
        stop.cancel();
        assert_eq!(swarm.drain(Duration::from_secs(5)).await, 0);
    }
}
