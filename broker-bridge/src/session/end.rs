//! Why a session ends, and what each side is told.

use muster_wire::presence::DisconnectReason;

/// The end of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The client said goodbye.
    Goodbye,
    /// The client said goodbye with a reason that has its will published: it wants that, or names an error.
    GoodbyeWithWill,
    /// TCP or TLS broke, or the client closed without a word.
    ConnectionLost,
    /// The client broke the protocol or a limit.
    Violation(Violation),
    /// The client did what it may not do.
    Forbidden,
    /// Silent for one and a half keep-alives.
    KeepAlive,
    /// A newer connection has the same identity and client id.
    TakenOver,
    /// An operator or the service ended the connection.
    Kicked,
    /// Its identity is no longer let in.
    NotLetIn,
    /// Somebody who may do so asked for it.
    Deleted {
        /// The session goes on without its connection.
        keeps_session: bool,
        /// The will is published.
        says_will: bool,
    },
    /// The server stops.
    Shutdown,
    /// A QoS 1 message no longer fitted, or the client stopped reading.
    Throttled,
    /// The service failed.
    Failed,
}

/// How a client broke the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    /// MQTT 5 reason code.
    pub(crate) code: u8,
    /// For the log.
    pub(crate) what: &'static str,
}

impl End {
    /// The reason code of an MQTT 5 DISCONNECT; `None` when nothing is sent.
    pub(crate) fn code(self) -> Option<u8> {
        Some(match self {
            Self::Goodbye | Self::GoodbyeWithWill | Self::ConnectionLost => return None,
            Self::Violation(violation) => violation.code,
            Self::Forbidden => 0x87,
            Self::KeepAlive => 0x8d,
            Self::TakenOver => 0x8e,
            Self::Kicked | Self::NotLetIn | Self::Deleted { .. } => 0x98,
            Self::Shutdown => 0x8b,
            Self::Throttled => 0x97,
            Self::Failed => 0x80,
        })
    }

    /// Whether the client went by its own wish.
    pub(crate) fn is_goodbye(self) -> bool {
        matches!(self, Self::Goodbye | Self::GoodbyeWithWill)
    }

    /// Whether the will is published. Every end but a plain goodbye is one that the client did not want; who deletes
    /// a connection decides.
    pub(crate) fn says_will(self) -> bool {
        !matches!(self, Self::Goodbye | Self::Deleted { says_will: false, .. })
    }

    /// Whether a session that outlives its connection outlives this end.
    pub(crate) fn keeps_session(self) -> bool {
        !matches!(self, Self::Kicked | Self::NotLetIn | Self::Deleted { keeps_session: false, .. } | Self::Shutdown)
    }

    /// The reason in the presence event.
    pub(crate) fn reason(self) -> DisconnectReason {
        match self {
            Self::Goodbye | Self::GoodbyeWithWill => DisconnectReason::ClientInitiatedDisconnect,
            Self::ConnectionLost => DisconnectReason::ConnectionLost,
            Self::Violation(_) => DisconnectReason::ClientError,
            Self::NotLetIn => DisconnectReason::AuthError,
            Self::Forbidden => DisconnectReason::ForbiddenAccess,
            Self::KeepAlive => DisconnectReason::MqttKeepAliveTimeout,
            Self::TakenOver => DisconnectReason::DuplicateClientId,
            Self::Kicked | Self::Shutdown => DisconnectReason::ServerInitiatedDisconnect,
            Self::Deleted { .. } => DisconnectReason::ApiInitiatedDisconnect,
            Self::Throttled => DisconnectReason::Throttled,
            Self::Failed => DisconnectReason::ServerError,
        }
    }
}
