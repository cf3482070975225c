//! Operator requests about access keys: what programs without a certificate sign their HTTP requests with.

use crate::id::{AccessKeyId, NameError, PersonName, ThingName};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What the holder of a key may do: `observer`, `operator` or `connector:THING`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum KeyPolicy {
    /// Read.
    Observer,
    /// Read, write shadows, publish.
    Operator,
    /// What this device may do.
    Connector(ThingName),
}

/// A text is no [`KeyPolicy`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKeyPolicy {
    /// No policy has this name.
    #[error("no policy of access keys is called {0:?}; use observer, operator or connector:THING")]
    Unknown(String),
    /// The thing has no possible name.
    #[error("the policy names something impossible: {0}")]
    Thing(#[from] NameError),
}

impl FromStr for KeyPolicy {
    type Err = BadKeyPolicy;
    fn from_str(text: &str) -> Result<Self, BadKeyPolicy> {
        match text {
            "observer" => Ok(Self::Observer),
            "operator" => Ok(Self::Operator),
            text => match text.strip_prefix("connector:") {
                Some(thing) => Ok(Self::Connector(ThingName::new(thing)?)),
                None => Err(BadKeyPolicy::Unknown(text.to_owned())),
            },
        }
    }
}

impl fmt::Display for KeyPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Observer => f.write_str("observer"),
            Self::Operator => f.write_str("operator"),
            Self::Connector(thing) => write!(f, "connector:{thing}"),
        }
    }
}

impl TryFrom<String> for KeyPolicy {
    type Error = BadKeyPolicy;
    fn try_from(text: String) -> Result<Self, BadKeyPolicy> {
        text.parse()
    }
}

impl From<KeyPolicy> for String {
    fn from(policy: KeyPolicy) -> Self {
        policy.to_string()
    }
}

/// [`super::Verb::KeyCreate`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateKey {
    /// What its holder may do.
    pub policy: KeyPolicy,
    /// What it is for; for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// Answer to [`CreateKey`]: the only time that the secret is told.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatedKey {
    /// The key.
    pub key: KeyView,
    /// Its secret.
    pub secret: String,
}

impl fmt::Debug for CreatedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreatedKey").field("key", &self.key).field("secret", &"...").finish()
    }
}

/// [`super::Verb::KeyList`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListKeys {
    /// Go on after this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<AccessKeyId>,
}

/// Access keys in the order of their ids; as many as fit one answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyList {
    /// The keys.
    pub keys: Vec<KeyView>,
    /// Where to go on, if there are more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<AccessKeyId>,
}

/// [`super::Verb::KeyRevoke`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevokeKey {
    /// Which one.
    pub id: AccessKeyId,
}

/// What may be known of an access key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyView {
    /// Its public part.
    pub id: AccessKeyId,
    /// What its holder may do.
    pub policy: KeyPolicy,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it.
    pub created_by: PersonName,
    /// Since when it is good for nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
    /// Who took it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_by: Option<PersonName>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn policies_read_back_as_printed_and_others_are_refused() {
        for text in ["observer", "operator", "connector:line:1"] {
            assert_eq!(text.parse::<KeyPolicy>().unwrap().to_string(), text);
        }
        for text in ["", "Operator", "connector", "connector:", "connector:a/b", "service"] {
            assert!(text.parse::<KeyPolicy>().is_err(), "{text}");
        }
    }
}
