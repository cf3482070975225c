//! GetRetainedMessage, ListRetainedMessages.

use super::fault::{Fault, Kind};
use super::message::user_properties_text;
use crate::bridge::Shared;
use crate::http::reply::{self, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use muster_bus::Qos;
use muster_wire::plane::Page;
use serde_json::{Value, json};

pub(super) fn one(shared: &Shared, topic: &str) -> Result<Response, Fault> {
    let stored = shared.sessions.applications.retained_with_time(topic, shared.clock.now());
    let Some((message, at)) = stored else {
        return Err(Fault::new(Kind::NotFound, format!("there is no retained message on {topic}")));
    };
    let mut body = json!({
        "topic": message.topic,
        "payload": STANDARD.encode(&message.payload),
        "qos": qos(message.qos),
        "lastModifiedTime": at.millis(),
    });
    if let Some(user) = message.properties.as_deref().and_then(user_properties_text) {
        body["userProperties"] = user.into();
    }
    Ok(reply::json(StatusCode::OK, &body))
}

pub(super) fn list(shared: &Shared, page: &Page) -> Response {
    let after = page.after.as_deref();
    // One more than asked for shows whether there is more.
    let stored = shared.sessions.applications.retained_after(after, page.size + 1, shared.clock.now());
    let (part, next) = page.of(stored, |(message, _)| &message.topic);
    let topics: Vec<Value> = part
        .iter()
        .map(|(message, at)| {
            json!({
                "topic": message.topic,
                "payloadSize": message.payload.len(),
                "qos": qos(message.qos),
                "lastModifiedTime": at.millis(),
            })
        })
        .collect();
    let mut body = json!({ "retainedTopics": topics });
    if let Some(next) = next {
        body["nextToken"] = next.into();
    }
    reply::json(StatusCode::OK, &body)
}

fn qos(qos: Qos) -> u8 {
    match qos {
        Qos::AtMostOnce => 0,
        Qos::AtLeastOnce => 1,
    }
}
