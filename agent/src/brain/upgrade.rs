//! One upgrade as a state machine. Its step is journaled before the step's action is done.
//!
//! ```text
//! Downloading ─▶ Unpacking ─▶ Stopping ─▶ Switching ─▶ Starting ─▶ Probing ─▶ succeeded
//!      │             │            └───────────┴──────────┴──────────┘
//!      ▼             ▼                        ▼ any failure
//!   failed, untouched              RollingBack: Stopping ─▶ Switching ─▶ Starting ─▶ Probing ─▶ failed, rolled back
//!                                       └──── failure of the rollback itself ────▶ failed, inconsistent
//! ```
//! Every action is idempotent: after a crash the same step is simply done again. When there was no version before, a
//! failed first install ends with nothing running, as before: that counts as untouched.

use muster_wire::component::{FailureOutcome, UpgradeDocument, UpgradeStep};
use muster_wire::id::{JobId, Version};
use muster_wire::time::Timestamp;
use serde::{Deserialize, Serialize};

/// An upgrade under way; what the journal keeps of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upgrade {
    /// The execution that asked for it.
    pub job: JobId,
    /// The execution's number.
    pub execution: u64,
    /// What is wanted.
    pub document: UpgradeDocument,
    /// What `current` pointed to before; the way back.
    pub from: Option<Version>,
    /// When it was accepted, by the host's clock.
    pub accepted_at: Timestamp,
    /// Where it is.
    pub step: Step,
}

/// Where an upgrade is: the action of this step is being done, or was interrupted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "at", rename_all = "kebab-case")]
pub enum Step {
    /// The package is fetched and checked.
    Downloading,
    /// The files are unpacked beside the running version, the host is checked, the install command runs.
    Unpacking,
    /// The old version is stopped.
    Stopping,
    /// `current` is pointed at the new version.
    Switching,
    /// The new version is started.
    Starting,
    /// The new version's probe must pass for the soak time.
    Probing,
    /// It failed; the old version is brought back.
    RollingBack {
        /// Why it failed; one sentence for people.
        reason: String,
        /// How far the way back is.
        stage: Stage,
    },
}

/// How far the way back is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// The new version is stopped.
    Stopping,
    /// `current` is pointed back.
    Switching,
    /// The old version is started.
    Starting,
    /// The old version's probe must pass once.
    Probing,
}

/// What is true on the host, read anew before every action.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The whole package lies in the spool.
    pub fetched: bool,
    /// The new version's files are complete, from the very package that the document names.
    pub unpacked: bool,
    /// This is the first look after a start of the agent: nothing is supervised yet, even if it runs.
    pub resumed: bool,
}

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The facts say that this step comes first.
    Move(Step),
    /// Fetch and check the package.
    Download,
    /// Unpack it, check the host, run the install command.
    Unpack,
    /// Make sure that no process of the component runs.
    Stop,
    /// Point `current` at this version, or remove it.
    Point(Option<Version>),
    /// Make sure that exactly this version runs.
    Start {
        /// Version.
        version: Version,
        /// On trial: when it dies it stays dead, and that is a verdict.
        trial: bool,
    },
    /// Watch the probe.
    Probe {
        /// The version that must run.
        version: Version,
        /// How long it must pass; zero means one pass is enough.
        soak_s: u32,
    },
    /// Nothing is left to do.
    End(Verdict),
}

/// What an action came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It is done.
    Done,
    /// It cannot be done; one sentence for people.
    Failed(String),
}

/// How an upgrade ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The new version runs and its probe passed for the soak time.
    Succeeded,
    /// It did not work.
    Failed {
        /// Why; one sentence for people.
        reason: String,
        /// How the host was left.
        outcome: FailureOutcome,
    },
}

/// Where an upgrade goes after an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// To this step.
    Step(Step),
    /// To its end.
    End(Verdict),
}

impl Upgrade {
    /// The wanted version is the current one already. It is started anew all the same: only a new process proves that
    /// the order was carried out.
    #[must_use]
    pub fn is_same_version(&self) -> bool {
        self.from.as_ref() == Some(&self.document.version)
    }
}

impl Step {
    /// The step as the server knows it.
    #[must_use]
    pub fn public(&self) -> UpgradeStep {
        match self {
            Self::Downloading => UpgradeStep::Downloading,
            Self::Unpacking => UpgradeStep::Unpacking,
            Self::Stopping => UpgradeStep::Stopping,
            Self::Switching => UpgradeStep::Switching,
            Self::Starting => UpgradeStep::Starting,
            Self::Probing => UpgradeStep::Probing,
            Self::RollingBack { .. } => UpgradeStep::RollingBack,
        }
    }

