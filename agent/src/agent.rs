//! The agent itself: owns the components, answers the server's jobs, and tells the server what runs.
//!
//! State is pulled: on every connection it reports all it knows and asks for the next job; messages from the server only
//! make it do that sooner. What is asked and not answered is asked again.

use crate::brain::record::{Finished, Record, step_details};
use crate::brain::requests::{ANSWER_DEADLINE, Requests};
use crate::brain::upgrade::{Step, Upgrade};
use crate::hands::http::Endpoint;
use crate::hands::installed::{self, Unit};
use crate::hands::journal::{self, Journal, JournalError};
use crate::hands::supervisor::Supervisor;
use crate::host::{facts, metrics::Metrics};
use crate::link::{Outgoing, Said};
use crate::places::{Home, Prefix};
use crate::platform;
use crate::reports::{self, Reported};
use crate::upgrader::Upgrader;
use muster_certs::PublisherPublicKey;
use muster_runtime::clock::Clock;
use muster_runtime::{faults, ids};
use muster_wire::codec::Encoding;
use muster_wire::component::{DETAIL_OUTCOME, DETAIL_REASON, FailureOutcome, UpgradeDocument};
use muster_wire::id::{ComponentName, JobId, ThingName};
use muster_wire::job::{
    ExecutionResponse, JobErrorCode, JobExecution, JobRejected, JobStatus, NotifyNext, StartNextRequest, StatusDetails,
    UpdateRequest, UpdateResponse,
};
use muster_wire::shadow;
use muster_wire::topic::{JobsTopic, JobsVerb, ShadowTopic, ShadowVerb, TelemetryKind, Topic};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

/// What the agent is made with.
pub struct Parts {
    /// Where all lies.
    pub prefix: Prefix,
    /// Who we are.
    pub thing: ThingName,
    /// Where packages come from.
    pub server: Endpoint,
    /// Whose packages are installed.
    pub publisher: PublisherPublicKey,
    /// The clock.
    pub clock: Clock,
    /// Time between two samples of telemetry.
    pub telemetry_interval: Duration,
    /// Time between two pulls of everything, give or take a fifth.
    pub verify_interval: Duration,
    /// To the link.
    pub outbox: mpsc::Sender<Outgoing>,
    /// From the link.
    pub said: mpsc::Receiver<Said>,
    /// Ends the agent; components stay.
    pub stop: CancellationToken,
}

/// Why the agent cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// A journal is not usable.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A task of the agent panicked.
    #[error("a part of the agent failed: {0}")]
    Task(#[source] tokio::task::JoinError),
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
    Reports,
    Shadow,
    StartNext,
    End { component: ComponentName, job: JobId, execution: u64 },
    Refusal { job: JobId, execution: u64, why: String },
}

