//! Keeps the identity of this host good: trusts what the server says, renews the certificate before it ends, and asks to
//! be let in again when it has.
//!
//! ```text
//!  link ── answers about certificates ──▶ keeper ── requests ──▶ outbox of the link
//!                                           │  key, certificate: identity/next
//!                                           └─ proof: a connection of its own, with the new certificate
//! ```
//! Whether a renewal is due is asked of the server's clock, which comes with its answers; the host's own clock decides
//! nothing here, so one that is wrong destroys and renews nothing.

mod asking;
mod recovering;

pub use recovering::clocks_differ;

use crate::identity::Identity;
use crate::identity::next::Next;
use crate::link::{self, Heard, Outgoing, ProofError, Refusal, Said, Target};
use crate::places::Prefix;
use crate::tls::Tls;
use asking::Asked;
use muster_certs::renewal::{self, Due};
use muster_runtime::backoff::Backoff;
use muster_runtime::clock::Clock;
use muster_runtime::failure::Failure;
use muster_runtime::ids;
use muster_wire::limits::{RENEWAL_RETRY_BASE, RENEWAL_RETRY_CAP};
use recovering::Recovery;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// What the keeper is made with.
pub struct Parts {
    /// Where all lies.
    pub prefix: Prefix,
    /// The identity in use.
    pub identity: Identity,
    /// How the link reaches the server; its TLS settings are exchanged here.
    pub target: Target,
    /// The TLS settings for HTTPS; exchanged as well.
    pub https: Tls,
    /// The clock.
    pub clock: Clock,
    /// Time between two questions whom to trust, give or take a fifth.
    pub verify_interval: Duration,
    /// To the agent: what is wrong, for those who ask it.
    pub agent: mpsc::Sender<Said>,
    /// To the link.
    pub outbox: mpsc::Sender<Outgoing>,
    /// From the link.
    pub heard: mpsc::Receiver<Heard>,
    /// Ends the keeper.
    pub stop: CancellationToken,
}

/// The keeper's state; one task owns it.
pub struct Keeper {
    parts: Parts,
    next: Next,
    up: bool,
    /// What the server's clock said, and when that was.
    server: Option<(i64, Instant)>,
    /// Where in the spread the renewal of this certificate lies.
    fraction: f64,
    /// A renewal that does not wait for half of the life.
    renew_at: Option<Instant>,
    asked: Option<Asked>,
    trust_at: Instant,
    /// Before this moment neither a renewal nor a proof is tried again.
    not_before: Instant,
    backoff: Backoff,
    recovery: Recovery,
    /// What the agent was told to be wrong.
    told: Option<String>,
}

/// How often it is looked whether somebody wants a renewal now.
const LOOK: Duration = Duration::from_secs(2);

impl Keeper {
    /// Takes over what an earlier keeper left: a certificate that was not proven yet is tried first.
    pub fn new(parts: Parts) -> Self {
        let now = parts.clock.instant();
        Self {
            next: Next::of(&parts.prefix),
            up: false,
            server: None,
            fraction: ids::random_fraction(),
            renew_at: None,
            asked: None,
            trust_at: now,
            not_before: now,
            backoff: Backoff::new(RENEWAL_RETRY_BASE, RENEWAL_RETRY_CAP),
            recovery: Recovery::new(now),
            told: None,
            parts,
        }
    }

    /// Works until it is stopped.
    pub async fn run(mut self) {
        let stop = self.parts.stop.clone();
        tokio::select! {
            // Dropped anywhere, it goes on from the disk after the next start.
            () = stop.cancelled() => {}
            () = self.work() => {}
        }
    }

    async fn work(&mut self) {
        loop {
            let wake_at = self.wake_at();
            tokio::select! {
                // Cancel-safe: the queue keeps what was not taken.
                heard = self.parts.heard.recv() => match heard {
                    Some(heard) => self.hear(heard).await,
                    None => return,
                },
                () = tokio::time::sleep_until(wake_at.into()) => {}
            }
            self.look().await;
        }
    }

    async fn hear(&mut self, heard: Heard) {
        let now = self.now();
        match heard {
            Heard::Up => {
                self.up = true;
                self.asked = None;
                self.trust_at = now;
                self.recovery.over(now);
                self.tell(None);
            }
            Heard::Down => {
                self.up = false;
                self.asked = None;
                self.server = None;
            }
            Heard::Refused(refusal) => self.refused(refusal).await,
            Heard::Message { verb, payload } => self.answered(verb, &payload).await,
        }
    }

