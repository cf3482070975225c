//! `POST /v1/enrol`: a host without a certificate asks for its first one.

use super::body::{self, BadBody};
use super::reply::{self, Reply, Response};
use super::throttle::Attempt;
use crate::bridge::Shared;
use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use muster_bus::{Inbound, Requests, Stopped, Submitted};
use muster_wire::enrol::EnrolRequest;
use muster_wire::limits::HTTP_BODY_BYTES_MAX;
use muster_wire::rejection::{Rejection, RejectionCode};
use std::net::IpAddr;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tracing::{info, warn};

/// The service must have answered by then.
const ANSWER_DEADLINE: Duration = Duration::from_secs(30);

pub(super) async fn enrol(shared: &Shared, peer: IpAddr, request: Request<Incoming>) -> Result<Response, Reply> {
    if let Attempt::Refused(in_a_row) = shared.enrolments.take(peer) {
        // The first, the tenth, the hundredth: whoever guesses is named, and cannot fill the log.
        if in_a_row.checked_ilog10().is_some_and(|power| in_a_row == 10_u64.pow(power)) {
            warn!(%peer, in_a_row, "enrolments from this address are throttled: too many failed");
        }
        return Err(Reply::busy(
            "too many enrolments from this address failed or are under way; try again in some seconds",
            10,
        ));
    }
    let answer = attempt(shared, peer, request).await;
    // The server's own failures are not the peer's. Who hangs up before the answer has failed.
    if answer.as_ref().err().is_none_or(|rejection| rejection.code == RejectionCode::Internal) {
        shared.enrolments.give_back(peer);
    }
    if let Err(rejection) = &answer {
        info!(%peer, %rejection, "enrolment failed");
    }
    answer.map_err(Reply::from)
}

async fn attempt(shared: &Shared, peer: IpAddr, request: Request<Incoming>) -> Result<Response, Rejection> {
    let body = body::read(request.into_body(), HTTP_BODY_BYTES_MAX).await.map_err(|error| {
        let code = if matches!(error, BadBody::TooLarge(_)) { RejectionCode::TooLarge } else { RejectionCode::Invalid };
        Rejection::new(code, error.to_string())
    })?;
    let request: EnrolRequest = serde_json::from_slice(&body).map_err(|error| {
        Rejection::new(RejectionCode::Invalid, format!("the body is not an enrolment request: {error}"))
    })?;
    let name = request.name.clone();
    let (reply, answer) = oneshot::channel();
    let stopped = |Stopped| Rejection::internal();
    if let Submitted::Full(queued) =
        shared.bus.submit(Inbound::Enrol { request: Box::new(request), peer, reply }).map_err(stopped)?
    {
        queued.await.map_err(stopped)?;
    }
    match timeout(ANSWER_DEADLINE, answer).await {
        Ok(Ok(Ok(response))) => {
            info!(%peer, thing = %name, "enrolled");
            Ok(reply::json(StatusCode::OK, &response))
        }
        Ok(Ok(Err(rejection))) => Err(rejection),
        Ok(Err(_)) | Err(_) => {
            warn!(%peer, thing = %name, "the service did not answer an enrolment");
            Err(Rejection::internal())
        }
    }
}
