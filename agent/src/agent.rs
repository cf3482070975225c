//! The agent itself: owns the components, answers the server's jobs, and tells the server what runs.
//!
//! State is pulled: on every connection it reports all it knows and asks for the next job; messages from the server only
//! make it do that sooner. What is asked and not answered is asked again. `hearing` takes what the server says, `work` its
//! jobs, `speaking` what it is told, `leaving` is the
//! order to remove itself.

mod hearing;
mod leaving;
mod speaking;
mod work;

use crate::brain::record::Record;
use crate::brain::requests::{ANSWER_DEADLINE, Requests};
use crate::counter::Counter;
use crate::hands::download::Source;
use crate::hands::installed::{self, Unit};
use crate::hands::journal::{self, Journal, JournalError};
use crate::hands::supervisor::Supervisor;
use crate::host::metrics::Metrics;
use crate::link::{Outgoing, Said};
use crate::places::{Home, Prefix};
use crate::removal::Removal;
use crate::reports::{self, Reported};
use crate::settings::Allow;
use crate::standing::Standing;
use crate::upgrader::Upgrader;
use muster_certs::PublisherPublicKey;
use muster_runtime::clock::Clock;
use muster_runtime::failure::Failure;
use muster_runtime::ids;
use muster_wire::id::{ComponentName, JobId, ThingName};
use muster_wire::label::Label;
use muster_wire::settings::SettingsReport;
use muster_wire::topic::{TelemetryKind, Topic};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

/// What the agent is made with.
pub struct Parts {
    /// Where all lies.
    pub prefix: Prefix,
    /// Who we are.
    pub thing: ThingName,
    /// Where packages come from.
    pub source: Source,
    /// Whose packages are installed.
    pub publisher: PublisherPublicKey,
    /// The clock.
    pub clock: Clock,
    /// How it is connected.
    pub settings: SettingsReport,
    /// Told when the server has confirmed a check-in for the first time.
    pub proven: Arc<Notify>,
    /// How often the link has begun to connect.
    pub counter: Arc<Counter>,
    /// What the host's owner says about it.
    pub labels: Vec<Label>,
    /// What the server may do here.
    pub allow: Allow,
    /// Time between two samples of telemetry.
    pub telemetry_interval: Duration,
    /// Time between two pulls of everything, give or take a fifth.
    pub verify_interval: Duration,
    /// To the link.
    pub outbox: mpsc::Sender<Outgoing>,
    /// From the link.
    pub said: mpsc::Receiver<Said>,
    /// What is told to those who watch this agent on its host.
    pub standing: Standing,
    /// Ends the agent; components stay.
    pub stop: CancellationToken,
}

/// Why the agent cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// A journal is not usable.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The record of its own removal is not usable.
    #[error(transparent)]
    Removal(Failure),
    /// A task of the agent panicked.
    #[error("a part of the agent failed: {0}")]
    Task(#[source] tokio::task::JoinError),
}

/// Why the agent has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was asked to.
    Asked,
    /// The server ordered its removal, and knows that it is carried out.
    Left,
}

/// Changes of components are gathered for so long before they are told.
const COALESCE: Duration = Duration::from_millis(200);

struct Component {
    home: Home,
    journal: Journal,
    supervisor: Supervisor,
}

/// What was asked of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Ask {
    /// Who this host is; its answer is the server's word that it knows us.
    CheckIn,
    Reports,
    Shadow,
    StartNext,
    /// How this agent's removal ended.
    Leaving,
    End {
        component: ComponentName,
        job: JobId,
        execution: u64,
    },
    Refusal {
        job: JobId,
        execution: u64,
        why: String,
    },
}

