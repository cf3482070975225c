//! Presence events: a client came or went.

use crate::bridge::Shared;
use crate::session::end::End;
use crate::session::link::Link;
use muster_bus::{Deliveries, Message};
use muster_certs::identity::Role;
use muster_wire::presence::Presence;
use muster_wire::topic::{PresenceEvent, Topic};
use tracing::warn;

/// A client came.
pub(crate) fn connected(shared: &Shared, link: &Link) {
    publish(shared, link, PresenceEvent::Connected, || Presence {
        ip_address: Some(link.caller.peer.to_string()),
        ..base(shared, link, "connected")
    });
}

/// A client went.
pub(crate) fn disconnected(shared: &Shared, link: &Link, end: End) {
    publish(shared, link, PresenceEvent::Disconnected, || Presence {
        client_initiated_disconnect: Some(end.is_goodbye()),
        disconnect_reason: Some(end.reason()),
        ..base(shared, link, "disconnected")
    });
}

fn base(shared: &Shared, link: &Link, event: &str) -> Presence {
    let caller = &link.caller;
    let connector = caller.identity.role() == Role::Connector;
    Presence {
        client_id: caller.client_id.to_string(),
        timestamp: shared.clock.now().millis(),
        event_type: event.to_owned(),
        session_identifier: format!("{:016x}{:016x}", shared.process, link.session),
        principal_identifier: caller.certificate_id.to_string(),
        ip_address: None,
        client_initiated_disconnect: None,
        disconnect_reason: None,
        version_number: link.session,
        thing_name: connector.then(|| caller.identity.name().to_owned()),
    }
}

/// Publishes an event if anybody reads it: thousands of clients come at once, and mostly nobody does.
fn publish(shared: &Shared, link: &Link, event: PresenceEvent, presence: impl FnOnce() -> Presence) {
    let topic = Topic::Presence { event, client: link.caller.client_id.clone() }.to_string();
    if !shared.bus.observed(&topic) {
        return;
    }
    match serde_json::to_vec(&presence()) {
        Ok(payload) => shared.bus.observe(Message::new(topic, payload), false),
        Err(error) => warn!(%error, "presence event was not written"),
    }
}
