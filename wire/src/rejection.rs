//! An error that travels: what a peer may know of a refusal.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Whose fault a refusal is and what kind; the numbers are the HTTP status that means the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RejectionCode {
    /// The request itself is wrong (400).
    Invalid,
    /// Nobody proved who asks (401).
    Unauthenticated,
    /// The one who asks may not do this (403).
    Forbidden,
    /// What the request names does not exist (404).
    NotFound,
    /// The request does not fit the present state (409).
    Conflict,
    /// The request is larger than allowed (413).
    TooLarge,
    /// Too many requests; try again later (429).
    Busy,
    /// The server failed (500).
    Internal,
}

impl RejectionCode {
    /// The HTTP status of the same meaning.
    #[must_use]
    pub const fn http_status(self) -> u16 {
        match self {
            Self::Invalid => 400,
            Self::Unauthenticated => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::Conflict => 409,
            Self::TooLarge => 413,
            Self::Busy => 429,
            Self::Internal => 500,
        }
    }
}

/// A refusal as the peer sees it: what failed, on what, and what to do next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// Kind of the refusal.
    pub code: RejectionCode,
    /// What failed, on what, and what to do next; one sentence for people.
    pub message: String,
}

impl Rejection {
    /// A refusal of kind `code`.
    #[must_use]
    pub fn new(code: RejectionCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// A server fault. The cause is logged where it happened and does not travel.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(RejectionCode::Internal, "the server failed; its log says why")
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Rejection {}
