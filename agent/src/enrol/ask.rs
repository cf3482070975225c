//! The request for the first certificate. A busy server (429, 503) is asked again when it says, or after a growing wait;
//! neither answer costs the token.

use crate::dial::Way;
use crate::hands::http::{Endpoint, HttpError};
use crate::hands::https;
use crate::keeper::clocks_differ;
use crate::settings::Server;
use crate::tls::Tls;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::RETRY_AFTER;
use hyper::{Request, Response, StatusCode};
use muster_certs::client_config;
use muster_runtime::backoff::Backoff;
use muster_runtime::clock::Clock;
use muster_runtime::failure::{Cause, Failure};
use muster_runtime::ids;
use muster_wire::enrol::{ENROL_PATH, EnrolRequest, EnrolResponse};
use muster_wire::limits::{CLOCK_SKEW_WARN, HTTP_BODY_BYTES_MAX, RETRY_BASE};
use muster_wire::rejection::Rejection;
use std::time::Duration;

/// A server that is busy for longer is given up: a token lives for five minutes.
const PATIENCE: Duration = Duration::from_secs(120);
/// Longest wait between two tries, whatever the server says.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// What came of one try.
enum Tried {
    Done(Box<EnrolResponse>),
    Busy { why: Failure, wait: Option<Duration> },
}

pub(super) async fn ask(
    server: &Server,
    way: &Way,
    ca: &str,
    request: &EnrolRequest,
    clock: &Clock,
) -> Result<EnrolResponse, Failure> {
    let tls = client_config(ca, None, &[b"http/1.1"])
        .map_err(|error| Failure::local_because("--ca cannot be used", error))?;
    let endpoint = Endpoint { server: server.clone(), way: way.clone(), tls: Some(Tls::fixed(tls, clock)) };
    let failed = |error: Cause| Failure::local_because("cannot write the request", error);
    let body = Bytes::from(serde_json::to_vec(request).map_err(|error| failed(error.into()))?);
    let give_up_at = clock.instant() + PATIENCE;
    let mut backoff = Backoff::new(RETRY_BASE, WAIT_MAX);
    loop {
        let request = Request::post(ENROL_PATH)
            .header("host", server.to_string())
            .header("content-type", "application/json")
            .header("user-agent", "muster-agent")
            .body(Full::new(body.clone()))
            .map_err(|error| failed(error.into()))?;
        let (why, wait) = match endpoint.exchange(request, read_answer).await {
            Ok(Tried::Done(response)) => return Ok(*response),
            Ok(Tried::Busy { why, wait }) => (why, wait),
            Err(failure @ Failure::Unreachable { .. }) => {
                return Err(blame_the_clock(&endpoint, clock).await.unwrap_or(failure));
            }
            Err(failure) => return Err(failure),
        };
        // The jitter comes on top of what the server asks for: others were told the same.
        let wait = wait.unwrap_or_default().min(WAIT_MAX) + backoff.next(ids::random_fraction());
        if clock.instant() + wait > give_up_at {
            return Err(why);
        }
        eprintln!("muster-agent: the server is busy ({why}); trying again in {:.0} s", wait.as_secs_f64().max(1.0));
        tokio::time::sleep(wait).await;
    }
}

/// A server that cannot be believed may be right about the time.
async fn blame_the_clock(endpoint: &Endpoint, clock: &Clock) -> Option<Failure> {
    let server = https::time(endpoint, clock).await.ok()?;
    let skew = clock.now().epoch_seconds().saturating_sub(server.epoch_seconds());
    (skew.unsigned_abs() > CLOCK_SKEW_WARN.as_secs()).then(|| Failure::local(clocks_differ(skew)))
}

async fn read_answer(answer: Response<Incoming>) -> Result<Tried, Failure> {
    let status = answer.status();
    // The other form, a date, is rare; the growing wait will do for it.
    let wait = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let body = Limited::new(answer.into_body(), HTTP_BODY_BYTES_MAX).collect().await;
    let body = body.map_err(|source| Failure::Unreachable {
        message: "the answer of the server did not arrive whole; try again".to_owned(),
        source: Some(source),
    })?;
    let body = body.to_bytes();
    if status == StatusCode::OK {
        return serde_json::from_slice(&body).map(Tried::Done).map_err(|error| {
            Failure::local_because("the answer of the server is not readable; is it a Muster server?", error)
        });
    }
    let why = match serde_json::from_slice::<Rejection>(&body) {
        Ok(rejection) => Failure::Refused(rejection),
        Err(_) => Failure::Outcome(format!("the server answers {status}; is it a Muster server?")),
    };
    match status {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            Ok(Tried::Busy { why, wait: wait.map(Duration::from_secs) })
        }
        _ => Err(why),
    }
}

impl From<HttpError> for Failure {
    fn from(error: HttpError) -> Self {
        Self::Unreachable {
            message: "the server was not reached; check --server, --proxy, the firewall and the CA".to_owned(),
            source: Some(error.into()),
        }
    }
}
