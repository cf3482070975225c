//! Reading requests. The order of the checks is the order in which a request with several faults is refused.

use super::document::json_bytes;
use muster_wire::codec::{DecodeError, Encoding, json_depth};
use muster_wire::limits::{CLIENT_TOKEN_BYTES_MAX, SHADOW_DEPTH_MAX, SHADOW_DEPTH_SETTING_MAX};
use muster_wire::shadow::ShadowError;
use serde::Serialize;
use serde_json::{Map, Value};

/// A checked update request.
#[derive(Clone, Debug, PartialEq)]
pub struct UpdateRequest {
    pub(super) state: StatePatch,
    pub(super) version: Option<u64>,
    pub(super) client_token: Option<String>,
}

/// What happens to the whole state. Its serde form is `state` as it was sent.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub(super) enum StatePatch {
    /// `null`: nothing stays.
    Clear,
    /// Each section by itself.
    Sections {
        #[serde(skip_serializing_if = "SectionPatch::is_keep")]
        desired: SectionPatch,
        #[serde(skip_serializing_if = "SectionPatch::is_keep")]
        reported: SectionPatch,
    },
}

/// What happens to one section.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub(super) enum SectionPatch {
    /// The request does not name it.
    Keep,
    /// `null`: the section goes.
    Clear,
    /// These fields are merged.
    Merge(Map<String, Value>),
}

impl UpdateRequest {
    /// The request's token.
    #[must_use]
    pub fn client_token(&self) -> Option<&str> {
        self.client_token.as_deref()
    }

    /// The version that the shadow must have, when the sender cares.
    #[must_use]
    pub fn version(&self) -> Option<u64> {
        self.version
    }

    /// A request from a value of the shape `{"state": …, "version"?, "clientToken"?}`.
    ///
    /// Errors: as [`parse_update`], with the token when it could be read.
    pub fn from_value(value: Value) -> Result<Self, (ShadowError, Option<String>)> {
        Self::within(value, SHADOW_DEPTH_MAX)
    }

    fn within(value: Value, depth_max: usize) -> Result<Self, (ShadowError, Option<String>)> {
        let Value::Object(mut fields) = value else { return Err((bad("Invalid JSON"), None)) };
        let client_token = token_of(fields.remove("clientToken")).map_err(|error| (error, None))?;
        let checked = fields
            .remove("state")
            .ok_or_else(|| bad("Missing required node: state"))
            .and_then(|state| StatePatch::from_value(state, depth_max))
            .and_then(|state| Ok((state, version_of(fields.remove("version"))?)));
        match checked {
            Ok((state, version)) => Ok(Self { state, version, client_token }),
            Err(error) => Err((error, client_token)),
        }
    }
}

impl StatePatch {
    fn from_value(value: Value, depth_max: usize) -> Result<Self, ShadowError> {
        let mut fields = match value {
            Value::Null => return Ok(Self::Clear),
            Value::Object(fields) => fields,
            _ => return Err(bad("State node must be an object")),
        };
        let desired = SectionPatch::from_value(fields.remove("desired"), "Desired node must be an object")?;
        let reported = SectionPatch::from_value(fields.remove("reported"), "Reported node must be an object")?;
        if !fields.is_empty() {
            return Err(bad("State contains an invalid node"));
        }
        for section in [&desired, &reported] {
            if let SectionPatch::Merge(fields) = section {
                Depth { most: depth_max }.check_fields(fields, 1, 1)?;
            }
        }
        Ok(Self::Sections { desired, reported })
    }

    /// Size as compact JSON.
    pub(super) fn bytes(&self) -> usize {
        json_bytes(self)
    }
}

impl SectionPatch {
    fn from_value(value: Option<Value>, message: &'static str) -> Result<Self, ShadowError> {
        match value {
            None => Ok(Self::Keep),
            Some(Value::Null) => Ok(Self::Clear),
            Some(Value::Object(fields)) => Ok(Self::Merge(fields)),
            Some(_) => Err(bad(message)),
        }
    }

    fn is_keep(&self) -> bool {
        matches!(self, Self::Keep)
    }
}

