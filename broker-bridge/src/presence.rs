//! Events of clients: one came or went, was not let in, began or ceased to listen.

use crate::bridge::Shared;
use crate::session::end::End;
use crate::session::link::Link;
use muster_bus::{Caller, Deliveries, Message};
use muster_certs::identity::Role;
use muster_wire::presence::{ConnectFailed, ConnectFailureReason, Presence, Subscriptions};
use muster_wire::topic::{PresenceEvent, SubscriptionEvent, Topic};
use serde::Serialize;
use tracing::warn;

/// A client came.
pub(crate) fn connected(shared: &Shared, link: &Link) {
    publish(shared, presence(link, PresenceEvent::Connected), || Presence {
        ip_address: Some(link.caller.peer.to_string()),
        ..base(shared, link, PresenceEvent::Connected)
    });
}

/// A client went.
pub(crate) fn disconnected(shared: &Shared, link: &Link, end: End) {
    publish(shared, presence(link, PresenceEvent::Disconnected), || Presence {
        client_initiated_disconnect: Some(end.is_goodbye()),
        disconnect_reason: Some(end.reason()),
        ..base(shared, link, PresenceEvent::Disconnected)
    });
}

/// A client whose certificate is good may not come. Of those that speak HTTP, and have no client id, nothing is said.
pub(crate) fn connect_failed(shared: &Shared, caller: &Caller) {
    if caller.client_id.is_empty() {
        return;
    }
    let event = PresenceEvent::ConnectFailed;
    publish(shared, Topic::Presence { event, client: caller.client_id.clone() }, || ConnectFailed {
        client_id: caller.client_id.to_string(),
        timestamp: shared.clock.now().millis(),
        event_type: event.as_str().to_owned(),
        connect_failure_reason: ConnectFailureReason::AuthorizationFailed,
        principal_identifier: caller.certificate_id.to_string(),
        ip_address: caller.peer.to_string(),
    });
}

/// A client began or ceased to listen to these filters, if there are any; they are read only when somebody wants to know.
pub(crate) fn subscriptions(
    shared: &Shared,
    link: &Link,
    event: SubscriptionEvent,
    filters: impl FnOnce() -> Vec<String>,
) {
    let caller = &link.caller;
    let topic = Topic::Subscriptions { event, client: caller.client_id.clone() };
    publish_some(shared, topic, || {
        let topics = filters();
        (!topics.is_empty()).then(|| Subscriptions {
            client_id: caller.client_id.to_string(),
            timestamp: shared.clock.now().millis(),
            event_type: event.as_str().to_owned(),
            session_identifier: session_identifier(shared, link),
            principal_identifier: caller.certificate_id.to_string(),
            topics,
        })
    });
}

fn presence(link: &Link, event: PresenceEvent) -> Topic {
    Topic::Presence { event, client: link.caller.client_id.clone() }
}

fn session_identifier(shared: &Shared, link: &Link) -> String {
    format!("{:016x}{:016x}", shared.process, link.session)
}

fn base(shared: &Shared, link: &Link, event: PresenceEvent) -> Presence {
    let caller = &link.caller;
    let connector = caller.identity.role() == Role::Connector;
    Presence {
        client_id: caller.client_id.to_string(),
        timestamp: shared.clock.now().millis(),
        event_type: event.as_str().to_owned(),
        session_identifier: session_identifier(shared, link),
        principal_identifier: caller.certificate_id.to_string(),
        ip_address: None,
        client_initiated_disconnect: None,
        disconnect_reason: None,
        version_number: link.session,
        thing_name: connector.then(|| caller.identity.name().to_owned()),
    }
}

/// Publishes an event if anybody reads it: thousands of clients come at once, and mostly nobody does.
fn publish<T: Serialize>(shared: &Shared, topic: Topic, event: impl FnOnce() -> T) {
    publish_some(shared, topic, || Some(event()));
}

fn publish_some<T: Serialize>(shared: &Shared, topic: Topic, event: impl FnOnce() -> Option<T>) {
    let topic = topic.to_string();
    if !shared.bus.observed(&topic) {
        return;
    }
    let Some(event) = event() else { return };
    match serde_json::to_vec(&event) {
        Ok(payload) => shared.bus.observe(Message::new(topic, payload), false),
        Err(error) => warn!(%error, "an event was not written"),
    }
}
