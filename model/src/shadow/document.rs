//! The stored document of one shadow, and how a patch is merged into it.

use super::metadata::{Metadata, MetadataMap};
use super::request::{SectionPatch, StatePatch};
use muster_wire::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::io;

/// One shadow: what is wanted, what was said, when each leaf was set, and the version.
///
/// The serde form is the stored one and needs a self-describing format (JSON, CBOR). [`Default`] is a shadow that never
/// existed. Of a deleted shadow version and time are left for a while, so that its version goes on when it is made again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ShadowDoc {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) desired: Option<Section>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) reported: Option<Section>,
    pub(super) version: u64,
    pub(super) live: bool,
    pub(super) updated_at: Timestamp,
}

/// The fields of `desired` or `reported`; never without a field.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Section {
    pub values: Map<String, Value>,
    pub metadata: MetadataMap,
}

impl ShadowDoc {
    /// A shadow that was deleted at `at` and left this version.
    #[must_use]
    pub fn deleted(version: u64, at: Timestamp) -> Self {
        Self { version, updated_at: at, ..Self::default() }
    }

    /// What is wanted; absent when nothing is.
    #[must_use]
    pub fn desired(&self) -> Option<&Map<String, Value>> {
        self.desired.as_ref().map(|section| &section.values)
    }

    /// What the device said; absent when it said nothing.
    #[must_use]
    pub fn reported(&self) -> Option<&Map<String, Value>> {
        self.reported.as_ref().map(|section| &section.values)
    }

    /// When each leaf of `desired` was set.
    #[must_use]
    pub fn desired_metadata(&self) -> Option<&MetadataMap> {
        self.desired.as_ref().map(|section| &section.metadata)
    }

    /// When each leaf of `reported` was set.
    #[must_use]
    pub fn reported_metadata(&self) -> Option<&MetadataMap> {
        self.reported.as_ref().map(|section| &section.metadata)
    }

    /// Version of the last accepted change; 0 before the first. A tombstone has one too.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Whether the shadow exists: it was made and not deleted since.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// When the last change was accepted.
    #[must_use]
    pub fn updated_at(&self) -> Timestamp {
        self.updated_at
    }

    /// When the device last said something that stands, to the second; `None` when it said nothing. What others want of
    /// it does not count.
    #[must_use]
    pub fn reported_at(&self) -> Option<Timestamp> {
        let newest = self.reported_metadata()?.values().filter_map(Metadata::newest).max()?;
        // A change that is the device's own is known to the millisecond.
        Some(match Timestamp::from_seconds(newest) {
            second if second.epoch_seconds() == self.updated_at.epoch_seconds() => self.updated_at,
            second => second,
        })
    }

    /// Size of `desired` and `reported` together as compact JSON: what the limit is about.
    #[must_use]
    pub fn state_bytes(&self) -> usize {
        #[derive(Serialize)]
        struct State<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            desired: Option<&'a Map<String, Value>>,
            #[serde(skip_serializing_if = "Option::is_none")]
            reported: Option<&'a Map<String, Value>>,
        }
        json_bytes(&State { desired: self.desired(), reported: self.reported() })
    }

    /// Values below `desired` and `reported` together: each has a time in the metadata.
    #[must_use]
    pub fn leaves(&self) -> usize {
        let sections = [self.desired_metadata(), self.reported_metadata()];
        sections.into_iter().flatten().flat_map(MetadataMap::values).map(Metadata::leaves).sum()
    }

    /// Merges `patch`; the leaves it names are stamped with `seconds`.
    pub(super) fn merge(&mut self, patch: &StatePatch, seconds: i64) {
        match patch {
            StatePatch::Clear => (self.desired, self.reported) = (None, None),
            StatePatch::Sections { desired, reported } => {
                merge_section(&mut self.desired, desired, seconds);
                merge_section(&mut self.reported, reported, seconds);
            }
        }
    }
}

/// Size of `value` as compact JSON, without making the JSON.
pub(super) fn json_bytes<T: Serialize>(value: &T) -> usize {
    struct Counter(usize);
    impl io::Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut counter = Counter(0);
    serde_json::to_writer(&mut counter, value)
        .expect("JSON values with string keys serialise, and counting cannot fail");
    counter.0
}

fn merge_section(section: &mut Option<Section>, patch: &SectionPatch, seconds: i64) {
    match patch {
        SectionPatch::Keep => {}
        SectionPatch::Clear => *section = None,
        SectionPatch::Merge(fields) => {
            let stored = section.get_or_insert_default();
            merge_fields(&mut stored.values, &mut stored.metadata, fields, seconds);
            if stored.values.is_empty() {
                *section = None;
            }
        }
    }
}

/// `null` removes a field, an object is merged into an object, everything else replaces what was there; arrays whole.
///
/// An object that loses its last field stays as `{}`. An object of nothing but nulls, sent for a field that does not
/// exist, stores nothing (AWS does not say; Greengrass does the same).
fn merge_fields(values: &mut Map<String, Value>, metadata: &mut MetadataMap, patch: &Map<String, Value>, seconds: i64) {
    for (key, change) in patch {
        match change {
            Value::Null => {
                values.remove(key);
                metadata.remove(key);
            }
            Value::Object(fields) => match values.get_mut(key) {
                Some(Value::Object(stored)) => merge_fields(stored, object_at(metadata, key), fields, seconds),
                replaced => {
                    let is_new = replaced.is_none();
                    let (mut fresh, mut stamps) = (Map::new(), MetadataMap::new());
                    merge_fields(&mut fresh, &mut stamps, fields, seconds);
                    if is_new && fresh.is_empty() && !fields.is_empty() {
                        continue;
                    }
                    values.insert(key.clone(), Value::Object(fresh));
                    metadata.insert(key.clone(), Metadata::Object(stamps));
                }
            },
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                let stamp = Metadata::stamp(change, seconds);
                // Most updates set a field that is there already; then its name need not be copied.
                match (values.get_mut(key), metadata.get_mut(key)) {
                    (Some(value), Some(stamps)) => (*value, *stamps) = (change.clone(), stamp),
                    _ => {
                        values.insert(key.clone(), change.clone());
                        metadata.insert(key.clone(), stamp);
                    }
                }
            }
        }
    }
}

/// The metadata of the object at `key`.
fn object_at<'a>(metadata: &'a mut MetadataMap, key: &str) -> &'a mut MetadataMap {
    let entry = metadata.entry(key.to_owned()).or_insert_with(|| Metadata::Object(MetadataMap::new()));
    if !matches!(entry, Metadata::Object(_)) {
        *entry = Metadata::Object(MetadataMap::new());
    }
    match entry {
        Metadata::Object(fields) => fields,
        Metadata::Leaf(_) | Metadata::Array(_) => unreachable!("made an object above"),
    }
}
