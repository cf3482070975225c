//! Operator requests about connectors.

use super::Selector;
use crate::id::{PoolName, Sha256Hex, SiteName, ThingName};
use crate::time::Timestamp;
use crate::view::{ActionView, ConnectorView};
use serde::{Deserialize, Serialize};
use std::fmt;

/// [`super::Verb::ConnectorAdd`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddConnector {
    /// Name of the new connector.
    pub name: ThingName,
    /// Its pool; none when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<PoolName>,
    /// Its site, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<SiteName>,
    /// Free text for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The connector exists already: make a new token, and the old one invalid. Nothing else changes. One that enrolled
    /// before keeps its certificate until the new token is used, and its history for good.
    #[serde(default)]
    pub renew: bool,
}

/// Answer to [`AddConnector`]. `token` is a secret and stored nowhere but here.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddedConnector {
    /// The connector.
    pub name: ThingName,
    /// The single-use token.
    pub token: String,
    /// When the token stops to work.
    pub expires_at: Timestamp,
    /// The agent that the server offers for download, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentDownload>,
}

impl fmt::Debug for AddedConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AddedConnector")
            .field("name", &self.name)
            .field("token", &"...")
            .field("expires_at", &self.expires_at)
            .field("agent", &self.agent)
            .finish()
    }
}

/// An agent binary that the server offers for download.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentDownload {
    /// Path below the server's HTTPS address.
    pub path: String,
    /// Digest of the file.
    pub sha256: Sha256Hex,
    /// Length of the file in bytes.
    pub size: u64,
}

/// [`super::Verb::ConnectorList`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListConnectors {
    /// Which ones; all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<Selector>,
    /// Only names after this one: the `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<ThingName>,
}

/// One page of connectors, sorted by name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConnectorList {
    /// The page.
    pub connectors: Vec<ConnectorView>,
    /// Where the next page starts; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<ThingName>,
}

/// [`super::Verb::ConnectorShow`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShowConnector {
    /// Which one.
    pub name: ThingName,
}

/// Answer to [`ShowConnector`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShownConnector {
    /// The connector.
    pub connector: ConnectorView,
    /// Its latest actions, newest first.
    pub actions: Vec<ActionView>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_token_is_never_printed() {
        let added = AddedConnector {
            name: ThingName::new("a").unwrap(),
            token: "secret".into(),
            expires_at: Timestamp::from_seconds(0),
            agent: None,
        };
        assert!(!format!("{added:?}").contains("secret"));
    }
}
