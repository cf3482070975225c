//! Short questions to the server over HTTPS: JSON in, JSON out; and what time it is there.

use super::http::{Endpoint, HttpError, get};
use crate::dial::DialError;
use crate::link::{in_io, is_about_time};
use crate::tls::Tls;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use muster_runtime::clock::Clock;
use muster_runtime::failure::Failure;
use muster_wire::enrol::{ServerTime, TIME_PATH};
use muster_wire::limits::HTTP_BODY_BYTES_MAX;
use muster_wire::rejection::Rejection;
use muster_wire::time::Timestamp;
use rustls::CertificateError;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Sends `question` as JSON and reads the answer.
///
/// Errors: `Refused` with the server's words, `Unreachable`.
pub async fn post<A: DeserializeOwned>(server: &Endpoint, path: &str, question: &impl Serialize) -> Result<A, Failure> {
    let failed =
        |error: Box<dyn std::error::Error + Send + Sync>| Failure::local_because("cannot write the request", error);
    let body = serde_json::to_vec(question).map_err(|error| failed(error.into()))?;
    let request = Request::post(path)
        .header("host", server.server.to_string())
        .header("content-type", "application/json")
        .header("user-agent", "muster-agent")
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| failed(error.into()))?;
    server.exchange(request, read).await
}

/// Reads an answer of the server.
///
/// Errors: `Refused` with the server's words, `Unreachable`, `Outcome` for what is no answer of ours.
pub async fn read<A: DeserializeOwned>(answer: Response<Incoming>) -> Result<A, Failure> {
    let status = answer.status();
    let body = Limited::new(answer.into_body(), HTTP_BODY_BYTES_MAX).collect().await;
    let body = body.map_err(|source| Failure::Unreachable {
        message: "the answer of the server did not arrive whole; try again".to_owned(),
        source: Some(source),
    })?;
    let body = body.to_bytes();
    if status == StatusCode::OK {
        return serde_json::from_slice(&body).map_err(|error| {
            Failure::local_because("the answer of the server is not readable; is it a Muster server?", error)
        });
    }
    match serde_json::from_slice::<Rejection>(&body) {
        Ok(rejection) => Err(Failure::Refused(rejection)),
        Err(_) => Err(Failure::Outcome(format!("the server answers {status}; is it a Muster server?"))),
    }
}

/// What the server's clock says. `server` must need no certificate of ours.
///
/// When by our clock the server's certificate is not valid now, it is asked as of a moment at which it is: all that is
/// believed then is the time, and the key and the chain are checked all the same.
pub async fn time(server: &Endpoint, clock: &Clock) -> Result<Timestamp, Failure> {
    match ask_time(server).await {
        Ok(time) => Ok(time),
        Err(Question::Http(HttpError::Dial(DialError::Tls { source, .. })))
            if in_io(&source).is_some_and(is_about_time) =>
        {
            let moment = in_io(&source).and_then(valid_moment).unwrap_or_else(|| clock.now().epoch_seconds());
            let Some(tls) = &server.tls else { return Err(Failure::local("a server without TLS has no certificate")) };
            let then = Clock::fixed(Timestamp::from_seconds(moment));
            let tls = Tls::fixed(tls.current().as_ref().clone(), &then);
            Ok(ask_time(&Endpoint { tls: Some(tls), ..server.clone() }).await?)
        }
        Err(error) => Err(error.into()),
    }
}

/// A moment at which the certificate that was refused is valid.
fn valid_moment(fault: &rustls::Error) -> Option<i64> {
    let seconds = match fault {
        rustls::Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. }) => not_after.as_secs(),
        rustls::Error::InvalidCertificate(CertificateError::NotValidYetContext { not_before, .. }) => {
            not_before.as_secs()
        }
        _ => return None,
    };
    i64::try_from(seconds).ok()
}

/// Why a question got no answer: the connection, or what came over it.
enum Question {
    Http(HttpError),
    Answer(Failure),
}

impl From<HttpError> for Question {
    fn from(error: HttpError) -> Self {
        Self::Http(error)
    }
}

impl From<Question> for Failure {
    fn from(question: Question) -> Self {
        match question {
            Question::Http(error) => error.into(),
            Question::Answer(failure) => failure,
        }
    }
}

async fn ask_time(server: &Endpoint) -> Result<Timestamp, Question> {
    let request = get(&server.server.to_string(), TIME_PATH)
        .map_err(|error| Question::Answer(Failure::local_because("cannot write the request", error)))?;
    let read = |answer| async { read::<ServerTime>(answer).await.map_err(Question::Answer) };
    Ok(server.exchange(request, read).await?.now)
}
