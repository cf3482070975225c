//! Names. Each is checked once, at the edge; a value that exists is valid.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Why a text is not a name of the wanted kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The text is empty.
    #[error("{kind} is empty; use 1 to {max} bytes of {allowed}")]
    Empty {
        /// What the name is for.
        kind: &'static str,
        /// Longest allowed length in bytes.
        max: usize,
        /// The allowed characters, for people.
        allowed: &'static str,
    },
    /// The text is too long.
    #[error("{kind} has {found} bytes; at most {max} are allowed")]
    TooLong {
        /// What the name is for.
        kind: &'static str,
        /// Length found, in bytes.
        found: usize,
        /// Longest allowed length in bytes.
        max: usize,
    },
    /// A character is not allowed (at all, or as the first one).
    #[error("{kind} {found:?}: character {bad:?} is not allowed here; use {allowed}")]
    BadCharacter {
        /// What the name is for.
        kind: &'static str,
        /// The text as given.
        found: String,
        /// The first character that is wrong.
        bad: char,
        /// The allowed characters, for people.
        allowed: &'static str,
    },
}

/// Defines a name: what it is for, its longest length, and which characters it may have.
macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $kind:literal, $max:expr, $allowed:literal, first $first:expr, rest $rest:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(Box<str>);

        impl $type {
            /// Longest allowed length in bytes.
            pub const BYTES_MAX: usize = $max;

            /// Checks `text` and makes a name of it.
            pub fn new(text: impl AsRef<str>) -> Result<Self, $crate::id::NameError> {
                let text = text.as_ref();
                if text.is_empty() {
                    return Err($crate::id::NameError::Empty { kind: $kind, max: $max, allowed: $allowed });
                }
                if text.len() > $max {
                    return Err($crate::id::NameError::TooLong { kind: $kind, found: text.len(), max: $max });
                }
                let first: fn(char) -> bool = $first;
                let rest: fn(char) -> bool = $rest;
                let bad = text.chars().enumerate().find(|(at, c)| if *at == 0 { !first(*c) } else { !rest(*c) });
                if let Some((_, bad)) = bad {
                    return Err($crate::id::NameError::BadCharacter { kind: $kind, found: text.to_owned(), bad, allowed: $allowed });
                }
                Ok(Self(text.into()))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl TryFrom<String> for $type {
            type Error = $crate::id::NameError;
            fn try_from(text: String) -> Result<Self, $crate::id::NameError> {
                Self::new(text)
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::id::NameError;
            fn from_str(text: &str) -> Result<Self, $crate::id::NameError> {
                Self::new(text)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0.into()
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

pub(crate) use name;

fn thing_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, ':' | '_' | '-')
}

fn plain_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-')
}

fn version_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '+' | '-')
}

