//! Operator requests about the life of a connector after its enrolment.

use crate::id::{JobId, ThingName};
use crate::job::{JobStatus, StatusDetails};
use crate::time::Timestamp;
use crate::view::{LifecycleView, LinkStatus};
use serde::{Deserialize, Serialize};

/// [`super::Verb::ConnectorRemove`] and [`super::Verb::ConnectorEnable`]; answered with [`LifecycleChanged`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NameConnector {
    /// Which one.
    pub name: ThingName,
}

/// [`super::Verb::ConnectorDisable`]; answered with [`LifecycleChanged`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DisableConnector {
    /// Which one.
    pub name: ThingName,
    /// Why; free text for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// [`super::Verb::ConnectorResolve`]; answered with [`LifecycleChanged`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResolveConnector {
    /// Which one.
    pub name: ThingName,
    /// There is one place only, whose state was restored: its certificate stays good, and its counter is believed. A
    /// second place that shows up is found again. Otherwise every certificate of the connector is revoked, and the place
    /// that shall go on enrols again.
    #[serde(default)]
    pub keep_current: bool,
}

/// How the connector stands after a change. The same change again changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifecycleChanged {
    /// Which one.
    pub name: ThingName,
    /// Where it is in its life now.
    pub lifecycle: LifecycleView,
    /// How many certificates were revoked by this change.
    pub certificates_revoked: usize,
}

/// [`super::Verb::ConnectorUninstall`]: tells an agent to take itself off its host, and asks how far it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UninstallConnector {
    /// Which one.
    pub name: ThingName,
    /// What to do.
    pub wish: UninstallWish,
}

/// What is to become of an uninstall.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UninstallWish {
    /// Tell the agent, if it is connected and was not told yet.
    Start {
        /// Take the components and their data along.
        purge: bool,
    },
    /// Say how far it is.
    Ask,
    /// Call it off, if the agent has not begun.
    Withdraw,
}

/// How far an uninstall is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UninstallProgress {
    /// Which connector.
    pub name: ThingName,
    /// Whether the agent is reached.
    pub link: LinkStatus,
    /// Since when.
    pub link_since: Timestamp,
    /// The job that tells the agent; absent when it was not told, or when it was called off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobId>,
    /// How the job stands; absent until it is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<JobStatus>,
    /// What the agent says: [`crate::component::DETAIL_REMOVED`], [`crate::component::DETAIL_KEPT`],
    /// [`crate::component::DETAIL_REASON`].
    #[serde(default)]
    pub details: StatusDetails,
}
