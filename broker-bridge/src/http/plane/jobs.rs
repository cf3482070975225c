//! `iot-jobs-data`: the device side of jobs. Over HTTP a job document is a text, and there is no token and no time of
//! the answer.

use super::ask::{Hears, ask};
use super::fault::{Fault, Kind};
use crate::bridge::Shared;
use crate::http::reply::{self, Response};
use bytes::Bytes;
use hyper::StatusCode;
use muster_bus::Caller;
use muster_wire::codec::Encoding;
use muster_wire::id::ThingName;
use muster_wire::job::DescribeRequest;
use muster_wire::topic::{JobsTopic, JobsVerb, Topic};
use serde_json::Value;
use std::sync::Arc;

pub(super) async fn one(
    shared: &Shared,
    caller: Arc<Caller>,
    thing: ThingName,
    verb: JobsVerb,
    describe: &DescribeRequest,
    payload: Bytes,
) -> Result<Response, Fault> {
    if Encoding::of(&payload) != Encoding::Json {
        return Err(Fault::new(Kind::Invalid, "the body is not JSON"));
    }
    let payload = match verb {
        JobsVerb::Describe(_) => Encoding::Json.encode(describe).into(),
        _ => payload,
    };
    let topic = Topic::Jobs { thing: thing.clone(), verb: JobsTopic::Request(verb) };
    let answer = ask(shared, caller, topic, payload, Hears::Answers).await?;
    let message = answer.direct.into_iter().next().ok_or_else(Fault::failed)?;
    if !matches!(Topic::parse(&message.topic), Ok(Topic::Jobs { verb: JobsTopic::Accepted(_), .. })) {
        return Err(Fault::of_job(&message.payload));
    }
    let answer = serde_json::from_slice(&message.payload).map_err(|_| Fault::failed())?;
    Ok(reply::json(StatusCode::OK, &over_http(answer, &thing)))
}

/// The answer as HTTP clients read it.
fn over_http(mut answer: Value, thing: &ThingName) -> Value {
    if let Some(fields) = answer.as_object_mut() {
        fields.remove("timestamp");
        fields.remove("clientToken");
    }
    if let Some(execution) = answer.get_mut("execution") {
        execution["thingName"] = thing.as_str().into();
        as_text(execution);
    }
    as_text(&mut answer);
    answer
}

fn as_text(value: &mut Value) {
    if let Some(document) = value.get_mut("jobDocument") {
        *document = document.to_string().into();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn documents_are_texts_and_nothing_of_mqtt_is_left() {
        let thing = ThingName::new("t").unwrap();
        let answer =
            json!({ "execution": { "jobId": "j", "jobDocument": { "a": 1 } }, "timestamp": 5, "clientToken": "x" });
        let wanted = json!({ "execution": { "jobId": "j", "thingName": "t", "jobDocument": "{\"a\":1}" } });
        assert_eq!(over_http(answer, &thing), wanted);
        let update = json!({ "jobDocument": { "b": [] }, "executionState": { "versionNumber": 2 }, "timestamp": 5 });
        let wanted = json!({ "jobDocument": "{\"b\":[]}", "executionState": { "versionNumber": 2 } });
        assert_eq!(over_http(update, &thing), wanted);
        assert_eq!(over_http(json!({ "timestamp": 5 }), &thing), json!({}), "nothing is pending");
    }
}
