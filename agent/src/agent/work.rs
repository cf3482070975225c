//! The work that the server offers: taken on, told about while it goes on, told again until its end is known.

use super::{Agent, Ask, COALESCE};
use crate::brain::record::{Finished, step_details};
use crate::brain::upgrade::{Step, Upgrade};
use crate::hands::installed;
use crate::hands::journal::JournalError;
use crate::platform;
use muster_runtime::{faults, ids};
use muster_wire::component::{
    DETAIL_OUTCOME, DETAIL_REASON, FailureOutcome, Operation, UninstallDocument, UpgradeDocument,
};
use muster_wire::id::{ComponentName, JobId};
use muster_wire::job::{JobExecution, JobStatus};
use serde::Deserialize;
use serde_json::Value;
use tracing::{debug, error, info, warn};

impl Agent {
    pub(super) fn ask_for_work(&mut self) {
        if self.up && !self.is_busy() && !self.requests.is_open(&Ask::StartNext) {
            self.ask(Ask::StartNext);
        }
    }

    /// The server says that this execution is ours to do.
    pub(super) fn offer(&mut self, execution: &JobExecution) {
        if self.removal.as_ref().is_some_and(|removal| removal.is_of(execution)) {
            self.tell_leaving();
            return;
        }
        let known = self.components.iter().find_map(|(name, component)| {
            let record = component.journal.read();
            let is_under_way = record.upgrade.as_ref().is_some_and(|upgrade| is_of(upgrade, execution));
            let end = record.end_of(execution).cloned();
            (is_under_way || end.is_some()).then(|| (name.clone(), end))
        });
        match known {
            Some((name, Some(end))) => self.tell_end(&name, &end),
            Some((name, None)) => self.tell_step(&name),
            None if self.is_busy() => {
                debug!(job = %execution.job_id, "one upgrade at a time; it will be offered again")
            }
            None => self.take_on(execution),
        }
    }

    fn take_on(&mut self, execution: &JobExecution) {
        let (job, number) = (execution.job_id.clone(), execution.execution_number);
        let document = match Document::read(execution) {
            Ok(Document::Upgrade(document)) => document,
            Ok(Document::Uninstall(document)) => return self.leave(execution, &document),
            Err(error) => {
                let why = format!("this agent cannot carry out the job document: {error}");
                warn!(%job, why, "job refused");
                self.ask(Ask::Refusal { job, execution: number, why });
                return;
            }
        };
        let operation = document.operation.as_str();
        if !self.parts.allow.covers(operation, &document.component) {
            let allow = &self.parts.allow;
            let why = format!(
                "this host does not accept {operation} of {}: allow in its agent.toml names {allow}",
                document.component
            );
            warn!(%job, why, "job refused");
            self.ask(Ask::Refusal { job, execution: number, why });
            return;
        }
        info!(%job, component = %document.component, version = %document.version, "upgrade accepted");
        let name = document.component.clone();
        match self.accept(job.clone(), number, document) {
            Ok(()) => {
                faults::point("upgrade.accepted");
                self.begin(&name, false);
            }
            Err(error) => {
                error!(%job, %error, "the upgrade cannot be journaled");
                let reason = (DETAIL_REASON.to_owned(), error.to_string());
                let outcome = (DETAIL_OUTCOME.to_owned(), FailureOutcome::Untouched.as_str().to_owned());
                // Without a journal nobody could repeat this, but the server will offer the job again.
                self.send_update(&job, number, JobStatus::Failed, [reason, outcome].into(), ids::random_hex::<8>());
            }
        }
    }

    fn accept(&mut self, job: JobId, execution: u64, document: UpgradeDocument) -> Result<(), JournalError> {
        let accepted_at = self.parts.clock.now();
        let component = self.component(&document.component.clone())?;
        let failed = |source| JournalError::Write { path: component.home.root().to_owned(), source };
        std::fs::create_dir_all(component.home.root()).map_err(failed)?;
        platform::sync_parent(component.home.root()).map_err(failed)?;
        let from = installed::current(&component.home);
        let upgrade = Upgrade { job, execution, document, from, accepted_at, step: Step::Downloading };
        component.journal.change(|record| record.upgrade = Some(upgrade))
    }

    /// The journal of a component has something new.
    pub(super) fn upgrade_moved(&mut self, name: &ComponentName) {
        self.tell_step(name);
        self.report_soon(COALESCE);
        if !self.is_busy() {
            self.report();
            self.tell_ends();
        }
    }

    pub(super) fn tell_step(&mut self, name: &ComponentName) {
        let Some(upgrade) = self.record(name).and_then(|record| record.upgrade) else { return };
        let details = step_details(&upgrade.step);
        // Only a hint for people who watch: its answer is not waited for, and it is not sent twice.
        self.send_update(&upgrade.job, upgrade.execution, JobStatus::InProgress, details, ids::random_hex::<8>());
    }

    pub(super) fn tell_ends(&mut self) {
        let mut waiting = Vec::new();
        for (name, component) in &self.components {
            let ends = component.journal.read().finished.into_iter().filter(|end| !end.delivered);
            waiting.extend(ends.map(|end| (name.clone(), end)));
        }
        for (name, end) in waiting {
            self.tell_end(&name, &end);
        }
    }

    fn tell_end(&mut self, name: &ComponentName, end: &Finished) {
        let ask = Ask::End { component: name.clone(), job: end.job.clone(), execution: end.execution };
        if !self.requests.is_open(&ask) {
            self.ask(ask);
        }
    }

    /// The server knows the end of an execution, or does not want to.
    pub(super) fn settled(&mut self, asked: &Ask) {
        if *asked == Ask::Leaving {
            return self.leaving_known();
        }
        if let Ask::End { component, job, execution } = asked
            && let Some(component) = self.components.get(component)
            && !component
                .journal
                .read()
                .finished
                .iter()
                .any(|f| f.delivered && f.job == *job && f.execution == *execution)
            && let Err(error) = component.journal.change(|record| record.delivered(job, *execution))
        {
            warn!(%error, "the server is told again after the next start");
            component.journal.change_unwritten(|record| {
                record.delivered(job, *execution);
            });
        }
    }
}

/// What the server can ask for.
enum Document {
    Upgrade(UpgradeDocument),
    Uninstall(UninstallDocument),
}

impl Document {
    fn read(execution: &JobExecution) -> Result<Self, serde_json::Error> {
        /// What every document has.
        #[derive(Deserialize)]
        struct Head {
            operation: Operation,
        }
        let document = Value::Object(execution.job_document.clone().unwrap_or_default());
        match Head::deserialize(&document)?.operation {
            Operation::Upgrade => serde_json::from_value(document).map(Self::Upgrade),
            Operation::Uninstall => serde_json::from_value(document).map(Self::Uninstall),
        }
    }
}

fn is_of(upgrade: &Upgrade, execution: &JobExecution) -> bool {
    upgrade.job == execution.job_id && upgrade.execution == execution.execution_number
}
