//! Topics of the user's own devices and programs.

/// A topic that belongs to the user: no wildcard, no control character, and a first level that is neither empty nor
/// `muster`, nor begins with `$`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ApplicationTopic(Box<str>);

impl ApplicationTopic {
    pub(super) fn new(text: &str) -> Option<Self> {
        let first = first_level(text);
        let own = is_application_level(first) && !text.contains(|c: char| matches!(c, '+' | '#') || c.is_control());
        own.then(|| Self(text.into()))
    }

    /// The topic as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Everything before the first `/`.
pub(crate) fn first_level(text: &str) -> &str {
    text.split('/').next().unwrap_or_default()
}

/// Whether topics with this first level belong to the user.
pub(crate) fn is_application_level(first: &str) -> bool {
    !first.is_empty() && !first.starts_with('$') && first != "muster"
}