/// The agent's state; one task owns it.
pub struct Agent {
    parts: Parts,
    components: BTreeMap<ComponentName, Component>,
    /// Names that the server has and the host does not.
    gone: BTreeSet<ComponentName>,
    reported: Reported,
    /// Why the server does not take the reports, for there is too much in them.
    reports_refused: Option<String>,
    requests: Requests<Ask>,
    metrics: Metrics,
    start_id: String,
    changed: Arc<Notify>,
    news: (mpsc::Sender<ComponentName>, mpsc::Receiver<ComponentName>),
    tasks: JoinSet<()>,
    /// The order to remove itself, while it is carried out.
    removal: Option<Removal>,
    cleared: (mpsc::Sender<Removal>, mpsc::Receiver<Removal>),
    ended: Option<Ended>,
    up: bool,
    is_proven: bool,
    report_at: Option<Instant>,
    reported_at: Instant,
    telemetry_at: Instant,
    verify_at: Instant,
}

impl Agent {
    /// Takes over what an earlier agent left: every component that shall run, runs soon, and an upgrade that was
    /// interrupted goes on.
    pub fn new(parts: Parts) -> Result<Self, AgentError> {
        let now = parts.clock.instant();
        let mut agent = Self {
            components: BTreeMap::new(),
            gone: BTreeSet::new(),
            reported: Reported::default(),
            reports_refused: None,
            requests: Requests::new(),
            metrics: Metrics::new(parts.prefix.root().to_owned()),
            start_id: ids::random_hex::<8>(),
            changed: Arc::new(Notify::new()),
            news: mpsc::channel(16),
            tasks: JoinSet::new(),
            removal: Removal::read(&parts.prefix).map_err(AgentError::Removal)?,
            cleared: mpsc::channel(1),
            ended: None,
            up: false,
            is_proven: false,
            report_at: None,
            reported_at: now,
            telemetry_at: now,
            verify_at: now + jittered(parts.verify_interval),
            parts,
        };
        let prefix = agent.parts.prefix.clone();
        let purges = agent.removal.as_ref().is_some_and(|removal| removal.purge);
        for name in journal::known(&prefix) {
            // What is to be removed is only stopped.
            if purges {
                agent.component(&name)?;
            } else {
                agent.adopt(&name)?;
            }
        }
        agent.clear_out();
        Ok(agent)
    }

    /// Works until it is stopped.
    pub async fn run(mut self) -> Result<Ended, AgentError> {
        // Everything that an earlier agent left is taken over; the server need not be there for that.
        self.parts.standing.ready();
        loop {
            if let Some(ended) = self.ended {
                return Ok(ended);
            }
            let wake_at = self.wake_at();
            tokio::select! {
                // Cancel-safe: the token, the queues and the set keep what was not taken; a missed permit of `changed`
                // stays for the next round.
                () = self.parts.stop.cancelled() => return Ok(Ended::Asked),
                said = self.parts.said.recv() => match said {
                    Some(said) => self.hear(said),
                    None => return Ok(Ended::Asked),
                },
                Some(removal) = self.cleared.1.recv() => self.has_cleared(removal),
                Some(component) = self.news.1.recv() => self.upgrade_moved(&component),
                () = self.changed.notified() => self.report_soon(COALESCE),
                Some(ended) = self.tasks.join_next() => ended.map_err(AgentError::Task)?,
                () = tokio::time::sleep_until(wake_at.into()) => self.wake(),
                // Cancel-safe: the time of the next sign of life is kept. It comes from this loop and from nowhere else,
                // so a loop that hangs gives none.
                () = self.parts.standing.life_due() => self.parts.standing.give_life(),
            }
        }
    }

    // Components.

    fn adopt(&mut self, name: &ComponentName) -> Result<(), AgentError> {
        let component = self.component(name)?;
        let (home, supervisor) = (component.home.clone(), component.supervisor.clone());
        if component.journal.read().upgrade.is_some() {
            self.begin(name, true);
        } else if let Some(version) = installed::current(&home) {
            let name = name.clone();
            self.tasks.spawn(async move {
                let started = match Unit::load(&home, &name, &version) {
                    Ok(unit) => supervisor.run(unit, false).await,
                    Err(error) => Err(error),
                };
                if let Err(error) = started {
                    error!(component = %name, %version, error, "it does not run");
                }
            });
        }
        Ok(())
    }

