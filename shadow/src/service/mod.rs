//! The services over the store: shadows, jobs, the registry, enrolment, upgrades.
//!
//! ```text
//!  inbox of a partition ─▶ worker thread: drain ─▶ handlers (pure rules of `model`) ─▶ Batch
//!                                        ◀─ say: answers, deliveries, views ◀─ commit (durable) ─┘
//!  inbox of the fleet ───▶ fleet thread: operators, enrolment; writes targets, then wakes the things
//!  inbox of retained ────▶ retained thread: messages that programs keep for later subscribers; tells the doors of them
//!  ticker thread ────────▶ wakes things whose timers are due, and every connector now and then
//! ```
//!
//! Who writes what: a thing's worker writes its shadows, executions, actions and link history; the fleet's worker
//! writes connectors, tokens, targets, components and jobs; the retained thread writes retained messages. Nobody writes
//! another's records, so a compare-and-swap never meets a conflict; if one does, the batch is answered as failed and the
//! log says so.
//!
//! What a crash leaves: a target without actions (the next look makes them), an action without its execution (the next
//! look makes it), a job whose rollout, cancel or delete is not at its end (its run says how far it is; the start goes
//! on), a token that is used without a certificate (an operator renews the script). Nothing that was acknowledged is lost.

mod batch;
mod fleet;
mod hooks;
mod jobs;
mod lives;
mod reconcile;
mod retained;
mod shadows;
mod sightings;
mod streams;
mod timers;
mod views;
mod worker;

pub use hooks::{HookCall, HookReply, Hooks};
pub use retained::RetainedBounds;

use crate::admission::Admission;
use crate::records::{Attachment, Connector, PolicyRecord, ProvisioningTemplate, Stream, Suspicion, Target};
use crate::store::{Conflict, Store, StoreError, codec::CodecError};
use fleet::FleetWorker;
use jobs::live::{Agenda, LiveJobs};
use jobs::queued::Queued;
use muster_bus::{EmbeddedBus, Inboxes};
use muster_certs::{AccessMaster, Vault};
use muster_runtime::clock::Clock;
use muster_wire::admin::AgentDownload;
use muster_wire::component::PublishedComponent;
use muster_wire::id::{ComponentName, JobId, TemplateName, ThingName, Version};
use muster_wire::policy::{PolicyName, PolicyProblems};
use muster_wire::stream::StreamId;
use muster_wire::view::ConnectorView;
use retained::RetainedWorker;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread::JoinHandle;
use std::time::Duration;
use timers::Timers;
use tracing::error;

/// What the services need to know of the deployment.
pub struct ServiceConfig {
    /// Signs the connectors' certificates, and says whom they shall trust.
    pub vault: Arc<Vault>,
    /// Life of the certificates that are issued.
    pub certificate_life: Duration,
    /// Called when whom the server trusts, or who issues, has changed.
    pub on_trust_change: Box<dyn Fn() + Send + Sync>,
    /// Verifies component packages; text form.
    pub publisher_key: String,
    /// Where the packages are: `<dir>/<first two digits>/<digest>`.
    pub artifacts_dir: PathBuf,
    /// Where snapshots for backups are left, readable by their owner only.
    pub data_dir: PathBuf,
    /// The agent that install scripts download, if the server has one.
    pub agent: Option<AgentDownload>,
    /// Life of an enrolment token.
    pub token_life: Duration,
    /// How long a connector is gone before it is offline.
    pub offline_after: Duration,
    /// The secrets of access keys follow from it.
    pub access_master: AccessMaster,
    /// Filled with what the store holds, and kept true: the door asks it.
    pub admission: Arc<Admission>,
    /// Asks the hooks of provisioning templates.
    pub hooks: Arc<dyn Hooks>,
    /// Deepest nesting of objects in a section of a shadow.
    pub shadow_depth_max: usize,
    /// How much applications may have retained.
    pub retained: RetainedBounds,
    /// Called once when the services cannot go on, with the reason: the process must stop.
    pub on_fatal: Box<dyn Fn(String) + Send + Sync>,
}

