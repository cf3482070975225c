//! Renewal over a connector's own connection: another certificate, its proof, and which authorities to trust.
//!
//! The order of the durable steps: the new certificate is recorded as pending, then a connection with it makes it current,
//! then the one before is replaced and its connections end. A crash between them leaves a host whose old certificate, or
//! both, open the door; the host asks again, and the server's start finishes the last step.

use super::{FleetWorker, Refused, refuse};
use crate::records::{CertificateState, Connector, key};
use muster_bus::{Answer, Message, Request};
use muster_certs::Identity;
use muster_certs::renewal::least_interval;
use muster_certs::request::VerifiedRequest;
use muster_runtime::faults;
use muster_wire::admin::CaPhase;
use muster_wire::certificate::{
    CertificateRejected, ProveAccepted, ProveRequest, RenewAccepted, RenewRequest, TrustAccepted, TrustRequest,
};
use muster_wire::codec::Encoding;
use muster_wire::id::{Sha256Hex, ThingName};
use muster_wire::limits::{CLOCK_SKEW_WARN, RENEWALS_PER_INTERVAL_MAX, RENEWALS_PER_SECOND};
use muster_wire::rejection::{Rejection, RejectionCode};
use muster_wire::topic::{CertificateTopic, CertificateVerb, Topic};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;
use tracing::{info, warn};

/// Roots that a host may say to trust: a rotation needs two.
const ROOTS_MAX: usize = 8;

/// Why a request of a connector ended without a result.
struct No {
    refused: Refused,
    /// Ask again after so long.
    after: Option<Duration>,
    client_token: Option<String>,
}

impl No {
    fn new(refused: impl Into<Refused>, client_token: &str) -> Self {
        Self { refused: refused.into(), after: None, client_token: Some(client_token.to_owned()) }
    }
}

impl FleetWorker {
    pub(super) fn certificate_request(&self, thing: &ThingName, verb: CertificateVerb, request: &Request) -> Answer {
        let encoding = Encoding::of(&request.payload);
        let done = match verb {
            CertificateVerb::Renew => self.renew(thing, request).map(|answer| encode(encoding, &answer)),
            CertificateVerb::Prove => self.prove(thing, request).map(|answer| encode(encoding, &answer)),
            CertificateVerb::Trust => self.trust(thing, request).map(|answer| encode(encoding, &answer)),
        };
        let (verb, payload) = match done {
            Ok(payload) => (CertificateTopic::Accepted(verb), payload),
            // The publish is not acknowledged, and the host asks again over its next connection.
            Err(No { refused: Refused::Failed(error), .. }) => {
                self.shared.report("serve a request about a certificate", &error);
                return Answer::failed();
            }
            Err(No { refused: Refused::No(rejection), after, client_token }) => {
                info!(connector = %thing, reason = %rejection, "request about a certificate refused");
                let retry_after_s = after.map(|after| after.as_secs().max(1));
                let Rejection { code, message } = rejection;
                let answer = CertificateRejected { code, message, retry_after_s, client_token };
                (CertificateTopic::Rejected(verb), encode(encoding, &answer))
            }
        };
        let topic = Topic::Certificate { thing: thing.clone(), verb };
        Answer::with(Message::new(topic.to_string(), payload))
    }

    fn renew(&self, thing: &ThingName, request: &Request) -> Result<RenewAccepted, No> {
        let RenewRequest { csr, client_token } = payload(request)?;
        let no = |refused: Refused| No::new(refused, &client_token);
        let connector = self.enrolled(thing).map_err(no)?;
        let identity = self.identity(&connector.name).map_err(no)?;
        self.check_new_key(&identity, &csr).map_err(no)?;
        if let Some(after) = self.too_soon(&identity) {
            let message = format!(
                "{thing} got {RENEWALS_PER_INTERVAL_MAX} certificates in a short time; the next one in {} s",
                after.as_secs().max(1)
            );
            let refused = Refused::No(Rejection::new(RejectionCode::Busy, message));
            return Err(No { refused, after: Some(after), client_token: Some(client_token) });
        }
        let (certificate, record) = self.issue(&identity, &csr).map_err(no)?;
        faults::point("server.renew.issued");
        info!(connector = %thing, certificate = %record.id, "certificate issued, to be proven");
        Ok(RenewAccepted { certificate, ca: self.shared.config.vault.trusted_pem(), client_token })
    }

    fn prove(&self, thing: &ThingName, request: &Request) -> Result<ProveAccepted, No> {
        let ProveRequest { client_token } = payload(request)?;
        let no = |refused: Refused| No::new(refused, &client_token);
        let certificate_id = request.caller.certificate_id.to_string();
        faults::point("server.prove.before");
        let id = Sha256Hex::new(&certificate_id)
            .or_else(|error| refuse(RejectionCode::Invalid, error.to_string()))
            .map_err(no)?;
        self.certificate_proven(thing, &id).map_err(|error| no(error.into()))?;
        let known = self.shared.config.admission.get(&id);
        if known.is_none_or(|known| known.state != CertificateState::Current) {
            let message = "the certificate of this connection was not issued by enrolment or renewal";
            return Err(no(Refused::No(Rejection::new(RejectionCode::Forbidden, message))));
        }
        // Who is in again does not wait any more.
        self.forget_recovery(thing).map_err(|error| no(error.into()))?;
        faults::point("server.prove.after");
        Ok(ProveAccepted { certificate_id, client_token })
    }

