//! Errors as AWS's clients expect them: a status, the name of the exception in a header, a message.

use crate::http::reply::{self, Response};
use hyper::StatusCode;
use hyper::header::{ALLOW, HeaderName, HeaderValue};
use muster_wire::job::{JobErrorCode, JobRejected};
use muster_wire::plane::PlaneError;
use serde_json::{Value, json};

const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");

/// Which exception it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Invalid,
    NoToken,
    UnknownKey,
    IncompleteSignature,
    BadSignature,
    Unauthorized,
    Forbidden,
    NotFound,
    Method,
    Conflict,
    StateTransition,
    Terminal,
    TooLarge,
    Encoding,
    Throttled,
    Failed,
    Unavailable,
}

impl Kind {
    fn parts(self) -> (StatusCode, &'static str) {
        match self {
            Self::Invalid => (StatusCode::BAD_REQUEST, "InvalidRequestException"),
            Self::NoToken => (StatusCode::FORBIDDEN, "MissingAuthenticationTokenException"),
            Self::UnknownKey => (StatusCode::FORBIDDEN, "UnrecognizedClientException"),
            Self::IncompleteSignature => (StatusCode::FORBIDDEN, "IncompleteSignatureException"),
            Self::BadSignature => (StatusCode::FORBIDDEN, "InvalidSignatureException"),
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "UnauthorizedException"),
            Self::Forbidden => (StatusCode::FORBIDDEN, "ForbiddenException"),
            Self::NotFound => (StatusCode::NOT_FOUND, "ResourceNotFoundException"),
            Self::Method => (StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowedException"),
            Self::Conflict => (StatusCode::CONFLICT, "ConflictException"),
            Self::StateTransition => (StatusCode::CONFLICT, "InvalidStateTransitionException"),
            Self::Terminal => (StatusCode::GONE, "TerminalStateException"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLargeException"),
            Self::Encoding => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedDocumentEncodingException"),
            Self::Throttled => (StatusCode::TOO_MANY_REQUESTS, "ThrottlingException"),
            Self::Failed => (StatusCode::INTERNAL_SERVER_ERROR, "InternalFailureException"),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailableException"),
        }
    }

    /// What the code of a shadow error means.
    fn of_shadow(code: u64) -> Self {
        match code {
            400 => Self::Invalid,
            401 => Self::Unauthorized,
            403 => Self::Forbidden,
            404 => Self::NotFound,
            409 => Self::Conflict,
            413 => Self::TooLarge,
            415 => Self::Encoding,
            429 => Self::Throttled,
            _ => Self::Failed,
        }
    }

    fn of_job(code: JobErrorCode) -> Self {
        match code {
            JobErrorCode::InvalidTopic | JobErrorCode::InvalidJson | JobErrorCode::InvalidRequest => Self::Invalid,
            JobErrorCode::InvalidStateTransition | JobErrorCode::VersionMismatch => Self::StateTransition,
            JobErrorCode::ResourceNotFound => Self::NotFound,
            JobErrorCode::TerminalStateReached => Self::Terminal,
            JobErrorCode::RequestThrottled => Self::Throttled,
            JobErrorCode::InternalError => Self::Failed,
        }
    }
}

/// An error of the data plane.
#[derive(Debug)]
pub(super) struct Fault {
    kind: Kind,
    body: Value,
    allow: Option<&'static str>,
}

impl Fault {
    pub(super) fn new(kind: Kind, message: impl Into<String>) -> Self {
        let body = json!({ "code": kind.parts().0.as_u16(), "message": message.into() });
        Self { kind, body, allow: None }
    }

    /// The server's own.
    pub(super) fn failed() -> Self {
        Self::new(Kind::Failed, "Internal service failure")
    }

    /// What the shadow service refused; the body is what it says over MQTT.
    pub(super) fn of_shadow(rejected: &[u8]) -> Self {
        let Ok(body) = serde_json::from_slice::<Value>(rejected) else { return Self::failed() };
        Self { kind: Kind::of_shadow(body["code"].as_u64().unwrap_or_default()), body, allow: None }
    }

    /// What the jobs service refused.
    pub(super) fn of_job(rejected: &[u8]) -> Self {
        match serde_json::from_slice::<JobRejected>(rejected) {
            Ok(rejected) => Self::new(Kind::of_job(rejected.code), rejected.message),
            Err(_) => Self::failed(),
        }
    }
}

impl From<PlaneError> for Fault {
    fn from(error: PlaneError) -> Self {
        let message = error.to_string();
        match error {
            PlaneError::Path(_) => Self::new(Kind::NotFound, message),
            PlaneError::Method(allowed) => Self { allow: Some(allowed), ..Self::new(Kind::Method, message) },
            PlaneError::Invalid(_) => Self::new(Kind::Invalid, message),
        }
    }
}

impl From<Fault> for Response {
    fn from(fault: Fault) -> Self {
        let (status, name) = fault.kind.parts();
        let mut response = reply::json(status, &fault.body);
        response.headers_mut().insert(ERROR_TYPE, HeaderValue::from_static(name));
        if let Some(allowed) = fault.allow {
            response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
        }
        response
    }
}
