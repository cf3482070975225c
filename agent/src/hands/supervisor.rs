//! Keeps one component running: one task owns its process, probes it, and starts it again when it dies.
//!
//! ```text
//! Idle ──run──▶ Up ──dies, kept──▶ Down ──backoff──▶ Up
//!   ▲            │ └─dies, on trial─▶ Idle (and says so)
//!   └──halt──────┘
//! ```
//! When the agent stops, the task ends and the process stays: the next agent finds and adopts it.

use super::command::RUN_VARIABLE;
use super::installed::Unit;
use super::process::{Process, ProcessKey, Run};
use super::{files, log, probe};
use crate::brain::health;
use crate::places::Home;
use crate::platform;
use muster_runtime::backoff::Backoff;
use muster_runtime::clock::Clock;
use muster_runtime::ids;
use muster_wire::component::Health;
use muster_wire::id::{ComponentName, Sha256Hex, Version};
use muster_wire::limits::{RETRY_BASE, RETRY_CAP};
use muster_wire::time::Timestamp;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// The handle of a supervisor; clones share it.
#[derive(Clone, Debug)]
pub struct Supervisor {
    commands: mpsc::Sender<Command>,
    status: watch::Receiver<Status>,
}

/// What is known of a component now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The version that runs, or ran last.
    pub version: Option<Version>,
    /// Its process, while it lives.
    pub process: Option<ProcessFacts>,
    /// The probe's verdict.
    pub health: Health,
    /// Since when it has been healthy without a break.
    pub healthy_since: Option<Instant>,
    /// Why the latest probe failed, or how the process ended.
    pub trouble: Option<String>,
    /// Times that it had to be started again since the switch to this version.
    pub restarts: u32,
    /// The port that it says it listens on.
    pub port: Option<u16>,
}

/// Facts of a living process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessFacts {
    /// Names this start.
    pub start_id: String,
    /// When it was started, by the host's clock.
    pub started_at: Timestamp,
    /// When the agent started or found it.
    pub since: Instant,
    /// Digest of the running program.
    pub program_sha256: Option<Sha256Hex>,
}

/// The agent is stopping; what was asked for is done by the next one.
const STOPPING: &str = "the agent is stopping";
/// A component that ran for so long did not die of its start; the next wait begins small again.
const SETTLED_AFTER: Duration = Duration::from_secs(60);

#[derive(Debug)]
enum Command {
    Run { unit: Arc<Unit>, trial: bool, reply: Reply },
    Keep { reply: Reply },
    Halt { reply: Reply },
}

type Reply = oneshot::Sender<Result<(), String>>;
type Round = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

impl Supervisor {
    /// A supervisor and the task that does its work until `stop`. `changed` is notified when the status changes.
    pub fn new(
        component: ComponentName,
        home: Home,
        clock: Clock,
        changed: Arc<Notify>,
        stop: CancellationToken,
    ) -> (Self, impl Future<Output = ()> + Send) {
        let (commands, inbox) = mpsc::channel(4);
        let (status, seen) = watch::channel(Status::none());
        let actor = Actor { component, home, clock, changed, stop, inbox, status };
        (Self { commands, status: seen }, actor.work())
    }

    /// Makes sure that exactly this version runs; one that runs already is adopted. A version on trial is not started
    /// again when it dies.
    pub async fn run(&self, unit: Unit, trial: bool) -> Result<(), String> {
        self.ask(|reply| Command::Run { unit: Arc::new(unit), trial, reply }).await
    }

    /// Ends the trial of what runs: from now on it is started again when it dies.
    pub async fn keep(&self) -> Result<(), String> {
        self.ask(|reply| Command::Keep { reply }).await
    }

    /// Stops what runs.
    pub async fn halt(&self) -> Result<(), String> {
        self.ask(|reply| Command::Halt { reply }).await
    }

    /// What is known now, and a way to wait for changes.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    async fn ask(&self, command: impl FnOnce(Reply) -> Command) -> Result<(), String> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| STOPPING.to_owned())?;
        answer.await.map_err(|_| STOPPING.to_owned())?
    }
}

