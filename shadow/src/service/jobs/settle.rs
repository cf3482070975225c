//! What jobs as a whole want of one thing: executions are made, called off, taken away and deleted here, by the thing's
//! worker. What to do is read anew from the job each time, so that asking twice changes nothing.

use super::Desk;
use super::live::{self, LiveJob};
use crate::records::{JobJoined, key};
use crate::service::batch::Batch;
use crate::service::reconcile::lasting;
use crate::service::{ServiceError, Shared, views};
use muster_bus::{Order, OrderKind};
use muster_model::job::{self, Event, Execution, Outcome, Phase};
use muster_wire::enrol::HostFacts;
use muster_wire::id::{JobId, ThingName};
use muster_wire::job::{ExecutionDescription, JobStatus, StatusDetails};
use muster_wire::rejection::{Rejection, RejectionCode};
use std::sync::Arc;

/// Brings the execution of `job` on `thing` to where the job wants it; the rollout, a cancel or a delete reached the
/// thing. Returns whether anything changed.
pub(in crate::service) fn settle(
    shared: &Shared,
    batch: &mut Batch<'_>,
    thing: &ThingName,
    job: &JobId,
) -> Result<bool, ServiceError> {
    let Some(live) = shared.jobs().get(job).cloned() else { return Ok(false) };
    let mut desk = Desk::open(shared, batch, thing)?;
    desk.settle_one(&live, true)?;
    desk.close()
}

/// Carries out an operator's order about one execution.
pub(in crate::service) fn order(
    shared: &Shared,
    batch: &mut Batch<'_>,
    order: &Order,
) -> Result<Result<ExecutionDescription, Rejection>, ServiceError> {
    let mut desk = Desk::open(shared, batch, &order.thing)?;
    let Some(before) = desk.executions.iter().find(|execution| execution.job_id == order.job).cloned() else {
        let message = format!(
            "job {} has no execution on {}; `muster job executions {}` shows all",
            order.job, order.thing, order.job
        );
        return Ok(Err(Rejection::new(RejectionCode::NotFound, message)));
    };
    let outcome = match &order.kind {
        OrderKind::Cancel { force, expected_version, status_details } => {
            desk.cancel(&before, *force, *expected_version, status_details.as_ref())?
        }
        OrderKind::Delete { execution_number, force } => {
            desk.delete(&before, execution_number.unwrap_or(before.execution_number), *force)?
        }
    };
    desk.close()?;
    Ok(outcome)
}

impl Desk<'_, '_> {
    /// What every live job wants of this thing. New executions are only for those who came late to a continuous job.
    pub(super) fn settle_all(&mut self) -> Result<(), ServiceError> {
        let jobs = self.shared.jobs();
        for live in jobs.values() {
            if live.rules.continuous || self.executions.iter().any(|execution| execution.job_id == live.id) {
                self.settle_one(live, false)?;
            }
        }
        Ok(())
    }

    fn settle_one(&mut self, live: &Arc<LiveJob>, told: bool) -> Result<(), ServiceError> {
        let found = self.executions.iter().find(|execution| execution.job_id == live.id).cloned();
        match live.phase {
            Phase::Scheduled | Phase::Completed => Ok(()),
            Phase::Rolling | Phase::Stopped => self.keep_member(live, found, told),
            Phase::Canceling { force } | Phase::Canceled { force } => {
                let event = Event::Cancel { force };
                match found.map(|before| job::apply(&before, &event, self.batch.now)) {
                    // In progress and not forced, or over: it stays as it is.
                    None | Some(Err(_)) => Ok(()),
                    Some(Ok(after)) => self.put(after),
                }
            }
            Phase::Deleting => found.map_or(Ok(()), |execution| self.erase(&execution)),
        }
    }

    fn keep_member(&mut self, live: &Arc<LiveJob>, found: Option<Execution>, told: bool) -> Result<(), ServiceError> {
        let (now, limit) = (self.batch.now, live.rules.time_limit);
        let connector = self.shared.fleet().connectors.get(self.thing).cloned();
        if connector.as_ref().is_some_and(|connector| connector.is_removed()) {
            // What it had was called off with its removal.
            return Ok(());
        }
        let host = match &connector {
            // Only groups ask what a host says of itself.
            Some(connector) if live.rules.continuous => views::host(self.batch, connector)?,
            Some(_) | None => HostFacts::default(),
        };
        let facts = connector.as_deref().map(|connector| lasting(connector, &host));
        let member = live.has(self.thing, facts.as_ref());
        match found {
            None if member && live.gives(self.thing, told, now) && !self.had_it_deleted(live)? => {
                self.note_late(live)?;
                self.queue(&live.id, limit);
                self.prune()
            }
            None => Ok(()),
            Some(before) if !before.status().is_terminal() && !member => {
                match job::apply(&before, &Event::Remove, now) {
                    Ok(after) => self.put(after),
                    Err(_) => Ok(()),
                }
            }
            // It left, and came back.
            Some(before)
                if before.outcome() == Some(Outcome::Removed) && member && live.gives(self.thing, told, now) =>
            {
                if live.rules.continuous { self.put(before.again(limit, now)) } else { Ok(()) }
            }
            Some(_) => self.note_late(live),
        }
    }

