//! MQTT over WebSocket at `/mqtt`: the handshake, and then the session on what was an HTTP connection.

use super::reply::{Reply, Response};
use crate::bridge::Shared;
use crate::door::arrival::{first_packet, welcome};
use crate::door::protocol::Protocol;
use crate::door::visitor::Unknown;
use crate::door::websocket::WebSocket;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::header::{
    CONNECTION, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::upgrade::OnUpgrade;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use muster_bus::Caller;
use muster_wire::limits::CONNECT_DEADLINE;
use muster_wire::rejection::RejectionCode;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tracing::debug;

/// The path of MQTT over WebSocket, as in AWS IoT Core.
pub(super) const PATH: &str = "/mqtt";
/// The sub-protocol.
const MQTT: &str = "mqtt";

/// A connection that becomes a WebSocket, and who is behind it.
pub(super) struct Upgrade {
    on: OnUpgrade,
    caller: Caller,
}

/// Answers the handshake of a known client.
pub(super) fn handshake(mut request: Request<Incoming>, caller: Caller) -> Result<(Response, Upgrade), Reply> {
    let names = |header: HeaderName, wanted: &str| {
        let values = request.headers().get_all(header).into_iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|name| name.trim().eq_ignore_ascii_case(wanted))
    };
    if !(names(CONNECTION, "upgrade") && names(UPGRADE, "websocket") && names(SEC_WEBSOCKET_VERSION, "13")) {
        let message = "this path is MQTT over WebSocket: connect with a WebSocket client, version 13";
        return Err(Reply::with_status(StatusCode::UPGRADE_REQUIRED, RejectionCode::Invalid, message));
    }
    let key = request.headers().get(SEC_WEBSOCKET_KEY).filter(|_| names(SEC_WEBSOCKET_PROTOCOL, MQTT));
    let Some(key) = key else {
        let message = "the WebSocket must have a key and ask for the sub-protocol mqtt";
        return Err(Reply::with_status(StatusCode::BAD_REQUEST, RejectionCode::Invalid, message));
    };
    let accept = HeaderValue::try_from(derive_accept_key(key.as_bytes())).expect("base64 is a header value");
    let on = hyper::upgrade::on(&mut request);
    let mut response = Response::new(Empty::new().map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(MQTT));
    Ok((response, Upgrade { on, caller }))
}

/// Speaks MQTT on the connection to its end, with the deadlines of the plain door.
pub(super) async fn speak(shared: Arc<Shared>, upgrade: Upgrade, peer: IpAddr) {
    let stream = match upgrade.on.await {
        Ok(upgraded) => TokioIo::new(upgraded),
        Err(error) => return debug!(%peer, %error, "no WebSocket came of a connection"),
    };
    let mut socket = WebSocket::new(stream).await;
    let mut input = Vec::new();
    let read = first_packet(&shared, &mut socket, &mut input, Some(Protocol::Mqtt));
    let first = match timeout(CONNECT_DEADLINE, read).await {
        Ok(Ok(first)) => first,
        Ok(Err(error)) => return debug!(%peer, %error, "WebSocket lost before its first packet"),
        Err(_) => return debug!(%peer, "no CONNECT in time on a WebSocket"),
    };
    let caller = Caller { client_id: first.client_id(), ..upgrade.caller };
    let admitted = shared.gate.admits(&caller).map_err(Unknown::from);
    let caller = admitted.map(|()| caller);
    if let Some(session) = welcome(&shared, socket, peer, caller, first, input).await {
        Box::new(session).await;
    }
}
