//! What the jobs of the last run of the server want of this one.

use super::{Course, Place, Sweep};
use crate::records::{Job, JobJoined, JobThings, key};
use crate::service::ServiceError;
use crate::service::batch::Batch;
use crate::service::fleet::FleetWorker;
use crate::service::jobs::queued::execution;
use crate::store::{Key, Kind, codec};
use muster_model::job::{Phase, Rules, Run};
use muster_wire::id::{JobId, ThingName};
use muster_wire::limits::JOB_PAGE_THINGS;
use std::collections::BTreeSet;
use std::sync::Arc;
use tracing::warn;

/// Jobs that are read at one go.
const JOBS_READ: usize = 100;

impl FleetWorker {
    /// Reads the jobs that are not over and shows them to the workers of things. Before these start, and before
    /// executions are counted.
    pub(in crate::service) fn load_jobs(&self) -> Result<(), ServiceError> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let prefix = Key::new(Kind::Job);
            let page = self.shared.store.scan_after(prefix.as_bytes(), after.as_deref(), JOBS_READ)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            for (found, stored) in page {
                let outcome = codec::decode::<crate::records::StoredJob>(&found, &stored.value)
                    .map_err(ServiceError::from)
                    .and_then(|job| self.load_job(job.into()));
                if let Err(error) = outcome {
                    // One damaged record must not keep the whole fleet from being served.
                    self.shared.report("read a job", &error);
                }
            }
        }
        Ok(())
    }

    /// Takes it that no thing of these jobs has its execution. Before [`FleetWorker::finish_jobs`].
    pub(in crate::service) fn reach_again(&self, jobs: &BTreeSet<JobId>) {
        let mut courses = self.courses.borrow_mut();
        courses.iter_mut().filter(|(id, _)| jobs.contains(id)).for_each(|(_, course)| course.run.made = 0);
    }

    /// Sends what was not surely done, deletes what a deleted job left, and goes on with every job.
    pub(in crate::service) fn finish_jobs(&self) -> Result<(), ServiceError> {
        self.delete_orphans()?;
        let mut courses = self.courses.borrow_mut();
        let ids: Vec<JobId> = courses.keys().cloned().collect();
        for id in &ids {
            if let Some(course) = courses.get_mut(id) {
                self.forget_who_heard(course);
                let mut from = course.run.made;
                // In pages, so that one that fails is not many.
                while from < course.run.released && matches!(course.run.phase, Phase::Rolling | Phase::Stopped) {
                    let to = (from + JOB_PAGE_THINGS as u64).min(course.run.released);
                    self.send(course, from, to)?;
                    from = to;
                }
            }
            self.look_at_job(&mut courses, id);
        }
        self.shared.agenda.set(courses.values().filter_map(|course| course.look_at).min());
        Ok(())
    }

    /// Of those who came late, a start knows the names alone.
    fn forget_who_heard(&self, course: &mut Course) {
        if course.late.waiting.is_empty() {
            return;
        }
        let id = &course.job.id;
        course.late.waiting.retain(|thing| match self.has_heard(id, thing) {
            Ok(heard) => !heard,
            Err(error) => {
                // One damaged record must not keep the whole fleet from being served.
                self.shared.report("read an execution", &error);
                true
            }
        });
        self.publish(id, Some(course.live()));
    }

    /// Whether the thing has its execution of this job, or lost it to an operator.
    fn has_heard(&self, id: &JobId, thing: &ThingName) -> Result<bool, ServiceError> {
        let mut batch = Batch::new(self.shared.store.as_ref(), self.shared.clock.now());
        let note = batch.get::<JobJoined>(&key::job_joined(id).part(thing))?;
        Ok(note.is_some_and(|note| note.deleted) || execution(&self.shared, &mut batch, thing, id)?.is_some())
    }

    fn load_job(&self, job: Job) -> Result<(), ServiceError> {
        let job = if job.things.is_none() { self.renew_form(job)? } else { job };
        let run = self.stored_run(&job)?;
        if run.is_closed() {
            return Ok(());
        }
        let rules = Rules::try_from(&job.config).unwrap_or_else(|error| {
            warn!(job = %job.id, %error, "the stored configuration of a job is not usable; it goes on without");
            Rules::default()
        });
        let initial: Arc<[ThingName]> =
            if rules.continuous { self.things(&job.id, 0, job.things.unwrap_or(0))?.into() } else { Arc::from([]) };
        let mut course = Course::new(job, rules, run, initial, Arc::default());
        course.sweep = Sweep { next: Place::Begin, on_the_way: None };
        let id = course.job.id.clone();
        self.publish(&id, Some(course.live()));
        self.courses.borrow_mut().insert(id, course);
        Ok(())
    }

    /// A job of the first form has its things in one record and no run. The pages and the run come first, then the job
    /// says so: a crash in between begins anew.
    fn renew_form(&self, job: Job) -> Result<Job, ServiceError> {
        let whole = key::job_things(&job.id);
        let mut batch = Batch::new(self.shared.store.as_ref(), self.shared.clock.now());
        let things = batch.get::<JobThings>(&whole)?.map(|known| known.things).unwrap_or_default();
        let count = things.len() as u64;
        let run = Run {
            phase: Phase::Rolling,
            released: count,
            made: if job.assigned { count } else { 0 },
            ..Run::new(job.at)
        };
        let job = Job { things: Some(count), ..job };
        self.store_things(&job.id, &things, &run)?;
        self.commit(|batch| batch.put(&key::job(&job.id), &job))?;
        self.commit(|batch| batch.delete(&whole))?;
        Ok(job)
    }

    /// Stores the names of a job's things in pages, and its run.
    pub(super) fn store_things(&self, id: &JobId, things: &[ThingName], run: &Run) -> Result<(), ServiceError> {
        self.commit(|batch| {
            for (number, page) in things.chunks(JOB_PAGE_THINGS).enumerate() {
                let page = JobThings { job: id.clone(), things: page.to_vec() };
                batch.put(&key::job_page(id, number as u64), &page)?;
            }
            batch.put(&key::job_run(id), run)
        })
    }

    /// Runs without a job: the job was being deleted, or was never made.
    fn delete_orphans(&self) -> Result<(), ServiceError> {
        let mut runs = Vec::new();
        self.shared.store.scan(Key::new(Kind::JobRun).as_bytes(), &mut |found, _| {
            runs.extend(Key::parse(found).ok().and_then(|key| JobId::new(key.parts.first()?).ok()));
            std::ops::ControlFlow::Continue(())
        })?;
        for id in runs {
            if self.shared.store.get(key::job(&id).as_bytes())?.is_none() {
                self.delete_rest(&id)?;
            }
        }
        Ok(())
    }
}
