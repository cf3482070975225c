//! What the keeper asks over the connection, and what it does with the answers.

use super::Keeper;
use crate::identity::{self, roots};
use crate::link::Outgoing;
use muster_runtime::failure::Failure;
use muster_runtime::{faults, ids};
use muster_wire::certificate::{CertificateRejected, RenewAccepted, RenewRequest, TrustAccepted, TrustRequest};
use muster_wire::codec::Encoding;
use muster_wire::topic::{CertificateTopic, CertificateVerb, Topic};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::{Duration, Instant};
use tracing::{debug, error, info, warn};

/// An answer must be there by then.
const ANSWER_DEADLINE: Duration = Duration::from_secs(30);

/// A question that waits for its answer; there is one at a time.
pub(super) struct Asked {
    pub(super) what: CertificateVerb,
    token: String,
    pub(super) deadline: Instant,
}

impl Keeper {
    pub(super) fn ask_trust(&mut self) {
        let interval = self.parts.verify_interval.mul_f64(0.8 + 0.4 * ids::random_fraction());
        self.trust_at = self.now() + interval;
        match self.parts.identity.roots() {
            Ok(roots) => {
                let client_token = ids::random_hex::<8>();
                let request = TrustRequest { roots, now: self.parts.clock.now(), client_token: client_token.clone() };
                self.ask(CertificateVerb::Trust, client_token, &request);
            }
            Err(error) => error!(error = error.chain(), "the server cannot be told whom this host trusts"),
        }
    }

    pub(super) fn ask_renewal(&mut self) {
        let csr = match self.next.request(self.parts.identity.name.as_str()) {
            Ok(csr) => csr,
            Err(error) => {
                error!(error = error.chain(), "the certificate cannot be renewed");
                return self.retry_later(None);
            }
        };
        info!("a new certificate is asked for");
        let client_token = ids::random_hex::<8>();
        let request = RenewRequest { csr, client_token: client_token.clone() };
        self.ask(CertificateVerb::Renew, client_token, &request);
    }

    fn ask(&mut self, what: CertificateVerb, token: String, payload: &impl Serialize) {
        let topic =
            Topic::Certificate { thing: self.parts.identity.name.clone(), verb: CertificateTopic::Request(what) };
        let outgoing = Outgoing { topic, payload: Encoding::Cbor.encode(payload), acknowledged: true };
        if self.parts.outbox.try_send(outgoing).is_err() {
            debug!("a question about certificates was not sent; it is asked again");
        }
        // Lost or not, it is overdue after the usual time.
        self.asked = Some(Asked { what, token, deadline: self.now() + ANSWER_DEADLINE });
    }

    pub(super) async fn answered(&mut self, topic: CertificateTopic, payload: &[u8]) {
        match topic {
            CertificateTopic::Notify => self.trust_at = self.now(),
            CertificateTopic::Accepted(CertificateVerb::Trust) => {
                if let Some(answer) = self.take::<TrustAccepted>(payload, |answer| Some(&answer.client_token)) {
                    self.trust(&answer);
                }
            }
            CertificateTopic::Accepted(CertificateVerb::Renew) => {
                faults::point("renew.answered");
                if let Some(answer) = self.take::<RenewAccepted>(payload, |answer| Some(&answer.client_token)) {
                    self.issued(&answer).await;
                }
            }
            CertificateTopic::Rejected(_) => {
                if let Some(answer) = self.take::<CertificateRejected>(payload, |no| no.client_token.as_deref()) {
                    self.rejected(&answer);
                }
            }
            CertificateTopic::Accepted(CertificateVerb::Prove) | CertificateTopic::Request(_) => {}
        }
    }

    /// Reads an answer if it is the one that is waited for.
    fn take<T: DeserializeOwned>(&mut self, payload: &[u8], token: impl Fn(&T) -> Option<&str>) -> Option<T> {
        let answer = match Encoding::of(payload).decode::<T>(payload) {
            Ok(answer) => answer,
            Err(error) => {
                warn!(%error, "an answer about certificates is not readable");
                return None;
            }
        };
        let is_ours = self.asked.as_ref().is_some_and(|asked| token(&answer) == Some(asked.token.as_str()));
        if is_ours {
            self.asked = None;
        }
        is_ours.then_some(answer)
    }

    fn trust(&mut self, answer: &TrustAccepted) {
        let now = self.now();
        self.server = Some((answer.now.epoch_seconds(), now));
        self.tell_skew(answer.now);
        if let Some(seconds) = answer.renew_within_s
            && self.renew_at.is_none()
        {
            let wait = Duration::from_secs(seconds).mul_f64(ids::random_fraction());
            info!(wait_s = wait.as_secs(), "the server issues by another authority; the certificate is renewed");
            self.renew_at = Some(now + wait);
        }
        match self.take_roots(&answer.ca) {
            Ok(false) => {}
            // What is held now is told at once.
            Ok(true) => self.trust_at = now,
            Err(error) => error!(error = error.chain(), "the authorities that the server names are not taken"),
        }
    }

    /// Trusts the authorities of the server; says whether that changed anything.
    fn take_roots(&mut self, ca: &str) -> Result<bool, Failure> {
        let (mut held, mut told) = (self.parts.identity.roots()?, roots(ca)?);
        held.sort();
        told.sort();
        if held == told {
            return Ok(false);
        }
        if !told.iter().any(|root| held.contains(root)) {
            let message = "none of them is trusted here; a rotation always leaves one in common".to_owned();
            return Err(Failure::Outcome(message));
        }
        let trusting = identity::trust(&self.parts.prefix, &self.parts.identity, ca)?;
        if trusting.is_pinned() {
            self.parts.identity = trusting;
            warn!(
                "the server names other authorities than ca_file of agent.toml, which decides here; add them to that file"
            );
            return Ok(false);
        }
        self.parts.target.tls.replace(&trusting, &self.parts.clock)?;
        self.parts.https.replace(&trusting, &self.parts.clock)?;
        self.parts.identity = trusting;
        info!(authorities = told.len(), "the trusted authorities changed");
        Ok(true)
    }

    async fn issued(&mut self, answer: &RenewAccepted) {
        let publisher = self.parts.identity.publisher.to_string();
        let stored = self.next.complete(&self.parts.identity, &answer.certificate, &answer.ca, &publisher);
        match stored {
            Ok(_) => self.prove().await,
            Err(error) => self.give_up(&error),
        }
    }

    fn rejected(&mut self, answer: &CertificateRejected) {
        warn!(code = ?answer.code, message = answer.message, "the server refuses a request about certificates");
        let least = answer.retry_after_s.map(Duration::from_secs);
        // Somebody who forced it is told; it is not tried again for their sake.
        let note = self.parts.prefix.renewal_refused();
        if self.renew_at.take().is_some()
            && let Err(error) = std::fs::write(&note, &answer.message)
        {
            debug!(%error, path = %note.display(), "the refusal is in the log only");
        }
        if matches!(answer.code, muster_wire::rejection::RejectionCode::Conflict) && least.is_none() {
            // The key was used before: the next request has another one.
            if let Err(error) = self.next.discard() {
                error!(error = error.chain(), "the refused key cannot be thrown away");
            }
        }
        self.retry_later(least);
    }
}
