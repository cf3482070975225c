//! What is said of the connections and the subscriptions of a client: `$aws/events/{presence|subscriptions}/{event}/{client}`.

use super::Topic;

/// A client came or went, or was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PresenceEvent {
    /// It came.
    Connected,
    /// It went.
    Disconnected,
    /// It is known, and may not come.
    ConnectFailed,
}

/// A client began or ceased to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SubscriptionEvent {
    /// It began.
    Subscribed,
    /// It ceased.
    Unsubscribed,
}

impl PresenceEvent {
    const ALL: [Self; 3] = [Self::Connected, Self::Disconnected, Self::ConnectFailed];

    /// As it stands in the topic, and in the payload.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Disconnected => "disconnected",
            Self::ConnectFailed => "connect_failed",
        }
    }
}

impl SubscriptionEvent {
    const ALL: [Self; 2] = [Self::Subscribed, Self::Unsubscribed];

    /// As it stands in the topic, and in the payload.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Subscribed => "subscribed",
            Self::Unsubscribed => "unsubscribed",
        }
    }
}

/// `None` when the topic is none of these.
pub(super) fn from_parts(family: &str, event: &str, client: &str) -> Option<Topic> {
    let client = Some(client).filter(|client| !client.is_empty())?.into();
    match family {
        "presence" => {
            let event = PresenceEvent::ALL.into_iter().find(|known| known.as_str() == event)?;
            Some(Topic::Presence { event, client })
        }
        "subscriptions" => {
            let event = SubscriptionEvent::ALL.into_iter().find(|known| known.as_str() == event)?;
            Some(Topic::Subscriptions { event, client })
        }
        _ => None,
    }
}