/// The agent's state; one task owns it.
pub struct Agent {
    parts: Parts,
    components: BTreeMap<ComponentName, Component>,
    /// Names that the server has and the host does not.
    gone: BTreeSet<ComponentName>,
    reported: Reported,
    requests: Requests<Ask>,
    metrics: Metrics,
    start_id: String,
    changed: Arc<Notify>,
    news: (mpsc::Sender<ComponentName>, mpsc::Receiver<ComponentName>),
    tasks: JoinSet<()>,
    up: bool,
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
            requests: Requests::new(),
            metrics: Metrics::new(parts.prefix.root().to_owned()),
            start_id: ids::random_hex::<8>(),
            changed: Arc::new(Notify::new()),
            news: mpsc::channel(16),
            tasks: JoinSet::new(),
            up: false,
            report_at: None,
            reported_at: now,
            telemetry_at: now,
            verify_at: now + jittered(parts.verify_interval),
            parts,
        };
        let prefix = agent.parts.prefix.clone();
        let known: BTreeSet<ComponentName> =
            journal::names(&prefix.journals()).into_iter().chain(journal::names(&prefix.components())).collect();
        for name in known {
            agent.adopt(&name)?;
        }
        Ok(agent)
    }

    /// Works until it is stopped.
    pub async fn run(mut self) -> Result<(), AgentError> {
        loop {
            let wake_at = self.wake_at();
            tokio::select! {
                // Cancel-safe: the token, the queues and the set keep what was not taken; a missed permit of `changed`
                // stays for the next round.
                () = self.parts.stop.cancelled() => return Ok(()),
                said = self.parts.said.recv() => match said {
                    Some(said) => self.hear(said),
                    None => return Ok(()),
                },
                Some(component) = self.news.1.recv() => self.upgrade_moved(&component),
                () = self.changed.notified() => self.report_soon(COALESCE),
                Some(ended) = self.tasks.join_next() => ended.map_err(AgentError::Task)?,
                () = tokio::time::sleep_until(wake_at.into()) => self.wake(),
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
            server: self.parts.server.clone(),
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
        self.components.values().any(|component| component.journal.read().upgrade.is_some())
    }

    // What the server says.

    fn hear(&mut self, said: Said) {
        match said {
            Said::Up => self.connected(),
            Said::Down => {
                self.up = false;
                self.requests.clear();
            }
            Said::Message { topic, payload } => self.hear_message(&topic, &payload),
        }
    }

    fn connected(&mut self) {
        self.up = true;
        self.requests.clear();
        let facts = facts::collect(&self.start_id);
        let facts = json!({ "state": { "reported": facts } });
        self.send_shadow(shadow::agent(), ShadowVerb::Update, &facts);
        self.telemetry_at = self.parts.clock.instant();
        self.pull();
        let names: Vec<ComponentName> = self.components.keys().cloned().collect();
        for name in names {
            self.tell_step(&name);
        }
    }

    /// Tells everything and asks for everything.
    fn pull(&mut self) {
        self.reported.forget();
        self.report();
        self.ask(Ask::Shadow);
        self.tell_ends();
        self.ask_for_work();
    }

    fn hear_message(&mut self, topic: &Topic, payload: &[u8]) {
        match topic {
            Topic::Shadow { verb, .. } => self.hear_shadow(*verb, payload),
            Topic::Jobs { verb, .. } => self.hear_jobs(verb, payload),
            _ => debug!(%topic, "a message that was not asked for is ignored"),
        }
    }

    fn hear_shadow(&mut self, verb: ShadowTopic, payload: &[u8]) {
        let Some(answer) = decode::<Value>(payload) else { return };
        let asked = self.requests.answered(answer.get("clientToken").and_then(Value::as_str));
        match (verb, asked) {
            (ShadowTopic::Accepted(ShadowVerb::Get), Some(Ask::Shadow)) => self.compare(&answer),
            (ShadowTopic::Rejected(ShadowVerb::Update), Some(Ask::Reports)) => {
                let message = answer.get("message").and_then(Value::as_str);
                warn!(message, "the server refuses the report");
                self.reported.forget();
                self.report_soon(ANSWER_DEADLINE);
            }
            (ShadowTopic::Accepted(ShadowVerb::Update), Some(Ask::Reports)) => self.gone.clear(),
            (ShadowTopic::Delta, _) => self.ask_for_work(),
            // No shadow yet, or the answer to somebody else's request.
            _ => {}
        }
    }

    /// Finds components that the server believes in and the host does not have.
    fn compare(&mut self, shadow: &Value) {
        let Some(reported) = shadow.pointer("/state/reported").and_then(Value::as_object) else { return };
        let names = reported.keys().filter_map(|name| ComponentName::new(name).ok());
        self.gone = names.filter(|name| !self.has(name)).collect();
        if !self.gone.is_empty() {
            self.report_soon(Duration::ZERO);
        }
    }

    fn hear_jobs(&mut self, topic: &JobsTopic, payload: &[u8]) {
        match topic {
            JobsTopic::NotifyNext => {
                let is_work = decode::<NotifyNext>(payload).is_some_and(|notice| notice.execution.is_some());
                if is_work {
                    self.ask_for_work();
                }
            }
            JobsTopic::Accepted(JobsVerb::StartNext) => {
                let Some(answer) = decode::<ExecutionResponse>(payload) else { return };
                self.requests.answered(answer.client_token.as_deref());
                if let Some(execution) = answer.execution {
                    self.offer(&execution);
                }
            }
            JobsTopic::Accepted(JobsVerb::Update(_)) => {
                let Some(answer) = decode::<UpdateResponse>(payload) else { return };
                if let Some(asked) = self.requests.answered(answer.client_token.as_deref()) {
                    self.settled(&asked);
                    self.ask_for_work();
                }
            }
            JobsTopic::Rejected(verb) => {
                let Some(answer) = decode::<JobRejected>(payload) else { return };
                self.refused(verb, &answer);
            }
            _ => {}
        }
    }

    fn refused(&mut self, verb: &JobsVerb, answer: &JobRejected) {
        use JobErrorCode::{InternalError, RequestThrottled, ResourceNotFound, TerminalStateReached, VersionMismatch};
        let Some(asked) = self.requests.answered(answer.client_token.as_deref()) else { return };
        warn!(?verb, code = ?answer.code, message = answer.message, "the server refuses a request about jobs");
        if matches!(answer.code, InternalError | RequestThrottled | VersionMismatch) {
            // Overdue after the usual time, and then asked again.
            let now = self.parts.clock.instant();
            self.requests.sent(ids::random_hex::<8>(), asked, now);
        } else {
            // The execution is over or gone, or the server will never take this; there is nobody left to tell.
            self.settled(&asked);
            // After any other refusal the same execution might come straight back; a notice or the next pull will do.
            if matches!(answer.code, TerminalStateReached | ResourceNotFound) {
                self.ask_for_work();
            }
        }
    }

    // Work.

    fn ask_for_work(&mut self) {
        if self.up && !self.is_busy() && !self.requests.is_open(&Ask::StartNext) {
            self.ask(Ask::StartNext);
        }
    }

    /// The server says that this execution is ours to do.
    fn offer(&mut self, execution: &JobExecution) {
        let known = self.components.iter().find_map(|(name, component)| {
            let record = component.journal.read();
            let is_under_way = record.upgrade.as_ref().is_some_and(|upgrade| is_of(upgrade, execution));
            let end = record.end_of(execution).cloned();
            (is_under_way || end.is_some()).then(|| (name.clone(), end))
        });
        match known {
            Some((name, Some(end))) => self.tell_end(&name, &end),
            Some((name, None)) => self.tell_step(&name),
            None if self.is_busy() => {
                debug!(job = %execution.job_id, "one upgrade at a time; it will be offered again")
            }
            None => self.take_on(execution),
        }
    }

    fn take_on(&mut self, execution: &JobExecution) {
        let document = execution.job_document.clone().unwrap_or_default();
        let (job, number) = (execution.job_id.clone(), execution.execution_number);
        let document = match serde_json::from_value::<UpgradeDocument>(Value::Object(document)) {
            Ok(document) => document,
            Err(error) => {
                let why = format!("this agent cannot carry out the job document: {error}");
                warn!(%job, why, "job refused");
                self.ask(Ask::Refusal { job, execution: number, why });
                return;
            }
        };
        info!(%job, component = %document.component, version = %document.version, "upgrade accepted");
        let name = document.component.clone();
        match self.accept(job.clone(), number, document) {
            Ok(()) => {
                faults::point("upgrade.accepted");
                self.begin(&name, false);
            }
            Err(error) => {
                error!(%job, %error, "the upgrade cannot be journaled");
                let reason = (DETAIL_REASON.to_owned(), error.to_string());
                let outcome = (DETAIL_OUTCOME.to_owned(), FailureOutcome::Untouched.as_str().to_owned());
                // Without a journal nobody could repeat this, but the server will offer the job again.
                self.send_update(&job, number, JobStatus::Failed, [reason, outcome].into(), ids::random_hex::<8>());
            }
        }
    }

    fn accept(&mut self, job: JobId, execution: u64, document: UpgradeDocument) -> Result<(), JournalError> {
        let accepted_at = self.parts.clock.now();
        let component = self.component(&document.component.clone())?;
        let failed = |source| JournalError::Write { path: component.home.root().to_owned(), source };
        std::fs::create_dir_all(component.home.root()).map_err(failed)?;
        platform::sync_parent(component.home.root()).map_err(failed)?;
        let from = installed::current(&component.home);
        let upgrade = Upgrade { job, execution, document, from, accepted_at, step: Step::Downloading };
        component.journal.change(|record| record.upgrade = Some(upgrade))
    }

    /// The journal of a component has something new.
    fn upgrade_moved(&mut self, name: &ComponentName) {
        self.tell_step(name);
        self.report_soon(COALESCE);
        if !self.is_busy() {
            self.report();
            self.tell_ends();
        }
    }

    fn tell_step(&mut self, name: &ComponentName) {
        let Some(upgrade) = self.record(name).and_then(|record| record.upgrade) else { return };
        let details = step_details(&upgrade.step);
        // Only a hint for people who watch: its answer is not waited for, and it is not sent twice.
        self.send_update(&upgrade.job, upgrade.execution, JobStatus::InProgress, details, ids::random_hex::<8>());
    }

    fn tell_ends(&mut self) {
        let mut waiting = Vec::new();
        for (name, component) in &self.components {
            let ends = component.journal.read().finished.into_iter().filter(|end| !end.delivered);
            waiting.extend(ends.map(|end| (name.clone(), end)));
        }
        for (name, end) in waiting {
            self.tell_end(&name, &end);
        }
    }

    fn tell_end(&mut self, name: &ComponentName, end: &Finished) {
        let ask = Ask::End { component: name.clone(), job: end.job.clone(), execution: end.execution };
        if !self.requests.is_open(&ask) {
            self.ask(ask);
        }
    }

    /// The server knows the end of an execution, or does not want to.
    fn settled(&mut self, asked: &Ask) {
        if let Ask::End { component, job, execution } = asked
            && let Some(component) = self.components.get(component)
            && !component
                .journal
                .read()
                .finished
                .iter()
                .any(|f| f.delivered && f.job == *job && f.execution == *execution)
            && let Err(error) = component.journal.change(|record| record.delivered(job, *execution))
        {
            warn!(%error, "the server is told again after the next start");
            component.journal.change_unwritten(|record| {
                record.delivered(job, *execution);
            });
        }
    }

    // Speaking.

    fn ask(&mut self, ask: Ask) {
        if !self.up {
            return;
        }
        let token = ids::random_hex::<8>();
        match &ask {
            Ask::Reports => {}
            Ask::Shadow => {
                self.send_shadow(shadow::components(), ShadowVerb::Get, &json!({ "clientToken": token }));
            }
            Ask::StartNext => {
                let request = StartNextRequest { client_token: Some(token.clone()), ..StartNextRequest::default() };
                self.send_jobs(JobsVerb::StartNext, &request);
            }
            Ask::End { component, job, execution } => {
                let end = self.record(component).and_then(|record| {
                    record.finished.into_iter().find(|end| end.job == *job && end.execution == *execution)
                });
                let Some(end) = end else { return };
                self.send_update(job, *execution, end.status, end.details, token.clone());
            }
            Ask::Refusal { job, execution, why } => {
                let details = [(DETAIL_REASON.to_owned(), crate::brain::record::cut(why, 1000))].into();
                self.send_update(job, *execution, JobStatus::Rejected, details, token.clone());
            }
        }
        self.requests.sent(token, ask, self.parts.clock.instant());
    }

    fn report_soon(&mut self, wait: Duration) {
        let at = self.parts.clock.instant() + wait;
        self.report_at = Some(self.report_at.map_or(at, |already| already.min(at)));
    }

    /// Tells what has changed since the last report.
    fn report(&mut self) {
        self.report_at = None;
        if !self.up {
            return;
        }
        let now = self.parts.clock.instant();
        self.reported_at = now;
        let mut reported = Map::new();
        for (name, component) in &self.components {
            let last_failed = component.journal.read().last_failed;
            let report = reports::of(&component.home, &component.supervisor.status().borrow(), last_failed, now);
            if let Some(value) = self.reported.news(name, report) {
                reported.insert(name.to_string(), value);
            }
        }
        for name in self.gone.iter().filter(|name| !self.has(name)) {
            reported.entry(name.as_str()).or_insert(Value::Null);
        }
        if reported.is_empty() {
            return;
        }
        let token = ids::random_hex::<8>();
        let update = json!({ "state": { "reported": reported }, "clientToken": token });
        if self.send_shadow(shadow::components(), ShadowVerb::Update, &update) {
            self.requests.sent(token, Ask::Reports, now);
        } else {
            self.reported.forget();
            self.report_soon(Duration::from_secs(1));
        }
    }

    fn send_shadow(&mut self, shadow: muster_wire::id::ShadowName, verb: ShadowVerb, payload: &Value) -> bool {
        let thing = self.parts.thing.clone();
        self.send(Topic::Shadow { thing, shadow: Some(shadow), verb: ShadowTopic::Request(verb) }, payload, true)
    }

    fn send_jobs(&mut self, verb: JobsVerb, payload: &impl Serialize) {
        let thing = self.parts.thing.clone();
        self.send(Topic::Jobs { thing, verb: JobsTopic::Request(verb) }, payload, true);
    }

    fn send_update(&mut self, job: &JobId, execution: u64, status: JobStatus, details: StatusDetails, token: String) {
        let request = UpdateRequest {
            status,
            status_details: Some(details),
            expected_version: None,
            execution_number: Some(execution),
            include_job_execution_state: None,
            include_job_document: None,
            step_timeout_in_minutes: None,
            client_token: Some(token),
        };
        self.send_jobs(JobsVerb::Update(job.clone()), &request);
    }

    /// Hands a message to the link. A full queue loses it; whoever needs an answer asks again.
    fn send(&mut self, topic: Topic, payload: &impl Serialize, acknowledged: bool) -> bool {
        let outgoing = Outgoing { topic, payload: Encoding::Cbor.encode(payload), acknowledged };
        let sent = self.up && self.parts.outbox.try_send(outgoing).is_ok();
        if !sent {
            debug!("a message was not sent");
        }
        sent
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

fn is_of(upgrade: &Upgrade, execution: &JobExecution) -> bool {
    upgrade.job == execution.job_id && upgrade.execution == execution.execution_number
}

fn decode<T: serde::de::DeserializeOwned>(payload: &[u8]) -> Option<T> {
    match Encoding::of(payload).decode(payload) {
        Ok(value) => Some(value),
        Err(error) => {
            warn!(%error, "a message of the server is not readable");
            None
        }
    }
}

/// `interval` give or take a fifth, so that a fleet does not ask in step.
fn jittered(interval: Duration) -> Duration {
    interval.mul_f64(0.8 + 0.4 * ids::random_fraction())
}
