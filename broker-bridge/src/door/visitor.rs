//! Who is at the door: the peer's certificate, read once.

use crate::bridge::Shared;
use crate::presence;
use muster_bus::Caller;
use muster_certs::certificate::names;
use muster_certs::identity::{Identity, IdentityError};
use rustls::ServerConnection;
use std::net::IpAddr;
use std::sync::Arc;

/// Why a client has no identity here.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unknown {
    #[error("the client showed no certificate")]
    NoCertificate,
    #[error("the certificate names no identity of this fleet: {0}")]
    Identity(#[from] IdentityError),
    #[error("the certificate is outside its validity; the client has to renew it, or its clock or ours is wrong")]
    Expired,
    #[error("the client named no server in its TLS handshake, and mqtt.server_name_required is set")]
    NoServerName,
    #[error("the gate refused: {0}")]
    Gate(#[from] crate::bridge::Refusal),
}

/// Finds out who is connected. TLS has verified the chain, but maybe hours ago, in the session that this one resumes:
/// validity and the gate are asked every time.
pub(crate) fn identify(
    shared: &Shared,
    tls: &ServerConnection,
    client_id: &str,
    peer: IpAddr,
) -> Result<Caller, Unknown> {
    let leaf = tls.peer_certificates().and_then(<[_]>::first).ok_or(Unknown::NoCertificate)?;
    let (identity, facts) = Identity::with_facts(leaf, &shared.fleet)?;
    if !facts.is_valid_at(shared.clock.now().epoch_seconds()) {
        return Err(Unknown::Expired);
    }
    let identity = shared.gate.speaks_for(identity, &facts.id);
    let (certificate_id, client_id) = (facts.id.into(), client_id.into());
    let mut caller = Caller { identity, certificate_id, client_id, peer, certificate: None };
    shared.gate.admits(&caller).inspect_err(|_| presence::connect_failed(shared, &caller))?;
    if shared.gate.grants(&caller).is_some_and(|grants| grants.needs_certificate()) {
        caller.certificate = names(leaf).ok().map(Arc::new);
    }
    Ok(caller)
}
