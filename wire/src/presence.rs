//! What is said of a client: `$aws/events/presence/{connected|disconnected|connect_failed}/{client}`, and
//! `$aws/events/subscriptions/{subscribed|unsubscribed}/{client}`.

use serde::{Deserialize, Serialize};

/// Why a connection ended; the spelling is AWS IoT's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DisconnectReason {
    /// The client sent DISCONNECT.
    ClientInitiatedDisconnect,
    /// The client broke the protocol.
    ClientError,
    /// TCP or TLS broke.
    ConnectionLost,
    /// Silent for one and a half keep-alives.
    MqttKeepAliveTimeout,
    /// A new connection of the same identity and client id took over.
    #[serde(rename = "DUPLICATE_CLIENTID")]
    DuplicateClientId,
    /// It is no longer let in.
    AuthError,
    /// Not allowed to do what it did.
    ForbiddenAccess,
    /// The server failed.
    ServerError,
    /// The server stops, or an operator ended the connection.
    ServerInitiatedDisconnect,
    /// Too slow or too much.
    Throttled,
    /// Somebody asked for it over the HTTP data plane.
    ApiInitiatedDisconnect,
}

/// The payload of a presence event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names are those of AWS IoT's life-cycle events")]
pub struct Presence {
    pub client_id: String,
    /// Epoch milliseconds.
    pub timestamp: i64,
    pub event_type: String,
    pub session_identifier: String,
    pub principal_identifier: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_address: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_initiated_disconnect: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disconnect_reason: Option<DisconnectReason>,
    pub version_number: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thing_name: Option<String>,
}

/// Why a client that is known was not let in; the spelling is AWS IoT's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ConnectFailureReason {
    /// It may not connect, or not with this will.
    AuthorizationFailed,
}

/// The payload of the event of a client that was not let in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names are those of AWS IoT's life-cycle events")]
pub struct ConnectFailed {
    pub client_id: String,
    /// Epoch milliseconds.
    pub timestamp: i64,
    pub event_type: String,
    pub connect_failure_reason: ConnectFailureReason,
    pub principal_identifier: String,
    pub ip_address: String,
}

/// The payload of an event about subscriptions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names are those of AWS IoT's life-cycle events")]
pub struct Subscriptions {
    pub client_id: String,
    /// Epoch milliseconds.
    pub timestamp: i64,
    pub event_type: String,
    pub session_identifier: String,
    pub principal_identifier: String,
    /// The filters, as the client named them.
    pub topics: Vec<String>,
}
