//! How the running agent stands, told to those who watch it on its host: `status` reads it from a file, a service
//! manager gets it as messages.
//!
//! The file outlives the agent, so it names the process that it speaks of. Writing it never stops the work: an agent that
//! cannot say how it is still does what it is there for.

mod notify;

pub use notify::{Notifier, SOCKET_VARIABLE, WATCHDOG_PID_VARIABLE, WATCHDOG_VARIABLE};

use crate::hands::files;
use crate::hands::process::ProcessKey;
use crate::link::End;
use crate::places::Prefix;
use crate::platform;
use muster_runtime::clock::Clock;
use muster_wire::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::PathBuf;
use std::time::Instant;
use tracing::warn;

/// What the file says of an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Its process.
    pub process: ProcessKey,
    /// The boot that it was started in.
    pub boot_id: String,
    /// Its version.
    pub version: String,
    /// When it started, by the host's clock.
    pub started_at: Timestamp,
    /// Everything that an earlier agent left is taken over.
    pub ready: bool,
    /// Its connection to the server.
    pub link: LinkState,
    /// Since when the connection is as it is.
    pub link_since: Timestamp,
    /// Why there is no connection, or why the server does not take what it is told.
    pub trouble: Option<String>,
    /// What is wrong with the identity or the clock of this host.
    #[serde(default)]
    pub identity: Option<String>,
    /// Why the server gives no work, in its own words.
    #[serde(default)]
    pub no_work: Option<String>,
    /// When the server confirmed a report of this process, first and last.
    pub checked_in: Option<CheckIns>,
}

/// The connection to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkState {
    /// No attempt has ended yet.
    Connecting,
    /// It stands.
    Up,
    /// It does not; it is tried again.
    Down,
    /// The server was reached and does not want this host.
    Refused,
}

/// When the server confirmed reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckIns {
    /// The first since the agent was started.
    pub first: Timestamp,
    /// The last.
    pub last: Timestamp,
}

impl Told {
    /// What the agent that ran last said; `None` when none ever did.
    pub fn read(prefix: &Prefix) -> io::Result<Option<Self>> {
        files::read_json(&prefix.standing())
    }

    /// Whether the process that it speaks of is alive.
    pub fn is_alive(&self) -> bool {
        self.boot_id == platform::boot_id() && platform::start_mark(self.process.pid) == Some(self.process.start)
    }
}

/// Tells how the agent stands.
#[derive(Debug)]
pub struct Standing {
    path: PathBuf,
    told: Told,
    clock: Clock,
    notifier: Notifier,
    life_at: Option<Instant>,
}

impl Standing {
    /// The standing of this process, which started at `started_at` and begins to work now.
    pub fn new(prefix: &Prefix, clock: Clock, notifier: Notifier, started_at: Timestamp) -> Self {
        let (pid, now) = (std::process::id(), clock.now());
        let told = Told {
            process: ProcessKey { pid, start: platform::start_mark(pid).unwrap_or_default() },
            boot_id: platform::boot_id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at,
            ready: false,
            link: LinkState::Connecting,
            link_since: now,
            trouble: None,
            identity: None,
            no_work: None,
            checked_in: None,
        };
        let life_at = notifier.life_every().map(|_| clock.instant());
        let standing = Self { path: prefix.standing(), told, clock, notifier, life_at };
        standing.write();
        standing
    }

    /// Everything is taken over.
    pub fn ready(&mut self) {
        self.told.ready = true;
        self.write();
        self.notifier.ready(&self.line());
    }

    /// Connected.
    pub fn up(&mut self) {
        self.told.trouble = None;
        self.turn(LinkState::Up);
    }

    /// The connection is gone, or was not made.
    pub fn down(&mut self, end: &End) {
        self.told.trouble = Some(end.why.clone());
        self.turn(if end.refused { LinkState::Refused } else { LinkState::Down });
    }

    /// The server has confirmed that it knows us.
    pub fn checked_in(&mut self) {
        let last = self.clock.now();
        let first = self.told.checked_in.map_or(last, |earlier| earlier.first);
        self.told.checked_in = Some(CheckIns { first, last });
        self.told.trouble = None;
        self.tell();
    }

    /// The server does not take our report.
    pub fn check_in_refused(&mut self, why: &str) {
        self.told.trouble = Some(format!("the server does not take this host's report: {why}"));
        self.tell();
    }

