//! Reading the payloads of requests.

use super::refusal::Refusal;
use muster_wire::codec::Encoding;
use muster_wire::limits::CLIENT_TOKEN_BYTES_MAX;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Reads a request; an empty payload is an empty object.
///
/// Errors: `InvalidJson` when it does not parse or is not an object, `InvalidRequest` when a field is missing or wrong.
pub fn parse<T: DeserializeOwned>(payload: &[u8], encoding: Encoding) -> Result<T, Refusal> {
    let fields = match decode(payload, encoding) {
        Ok(Value::Object(fields)) => fields,
        Ok(_) => return Err(Refusal::invalid_json("The payload is not an object")),
        Err(()) => return Err(Refusal::invalid_json("The payload is not valid JSON")),
    };
    if fields.get("clientToken").and_then(Value::as_str).is_some_and(|token| token.len() > CLIENT_TOKEN_BYTES_MAX) {
        return Err(Refusal::invalid_request(format!("clientToken is longer than {CLIENT_TOKEN_BYTES_MAX} bytes")));
    }
    serde_json::from_value(Value::Object(fields)).map_err(|error| {
        // The reader's words may quote the request, which is as long as the sender likes.
        let message: String = error.to_string().chars().take(MESSAGE_CHARS_MAX).collect();
        Refusal::invalid_request(message)
    })
}

/// The client token, to be echoed in a refusal, of a request that may be wrong otherwise.
#[must_use]
pub fn client_token_of(payload: &[u8], encoding: Encoding) -> Option<String> {
    match decode(payload, encoding).ok()?.get_mut("clientToken")?.take() {
        Value::String(token) if token.len() <= CLIENT_TOKEN_BYTES_MAX => Some(token),
        _ => None,
    }
}

fn decode(payload: &[u8], encoding: Encoding) -> Result<Value, ()> {
    if payload.is_empty() {
        return Ok(Value::Object(Map::new()));
    }
    encoding.decode(payload).map_err(drop)
}

/// Enough for every message of the reader about a request of sane size.
const MESSAGE_CHARS_MAX: usize = 256;
