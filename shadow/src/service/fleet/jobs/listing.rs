//! Jobs and executions as operators see them.

use super::{Place, target_arns};
use crate::records::{Job, StoredJob, key};
use crate::service::ServiceError;
use crate::service::batch::Batch;
use crate::service::fleet::{FleetWorker, ROOM_BYTES, Refused, refuse};
use crate::service::jobs::queued::{execution, executions};
use crate::store::{Key, Kind, codec};
use muster_model::job::{Execution, Run};
use muster_wire::admin::{ExecutionList, JobList, ListExecutions, ListJobs, ShowJob, ShownJob};
use muster_wire::id::{JobId, ThingName};
use muster_wire::job::{ExecutionDescription, JobDescription, JobSummary, job_arn, template_arn};
use muster_wire::limits::JOB_PAGE_THINGS;
use muster_wire::rejection::RejectionCode;
use muster_wire::time::Timestamp;

/// Jobs that are read at one go.
const JOBS_READ: usize = 50;
/// Things that one request for executions looks at, at most: it answers with what it found by then.
const THINGS_READ: usize = 5 * JOB_PAGE_THINGS;

impl FleetWorker {
    /// One page of jobs, by id.
    pub(in crate::service::fleet) fn list_jobs(&self, list: &ListJobs) -> Result<JobList, Refused> {
        let mut page = JobList { jobs: Vec::new(), next_token: None };
        let mut room = ROOM_BYTES;
        let mut after = list.after.as_ref().map(|after| key::job(after).as_bytes().to_vec());
        loop {
            let prefix = Key::new(Kind::Job);
            let read = self.shared.store.scan_after(prefix.as_bytes(), after.as_deref(), JOBS_READ);
            let read = read.map_err(ServiceError::from)?;
            let Some((last, _)) = read.last() else { return Ok(page) };
            after = Some(last.clone());
            for (found, stored) in &read {
                let job: Job = codec::decode::<StoredJob>(found, &stored.value).map_err(ServiceError::from)?.into();
                let summary = self.summary(&job, &self.stored_run(&job)?);
                let wanted = list.status.is_none_or(|status| status == summary.status)
                    && list.target_selection.is_none_or(|selection| selection == summary.target_selection)
                    && list.target.as_ref().is_none_or(|target| is_target(&job, target));
                if !wanted {
                    continue;
                }
                let bytes = serde_json::to_vec(&summary).map_or(0, |bytes| bytes.len() + 1);
                if bytes > room {
                    page.next_token = page.jobs.last().map(|last: &JobSummary| last.job_id.clone());
                    return Ok(page);
                }
                room -= bytes;
                page.jobs.push(summary);
            }
        }
    }

    pub(in crate::service::fleet) fn show_job(&self, show: &ShowJob) -> Result<ShownJob, Refused> {
        let job = self.stored_job(&show.job_id)?;
        self.shown(&job)
    }

    pub(super) fn shown(&self, job: &Job) -> Result<ShownJob, Refused> {
        let run = self.stored_run(job)?;
        let force = match run.phase {
            muster_model::job::Phase::Canceling { force } | muster_model::job::Phase::Canceled { force } => Some(force),
            _ => None,
        };
        let description = JobDescription {
            summary: self.summary(job, &run),
            description: job.description.clone(),
            force_canceled: force.filter(|force| *force),
            reason_code: run.reason_code,
            comment: run.comment,
            job_executions_rollout_config: None,
            abort_config: None,
            timeout_config: None,
            job_executions_retry_config: None,
            scheduling_config: None,
            job_template_arn: job.template.as_ref().map(template_arn),
            document_parameters: job.parameters.clone(),
            created_by: job.by.to_string(),
        };
        Ok(ShownJob { job: description.with_config(job.config.clone()), document: job.document.clone() })
    }

    fn summary(&self, job: &Job, run: &Run) -> JobSummary {
        let live = self.shared.jobs().get(&job.id).cloned();
        let tally = run.closed.or(live.as_ref().map(|live| live.counts.tally())).unwrap_or_default();
        let late = live.map_or(0, |live| live.late);
        // What was canceled or completed tells nobody any more.
        let waits =
            if run.ended_at.is_some() { 0 } else { job.things.unwrap_or(0).saturating_sub(run.released) + late };
        JobSummary {
            job_arn: job_arn(&job.id),
            job_id: job.id.clone(),
            target_selection: job.config.target_selection,
            status: run.status(),
            created_at: job.at.epoch_seconds(),
            last_updated_at: run.updated_at.epoch_seconds(),
            completed_at: run.ended_at.map(Timestamp::epoch_seconds),
            targets: target_arns(job),
            number_of_waiting_things: waits,
            job_process_details: tally.process_details(),
        }
    }

    /// One page of executions: of a job, of a thing, or every try of a job on a thing.
    pub(in crate::service::fleet) fn list_executions(&self, list: &ListExecutions) -> Result<ExecutionList, Refused> {
        match (&list.job_id, &list.thing) {
            (Some(job), None) => self.executions_of_job(job, list),
            (job, Some(thing)) => self.executions_of_thing(thing, job.as_ref(), list),
            (None, None) => refuse(RejectionCode::Invalid, "name a job, a thing, or both"),
        }
    }

