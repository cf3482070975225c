//! The three operations on a document and the payloads that answer them.
//!
//! Payloads are written straight from borrowed parts, and only when somebody asks: `documents` needs a copy of the
//! document as it was, which an update without readers of that topic should not pay for.

use super::delta::{Delta, DeltaMetadata, DeltaState};
use super::document::ShadowDoc;
use super::metadata::{SentMap, Stamp, StampedMapNow};
use super::request::{SectionPatch, StatePatch, UpdateRequest};
use muster_wire::codec::Encoding;
use muster_wire::limits::{SHADOW_DOCUMENT_BYTES_MAX, SHADOW_LEAVES_MAX};
use muster_wire::shadow::ShadowError;
use muster_wire::time::Timestamp;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

/// Whether an update keeps a copy of the document as it was, for [`Updated::documents`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Previous {
    /// Keep it: somebody reads `update/documents`.
    Keep,
    /// Do not: nobody does.
    Drop,
}

/// An accepted update; builds its payloads.
#[derive(Debug)]
pub struct Updated<'a> {
    doc: &'a ShadowDoc,
    request: &'a UpdateRequest,
    /// Outer `None`: not kept. Inner `None`: there was no shadow before.
    previous: Option<Option<ShadowDoc>>,
    seconds: i64,
}

/// Applies `request` to `doc`.
///
/// Version: grows by one, also when no value changes. The first update makes the shadow; one that was deleted goes on
/// with its version.
/// Errors: 409 when the version is not the wanted one, 413 when `desired` and `reported` would be larger than
/// [`SHADOW_DOCUMENT_BYTES_MAX`] or hold more than [`SHADOW_LEAVES_MAX`] values; then `doc` is untouched.
pub fn update<'a>(
    doc: &'a mut ShadowDoc,
    request: &'a UpdateRequest,
    now: Timestamp,
    previous: Previous,
) -> Result<Updated<'a>, ShadowError> {
    if !version_fits(doc, request.version) {
        return Err(ShadowError::new(409, "Version conflict"));
    }
    let seconds = now.epoch_seconds();
    let before = match previous {
        Previous::Keep => Some(doc.live.then(|| doc.clone())),
        Previous::Drop => None,
    };
    // A merge is never larger than both of its parts, and a leaf has at least two bytes, so only what may become too
    // large is tried on a copy.
    let bytes = doc.state_bytes() + request.state.bytes();
    if bytes > SHADOW_DOCUMENT_BYTES_MAX || bytes / 2 > SHADOW_LEAVES_MAX {
        let mut trial = doc.clone();
        trial.merge(&request.state, seconds);
        if trial.state_bytes() > SHADOW_DOCUMENT_BYTES_MAX || trial.leaves() > SHADOW_LEAVES_MAX {
            return Err(ShadowError::new(413, "The payload exceeds the maximum size allowed"));
        }
        *doc = trial;
    } else {
        doc.merge(&request.state, seconds);
    }
    doc.version += 1;
    doc.live = true;
    doc.updated_at = now;
    Ok(Updated { doc, request, previous: before, seconds })
}

/// Whether an update that wants `version` may go ahead. For a shadow that does not exist AWS says nothing; 0 (what is)
/// and 1 (what will be) pass.
fn version_fits(doc: &ShadowDoc, version: Option<u64>) -> bool {
    match version {
        None => true,
        Some(wanted) if doc.live => wanted == doc.version,
        Some(wanted) => wanted <= 1,
    }
}

impl Updated<'_> {
    /// Version that the update made.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.doc.version
    }

    /// The document after the update.
    #[must_use]
    pub fn doc(&self) -> &ShadowDoc {
        self.doc
    }

    /// Payload of `update/accepted`: the request's own fields with their new times.
    #[must_use]
    pub fn accepted(&self, encoding: Encoding) -> Vec<u8> {
        encoding.encode(&Answer {
            state: &self.request.state,
            metadata: RequestMetadata { patch: &self.request.state, seconds: self.seconds },
            version: self.doc.version,
            timestamp: self.seconds,
            client_token: self.request.client_token(),
        })
    }

    /// Payload of `update/delta`; absent when `reported` has all that `desired` asks for.
    #[must_use]
    pub fn delta(&self, encoding: Encoding) -> Option<Vec<u8>> {
        let delta = Delta::of(self.doc)?;
        Some(encoding.encode(&Answer {
            state: DeltaState(&delta),
            metadata: DeltaMetadata(&delta),
            version: self.doc.version,
            timestamp: self.seconds,
            client_token: self.request.client_token(),
        }))
    }

    /// Payload of `update/documents`; absent when the update was told [`Previous::Drop`].
    #[must_use]
    pub fn documents(&self, encoding: Encoding) -> Option<Vec<u8>> {
        let previous = self.previous.as_ref()?;
        Some(encoding.encode(&Documents {
            previous: previous.as_ref().map(Snapshot::of),
            current: Snapshot::of(self.doc),
            timestamp: self.seconds,
            client_token: self.request.client_token(),
        }))
    }
}

