//! Files that a thing fetches: `$aws/things/{thing}/streams/{stream}/{verb}/{encoding}`.

use crate::codec::Encoding;

/// A request about a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StreamVerb {
    /// What it has.
    Describe,
    /// Some of its blocks.
    Get,
}

/// What is said about a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StreamTopic {
    /// The device asks.
    Request(StreamVerb),
    /// What the stream has.
    Description,
    /// A block.
    Data,
    /// The request is refused.
    Rejected,
}

impl StreamTopic {
    pub(super) const ALL: [Self; 5] = [
        Self::Request(StreamVerb::Describe),
        Self::Request(StreamVerb::Get),
        Self::Description,
        Self::Data,
        Self::Rejected,
    ];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Request(StreamVerb::Describe) => "describe",
            Self::Request(StreamVerb::Get) => "get",
            Self::Description => "description",
            Self::Data => "data",
            Self::Rejected => "rejected",
        }
    }
}

pub(super) const fn encoding_name(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding::Json => "json",
        Encoding::Cbor => "cbor",
    }
}