impl Status {
    fn none() -> Self {
        Self {
            version: None,
            process: None,
            health: Health::Stopped,
            healthy_since: None,
            trouble: None,
            restarts: 0,
            port: None,
        }
    }
}

struct Actor {
    component: ComponentName,
    home: Home,
    clock: Clock,
    changed: Arc<Notify>,
    stop: CancellationToken,
    inbox: mpsc::Receiver<Command>,
    status: watch::Sender<Status>,
}

enum State {
    Idle,
    Up(Box<Live>),
    Down(Dead),
    End,
}

struct Live {
    unit: Arc<Unit>,
    process: Process,
    trial: bool,
    facts: ProcessFacts,
    verdict: health::Verdict,
    backoff: Backoff,
}

/// A kept component that has no process now.
struct Dead {
    unit: Arc<Unit>,
    restarts: u32,
    backoff: Backoff,
    again_at: tokio::time::Instant,
}

impl Actor {
    async fn work(mut self) {
        let mut state = State::Idle;
        loop {
            state = match state {
                State::Idle => tokio::select! {
                    // Cancel-safe: both hold no state that a dropped wait could lose.
                    () = self.stop.cancelled() => State::End,
                    command = self.inbox.recv() => self.obey(command, None).await,
                },
                State::Up(live) => self.attend(live).await,
                State::Down(dead) => tokio::select! {
                    // Cancel-safe: as above.
                    () = self.stop.cancelled() => State::End,
                    command = self.inbox.recv() => self.obey_dead(command, dead).await,
                    () = tokio::time::sleep_until(dead.again_at) => self.start_again(dead).await,
                },
                State::End => return,
            };
        }
    }

    /// Obeys while `live`, if anything, runs.
    async fn obey(&mut self, command: Option<Command>, live: Option<Box<Live>>) -> State {
        match (command, live) {
            (None, _) => State::End,
            (Some(Command::Keep { reply }), live) => {
                let _ = reply.send(Ok(()));
                live.map_or(State::Idle, |mut live| {
                    live.trial = false;
                    State::Up(live)
                })
            }
            (Some(Command::Run { unit, trial, reply }), Some(mut live)) if live.runs(&unit) => {
                live.trial = trial;
                let _ = reply.send(Ok(()));
                State::Up(live)
            }
            (Some(Command::Run { unit, trial, reply }), live) => {
                let cleared = match live {
                    Some(live) => self.stop_live(*live).await,
                    None => Ok(()),
                };
                self.run(unit, trial, cleared, reply).await
            }
            (Some(Command::Halt { reply }), Some(live)) => {
                let stopped = self.stop_live(*live).await;
                let _ = reply.send(stopped);
                State::Idle
            }
            // Nothing is known to run, but an earlier agent may have left something.
            (Some(Command::Halt { reply }), None) => {
                let _ = reply.send(self.clear(None).await.map(drop));
                State::Idle
            }
        }
    }

    async fn obey_dead(&mut self, command: Option<Command>, dead: Dead) -> State {
        match command {
            Some(Command::Keep { reply }) => {
                let _ = reply.send(Ok(()));
                State::Down(dead)
            }
            command => self.obey(command, None).await,
        }
    }

    async fn run(&mut self, unit: Arc<Unit>, trial: bool, cleared: Result<(), String>, reply: Reply) -> State {
        let started = match cleared {
            Ok(()) => self.launch(Arc::clone(&unit), trial, None).await,
            Err(error) => Err(error),
        };
        match started {
            Ok(live) => {
                let _ = reply.send(Ok(()));
                State::Up(live)
            }
            Err(error) => {
                self.publish_dead(&unit, error.clone(), 0);
                let _ = reply.send(Err(error));
                // What is to be kept is tried again, whoever asked first.
                if trial { State::Idle } else { State::Down(Dead::new(unit, 0, new_backoff())) }
            }
        }
    }

