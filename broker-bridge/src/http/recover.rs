//! `POST /v1/recover`: a host whose certificate is not taken any more asks for another one. As with enrolment, failures
//! count against the address they come from.

use super::body::{self, BadBody};
use super::reply::{self, Reply, Response};
use super::throttle::Attempt;
use crate::bridge::Shared;
use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use muster_bus::{Inbound, Requests, Stopped, Submitted};
use muster_wire::certificate::{RecoverRequest, RecoverResponse};
use muster_wire::limits::HTTP_BODY_BYTES_MAX;
use muster_wire::rejection::{Rejection, RejectionCode};
use std::net::IpAddr;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tracing::{info, warn};

/// The service must have answered by then.
const ANSWER_DEADLINE: Duration = Duration::from_secs(30);

pub(super) async fn recover(shared: &Shared, peer: IpAddr, request: Request<Incoming>) -> Result<Response, Reply> {
    if let Attempt::Refused(in_a_row) = shared.enrolments.take(peer) {
        // The first, the tenth, the hundredth: as with enrolments.
        if in_a_row.checked_ilog10().is_some_and(|power| in_a_row == 10_u64.pow(power)) {
            warn!(%peer, in_a_row, "recoveries from this address are throttled: too many failed");
        }
        let message = "too many requests from this address failed or are under way; try again in some seconds";
        return Err(Reply::busy(message, 10));
    }
    let answer = attempt(shared, peer, request).await;
    if answer.as_ref().err().is_none_or(|rejection| rejection.code == RejectionCode::Internal) {
        shared.enrolments.give_back(peer);
    }
    match answer {
        Ok(answer) => Ok(reply::json(StatusCode::OK, &answer)),
        Err(rejection) => {
            info!(%peer, %rejection, "recovery refused");
            Err(rejection.into())
        }
    }
}

async fn attempt(shared: &Shared, peer: IpAddr, request: Request<Incoming>) -> Result<RecoverResponse, Rejection> {
    let body = body::read(request.into_body(), HTTP_BODY_BYTES_MAX).await.map_err(|error| {
        let code = if matches!(error, BadBody::TooLarge(_)) { RejectionCode::TooLarge } else { RejectionCode::Invalid };
        Rejection::new(code, error.to_string())
    })?;
    let request: RecoverRequest = serde_json::from_slice(&body).map_err(|error| {
        Rejection::new(RejectionCode::Invalid, format!("the body is not a recovery request: {error}"))
    })?;
    let name = request.name.clone();
    let (reply, answer) = oneshot::channel();
    let stopped = |Stopped| Rejection::internal();
    let inbound = Inbound::Recover { request: Box::new(request), peer, reply };
    if let Submitted::Full(queued) = shared.bus.submit(inbound).map_err(stopped)? {
        queued.await.map_err(stopped)?;
    }
    match timeout(ANSWER_DEADLINE, answer).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) | Err(_) => {
            warn!(%peer, thing = %name, "the service did not answer a recovery");
            Err(Rejection::internal())
        }
    }
}
