//! The shadow algebra: one document per shadow, and what an update, a get or a delete makes of it.
//!
//! ```text
//! payload ──parse_update──▶ UpdateRequest ──update(&mut ShadowDoc)──▶ Updated ──▶ accepted, delta, documents
//! ```
//!
//! Refuses to know: where documents are kept, who listens, what time it is. The caller stores the document before it
//! sends what [`Updated`] builds.
//!
//! Invariants: a refused request changes nothing; every accepted update raises the version by one; a section that has
//! no field does not exist; a value and its metadata have the same shape.
//!
//! Source: the AWS IoT Device Shadow service. Where AWS is silent the choice is named at the code that makes it.

mod change;
mod delta;
mod document;
mod metadata;
mod request;

pub use change::{Previous, Updated, delete, get, update};
pub use document::ShadowDoc;
pub use metadata::{Metadata, MetadataMap};
pub use request::{UpdateRequest, parse_token, parse_update};

#[cfg(test)]
mod oracle;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
