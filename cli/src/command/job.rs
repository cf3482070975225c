//! `muster job`: jobs of the operator's own making.

mod execution;
mod show;
mod template;

use super::{Run, course};
use crate::args::{
    JobAddTargetsArgs, JobCancelArgs, JobCreateArgs, JobDeleteArgs, JobListArgs, JobShowArgs, JobUpdateArgs,
};
use crate::client::Operator;
use crate::context::Context;
use crate::error::CliError;
use crate::output::Output;
use muster_wire::admin::{
    AddJobTargets, CancelJob, CreateJob, CreatedJob, DeleteJob, JobChanged, JobList, ListExecutions, ListJobs,
    Selector, ShowJob, ShownJob, UpdateJob, Verb,
};
use muster_wire::id::JobId;
use muster_wire::job::{JobDocument, JobSummary};
use muster_wire::limits::JOB_DOCUMENT_BYTES_MAX;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

impl Run for JobCreateArgs {
    fn describe(&self) -> String {
        format!("create job {}", self.id)
    }

    fn json(&self) -> bool {
        self.operator.json
    }

    async fn run(self) -> Result<Output, CliError> {
        let cx = Context::open(&self.operator)?;
        let document = self.document.as_deref().map(read_document).transpose()?;
        let request = CreateJob {
            job_id: self.id,
            targets: self.targets.to_things,
            groups: self.targets.to,
            document,
            template: self.template,
            parameters: self.param.into_iter().collect(),
            description: self.description,
            config: course::config(&self.rules, &self.schedule, self.continuous),
        };
        let mut operator = cx.connect().await?;
        let created: CreatedJob = operator.call(Verb::JobCreate, &request).await?;
        operator.close().await;
        Ok(Output::new(&created, format!("job {} made for {} things", created.job_id, created.executions)))
    }
}

impl Run for JobListArgs {
    fn describe(&self) -> String {
        "list jobs".to_owned()
    }

    fn json(&self) -> bool {
        self.operator.json
    }

    async fn run(self) -> Result<Output, CliError> {
        let cx = Context::open(&self.operator)?;
        let mut operator = cx.connect().await?;
        let mut jobs: Vec<JobSummary> = Vec::new();
        let mut question =
            ListJobs { status: self.status, target_selection: self.target_selection, target: self.target, after: None };
        loop {
            let page: JobList = operator.call(Verb::JobList, &question).await?;
            jobs.extend(page.jobs);
            match page.next_token {
                Some(next) => question.after = Some(next),
                None => break,
            }
        }
        if let Some(to) = self.meant.to {
            let given = given(&mut operator, to).await?;
            jobs.retain(|job| given.contains(&job.job_id));
        }
        operator.close().await;
        let text = if jobs.is_empty() { "no jobs".to_owned() } else { show::jobs(&jobs) };
        Ok(Output::new(&JobList { jobs, next_token: None }, text))
    }
}

/// The jobs that were given to the connectors that a selector means now.
async fn given(operator: &mut Operator, to: Selector) -> Result<BTreeSet<JobId>, CliError> {
    let mut given = BTreeSet::new();
    for view in super::list(operator, Some(to)).await? {
        let question = ListExecutions { job_id: None, thing: Some(view.name), status: None, after: None };
        given.extend(execution::all(operator, question).await?.into_iter().map(|one| one.job_id));
    }
    Ok(given)
}

impl Run for JobShowArgs {
    fn describe(&self) -> String {
        format!("show job {}", self.id)
    }

    fn json(&self) -> bool {
        self.operator.json
    }

    async fn run(self) -> Result<Output, CliError> {
        let cx = Context::open(&self.operator)?;
        let mut operator = cx.connect().await?;
        let shown: ShownJob = operator.call(Verb::JobShow, &ShowJob { job_id: self.id }).await?;
        operator.close().await;
        Ok(Output::new(&shown, show::job(&shown)))
    }
}

impl Run for JobUpdateArgs {
    fn describe(&self) -> String {
        format!("change job {}", self.id)
    }

    fn json(&self) -> bool {
        self.operator.json
    }

    async fn run(self) -> Result<Output, CliError> {
        let cx = Context::open(&self.operator)?;
        let request = UpdateJob {
            job_id: self.id,
            description: self.description,
            rollout: self.rules.rollout(),
            abort: self.rules.abort(),
            timeout: self.rules.timeout(),
            retry: self.rules.retry(),
        };
        let mut operator = cx.connect().await?;
        let shown: ShownJob = operator.call(Verb::JobUpdate, &request).await?;
        operator.close().await;
        Ok(Output::new(&shown, show::job(&shown)))
    }
}

impl Run for JobCancelArgs {
    fn describe(&self) -> String {
        format!("cancel job {}", self.id)
    }

    fn json(&self) -> bool {
        self.operator.json
    }

    async fn run(self) -> Result<Output, CliError> {
        let cx = Context::open(&self.operator)?;
        let request =
            CancelJob { job_id: self.id, force: self.force, reason_code: self.reason_code, comment: self.comment };
        let mut operator = cx.connect().await?;
        let changed: JobChanged = operator.call(Verb::JobCancel, &request).await?;
        operator.close().await;
        Ok(Output::new(&changed, format!("job {} is called off", changed.job_id)))
    }
}

impl Run for JobDeleteArgs {
    fn describe(&self) -> String {
        format!("delete job {}", self.id)
    }

    fn json(&self) -> bool {
        self.operator.json
    }

    async fn run(self) -> Result<Output, CliError> {
        let cx = Context::open(&self.operator)?;
        let request = DeleteJob { job_id: self.id, force: self.force };
        let mut operator = cx.connect().await?;
        let changed: JobChanged = operator.call(Verb::JobDelete, &request).await?;
        operator.close().await;
        Ok(Output::new(&changed, format!("job {} is being deleted", changed.job_id)))
    }
}

impl Run for JobAddTargetsArgs {
    fn describe(&self) -> String {
        format!("add targets to job {}", self.id)
    }

    fn json(&self) -> bool {
        self.operator.json
    }

    async fn run(self) -> Result<Output, CliError> {
        let cx = Context::open(&self.operator)?;
        let request = AddJobTargets { job_id: self.id, targets: self.targets.to_things, groups: self.targets.to };
        let mut operator = cx.connect().await?;
        let changed: JobChanged = operator.call(Verb::JobTargets, &request).await?;
        operator.close().await;
        Ok(Output::new(&changed, format!("job {} has more targets", changed.job_id)))
    }
}

/// Reads a job document.
///
/// Errors: `Local` when the file cannot be read, is too large or is not a JSON object.
fn read_document(path: &Path) -> Result<JobDocument, CliError> {
    let file = path.display();
    let text = fs::read(path)
        .map_err(|error| CliError::local_because(format!("cannot read the job document {file}"), error))?;
    if text.len() > JOB_DOCUMENT_BYTES_MAX {
        return Err(CliError::local(format!(
            "the job document {file} has {} bytes; at most {JOB_DOCUMENT_BYTES_MAX} are allowed",
            text.len()
        )));
    }
    serde_json::from_slice(&text).map_err(|error| {
        CliError::local_because(
            format!("the job document {file} is not a JSON object such as {{\"operation\": \"reboot\"}}"),
            error,
        )
    })
}