    /// Whether the old version still has to run while this step is done.
    #[must_use]
    pub fn leaves_old_running(&self) -> bool {
        matches!(self, Self::Downloading | Self::Unpacking)
    }
}

/// What to do now, from the journaled step and the facts.
#[must_use]
pub fn next(upgrade: &Upgrade, facts: &Facts) -> Action {
    let target = &upgrade.document.version;
    match &upgrade.step {
        Step::Downloading if facts.unpacked => Action::Move(Step::Unpacking),
        Step::Downloading => Action::Download,
        // The spool may have been cleaned while the agent was down.
        Step::Unpacking if !facts.unpacked && !facts.fetched => Action::Move(Step::Downloading),
        Step::Unpacking => Action::Unpack,
        Step::Stopping => Action::Stop,
        Step::Switching => Action::Point(Some(target.clone())),
        Step::Starting => Action::Start { version: target.clone(), trial: true },
        // Starting adopts what runs, and after a restart of the host starts it: that is no fault of the new version.
        Step::Probing if facts.resumed => Action::Move(Step::Starting),
        Step::Probing => Action::Probe { version: target.clone(), soak_s: upgrade.document.soak_s },
        Step::RollingBack { reason, stage } => match (stage, &upgrade.from) {
            (Stage::Stopping, _) => Action::Stop,
            (Stage::Switching, from) => Action::Point(from.clone()),
            (Stage::Starting | Stage::Probing, None) => {
                Action::End(Verdict::Failed { reason: reason.clone(), outcome: FailureOutcome::Untouched })
            }
            (Stage::Starting, Some(from)) => Action::Start { version: from.clone(), trial: false },
            (Stage::Probing, Some(_)) if facts.resumed => {
                Action::Move(Step::RollingBack { reason: reason.clone(), stage: Stage::Starting })
            }
            (Stage::Probing, Some(from)) => Action::Probe { version: from.clone(), soak_s: 0 },
        },
    }
}

/// Where the upgrade goes when the action of its step came to `event`.
#[must_use]
pub fn after(upgrade: &Upgrade, event: Event) -> Next {
    let back = |reason: String, stage| Next::Step(Step::RollingBack { reason, stage });
    let untouched = |reason| Next::End(Verdict::Failed { reason, outcome: FailureOutcome::Untouched });
    match (&upgrade.step, event) {
        (Step::Downloading, Event::Done) => Next::Step(Step::Unpacking),
        (Step::Unpacking, Event::Done) => Next::Step(Step::Stopping),
        (Step::Stopping, Event::Done) => Next::Step(Step::Switching),
        (Step::Switching, Event::Done) => Next::Step(Step::Starting),
        (Step::Starting, Event::Done) => Next::Step(Step::Probing),
        (Step::Probing, Event::Done) => Next::End(Verdict::Succeeded),
        (Step::Downloading | Step::Unpacking, Event::Failed(reason)) => untouched(reason),
        // `current` was not moved yet, so it is enough to see to it that the old version runs.
        (Step::Stopping, Event::Failed(reason)) => back(reason, Stage::Starting),
        (Step::Switching | Step::Starting | Step::Probing, Event::Failed(reason)) => back(reason, Stage::Stopping),
        (Step::RollingBack { reason, stage }, event) => after_rollback(reason, *stage, event),
    }
}

fn after_rollback(reason: &str, stage: Stage, event: Event) -> Next {
    let end = |reason, outcome| Next::End(Verdict::Failed { reason, outcome });
    let to = |stage| Next::Step(Step::RollingBack { reason: reason.to_owned(), stage });
    match (stage, event) {
        (Stage::Stopping, Event::Done) => to(Stage::Switching),
        (Stage::Switching, Event::Done) => to(Stage::Starting),
        (Stage::Starting, Event::Done) => to(Stage::Probing),
        (Stage::Probing, Event::Done) => end(reason.to_owned(), FailureOutcome::RolledBack),
        (_, Event::Failed(second)) => {
            end(format!("{reason}; and the old version did not come back: {second}"), FailureOutcome::Inconsistent)
        }
    }
}

#[cfg(test)]
mod tests;
