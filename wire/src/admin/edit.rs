//! Operator requests that change what is known of a connector.

use crate::id::{ComponentName, PoolName, SiteName, TargetId, ThingName, Version};
use crate::view::ConnectorView;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// [`super::Verb::ConnectorEdit`]. Members that are absent stay as they are; `null` takes the value away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EditConnector {
    /// Which one.
    pub name: ThingName,
    /// Its pool.
    #[serde(default, skip_serializing_if = "Edit::is_keep")]
    pub pool: Edit<PoolName>,
    /// Its site.
    #[serde(default, skip_serializing_if = "Edit::is_keep")]
    pub site: Edit<SiteName>,
    /// Free text for people.
    #[serde(default, skip_serializing_if = "Edit::is_keep")]
    pub description: Edit<String>,
}

/// What becomes of a value that may be absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Edit<T> {
    /// It stays. Not there in JSON.
    #[default]
    Keep,
    /// It goes away. `null` in JSON.
    Clear,
    /// It becomes this.
    Set(T),
}

impl<T> Edit<T> {
    /// Whether nothing changes.
    #[must_use]
    pub fn is_keep(&self) -> bool {
        matches!(self, Self::Keep)
    }

    /// The value afterwards.
    #[must_use]
    pub fn apply(self, before: Option<T>) -> Option<T> {
        match self {
            Self::Keep => before,
            Self::Clear => None,
            Self::Set(value) => Some(value),
        }
    }
}

impl<T: Serialize> Serialize for Edit<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Set(value) => value.serialize(serializer),
            Self::Keep | Self::Clear => serializer.serialize_none(),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Edit<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(deserializer)?.map_or(Self::Clear, Self::Set))
    }
}

/// Answer to [`EditConnector`]: the change is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EditedConnector {
    /// The connector, as it is from now on.
    pub connector: ConnectorView,
    /// What is wanted of it now and was not before. Its agent is told at once.
    pub wanted_now: Vec<Intent>,
    /// What was wanted of it and is not any more. It keeps what runs; nothing is taken away.
    pub wanted_no_more: Vec<Intent>,
}

/// A version that an operator wants of a component.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Intent {
    /// Component.
    pub component: ComponentName,
    /// Version.
    pub version: Version,
    /// The upgrade command that said so.
    pub target: TargetId,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn absent_null_and_a_value_are_three_things() {
        for (json, edit) in [
            (r#"{"name":"a"}"#, Edit::Keep),
            (r#"{"name":"a","pool":null}"#, Edit::Clear),
            (r#"{"name":"a","pool":"blue"}"#, Edit::Set(PoolName::new("blue").unwrap())),
        ] {
            let read: EditConnector = serde_json::from_str(json).unwrap();
            assert_eq!(read.pool, edit);
            assert_eq!(serde_json::to_string(&read).unwrap(), json);
        }
        assert!(serde_json::from_str::<EditConnector>(r#"{"name":"a","pool":"a b"}"#).is_err());
    }
}