    /// Does what is due, one thing after the other.
    async fn look(&mut self) {
        if self.is_wanted() {
            self.renew_at = Some(self.now());
            self.not_before = self.now();
        }
        let now = self.now();
        if let Some(asked) = &self.asked
            && now >= asked.deadline
        {
            warn!(what = ?asked.what, "the server did not answer about certificates and is asked again");
            self.asked = None;
            self.retry_later(None);
        }
        if now >= self.not_before && self.next.load().is_some() {
            self.prove().await;
        }
        if self.up {
            if self.asked.is_none() && now >= self.trust_at {
                self.ask_trust();
            } else if self.asked.is_none() && now >= self.not_before && self.is_due() {
                self.ask_renewal();
            }
        } else {
            self.recover().await;
        }
    }

    fn wake_at(&self) -> Instant {
        let look = self.now() + LOOK;
        let asked = self.asked.as_ref().map(|asked| asked.deadline);
        let timers = [asked, self.renew_at, self.due_at(), self.recovery.wake_at(self.up)];
        // A moment that has passed waits for the connection or for `not_before`, not for the timer.
        let now = self.now();
        let open = timers.into_iter().flatten().map(|at| at.max(self.not_before)).filter(|at| *at > now);
        open.fold(look, Instant::min)
    }

    // The renewal.

    /// The moment at which the certificate is due, if the server's time is known.
    fn due_at(&self) -> Option<Instant> {
        let (server, at) = self.server?;
        let wait = renewal::renew_at(&self.parts.identity.certificate, self.fraction).saturating_sub(server);
        Some(at + Duration::from_secs(u64::try_from(wait).unwrap_or(0)))
    }

    fn is_due(&self) -> bool {
        if self.renew_at.is_some_and(|at| self.now() >= at) {
            return true;
        }
        let Some((server, at)) = self.server else { return false };
        let elapsed = i64::try_from(self.now().saturating_duration_since(at).as_secs()).unwrap_or(i64::MAX);
        let due = renewal::due(&self.parts.identity.certificate, server.saturating_add(elapsed), self.fraction);
        due == Due::Now
    }

    /// Tries the certificate that is there to be proven, and uses it from then on.
    async fn prove(&mut self) {
        let Some(new) = self.next.load() else { return };
        let new = new.pinned_as(&self.parts.identity);
        let alpn = self.parts.target.tls.current().alpn_protocols.clone();
        let alpn: Vec<&[u8]> = alpn.iter().map(Vec::as_slice).collect();
        let tls = match Tls::of(&new, &alpn, &self.parts.clock) {
            Ok(tls) => tls,
            Err(error) => return self.give_up(&error),
        };
        match link::prove(&Target { tls, ..self.parts.target.clone() }).await {
            Ok(()) => match self.use_next() {
                Ok(()) => {
                    let expires = self.parts.identity.certificate.not_after;
                    info!(certificate = self.parts.identity.certificate.id, expires, "another certificate is in force");
                }
                Err(error) => {
                    error!(error = error.chain(), "the new certificate is in force but could not be put in its place");
                    self.retry_later(None);
                }
            },
            // Somebody who is let in with the old one has no use for a new one that is refused.
            Err(ProofError::Refused(why)) if self.up => self.give_up(&Failure::Outcome(why)),
            Err(error) => {
                warn!(%error, "the certificate in use stays");
                self.retry_later(None);
            }
        }
    }

    fn use_next(&mut self) -> Result<(), Failure> {
        let new = self.next.take_over()?.pinned_as(&self.parts.identity);
        self.parts.target.tls.replace(&new, &self.parts.clock)?;
        self.parts.https.replace(&new, &self.parts.clock)?;
        self.parts.identity = new;
        self.fraction = ids::random_fraction();
        self.renew_at = None;
        self.backoff.reset();
        // Whoever connects with the new one asks anew.
        self.trust_at = self.now();
        self.recovery.over(self.now());
        Ok(())
    }

    fn give_up(&mut self, error: &Failure) {
        warn!(error = error.chain(), "the new certificate is thrown away; another one is asked for later");
        if let Err(error) = self.next.discard() {
            error!(error = error.chain(), "the new certificate cannot be thrown away");
        }
        self.retry_later(None);
    }

    fn retry_later(&mut self, least: Option<Duration>) {
        let wait = self.backoff.next(ids::random_fraction()).max(least.unwrap_or_default());
        self.not_before = self.now() + wait;
    }

    // What people want to know, and what they want.

    /// Tells the agent what is wrong, or that nothing is any more.
    fn tell(&mut self, trouble: Option<String>) {
        // Not told because the agent is busy, it is told again with the next look.
        if self.told != trouble && self.parts.agent.try_send(Said::Identity(trouble.clone())).is_ok() {
            self.told = trouble;
        }
    }

    /// Whether `muster-agent renew` left a note; it is taken away.
    fn is_wanted(&self) -> bool {
        std::fs::remove_file(self.parts.prefix.renewal_wanted()).is_ok()
    }

    fn now(&self) -> Instant {
        self.parts.clock.instant()
    }
}
