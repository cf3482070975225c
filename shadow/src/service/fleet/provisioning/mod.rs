//! Devices provision themselves: with a claim they get a certificate, and with its ownership token it becomes that of a
//! connector. Answers go to the connection that asked and to nobody else.
//!
//! ```text
//! CreateKeys, CreateFromCsr ─▶ certificate Awaiting, ownership token (its hash) ── an hour ─▶ dropped
//! RegisterThing ─▶ [hook] ─▶ certificate Registering ─▶ policies, connector ─▶ certificate Pending ─▶ token deleted
//! ```
//! The first durable step of a registration uses the token: it stands in the certificate's record, so that no restore of
//! an older store can undo it. What a crash leaves: before it, nothing; after it, a certificate that opens nothing, and
//! the start drops it unless the connector is there, then it finishes. The device begins anew, or connects.

mod claims;
mod create;
mod register;
mod templates;

use super::{FleetWorker, all};
use crate::records::{Certificate, Ownership, key};
use crate::service::ServiceError;
use crate::store::{Key, Kind, codec};
use muster_bus::{Answer, Message, Request};
use muster_certs::Role;
use muster_wire::codec::DecodeError;
use muster_wire::id::Sha256Hex;
use muster_wire::limits::{PROVISIONING_PENDING_MAX, PROVISIONING_PENDING_PER_CLAIM_MAX};
use muster_wire::provision::{ClaimName, ProvisioningError, ProvisioningErrorCode};
use muster_wire::time::Timestamp;
use muster_wire::topic::{ProvisioningApi, ProvisioningTopic, Voice};
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use tracing::{info, warn};

/// Why a device does not get what it asks for.
enum No {
    /// It is refused, and learns why.
    Refused(ProvisioningError),
    /// The server failed; the log says why.
    Failed(ServiceError),
}

impl From<ServiceError> for No {
    fn from(error: ServiceError) -> Self {
        Self::Failed(error)
    }
}

fn no<T>(code: ProvisioningErrorCode, message: impl Into<String>) -> Result<T, No> {
    Err(No::Refused(ProvisioningError::new(code, message)))
}

/// The certificates that wait for their devices to become things. The ends are what the store says; the rest is counted.
#[derive(Default)]
pub(super) struct Waiting {
    /// Which ones wait, by their end.
    ends: BTreeSet<(Timestamp, String)>,
    /// The certificate and the claim of each token.
    of: HashMap<String, (Sha256Hex, Sha256Hex)>,
    /// How many of each claim.
    claims: BTreeMap<Sha256Hex, usize>,
    /// Tokens about which a hook is being asked.
    asked: BTreeSet<String>,
}

impl Waiting {
    fn add(&mut self, hash: String, ownership: &Ownership) {
        self.ends.insert((ownership.expires_at, hash.clone()));
        *self.claims.entry(ownership.claim.clone()).or_default() += 1;
        self.of.insert(hash, (ownership.certificate.clone(), ownership.claim.clone()));
    }

    fn remove(&mut self, at: Timestamp, hash: &str) {
        self.ends.remove(&(at, hash.to_owned()));
        self.asked.remove(hash);
        let Some((_, claim)) = self.of.remove(hash) else { return };
        if let Some(count) = self.claims.get_mut(&claim) {
            *count -= 1;
            if *count == 0 {
                self.claims.remove(&claim);
            }
        }
    }

    fn has_room_for(&self, claim: &Sha256Hex) -> bool {
        self.of.len() < PROVISIONING_PENDING_MAX
            && self.claims.get(claim).is_none_or(|count| *count < PROVISIONING_PENDING_PER_CLAIM_MAX)
    }
}

/// A claim that is good at this moment.
struct Claim {
    name: ClaimName,
    /// SHA-256 of its certificate.
    certificate: Sha256Hex,
}

impl FleetWorker {
    /// Serves a device that has nothing but a claim.
    pub(super) fn provision(&self, topic: ProvisioningTopic, request: Request) {
        let done = self.drop_unused().map_err(No::from).and_then(|()| match &topic.api {
            ProvisioningApi::CreateKeys => self.create_keys(&topic, &request).map(Some),
            ProvisioningApi::CreateFromCsr => self.create_from_csr(&topic, &request).map(Some),
            ProvisioningApi::Register(template) => self.register_or_ask(template, &topic, &request),
        });
        match done {
            Ok(None) => self.ask_hook(&topic, request),
            Ok(Some(payload)) => self.say(&topic, &request, Ok(payload)),
            Err(refused) => self.say(&topic, &request, Err(refused)),
        }
    }

    /// Answers the connection that asked, and no other.
    fn say(&self, topic: &ProvisioningTopic, request: &Request, done: Result<Vec<u8>, No>) {
        let refused = match done {
            Ok(payload) => {
                let message = Message::new(topic.said(Voice::Accepted), payload);
                return request.connection.answer(request.tag, Answer::with(message));
            }
            Err(No::Refused(refused)) => refused,
            Err(No::Failed(error)) => {
                self.shared.report("provision a device", &error);
                ProvisioningError::new(ProvisioningErrorCode::InternalFailure, "the server failed; its log says why")
            }
        };
        let caller = &request.caller;
        info!(claim = caller.identity.name(), peer = %caller.peer, client = %caller.client_id, reason = %refused,
            "provisioning refused");
        let message = Message::new(topic.said(Voice::Rejected), refused.encode(topic.format));
        request.connection.answer(request.tag, Answer::with(message));
    }

