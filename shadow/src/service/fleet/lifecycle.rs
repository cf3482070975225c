//! The life of a connector after its enrolment: disabled and enabled, uninstalled, removed, its quarantine resolved.
//!
//! Each change is one record, the connector's; the door's table changes with it. What a removal also does to
//! certificates follows, and the start of the server does what a crash left of it; what it does to jobs and actions
//! follows from the record whenever the thing's worker looks.

use super::{FleetWorker, Refused, check_text, refuse};
use crate::records::{Connector, Lifecycle, TokenEnd, Uninstall, key};
use crate::service::ServiceError;
use crate::service::lives::UNINSTALL_PREFIX;
use muster_bus::{Deliveries, Whose};
use muster_model::job::Execution;
use muster_runtime::ids::random_hex;
use muster_wire::admin::{
    DisableConnector, LifecycleChanged, NameConnector, ResolveConnector, UninstallConnector, UninstallProgress,
    UninstallWish,
};
use muster_wire::id::{JobId, PersonName, ThingName};
use muster_wire::rejection::RejectionCode;
use muster_wire::view::{Life, LinkStatus};
use std::sync::Arc;
use tracing::info;

impl FleetWorker {
    /// Refused at the door from the answer on, and its connections end.
    pub(super) fn remove_connector(
        &self,
        remove: &NameConnector,
        by: &PersonName,
    ) -> Result<LifecycleChanged, Refused> {
        let known = self.known(&remove.name)?;
        let connector = if known.is_removed() {
            known
        } else {
            let lifecycle = Lifecycle::Removed { at: self.shared.clock.now(), by: by.clone() };
            let removed = Connector { lifecycle, token_hash: None, uninstall: None, ..known.as_ref().clone() };
            let token = self.ended_token(known.token_hash.as_deref(), TokenEnd::Revoked)?;
            self.commit(|batch| {
                if let Some((token_key, token)) = &token {
                    batch.put(token_key, token)?;
                }
                batch.put(&key::connector(&removed.name), &removed)
            })?;
            info!(connector = %removed.name, %by, "connector removed");
            self.know(removed.clone());
            Arc::new(removed)
        };
        // The connections end with this, whatever certificate they have.
        let certificates_revoked = self.revoke_of_removed(&connector)?;
        self.wake(&connector.name);
        Ok(self.outcome(&connector, certificates_revoked))
    }

    /// Takes back what certificates a removed connector has left.
    pub(super) fn revoke_of_removed(&self, connector: &Connector) -> Result<usize, ServiceError> {
        let Lifecycle::Removed { by, .. } = &connector.lifecycle else { return Ok(0) };
        self.revoke_keys_of(&connector.name, by)?;
        match self.shared.thing_identity(&connector.name) {
            Some(identity) => self.revoke_all(&identity, by, "the connector was removed"),
            None => Ok(0),
        }
    }

    pub(super) fn disable_connector(
        &self,
        disable: DisableConnector,
        by: &PersonName,
    ) -> Result<LifecycleChanged, Refused> {
        check_text("reason", disable.reason.as_deref())?;
        let known = self.in_fleet(&disable.name)?;
        if !known.is_managed() {
            return Ok(self.outcome(&known, 0));
        }
        let lifecycle = Lifecycle::Disabled { at: self.shared.clock.now(), by: by.clone(), reason: disable.reason };
        let connector = self.live_on(&known, lifecycle)?;
        info!(connector = %connector.name, %by, "connector disabled");
        if let Some(identity) = self.shared.thing_identity(&connector.name) {
            self.shared.bus.recheck(&Whose::Identity(identity));
        }
        Ok(self.outcome(&connector, 0))
    }

    pub(super) fn enable_connector(
        &self,
        enable: &NameConnector,
        by: &PersonName,
    ) -> Result<LifecycleChanged, Refused> {
        let known = self.in_fleet(&enable.name)?;
        if known.is_managed() {
            return Ok(self.outcome(&known, 0));
        }
        let connector = self.live_on(&known, Lifecycle::Active)?;
        info!(connector = %connector.name, %by, "connector enabled");
        Ok(self.outcome(&connector, 0))
    }

    fn live_on(&self, known: &Connector, lifecycle: Lifecycle) -> Result<Connector, ServiceError> {
        let connector = Connector { lifecycle, ..known.clone() };
        self.commit(|batch| batch.put(&key::connector(&connector.name), &connector))?;
        self.know(connector.clone());
        self.wake(&connector.name);
        Ok(connector)
    }

