//! `muster-agent renew`: another certificate now. The agent that runs does it; when none runs, this program does.

use crate::counter::Counter;
use crate::identity::Identity;
use crate::keeping::{self, Keeping};
use crate::lock;
use crate::places::Prefix;
use crate::settings::Settings;
use muster_runtime::clock::Clock;
use muster_runtime::failure::Failure;
use muster_runtime::tasks::{OnExit, TaskGroup};
use muster_wire::limits::SHUTDOWN_GRACE;
use muster_wire::time::Timestamp;
use std::fs;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// The new certificate must be in force by then.
const DEADLINE: Duration = Duration::from_secs(90);
/// Between two looks at the identity.
const PAUSE: Duration = Duration::from_millis(200);

/// Renews. Says what was done.
pub async fn renew(prefix: &Prefix) -> Result<String, Failure> {
    let before = Identity::load(prefix)?;
    let note = prefix.renewal_wanted();
    // One of an earlier try would be taken for the answer to this one.
    let _ = fs::remove_file(prefix.renewal_refused());
    fs::write(&note, "").map_err(|error| Failure::local_because(format!("cannot write {}", note.display()), error))?;
    let done = match lock::is_held(prefix)? {
        true => wait(prefix, &before.certificate.id).await,
        false => {
            let _held = lock::take(prefix).await?;
            let clock = Clock::system();
            let settings = Settings::read(prefix).map_err(|error| {
                Failure::local_because(format!("{} cannot be used", prefix.settings().display()), error)
            })?;
            let identity = keeping::identity(prefix, &settings)?;
            let stop = CancellationToken::new();
            let mut tasks = TaskGroup::new(stop.clone());
            let (agent, mut ignored) = mpsc::channel(16);
            let id = before.certificate.id.clone();
            let counter = Arc::new(Counter::at(prefix.session()));
            Keeping::new(prefix, identity, &settings, &clock, counter, agent, &stop)?.spawn(&mut tasks, &stop);
            tasks.spawn("ears", OnExit::Log, async move { while ignored.recv().await.is_some() {} });
            let done = wait(prefix, &id).await;
            stop.cancel();
            tasks
                .join(SHUTDOWN_GRACE)
                .await
                .map_err(|error| Failure::local_because("the renewal did not end", error))?;
            done
        }
    };
    // When nobody took it, it is not to surprise the next agent.
    let _ = fs::remove_file(&note);
    let certificate = done?;
    Ok(format!("another certificate is in force, good until {}", Timestamp::from_seconds(certificate)))
}

/// Waits until another certificate is in its place; returns its last second.
async fn wait(prefix: &Prefix, before: &str) -> Result<i64, Failure> {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    loop {
        // In the moment of the exchange there may be none.
        if let Ok(identity) = Identity::look(prefix)
            && identity.certificate.id != before
        {
            return Ok(identity.certificate.not_after);
        }
        if let Ok(why) = fs::read_to_string(prefix.renewal_refused()) {
            return Err(Failure::Outcome(format!("the certificate was not renewed: {why}")));
        }
        if tokio::time::Instant::now() >= deadline {
            let seconds = DEADLINE.as_secs();
            return Err(Failure::Outcome(format!(
                "no new certificate within {seconds} s; the agent's log says why, and it goes on trying"
            )));
        }
        tokio::time::sleep(PAUSE).await;
    }
}
