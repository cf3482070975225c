//! GetConnection, DeleteConnection, ListSubscriptions, SendDirectMessage: one client at a time, by its MQTT client id.

use super::fault::{Fault, Kind};
use super::message;
use super::publish::done;
use crate::bridge::Shared;
use crate::http::reply::{self, Response};
use crate::session::end::End;
use crate::session::link::Link;
use bytes::Bytes;
use hyper::{HeaderMap, StatusCode};
use muster_bus::{Caller, Qos};
use muster_certs::identity::Role;
use muster_wire::plane::{Page, Publish};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tracing::info;

pub(super) fn get(shared: &Shared, client: &str, with_socket: bool) -> Result<Response, Fault> {
    let link = find(shared, client)?;
    let (connected, online) = (link.connected(), link.is_online());
    let life = link.with_kept(|kept| kept.life).unwrap_or_default();
    let mut body = json!({
        "connected": online,
        "cleanSession": connected.clean,
        "keepAliveDuration": connected.keep_alive.as_secs(),
        "connectedSince": connected.at.millis(),
        "sessionExpiry": life.as_secs(),
        "clientId": client,
    });
    if link.caller.identity.role() == Role::Connector {
        body["thingName"] = link.caller.identity.name().into();
    }
    if with_socket && online {
        body["sourceIp"] = link.caller.peer.to_string().into();
    }
    Ok(reply::json(StatusCode::OK, &body))
}

pub(super) fn delete(
    shared: &Arc<Shared>,
    caller: &Caller,
    client: &str,
    clean_session: bool,
    prevent_will: bool,
) -> Result<Response, Fault> {
    let link = find(shared, client)?;
    info!(by = %caller.identity, identity = %link.caller.identity, client, clean_session, prevent_will, "connection deleted");
    if link.is_online() {
        link.end(End::Deleted { keeps_session: !clean_session, says_will: !prevent_will });
    } else if clean_session {
        shared.sessions.discard_waiting(shared, &link, !prevent_will);
    }
    Ok(reply::empty(StatusCode::OK))
}

pub(super) fn subscriptions(shared: &Shared, client: &str, page: &Page) -> Result<Response, Fault> {
    let link = find(shared, client)?;
    let shares = link.shares();
    let shared_ones = shares.iter().map(|share| {
        let granted = share.group.granted(&link).unwrap_or_default();
        (share.subscribed.to_string(), granted)
    });
    let mut all: Vec<(String, Qos)> = link.granted_filters().into_iter().chain(shared_ones).collect();
    all.sort();
    let (part, next) = page.of(all, |(filter, _)| filter.as_str());
    let part: Vec<Value> = part
        .into_iter()
        .map(|(filter, qos)| json!({ "topicFilter": filter, "qos": u8::from(qos == Qos::AtLeastOnce) }))
        .collect();
    let mut body = json!({ "subscriptions": part });
    if let Some(next) = next {
        body["nextToken"] = next.into();
    }
    Ok(reply::json(StatusCode::OK, &body))
}

/// Sends a message to one client, subscribed or not.
pub(super) fn send(
    shared: &Shared,
    client: &str,
    topic: Box<str>,
    wish: Publish,
    confirmation: Option<Duration>,
    headers: &HeaderMap,
    payload: Bytes,
) -> Result<Response, Fault> {
    if confirmation.is_some() {
        return Err(Fault::new(Kind::Invalid, "confirmation is not offered here; leave it out"));
    }
    let message = message::read(shared, topic, wish, headers, payload)?;
    let link = find(shared, client)?;
    if !link.is_online() {
        let message = format!("client {client} is not connected, though its session waits; send it once it is back");
        return Err(Fault::new(Kind::NotFound, message));
    }
    link.tell(message);
    Ok(done())
}

/// The one session with this client id. Identities choose their client ids freely, so two may have the same: then none
/// is meant.
fn find(shared: &Shared, client: &str) -> Result<Arc<Link>, Fault> {
    let mut found = shared.sessions.of_client(client);
    match (found.pop(), found.len()) {
        (Some(link), 0) => Ok(link),
        (None, _) => Err(gone(client)),
        (Some(_), others) => {
            let message = format!("{} identities use the client id {client}; none is chosen", others + 1);
            Err(Fault::new(Kind::Invalid, message))
        }
    }
}

fn gone(client: &str) -> Fault {
    Fault::new(Kind::NotFound, format!("no client {client} is connected or has a session"))
}
