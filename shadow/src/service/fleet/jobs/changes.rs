//! What operators do to jobs that are there: change, call off, delete, add targets, and the same for one execution.

use super::create::{check_description, check_targets, checked};
use super::{Course, Courses, Place, Sweep, UPGRADE_PREFIX};
use crate::records::{Job, key};
use crate::service::fleet::{FleetWorker, Refused, block_on, refuse};
use muster_bus::{Inbound, Order, OrderKind, Requests, Submitted};
use muster_model::job::{Phase, Run, Step};
use muster_wire::admin::{
    AddJobTargets, CancelExecution, CancelJob, DeleteExecution, DeleteJob, ExecutionChanged, JobChanged, ShownJob,
    UpdateJob,
};
use muster_wire::id::{JobId, PersonName};
use muster_wire::job::{JobOperation, WholeJobStatus, job_arn};
use muster_wire::limits::{JOB_PAGE_THINGS, JOBS_DELETING_MAX, REASON_CODE_BYTES_MAX};
use muster_wire::rejection::{Rejection, RejectionCode};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tracing::info;

/// A worker of things answers by then, or it is overloaded.
const ORDER_DEADLINE: Duration = Duration::from_secs(10);

impl FleetWorker {
    pub(in crate::service::fleet) fn update_job(
        &self,
        update: UpdateJob,
        by: &PersonName,
    ) -> Result<ShownJob, Refused> {
        let job = self.stored_job(&update.job_id)?;
        let status = self.stored_run(&job)?.status();
        if !matches!(status, WholeJobStatus::Scheduled | WholeJobStatus::InProgress) {
            return refuse(
                RejectionCode::Conflict,
                format!("job {} is {status}; only a job that is SCHEDULED or IN_PROGRESS can be changed", job.id),
            );
        }
        check_description(update.description.as_deref())?;
        let mut config = job.config.clone();
        config.job_executions_rollout_config = update.rollout.or(config.job_executions_rollout_config);
        config.abort_config = update.abort.or(config.abort_config);
        config.timeout_config = update.timeout.or(config.timeout_config);
        config.job_executions_retry_config = update.retry.or(config.job_executions_retry_config);
        let rules = checked(&config)?;
        let job = Job { description: update.description.or_else(|| job.description.clone()), config, ..job };
        self.commit(|batch| batch.put(&key::job(&job.id), &job))?;
        info!(job = %job.id, %by, "job updated");
        let id = job.id.clone();
        let mut courses = self.courses.borrow_mut();
        if let Some(course) = courses.get_mut(&id) {
            // A new rate holds from now on, not from the next minute.
            let run = Run { pace: None, updated_at: self.shared.clock.now(), ..course.run.clone() };
            self.store_run(course, run, None)?;
            course.job.description.clone_from(&job.description);
            course.job.config = job.config.clone();
            course.rules = rules;
            self.publish(&id, Some(course.live()));
        }
        self.look_at_job(&mut courses, &id);
        drop(courses);
        self.shown(&job)
    }

    pub(in crate::service::fleet) fn cancel_job(
        &self,
        cancel: CancelJob,
        by: &PersonName,
    ) -> Result<JobChanged, Refused> {
        check_description(cancel.comment.as_deref())?;
        let code = cancel.reason_code.unwrap_or_default();
        let fits = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
        if code.len() > REASON_CODE_BYTES_MAX || !code.bytes().all(fits) {
            let message =
                format!("the reason code {code:?} is not usable; use up to {REASON_CODE_BYTES_MAX} of A-Z 0-9 _");
            return refuse(RejectionCode::Invalid, message);
        }
        let job = self.stored_job(&cancel.job_id)?;
        let mut courses = self.courses.borrow_mut();
        let Some(course) = courses.get_mut(&cancel.job_id).filter(|course| may_cancel(course, cancel.force)) else {
            let status = self.stored_run(&job)?.status();
            let message =
                format!("job {} is {status}; only a job that is SCHEDULED or IN_PROGRESS can be canceled", job.id);
            return refuse(RejectionCode::Conflict, message);
        };
        let comment = cancel.comment.unwrap_or_default();
        let step = Step::Cancel { force: cancel.force, reason_code: code, comment };
        let (tally, now) = (course.counts.tally(), self.shared.clock.now());
        course.sweep = Sweep { next: Place::Begin, on_the_way: None };
        self.take(course, &step, &tally, now)?;
        info!(job = %job.id, %by, force = cancel.force, "job canceled");
        self.changed(&mut courses, &job.id, WholeJobStatus::Canceled)
    }