/// Payload of `get/accepted`.
///
/// `name` is the shadow's, or the thing's for the shadow without a name. Errors: 404.
pub fn get(
    doc: &ShadowDoc,
    name: &str,
    now: Timestamp,
    client_token: Option<&str>,
    encoding: Encoding,
) -> Result<Vec<u8>, ShadowError> {
    if !doc.live {
        return Err(missing(name));
    }
    let delta = Delta::of(doc);
    Ok(encoding.encode(&Answer {
        state: Sections { desired: doc.desired(), reported: doc.reported(), delta: delta.as_ref().map(DeltaState) },
        metadata: Sections {
            desired: doc.desired_metadata().map(SentMap),
            reported: doc.reported_metadata().map(SentMap),
            delta: delta.as_ref().map(DeltaMetadata),
        },
        version: doc.version,
        timestamp: now.epoch_seconds(),
        client_token,
    }))
}

/// Deletes the shadow; returns the payload of `delete/accepted`, which names the version that was deleted.
///
/// The tombstone has the next version, so a shadow made again starts two above the deleted one.
/// Errors: 404; then `doc` is untouched.
pub fn delete(
    doc: &mut ShadowDoc,
    name: &str,
    now: Timestamp,
    client_token: Option<&str>,
    encoding: Encoding,
) -> Result<Vec<u8>, ShadowError> {
    if !doc.live {
        return Err(missing(name));
    }
    let answer = Deleted { version: doc.version, timestamp: now.epoch_seconds(), client_token };
    *doc = ShadowDoc::deleted(doc.version + 1, now);
    Ok(encoding.encode(&answer))
}

fn missing(name: &str) -> ShadowError {
    ShadowError::new(404, format!("No shadow exists with name: '{name}'"))
}

#[derive(Serialize)]
struct Answer<'a, S, M> {
    state: S,
    metadata: M,
    version: u64,
    timestamp: i64,
    #[serde(rename = "clientToken", skip_serializing_if = "Option::is_none")]
    client_token: Option<&'a str>,
}

#[derive(Serialize)]
struct Deleted<'a> {
    version: u64,
    timestamp: i64,
    #[serde(rename = "clientToken", skip_serializing_if = "Option::is_none")]
    client_token: Option<&'a str>,
}

#[derive(Serialize)]
struct Documents<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    previous: Option<Snapshot<'a>>,
    current: Snapshot<'a>,
    timestamp: i64,
    #[serde(rename = "clientToken", skip_serializing_if = "Option::is_none")]
    client_token: Option<&'a str>,
}

#[derive(Serialize)]
struct Snapshot<'a> {
    state: Sections<&'a Map<String, Value>, ()>,
    metadata: Sections<SentMap<'a>, ()>,
    version: u64,
}

impl<'a> Snapshot<'a> {
    fn of(doc: &'a ShadowDoc) -> Self {
        Self {
            state: Sections { desired: doc.desired(), reported: doc.reported(), delta: None },
            metadata: Sections {
                desired: doc.desired_metadata().map(SentMap),
                reported: doc.reported_metadata().map(SentMap),
                delta: None,
            },
            version: doc.version,
        }
    }
}

#[derive(Serialize)]
struct Sections<T, D> {
    #[serde(skip_serializing_if = "Option::is_none")]
    desired: Option<T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reported: Option<T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delta: Option<D>,
}

/// Metadata of a request's own fields: all of one time. AWS does not say what a field that was set to `null` gets;
/// here it is the time of its removal.
struct RequestMetadata<'a> {
    patch: &'a StatePatch,
    seconds: i64,
}

impl Serialize for RequestMetadata<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let StatePatch::Sections { desired, reported } = self.patch else {
            return Stamp { timestamp: self.seconds }.serialize(serializer);
        };
        let mut map = serializer.serialize_map(None)?;
        for (name, section) in [("desired", desired), ("reported", reported)] {
            if let SectionPatch::Merge(fields) = section {
                map.serialize_entry(name, &StampedMapNow { fields, seconds: self.seconds })?;
            }
        }
        map.end()
    }
}
