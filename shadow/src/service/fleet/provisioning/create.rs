//! CreateKeysAndCertificate and CreateCertificateFromCsr: a certificate that opens nothing yet.
//!
//! A key that is made here is in the answer and nowhere else: it is neither stored nor logged.

use super::{Claim, No, no, read};
use crate::records::{Certificate, CertificateState, Ownership, key};
use crate::service::fleet::FleetWorker;
use muster_bus::Request;
use muster_certs::certificate::CertificateFacts;
use muster_certs::token::Token;
use muster_certs::{Authority, AuthorityError, Identity, Role, possession};
use muster_runtime::ids::{random_bytes, random_hex};
use muster_wire::id::Sha256Hex;
use muster_wire::limits::{PROVISIONED_CERTIFICATE_LIFE, PROVISIONING_CSR_BYTES_MAX, PROVISIONING_PENDING_LIFE};
use muster_wire::provision::{
    CreateFromCsr, CreatedFromCsr, CreatedKeys, ProvisioningError, ProvisioningErrorCode as Code,
};
use muster_wire::time::Timestamp;
use muster_wire::topic::ProvisioningTopic;
use serde::de::IgnoredAny;
use std::collections::BTreeMap;
use tracing::{error, info};

impl FleetWorker {
    pub(super) fn create_keys(&self, topic: &ProvisioningTopic, request: &Request) -> Result<Vec<u8>, No> {
        let claim = self.may_create(request)?;
        let _: BTreeMap<String, IgnoredAny> = read(topic, &request.payload)?;
        let identity = self.nobody_yet()?;
        let now = self.shared.clock.now().epoch_seconds();
        let authority = self.shared.config.vault.active();
        let (pem, private_key) = authority
            .issue_with_new_key(&identity, PROVISIONED_CERTIFICATE_LIFE, now)
            .map_err(|error| not_issued(&error))?;
        let (certificate, token) = self.await_device(&claim, &authority, pem.clone())?;
        Ok(topic.format.encode(&CreatedKeys {
            certificate_id: certificate.to_string(),
            certificate_pem: pem,
            private_key,
            certificate_ownership_token: token.reveal().to_owned(),
        }))
    }

    pub(super) fn create_from_csr(&self, topic: &ProvisioningTopic, request: &Request) -> Result<Vec<u8>, No> {
        let claim = self.may_create(request)?;
        let asked: CreateFromCsr = read(topic, &request.payload)?;
        let csr = asked.certificate_signing_request;
        let unusable = |why: String| no(Code::InvalidCertificateSigningRequest, why);
        if csr.is_empty() {
            return unusable("Certificate signing request cannot be empty.".to_owned());
        }
        if csr.len() > PROVISIONING_CSR_BYTES_MAX {
            return unusable(format!(
                "the CSR has {} bytes; at most {PROVISIONING_CSR_BYTES_MAX} are allowed",
                csr.len()
            ));
        }
        let identity = self.nobody_yet()?;
        let now = self.shared.clock.now().epoch_seconds();
        let authority = self.shared.config.vault.active();
        let issued = authority.issue_over_key(&csr, &identity, PROVISIONED_CERTIFICATE_LIFE, now);
        let pem = match issued {
            Ok(pem) => pem,
            Err(AuthorityError::Request(error)) => return unusable(error.to_string()),
            Err(error) => return Err(not_issued(&error)),
        };
        let (certificate, token) = self.await_device(&claim, &authority, pem.clone())?;
        Ok(topic.format.encode(&CreatedFromCsr {
            certificate_ownership_token: token.reveal().to_owned(),
            certificate_id: certificate.to_string(),
            certificate_pem: pem,
        }))
    }

    fn may_create(&self, request: &Request) -> Result<Claim, No> {
        let claim = self.claim(request)?;
        self.template_of(&claim.name.template)?;
        if !self.waiting.borrow().has_room_for(&claim.certificate) {
            let message = "too many certificates wait for their devices to be registered; try again later";
            return no(Code::Throttling, message);
        }
        Ok(claim)
    }

    /// What stands in a certificate whose device has no name yet. It is drawn anew for each.
    fn nobody_yet(&self) -> Result<Identity, No> {
        let fleet = self.shared.config.vault.active().fleet().clone();
        Identity::new(fleet, Role::Provisioned, random_hex::<16>()).map_err(|error| unreadable(&error.to_string()))
    }

    /// Writes down that a certificate waits for its device, and makes the token for it.
    fn await_device(&self, claim: &Claim, authority: &Authority, pem: String) -> Result<(Sha256Hex, Token), No> {
        let now = self.shared.clock.now();
        let facts = CertificateFacts::from_pem(&pem).map_err(|error| unreadable(&error.to_string()))?;
        let id = Sha256Hex::new(&facts.id).map_err(|error| unreadable(&error.to_string()))?;
        let until = now.plus(PROVISIONING_PENDING_LIFE);
        let record = Certificate {
            id: id.clone(),
            identity: None,
            issued_at: Some(now),
            not_after: Some(Timestamp::from_seconds(facts.not_after)),
            state: CertificateState::Awaiting { until },
            issuer: authority.id().ok().and_then(|id| Sha256Hex::new(&id).ok()),
            key: possession::key_id(&pem).ok().and_then(|id| Sha256Hex::new(&id).ok()),
        };
        let token = Token::from_random(random_bytes());
        let hash = token.hash().to_string();
        let ownership = Ownership { certificate: id.clone(), pem, claim: claim.certificate.clone(), expires_at: until };
        self.put_certificates(vec![record])?;
        self.commit(|batch| batch.put(&key::ownership(&hash), &ownership))?;
        self.waiting.borrow_mut().add(hash, &ownership);
        info!(claim = %claim.name, certificate = %id, "certificate issued for a device that provisions itself");
        Ok((id, token))
    }
}

fn not_issued(error: &AuthorityError) -> No {
    error!(%error, "a certificate for a device could not be issued");
    internal()
}

fn unreadable(error: &str) -> No {
    error!(error, "a certificate of our own cannot be read");
    internal()
}

fn internal() -> No {
    No::Refused(ProvisioningError::new(Code::InternalFailure, "the server failed; its log says why"))
}
