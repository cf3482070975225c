//! The shadows of a thing: what stands behind `…/shadow[/name/{shadow}]/`.

use std::fmt;

/// A request about a shadow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ShadowVerb {
    /// Read it.
    Get,
    /// Change it.
    Update,
    /// Remove it.
    Delete,
}

/// What is said about a shadow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ShadowTopic {
    /// A client asks.
    Request(ShadowVerb),
    /// The service did it.
    Accepted(ShadowVerb),
    /// The service refused it.
    Rejected(ShadowVerb),
    /// Desired and reported differ.
    Delta,
    /// The document before and after an update.
    Documents,
}

impl ShadowTopic {
    pub(super) fn from_parts(parts: &[&str]) -> Option<Self> {
        let (verb, outcome) = match parts {
            [verb] => (*verb, None),
            [verb, outcome] => (*verb, Some(*outcome)),
            _ => return None,
        };
        let verb = match verb {
            "get" => ShadowVerb::Get,
            "update" => ShadowVerb::Update,
            "delete" => ShadowVerb::Delete,
            _ => return None,
        };
        match (verb, outcome) {
            (verb, None) => Some(Self::Request(verb)),
            (verb, Some("accepted")) => Some(Self::Accepted(verb)),
            (verb, Some("rejected")) => Some(Self::Rejected(verb)),
            (ShadowVerb::Update, Some("delta")) => Some(Self::Delta),
            (ShadowVerb::Update, Some("documents")) => Some(Self::Documents),
            _ => None,
        }
    }
}

impl fmt::Display for ShadowTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verb, tail) = match self {
            Self::Request(verb) => (verb, ""),
            Self::Accepted(verb) => (verb, "/accepted"),
            Self::Rejected(verb) => (verb, "/rejected"),
            Self::Delta => (&ShadowVerb::Update, "/delta"),
            Self::Documents => (&ShadowVerb::Update, "/documents"),
        };
        let verb = match verb {
            ShadowVerb::Get => "get",
            ShadowVerb::Update => "update",
            ShadowVerb::Delete => "delete",
        };
        write!(f, "{verb}{tail}")
    }
}
