//! `muster-agent run`: puts the parts together and waits for the end.

use crate::agent::{Agent, Parts};
use crate::hands::http::Endpoint;
use crate::identity::Identity;
use crate::link::{self, QUEUE, Target};
use crate::places::Prefix;
use crate::platform;
use crate::settings::Settings;
use muster_runtime::clock::Clock;
use muster_runtime::failure::Failure;
use muster_runtime::tasks::{OnExit, TaskGroup};
use muster_runtime::telemetry;
use muster_wire::limits::SHUTDOWN_GRACE;
use std::fs::{File, TryLockError};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

const LOCK_PATIENCE: Duration = Duration::from_secs(3);
const LOCK_PAUSE: Duration = Duration::from_millis(100);

/// Runs until SIGTERM or SIGINT.
pub async fn run(prefix: &Prefix) -> Result<(), Failure> {
    let settings = Settings::read(prefix)
        .map_err(|error| Failure::local_because(format!("{} cannot be used", prefix.settings().display()), error))?;
    telemetry::init(&settings.log_level, settings.log_format);
    let identity = Identity::load(prefix)?;
    if identity.name != settings.name {
        let (path, found) = (prefix.settings(), &settings.name);
        return Err(Failure::local(format!(
            "{} says name = {found:?}, but the certificate is for {}; correct the name",
            path.display(),
            identity.name
        )));
    }
    let Some(_lock) = wait_for_lock(prefix).await? else {
        let root = prefix.root().display();
        return Err(Failure::Outcome(format!("another agent runs with prefix {root}; stop that one first")));
    };
    for folder in [prefix.journals(), prefix.spool(), prefix.components()] {
        std::fs::create_dir_all(&folder)
            .map_err(|error| Failure::local_because(format!("cannot make {}", folder.display()), error))?;
    }
    let stop = CancellationToken::new();
    let (outbox, to_send) = mpsc::channel(QUEUE);
    let (say, said) = mpsc::channel(QUEUE);
    let server = settings.server.clone();
    let way = settings.proxy.way(&server);
    info!(proxy = settings.proxy.explain(&server), "way to the server");
    let target = Target {
        server: server.clone(),
        way: way.clone(),
        thing: identity.name.clone(),
        tls: identity.tls(&[b"x-amzn-mqtt-ca"])?,
        heartbeat: settings.heartbeat,
    };
    let agent = Agent::new(Parts {
        prefix: prefix.clone(),
        thing: identity.name.clone(),
        server: Endpoint { server, way, tls: Some(identity.tls(&[b"http/1.1"])?) },
        publisher: identity.publisher,
        clock: Clock::system(),
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
    let ended = {
        let mut joining = std::pin::pin!(tasks.join(SHUTDOWN_GRACE));
        tokio::select! {
            // Not cancelled but kept: the wait for the tasks goes on below.
            ended = &mut joining => ended,
            () = wait_for_signal() => {
                stop.cancel();
                joining.await
            }
        }
    };
    info!("agent stopped; components go on");
    ended.map_err(|error| Failure::local_because("the agent ended", error))
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

async fn wait_for_signal() {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        error!("cannot listen for signals; only SIGKILL ends this agent, which it also survives");
        return std::future::pending().await;
    };
    tokio::select! {
        // Cancel-safe: a signal that was not taken stays, and nothing follows anyway.
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
