//! When the server does not let us in: what time it is there, and whether to ask for another certificate.
//!
//! ```text
//! refused ─▶ compare the clocks ─▶ far apart: say so, do nothing else
//!                               └▶ together, refused again: ask with the old key's signature ─▶ wait for an operator
//! ```

use super::{Keeper, Refusal};
use crate::hands::http::Endpoint;
use crate::hands::https;
use crate::host::facts;
use crate::tls::Tls;
use muster_runtime::backoff::Backoff;
use muster_runtime::failure::Failure;
use muster_runtime::ids;
use muster_wire::certificate::{RecoverRequest, RecoverResponse};
use muster_wire::enrol::RECOVER_PATH;
use muster_wire::limits::{CLOCK_SKEW_MAX, CLOCK_SKEW_WARN, RECOVERY_RETRY_BASE, RECOVERY_RETRY_CAP};
use muster_wire::time::Timestamp;
use std::time::{Duration, Instant};
use tracing::{error, info, warn};

/// Refusals in a row before another certificate is asked for: one may come from a server that is just starting.
const REFUSALS: u32 = 3;

/// What is under way about a server that does not let us in.
pub(super) struct Recovery {
    refusals: u32,
    /// By how much the host's clock is ahead of the server's, from the last look.
    skew: Option<i64>,
    look_at: Instant,
    backoff: Backoff,
    is_waiting: bool,
}

impl Recovery {
    pub(super) fn new(now: Instant) -> Self {
        let backoff = Backoff::new(RECOVERY_RETRY_BASE, RECOVERY_RETRY_CAP);
        Self { refusals: 0, skew: None, look_at: now, backoff, is_waiting: false }
    }

    pub(super) fn over(&mut self, now: Instant) {
        *self = Self::new(now);
    }

    pub(super) fn wake_at(&self, up: bool) -> Option<Instant> {
        (!up && self.is_asking()).then_some(self.look_at)
    }

    fn is_asking(&self) -> bool {
        self.refusals >= REFUSALS
    }
}

impl Keeper {
    pub(super) async fn refused(&mut self, refusal: Refusal) {
        let now = self.now();
        let recovery = &mut self.recovery;
        recovery.refusals = recovery.refusals.saturating_add(1);
        // The first refusal is looked at at once; after that not more often than the retries.
        if recovery.refusals > 1 && now < recovery.look_at {
            return;
        }
        if refusal == Refusal::Clock || recovery.refusals < REFUSALS {
            if refusal == Refusal::Clock {
                // A host with a wrong clock asks for nothing, however often it is refused.
                recovery.refusals = 1;
            }
            recovery.look_at = now + recovery.backoff.next(ids::random_fraction());
            self.compare_clocks().await;
        }
    }

    /// Asks for another certificate, if the server keeps refusing the one that is here.
    pub(super) async fn recover(&mut self) {
        if !self.recovery.is_asking() || self.now() < self.recovery.look_at {
            return;
        }
        self.compare_clocks().await;
        let wait = self.recovery.backoff.next(ids::random_fraction()).max(RECOVERY_RETRY_BASE / 2);
        self.recovery.look_at = self.now() + wait;
        match self.recovery.skew {
            Some(skew) if skew.unsigned_abs() <= CLOCK_SKEW_MAX.as_secs() => {}
            // Said already; or the server is away.
            _ => return,
        }
        match self.ask_recovery().await {
            Ok(RecoverResponse::Waiting { retry_after_s, hint }) => {
                self.tell(Some(format!("the server does not take the certificate of this host any more: {hint}")));
                if !self.recovery.is_waiting {
                    warn!(hint, "the server does not take this host's certificate; it waits for an operator");
                    self.recovery.is_waiting = true;
                }
                self.recovery.look_at = self.now() + Duration::from_secs(retry_after_s);
            }
            Ok(RecoverResponse::Issued(answer)) => {
                info!("an operator let this host in again");
                let stored =
                    self.next.complete(&self.parts.identity, &answer.certificate, &answer.ca, &answer.publisher_key);
                match stored {
                    Ok(_) => self.prove().await,
                    Err(error) => self.give_up(&error),
                }
            }
            Err(Failure::Refused(rejection)) => {
                warn!(code = ?rejection.code, message = rejection.message, "the server refuses to let this host in again");
                self.tell(Some(rejection.message));
                self.recovery.look_at = self.now() + RECOVERY_RETRY_CAP.mul_f64(0.5 + 0.5 * ids::random_fraction());
            }
            Err(error) => warn!(error = error.chain(), "the server could not be asked to let this host in again"),
        }
    }

