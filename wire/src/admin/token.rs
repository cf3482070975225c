//! Operator requests about enrolment tokens. The tokens themselves are never told again, only what they are bound to.

use crate::id::{PersonName, PoolName, ThingName};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// [`super::Verb::TokenList`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListTokens {
    /// Also those that were used, replaced or revoked or have expired, as long as they are remembered.
    #[serde(default)]
    pub all: bool,
}

/// Tokens, the one that lives longest first; as many as fit one answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenList {
    /// The server's time, to which the ends of the tokens compare.
    pub now: Timestamp,
    /// The tokens.
    pub tokens: Vec<TokenView>,
    /// Tokens that did not fit.
    #[serde(default)]
    pub left_off: usize,
}

/// Whether a token still works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TokenState {
    /// It works.
    Live,
    /// It was used.
    Used,
    /// It came too late.
    Expired,
    /// A newer one of the same connector took its place while it worked.
    Replaced,
    /// An operator took it back while it worked, or removed the connector.
    Revoked,
}

/// What may be known of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenView {
    /// First digits of its SHA-256; what the server's log calls it.
    pub id: String,
    /// The only connector that may use it.
    pub connector: ThingName,
    /// The pool of the connector for which it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<PoolName>,
    /// The only folder on the host for which it works; any when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Who made it.
    pub issued_by: PersonName,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued_at: Option<Timestamp>,
    /// When it stops to work.
    pub expires_at: Timestamp,
    /// Whether it works.
    pub state: TokenState,
    /// Times that it was used.
    pub uses: u32,
    /// Times that it may be used.
    pub uses_max: u32,
    /// When it was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_at: Option<Timestamp>,
    /// From which address it was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_from: Option<String>,
}

/// [`super::Verb::TokenRevoke`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevokeToken {
    /// The connector whose live token shall stop to work; it has at most one.
    pub connector: ThingName,
}

/// Answer to [`RevokeToken`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokedToken {
    /// The token that works no more.
    pub token: TokenView,
}
