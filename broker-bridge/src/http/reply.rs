//! Responses and refusals.

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{StatusCode, header};
use muster_wire::rejection::{Rejection, RejectionCode};
use serde::Serialize;
use std::io;

pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;
pub(super) type Response = hyper::Response<Body>;

/// A refusal: a [`Rejection`] with the status that says it best.
pub(super) struct Reply {
    status: StatusCode,
    rejection: Rejection,
    header: Option<(HeaderName, HeaderValue)>,
}

impl Reply {
    /// A refusal with a status that no [`RejectionCode`] has.
    pub(super) fn with_status(status: StatusCode, code: RejectionCode, message: impl Into<String>) -> Self {
        Self { status, rejection: Rejection::new(code, message), header: None }
    }

    /// 405.
    pub(super) fn method(allowed: &'static str) -> Self {
        let message = format!("this path takes {allowed} only");
        let header = Some((ALLOW, HeaderValue::from_static(allowed)));
        Self { header, ..Self::with_status(StatusCode::METHOD_NOT_ALLOWED, RejectionCode::Invalid, message) }
    }

    /// 416.
    pub(super) fn range(length: u64) -> Self {
        let message = format!("the range begins after the end; there are {length} bytes");
        let header =
            HeaderValue::try_from(format!("bytes */{length}")).ok().map(|value| (header::CONTENT_RANGE, value));
        Self { header, ..Self::with_status(StatusCode::RANGE_NOT_SATISFIABLE, RejectionCode::Invalid, message) }
    }

    /// 429.
    pub(super) fn busy(message: impl Into<String>, seconds: u32) -> Self {
        let header = Some((RETRY_AFTER, HeaderValue::from(seconds)));
        Self { header, ..Rejection::new(RejectionCode::Busy, message).into() }
    }
}

impl From<Rejection> for Reply {
    fn from(rejection: Rejection) -> Self {
        let status = StatusCode::from_u16(rejection.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, rejection, header: None }
    }
}

impl From<Reply> for Response {
    fn from(reply: Reply) -> Self {
        let mut response = json(reply.status, &reply.rejection);
        if let Some((name, value)) = reply.header {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

/// A response with a JSON body.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    let (status, bytes) = match serde_json::to_vec(body) {
        Ok(bytes) => (status, bytes),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, Vec::new()),
    };
    with_type(status, "application/json", bytes)
}

/// A response whose body is JSON already.
pub(super) fn json_bytes(status: StatusCode, body: impl Into<Bytes>) -> Response {
    with_type(status, "application/json", body)
}

/// A text.
pub(super) fn text(body: &'static str) -> Response {
    with_type(StatusCode::OK, "text/plain; charset=utf-8", body)
}

/// A status without a body.
pub(super) fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(full(Bytes::new()));
    *response.status_mut() = status;
    response
}

fn with_type(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response {
    let mut response = Response::new(full(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn full(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}
