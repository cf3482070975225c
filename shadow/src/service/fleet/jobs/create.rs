//! Making a job.

use super::{Course, Courses, UPGRADE_PREFIX};
use crate::records::{Job, JobTemplate, key};
use crate::service::batch::Batch;
use crate::service::fleet::{FleetWorker, Refused, block_on, refuse};
use crate::service::lives::UNINSTALL_PREFIX;
use muster_model::job::{Rules, Run, template};
use muster_model::select::{Facts, selects};
use muster_wire::admin::{CreateJob, CreatedJob, Selector};
use muster_wire::id::{JobId, JobTemplateId, PersonName, ThingName};
use muster_wire::job::{JobConfig, JobDocument, TargetSelection, job_arn};
use muster_wire::limits::{
    JOB_DESCRIPTION_CHARS_MAX, JOB_DOCUMENT_BYTES_MAX, JOB_PAGE_THINGS, JOB_TARGETS_MAX, JOBS_LIVE_MAX,
};
use muster_wire::rejection::RejectionCode;
use std::sync::Arc;
use std::time::Duration;
use tracing::info;

/// An answer waits so long for the executions of a small job. They are made in any case.
const SMALL_JOB_DEADLINE: Duration = Duration::from_secs(10);

/// Longest text of all groups of a job together: a line of a list names them, and must fit a message.
const GROUPS_BYTES_MAX: usize = 16 * 1024;

impl FleetWorker {
    /// Stores the job and begins. Of a job that fits a page the executions are there when the operator is answered.
    pub(in crate::service::fleet) fn create_job(
        &self,
        create: CreateJob,
        by: &PersonName,
    ) -> Result<CreatedJob, Refused> {
        let (document, config) = self.document_and_config(&create)?;
        check_document(&document)?;
        check_description(create.description.as_deref())?;
        let now = self.shared.clock.now();
        let rules = checked(&config)?;
        if let Err(problem) = rules.schedule.check_at(now) {
            return refuse(RejectionCode::Invalid, problem);
        }
        check_targets(&create.targets, &create.groups, rules.continuous)?;
        let is_removed = |name: &&ThingName| {
            self.shared.fleet().connectors.get(*name).is_some_and(|connector| connector.is_removed())
        };
        if let Some(removed) = create.targets.iter().find(is_removed) {
            let message = format!("{removed} was removed from the fleet; leave it out");
            return refuse(RejectionCode::Conflict, message);
        }
        self.check_id(&create.job_id)?;
        let things = self.members(&create.targets, &create.groups)?;
        if things.is_empty() && !rules.continuous {
            let groups: Vec<String> = create.groups.iter().map(Selector::to_string).collect();
            let message = format!("no connector matches {}; `muster connector list` shows all", groups.join(" or "));
            return refuse(RejectionCode::NotFound, message);
        }
        let mut targets = create.targets;
        // Of a job that may name more, all are in its pages.
        targets.truncate(JOB_TARGETS_MAX);
        let job = Job {
            id: create.job_id,
            document,
            assigned: false,
            by: by.clone(),
            at: now,
            description: create.description.clone(),
            targets,
            groups: create.groups,
            config,
            template: create.template,
            parameters: create.parameters,
            things: Some(things.len() as u64),
        };
        let id = job.id.clone();
        // The things and the run first: a job without its things could not go on after a crash. What is left of a job
        // that was never made is deleted at the next start.
        let run = Run::new(now);
        // A thing that came late while an earlier job of this name was deleted may have left something.
        self.delete_rest(&id)?;
        self.store_things(&id, &things, &run)?;
        self.commit(|batch| batch.put(&key::job(&id), &job))?;
        info!(job = %id, things = things.len(), %by, "job created");
        let executions = things.len();
        let initial: Arc<[ThingName]> = if rules.continuous { things.into() } else { Arc::from([]) };
        let course = Course::new(job, rules, run, initial, Arc::default());
        self.publish(&id, Some(course.live()));
        let mut courses = self.courses.borrow_mut();
        courses.insert(id.clone(), course);
        self.look_at_job(&mut courses, &id);
        self.shared.agenda.set(courses.values().filter_map(|course| course.look_at).min());
        if executions <= JOB_PAGE_THINGS {
            wait_for_first(&courses, &id);
        }
        Ok(CreatedJob { job_arn: job_arn(&id), job_id: id, description: create.description, executions })
    }

    fn document_and_config(&self, create: &CreateJob) -> Result<(JobDocument, JobConfig), Refused> {
        let Some(id) = &create.template else {
            if !create.parameters.is_empty() {
                return refuse(RejectionCode::Invalid, "parameters are for templates; the job names none");
            }
            let Some(document) = create.document.clone() else {
                return refuse(RejectionCode::Invalid, "the job has no document; give one, or a template");
            };
            return Ok((document, create.config.clone()));
        };
        if create.document.is_some() {
            return refuse(RejectionCode::Invalid, "the job has a document and a template; give one of the two");
        }
        let stored = self.stored_template(id)?;
        let document = template::fill(&stored.document, &create.parameters).or_else(|error| {
            refuse(RejectionCode::Invalid, format!("{error}; `muster job template show {id}` shows it"))
        })?;
        Ok((document, merged(stored.config, create.config.clone())))
    }