    async fn start_again(&mut self, dead: Dead) -> State {
        let Dead { unit, restarts, backoff, .. } = dead;
        match self.launch(Arc::clone(&unit), false, Some(restarts)).await {
            Ok(mut live) => {
                live.backoff = backoff;
                State::Up(live)
            }
            Err(error) => {
                warn!(component = %self.component, error, "it could not be started again");
                self.publish_dead(&unit, error, restarts);
                State::Down(Dead::new(unit, restarts, backoff))
            }
        }
    }

    /// Adopts the running process of this version, or clears away what runs and starts it.
    async fn launch(&mut self, unit: Arc<Unit>, trial: bool, restarts: Option<u32>) -> Result<Box<Live>, String> {
        let (process, how) = match self.clear(Some(&unit)).await? {
            Some(process) => (process, "adopted"),
            None => {
                let last = Run::read(&self.home).ok().flatten().filter(|run| run.version == unit.version && !trial);
                let restarts = restarts.unwrap_or_else(|| last.map_or(0, |run| run.restarts));
                (Process::start(&unit, restarts, &self.clock)?, "started")
            }
        };
        let facts = ProcessFacts {
            start_id: process.start_id(),
            started_at: process.run.started_at,
            since: self.clock.instant(),
            program_sha256: process.program_sha256().await,
        };
        info!(component = %self.component, version = %unit.version, start_id = facts.start_id, how, "component runs");
        let verdict = health::Verdict::new(unit.recipe.health.failures);
        let live = Live { unit, process, trial, facts, verdict, backoff: new_backoff() };
        self.publish(&live);
        Ok(Box::new(live))
    }

    /// Sees to it that nothing of this component runs but what may be adopted for `wanted`.
    async fn clear(&mut self, wanted: Option<&Unit>) -> Result<Option<Process>, String> {
        let run = match Run::read(&self.home) {
            Ok(Some(run)) => run,
            Ok(None) => return Ok(None),
            Err(error) => return self.clear_unknown(&error).await.map(|()| None),
        };
        match run.find() {
            Some(key) => {
                let adopts = wanted.is_some_and(|unit| {
                    unit.version == run.version && unit.installed.package_sha256 == run.package_sha256
                });
                let version = run.version.clone();
                let process = Process::adopt(run, key);
                if adopts {
                    process.note(&self.home);
                    return Ok(Some(process));
                }
                let unit = Unit::load(&self.home, &self.component, &version).ok();
                process.stop(unit.as_ref()).await?;
            }
            None => {
                // Its leader is gone, but what that started may live on and hold a port. When nothing of it lived on,
                // the number may be that of a stranger's group by now: the mark tells.
                let ours = |key: &ProcessKey| platform::group_has_variable(key.pid, RUN_VARIABLE, &run.mark);
                if let Some(key) = run.process.filter(ours) {
                    Process::adopt(run, key).kill_rest().await?;
                }
            }
        }
        self.publish_stopped();
        Ok(None)
    }

    /// `run.json` is damaged: stops what carries the marks of this component, then sets the file aside. In this order,
    /// so that a crash between the two leaves no process that nobody looks for.
    async fn clear_unknown(&mut self, error: &io::Error) -> Result<(), String> {
        let path = self.home.run();
        error!(component = %self.component, path = %path.display(), %error, "run.json is damaged and set aside");
        for process in Process::strays(&self.home, &self.clock) {
            let unit = Unit::load(&self.home, &self.component, &process.run.version).ok();
            process.stop(unit.as_ref()).await?;
        }
        files::set_aside(&path).map_err(|error| format!("cannot set {} aside: {error}", path.display()))?;
        self.publish_stopped();
        Ok(())
    }

    async fn stop_live(&mut self, live: Live) -> Result<(), String> {
        let stopped = live.process.stop(Some(&live.unit)).await;
        self.publish_stopped();
        stopped
    }

