//! Labels: what a host says of itself, as `KEY=VALUE`, in its agent's settings.

use crate::id::NameError;
use serde::{Deserialize, Serialize};
use std::fmt;

/// One label. Its text form `KEY=VALUE` is also its form in JSON, so that a list of labels replaces the one before as a
/// whole where it is merged into a shadow.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Label {
    /// The key.
    pub key: LabelKey,
    /// The value; may be empty.
    value: Box<str>,
}

/// Longest value of a label in bytes. A list of labels shares a shadow of 8 KiB with the other facts of a host.
pub const LABEL_VALUE_BYTES_MAX: usize = 128;
/// Most labels of one host; with the bound above they take at most half of the shadow.
pub const LABELS_MAX: usize = 16;

crate::id::name!(
    /// Key of a label.
    LabelKey, "label key", 63, "A-Z a-z 0-9 . _ - (the first a letter or digit)",
    first |c| c.is_ascii_alphanumeric(), rest |c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
);

/// Why a text is not a [`Label`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// There is no `=`.
    #[error("label {0:?} has no =; write KEY=VALUE, for example rack=b4")]
    NoValue(String),
    /// The key is not one.
    #[error(transparent)]
    Key(#[from] NameError),
    /// The value is too long.
    #[error("the value of label {key} has {found} bytes; at most {LABEL_VALUE_BYTES_MAX} are allowed")]
    TooLong {
        /// The key.
        key: LabelKey,
        /// Length found, in bytes.
        found: usize,
    },
    /// The value has a character with a meaning of its own in selectors, or one that nobody can see.
    #[error("the value of label {key} has the character {bad:?}; all but , | * and control characters are allowed")]
    BadCharacter {
        /// The key.
        key: LabelKey,
        /// The first character that is wrong.
        bad: char,
    },
}

impl Label {
    /// Checks key and value.
    ///
    /// Errors: [`LabelError`].
    pub fn new(key: &str, value: &str) -> Result<Self, LabelError> {
        let key = LabelKey::new(key)?;
        if value.len() > LABEL_VALUE_BYTES_MAX {
            return Err(LabelError::TooLong { key, found: value.len() });
        }
        match value.chars().find(|c| c.is_control() || matches!(c, ',' | '|' | '*')) {
            Some(bad) => Err(LabelError::BadCharacter { key, bad }),
            None => Ok(Self { key, value: value.into() }),
        }
    }

    /// The value.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }
}

impl std::str::FromStr for Label {
    type Err = LabelError;
    fn from_str(text: &str) -> Result<Self, LabelError> {
        let (key, value) = text.split_once('=').ok_or_else(|| LabelError::NoValue(text.to_owned()))?;
        Self::new(key, value)
    }
}

impl TryFrom<String> for Label {
    type Error = LabelError;
    fn try_from(text: String) -> Result<Self, LabelError> {
        text.parse()
    }
}

impl From<Label> for String {
    fn from(label: Label) -> String {
        label.to_string()
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.key, self.value)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn labels_round_trip_and_the_rest_is_refused() {
        for text in ["env=prod", "rack=", "app.kubernetes.io=a=b c"] {
            let label: Label = text.parse().unwrap();
            assert_eq!(label.to_string(), text);
            assert_eq!(serde_json::from_str::<Label>(&serde_json::to_string(&label).unwrap()).unwrap(), label);
        }
        let long = format!("a={}", "x".repeat(LABEL_VALUE_BYTES_MAX + 1));
        for (text, why) in [
            ("env", "write KEY=VALUE"),
            ("=x", "label key is empty"),
            ("-a=x", "character '-' is not allowed here"),
            ("a=x,y", "the character ','"),
            ("a=x\ny", "the character '\\n'"),
            (long.as_str(), "has 129 bytes"),
        ] {
            let error = text.parse::<Label>().unwrap_err().to_string();
            assert!(error.contains(why), "{text:?}: {error}");
        }
    }
}
