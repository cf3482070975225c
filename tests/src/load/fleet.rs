//! Many clients on few threads, each thread with a runtime of its own.
//!
//! ```text
//! controller: start ─▶ wait_connected ─▶ set(Warm) ─▶ set(Measure) ─▶ stop
//! clients:     connect ─▶ wait ─────────▶ work ──────────────────────▶ leave
//! ```

use std::{
    net::SocketAddr,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};
use rustls::ClientConfig;
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{timeout, timeout_at},
};

use super::{
    client::Connection,
    failures::{Failure, Failures, Kind},
    packet::{self, Version},
    progress::Progress,
    scenario::Work,
    traffic,
};

/// What all clients are to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Connect, then only answer.
    Hold,
    /// Work, but do not record.
    Warm,
    /// Work and record.
    Measure,
    /// Leave.
    Stop,
}

/// How a fleet is run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where the server listens for TLS.
    pub addr: SocketAddr,
    /// One certificate per client; their number is the number of clients.
    pub identities: Arc<[Arc<ClientConfig>]>,
    /// Threads that the clients are spread over.
    pub threads: usize,
    /// Most connects under way at once.
    pub in_flight: usize,
    /// Longest time for one connect, and for any one answer.
    pub patience: Duration,
}

/// What every client of a fleet sees.
#[derive(Debug)]
pub struct Shared {
    plan: Plan,
    /// What went wrong.
    pub failures: Failures,
    /// How far the clients are.
    pub progress: Progress,
    phase: watch::Sender<Phase>,
    permits: Semaphore,
}

/// A running fleet.
#[derive(Debug)]
pub struct Fleet {
    /// Shared with the clients.
    pub shared: Arc<Shared>,
    threads: Vec<thread::JoinHandle<Result<Vec<Duration>>>>,
}

impl Fleet {
    /// Starts all clients; each connects as soon as its turn comes.
    pub fn start(plan: Plan, work: &Work) -> Result<Self> {
        let clients = plan.identities.len();
        ensure!(
            clients > 0 && plan.threads > 0 && plan.in_flight > 0,
            "a fleet needs at least one client, thread and connect in flight"
        );
        let shared = Arc::new(Shared {
            failures: Failures::default(),
            progress: Progress::new(clients),
            phase: watch::Sender::new(Phase::Hold),
            permits: Semaphore::new(plan.in_flight),
            plan,
        });
        let threads = (0..shared.plan.threads)
            .map(|number| {
                let (shared, work) = (Arc::clone(&shared), work.clone());
                thread::Builder::new()
                    .name(format!("clients-{number}"))
                    .spawn(move || run_thread(&shared, &work, number))
                    .context("cannot start a thread for clients")
            })
            .collect::<Result<_>>()?;
        Ok(Self { shared, threads })
    }

    /// Waits until every client is connected; those that are not by then are failures.
    pub fn wait_connected(&self, patience: Duration) {
        if !self.shared.progress.wait_all_connected(patience) {
            let counts = self.shared.progress.counts();
            let missing = self.shared.plan.identities.len() - counts.connected - counts.refused;
            let text = format!("not connected after {} s", patience.as_secs());
            self.shared.failures.add_many(missing, Failure::new(Kind::NoAnswer, text));
        }
    }

    /// Moves all clients on to `phase`.
    pub fn set(&self, phase: Phase) {
        self.shared.phase.send_replace(phase);
    }

    /// Ends all clients and returns what they recorded.
    pub fn stop(mut self) -> Result<Vec<Duration>> {
        self.set(Phase::Stop);
        let mut recorded = Vec::new();
        for handle in self.threads.drain(..) {
            recorded.extend(handle.join().map_err(|_| anyhow!("a thread of clients broke"))??);
        }
        Ok(recorded)
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        // After an error of the controller: its clients must not go on beside the next run.
        self.set(Phase::Stop);
    }
}

impl Shared {
    /// What clients are to do now.
    #[must_use]
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Waits until the phase is one that `wanted` accepts.
    pub async fn reached(&self, wanted: impl Fn(Phase) -> bool) {
        // An error would mean that the sender is gone, and `self` holds it.
        let _ = self.phase.subscribe().wait_for(|phase| wanted(*phase)).await;
    }

    async fn connect(&self, index: usize) -> Result<Connection, Failure> {
        let _permit = self.permits.acquire().await.map_err(|e| Failure::new(Kind::Client, e))?;
        let start = Instant::now();
        let thing = traffic::thing(index);
        let opening = async {
            let tls = Arc::clone(&self.plan.identities[index]);
            let mut connection = Connection::open(self.plan.addr, tls, Version::V311, &thing).await?;
            connection.subscribe(&traffic::filters(&thing)).await?;
            Ok(connection)
        };
        let connection = timeout(self.plan.patience, opening)
            .await
            .unwrap_or_else(|_| Err(Failure::new(Kind::NoAnswer, format!("{thing}: no connection in time"))))?;
        self.progress.connected(start.elapsed());
        Ok(connection)
    }
}

/// Runs every `threads`-th client on the calling thread until the fleet stops.
fn run_thread(shared: &Arc<Shared>, work: &Work, number: usize) -> Result<Vec<Duration>> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start a runtime")?;
    runtime.block_on(async {
        let mut clients = JoinSet::new();
        for index in (number..shared.plan.identities.len()).step_by(shared.plan.threads) {
            clients.spawn(run_client(Arc::clone(shared), work.clone(), index));
        }
        shared.reached(|phase| phase == Phase::Stop).await;
        let end = tokio::time::Instant::now() + shared.plan.patience;
        let mut recorded = Vec::new();
        loop {
            match timeout_at(end, clients.join_next()).await {
                Ok(None) => break,
                Ok(Some(Ok(samples))) => recorded.extend(samples),
                Ok(Some(Err(e))) => shared.failures.add(Failure::new(Kind::Client, e)),
                Err(_) => {
                    shared.failures.add_many(clients.len(), Failure::new(Kind::NoAnswer, "still waiting at the end"));
                    break;
                }
            }
        }
        Ok(recorded)
    })
}

async fn run_client(shared: Arc<Shared>, work: Work, index: usize) -> Vec<Duration> {
    let mut recorded = Vec::new();
    let connected = tokio::select! {
        connected = shared.connect(index) => connected,
        // The controller has counted those that had no connection by now.
        () = shared.reached(|phase| phase == Phase::Stop) => return recorded,
    };
    let mut connection = match connected {
        Ok(connection) => connection,
        Err(failure) => {
            shared.failures.add(failure);
            shared.progress.refused();
            return recorded;
        }
    };
    if let Err(failure) = work.run(&shared, &mut connection, index, &mut recorded).await {
        shared.failures.add(failure);
        shared.progress.lost();
        return recorded;
    }
    // Only for the server's sake: at the end nobody cares whether it still arrives.
    let _ = connection.send(&packet::DISCONNECT).await;
    recorded
}