    /// The component of this name, made known if it was not.
    fn component(&mut self, name: &ComponentName) -> Result<&Component, JournalError> {
        if !self.components.contains_key(name) {
            let home = self.parts.prefix.home(name);
            let journal = Journal::open_or_set_aside(self.parts.prefix.journal(name))?;
            let (changed, stop) = (Arc::clone(&self.changed), self.parts.stop.clone());
            let (supervisor, work) =
                Supervisor::new(name.clone(), home.clone(), self.parts.clock.clone(), changed, stop);
            self.tasks.spawn(work);
            self.components.insert(name.clone(), Component { home, journal, supervisor });
        }
        Ok(self.components.get(name).expect("it was put there if it was missing"))
    }

    fn begin(&mut self, name: &ComponentName, resumed: bool) {
        let Some(component) = self.components.get(name) else { return };
        let upgrader = Upgrader {
            prefix: self.parts.prefix.clone(),
            component: name.clone(),
            home: component.home.clone(),
            journal: component.journal.clone(),
            supervisor: component.supervisor.clone(),
            source: self.parts.source.clone(),
            publisher: self.parts.publisher.clone(),
            clock: self.parts.clock.clone(),
            news: self.news.0.clone(),
        };
        let stop = self.parts.stop.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                // Dropped anywhere, it goes on from the journal after the next start.
                () = stop.cancelled() => {}
                () = upgrader.run(resumed) => {}
            }
        });
    }

    /// Whether some version of this component is installed.
    fn has(&self, name: &ComponentName) -> bool {
        self.components.get(name).is_some_and(|component| installed::current(&component.home).is_some())
    }

    fn is_busy(&self) -> bool {
        let upgrades = |component: &Component| component.journal.read().upgrade.is_some();
        self.removal.is_some() || self.components.values().any(upgrades)
    }

    // Time.

    fn wake_at(&self) -> Instant {
        let now = self.parts.clock.instant();
        // A soak time that ended before the last report was told by it.
        let soak = self.components.values().filter_map(|component| {
            let soak_at = reports::soak_at(&component.home, &component.supervisor.status().borrow())?;
            (soak_at > self.reported_at).then_some(soak_at)
        });
        let overdue = self.requests.next_deadline();
        let timers = [self.report_at, overdue].into_iter().flatten().chain(soak);
        let always = if self.up { self.telemetry_at.min(self.verify_at) } else { now + ANSWER_DEADLINE };
        if self.up { timers.fold(always, Instant::min) } else { always }
    }

    fn wake(&mut self) {
        if !self.up {
            return;
        }
        let now = self.parts.clock.instant();
        if now >= self.verify_at {
            self.verify_at = now + jittered(self.parts.verify_interval);
            self.pull();
        }
        if now >= self.telemetry_at {
            self.telemetry_at = now + self.parts.telemetry_interval;
            let sample = self.metrics.sample(self.parts.clock.now());
            let topic = Topic::Telemetry { thing: self.parts.thing.clone(), kind: TelemetryKind::Host };
            self.send(topic, &sample, false);
        }
        for ask in self.requests.overdue(now) {
            warn!(?ask, "the server did not answer and is asked again");
            match ask {
                Ask::Reports => {
                    self.reported.forget();
                    self.report_soon(Duration::ZERO);
                }
                Ask::StartNext => self.ask_for_work(),
                ask => self.ask(ask),
            }
        }
        // Also when no change was noticed: a soak time may have ended.
        self.report();
    }

    fn record(&self, name: &ComponentName) -> Option<Record> {
        self.components.get(name).map(|component| component.journal.read())
    }
}

/// `interval` give or take a fifth, so that a fleet does not ask in step.
fn jittered(interval: Duration) -> Duration {
    interval.mul_f64(0.8 + 0.4 * ids::random_fraction())
}
