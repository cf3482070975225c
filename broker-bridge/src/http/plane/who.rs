//! Who asks: the certificate of the connection, or the access key that the request is signed with. A signature is never
//! ignored: one that does not count is refused, also with a good certificate.

use super::fault::{Fault, Kind};
use crate::bridge::Signer;
use crate::door::visitor::Unknown;
use crate::http::Visit;
use crate::http::body;
use bytes::Bytes;
use hyper::HeaderMap;
use hyper::body::Incoming;
use hyper::header::AUTHORIZATION;
use hyper::http::request::Parts;
use muster_bus::Caller;
use muster_certs::signature::{Authorization, SignatureError, SignedRequest, is_signature};
use muster_wire::limits::PAYLOAD_BYTES_MAX;
use muster_wire::plane::Operation;
use tracing::info;

/// The signature of a request, if it has one.
pub(super) fn signature(headers: &HeaderMap) -> Option<&str> {
    headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).filter(|text| is_signature(text))
}

/// Who is behind the certificate of this connection.
pub(super) fn certified(visit: &Visit) -> Result<&Caller, Fault> {
    let caller = visit.caller.as_ref().map_err(|error| {
        info!(peer = %visit.peer, %error, "request of the data plane without a usable certificate");
        match error {
            Unknown::NoCertificate => Fault::new(Kind::NoToken, "Missing Authentication Token"),
            _ => Fault::new(Kind::Forbidden, "Forbidden"),
        }
    })?;
    visit.shared.gate.admits(caller).map_err(|refusal| {
        info!(peer = %visit.peer, identity = %caller.identity, %refusal, "request of the data plane refused");
        Fault::new(Kind::Forbidden, "Forbidden")
    })?;
    Ok(caller)
}

/// Who signed a request, and its body. The body of somebody who is not known, or whose request cannot be good, is not
/// read.
pub(super) async fn signed(
    visit: &Visit,
    head: &Parts,
    operation: &Operation,
    authorization: &str,
    body: &mut Option<Incoming>,
) -> Result<(Caller, Bytes), Fault> {
    let (shared, peer) = (&visit.shared, visit.peer);
    let refused = |error: SignatureError| {
        info!(%peer, %error, "the signature of a request does not count");
        Fault::from(error)
    };
    let authorization = Authorization::parse(authorization).map_err(refused)?;
    let signer: Signer = shared.gate.signer(&authorization.key).map_err(|refusal| {
        info!(%peer, key = %authorization.key, %refusal, "signed with no usable access key");
        Fault::new(Kind::UnknownKey, "The security token included in the request is invalid.")
    })?;
    let mut headers = Vec::with_capacity(head.headers.len());
    for (name, value) in &head.headers {
        match value.to_str() {
            Ok(value) => headers.push((name.as_str(), value)),
            // It cannot be among those that are signed.
            Err(_) if !name.as_str().starts_with("x-amz-") => {}
            Err(_) => return Err(refused(SignatureError::Mismatch)),
        }
    }
    let (path, query) = (head.uri.path(), head.uri.query().unwrap_or_default());
    let mut request = SignedRequest { method: head.method.as_str(), path, query, headers: &headers, body: b"" };
    let (services, now) = (operation.api().signing_names(), shared.clock.now());
    authorization.check(&request, services, now).map_err(refused)?;
    let payload = match body.take() {
        Some(body) => body::read(body, PAYLOAD_BYTES_MAX).await?,
        None => Bytes::new(),
    };
    request.body = &payload;
    authorization.verify(&signer.secret, &request, services, now).map_err(refused)?;
    visit.is_known();
    let (certificate_id, client_id) = (authorization.key.as_str().into(), "".into());
    Ok((Caller { identity: signer.identity, certificate_id, client_id, peer, certificate: None }, payload))
}

impl From<SignatureError> for Fault {
    fn from(error: SignatureError) -> Self {
        let kind = match error {
            SignatureError::Incomplete(_) => Kind::IncompleteSignature,
            SignatureError::Session => Kind::UnknownKey,
            _ => Kind::BadSignature,
        };
        Self::new(kind, error.to_string())
    }
}
