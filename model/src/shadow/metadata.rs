//! When each leaf of a section was last set.
//!
//! Kept as bare numbers, sent as `{"timestamp": seconds}`. A field may itself be called `timestamp`, so the shape of
//! the sent form alone says nothing; the kept form has no such doubt.

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt;

/// Metadata of the fields of one object.
pub type MetadataMap = BTreeMap<String, Metadata>;

/// Times of one value; has the shape of the value. Its serde form is the stored one: number, array or object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Metadata {
    /// A scalar was set at this epoch second.
    Leaf(i64),
    /// One entry for each element.
    Array(Vec<Metadata>),
    /// One entry for each field.
    Object(MetadataMap),
}

impl Metadata {
    /// Leaves at and below this place.
    #[must_use]
    pub fn leaves(&self) -> usize {
        match self {
            Self::Leaf(_) => 1,
            Self::Array(elements) => elements.iter().map(Self::leaves).sum(),
            Self::Object(fields) => fields.values().map(Self::leaves).sum(),
        }
    }

    /// When the leaf that was set last was, in epoch seconds; `None` without a leaf.
    #[must_use]
    pub fn newest(&self) -> Option<i64> {
        match self {
            Self::Leaf(seconds) => Some(*seconds),
            Self::Array(elements) => elements.iter().filter_map(Self::newest).max(),
            Self::Object(fields) => fields.values().filter_map(Self::newest).max(),
        }
    }

    /// Every leaf of `value` was set at `seconds`.
    #[must_use]
    pub fn stamp(value: &Value, seconds: i64) -> Self {
        match value {
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Self::Leaf(seconds),
            Value::Array(items) => Self::Array(items.iter().map(|item| Self::stamp(item, seconds)).collect()),
            Value::Object(fields) => {
                Self::Object(fields.iter().map(|(key, field)| (key.clone(), Self::stamp(field, seconds))).collect())
            }
        }
    }
}

impl Serialize for Metadata {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Leaf(seconds) => serializer.serialize_i64(*seconds),
            Self::Array(items) => items.serialize(serializer),
            Self::Object(fields) => fields.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Stored;
        impl<'de> Visitor<'de> for Stored {
            type Value = Metadata;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, an array or an object")
            }
            fn visit_i64<E: serde::de::Error>(self, seconds: i64) -> Result<Metadata, E> {
                Ok(Metadata::Leaf(seconds))
            }
            fn visit_u64<E: serde::de::Error>(self, seconds: u64) -> Result<Metadata, E> {
                i64::try_from(seconds).map(Metadata::Leaf).map_err(E::custom)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Metadata, A::Error> {
                let mut array = Vec::new();
                while let Some(item) = items.next_element()? {
                    array.push(item);
                }
                Ok(Metadata::Array(array))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Metadata, A::Error> {
                let mut object = MetadataMap::new();
                while let Some((key, field)) = fields.next_entry()? {
                    object.insert(key, field);
                }
                Ok(Metadata::Object(object))
            }
        }
        deserializer.deserialize_any(Stored)
    }
}

/// The sent form of kept metadata.
pub(super) struct Sent<'a>(pub &'a Metadata);

impl Serialize for Sent<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Metadata::Leaf(seconds) => Stamp { timestamp: *seconds }.serialize(serializer),
            Metadata::Array(items) => {
                let mut sequence = serializer.serialize_seq(Some(items.len()))?;
                items.iter().try_for_each(|item| sequence.serialize_element(&Sent(item)))?;
                sequence.end()
            }
            Metadata::Object(fields) => SentMap(fields).serialize(serializer),
        }
    }
}

/// The sent form of the metadata of a section.
pub(super) struct SentMap<'a>(pub &'a MetadataMap);

impl Serialize for SentMap<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        self.0.iter().try_for_each(|(key, field)| map.serialize_entry(key, &Sent(field)))?;
        map.end()
    }
}

/// The sent form of the metadata of a value whose leaves were all set at one time; nothing is built for it.
pub(super) struct StampedNow<'a> {
    pub value: &'a Value,
    pub seconds: i64,
}

impl Serialize for StampedNow<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let seconds = self.seconds;
        match self.value {
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                Stamp { timestamp: seconds }.serialize(serializer)
            }
            Value::Array(items) => {
                let mut sequence = serializer.serialize_seq(Some(items.len()))?;
                items.iter().try_for_each(|value| sequence.serialize_element(&StampedNow { value, seconds }))?;
                sequence.end()
            }
            Value::Object(fields) => StampedMapNow { fields, seconds }.serialize(serializer),
        }
    }
}

/// As [`StampedNow`], for the fields of an object.
pub(super) struct StampedMapNow<'a> {
    pub fields: &'a Map<String, Value>,
    pub seconds: i64,
}

impl Serialize for StampedMapNow<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.fields.len()))?;
        self.fields
            .iter()
            .try_for_each(|(key, value)| map.serialize_entry(key, &StampedNow { value, seconds: self.seconds }))?;
        map.end()
    }
}

/// The sent form of one leaf.
#[derive(Serialize)]
pub(super) struct Stamp {
    pub timestamp: i64,
}
