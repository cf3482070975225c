//! Enrolment: a token and a request for a certificate become a connector's identity.
//!
//! The order of the durable steps: the token is marked used, then the certificate is made and recorded, then the
//! connector says so, then what it was added with becomes intents. A crash before the third costs a token, never an
//! identity: the operator renews the script. After it, the next start stores the intents. A certificate that was recorded
//! and never sent is of no use to anybody.

use super::{FleetWorker, Refused, refuse};
use crate::records::{Binding, Connector, Enrolled, Lifecycle, TokenEnd, TokenRecord, key};
use muster_certs::request::VerifiedRequest;
use muster_certs::token::Token;
use muster_certs::{Identity, Role};
use muster_wire::enrol::{EnrolRequest, EnrolResponse};
use muster_wire::rejection::{Rejection, RejectionCode};
use std::net::IpAddr;
use std::sync::Arc;
use tracing::{info, warn};

impl FleetWorker {
    pub(super) fn enrol(&self, request: &EnrolRequest, peer: IpAddr) -> Result<EnrolResponse, Refused> {
        let now = self.shared.clock.now();
        let (token_key, token, connector) = self.check_token(request, peer)?;
        let identity =
            Identity::new(self.shared.config.vault.active().fleet().clone(), Role::Connector, request.name.as_str())
                .map_err(|error| Rejection::new(RejectionCode::Invalid, error.to_string()))?;
        // Everything that can be wrong with the request is found before the token is spent.
        VerifiedRequest::from_pem(&request.csr)
            .and_then(|csr| csr.check_name(identity.name()).map(|()| csr))
            .map_err(|error| Rejection::new(RejectionCode::Invalid, error.to_string()))?;
        let used = TokenRecord { used_at: Some(now), used_from: Some(peer), ..token };
        self.commit(|batch| batch.put(&token_key, &used))?;
        // Finished here if a crash cut it off; afterwards nothing would tell these certificates from good ones.
        self.revoke_of_removed(&connector)?;
        let (certificate, record) = self.issue(&identity, &request.csr)?;
        let enrolled = Enrolled { at: now, certificate_id: record.id.to_string(), host: request.host.clone() };
        let mut wanted = connector.wanted.clone();
        if used.reinstall {
            // The host was made anew: intents of its own, so that what was done before stays in the history.
            wanted.extend(self.wanted_of(&connector));
        }
        let connector = Connector {
            enrolled: Some(enrolled),
            wanted,
            token_hash: None,
            lifecycle: Lifecycle::Active,
            incarnation: connector.incarnation + 1,
            uninstall: None,
            ..connector.as_ref().clone()
        };
        self.commit(|batch| batch.put(&key::connector(&request.name), &connector))?;
        info!(connector = %request.name, %peer, certificate = %record.id, "connector enrolled");
        self.know(connector.clone());
        if let Err(error) = self.intend_wanted(&connector) {
            // The host has its identity; the intents are stored at the next start.
            self.shared.report("store the first intents of a connector", &error);
        }
        self.wake(&request.name);
        Ok(EnrolResponse {
            name: request.name.clone(),
            fleet: self.shared.config.vault.active().fleet().to_string(),
            certificate,
            ca: self.shared.config.vault.trusted_pem(),
            publisher_key: self.shared.config.publisher_key.clone(),
        })
    }

    fn check_token(
        &self,
        request: &EnrolRequest,
        peer: IpAddr,
    ) -> Result<(crate::store::Key, TokenRecord, Arc<Connector>), Refused> {
        let refused_with = |why: &str, option: &str| {
            warn!(connector = %request.name, %peer, why, "enrolment refused");
            refuse(
                RejectionCode::Forbidden,
                format!("{why}; `muster connector add {} {option}` makes a new script", request.name),
            )
        };
        let refused = |why: &str| refused_with(why, "--renew");
        let Ok(token) = request.token.parse::<Token>() else {
            return refused("the enrolment token is not valid");
        };
        let hash = token.hash().to_string();
        let token_key = key::token(&hash);
        let Some(record) = self.token(&hash)? else {
            return refused("the enrolment token is not valid");
        };
        if record.connector != request.name {
            return refused("the enrolment token is for another connector");
        }
        let known = self.shared.fleet().connectors.get(&request.name).cloned();
        // Whoever has no token of the connector is not told what became of it.
        let is_removed = known.as_ref().is_some_and(|known| known.is_removed());
        let refused = |why: &str| refused_with(why, if is_removed { "--reinstall" } else { "--renew" });
        if record.used_at.is_some() {
            return refused("the enrolment token was used already");
        }
        match record.ended {
            Some(TokenEnd::Replaced) => return refused("the enrolment token was replaced by a newer one"),
            Some(TokenEnd::Revoked) => return refused("the enrolment token was revoked"),
            None => {}
        }
        if self.shared.clock.now() >= record.expires_at {
            return refused("the enrolment token has expired");
        }
        let Some(connector) = known else {
            return refused("the connector is not registered");
        };
        if matches!(connector.lifecycle, Lifecycle::Disabled { .. }) {
            warn!(connector = %request.name, %peer, "enrolment of a disabled connector refused");
            let message = format!("{0} is disabled; `muster connector enable {0}` lets it in again", request.name);
            return refuse(RejectionCode::Forbidden, message);
        }
        match record.binding.as_ref().and_then(|binding| broken(binding, request, &connector)) {
            Some(why) => refused(why),
            None => Ok((token_key, record, connector)),
        }
    }
}

/// Which promise of the token the request does not keep, if there is one.
fn broken(binding: &Binding, request: &EnrolRequest, connector: &Connector) -> Option<&'static str> {
    if binding.pool != connector.pool {
        return Some("the connector was moved to another pool after the enrolment token was made");
    }
    if request.pool.as_ref().is_some_and(|pool| binding.pool.as_ref() != Some(pool)) {
        return Some("the enrolment token is for another pool");
    }
    if binding.prefix.is_some() && binding.prefix != request.prefix {
        return Some("the enrolment token is for another folder on the host (prefix)");
    }
    None
}
