//! Enrolment: a token and a request for a certificate become a connector's identity.
//!
//! The order of the durable steps: the token is marked used, then the certificate is made, then the connector says so.
//! A crash after the first step costs a token, never an identity: the operator renews the script.

use super::{FleetWorker, Refused, refuse};
use crate::records::{Connector, Enrolled, TokenRecord, key};
use muster_certs::certificate::CertificateFacts;
use muster_certs::request::VerifiedRequest;
use muster_certs::token::Token;
use muster_certs::{AuthorityError, Identity, Role};
use muster_wire::enrol::{EnrolRequest, EnrolResponse};
use muster_wire::limits::CERTIFICATE_LIFE;
use muster_wire::rejection::{Rejection, RejectionCode};
use std::net::IpAddr;
use std::sync::Arc;
use tracing::{info, warn};

impl FleetWorker {
    pub(super) fn enrol(&self, request: &EnrolRequest, peer: IpAddr) -> Result<EnrolResponse, Refused> {
        let now = self.shared.clock.now();
        let (token_key, token, connector) = self.check_token(request, peer)?;
        let identity =
            Identity::new(self.shared.config.authority.fleet().clone(), Role::Connector, request.name.as_str())
                .map_err(|error| Rejection::new(RejectionCode::Invalid, error.to_string()))?;
        // Everything that can be wrong with the request is found before the token is spent.
        VerifiedRequest::from_pem(&request.csr)
            .and_then(|csr| csr.check_name(identity.name()).map(|()| csr))
            .map_err(|error| Rejection::new(RejectionCode::Invalid, error.to_string()))?;
        self.commit(|batch| batch.put(&token_key, &TokenRecord { used_at: Some(now), ..token }))?;
        let seconds = now.epoch_seconds();
        let certificate = self
            .shared
            .config
            .authority
            .issue_from_csr(&request.csr, &identity, CERTIFICATE_LIFE, seconds)
            .map_err(|error| not_issued(&error))?;
        let facts = CertificateFacts::from_pem(&certificate)
            .map_err(|error| Rejection::new(RejectionCode::Internal, error.to_string()))?;
        let enrolled = Enrolled { at: now, certificate_id: facts.id, host: request.host.clone() };
        let connector = Connector { enrolled: Some(enrolled), token_hash: None, ..connector.as_ref().clone() };
        self.commit(|batch| batch.put(&key::connector(&request.name), &connector))?;
        info!(connector = %request.name, %peer, "connector enrolled");
        self.shared.fleet_mut().connectors.insert(request.name.clone(), Arc::new(connector));
        self.wake(&request.name);
        Ok(EnrolResponse {
            name: request.name.clone(),
            fleet: self.shared.config.authority.fleet().to_string(),
            certificate,
            ca: self.shared.config.authority.certificate_pem().to_owned(),
            publisher_key: self.shared.config.publisher_key.clone(),
        })
    }

    fn check_token(
        &self,
        request: &EnrolRequest,
        peer: IpAddr,
    ) -> Result<(crate::store::Key, TokenRecord, Arc<Connector>), Refused> {
        let refused = |why: &str| {
            warn!(connector = %request.name, %peer, why, "enrolment refused");
            refuse(
                RejectionCode::Forbidden,
                format!("{why}; `muster connector add {} --renew` makes a new script", request.name),
            )
        };
        let Ok(token) = request.token.parse::<Token>() else {
            return refused("the enrolment token is not valid");
        };
        let token_key = key::token(&token.hash().to_string());
        let mut batch = super::Batch::new(self.shared.store.as_ref(), self.shared.clock.now());
        let Some(record) = batch.get::<TokenRecord>(&token_key)? else {
            return refused("the enrolment token is not valid");
        };
        if record.connector != request.name {
            return refused("the enrolment token is for another connector");
        }
        if record.used_at.is_some() {
            return refused("the enrolment token was used already");
        }
        if self.shared.clock.now() >= record.expires_at {
            return refused("the enrolment token has expired");
        }
        let known = self.shared.fleet().connectors.get(&request.name).cloned();
        match known {
            Some(connector) => Ok((token_key, record, connector)),
            None => refused("the connector is not registered"),
        }
    }
}

fn not_issued(error: &AuthorityError) -> Rejection {
    match error {
        AuthorityError::Request(error) => Rejection::new(RejectionCode::Invalid, error.to_string()),
        other => {
            warn!(error = %other, "a certificate could not be issued");
            Rejection::internal()
        }
    }
}
