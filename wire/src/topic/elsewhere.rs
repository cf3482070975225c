//! Topics of a thing that belong to parts of AWS IoT which are not here. Devices that were written for it use them all the
//! same: what they say is taken and dropped, and what they listen to is silent.

use super::{Voice, encoding_name};
use crate::codec::Encoding;
use std::fmt;

/// What is said about a thing to, or by, a part that is not here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ElsewhereTopic {
    /// Measurements for Device Defender.
    Metrics {
        /// How the payload is written.
        encoding: Encoding,
        /// Who speaks.
        voice: Voice,
    },
    /// A secure tunnel waits for the thing.
    TunnelNotify,
}

impl ElsewhereTopic {
    /// `None` when the topic is none of these.
    pub(super) fn from_parts(parts: &[&str]) -> Option<Self> {
        let (encoding, voice) = match parts {
            ["tunnels", "notify"] => return Some(Self::TunnelNotify),
            ["defender", "metrics", encoding] => (encoding, Voice::Request),
            ["defender", "metrics", encoding, "accepted"] => (encoding, Voice::Accepted),
            ["defender", "metrics", encoding, "rejected"] => (encoding, Voice::Rejected),
            _ => return None,
        };
        let encodings = [Encoding::Json, Encoding::Cbor];
        let encoding = encodings.into_iter().find(|known| encoding_name(*known) == *encoding)?;
        Some(Self::Metrics { encoding, voice })
    }

    /// Whether a client says it.
    pub(super) fn is_request(self) -> bool {
        matches!(self, Self::Metrics { voice: Voice::Request, .. })
    }
}

impl fmt::Display for ElsewhereTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Metrics { encoding, voice } = self else { return f.write_str("tunnels/notify") };
        let tail = match voice {
            Voice::Request => "",
            Voice::Accepted => "/accepted",
            Voice::Rejected => "/rejected",
        };
        write!(f, "defender/metrics/{}{tail}", encoding_name(*encoding))
    }
}
