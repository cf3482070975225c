//! Operator requests about connectors.

use super::{CertificateView, Finding, LinkEvent, OpenJob, Selector};
use crate::id::{ComponentName, PoolName, Sha256Hex, SiteName, TemplateName, ThingName, Version};
use crate::policy::PolicyName;
use crate::time::Timestamp;
use crate::view::{ActionView, ConnectorView};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
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
    /// As `renew`, also for a connector that was removed: it comes back with the use of the token, with its history and
    /// pool, and gets again what is wanted of it.
    #[serde(default)]
    pub reinstall: bool,
    /// Folder of the agent on the host; the token works for no other one. Absent: the script chooses, or when renewing
    /// the one of before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// What the connector shall run once it is enrolled: published versions.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub components: BTreeMap<ComponentName, Version>,
    /// Life of the token in seconds; the server's setting when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_life_s: Option<u32>,
    /// Check everything, but store nothing and make no token.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub preview: bool,
}

impl AddConnector {
    /// A new connector in this pool, with the server's defaults for everything else.
    #[must_use]
    pub fn new(name: ThingName, pool: Option<PoolName>) -> Self {
        Self {
            name,
            pool,
            site: None,
            description: None,
            renew: false,
            reinstall: false,
            prefix: None,
            components: BTreeMap::new(),
            token_life_s: None,
            preview: false,
        }
    }
}

/// Answer to [`AddConnector`]. `token` is a secret and stored nowhere but here.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddedConnector {
    /// The connector.
    pub name: ThingName,
    /// The single-use token; empty in a preview.
    pub token: String,
    /// When the token stops to work.
    pub expires_at: Timestamp,
    /// The pool that the token is bound to, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<PoolName>,
    /// The folder that the token is bound to, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
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
            .field("pool", &self.pool)
            .field("prefix", &self.prefix)
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
    /// Those that were removed instead of those that are in the fleet.
    #[serde(default, skip_serializing_if = "is_false")]
    pub removed: bool,
}

fn is_false(value: &bool) -> bool {
    !*value
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
    /// What is not as it should be, the most important first.
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// Its certificates, the newest first.
    #[serde(default)]
    pub certificates: Vec<CertificateView>,
    /// The policies that it has.
    #[serde(default)]
    pub policies: Vec<PolicyName>,
    /// Jobs that it has not ended, the oldest first.
    #[serde(default)]
    pub jobs: Vec<OpenJob>,
    /// When its link last came and went, the newest first.
    #[serde(default)]
    pub link_history: Vec<LinkEvent>,
    /// The template by which it provisioned itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provisioned_by: Option<TemplateName>,
    /// What that template knows of it besides.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
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
            pool: None,
            prefix: None,
            agent: None,
        };
        assert!(!format!("{added:?}").contains("secret"));
    }
}
