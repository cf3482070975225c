//! Operator requests about components.

use crate::component::{PublishedComponent, UpgradeDocument};
use crate::id::{ComponentName, Sha256Hex, Version};
use serde::{Deserialize, Serialize};

/// [`super::Verb::ComponentPublish`]. The package was uploaded before, to [`crate::enrol::artifact_path`].
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

/// [`super::Verb::ComponentList`].
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