    pub(super) fn stored_template(&self, id: &JobTemplateId) -> Result<JobTemplate, Refused> {
        let mut batch = Batch::new(self.shared.store.as_ref(), self.shared.clock.now());
        match batch.get::<JobTemplate>(&key::job_template(id)).map_err(Refused::from)? {
            Some(template) => Ok(template),
            None => {
                let message = format!("no job template is called {id}; `muster job template list` shows all");
                refuse(RejectionCode::NotFound, message)
            }
        }
    }

    fn check_id(&self, id: &JobId) -> Result<(), Refused> {
        for kept in [UPGRADE_PREFIX, UNINSTALL_PREFIX] {
            if id.as_str().starts_with(kept) {
                let message = format!("the name {id} is kept for the server; choose one without {kept}");
                return refuse(RejectionCode::Invalid, message);
            }
        }
        if self.shared.store.get(key::job(id).as_bytes()).map_err(crate::service::ServiceError::from)?.is_some() {
            return refuse(
                RejectionCode::Conflict,
                format!("a job is called {id} already; choose another id, or delete that one when it is over"),
            );
        }
        if self.courses.borrow().len() >= JOBS_LIVE_MAX {
            let message = format!("{JOBS_LIVE_MAX} jobs are not over yet; cancel or delete some of them first");
            return refuse(RejectionCode::Busy, message);
        }
        Ok(())
    }

    /// The things that are meant now, sorted.
    pub(super) fn members(&self, targets: &[ThingName], groups: &[Selector]) -> Result<Vec<ThingName>, Refused> {
        let mut things = targets.to_vec();
        if !groups.is_empty() {
            let fleet = self.shared.fleet();
            for connector in fleet.connectors.values().filter(|connector| !connector.is_removed()) {
                let view = self.view_of(connector);
                if groups.iter().any(|group| selects(group, &Facts::from(&view))) {
                    things.push(connector.name.clone());
                }
            }
        }
        things.sort();
        things.dedup();
        Ok(things)
    }
}

/// What a template says, and what a request says otherwise.
fn merged(template: JobConfig, request: JobConfig) -> JobConfig {
    JobConfig {
        target_selection: match request.target_selection {
            TargetSelection::Snapshot => template.target_selection,
            TargetSelection::Continuous => TargetSelection::Continuous,
        },
        job_executions_rollout_config: request.job_executions_rollout_config.or(template.job_executions_rollout_config),
        abort_config: request.abort_config.or(template.abort_config),
        timeout_config: request.timeout_config.or(template.timeout_config),
        job_executions_retry_config: request.job_executions_retry_config.or(template.job_executions_retry_config),
        scheduling_config: request.scheduling_config.or(template.scheduling_config),
    }
}

pub(super) fn checked(config: &JobConfig) -> Result<Rules, Refused> {
    Rules::try_from(config).or_else(|error| refuse(RejectionCode::Invalid, error.to_string()))
}

pub(super) fn check_document(document: &JobDocument) -> Result<(), Refused> {
    let bytes = serde_json::to_vec(document).map_or(usize::MAX, |bytes| bytes.len());
    if bytes > JOB_DOCUMENT_BYTES_MAX {
        let message = format!("the job document has {bytes} bytes; at most {JOB_DOCUMENT_BYTES_MAX} are allowed");
        return refuse(RejectionCode::TooLarge, message);
    }
    Ok(())
}

pub(super) fn check_description(text: Option<&str>) -> Result<(), Refused> {
    let Some(text) = text else { return Ok(()) };
    if text.chars().count() > JOB_DESCRIPTION_CHARS_MAX || text.chars().any(char::is_control) {
        let message =
            format!("the text is not usable; use up to {JOB_DESCRIPTION_CHARS_MAX} characters, no control characters");
        return refuse(RejectionCode::Invalid, message);
    }
    Ok(())
}

pub(super) fn check_targets(targets: &[ThingName], groups: &[Selector], continuous: bool) -> Result<(), Refused> {
    let count = targets.len() + groups.len();
    if count == 0 {
        return refuse(RejectionCode::Invalid, "the job has no targets; name at least one thing or group");
    }
    // A list of things alone is only a list of members; the others are looked at whenever a thing is.
    if count > JOB_TARGETS_MAX && (continuous || !groups.is_empty()) {
        let message = format!("there are {count} targets; at most {JOB_TARGETS_MAX} are allowed");
        return refuse(RejectionCode::TooLarge, message);
    }
    let bytes: usize = groups.iter().map(|group| group.to_string().len()).sum();
    if bytes > GROUPS_BYTES_MAX {
        let message = format!("the groups take {bytes} bytes as text; at most {GROUPS_BYTES_MAX} are allowed");
        return refuse(RejectionCode::TooLarge, message);
    }
    let passing = groups.iter().filter(|_| continuous).find_map(|group| group.check_lasting().err());
    passing.map_or(Ok(()), |error| refuse(RejectionCode::Invalid, error.to_string()))
}

/// Waits until the first executions of a job are durable.
fn wait_for_first(courses: &Courses, id: &JobId) {
    let Some(part) = courses.get(id).and_then(|course| course.on_the_way.front()) else { return };
    let latch = part.word.latch.clone();
    // Whatever it was, the agenda goes on with it.
    let _ = block_on(async move { tokio::time::timeout(SMALL_JOB_DEADLINE, latch.wait()).await });
}
