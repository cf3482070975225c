//! Components as they cross the network: published versions, upgrade documents, and what an agent reports.

use crate::id::{ComponentName, PersonName, Sha256Hex, Version};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// A published version of a component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedComponent {
    /// Component.
    pub name: ComponentName,
    /// Version.
    pub version: Version,
    /// Digest of the package.
    pub sha256: Sha256Hex,
    /// Length of the package in bytes.
    pub size: u64,
    /// The publisher's signature of [`signed_text`], base64.
    pub signature: String,
    /// How long the health probe must pass before an upgrade counts, in seconds.
    pub soak_s: u32,
    /// Free text for people.
    #[serde(default)]
    pub description: String,
    /// When it was published.
    pub published_at: Timestamp,
    /// Who published it.
    pub published_by: PersonName,
}

/// What a publisher signs: name, version, digest and length of a package, one on each line.
#[must_use]
pub fn signed_text(name: &ComponentName, version: &Version, sha256: &Sha256Hex, size: u64) -> String {
    format!("muster-package-v1\n{name}\n{version}\n{sha256}\n{size}\n")
}

/// What a job document of Muster asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// Install this version of a component, first or instead of another.
    Upgrade,
    /// Take the agent off this host.
    Uninstall,
}

impl Operation {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Upgrade => "upgrade",
            Self::Uninstall => "uninstall",
        }
    }
}

/// The job document that installs one version of a component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpgradeDocument {
    /// Always [`Operation::Upgrade`].
    pub operation: Operation,
    /// Component.
    pub component: ComponentName,
    /// The version to run.
    pub version: Version,
    /// Where the package is, below the server's HTTPS address.
    pub path: String,
    /// Digest of the package.
    pub sha256: Sha256Hex,
    /// Length of the package in bytes.
    pub size: u64,
    /// The publisher's signature of [`signed_text`], base64.
    pub signature: String,
    /// How long the health probe must pass before the upgrade counts, in seconds.
    pub soak_s: u32,
}

/// The job document that takes the agent off its host. The execution ends as `SUCCEEDED`, with [`DETAIL_REMOVED`] and
/// [`DETAIL_KEPT`], before the agent deletes its identity: it could not say so afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UninstallDocument {
    /// Always [`Operation::Uninstall`].
    pub operation: Operation,
    /// Take the components and their data along.
    #[serde(default)]
    pub purge: bool,
}

/// Where an upgrade is; the `step` of an execution's `statusDetails`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UpgradeStep {
    /// The package is on its way.
    Downloading,
    /// Digest and signature are right; the files are being unpacked beside the running version.
    Unpacking,
    /// The old version is being stopped.
    Stopping,
    /// `current` is being pointed at the new version.
    Switching,
    /// The new version is being started.
    Starting,
    /// The new version runs; its probe must pass for the soak time.
    Probing,
    /// Something failed; the old version is being brought back.
    RollingBack,
}

impl UpgradeStep {
    /// The text in `statusDetails`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Downloading => "downloading",
            Self::Unpacking => "unpacking",
            Self::Stopping => "stopping",
            Self::Switching => "switching",
            Self::Starting => "starting",
            Self::Probing => "probing",
            Self::RollingBack => "rolling-back",
        }
    }
}

/// Key in `statusDetails`: the [`UpgradeStep`].
pub const DETAIL_STEP: &str = "step";
/// Key in `statusDetails`: why an execution failed, one sentence for people.
pub const DETAIL_REASON: &str = "reason";
/// Key in `statusDetails`: how a failed execution left the host, a [`FailureOutcome`].
pub const DETAIL_OUTCOME: &str = "outcome";
/// Key in `statusDetails` of an uninstall: what is gone, for people.
pub const DETAIL_REMOVED: &str = "removed";
/// Key in `statusDetails` of an uninstall: what stays on the host, for people.
pub const DETAIL_KEPT: &str = "kept";

/// How a failed upgrade left the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureOutcome {
    /// Nothing was changed: it failed before the old version was stopped.
    Untouched,
    /// The old version runs again.
    RolledBack,
    /// Neither version runs; a person must act.
    Inconsistent,
}

impl FailureOutcome {
    /// The text in `statusDetails`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Untouched => "untouched",
            Self::RolledBack => "rolled-back",
            Self::Inconsistent => "inconsistent",
        }
    }

    /// Reads the text in `statusDetails`.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        [Self::Untouched, Self::RolledBack, Self::Inconsistent].into_iter().find(|o| o.as_str() == text)
    }
}

/// What the agent's probe says of a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// It was started; no probe has passed yet.
    Starting,
    /// The latest probe passed.
    Healthy,
    /// The latest probes failed.
    Unhealthy,
    /// It does not run.
    Stopped,
}

/// What an agent reports of one component: facts of the running process. The value of a key of
/// `state.reported` in the shadow `components`; the key is the component's name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentReport {
    /// The version that `current` points to.
    pub version: Version,
    /// Digest of the package that it came from.
    pub package_sha256: Sha256Hex,
    /// Digest of the program file of the running process, read from the process itself; absent when none runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program_sha256: Option<Sha256Hex>,
    /// Changes with every start of the process: boot, process and start time of the kernel in one text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_id: Option<String>,
    /// When the process started, by the host's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// The probe's verdict.
    pub health: Health,
    /// How long the probe has passed without a break, in seconds, when this was written.
    #[serde(default)]
    pub healthy_for_s: u32,
    /// Times that the agent had to start it again since it was switched to this version.
    #[serde(default)]
    pub restarts: u32,
    /// The port that it says it listens on, if its recipe names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The version that failed last, if one did; kept apart from what runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failed: Option<LastFailed>,
}

/// A version that an agent tried and gave up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastFailed {
    /// Version.
    pub version: Version,
    /// Digest of its package.
    pub package_sha256: Sha256Hex,
    /// Why; one sentence for people.
    pub reason: String,
    /// When, by the host's clock.
    pub at: Timestamp,
}

/// What the server wants of one component: the value of a key of `state.desired` in the shadow `components`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredComponent {
    /// The version that shall run.
    pub version: Version,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_and_outcomes_have_one_spelling() {
        for step in [UpgradeStep::Downloading, UpgradeStep::RollingBack, UpgradeStep::Probing] {
            assert_eq!(serde_json::to_value(step).ok(), Some(step.as_str().into()));
        }
        for outcome in [FailureOutcome::Untouched, FailureOutcome::RolledBack, FailureOutcome::Inconsistent] {
            assert_eq!(FailureOutcome::from_text(outcome.as_str()), Some(outcome));
            assert_eq!(serde_json::to_value(outcome).ok(), Some(outcome.as_str().into()));
        }
    }
}
