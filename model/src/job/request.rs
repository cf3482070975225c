//! Reading the payloads of requests.

use super::refusal::Refusal;
use muster_wire::codec::{DecodeError, Encoding};
use muster_wire::job::{JobStatus, StatusDetails};
use muster_wire::limits::CLIENT_TOKEN_BYTES_MAX;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Reads a request; an empty payload is an empty object.
///
/// Errors: `InvalidJson` when it does not parse or is not an object, `InvalidRequest` when a field is missing or wrong.
pub fn parse<T: DeserializeOwned>(payload: &[u8], encoding: Encoding) -> Result<T, Refusal> {
    let fields = match decode(payload, encoding) {
        Ok(Value::Object(fields)) => fields,
        Ok(_) => return Err(Refusal::invalid_json("The payload is not an object")),
        Err(DecodeError::NotFinite) => {
            return Err(Refusal::invalid_json("A number of the payload is infinite or not a number"));
        }
        Err(_) => return Err(Refusal::invalid_json("The payload is not valid JSON")),
    };
    if fields.get("clientToken").and_then(Value::as_str).is_some_and(|token| token.len() > CLIENT_TOKEN_BYTES_MAX) {
        return Err(Refusal::invalid_request(format!("clientToken is longer than {CLIENT_TOKEN_BYTES_MAX} bytes")));
    }
    serde_json::from_value(Value::Object(fields.clone())).map_err(|_| Refusal::invalid_request(fault_of(&fields)))
}

/// What is wrong with the fields of a request that could not be read. Quotes nothing of it.
fn fault_of(fields: &Map<String, Value>) -> String {
    for (name, fits, must) in RULES {
        if fields.get(*name).is_some_and(|value| !value.is_null() && !fits(value)) {
            return format!("{name} must be {must}");
        }
    }
    format!("status is missing; it must be {STATUSES}")
}

type Rule = (&'static str, fn(&Value) -> bool, &'static str);

const STATUSES: &str = "IN_PROGRESS, SUCCEEDED, FAILED or REJECTED";

/// What the fields of all requests must be.
const RULES: &[Rule] = &[
    ("clientToken", Value::is_string, "a text"),
    ("status", |value| JobStatus::deserialize(value).is_ok(), STATUSES),
    ("statusDetails", |value| StatusDetails::deserialize(value).is_ok(), "an object of texts"),
    ("expectedVersion", is_version, "a whole number, 0 or more, or such a number as a text"),
    ("executionNumber", Value::is_u64, "a whole number, 0 or more"),
    ("stepTimeoutInMinutes", Value::is_i64, "a whole number"),
    ("includeJobExecutionState", Value::is_boolean, "true or false"),
    ("includeJobDocument", Value::is_boolean, "true or false"),
];

fn is_version(value: &Value) -> bool {
    value.is_u64() || value.as_str().is_some_and(|text| text.parse::<u64>().is_ok())
}

/// The client token, to be echoed in a refusal, of a request that may be wrong otherwise.
#[must_use]
pub fn client_token_of(payload: &[u8], encoding: Encoding) -> Option<String> {
    match encoding.client_token(payload) {
        Ok(Some(Value::String(token))) if token.len() <= CLIENT_TOKEN_BYTES_MAX => Some(token),
        _ => None,
    }
}

fn decode(payload: &[u8], encoding: Encoding) -> Result<Value, DecodeError> {
    if payload.is_empty() {
        return Ok(Value::Object(Map::new()));
    }
    encoding.decode(payload)
}