    pub(in crate::service::fleet) fn delete_job(
        &self,
        delete: DeleteJob,
        by: &PersonName,
    ) -> Result<JobChanged, Refused> {
        let job = self.stored_job(&delete.job_id)?;
        let run = self.stored_run(&job)?;
        let status = run.status();
        if status == WholeJobStatus::DeletionInProgress {
            return refuse(RejectionCode::Conflict, format!("job {} is being deleted already", job.id));
        }
        let over = matches!(status, WholeJobStatus::Completed | WholeJobStatus::Canceled);
        if !over && !delete.force {
            let message = format!("job {} is {status}; cancel it first, or delete it with `--force`", job.id);
            return refuse(RejectionCode::Conflict, message);
        }
        let mut courses = self.courses.borrow_mut();
        if courses.values().filter(|course| course.run.phase == Phase::Deleting).count() >= JOBS_DELETING_MAX {
            let message = format!("{JOBS_DELETING_MAX} jobs are being deleted; try again when one of them is gone");
            return refuse(RejectionCode::Busy, message);
        }
        let id = job.id.clone();
        // A job that is over has no course any more.
        let course = match courses.entry(id.clone()) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => {
                let rules = checked(&job.config)?;
                entry.insert(Course::new(job, rules, run, Arc::from([]), Arc::default()))
            }
        };
        course.sweep = Sweep { next: Place::Begin, on_the_way: None };
        let run = Run { phase: Phase::Deleting, updated_at: self.shared.clock.now(), ..course.run.clone() };
        self.store_run(course, run, Some(JobOperation::DeletionInProgress))?;
        self.publish(&id, Some(course.live()));
        info!(job = %id, %by, force = delete.force, "job is deleted");
        self.changed(&mut courses, &id, WholeJobStatus::DeletionInProgress)
    }

    /// More targets for a continuous job: who belongs to them gets it at once.
    pub(in crate::service::fleet) fn add_job_targets(
        &self,
        add: AddJobTargets,
        by: &PersonName,
    ) -> Result<JobChanged, Refused> {
        let job = self.stored_job(&add.job_id)?;
        let mut courses = self.courses.borrow_mut();
        let Some(course) =
            courses.get_mut(&add.job_id).filter(|course| course.rules.continuous && course.run.phase == Phase::Rolling)
        else {
            let message =
                format!("job {} is not continuous, or not IN_PROGRESS; only such a job takes more targets", job.id);
            return refuse(RejectionCode::Conflict, message);
        };
        let mut job = job;
        job.targets.extend(add.targets.iter().filter(|thing| !course.job.targets.contains(thing)).cloned());
        job.groups.extend(add.groups.iter().filter(|group| !course.job.groups.contains(group)).cloned());
        check_targets(&job.targets, &job.groups, true)?;
        let members = self.members(&[], &add.groups)?;
        self.commit(|batch| batch.put(&key::job(&job.id), &job))?;
        info!(job = %job.id, %by, "targets added to a job");
        course.job.targets = job.targets;
        course.job.groups = job.groups;
        course.note_late(&add.targets);
        self.publish(&job.id, Some(course.live()));
        // What a crash or a closed window keeps from these is made good by the next look at each connector.
        for page in members.chunks(JOB_PAGE_THINGS) {
            self.assign_all(&job.id, page.to_vec());
        }
        self.changed(&mut courses, &job.id, WholeJobStatus::InProgress)
    }

    fn changed(&self, courses: &mut Courses, id: &JobId, status: WholeJobStatus) -> Result<JobChanged, Refused> {
        self.look_at_job(courses, id);
        self.shared.agenda.set(courses.values().filter_map(|course| course.look_at).min());
        Ok(JobChanged { job_id: id.clone(), job_arn: job_arn(id), status })
    }

    pub(in crate::service::fleet) fn cancel_execution(
        &self,
        cancel: CancelExecution,
    ) -> Result<ExecutionChanged, Refused> {
        let kind = OrderKind::Cancel {
            force: cancel.force,
            expected_version: cancel.expected_version,
            status_details: cancel.status_details,
        };
        self.order(cancel.thing, cancel.job_id, kind)
    }

    pub(in crate::service::fleet) fn delete_execution(
        &self,
        delete: DeleteExecution,
    ) -> Result<ExecutionChanged, Refused> {
        let kind = OrderKind::Delete { execution_number: delete.execution_number, force: delete.force };
        self.order(delete.thing, delete.job_id, kind)
    }

    /// Has the thing's worker carry out an order, and waits for its answer.
    fn order(
        &self,
        thing: muster_wire::id::ThingName,
        job: JobId,
        kind: OrderKind,
    ) -> Result<ExecutionChanged, Refused> {
        if job.as_str().starts_with(UPGRADE_PREFIX) {
            let message = format!("{job} belongs to an upgrade; `muster upgrade` says what {thing} shall run");
            return refuse(RejectionCode::Invalid, message);
        }
        let (reply, answer) = oneshot::channel();
        let order = Inbound::Order(Order { thing, job, kind, reply });
        let answered = block_on(async {
            if let Ok(Submitted::Full(wait)) = self.shared.bus.submit(order) {
                wait.await.ok()?;
            }
            tokio::time::timeout(ORDER_DEADLINE, answer).await.ok()?.ok()
        });
        match answered.flatten() {
            Some(Ok(execution)) => Ok(ExecutionChanged { execution }),
            Some(Err(rejection)) => Err(rejection.into()),
            None => Err(Rejection::new(RejectionCode::Busy, "the thing's worker is busy; try again").into()),
        }
    }
}

/// A job that was canceled may be canceled once more with force, while something is in progress.
fn may_cancel(course: &Course, force: bool) -> bool {
    match course.run.phase {
        Phase::Scheduled | Phase::Rolling | Phase::Stopped => true,
        Phase::Canceling { force: false } | Phase::Canceled { force: false } => force,
        Phase::Canceling { .. } | Phase::Canceled { .. } | Phase::Completed | Phase::Deleting => false,
    }
}
