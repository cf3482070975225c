//! GetThingShadow, UpdateThingShadow, DeleteThingShadow, ListNamedShadowsForThing.

use super::ask::{Hears, ask, submit, wait};
use super::fault::{Fault, Kind};
use crate::bridge::Shared;
use crate::http::reply::{self, Response};
use bytes::Bytes;
use hyper::StatusCode;
use muster_bus::{Caller, Inbound};
use muster_wire::codec::Encoding;
use muster_wire::id::{ShadowName, ThingName};
use muster_wire::plane::Page;
use muster_wire::topic::{ShadowTopic, ShadowVerb, Topic};
use serde_json::json;
use std::sync::Arc;
use tokio::sync::oneshot;

pub(super) async fn one(
    shared: &Shared,
    caller: Arc<Caller>,
    thing: ThingName,
    shadow: Option<ShadowName>,
    verb: ShadowVerb,
    payload: Bytes,
) -> Result<Response, Fault> {
    if Encoding::of(&payload) != Encoding::Json {
        // What begins like CBOR is no UTF-8; the text is that of AWS.
        return Err(Fault::new(Kind::Encoding, "Unsupported documented encoding; supported encoding is UTF-8"));
    }
    let topic = Topic::Shadow { thing, shadow, verb: ShadowTopic::Request(verb) };
    let answer = ask(shared, caller, topic, payload, Hears::Answers).await?;
    let message = answer.direct.into_iter().next().ok_or_else(Fault::failed)?;
    match Topic::parse(&message.topic) {
        Ok(Topic::Shadow { verb: ShadowTopic::Accepted(_), .. }) => {
            Ok(reply::json_bytes(StatusCode::OK, message.payload.clone()))
        }
        _ => Err(Fault::of_shadow(&message.payload)),
    }
}

pub(super) async fn list(shared: &Shared, thing: ThingName, page: &Page) -> Result<Response, Fault> {
    let (reply, answer) = oneshot::channel();
    submit(shared, Inbound::Shadows { thing, reply }).await?;
    let names = wait(answer).await?.map_err(|_| Fault::failed())?;
    let (results, next) = page.of(names, ShadowName::as_str);
    let mut body = json!({ "results": results, "timestamp": shared.clock.now().epoch_seconds() });
    if let Some(next) = next {
        body["nextToken"] = next.into();
    }
    Ok(reply::json(StatusCode::OK, &body))
}