    /// The identity or the clock of this host is not as it should be, or is again.
    pub fn identity(&mut self, trouble: Option<String>) {
        self.told.identity = trouble;
        self.tell();
    }

    /// The server gives no work, for this reason, or gives it again.
    pub fn no_work(&mut self, why: Option<String>) {
        if self.told.no_work != why {
            self.told.no_work = why;
            self.tell();
        }
    }

    /// Waits until the next sign of life is due; for ever when nobody waits for one.
    pub async fn life_due(&self) {
        match self.life_at {
            Some(at) => tokio::time::sleep_until(at.into()).await,
            None => std::future::pending().await,
        }
    }

    /// Gives a sign of life.
    pub fn give_life(&mut self) {
        self.notifier.life();
        self.life_at = self.notifier.life_every().map(|every| self.clock.instant() + every);
    }

    fn turn(&mut self, link: LinkState) {
        if self.told.link != link {
            self.told.link = link;
            self.told.link_since = self.clock.now();
        }
        self.tell();
    }

    fn tell(&self) {
        self.write();
        self.notifier.status(&self.line());
    }

    fn write(&self) {
        if let Err(error) = files::replace_json(&self.path, &self.told) {
            warn!(%error, path = %self.path.display(), "how the agent stands was not written down");
        }
    }

    /// One line for the service manager's own listing.
    fn line(&self) -> String {
        // What is wrong with the identity is the reason for the rest, and says what to do.
        let told = &self.told;
        let trouble = told.identity.as_deref().or(told.trouble.as_deref()).or(told.no_work.as_deref());
        let trouble = trouble.map(|trouble| format!(": {trouble}")).unwrap_or_default();
        match (self.told.link, self.told.checked_in) {
            (LinkState::Connecting, _) => "Connecting to the server".to_owned(),
            (LinkState::Up, None) => format!("Connected, not yet confirmed by the server{trouble}"),
            (LinkState::Up, Some(at)) => format!("Connected; last confirmed by the server at {}{trouble}", at.last),
            (LinkState::Down, _) => format!("Not connected since {}{trouble}", self.told.link_since),
            (LinkState::Refused, _) => format!("Not wanted by the server since {}{trouble}", self.told.link_since),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_file_says_how_the_agent_stands_and_since_when() {
        let folder = tempfile::tempdir().unwrap();
        let prefix = Prefix::new(folder.path()).unwrap();
        std::fs::create_dir(prefix.state()).unwrap();
        let clock = Clock::fixed(Timestamp::from_seconds(10));
        let mut standing = Standing::new(&prefix, clock.clone(), Notifier::silent(), clock.now());
        let told = || Told::read(&prefix).unwrap().unwrap();
        assert!(told().is_alive() && !told().ready && told().link == LinkState::Connecting);
        standing.ready();
        clock.set(Timestamp::from_seconds(20));
        standing.down(&End { why: "no route".into(), refused: false });
        clock.set(Timestamp::from_seconds(30));
        standing.down(&End { why: "no route".into(), refused: false });
        assert!(told().ready);
        assert_eq!((told().link, told().link_since), (LinkState::Down, Timestamp::from_seconds(20)));
        assert_eq!(told().trouble.as_deref(), Some("no route"));
        standing.up();
        standing.checked_in();
        clock.set(Timestamp::from_seconds(40));
        standing.checked_in();
        let [first, last] = [30, 40].map(Timestamp::from_seconds);
        assert_eq!((told().trouble, told().checked_in), (None, Some(CheckIns { first, last })));
        standing.identity(Some("the clock is wrong".into()));
        assert_eq!(told().identity.as_deref(), Some("the clock is wrong"));
        assert!(standing.line().ends_with(": the clock is wrong"), "{}", standing.line());
        standing.identity(None);
        standing.no_work(Some("alpha is quarantined".into()));
        standing.checked_in();
        assert_eq!(told().no_work.as_deref(), Some("alpha is quarantined"));
        assert!(standing.line().ends_with(": alpha is quarantined"), "{}", standing.line());
        standing.no_work(None);
        assert_eq!(told().no_work, None);
        standing.down(&End { why: "revoked".into(), refused: true });
        assert_eq!(told().link, LinkState::Refused);
        // A process that started at another moment is somebody else.
        let mut other = told();
        other.process.start += 1;
        assert!(!other.is_alive());
    }
}
