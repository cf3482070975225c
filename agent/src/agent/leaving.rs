//! The agent's own removal by the server's order: components first, then the server must know the end of the execution,
//! and only then the agent ends, to be erased by [`crate::run`].

use super::{Agent, Ask, Ended};
use crate::hands::files;
use crate::removal::{Order, Removal, Site, Stage};
use muster_runtime::faults;
use muster_wire::component::UninstallDocument;
use muster_wire::id::ComponentName;
use muster_wire::job::{JobExecution, JobRejected};
use tracing::{error, info, warn};

impl Agent {
    /// Takes the order on. Upgrades are over: only one job is worked on at a time.
    pub(super) fn leave(&mut self, execution: &JobExecution, document: &UninstallDocument) {
        let (job, number) = (execution.job_id.clone(), execution.execution_number);
        let stays = |name: &&ComponentName| !self.parts.allow.covers("uninstall", name);
        if document.purge
            && let Some(name) = self.components.keys().find(stays)
        {
            let allow = &self.parts.allow;
            let why = format!("this host does not accept uninstall of {name}: allow in its agent.toml names {allow}");
            warn!(%job, why, "job refused");
            self.ask(Ask::Refusal { job, execution: number, why });
            return;
        }
        info!(%job, purge = document.purge, "removal accepted");
        let removal = Removal::new(document.purge, Some(Order { job: job.clone(), execution: number }));
        if let Err(error) = removal.write(&self.parts.prefix) {
            let why = format!("the removal cannot be written down: {error}");
            error!(%job, why, "job refused");
            self.ask(Ask::Refusal { job, execution: number, why });
            return;
        }
        faults::point("uninstall.accepted");
        self.removal = Some(removal);
        self.clear_out();
    }

    /// Goes on with the removal that an earlier agent began.
    pub(super) fn clear_out(&mut self) {
        let Some(removal) = self.removal.clone() else { return };
        let site = |(name, component): (&ComponentName, &super::Component)| Site {
            name: name.clone(),
            home: component.home.clone(),
            supervisor: component.supervisor.clone(),
        };
        let sites: Vec<Site> = self.components.iter().map(site).collect();
        let (prefix, news, stop) = (self.parts.prefix.clone(), self.cleared.0.clone(), self.parts.stop.clone());
        self.tasks.spawn(async move {
            tokio::select! {
                // Dropped anywhere, it is done again after the next start.
                () = stop.cancelled() => {}
                // The receiver ends with the agent, and then nobody needs to know.
                removal = removal.clear(&prefix, sites) => drop(news.send(removal).await),
            }
        });
    }

    /// Nothing is left to do but to tell the server.
    pub(super) fn has_cleared(&mut self, removal: Removal) {
        if let Err(error) = removal.write(&self.parts.prefix) {
            // After a crash it is cleared once more, which finds nothing to do.
            warn!(%error, "how far the removal is was not written down");
        }
        self.removal = Some(removal);
        faults::point("uninstall.before_report");
        self.report();
        self.tell_leaving();
    }

    /// Tells the server how the removal ended, until it knows.
    pub(super) fn tell_leaving(&mut self) {
        let is_due = self.removal.as_ref().is_some_and(|removal| removal.stage == Stage::Reporting);
        if is_due && !self.requests.is_open(&Ask::Leaving) {
            self.ask(Ask::Leaving);
        }
    }

    /// The server knows the end of the execution.
    pub(super) fn leaving_known(&mut self) {
        let Some(mut removal) = self.removal.take() else { return };
        if removal.failed.is_some() {
            self.stay();
            return;
        }
        faults::point("uninstall.after_report");
        removal.stage = Stage::Erasing;
        if let Err(error) = removal.write(&self.parts.prefix) {
            warn!(%error, "how far the removal is was not written down; after a crash the server is told once more");
        }
        self.removal = Some(removal);
        self.ended = Some(Ended::Left);
    }

    /// The server does not take the end of the execution. Either it has it, and only its answer was lost; or the order
    /// was called off meanwhile.
    pub(super) fn leaving_refused(&mut self, answer: &JobRejected) {
        let Some(removal) = &self.removal else { return };
        let known = answer.execution_state.as_ref().map(|state| state.status);
        if known == Some(removal.end().0) {
            self.leaving_known();
        } else {
            warn!(message = answer.message, "the removal was called off; the agent stays");
            self.removal = None;
            self.stay();
        }
    }

    /// The server does not let this host in any more. When it has ordered the removal that is no news: nobody is left to
    /// be told.
    pub(super) fn shut_out(&mut self) {
        if self.removal.as_ref().is_some_and(|removal| removal.stage == Stage::Reporting && removal.failed.is_none()) {
            info!("the server does not let this host in any more; the removal goes on");
            self.leaving_known();
        }
    }

    /// Works on as if nothing had been ordered.
    fn stay(&mut self) {
        if let Err(error) = files::remove_file(&self.parts.prefix.removal()) {
            warn!(%error, "the record of the removal is still there");
        }
        let names: Vec<ComponentName> = self.components.keys().cloned().collect();
        for name in names {
            if let Err(error) = self.adopt(&name) {
                error!(component = %name, %error, "it does not run");
            }
        }
        self.ask_for_work();
    }
}
