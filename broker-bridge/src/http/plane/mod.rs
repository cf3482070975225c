//! The HTTP data plane: what AWS's `iot-data` and `iot-jobs-data` clients ask for, see `muster_wire::plane`.
//!
//! ```text
//! request ─▶ Operation::parse ─▶ who (certificate or signature) ─▶ policy ─┬─▶ bus ─▶ answer of the service ─▶ response
//!                                                                          └─▶ topics of applications
//! ```
//!
//! What a request changes is published as if it had come over MQTT; a refusal is told to the requester alone.

mod ask;
mod connections;
mod fault;
mod jobs;
pub(crate) mod message;
mod publish;
mod retained;
mod shadows;
mod who;

use super::Visit;
use super::body::{self, BadBody};
use super::reply::{self, Response};
use super::upload::drain;
use crate::counters::count;
use crate::policy::plane::may_operate;
use crate::policy::{Decision, named};
use bytes::Bytes;
use fault::{Fault, Kind};
use hyper::body::Incoming;
use hyper::header::HOST;
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Request, StatusCode};
use muster_bus::Caller;
use muster_wire::limits::PAYLOAD_BYTES_MAX;
use muster_wire::plane::Operation;
use serde_json::json;
use std::sync::Arc;
use tracing::info;

pub(super) use muster_wire::plane::is_plane;

/// For which data there is an endpoint: all are this one.
const ENDPOINTS: [&str; 4] = ["iot:Data-ATS", "iot:Data", "iot:CredentialProvider", JOBS_ENDPOINT];
const JOBS_ENDPOINT: &str = "iot:Jobs";

/// Answers a request of the data plane.
pub(super) async fn serve(visit: &Visit, request: Request<Incoming>) -> Response {
    let (head, body) = request.into_parts();
    let query = head.uri.query().unwrap_or_default();
    let operation = match Operation::parse(head.method.as_str(), head.uri.path(), query) {
        // Only GET is spelled in the table of operations; a HEAD has the answer of the GET, without its body.
        Err(_) if head.method == Method::HEAD => Operation::parse("GET", head.uri.path(), query),
        parsed => parsed,
    };
    let mut body = Some(body);
    let answered = match operation {
        Ok(operation) => attempt(visit, &head, operation, &mut body).await,
        Err(error) => Err(error.into()),
    };
    match answered {
        Ok(response) => response,
        Err(fault) => {
            if let Some(body) = body {
                // The client hears the refusal, not a reset.
                drain(body).await;
            }
            fault.into()
        }
    }
}

async fn attempt(
    visit: &Visit,
    head: &Parts,
    operation: Operation,
    body: &mut Option<Incoming>,
) -> Result<Response, Fault> {
    let headers = &head.headers;
    let (caller, payload) = match who::signature(headers) {
        // What is not signed with is asked before the body is read.
        Some(authorization) => who::signed(visit, head, &operation, authorization, body).await?,
        None => (who::certified(visit)?.clone(), Bytes::new()),
    };
    let caller = Arc::new(caller);
    allowed(visit, &caller, &operation)?;
    let payload = match body.take() {
        Some(body) if operation.has_body() => body::read(body, PAYLOAD_BYTES_MAX).await?,
        _ => payload,
    };
    let shared = &visit.shared;
    match operation {
        Operation::Shadow { thing, shadow, verb } => shadows::one(shared, caller, thing, shadow, verb, payload).await,
        Operation::Shadows { thing, page } => shadows::list(shared, thing, &page).await,
        Operation::Jobs { thing, verb, describe } => jobs::one(shared, caller, thing, verb, &describe, payload).await,
        Operation::Publish { topic, wish } => publish::publish(shared, caller, topic, wish, headers, payload).await,
        Operation::Retained { topic } => retained::one(shared, &topic),
        Operation::RetainedList { page } => Ok(retained::list(shared, &page)),
        Operation::Endpoint { kind } => endpoint(&kind, headers),
        Operation::Connection { client, with_socket } => connections::get(shared, &client, with_socket),
        Operation::Disconnect { client, clean_session, prevent_will } => {
            connections::delete(shared, &caller, &client, clean_session, prevent_will)
        }
        Operation::Subscriptions { client, page } => connections::subscriptions(shared, &client, &page),
        Operation::Direct { client, topic, wish, confirmation } => {
            connections::send(shared, &client, topic, wish, confirmation, headers, payload)
        }
    }
}

fn allowed(visit: &Visit, caller: &Caller, operation: &Operation) -> Result<(), Fault> {
    if let Operation::Publish { topic, .. } | Operation::Direct { topic, .. } = operation {
        message::topic(topic)?;
    }
    let shared = &visit.shared;
    if named::lacks_certificate(shared, caller) {
        info!(identity = %caller.identity, "a policy asks for more of a certificate than was read; connect again with it");
        return Err(Fault::new(Kind::Forbidden, "Forbidden"));
    }
    let rules = named::rules(shared, caller);
    if may_operate(&shared.mqtt, caller, rules.as_deref(), operation) == Decision::Deny {
        count(&shared.counters.denied);
        info!(identity = %caller.identity, ?operation, "operation of the data plane denied");
        return Err(Fault::new(Kind::Forbidden, "Forbidden"));
    }
    Ok(())
}

/// Where the client is already: there is one endpoint for everything. An SDK takes the address of `iot:Data-ATS` for the
/// host of its MQTT connection, whose port it is told apart, so that no port stands in it, as with AWS IoT Core; the jobs
/// endpoint is for HTTP alone, and cannot be reached without.
fn endpoint(kind: &str, headers: &HeaderMap) -> Result<Response, Fault> {
    if !ENDPOINTS.contains(&kind) {
        return Err(Fault::new(Kind::Invalid, format!("endpointType is one of {}", ENDPOINTS.join(", "))));
    }
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let address = if kind == JOBS_ENDPOINT { host } else { without_port(host) };
    Ok(reply::json(StatusCode::OK, &json!({ "endpointAddress": address })))
}

/// The address of an IPv6 host stands in brackets, and has colons of its own.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

impl From<BadBody> for Fault {
    fn from(error: BadBody) -> Self {
        match error {
            // The words of AWS IoT Core for whatever is too large.
            BadBody::TooLarge(_) => Self::new(Kind::TooLarge, "The payload exceeds the maximum size allowed"),
            BadBody::Lost(_) | BadBody::Late => Self::new(Kind::Invalid, error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{BadBody, Fault, without_port};
    use crate::http::reply::Response;
    use http_body_util::BodyExt;
    use serde_json::{Value, json};

    #[tokio::test]
    async fn a_body_past_what_is_read_is_refused_in_the_words_of_aws() {
        let response = Response::from(Fault::from(BadBody::TooLarge(1)));
        assert_eq!(response.status().as_u16(), 413);
        assert_eq!(response.headers()["x-amzn-errortype"], "RequestEntityTooLargeException");
        let body = response.into_body().collect().await.expect("a body in memory").to_bytes();
        let told: Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(told, json!({ "code": 413, "message": "The payload exceeds the maximum size allowed" }));
    }

    #[test]
    fn a_host_loses_its_port_and_nothing_else() {
        for (host, expected) in [
            ("muster.example.org:8443", "muster.example.org"),
            ("muster.example.org", "muster.example.org"),
            ("192.0.2.1:18443", "192.0.2.1"),
            ("[2001:db8::1]:8443", "[2001:db8::1]"),
            ("[2001:db8::1]", "[2001:db8::1]"),
        ] {
            assert_eq!(without_port(host), expected);
        }
    }
}