/// Reads an update request, with at most `depth_max` levels of objects below `desired` and `reported`.
///
/// Errors: the literal ones of AWS IoT, with the request's token when it could be read. Of several faults the first in
/// this order counts: UTF-8, JSON, client token, `state`, its sections, other nodes, nesting, version. What no reader
/// would take, since it is nested so deep, is refused for its nesting.
/// A CBOR number that JSON does not have (NaN, infinity) is refused like a number past all bounds in JSON.
pub fn parse_update(
    payload: &[u8],
    encoding: Encoding,
    depth_max: usize,
) -> Result<UpdateRequest, (ShadowError, Option<String>)> {
    match encoding.decode::<Value>(payload) {
        Ok(value) => UpdateRequest::within(value, depth_max),
        Err(DecodeError::NotUtf8) => {
            // "documented" is how AWS spells it.
            Err((ShadowError::new(415, "Unsupported documented encoding; supported encoding is UTF-8"), None))
        }
        // A whole object, beside whose token something is too deep to be read, or is no value: a number past all bounds,
        // half a surrogate pair, a CBOR key that is no text.
        Err(error @ (DecodeError::Malformed(_) | DecodeError::NotFinite | DecodeError::Shape)) => {
            match encoding.client_token(payload).map(token_of) {
                Ok(Ok(token)) if encoding == Encoding::Json && json_depth(payload) > CONTAINERS_MAX => {
                    Err((too_deep(depth_max), token))
                }
                Ok(Ok(token)) if error == DecodeError::NotFinite => {
                    Err((bad("Invalid JSON: a number is infinite or not a number"), token))
                }
                Ok(Ok(token)) => Err((bad("Invalid JSON"), token)),
                Ok(Err(error)) => Err((error, None)),
                Err(_) => Err((bad("Invalid JSON"), None)),
            }
        }
    }
}

/// The client token of a get or delete request. What cannot be read counts as empty: AWS ignores the content of these.
///
/// Errors: `Invalid clientToken`.
pub fn parse_token(payload: &[u8], encoding: Encoding) -> Result<Option<String>, ShadowError> {
    encoding.client_token(payload).map_or(Ok(None), token_of)
}

fn token_of(value: Option<Value>) -> Result<Option<String>, ShadowError> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(token)) if token.len() <= CLIENT_TOKEN_BYTES_MAX => Ok(Some(token)),
        Some(_) => Err(bad("Invalid clientToken")),
    }
}

fn version_of(value: Option<Value>) -> Result<Option<u64>, ShadowError> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value.as_u64().map(Some).ok_or_else(|| bad("Invalid version")),
    }
}

/// Most objects and arrays around one value. Arrays do not count as levels of nesting, but what is accepted must stay
/// readable for every JSON reader, also when stored and inside longer messages; the tightest common one stops at 128.
const CONTAINERS_MAX: usize = 100;
const _: () = assert!(SHADOW_DEPTH_MAX <= SHADOW_DEPTH_SETTING_MAX && SHADOW_DEPTH_SETTING_MAX < CONTAINERS_MAX);

/// How deep a section may be nested.
#[derive(Clone, Copy)]
struct Depth {
    most: usize,
}

impl Depth {
    /// `level` counts the objects, `containers` the objects and arrays around the fields.
    fn check_fields(self, fields: &Map<String, Value>, level: usize, containers: usize) -> Result<(), ShadowError> {
        if !fields.is_empty() && (level > self.most || containers > CONTAINERS_MAX) {
            return Err(too_deep(self.most));
        }
        fields.values().try_for_each(|value| self.check(value, level + 1, containers + 1))
    }

    fn check(self, value: &Value, level: usize, containers: usize) -> Result<(), ShadowError> {
        match value {
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
            Value::Object(fields) => self.check_fields(fields, level, containers),
            Value::Array(_) if containers > CONTAINERS_MAX => Err(too_deep(self.most)),
            Value::Array(items) => items.iter().try_for_each(|item| match item {
                // Refused by AWS, in words that are not documented.
                Value::Null => Err(bad("Invalid JSON")),
                other => self.check(other, level, containers + 1),
            }),
        }
    }
}

fn too_deep(most: usize) -> ShadowError {
    ShadowError::new(400, format!("JSON contains too many levels of nesting; maximum is {most}"))
}

fn bad(message: &'static str) -> ShadowError {
    ShadowError::new(400, message)
}
