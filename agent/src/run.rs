//! `muster-agent run`: puts the parts together and waits for the end.

use crate::agent::{Agent, Parts};
use crate::counter::Counter;
use crate::hands::http::Endpoint;
use crate::identity::Identity;
use crate::link::{self, QUEUE, Target};
use crate::places::Prefix;
use crate::platform;
use crate::settings::Settings;
use crate::trial;
use muster_certs::store;
use muster_runtime::clock::Clock;
use muster_runtime::failure::Failure;
use muster_runtime::tasks::{OnExit, TaskGroup};
use muster_runtime::telemetry;
use muster_wire::limits::SHUTDOWN_GRACE;
use std::error::Error;
use std::fs::{File, TryLockError};
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

const LOCK_PATIENCE: Duration = Duration::from_secs(3);
const LOCK_PAUSE: Duration = Duration::from_millis(100);

/// Runs until SIGTERM or SIGINT; SIGHUP makes it read its settings again.
pub async fn run(prefix: &Prefix) -> Result<(), Failure> {
    let settings = read_settings(prefix)?;
    telemetry::init(&settings.log_level, settings.log_format);
    Identity::load(prefix)?;
    let mut signals = Signals::listen()?;
    let Some(mut lock) = wait_for_lock(prefix).await? else {
        let root = prefix.root().display();
        return Err(Failure::Outcome(format!("another agent runs with prefix {root}; stop that one first")));
    };
    write_pid(&mut lock)
        .map_err(|error| Failure::local_because(format!("cannot write {}", prefix.lock().display()), error))?;
    for folder in [prefix.journals(), prefix.spool(), prefix.components()] {
        std::fs::create_dir_all(&folder)
            .map_err(|error| Failure::local_because(format!("cannot make {}", folder.display()), error))?;
    }
    let clock = Clock::system();
    while round(prefix, &clock, &mut signals).await? == Round::Again {}
    info!("agent stopped; components go on");
    Ok(())
}

/// Whether the agent shall begin anew, with other settings.
#[derive(Debug, PartialEq, Eq)]
enum Round {
    Again,
    Over,
}

/// Runs with one set of settings.
async fn round(prefix: &Prefix, clock: &Clock, signals: &mut Signals) -> Result<Round, Failure> {
    let mut tried =
        trial::begin(prefix, clock).map_err(|error| Failure::local_because("the agent cannot start", error))?;
    let settings = tried.settings.clone();
    let mut identity = Identity::load(prefix)?;
    if identity.name != settings.name {
        let (path, found) = (prefix.settings(), &settings.name);
        return Err(Failure::local(format!(
            "{} says name = {found:?}, but the certificate is for {}; correct the name",
            path.display(),
            identity.name
        )));
    }
    if let Some(path) = &settings.ca_file {
        let ca = store::read_pem(path).map_err(|error| Failure::local_because("ca_file cannot be used", error))?;
        identity = identity.trusting(ca);
    }
    let stop = CancellationToken::new();
    let (outbox, to_send) = mpsc::channel(QUEUE);
    let (say, said) = mpsc::channel(QUEUE);
    let server = settings.server.clone();
    let way = settings.proxy.way(&server);
    info!(%server, proxy = settings.proxy.explain(&server), "way to the server");
    let counter = Arc::new(Counter::at(prefix.session()));
    let target = Target {
        counter: Some(counter.clone()),
        server: server.clone(),
        way: way.clone(),
        thing: identity.name.clone(),
        tls: identity.tls(&[b"x-amzn-mqtt-ca"])?,
        heartbeat: settings.heartbeat,
    };
    let proven = Arc::new(Notify::new());
    let agent = Agent::new(Parts {
        prefix: prefix.clone(),
        thing: identity.name.clone(),
        server: Endpoint { server, way, tls: Some(identity.tls(&[b"http/1.1"])?) },
        publisher: identity.publisher,
        clock: clock.clone(),
        settings: tried.report(),
        proven: Arc::clone(&proven),
        counter,
        labels: settings.labels,
        allow: settings.allow,
        telemetry_interval: settings.telemetry_interval,
        verify_interval: settings.verify_interval,
        outbox,
        said,
        stop: stop.clone(),
    })
    .map_err(|error| Failure::local_because("the agent cannot start", error))?;
    info!(thing = %identity.name, prefix = %prefix.root().display(), version = env!("CARGO_PKG_VERSION"), "agent runs");
    let mut tasks = TaskGroup::new(stop.clone());
    tasks.spawn("link", OnExit::StopAll, link::keep(target, to_send, say, stop.clone()));
    tasks.spawn("agent", OnExit::StopAll, async move {
        if let Err(error) = agent.run().await {
            error!(%error, "the agent cannot go on");
        }
    });
    let mut joining = std::pin::pin!(tasks.join(SHUTDOWN_GRACE));
    let (ended, again) = loop {
        let trial_ends = async {
            match tried.deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // Not cancelled but kept: the wait for the tasks goes on below.
            ended = &mut joining => break (ended, Round::Over),
            wish = signals.next() => match wish {
                Wish::End => {
                    stop.cancel();
                    break (joining.await, Round::Over);
                }
                Wish::Reload => match Settings::read(prefix) {
                    Ok(_) => {
                        info!("the settings are read again");
                        stop.cancel();
                        break (joining.await, Round::Again);
                    }
                    Err(error) => error!(%error, "the new settings are not usable; the old ones count"),
                },
            },
            // Cancel-safe: a permit that was not taken stays.
            () = proven.notified() => {
                if let Err(error) = tried.confirm() {
                    error!(%error, source = error.source(), "the confirmed settings are not written down");
                }
            }
            () = trial_ends => {
                stop.cancel();
                let ended = joining.await;
                tried.take_back(clock).map_err(|error| {
                    Failure::local_because("the refused connection settings are not taken back", error)
                })?;
                break (ended, Round::Again);
            }
        }
    };
    ended.map_err(|error| Failure::local_because("the agent ended", error))?;
    Ok(again)
}