name!(
    /// Name of a connector; on the wire the AWS `ThingName`.
    ThingName, "thing name", 128, "A-Z a-z 0-9 : _ -", first thing_char, rest thing_char
);
name!(
    /// Name of a named shadow.
    ShadowName, "shadow name", 64, "A-Z a-z 0-9 : _ - $", first |c| thing_char(c) || c == '$', rest |c| thing_char(c) || c == '$'
);
name!(
    /// Identifier of a job.
    JobId, "job id", 64, "A-Z a-z 0-9 _ -", first plain_char, rest plain_char
);
name!(
    /// Identifier of a job template.
    JobTemplateId, "job template id", 64, "A-Z a-z 0-9 _ -", first plain_char, rest plain_char
);
name!(
    /// Name of a provisioning template.
    TemplateName, "template name", 36, "A-Z a-z 0-9 _ -", first plain_char, rest plain_char
);
name!(
    /// What tells one claim of a template from another.
    ClaimId, "claim id", 32, "A-Z a-z 0-9 _ -", first plain_char, rest plain_char
);
name!(
    /// Name of a component. It is a path part on hosts and a key in the `components` shadow.
    ComponentName, "component name", 64, "A-Z a-z 0-9 _ - (the first a letter or digit)", first |c| c.is_ascii_alphanumeric(), rest plain_char
);
name!(
    /// Version of a component or of the agent. Opaque: the server never compares two versions by size.
    Version, "version", 64, "A-Z a-z 0-9 . _ + - (the first a letter or digit)", first |c| c.is_ascii_alphanumeric(), rest version_char
);
name!(
    /// Name of a pool of connectors.
    PoolName, "pool name", 64, "A-Z a-z 0-9 _ -", first plain_char, rest plain_char
);
name!(
    /// Name of a site (one network environment).
    SiteName, "site name", 64, "A-Z a-z 0-9 _ -", first plain_char, rest plain_char
);
name!(
    /// Name of an operator or observer.
    PersonName, "operator name", 128, "A-Z a-z 0-9 : . _ -", first thing_char, rest |c| thing_char(c) || c == '.'
);
name!(
    /// SHA-256 of some bytes: 64 lower-case hexadecimal digits.
    Sha256Hex, "SHA-256 digest", 64, "0-9 a-f, 64 of them", first |c| matches!(c, '0'..='9' | 'a'..='f'), rest |c| matches!(c, '0'..='9' | 'a'..='f')
);
name!(
    /// Identifier of an operator's intent: one `muster upgrade` command.
    TargetId, "target id", 64, "A-Z a-z 0-9 _ -", first plain_char, rest plain_char
);
name!(
    /// Identifier of an access key. It is public: the secret is another text.
    AccessKeyId, "access key id", 64, "A-Z 0-9", first |c| c.is_ascii_uppercase() || c.is_ascii_digit(), rest |c| c.is_ascii_uppercase() || c.is_ascii_digit()
);

impl Sha256Hex {
    /// The digest as text, when it has all of its 64 digits. `new` admits shorter ones, which no file has.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.as_str().len() == 64
    }

    /// From the 32 bytes of the digest.
    #[must_use]
    pub fn from_bytes(digest: &[u8; 32]) -> Self {
        use fmt::Write;
        let mut text = String::with_capacity(64);
        for byte in digest {
            write!(text, "{byte:02x}").expect("writing to a String cannot fail");
        }
        Self(text.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thing_name_takes_both_ends_of_the_length() {
        assert_eq!(ThingName::new("a").map(|n| n.to_string()), Ok("a".into()));
        assert_eq!(ThingName::new("x".repeat(128)).map(|n| n.as_str().len()), Ok(128));
        assert_eq!(
            ThingName::new("x".repeat(129)).map_err(|e| e.to_string()),
            Err("thing name has 129 bytes; at most 128 are allowed".into())
        );
    }

    #[test]
    fn bad_names_say_which_character_is_wrong() {
        let cases = [
            (ThingName::new("").map(drop), "thing name is empty; use 1 to 128 bytes of A-Z a-z 0-9 : _ -"),
            (
                ThingName::new("a/b").map(drop),
                "thing name \"a/b\": character '/' is not allowed here; use A-Z a-z 0-9 : _ -",
            ),
            (
                ThingName::new("a+").map(drop),
                "thing name \"a+\": character '+' is not allowed here; use A-Z a-z 0-9 : _ -",
            ),
            (
                Version::new("..").map(drop),
                "version \"..\": character '.' is not allowed here; use A-Z a-z 0-9 . _ + - (the first a letter or digit)",
            ),
            (
                ComponentName::new("-x").map(drop),
                "component name \"-x\": character '-' is not allowed here; use A-Z a-z 0-9 _ - (the first a letter or digit)",
            ),
            (JobId::new("é").map(drop), "job id \"é\": character 'é' is not allowed here; use A-Z a-z 0-9 _ -"),
        ];
        for (found, expected) in cases {
            assert_eq!(found.map_err(|e| e.to_string()), Err(expected.to_owned()));
        }
    }

    #[test]
    fn serde_checks_names() {
        assert!(serde_json::from_str::<ThingName>("\"host-1\"").is_ok());
        assert!(serde_json::from_str::<ThingName>("\"host 1\"").is_err());
    }

    #[test]
    fn digest_from_bytes_is_complete() {
        let digest = Sha256Hex::from_bytes(&[0xab; 32]);
        assert!(digest.is_complete());
        assert_eq!(Sha256Hex::new(digest.as_str()), Ok(digest));
    }
}
