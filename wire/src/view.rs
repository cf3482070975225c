//! The contract for dashboards: JSON on `muster/view/…`. Version 1; fields are added, never changed or removed.

use crate::component::{Health, LastFailed};
use crate::enrol::HostFacts;
use crate::id::{ComponentName, JobId, PersonName, PoolName, SiteName, TargetId, ThingName, Version};
use crate::telemetry::HostTelemetry;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Version of the view contract.
pub const VIEW_VERSION: u8 = 1;

/// Whether a connector is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkStatus {
    /// It has not connected yet.
    #[default]
    Never,
    /// It is connected.
    Online,
    /// It is gone for a short while.
    Stale,
    /// It is gone.
    Offline,
}

/// Whether a connector's components do their work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WorkStatus {
    /// Nothing is known, or there is no component.
    #[default]
    Unknown,
    /// Every component is healthy and at the wanted version.
    Healthy,
    /// A component is not at the wanted version, or still starting.
    Degraded,
    /// A component does not run or fails its probe.
    Failed,
}

/// Whether a connector is let in and managed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Life {
    /// It is.
    #[default]
    Active,
    /// An operator disabled it: it is not let in and not managed until it is enabled again.
    Disabled,
    /// Its identity runs in two places: it is heard, and gets no work until an operator resolves it.
    Quarantined,
    /// An operator removed it: it is not let in, and comes back only with a new enrolment.
    Removed,
}

/// Where a connector is in its life.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifecycleView {
    /// Whether it is let in and managed.
    pub state: Life,
    /// Since when; absent for an active one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Which operator did it; absent for an active one, and where the server did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<PersonName>,
    /// Why, and for a quarantined one what to do; for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// A connector: the retained payload of `muster/view/connectors/{thing}`, and a line of every listing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConnectorView {
    /// [`VIEW_VERSION`].
    pub v: u8,
    /// Name.
    pub name: ThingName,
    /// Pool, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<PoolName>,
    /// Site, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<SiteName>,
    /// Free text for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Where it is in its life.
    #[serde(default)]
    pub lifecycle: LifecycleView,
    /// Whether it is reached.
    pub link: LinkStatus,
    /// Since when `link` is what it is.
    pub link_since: Timestamp,
    /// Whether its components do their work.
    pub work: WorkStatus,
    /// Since when `work` is what it is.
    #[serde(default)]
    pub work_since: Timestamp,
    /// When it last said anything that was stored; absent before the first time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_sync: Option<Timestamp>,
    /// When an operator added it.
    pub registered_at: Timestamp,
    /// When it got its certificate; absent before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enrolled_at: Option<Timestamp>,
    /// What it said of its host.
    pub host: HostFacts,
    /// Whether its agent is another program than the one that the server offers; absent where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_outdated: Option<bool>,
    /// Its components, wanted or reported.
    pub components: BTreeMap<ComponentName, ComponentView>,
    /// The latest measurements; only in `connector show` and listings, not in the retained view.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub telemetry: Option<HostTelemetry>,
    /// How far the host's clock was ahead of the server's when the latest measurement came, in milliseconds; the way
    /// of the message counts as behind. Only where `telemetry` is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_ahead_ms: Option<i64>,
}

impl ConnectorView {
    /// Whether its agent or one of its components is not the latest for it.
    #[must_use]
    pub fn is_outdated(&self) -> bool {
        self.agent_outdated == Some(true) || self.components.values().any(|component| component.outdated)
    }
}

/// A component of a connector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentView {
    /// The version that shall run, if the server wants one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired: Option<Version>,
    /// The version that runs, as the agent reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reported: Option<Version>,
    /// The version that the server last confirmed from facts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed: Option<Version>,
    /// The latest version for it: the one that an intent wants here, else the one published last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest: Option<Version>,
    /// Whether it runs another version than the latest for it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub outdated: bool,
    /// What the probe says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// The port that it says it listens on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The version that failed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failed: Option<LastFailed>,
    /// Why it is not where it should be; absent when it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

fn is_false(value: &bool) -> bool {
    !*value
}

/// Where an upgrade of one component on one connector is. Only the server writes `confirmed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ActionState {
    /// The execution is made; the connector has not started it.
    Queued,
    /// The connector works on it.
    Running,
    /// The connector says it is done; the server waits for the facts that prove it.
    Proving,
    /// Facts of the new process prove it. An end.
    Confirmed,
    /// The new version failed and the old one runs again. An end.
    RolledBack,
    /// It failed otherwise; `reason` says how. An end.
    Failed,
    /// A newer intent took its place before it began. An end.
    Superseded,
}

impl ActionState {
    /// Whether nothing leaves this state.
    #[must_use]
    pub const fn is_end(self) -> bool {
        matches!(self, Self::Confirmed | Self::RolledBack | Self::Failed | Self::Superseded)
    }

    /// The text, as in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Proving => "proving",
            Self::Confirmed => "confirmed",
            Self::RolledBack => "rolled-back",
            Self::Failed => "failed",
            Self::Superseded => "superseded",
        }
    }
}

/// An upgrade of one component on one connector: a message of `muster/view/actions`, a line of `muster actions`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionView {
    /// [`VIEW_VERSION`].
    pub v: u8,
    /// The intent that it serves.
    pub target: TargetId,
    /// The job that carries it out.
    pub job: JobId,
    /// Connector.
    pub thing: ThingName,
    /// Component.
    pub component: ComponentName,
    /// The version that ran before, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Version>,
    /// The version that shall run.
    pub to: Version,
    /// Where it is.
    pub state: ActionState,
    /// The agent's step while `state` is `running`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// Why it ended as it did, or what it waits for; one sentence for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who asked.
    pub by: PersonName,
    /// When it began.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}