/// Makes the agent of this prefix read its settings again. They must be usable.
pub fn reload(prefix: &Prefix) -> Result<String, Failure> {
    read_settings(prefix)?;
    let root = prefix.root().display();
    let idle = || Failure::Outcome(format!("no agent runs with prefix {root}; it reads its settings when it starts"));
    if lock(prefix)?.is_some() {
        return Err(idle());
    }
    let text = std::fs::read_to_string(prefix.lock())
        .map_err(|error| Failure::local_because(format!("cannot read {}", prefix.lock().display()), error))?;
    let pid = text.trim().parse::<u32>().map_err(|_| idle())?;
    platform::ask_to_reload(pid)
        .map_err(|error| Failure::local_because(format!("the agent, process {pid}, was not told"), error))?;
    Ok(format!(
        "the agent, process {pid}, reads its settings again; `muster-agent status --prefix {root}` tells how it went"
    ))
}

fn read_settings(prefix: &Prefix) -> Result<Settings, Failure> {
    Settings::read(prefix)
        .map_err(|error| Failure::local_because(format!("{} cannot be used", prefix.settings().display()), error))
}

/// Writes this process into its lock, for whoever wants to tell it something.
fn write_pid(lock: &mut File) -> std::io::Result<()> {
    lock.set_len(0)?;
    lock.write_all(format!("{}\n", std::process::id()).as_bytes())
}

/// Takes the lock, with a little patience: an agent that was just killed holds it until the disk is done with its last
/// write, and `status` holds it for a moment.
async fn wait_for_lock(prefix: &Prefix) -> Result<Option<File>, Failure> {
    let deadline = tokio::time::Instant::now() + LOCK_PATIENCE;
    loop {
        let taken = lock(prefix)?;
        if taken.is_some() || tokio::time::Instant::now() >= deadline {
            return Ok(taken);
        }
        tokio::time::sleep(LOCK_PAUSE).await;
    }
}

/// Takes the lock of the prefix; `None` when another agent holds it. It is free again when the file is closed, also by
/// a crash.
pub fn lock(prefix: &Prefix) -> Result<Option<File>, Failure> {
    let path = prefix.lock();
    let failed = |error: std::io::Error| Failure::local_because(format!("cannot lock {}", path.display()), error);
    platform::create_private_folder(&prefix.state()).map_err(failed)?;
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// What somebody wants of this process.
enum Wish {
    End,
    Reload,
}

/// The signals of this process, listened to from its beginning to its end: none is lost between two rounds.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> Result<Self, Failure> {
        let listen = |kind| signal(kind).map_err(|error| Failure::local_because("cannot listen for signals", error));
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    /// Cancel-safe: a signal that was not taken stays.
    async fn next(&mut self) -> Wish {
        tokio::select! {
            _ = self.terminate.recv() => Wish::End,
            _ = self.interrupt.recv() => Wish::End,
            _ = self.hangup.recv() => Wish::Reload,
        }
    }
}
