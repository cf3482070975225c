//! `muster-agent run`: puts the parts together and waits for the end.

use crate::agent::{Agent, Ended, Parts};
use crate::counter::Counter;
use crate::hands::download::Source;
use crate::hands::http::Endpoint;
use crate::identity::Identity;
use crate::keeping::{self, Keeping};
use crate::link::QUEUE;
use crate::lock::{self, Lock};
use crate::places::Prefix;
use crate::platform::{self, Wish, Wishes};
use crate::removal::Removal;
use crate::settings::Settings;
use crate::standing::{Notifier, Standing};
use crate::typed;
use crate::{trial, uninstall};
use muster_runtime::clock::Clock;
use muster_runtime::failure::Failure;
use muster_runtime::tasks::{OnExit, TaskGroup};
use muster_runtime::telemetry::{self, LogFormat};
use muster_wire::limits::SHUTDOWN_GRACE;
use muster_wire::time::Timestamp;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

/// This process, from its beginning to its end.
struct Process {
    clock: Clock,
    started_at: Timestamp,
    wishes: Wishes,
    notifier: Notifier,
}

/// Runs until SIGTERM or SIGINT, or until the agent has removed itself; SIGHUP makes it read its settings again.
pub async fn run(prefix: &Prefix) -> Result<(), Failure> {
    if let Some(removal) = Removal::read(prefix)?
        && removal.needs_no_server()
        && finish_removal(prefix, removal, &lock::take(prefix).await?).await?
    {
        return Ok(());
    }
    let settings = read_settings(prefix)?;
    telemetry::init(&settings.log_level, settings.log_format);
    Identity::load(prefix)?;
    let wishes = Wishes::listen().map_err(|error| Failure::local_because("cannot listen for signals", error))?;
    let held = lock::take(prefix).await?;
    for folder in [prefix.journals(), prefix.spool(), prefix.components()] {
        std::fs::create_dir_all(&folder)
            .map_err(|error| Failure::local_because(format!("cannot make {}", folder.display()), error))?;
    }
    let clock = Clock::system();
    let started_at = clock.now();
    let mut process = Process { clock, started_at, wishes, notifier: Notifier::from_environment() };
    loop {
        match round(prefix, &mut process).await? {
            Round::Again => {}
            Round::Over => {
                info!("agent stopped; components go on");
                return Ok(());
            }
            Round::Left => {
                if let Some(removal) = Removal::read(prefix)? {
                    finish_removal(prefix, removal, &held).await?;
                }
                return Ok(());
            }
        }
    }
}

/// What follows when the agent has ended.
#[derive(Debug, PartialEq, Eq)]
enum Round {
    /// It begins anew, with other settings.
    Again,
    Over,
    /// It is removed.
    Left,
}

/// Runs with one set of settings.
async fn round(prefix: &Prefix, process: &mut Process) -> Result<Round, Failure> {
    let Process { clock, started_at, wishes, notifier } = process;
    let mut tried =
        trial::begin(prefix, clock).map_err(|error| Failure::local_because("the agent cannot start", error))?;
    let settings = tried.settings.clone();
    let identity = keeping::identity(prefix, &settings)?;
    let stop = CancellationToken::new();
    let (say, said) = mpsc::channel(QUEUE);
    let server = settings.server.clone();
    let way = settings.proxy.way(&server);
    info!(%server, proxy = settings.proxy.explain(&server), "way to the server");
    let counter = Arc::new(Counter::at(prefix.session()));
    let (thing, publisher) = (identity.name.clone(), identity.publisher.clone());
    let keeping = Keeping::new(prefix, identity, &settings, clock, counter.clone(), say, &stop)?;
    let source = Source {
        https: Endpoint { server, way, tls: Some(keeping.https()) },
        mqtt: Some(keeping.uncounted()),
        over: settings.download,
    };
    let proven = Arc::new(Notify::new());
    let agent = Agent::new(Parts {
        prefix: prefix.clone(),
        thing: thing.clone(),
        source,
        publisher,
        clock: clock.clone(),
        settings: tried.report(),
        proven: Arc::clone(&proven),
        counter,
        labels: settings.labels,
        allow: settings.allow,
        telemetry_interval: settings.telemetry_interval,
        verify_interval: settings.verify_interval,
        outbox: keeping.outbox(),
        said,
        standing: Standing::new(prefix, clock.clone(), notifier.clone(), *started_at),
        stop: stop.clone(),
    })
    .map_err(|error| Failure::local_because("the agent cannot start", error))?;
    info!(%thing, prefix = %prefix.root().display(), version = env!("CARGO_PKG_VERSION"), "agent runs");
    let mut tasks = TaskGroup::new(stop.clone());
    keeping.spawn(&mut tasks, &stop);
    let left = Arc::new(AtomicBool::new(false));
    let (leaves, all) = (Arc::clone(&left), stop.clone());
    tasks.spawn("agent", OnExit::StopAll, async move {
        match agent.run().await {
            Ok(Ended::Asked) => {}
            // It ends all the others, so its own end is no failure.
            Ok(Ended::Left) => {
                leaves.store(true, Ordering::SeqCst);
                all.cancel();
            }
            Err(error) => error!(%error, "the agent cannot go on"),
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
            wish = wishes.next() => match wish {
                Wish::End => {
                    notifier.stopping();
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
    if left.load(Ordering::SeqCst) {
        return Ok(Round::Left);
    }
    ended.map_err(|error| Failure::local_because("the agent ended", error))?;
    Ok(again)
}

/// Makes the agent of this prefix read its settings again. They must be usable.
pub fn reload(prefix: &Prefix) -> Result<String, Failure> {
    read_settings(prefix)?;
    let root = prefix.root().display();
    let idle = || Failure::Outcome(format!("no agent runs with prefix {root}; it reads its settings when it starts"));
    if !lock::is_held(prefix)? {
        return Err(idle());
    }
    let pid = lock::holder(prefix).ok_or_else(idle)?.process.pid;
    platform::ask_to_reload(pid)
        .map_err(|error| Failure::local_because(format!("the agent, process {pid}, was not told"), error))?;
    Ok(format!(
        "the agent, process {pid}, reads its settings again; `{}` tells how it went",
        typed::command(prefix, "status")
    ))
}

/// Settings as they can be used.
///
/// Errors: every problem at once.
pub fn read_settings(prefix: &Prefix) -> Result<Settings, Failure> {
    if !prefix.settings().exists() && !Identity::exists(prefix) {
        return Err(Identity::missing(prefix));
    }
    Settings::read(prefix)
        .map_err(|error| Failure::local_because(format!("{} cannot be used", prefix.settings().display()), error))
}

/// Finishes the removal of this agent. Says whether nothing is left to run.
async fn finish_removal(prefix: &Prefix, removal: Removal, _held: &Lock) -> Result<bool, Failure> {
    // The settings may be gone already; what is logged here is of interest in any case.
    telemetry::init("info", LogFormat::Text);
    match uninstall::finish(prefix, removal).await {
        Ok(removal) => {
            info!(removed = removal.removed.join("; "), kept = removal.kept.join("; "), "the agent is removed");
            Ok(true)
        }
        // A component cannot be removed, and the record is gone: the agent works on.
        Err(failure) if Removal::read(prefix)?.is_none() => {
            error!(error = failure.chain(), "the agent stays");
            Ok(false)
        }
        Err(failure) => Err(failure),
    }
}
