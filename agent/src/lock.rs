//! One agent for each prefix: whoever runs it, installs it or takes it away holds the lock of the prefix.
//!
//! The lock is the system's, on an open file: it is free again when the file is closed, also by a crash.

use crate::places::Prefix;
use crate::platform;
use crate::standing::Told;
use crate::typed;
use muster_runtime::failure::Failure;
use std::fs::{File, TryLockError};
use std::io;
use std::time::Duration;

/// The lock, held until this is dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

const PATIENCE: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(100);

/// Takes the lock, with a little patience: an agent that was just killed holds it until the disk is done with its last
/// write, and `status` holds it for a moment.
///
/// Errors: another agent runs, and which.
pub async fn take(prefix: &Prefix) -> Result<Lock, Failure> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let late = tokio::time::Instant::now() >= deadline;
        match attempt(prefix)? {
            Some(lock) => return Ok(lock),
            None if late => return Err(Failure::Outcome(other_runs(prefix))),
            None => tokio::time::sleep(PAUSE).await,
        }
    }
}

fn attempt(prefix: &Prefix) -> Result<Option<Lock>, Failure> {
    let failed = |error: io::Error| Failure::local_because(format!("cannot lock {}", prefix.lock().display()), error);
    platform::create_private_folder(&prefix.state()).map_err(failed)?;
    let file = File::options().create(true).truncate(false).write(true).open(prefix.lock()).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(Lock { _file: file })),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// Whether somebody holds the lock. Makes nothing.
pub fn is_held(prefix: &Prefix) -> Result<bool, Failure> {
    let failed =
        |error: io::Error| Failure::local_because(format!("cannot look at {}", prefix.lock().display()), error);
    let file = match File::options().write(true).open(prefix.lock()) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(false);
        }
        Err(error) => return Err(failed(error)),
    };
    match file.try_lock() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// The agent that holds the prefix, when it has said who it is.
pub fn holder(prefix: &Prefix) -> Option<Told> {
    Told::read(prefix).ok().flatten().filter(Told::is_alive)
}

fn other_runs(prefix: &Prefix) -> String {
    let who = holder(prefix).map(|told| format!(", process {} since {}", told.process.pid, told.started_at));
    let root = prefix.root().display();
    format!(
        "another agent runs with prefix {root}{}; stop it first: {}",
        who.unwrap_or_default(),
        typed::command(prefix, "stop")
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn one_holds_it_and_the_others_are_told_who() {
        let folder = tempfile::tempdir().unwrap();
        let prefix = Prefix::new(folder.path()).unwrap();
        assert!(!is_held(&prefix).unwrap());
        assert!(!prefix.state().exists(), "looking makes nothing");
        let held = attempt(&prefix).unwrap().unwrap();
        assert!(is_held(&prefix).unwrap());
        assert!(attempt(&prefix).unwrap().is_none());
        let refusal = other_runs(&prefix);
        assert!(refusal.starts_with("another agent runs with prefix "), "{refusal}");
        drop(held);
        assert!(!is_held(&prefix).unwrap());
    }
}