    /// Ends with exactly one place that can be used: the one that enrols again, or, when the operator says that there is
    /// only one, that one.
    pub(super) fn resolve_connector(
        &self,
        resolve: &ResolveConnector,
        by: &PersonName,
    ) -> Result<LifecycleChanged, Refused> {
        let known = self.in_fleet(&resolve.name)?;
        if self.shared.lifecycle(&known).state != Life::Quarantined {
            let message = format!("{} is not quarantined; `muster connector show {0}` says how it is", resolve.name);
            return refuse(RejectionCode::Conflict, message);
        }
        if resolve.keep_current {
            let connector = Connector { incarnation: known.incarnation + 1, ..known.as_ref().clone() };
            self.commit(|batch| batch.put(&key::connector(&connector.name), &connector))?;
            info!(connector = %connector.name, %by, "quarantine ended; the certificate stays");
            self.know(connector.clone());
            self.shared.suspect(&connector.name, None);
            // It says anew where it runs, and reports what it has.
            self.shared.bus.kick(&connector.name);
            self.wake(&connector.name);
            return Ok(self.outcome(&connector, 0));
        }
        let certificates_revoked = match self.shared.thing_identity(&known.name) {
            Some(identity) => self.revoke_all(&identity, by, "its identity ran in two places")?,
            None => 0,
        };
        info!(connector = %known.name, %by, certificates_revoked, "certificates of a quarantined connector revoked");
        self.wake(&known.name);
        Ok(self.outcome(&known, certificates_revoked))
    }

    /// Tells an agent to take itself off its host, once; or says how far it is.
    pub(super) fn uninstall_connector(
        &self,
        uninstall: &UninstallConnector,
        by: &PersonName,
    ) -> Result<UninstallProgress, Refused> {
        let known = self.in_fleet(&uninstall.name)?;
        match uninstall.wish {
            UninstallWish::Ask => self.progress(&known),
            UninstallWish::Withdraw => {
                let connector = Connector { uninstall: None, ..known.as_ref().clone() };
                if known.uninstall.is_some() {
                    self.commit(|batch| batch.put(&key::connector(&connector.name), &connector))?;
                    info!(connector = %connector.name, %by, "uninstall called off");
                    self.know(connector.clone());
                    self.wake(&connector.name);
                }
                self.progress(&connector)
            }
            UninstallWish::Start { purge } => {
                let progress = self.progress(&known)?;
                let failed = progress.status.is_some_and(|status| status.is_terminal());
                match &known.uninstall {
                    Some(_) if is_done(&progress) => return Ok(progress),
                    Some(under_way) if !failed && under_way.purge == purge => return Ok(progress),
                    Some(under_way) if !failed => {
                        let kind = if under_way.purge { "with" } else { "without" };
                        let message = format!("an uninstall {kind} --purge is under way already; ask for the same");
                        return refuse(RejectionCode::Conflict, message);
                    }
                    Some(_) | None => {}
                }
                if progress.link != LinkStatus::Online {
                    return Ok(UninstallProgress { job: None, status: None, ..progress });
                }
                let lifecycle = self.shared.lifecycle(&known);
                if lifecycle.state != Life::Active {
                    let why = lifecycle.why.unwrap_or_else(|| "it gets no jobs".to_owned());
                    let message = format!("{} cannot be told to uninstall itself: {why}", known.name);
                    return refuse(RejectionCode::Conflict, message);
                }
                let job = JobId::new(format!("{UNINSTALL_PREFIX}{}", random_hex::<8>())).expect("letters and digits");
                let told = Uninstall { job, purge, by: by.clone(), at: self.shared.clock.now() };
                let connector = Connector { uninstall: Some(told), ..known.as_ref().clone() };
                self.commit(|batch| batch.put(&key::connector(&connector.name), &connector))?;
                info!(connector = %connector.name, purge, %by, "uninstall");
                self.know(connector.clone());
                self.wake(&connector.name);
                self.progress(&connector)
            }
        }
    }

    fn progress(&self, connector: &Connector) -> Result<UninstallProgress, Refused> {
        let view = self.view_of(connector);
        let job = connector.uninstall.as_ref().map(|uninstall| uninstall.job.clone());
        let execution = match &job {
            Some(job) => self.commit(|batch| batch.get::<Execution>(&key::execution(&connector.name, job)))?,
            None => None,
        };
        Ok(UninstallProgress {
            name: connector.name.clone(),
            link: view.link,
            link_since: view.link_since,
            job,
            status: execution.as_ref().map(Execution::status),
            details: execution.map(|execution| execution.status_details).unwrap_or_default(),
        })
    }

    fn outcome(&self, connector: &Connector, certificates_revoked: usize) -> LifecycleChanged {
        let lifecycle = self.shared.lifecycle(connector);
        LifecycleChanged { name: connector.name.clone(), lifecycle, certificates_revoked }
    }

    /// One that was not removed.
    pub(super) fn in_fleet(&self, name: &ThingName) -> Result<Arc<Connector>, Refused> {
        let known = self.known(name)?;
        match &known.lifecycle {
            Lifecycle::Removed { at, by } => {
                let message = format!(
                    "{name} was removed by {by} at {at}; `muster connector add {name} --reinstall` brings it back"
                );
                refuse(RejectionCode::Conflict, message)
            }
            Lifecycle::Active | Lifecycle::Disabled { .. } => Ok(known),
        }
    }
}

fn is_done(progress: &UninstallProgress) -> bool {
    progress.status == Some(muster_wire::job::JobStatus::Succeeded)
}