    /// Notes a thing that came late, so that the job's listing, cancel and delete find it. The note may be there without
    /// an execution after a crash, which does no harm; the other way round the next look writes it.
    fn note_late(&mut self, live: &LiveJob) -> Result<(), ServiceError> {
        if !live.came_late(self.thing) {
            return Ok(());
        }
        let key = key::job_joined(&live.id).part(self.thing);
        if self.batch.get::<JobJoined>(&key)?.is_none() {
            let at = self.batch.now;
            self.batch.put(&key, &JobJoined { at, deleted: false })?;
        }
        Ok(())
    }

    /// Whether an operator deleted what the thing had of this job.
    fn had_it_deleted(&mut self, live: &LiveJob) -> Result<bool, ServiceError> {
        let note = self.batch.get::<JobJoined>(&key::job_joined(&live.id).part(self.thing))?;
        Ok(note.is_some_and(|note| note.deleted))
    }

    /// Notes that an operator deleted what the thing has of this job: otherwise the next look at a member of a continuous
    /// job, a page that is sent again after a crash, or the round that it was queued in would make it once more. The note
    /// goes with the job. Its key comes before that of the execution, and so it is written first.
    fn note_deleted(&mut self, job: &JobId) -> Result<(), ServiceError> {
        if !self.shared.jobs().contains_key(job) {
            return Ok(());
        }
        let note = JobJoined { at: self.batch.now, deleted: true };
        self.batch.put(&key::job_joined(job).part(self.thing), &note)
    }

    /// Ends an execution, or changes it; what failed or timed out is tried again where its job says so. One write of
    /// one key: no crash can come between the end and the new try.
    pub(super) fn put_or_retry(&mut self, after: Execution) -> Result<(), ServiceError> {
        let live = self.shared.jobs().get(&after.job_id).filter(|live| live.goes_on()).cloned();
        let again = live.filter(|live| job::retry_allows(&live.rules.retry, &after));
        let next = again.map(|live| after.again(live.rules.time_limit, self.batch.now));
        let Some(next) = next else { return self.put(after) };
        self.announce_end(&after);
        // Counted in one step: in between the job would seem to be over.
        self.store(next)
    }

    fn cancel(
        &mut self,
        before: &Execution,
        force: bool,
        expected: Option<u64>,
        details: Option<&StatusDetails>,
    ) -> Result<Result<ExecutionDescription, Rejection>, ServiceError> {
        let conflict = |message: String| Ok(Err(Rejection::new(RejectionCode::Conflict, message)));
        if let Err(refusal) = job::check_details(details) {
            return Ok(Err(Rejection::new(RejectionCode::Invalid, refusal.message)));
        }
        if expected.is_some_and(|expected| expected != before.version_number) {
            let found = before.version_number;
            let expected = expected.unwrap_or_default();
            return conflict(format!(
                "expected version {expected} but found version {found}; look at it again with `muster job executions {} \
                 --thing {}`",
                before.job_id, self.thing
            ));
        }
        match job::apply(before, &Event::Cancel { force }, self.batch.now) {
            Ok(mut after) => {
                if let Some(details) = details {
                    after.status_details.clone_from(details);
                }
                let described = after.describe(self.thing, self.batch.now);
                self.put(after)?;
                Ok(Ok(described))
            }
            Err(_) if before.status() == JobStatus::InProgress => {
                conflict(format!("{} has started job {}; `--force` cancels it all the same", self.thing, before.job_id))
            }
            Err(refusal) => conflict(refusal.message),
        }
    }

    fn delete(
        &mut self,
        before: &Execution,
        number: u64,
        force: bool,
    ) -> Result<Result<ExecutionDescription, Rejection>, ServiceError> {
        let Some(one) = before.tries().into_iter().find(|one| one.execution_number == number) else {
            let message = format!("job {} has no execution {number} on {}", before.job_id, self.thing);
            return Ok(Err(Rejection::new(RejectionCode::NotFound, message)));
        };
        if !one.status().is_terminal() && !force {
            let message = format!(
                "the execution of job {} on {} is {}; cancel it first, or delete it with `--force`",
                before.job_id,
                self.thing,
                one.status().as_str()
            );
            return Ok(Err(Rejection::new(RejectionCode::Conflict, message)));
        }
        let described = one.describe(self.thing, self.batch.now);
        match before.without(number) {
            None => {
                self.note_deleted(&before.job_id)?;
                self.erase(before)?;
            }
            Some(rest) => {
                self.announce(&one, "deleted");
                self.store(rest)?;
            }
        }
        Ok(Ok(described))
    }

    /// Deletes the execution with all of its tries.
    fn erase(&mut self, execution: &Execution) -> Result<(), ServiceError> {
        self.batch.delete(&key::execution(self.thing, &execution.job_id))?;
        self.touch(&execution.job_id);
        self.announce(execution, "deleted");
        self.executions.retain(|known| known.job_id != execution.job_id);
        self.changed = true;
        self.count(&execution.job_id, Some(execution.status()), None);
        Ok(())
    }

    /// Counts a change once it is durable.
    pub(super) fn count(&mut self, job: &JobId, from: Option<JobStatus>, to: Option<JobStatus>) {
        if from == to {
            return;
        }
        let Some(live) = self.shared.jobs().get(job).cloned() else { return };
        let agenda = self.shared.agenda.clone();
        self.batch.then(move |committed| {
            if committed {
                live::changed(&agenda, &live, from, to);
            }
        });
    }
}
