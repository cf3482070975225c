//! Operator requests about upgrades.

use super::Selector;
use crate::id::{ComponentName, TargetId, ThingName, Version};
use crate::view::ActionView;
use serde::{Deserialize, Serialize};

/// [`super::Verb::Upgrade`].
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

/// [`super::Verb::Actions`].
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