    /// Who asks. The door's policy and the door's table say so already, but the claim may have ended or been revoked
    /// while it was connected.
    fn claim(&self, request: &Request) -> Result<Claim, No> {
        let caller = &request.caller;
        let denied = |why: &str| no(ProvisioningErrorCode::AccessDenied, why);
        let name = caller.identity.name().parse::<ClaimName>();
        let (Role::Claim, Ok(name)) = (caller.identity.role(), name) else {
            return denied("only a claim may provision devices");
        };
        let known = Sha256Hex::new(&caller.certificate_id).ok().and_then(|id| self.shared.config.admission.get(&id));
        let own = |known: &Arc<Certificate>| known.identity.as_ref() == Some(&caller.identity) && known.state.is_good();
        match known.filter(own) {
            Some(known) if known.not_after.is_none_or(|end| self.shared.clock.now() < end) => {
                Ok(Claim { name, certificate: known.id.clone() })
            }
            Some(_) => denied("the claim has expired"),
            None => denied("the claim was revoked"),
        }
    }

    /// Certificates whose device did not become a thing in time.
    fn drop_unused(&self) -> Result<(), ServiceError> {
        let now = self.shared.clock.now();
        let due: Vec<(Timestamp, String)> = {
            let waiting = self.waiting.borrow();
            waiting.ends.iter().take_while(|(end, _)| *end <= now).take(DROPPED_AT_ONCE).cloned().collect()
        };
        for (at, hash) in due {
            let certificate = self.waiting.borrow().of.get(&hash).map(|(certificate, _)| certificate.clone());
            if let Some(id) = certificate {
                self.drop_certificate(&id)?;
            }
            self.commit(|batch| batch.delete(&key::ownership(&hash)))?;
            self.waiting.borrow_mut().remove(at, &hash);
        }
        Ok(())
    }

    fn drop_certificate(&self, id: &Sha256Hex) -> Result<(), ServiceError> {
        use crate::records::CertificateState::{Awaiting, Registering};
        let known = self.shared.config.admission.get(id);
        if known.is_some_and(|known| matches!(known.state, Awaiting { .. } | Registering)) {
            self.commit(|batch| batch.delete(&key::certificate(id)))?;
            self.shared.config.admission.forget(id);
            info!(certificate = %id, "a certificate whose device was not registered is dropped");
        }
        Ok(())
    }

    /// What waits is known again; registrations that a crash cut off are finished or undone.
    pub(super) fn finish_provisioning(&self) -> Result<(), ServiceError> {
        use crate::records::CertificateState::{Awaiting, Registering};
        let now = self.shared.clock.now();
        let mut kept = BTreeSet::new();
        for (found, stored) in self.shared.store.scan_all(Key::new(Kind::Ownership).as_bytes())? {
            let ownership: Ownership = codec::decode::<crate::records::StoredOwnership>(&found, &stored.value)?.into();
            let hash = Key::parse(&found).ok().and_then(|key| key.parts.first().cloned()).unwrap_or_default();
            kept.insert(ownership.certificate.clone());
            self.waiting.borrow_mut().add(hash, &ownership);
        }
        let cut: Vec<Certificate> = all::<Certificate>(self.shared.store.as_ref(), Kind::Certificate)?
            .into_iter()
            .filter(|known| match known.state {
                Registering => true,
                // Without its token it is of no use: a restore keeps none.
                Awaiting { until } => until <= now || !kept.contains(&known.id),
                _ => false,
            })
            .collect();
        for certificate in cut {
            if certificate.state == Registering && self.finish_registration(&certificate)? {
                continue;
            }
            self.drop_certificate(&certificate.id)?;
        }
        self.drop_unused()
    }
}

/// Certificates that one request may drop: none waits for thousands.
const DROPPED_AT_ONCE: usize = 100;

/// Reads a payload in the encoding that its topic names. An empty one has no fields.
fn read<T: DeserializeOwned>(topic: &ProvisioningTopic, payload: &[u8]) -> Result<T, No> {
    let empty = topic.format.encode(&serde_json::Map::new());
    let payload = if payload.is_empty() { &empty } else { payload };
    topic.format.decode_object(payload).or_else(|error| {
        warn!(topic = %topic, %error, "a payload of a device is not understood");
        let message = match (error, &topic.api) {
            (DecodeError::NotUtf8 | DecodeError::Malformed(_) | DecodeError::NotFinite, _) => error.to_string(),
            (DecodeError::Shape, ProvisioningApi::CreateKeys) => "the payload must be an object".to_owned(),
            (DecodeError::Shape, ProvisioningApi::CreateFromCsr) => {
                "the payload must be an object in which certificateSigningRequest is a text".to_owned()
            }
            (DecodeError::Shape, ProvisioningApi::Register(_)) => {
                "the payload must be an object in which certificateOwnershipToken is a text and parameters is an object \
                 of texts"
                    .to_owned()
            }
        };
        no(ProvisioningErrorCode::InvalidPayload, message)
    })
}