    async fn ask_recovery(&self) -> Result<RecoverResponse, Failure> {
        let identity = &self.parts.identity;
        let csr = self.next.request(identity.name.as_str())?;
        let request = RecoverRequest {
            name: identity.name.clone(),
            signature: identity.sign(&RecoverRequest::statement(&identity.name, &csr))?,
            certificate: identity.certificate_pem().to_owned(),
            csr,
            host: facts::collect(&ids::random_hex::<8>()),
        };
        https::post(&self.anonymous()?, RECOVER_PATH, &request).await
    }

    /// The server, met by somebody whom it need not know.
    fn anonymous(&self) -> Result<Endpoint, Failure> {
        let config = self.parts.identity.anonymous_tls(&[b"http/1.1"])?;
        Ok(Endpoint {
            server: self.parts.target.server.clone(),
            way: self.parts.target.way.clone(),
            tls: Some(Tls::fixed(config, &self.parts.clock)),
        })
    }

    async fn compare_clocks(&mut self) {
        self.recovery.skew = None;
        let measured = match self.anonymous() {
            Ok(endpoint) => https::time(&endpoint, &self.parts.clock).await,
            Err(error) => Err(error),
        };
        match measured {
            Ok(server) => self.tell_skew(server),
            Err(error) => warn!(error = error.chain(), "the server's clock cannot be asked"),
        }
    }

    /// Notes by how much the clocks differ, and says so when that is much.
    pub(super) fn tell_skew(&mut self, server: Timestamp) {
        let host = self.parts.clock.now();
        let skew = host.epoch_seconds().saturating_sub(server.epoch_seconds());
        let was_much = self.recovery.skew.is_some_and(|skew| skew.unsigned_abs() > CLOCK_SKEW_WARN.as_secs());
        self.recovery.skew = Some(skew);
        if skew.unsigned_abs() > CLOCK_SKEW_WARN.as_secs() {
            self.tell(Some(clocks_differ(skew)));
        } else if was_much {
            self.tell(None);
        }
        if skew.unsigned_abs() > CLOCK_SKEW_WARN.as_secs() && !(self.up && was_much) {
            error!(
                host_clock = %host,
                server_clock = %server,
                "{}",
                clocks_differ(skew),
            );
        }
    }
}

/// What is wrong and what to do, for people.
pub fn clocks_differ(skew_s: i64) -> String {
    let direction = if skew_s < 0 { "behind" } else { "ahead of" };
    format!(
        "the clock of this host is {} {direction} the server's; certificates are judged by the clock: correct the one that \
         is wrong (for example `timedatectl set-ntp true`)",
        span(skew_s.unsigned_abs())
    )
}

fn span(seconds: u64) -> String {
    match seconds {
        0..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_its_error_and_the_way_out_are_named() {
        let behind = clocks_differ(-365 * 86_400);
        assert!(behind.starts_with("the clock of this host is 365 days behind the server's;"), "{behind}");
        assert!(behind.contains("timedatectl set-ntp true"));
        assert!(clocks_differ(2 * 3600).starts_with("the clock of this host is 2 h ahead of the server's;"));
        assert!(clocks_differ(600).contains("10 min ahead"));
    }
}