/// An error inside the services. What the peer learns of it is never more than "the server failed".
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// A record is damaged or newer than this program.
    #[error("a record cannot be used")]
    Codec(#[from] CodecError),
    /// The records could not be written down for a backup.
    #[error("a snapshot failed")]
    Snapshot(#[from] crate::store::dump::DumpError),
    /// Somebody else wrote a record that only one worker may write.
    #[error("a record was changed by another writer ({0:?})")]
    Conflict(Conflict),
    /// A stored policy is not understood, and without it nobody knows what it denied.
    #[error("the stored policy {name} cannot be used; run the version that stored it, or newer")]
    Policy {
        /// Which one.
        name: PolicyName,
        /// What is wrong with it.
        #[source]
        source: PolicyProblems,
    },
    /// A thread could not be started.
    #[error("cannot start a worker thread")]
    Thread(#[from] std::io::Error),
}

/// What all workers share.
struct Shared {
    store: Arc<dyn Store>,
    bus: Arc<EmbeddedBus>,
    clock: Clock,
    config: ServiceConfig,
    fleet: RwLock<FleetState>,
    views: RwLock<BTreeMap<ThingName, ConnectorView>>,
    timers: Timers,
    agenda: Arc<Agenda>,
    queued: Arc<Queued>,
    streams: streams::Queue,
    /// The connectors whose identity runs in two places; kept by the things' workers.
    quarantine: RwLock<BTreeMap<ThingName, Suspicion>>,
}

/// The fleet's records in memory: few, read at every look, written by the fleet's worker after each commit.
#[derive(Default)]
struct FleetState {
    connectors: BTreeMap<ThingName, Arc<Connector>>,
    targets: Vec<Arc<Target>>,
    /// No intent from now on has a lower number.
    targets_from: u64,
    components: BTreeMap<(ComponentName, Version), Arc<PublishedComponent>>,
    jobs: Arc<LiveJobs>,
    policies: BTreeMap<PolicyName, Arc<PolicyRecord>>,
    attachments: BTreeMap<ThingName, Arc<Attachment>>,
    streams: BTreeMap<StreamId, Arc<Stream>>,
    templates: BTreeMap<TemplateName, Arc<ProvisioningTemplate>>,
}

impl FleetState {
    fn target_of(&self, job: &JobId) -> Option<&Arc<Target>> {
        self.targets.iter().rev().find(|target| target.job == *job)
    }

    fn component(&self, name: &ComponentName, version: &Version) -> Option<&Arc<PublishedComponent>> {
        self.components.get(&(name.clone(), version.clone()))
    }

    /// The version of a component that was published last; versions themselves have no order.
    fn newest(&self, name: &ComponentName) -> Option<&Arc<PublishedComponent>> {
        let versions = self.components.values().filter(|component| component.name == *name);
        versions.max_by_key(|component| component.published_at)
    }
}

impl Shared {
    fn fleet(&self) -> RwLockReadGuard<'_, FleetState> {
        self.fleet.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn fleet_mut(&self) -> RwLockWriteGuard<'_, FleetState> {
        self.fleet.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The jobs that are not over, as of now.
    fn jobs(&self) -> Arc<LiveJobs> {
        self.fleet().jobs.clone()
    }

    fn views(&self) -> RwLockReadGuard<'_, BTreeMap<ThingName, ConnectorView>> {
        self.views.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn views_mut(&self) -> RwLockWriteGuard<'_, BTreeMap<ThingName, ConnectorView>> {
        self.views.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes an error; one that the store calls fatal stops the process.
    fn report(&self, doing: &'static str, failure: &ServiceError) {
        let detail = chain(failure);
        error!(error = detail, doing, "a request failed");
        if let ServiceError::Store(store) = failure
            && store.is_fatal()
        {
            (self.config.on_fatal)(detail);
        }
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// The running services.
pub struct Service {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    ticker: JoinHandle<()>,
}

impl Service {
    /// Loads the fleet, finishes what a crash left, and starts the workers.
    ///
    /// Errors: a store that cannot be read, or a record that this program does not know.
    pub fn start(
        config: ServiceConfig,
        store: Arc<dyn Store>,
        bus: Arc<EmbeddedBus>,
        inboxes: Inboxes,
        clock: Clock,
    ) -> Result<Self, ServiceError> {
        let fleet = RwLock::new(fleet::load(store.as_ref())?);
        let views = RwLock::default();
        let agenda = Arc::new(Agenda::new(bus.clone()));
        let (streams, wanted) = streams::queue();
        let shared = Arc::new(Shared {
            store,
            bus,
            clock,
            config,
            fleet,
            views,
            timers: Timers::default(),
            agenda,
            queued: Arc::default(),
            streams,
            quarantine: RwLock::default(),
        });
        // Before the door may let anybody in.
        fleet::policies::load(&shared)?;
        fleet::certificates::load(&shared)?;
        let fleet_worker = FleetWorker::new(shared.clone());
        fleet_worker.load_jobs()?;
        fleet_worker.reach_again(&worker::prepare(&shared)?);
        let retained = RetainedWorker::load(shared.clone())?;
        let mut threads = Vec::new();
        for (number, inbox) in inboxes.partitions.into_iter().enumerate() {
            let worker = worker::Worker::new(shared.clone());
            threads.push(spawn(&shared, format!("partition-{number}"), move || worker.run(inbox))?);
        }
        threads.push(spawn(&shared, "fleet".to_owned(), move || fleet_worker.run(inboxes.fleet))?);
        threads.push(spawn(&shared, "retained".to_owned(), move || retained.run(inboxes.retained))?);
        let reading = shared.clone();
        threads.push(spawn(&shared, "streams".to_owned(), move || streams::run(&reading, &wanted))?);
        let ticking = shared.clone();
        let ticker = spawn(&shared, "ticker".to_owned(), move || timers::tick(&ticking))?;
        Ok(Self { shared, threads, ticker })
    }

    /// Stops the ticker and the workers, after everything that was submitted before. Blocks; not for async code.
    pub fn stop(self) {
        self.shared.timers.stop();
        self.shared.bus.stop();
        self.shared.streams.stop();
        for thread in self.threads.into_iter().chain([self.ticker]) {
            // A panic was reported by the thread itself.
            let _ = thread.join();
        }
    }
}

/// Starts a worker thread. A worker that panics has left its things unserved: the process must stop.
fn spawn(
    shared: &Arc<Shared>,
    name: String,
    work: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, std::io::Error> {
    let shared = shared.clone();
    std::thread::Builder::new().name(name.clone()).spawn(move || {
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        if ended.is_err() {
            (shared.config.on_fatal)(format!("the worker {name} panicked; its message is above"));
        }
    })
}

#[cfg(test)]
mod tests;
