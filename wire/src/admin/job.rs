//! Operator requests about jobs. What AWS has a name for is called so.

use super::Selector;
use crate::id::{JobId, JobTemplateId, ThingName};
use crate::job::{
    AbortConfig, ExecutionDescription, JobConfig, JobDescription, JobDocument, JobStatus, JobSummary, RetryConfig,
    RolloutConfig, StatusDetails, TargetSelection, TimeoutConfig, WholeJobStatus,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// [`super::Verb::JobCreate`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateJob {
    /// The new job.
    pub job_id: JobId,
    /// Its things, registered or not.
    #[serde(default)]
    pub targets: Vec<ThingName>,
    /// Its groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<Selector>,
    /// What the things shall do; an object of at most [`crate::limits::JOB_DOCUMENT_BYTES_MAX`]. Absent: that of the
    /// template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<JobDocument>,
    /// The template whose document and configuration are used where the request has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<JobTemplateId>,
    /// What stands for `${name}` in the template's document.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
    /// Free text for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Its course.
    #[serde(default)]
    pub config: JobConfig,
}

/// Answer to [`CreateJob`]: the job and the names of its things are stored. Executions follow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreatedJob {
    /// The job.
    pub job_id: JobId,
    /// The job in the form of an ARN.
    pub job_arn: String,
    /// As asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// How many things get it. Of a continuous job: so far.
    pub executions: usize,
}

/// [`super::Verb::JobList`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListJobs {
    /// Only with this status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<WholeJobStatus>,
    /// Only of this kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_selection: Option<TargetSelection>,
    /// Only with this target, spelled as it was given: a selector, or a thing's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Only what comes after this job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<JobId>,
}

/// Answer to [`ListJobs`]: one page, by id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobList {
    /// The jobs.
    pub jobs: Vec<JobSummary>,
    /// Ask again with this as `after`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_token: Option<JobId>,
}

/// [`super::Verb::JobShow`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShowJob {
    /// The job.
    pub job_id: JobId,
}

/// Answer to [`ShowJob`] and [`UpdateJob`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShownJob {
    /// The job.
    pub job: JobDescription,
    /// What its things shall do.
    pub document: JobDocument,
}

/// [`super::Verb::JobUpdate`]: what is absent stays as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateJob {
    /// The job.
    pub job_id: JobId,
    /// Free text for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// How fast things are told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutConfig>,
    /// When to give up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abort: Option<AbortConfig>,
    /// How long a thing may take; for executions that are made from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<TimeoutConfig>,
    /// What is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryConfig>,
}

/// [`super::Verb::JobCancel`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CancelJob {
    /// The job.
    pub job_id: JobId,
    /// Also what is in progress.
    #[serde(default)]
    pub force: bool,
    /// Why, for programs: `A-Z 0-9 _`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason_code: Option<String>,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// Answer to [`CancelJob`], [`DeleteJob`] and [`AddJobTargets`]: it is stored; the executions follow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobChanged {
    /// The job.
    pub job_id: JobId,
    /// The job in the form of an ARN.
    pub job_arn: String,
    /// Its status now.
    pub status: WholeJobStatus,
}

/// [`super::Verb::JobDelete`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeleteJob {
    /// The job.
    pub job_id: JobId,
    /// Also when it is not over.
    #[serde(default)]
    pub force: bool,
}

/// [`super::Verb::JobTargets`]: more targets for a continuous job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddJobTargets {
    /// The job.
    pub job_id: JobId,
    /// Things, registered or not.
    #[serde(default)]
    pub targets: Vec<ThingName>,
    /// Groups.
    #[serde(default)]
    pub groups: Vec<Selector>,
}

/// [`super::Verb::JobExecutions`]: the executions of a job, or those of a thing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListExecutions {
    /// Of this job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_id: Option<JobId>,
    /// Of this thing. With a job too: every try of the job on the thing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thing: Option<ThingName>,
    /// Only with this status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<JobStatus>,
    /// `nextToken` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// Answer to [`ListExecutions`]: one page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecutionList {
    /// The executions.
    pub execution_summaries: Vec<ExecutionDescription>,
    /// Ask again with this as `after`; a page may be empty and yet have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
}

/// [`super::Verb::JobExecutionCancel`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CancelExecution {
    /// The job.
    pub job_id: JobId,
    /// The thing.
    pub thing: ThingName,
    /// Also when it is in progress.
    #[serde(default)]
    pub force: bool,
    /// Only when it has this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_version: Option<u64>,
    /// Replace those of the device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_details: Option<StatusDetails>,
}

/// [`super::Verb::JobExecutionDelete`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeleteExecution {
    /// The job.
    pub job_id: JobId,
    /// The thing.
    pub thing: ThingName,
    /// Which try; absent is the latest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_number: Option<u64>,
    /// Also when it is not over.
    #[serde(default)]
    pub force: bool,
}

/// Answer to [`CancelExecution`] and [`DeleteExecution`]: the execution as it is, or as it was before it was deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutionChanged {
    /// The execution.
    pub execution: ExecutionDescription,
}

/// [`super::Verb::JobTemplateCreate`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateJobTemplate {
    /// The new template.
    pub template: JobTemplateId,
    /// Free text for people; AWS wants one, and so does this.
    pub description: String,
    /// The document; may hold `${name}` in its texts. Absent: that of the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<JobDocument>,
    /// Take document and configuration from this job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_id: Option<JobId>,
    /// The course of jobs made from it.
    #[serde(default)]
    pub config: JobConfig,
}

/// [`super::Verb::JobTemplateShow`] and [`super::Verb::JobTemplateDelete`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NameJobTemplate {
    /// The template.
    pub template: JobTemplateId,
}

/// A template, whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobTemplateView {
    /// Its id.
    pub job_template_id: JobTemplateId,
    /// The same in the form of an ARN.
    pub job_template_arn: String,
    /// Free text for people.
    pub description: String,
    /// When it was made, in epoch seconds.
    pub created_at: i64,
    /// What must be given as parameters, by name.
    pub parameters: Vec<String>,
    /// The document; left out of a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<JobDocument>,
    /// The course of jobs made from it; left out of a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<JobConfig>,
}

/// [`super::Verb::JobTemplateList`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListJobTemplates {
    /// Only what comes after this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<JobTemplateId>,
}

/// Answer to [`ListJobTemplates`]: one page, by id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobTemplateList {
    /// The templates.
    pub job_templates: Vec<JobTemplateView>,
    /// Ask again with this as `after`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_token: Option<JobTemplateId>,
}
