//! The agent's own removal, from this host's command line or by the server's order.
//!
//! ```text
//! Clearing ─▶ Reporting ─▶ Erasing ─▶ nothing is left
//!  with --purge: every      the server's     identity, settings and journals first,
//!  component is stopped,    order only: it   then the service, the programs, the folder
//!  its uninstall command    must have the
//!  run, its folder removed  end of its job
//! ```
//! `state/removal.json` is the leading record: written before the first change, removed with the last folder. Every step
//! may be done again, so whoever starts next (`run` or `uninstall`) finishes what a kill interrupted. Nothing outside the
//! prefix is touched but the service that `state/service.json` names.

mod clear;
mod erase;

pub use clear::{Site, sites};
pub use erase::erase;

use crate::brain::record::cut;
use crate::hands::files;
use crate::places::Prefix;
use muster_runtime::failure::Failure;
use muster_wire::component::{DETAIL_KEPT, DETAIL_REASON, DETAIL_REMOVED};
use muster_wire::id::JobId;
use muster_wire::job::{JobExecution, JobStatus, StatusDetails};
use muster_wire::limits::STATUS_DETAIL_VALUE_CHARS_MAX;
use serde::{Deserialize, Serialize};
use std::io;

/// How far the removal is, and what became of everything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    format: u32,
    /// The components are removed, too.
    pub purge: bool,
    /// The execution that asked for it; `None` when somebody on this host did.
    pub order: Option<Order>,
    /// How far it is.
    pub stage: Stage,
    /// What is gone, or is gone with the agent; one phrase each.
    pub removed: Vec<String>,
    /// What stays; one phrase each.
    pub kept: Vec<String>,
    /// Why a component could not be removed; then the agent stays.
    pub failed: Option<String>,
}

/// The execution that asked for the removal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Job.
    pub job: JobId,
    /// The execution's number.
    pub execution: u64,
}

/// How far a removal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Components are removed or noted as kept.
    Clearing,
    /// The server is told.
    Reporting,
    /// Only the agent is left, and goes.
    Erasing,
}

/// The format that this agent writes.
const FORMAT: u32 = 1;

impl Removal {
    /// A removal of which nothing is done.
    pub fn new(purge: bool, order: Option<Order>) -> Self {
        let (removed, kept) = (Vec::new(), Vec::new());
        Self { format: FORMAT, purge, order, stage: Stage::Clearing, removed, kept, failed: None }
    }

    /// The same removal, asked for on this host: no server is told.
    pub fn taken_over(self, purge: bool) -> Self {
        // What was left alone is looked at once more when it shall go, too.
        let clears = self.stage == Stage::Clearing || (purge && !self.purge);
        let stage = if clears { Stage::Clearing } else { Stage::Erasing };
        Self { purge, order: None, stage, failed: None, ..self }
    }

    /// The removal that is under way, if one is.
    pub fn read(prefix: &Prefix) -> Result<Option<Self>, Failure> {
        let path = prefix.removal();
        let read = files::read_json::<Self>(&path);
        match read.map_err(|error| Failure::local_because(format!("cannot read {}", path.display()), error))? {
            Some(removal) if removal.format > FORMAT => {
                Err(Failure::local(format!("{} was written by a newer agent; use that one", path.display())))
            }
            other => Ok(other),
        }
    }

    /// Writes it; durable when this returns.
    pub fn write(&self, prefix: &Prefix) -> io::Result<()> {
        files::replace_json(&prefix.removal(), self)
    }

    /// Whether nobody else has to know before it is finished.
    pub fn needs_no_server(&self) -> bool {
        self.order.is_none() || self.stage == Stage::Erasing
    }

    /// Whether this execution asked for it.
    pub fn is_of(&self, execution: &JobExecution) -> bool {
        let order = self.order.as_ref();
        order.is_some_and(|order| order.job == execution.job_id && order.execution == execution.execution_number)
    }

    /// How the execution ends.
    pub fn end(&self) -> (JobStatus, StatusDetails) {
        let value = |list: &[String]| {
            let text = if list.is_empty() { "nothing".to_owned() } else { list.join("; ") };
            cut(&text, STATUS_DETAIL_VALUE_CHARS_MAX)
        };
        let mut details: StatusDetails =
            [(DETAIL_REMOVED.to_owned(), value(&self.removed)), (DETAIL_KEPT.to_owned(), value(&self.kept))].into();
        match &self.failed {
            None => (JobStatus::Succeeded, details),
            Some(reason) => {
                details.insert(DETAIL_REASON.to_owned(), cut(reason, STATUS_DETAIL_VALUE_CHARS_MAX));
                (JobStatus::Failed, details)
            }
        }
    }

    fn note_removed(&mut self, what: String) {
        if !self.removed.contains(&what) {
            self.removed.push(what);
        }
    }

    fn note_kept(&mut self, what: String) {
        if !self.kept.contains(&what) {
            self.kept.push(what);
        }
    }
}
