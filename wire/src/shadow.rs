//! Names of the shadows that Muster itself keeps, and the error document of the shadow service.

use crate::id::ShadowName;
use crate::time::Timestamp;
use serde::Serialize;

/// The shadow whose `desired` says which version of each component shall run
/// ([`crate::component::DesiredComponent`]) and whose `reported` says what runs ([`crate::component::ComponentReport`]).
#[must_use]
pub fn components() -> ShadowName {
    ShadowName::new("components").expect("a valid name")
}

/// The shadow whose `reported` holds the [`crate::enrol::HostFacts`].
#[must_use]
pub fn agent() -> ShadowName {
    ShadowName::new("agent").expect("a valid name")
}

/// Why the shadow service refuses; `code` and `message` are the literal ones of AWS IoT.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ShadowError {
    /// HTTP status of the same meaning.
    pub code: u16,
    /// The literal text.
    pub message: String,
}

impl ShadowError {
    /// A refusal with this code and text.
    #[must_use]
    pub fn new(code: u16, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// The payload of `…/rejected`.
#[derive(Clone, Debug, Serialize)]
pub struct ShadowRejected<'a> {
    /// HTTP status of the same meaning.
    pub code: u16,
    /// The literal text.
    pub message: &'a str,
    /// Epoch seconds.
    pub timestamp: i64,
    /// The request's token, when one could be read.
    #[serde(rename = "clientToken", skip_serializing_if = "Option::is_none")]
    pub client_token: Option<&'a str>,
}

impl<'a> ShadowRejected<'a> {
    /// The payload for `error`.
    #[must_use]
    pub fn new(error: &'a ShadowError, client_token: Option<&'a str>, now: Timestamp) -> Self {
        Self { code: error.code, message: &error.message, timestamp: now.epoch_seconds(), client_token }
    }
}
