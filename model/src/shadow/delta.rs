//! Where `desired` differs from `reported`.

use super::document::ShadowDoc;
use super::metadata::{Metadata, MetadataMap, Sent};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Map, Number, Value};

/// The differing fields of one object: views into the document, nothing is copied. Never empty.
pub(super) struct Delta<'a>(Vec<(&'a str, Part<'a>)>);

enum Part<'a> {
    /// The field is missing or different: the wanted value, and when it was set.
    Whole { value: &'a Value, metadata: Option<&'a Metadata> },
    /// Both are objects that differ inside.
    Inside(Delta<'a>),
}

impl<'a> Delta<'a> {
    /// The difference of a document; nothing when `reported` has all that `desired` asks for.
    pub fn of(doc: &'a ShadowDoc) -> Option<Self> {
        let desired = doc.desired.as_ref()?;
        Self::between(&desired.values, doc.reported(), Some(&desired.metadata))
    }

    fn between(
        desired: &'a Map<String, Value>,
        reported: Option<&'a Map<String, Value>>,
        metadata: Option<&'a MetadataMap>,
    ) -> Option<Self> {
        let mut parts = Vec::new();
        for (key, wanted) in desired {
            let stamps = metadata.and_then(|fields| fields.get(key));
            let part = match (wanted, reported.and_then(|fields| fields.get(key))) {
                (Value::Object(wanted), Some(Value::Object(found))) => {
                    let stamps = match stamps {
                        Some(Metadata::Object(fields)) => Some(fields),
                        Some(Metadata::Leaf(_) | Metadata::Array(_)) | None => None,
                    };
                    Self::between(wanted, Some(found), stamps).map(Part::Inside)
                }
                (value, Some(found)) if same(value, found) => None,
                (value, Some(_) | None) => Some(Part::Whole { value, metadata: stamps }),
            };
            parts.extend(part.map(|part| (key.as_str(), part)));
        }
        (!parts.is_empty()).then_some(Self(parts))
    }
}

/// Equality of JSON values. Numbers are equal when their values are (`1` and `1.0`), as in Greengrass.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => same_number(one, other),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(key, one)| other.get(key).is_some_and(|other| same(one, other)))
        }
        (one, other) => one == other,
    }
}

fn same_number(one: &Number, other: &Number) -> bool {
    match (integer(one), integer(other)) {
        (Some(one), Some(other)) => one == other,
        (None, None) => one.as_f64() == other.as_f64(),
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// The exact value of a number without a fraction. Past 2^100 a number is a float anyway and compares as one.
fn integer(number: &Number) -> Option<i128> {
    if let Some(signed) = number.as_i64() {
        return Some(signed.into());
    }
    if let Some(unsigned) = number.as_u64() {
        return Some(unsigned.into());
    }
    let float = number.as_f64()?;
    #[allow(clippy::cast_possible_truncation, reason = "checked: no fraction, and far inside the range of i128")]
    (float.fract() == 0.0 && float.abs() < 2f64.powi(100)).then_some(float as i128)
}

/// The wanted values of a delta.
pub(super) struct DeltaState<'a>(pub &'a Delta<'a>);

impl Serialize for DeltaState<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let parts = &self.0.0;
        let mut map = serializer.serialize_map(Some(parts.len()))?;
        for (key, part) in parts {
            match part {
                Part::Whole { value, .. } => map.serialize_entry(key, value)?,
                Part::Inside(delta) => map.serialize_entry(key, &DeltaState(delta))?,
            }
        }
        map.end()
    }
}

/// When the wanted values of a delta were set.
pub(super) struct DeltaMetadata<'a>(pub &'a Delta<'a>);

impl Serialize for DeltaMetadata<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (key, part) in &self.0.0 {
            match part {
                Part::Whole { metadata: Some(metadata), .. } => map.serialize_entry(key, &Sent(metadata))?,
                // Only a damaged document lacks the time of a value.
                Part::Whole { metadata: None, .. } => {}
                Part::Inside(delta) => map.serialize_entry(key, &DeltaMetadata(delta))?,
            }
        }
        map.end()
    }
}