    fn executions_of_thing(
        &self,
        thing: &ThingName,
        job: Option<&JobId>,
        list: &ListExecutions,
    ) -> Result<ExecutionList, Refused> {
        let now = self.shared.clock.now();
        let mut batch = Batch::new(self.shared.store.as_ref(), now);
        let executions = match job {
            Some(job) => execution(&self.shared, &mut batch, thing, job)?.into_iter().collect(),
            None => executions(&self.shared, &mut batch, thing)?,
        };
        let mut page = Page::new(list);
        for execution in executions {
            let name = execution.job_id.as_str();
            if list.after.as_ref().is_some_and(|after| name <= after.as_str()) {
                continue;
            }
            if !page.add(&execution, thing, now) {
                break;
            }
            page.last = Some(name.to_owned());
        }
        Ok(page.list)
    }

    fn executions_of_job(&self, job: &JobId, list: &ListExecutions) -> Result<ExecutionList, Refused> {
        let record = self.stored_job(job)?;
        let Some(mut place) = list.after.as_ref().map_or(Some(Place::Page(0)), |after| read_place(job, after)) else {
            return refuse(RejectionCode::Invalid, "the token of the next page is not usable; begin again without one");
        };
        let skip = list.after.as_ref().and_then(|after| after.rsplit_once(' ')).map(|(_, thing)| thing.to_owned());
        let mut page = Page::new(list);
        let mut looked_at = 0;
        loop {
            let (things, spelled, next) = match place {
                Place::Page(number) if number * JOB_PAGE_THINGS as u64 >= record.things.unwrap_or(0) => {
                    (Vec::new(), String::new(), Place::Late { after: None })
                }
                Place::Begin => (Vec::new(), String::new(), Place::Page(0)),
                Place::Page(number) => (self.page(job, number)?, number.to_string(), Place::Page(number + 1)),
                Place::Late { after } => {
                    let (things, last) = self.late(job, after.as_deref())?;
                    let next = last.map_or(Place::Done, |last| Place::Late { after: Some(last) });
                    (things, LATE.to_owned(), next)
                }
                Place::Done => return Ok(page.list),
            };
            for thing in things {
                if spelled != LATE && skip.as_ref().is_some_and(|skip| thing.as_str() <= skip.as_str()) {
                    continue;
                }
                let now = self.shared.clock.now();
                let found = execution(&self.shared, &mut Batch::new(self.shared.store.as_ref(), now), &thing, job)?;
                looked_at += 1;
                if found.is_some_and(|execution| !page.add(&execution, &thing, now)) {
                    return Ok(page.list);
                }
                page.last = Some(format!("{spelled} {thing}"));
                if looked_at >= THINGS_READ {
                    page.list.next_token = page.last;
                    return Ok(page.list);
                }
            }
            place = next;
        }
    }
}

/// The first word of the token of a page among the things that came late.
const LATE: &str = "late";

/// Where a page begins: `NUMBER THING` or `late THING`, after this thing.
fn read_place(job: &JobId, token: &str) -> Option<Place> {
    let (place, thing) = token.split_once(' ')?;
    if place == LATE {
        let thing = ThingName::new(thing).ok()?;
        return Some(Place::Late { after: Some(key::job_joined(job).part(&thing).as_bytes().to_vec()) });
    }
    place.parse().ok().map(Place::Page)
}

/// An answer that grows until it is full.
struct Page<'l> {
    wanted: &'l ListExecutions,
    list: ExecutionList,
    room: usize,
    /// The token that goes on after what is in the list.
    last: Option<String>,
}

impl<'l> Page<'l> {
    fn new(wanted: &'l ListExecutions) -> Self {
        let list = ExecutionList { execution_summaries: Vec::new(), next_token: None };
        Self { wanted, list, room: ROOM_BYTES, last: None }
    }

    /// Adds every try that is wanted. Returns whether there was room; the next page begins here when there was none.
    fn add(&mut self, execution: &Execution, thing: &ThingName, now: Timestamp) -> bool {
        let mut tries: Vec<ExecutionDescription> = execution
            .tries()
            .iter()
            .filter(|one| self.wanted.status.is_none_or(|status| status == one.status()))
            .map(|one| one.describe(thing, now))
            .collect();
        if size(&tries) > self.room && !self.list.execution_summaries.is_empty() {
            self.list.next_token = self.last.clone();
            return false;
        }
        // A single thing may have more to tell than a message holds; then the oldest tries are left out.
        while size(&tries) > self.room && tries.len() > 1 {
            tries.remove(0);
        }
        self.room = self.room.saturating_sub(size(&tries));
        self.list.execution_summaries.extend(tries);
        true
    }
}

/// Bytes on the wire, with the commas.
fn size(tries: &[ExecutionDescription]) -> usize {
    tries.iter().map(|one| serde_json::to_vec(one).map_or(0, |bytes| bytes.len() + 1)).sum()
}

/// Whether an operator named this target.
fn is_target(job: &Job, target: &str) -> bool {
    job.targets.iter().any(|thing| thing.as_str() == target)
        || job.groups.iter().any(|group| group.to_string() == target)
}
