//! Operator requests: MQTT 5 request/response on `muster/op/{verb}`, JSON.
//!
//! The request carries a response topic under `muster/reply/` and correlation data; the answer is a [`Reply`], sent to
//! the requesting connection alone. Who asks is the identity of the connection; no payload says it.

use crate::component::{PublishedComponent, UpgradeDocument};
use crate::id::{ComponentName, JobId, PoolName, Sha256Hex, SiteName, TargetId, ThingName, Version};
use crate::rejection::Rejection;
use crate::time::Timestamp;
use crate::view::{ActionView, ConnectorView};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What an operator can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Registers a connector and makes its enrolment token: [`AddConnector`] to [`AddedConnector`].
    ConnectorAdd,
    /// Lists connectors: [`ListConnectors`] to [`ConnectorList`].
    ConnectorList,
    /// Shows one connector: [`ShowConnector`] to [`ShownConnector`].
    ConnectorShow,
    /// Makes an uploaded package a version of a component: [`PublishComponent`] to [`PublishedComponent`].
    ComponentPublish,
    /// Lists published components: [`ListComponents`] to [`ComponentList`].
    ComponentList,
    /// States which connectors shall run which version: [`Upgrade`] to [`UpgradeStarted`].
    Upgrade,
    /// Lists upgrade actions: [`ListActions`] to [`ActionList`].
    Actions,
    /// Makes a job for many things: [`CreateJob`] to [`CreatedJob`].
    JobCreate,
}

impl Verb {
    /// Every verb.
    pub const ALL: [Self; 8] = [
        Self::ConnectorAdd,
        Self::ConnectorList,
        Self::ConnectorShow,
        Self::ComponentPublish,
        Self::ComponentList,
        Self::Upgrade,
        Self::Actions,
        Self::JobCreate,
    ];

    /// The last level of the topic.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ConnectorAdd => "connector-add",
            Self::ConnectorList => "connector-list",
            Self::ConnectorShow => "connector-show",
            Self::ComponentPublish => "component-publish",
            Self::ComponentList => "component-list",
            Self::Upgrade => "upgrade",
            Self::Actions => "actions",
            Self::JobCreate => "job-create",
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that is no [`Verb`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no operator request is called {0:?}")]
pub struct UnknownVerb(pub String);

impl std::str::FromStr for Verb {
    type Err = UnknownVerb;
    fn from_str(text: &str) -> Result<Self, UnknownVerb> {
        Self::ALL.into_iter().find(|verb| verb.as_str() == text).ok_or_else(|| UnknownVerb(text.to_owned()))
    }
}

/// The answer to an operator: `{"ok": …}` or `{"error": {"code": …, "message": …}}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reply<T> {
    /// It was done; the result.
    Ok(T),
    /// It was refused.
    Error(Rejection),
}

impl<T> Reply<T> {
    /// As a `Result`.
    pub fn into_result(self) -> Result<T, Rejection> {
        match self {
            Self::Ok(value) => Ok(value),
            Self::Error(rejection) => Err(rejection),
        }
    }
}

/// Which connectors are meant: `all`, `pool=NAME`, `site=NAME` or `name=NAME`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Selector {
    /// Every registered connector.
    All,
    /// The members of a pool.
    Pool(PoolName),
    /// The members of a site.
    Site(SiteName),
    /// One connector.
    Name(ThingName),
}

/// Why a text is not a [`Selector`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("selector {text:?} is not usable: {problem}; use all, pool=NAME, site=NAME or name=NAME")]
pub struct SelectorError {
    /// The text as given.
    pub text: String,
    /// What is wrong with it.
    pub problem: String,
}

impl std::str::FromStr for Selector {
    type Err = SelectorError;
    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let bad = |problem: String| SelectorError { text: text.to_owned(), problem };
        if text == "all" {
            return Ok(Self::All);
        }
        let (key, value) = text.split_once('=').ok_or_else(|| bad("it has no =".into()))?;
        match key {
            "pool" => PoolName::new(value).map(Self::Pool).map_err(|e| bad(e.to_string())),
            "site" => SiteName::new(value).map(Self::Site).map_err(|e| bad(e.to_string())),
            "name" => ThingName::new(value).map(Self::Name).map_err(|e| bad(e.to_string())),
            other => Err(bad(format!("nothing is called {other:?}"))),
        }
    }
}

impl TryFrom<String> for Selector {
    type Error = SelectorError;
    fn try_from(text: String) -> Result<Self, SelectorError> {
        text.parse()
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Pool(pool) => write!(f, "pool={pool}"),
            Self::Site(site) => write!(f, "site={site}"),
            Self::Name(name) => write!(f, "name={name}"),
        }
    }
}