    /// Watches a living process until something else is asked for or it dies.
    async fn attend(&mut self, mut live: Box<Live>) -> State {
        let mut unit = Arc::clone(&live.unit);
        let mut round = first_round(&unit);
        loop {
            tokio::select! {
                // Cancel-safe: the token, the queue and `ended` lose nothing; the round is kept outside the loop.
                () = self.stop.cancelled() => return State::End,
                command = self.inbox.recv() => match self.obey(command, Some(live)).await {
                    State::Up(next) => {
                        if !Arc::ptr_eq(&unit, &next.unit) {
                            unit = Arc::clone(&next.unit);
                            round = first_round(&unit);
                        }
                        live = next;
                    }
                    other => return other,
                },
                end = live.process.ended() => return self.died(*live, end).await,
                result = &mut round => {
                    match result {
                        Ok(()) => live.verdict.passed(self.clock.instant()),
                        Err(why) => live.verdict.failed(why),
                    }
                    self.publish(&live);
                    if let Err(error) = log::rotate(&self.home.log()) {
                        warn!(component = %self.component, %error, "the log was not cut");
                    }
                    round = next_round(&unit);
                }
            }
        }
    }

    async fn died(&mut self, mut live: Live, end: String) -> State {
        let ran_for = self.clock.instant().saturating_duration_since(live.facts.since);
        warn!(component = %self.component, version = %live.unit.version, end, ran_s = ran_for.as_secs(), "component died");
        if let Err(error) = live.process.kill_rest().await {
            warn!(component = %self.component, error, "what it had started is still there");
        }
        let trouble = format!("the process {end} after {} s; see {}", ran_for.as_secs(), self.home.log().display());
        if live.trial {
            self.publish_dead(&live.unit, trouble, live.process.run.restarts);
            return State::Idle;
        }
        let restarts = live.process.run.restarts.saturating_add(1);
        self.publish_dead(&live.unit, trouble, restarts);
        let backoff = if ran_for >= SETTLED_AFTER { new_backoff() } else { live.backoff };
        State::Down(Dead::new(live.unit, restarts, backoff))
    }

    fn publish(&self, live: &Live) {
        self.set(Status {
            version: Some(live.unit.version.clone()),
            process: Some(live.facts.clone()),
            health: live.verdict.health(),
            healthy_since: live.verdict.since(),
            trouble: live.verdict.last_failure().map(str::to_owned),
            restarts: live.process.run.restarts,
            port: probe::port(&live.unit),
        });
    }

    fn publish_dead(&self, unit: &Unit, trouble: String, restarts: u32) {
        let version = Some(unit.version.clone());
        self.set(Status { version, trouble: Some(trouble), restarts, ..Status::none() });
    }

    fn publish_stopped(&self) {
        let version = self.status.borrow().version.clone();
        self.set(Status { version, ..Status::none() });
    }

    fn set(&self, status: Status) {
        let changed = self.status.send_if_modified(|old| {
            let changed = *old != status;
            *old = status;
            changed
        });
        if changed {
            self.changed.notify_one();
        }
    }
}

impl Live {
    fn runs(&self, unit: &Unit) -> bool {
        self.unit.version == unit.version && self.unit.installed.package_sha256 == unit.installed.package_sha256
    }
}

impl Dead {
    fn new(unit: Arc<Unit>, restarts: u32, mut backoff: Backoff) -> Self {
        let wait = backoff.next(ids::random_fraction());
        Self { unit, restarts, backoff, again_at: tokio::time::Instant::now() + wait }
    }
}

fn new_backoff() -> Backoff {
    Backoff::new(RETRY_BASE, RETRY_CAP)
}

fn first_round(unit: &Arc<Unit>) -> Round {
    let unit = Arc::clone(unit);
    Box::pin(async move { probe::probe(&unit).await })
}

fn next_round(unit: &Arc<Unit>) -> Round {
    let unit = Arc::clone(unit);
    Box::pin(async move {
        tokio::time::sleep(unit.recipe.health.interval).await;
        probe::probe(&unit).await
    })
}

#[cfg(test)]
mod tests;
