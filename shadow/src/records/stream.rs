//! Streams that operators made. Written by the fleet's worker alone.

use muster_wire::component::PublishedComponent;
use muster_wire::id::{PersonName, Sha256Hex};
use muster_wire::stream::StreamId;
use muster_wire::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Files that devices fetch block by block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stream {
    /// Its id.
    pub id: StreamId,
    /// Grows with every change; the first is 1.
    pub version: u32,
    /// For people.
    pub description: String,
    /// Its files, by number.
    pub files: Vec<StreamFile>,
    /// Who made or changed it last.
    pub by: PersonName,
    /// When.
    pub at: Timestamp,
}

/// A file of a stream: an artifact that was there when the stream was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamFile {
    /// Its number.
    pub file: u8,
    /// Digest of its content.
    pub sha256: Sha256Hex,
    /// Its length in bytes.
    pub size: u64,
    /// What the operator called it.
    pub name: String,
}

impl Stream {
    /// The stream of a published package, which nobody had to make.
    #[must_use]
    pub fn of_package(component: &PublishedComponent) -> Self {
        let name = format!("{} {}", component.name, component.version);
        let file = StreamFile { file: 0, sha256: component.sha256.clone(), size: component.size, name: name.clone() };
        Self {
            id: StreamId::of_package(&component.sha256),
            version: 1,
            description: name,
            files: vec![file],
            by: component.published_by.clone(),
            at: component.published_at,
        }
    }
}