impl From<Selector> for String {
    fn from(selector: Selector) -> String {
        selector.to_string()
    }
}

/// [`Verb::ConnectorAdd`].
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

/// [`Verb::ConnectorList`].
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

/// [`Verb::ConnectorShow`].
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

/// [`Verb::ComponentPublish`]. The package was uploaded before, to [`crate::enrol::artifact_path`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishComponent {
    /// Component.
    pub name: ComponentName,
    /// Version; it may be published only once with other content.
    pub version: Version,
    /// Digest of the package.
    pub sha256: Sha256Hex,
    /// Length of the package in bytes.
    pub size: u64,
    /// The publisher's signature of [`crate::component::signed_text`].
    pub signature: String,
    /// How long the health probe must pass before an upgrade counts, in seconds.
    pub soak_s: u32,
    /// Free text for people.
    #[serde(default)]
    pub description: String,
}

/// [`Verb::ComponentList`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListComponents {
    /// Only what comes after this one: the `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<ComponentVersion>,
}

/// A version of a component.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ComponentVersion {
    /// Component.
    pub name: ComponentName,
    /// Version.
    pub version: Version,
}

/// One page of published versions: by name, then by version as text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentList {
    /// The page.
    pub components: Vec<PublishedComponent>,
    /// Where the next page starts; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<ComponentVersion>,
}

/// [`Verb::Upgrade`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upgrade {
    /// Component.
    pub component: ComponentName,
    /// The version that shall run.
    pub version: Version,
    /// Where.
    pub to: Selector,
    /// Offer the version also where it failed before.
    #[serde(default)]
    pub again: bool,
}

/// Answer to [`Upgrade`]: the intent is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpgradeStarted {
    /// The intent; actions carry it.
    pub target: TargetId,
    /// The connectors that match now.
    pub matched: Vec<ThingName>,
}

/// [`Verb::Actions`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListActions {
    /// Only of this connector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thing: Option<ThingName>,
    /// Only of this intent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<TargetId>,
}

/// Answer to [`ListActions`]: newest first, at most [`crate::limits::ACTIONS_LISTED_MAX`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionList {
    /// The actions.
    pub actions: Vec<ActionView>,
}

/// [`Verb::JobCreate`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateJob {
    /// The new job.
    pub job_id: JobId,
    /// Its things, registered or not.
    pub targets: Vec<ThingName>,
    /// What the things shall do; an object of at most [`crate::limits::JOB_DOCUMENT_BYTES_MAX`].
    pub document: serde_json::Map<String, serde_json::Value>,
}

/// Answer to [`CreateJob`]: the job and every execution are stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatedJob {
    /// The job.
    pub job_id: JobId,
    /// How many executions were made.
    pub executions: usize,
}

impl PublishedComponent {
    /// The job document that installs this version.
    #[must_use]
    pub fn upgrade_document(&self) -> UpgradeDocument {
        UpgradeDocument {
            operation: crate::component::Operation::Upgrade,
            component: self.name.clone(),
            version: self.version.clone(),
            path: crate::enrol::artifact_path(&self.sha256),
            sha256: self.sha256.clone(),
            size: self.size,
            signature: self.signature.clone(),
            soak_s: self.soak_s,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn verbs_round_trip() {
        for verb in Verb::ALL {
            assert_eq!(verb.as_str().parse(), Ok(verb));
        }
        assert!("drop-all".parse::<Verb>().is_err());
    }

    #[test]
    fn selectors_round_trip_and_refuse_the_rest() {
        for text in ["all", "pool=blue", "site=x", "name=h-1"] {
            assert_eq!(text.parse::<Selector>().map(|s| s.to_string()), Ok(text.to_owned()));
        }
        let message = "pol=x".parse::<Selector>().map_err(|e| e.to_string()).unwrap_err();
        assert_eq!(
            message,
            "selector \"pol=x\" is not usable: nothing is called \"pol\"; use all, pool=NAME, site=NAME or name=NAME"
        );
        assert!("pool=".parse::<Selector>().is_err());
    }

    #[test]
    fn replies_have_the_documented_shape() {
        let ok: Reply<u8> = Reply::Ok(1);
        assert_eq!(serde_json::to_string(&ok).unwrap(), r#"{"ok":1}"#);
        let error: Reply<u8> =
            Reply::Error(Rejection::new(crate::rejection::RejectionCode::NotFound, "no connector is called x"));
        assert_eq!(
            serde_json::to_string(&error).unwrap(),
            r#"{"error":{"code":"not-found","message":"no connector is called x"}}"#
        );
    }

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
