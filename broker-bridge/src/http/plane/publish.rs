//! Publish.

use super::ask::{ANSWER_DEADLINE, Hears, ask};
use super::fault::{Fault, Kind};
use super::message;
use crate::application::retained;
use crate::bridge::Shared;
use crate::counters::count;
use crate::http::reply::{self, Response};
use bytes::Bytes;
use hyper::{HeaderMap, StatusCode};
use muster_bus::{Caller, Deliveries, Message, NotRetained, Stopped};
use muster_runtime::ids::random_hex;
use muster_wire::plane::Publish;
use muster_wire::topic::Topic;
use serde_json::json;
use std::sync::Arc;
use tokio::time::timeout;
use tracing::info;

/// Hands a message to those who want it, or a request to its service.
pub(super) async fn publish(
    shared: &Shared,
    caller: Arc<Caller>,
    topic: Box<str>,
    wish: Publish,
    headers: &HeaderMap,
    payload: Bytes,
) -> Result<Response, Fault> {
    count(&shared.counters.published);
    let parsed = message::topic(&topic)?;
    let message = message::read(shared, topic, wish, headers, payload)?;
    if let Topic::Application(_) = parsed {
        if !shared.mqtt.fits(&message.topic) {
            return Err(Fault::new(Kind::Invalid, "the topic is longer or deeper than this server takes"));
        }
        if message.retain {
            return retain(shared, &caller, message).await;
        }
        shared.bus.spread(&Arc::new(message));
        return Ok(done());
    }
    let Some(thing) = parsed.thing().cloned() else {
        return Err(Fault::new(Kind::Forbidden, "Forbidden"));
    };
    if message.retain {
        return Err(Fault::new(Kind::Invalid, "messages on topics of the service cannot be retained"));
    }
    if let Topic::Elsewhere { .. } = parsed {
        return Ok(done());
    }
    let payload = message.payload.clone();
    if !matches!(parsed, Topic::Telemetry { .. }) && shared.bus.wanted(&thing, &message.topic) {
        // A request is a publish like any other: who subscribed to its topic gets it.
        shared.bus.deliver(&thing, &Arc::new(message));
    }
    let answer = ask(shared, caller, parsed, payload, Hears::Topics).await?;
    for message in &answer.direct {
        // There is no connection that it could be told to, so everybody who listens there hears it.
        shared.bus.deliver(&thing, message);
    }
    Ok(done())
}

/// Has the service keep a message and send it. The answer says that it is durable.
async fn retain(shared: &Shared, caller: &Caller, message: Message) -> Result<Response, Fault> {
    let topic = message.topic.clone();
    let outcome = match retained::retain(shared, message) {
        Ok(outcome) => timeout(ANSWER_DEADLINE, outcome).await.unwrap_or(Err(NotRetained::Failed)),
        Err(Stopped) => return Err(Fault::new(Kind::Unavailable, "the server is shutting down; try again")),
    };
    outcome.map(|()| done()).map_err(|error| {
        count(&shared.counters.retained_refused);
        info!(identity = %caller.identity, %topic, %error, "not retained");
        match error {
            NotRetained::Full => Fault::new(Kind::Throttled, error.to_string()),
            NotRetained::Failed => Fault::failed(),
        }
    })
}

/// The answer to a publish. AWS's model has no form for it; this is what its service was seen to say.
pub(super) fn done() -> Response {
    reply::json(StatusCode::OK, &json!({ "message": "OK", "traceId": random_hex::<16>() }))
}
