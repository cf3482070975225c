//! What is measured: each scenario connects a fleet to a fresh server, has it do one thing, and returns figures.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Result;
use rustls::ClientConfig;
use serde::Serialize;

use super::{
    client::Connection,
    failures::{Failure, FailureCounts},
    figures::Figures,
    fleet::{Plan, Shared},
};

pub mod fan_out;
pub mod hostile;
pub mod shadow;
pub mod storm;

/// The scenarios by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Scenario {
    /// Everybody connects and subscribes at once, then stays idle.
    Storm,
    /// Every device updates its shadow, waits for the answer, and updates again.
    Shadow,
    /// One job reaches every connected device.
    FanOut,
    /// Shadow updates alone, and then beside clients that are silent, slow, deaf or talk garbage.
    Hostile,
}

/// How the load is made.
#[derive(Clone, Debug, Serialize, clap::Args)]
pub struct Settings {
    /// Threads that the clients run on; they share the processors with the server (default: 1; for a fan-out, which is
    /// measured by its last client, one for each processor)
    #[arg(long)]
    pub threads: Option<usize>,
    /// Connects under way at once
    #[arg(long, default_value_t = 64)]
    pub in_flight: usize,
    /// Of the connected clients, those that update their shadow (default: all)
    #[arg(long)]
    pub active: Option<usize>,
    /// Seconds of shadow updates before recording
    #[arg(long, default_value_t = 3)]
    pub warmup: u64,
    /// Seconds of shadow updates that are recorded
    #[arg(long, default_value_t = 10)]
    pub seconds: u64,
    /// Bad clients of each kind in the hostile scenario
    #[arg(long, default_value_t = 1000)]
    pub bad: usize,
    /// Longest wait for one connect or one answer, in seconds
    #[arg(long, default_value_t = 30)]
    pub patience: u64,
    /// Longest wait for a whole fleet (all connected, all reached), in seconds
    #[arg(long, default_value_t = 180)]
    pub deadline: u64,
}

/// A running server, seen from the load.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its process.
    pub pid: u32,
    /// Where it takes MQTT over TLS.
    pub addr: SocketAddr,
    /// The devices' certificates; at least as many as clients are asked for.
    pub identities: Arc<[Arc<ClientConfig>]>,
}

/// What one run of one scenario gave.
#[derive(Debug)]
pub struct Outcome {
    /// The values.
    pub figures: Figures,
    /// What went wrong; with anything in it the values mean nothing.
    pub failures: FailureCounts,
}

/// What a client does once it is connected.
#[derive(Clone, Debug)]
pub enum Work {
    /// Nothing but answering.
    Idle,
    /// Shadow updates, by the clients with a number below this one.
    Updates(usize),
    /// Wait for the job with this id.
    AwaitJob(Arc<str>),
}

impl Settings {
    /// The plan for `clients` clients of `target`.
    pub fn plan(&self, target: &Target, clients: usize) -> Result<Plan> {
        let identities = target.identities.get(..clients);
        let identities = identities.ok_or_else(|| {
            anyhow::anyhow!("{clients} clients need as many certificates; there are {}", target.identities.len())
        })?;
        Ok(Plan {
            addr: target.addr,
            identities: identities.into(),
            threads: self.threads.unwrap_or(1),
            in_flight: self.in_flight,
            patience: Duration::from_secs(self.patience),
        })
    }

    /// The longest wait for a whole fleet.
    #[must_use]
    pub fn deadline(&self) -> Duration {
        Duration::from_secs(self.deadline)
    }
}

impl Work {
    /// Does it until the fleet stops. What is timed goes into `recorded`.
    pub async fn run(
        &self,
        shared: &Shared,
        connection: &mut Connection,
        index: usize,
        recorded: &mut Vec<Duration>,
    ) -> Result<(), Failure> {
        match self {
            Self::Updates(active) if index < *active => shadow::update(shared, connection, index, recorded).await,
            Self::Idle | Self::Updates(_) => storm::stay(shared, connection).await,
            Self::AwaitJob(job) => fan_out::await_job(shared, connection, job).await,
        }
    }
}
