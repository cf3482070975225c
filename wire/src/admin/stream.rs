//! Operator requests about streams.

use super::ComponentVersion;
use crate::id::{PersonName, Sha256Hex};
use crate::stream::StreamId;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// [`super::Verb::StreamCreate`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateStream {
    /// Its id.
    pub stream: StreamId,
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Its files; they are numbered from 0.
    pub files: Vec<StreamSource>,
    /// Take the place of one that is there, with the next version.
    #[serde(default)]
    pub replace: bool,
}

/// Where a file of a stream comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StreamSource {
    /// A file that was uploaded.
    File {
        /// Digest of its content.
        sha256: Sha256Hex,
        /// What it is called, for people.
        name: String,
    },
    /// The package of a published component.
    Component(ComponentVersion),
}

/// [`super::Verb::StreamDelete`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NameStream {
    /// Which one.
    pub stream: StreamId,
}

/// [`super::Verb::StreamList`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListStreams {
    /// Only ids after this one: the `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<StreamId>,
}

/// One page of streams, sorted by id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamList {
    /// The page.
    pub streams: Vec<StreamView>,
    /// Where the next page starts; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<StreamId>,
}

/// A stream that an operator made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamView {
    /// Its id.
    pub stream: StreamId,
    /// Grows with every change.
    pub version: u32,
    /// For people.
    pub description: String,
    /// Its files.
    pub files: Vec<StreamFileOf>,
    /// Who made or changed it last.
    pub by: PersonName,
    /// When.
    pub at: Timestamp,
}

/// A file of a stream, for operators.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamFileOf {
    /// Its number.
    pub file: u8,
    /// What it is called.
    pub name: String,
    /// Its length in bytes.
    pub size: u64,
    /// Digest of its content.
    pub sha256: Sha256Hex,
}