    fn trust(&self, thing: &ThingName, request: &Request) -> Result<TrustAccepted, No> {
        let TrustRequest { mut roots, now: theirs, client_token } = payload(request)?;
        let no = |refused: Refused| No::new(refused, &client_token);
        if roots.len() > ROOTS_MAX {
            let message = format!("a host may trust at most {ROOTS_MAX} authorities");
            return Err(no(Refused::No(Rejection::new(RejectionCode::Invalid, message))));
        }
        let connector = self.enrolled(thing).map_err(no)?;
        roots.sort();
        if connector.trusts != roots {
            let connector = Connector { trusts: roots, ..connector.as_ref().clone() };
            self.commit(|batch| batch.put(&key::connector(thing), &connector)).map_err(|error| no(error.into()))?;
            self.know(connector);
        }
        let now = self.shared.clock.now();
        let skew = theirs.since(now).max(now.since(theirs));
        if skew > CLOCK_SKEW_WARN {
            warn!(connector = %thing, host_clock = %theirs, skew_s = skew.as_secs(), "the clock of a host is wrong, or ours is");
        }
        let ca = self.shared.config.vault.trusted_pem();
        let renew_within_s = self.must_renew(&request.caller.certificate_id).then(|| {
            let connectors = self.shared.fleet().connectors.len();
            (u64::try_from(connectors).unwrap_or(u64::MAX) / RENEWALS_PER_SECOND).max(1)
        });
        Ok(TrustAccepted { ca, now, renew_within_s, client_token })
    }

    /// Whether the certificate is by an authority that issues no more.
    fn must_renew(&self, certificate_id: &str) -> bool {
        let vault = &self.shared.config.vault;
        let is_switched = vault.rotation().is_some_and(|rotation| rotation.phase >= CaPhase::Switched);
        let Ok(id) = Sha256Hex::new(certificate_id) else { return false };
        is_switched
            && self.shared.config.admission.get(&id).is_some_and(|known| !self.is_by_newest(known.issuer.as_ref()))
    }

    /// Whether this is the newest authority.
    pub(super) fn is_by_newest(&self, issuer: Option<&Sha256Hex>) -> bool {
        issuer.is_some_and(|issuer| issuer.as_str() == self.shared.config.vault.newest())
    }

    /// A connector that has enrolled and is let in.
    pub(super) fn enrolled(&self, thing: &ThingName) -> Result<Arc<Connector>, Refused> {
        let known = self.shared.fleet().connectors.get(thing).cloned();
        match known.filter(|connector| connector.enrolled.is_some() && connector.is_managed()) {
            Some(connector) => Ok(connector),
            None => refuse(
                RejectionCode::NotFound,
                format!("{thing} is no connector that enrolled here; certificates of others are issued by an operator"),
            ),
        }
    }

    pub(super) fn identity(&self, thing: &ThingName) -> Result<Identity, Refused> {
        match self.shared.thing_identity(thing) {
            Some(identity) => Ok(identity),
            None => refuse(RejectionCode::Invalid, format!("{thing} is no name of a connector")),
        }
    }

    /// Checks the request for this name, and that its key was never in use. Returns the id of the key.
    pub(super) fn check_new_key(&self, identity: &Identity, csr: &str) -> Result<Sha256Hex, Refused> {
        let invalid = |message: String| Rejection::new(RejectionCode::Invalid, message);
        let request = VerifiedRequest::from_pem(csr)
            .and_then(|request| request.check_name(identity.name()).map(|()| request))
            .map_err(|error| invalid(error.to_string()))?;
        let key = Sha256Hex::new(request.key_id()).map_err(|error| invalid(error.to_string()))?;
        let known = self.shared.config.admission.of(identity);
        let is_used =
            known.iter().any(|known| known.key.as_ref() == Some(&key) && known.state != CertificateState::Pending);
        if is_used {
            return refuse(
                RejectionCode::Conflict,
                "this key was in use already; make a new key for a new certificate",
            );
        }
        Ok(key)
    }

    /// How long an identity that got many certificates lately has to wait for the next one.
    pub(super) fn too_soon(&self, identity: &Identity) -> Option<Duration> {
        let interval = least_interval(self.shared.config.certificate_life);
        let now = self.shared.clock.now();
        let known = self.shared.config.admission.of(identity);
        let mut lately: Vec<_> =
            known.iter().filter_map(|known| known.issued_at).filter(|at| at.plus(interval) > now).collect();
        lately.sort();
        let oldest = lately.iter().rev().nth(RENEWALS_PER_INTERVAL_MAX - 1)?;
        Some(oldest.plus(interval).since(now))
    }
}

fn payload<T: DeserializeOwned>(request: &Request) -> Result<T, No> {
    Encoding::of(&request.payload).decode_object(&request.payload).map_err(|error| No {
        refused: Refused::No(Rejection::new(RejectionCode::Invalid, format!("the request is not understood: {error}"))),
        after: None,
        client_token: None,
    })
}

fn encode(encoding: Encoding, answer: &impl Serialize) -> Vec<u8> {
    encoding.encode(answer)
}
