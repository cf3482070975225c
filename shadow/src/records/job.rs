//! What is kept of the jobs that operators make. Written by the fleet's worker alone, except [`JobJoined`] and
//! [`JobQueued`].

use muster_wire::admin::Selector;
use muster_wire::id::{JobId, JobTemplateId, PersonName, ThingName};
use muster_wire::job::{JobConfig, JobDocument};
use muster_wire::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// A job made by an operator: the leading record of its things, its run and its executions. The upgrades' jobs are not
/// kept: their documents follow from the target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// What the things shall do.
    pub document: JobDocument,
    /// Of a job that was made before runs were kept: whether an execution was made for every thing.
    #[serde(default)]
    pub assigned: bool,
    /// Who made it.
    pub by: PersonName,
    /// When.
    pub at: Timestamp,
    /// Free text for people.
    #[serde(default)]
    pub description: Option<String>,
    /// The things that it names; of many only the first.
    #[serde(default)]
    pub targets: Vec<ThingName>,
    /// The groups that it names.
    #[serde(default)]
    pub groups: Vec<Selector>,
    /// Its course, as the operator said it.
    #[serde(default)]
    pub config: JobConfig,
    /// The template that it was made from.
    #[serde(default)]
    pub template: Option<JobTemplateId>,
    /// What stands for the places in the template's document.
    #[serde(default)]
    pub parameters: BTreeMap<String, String>,
    /// How many things were members at creation; absent in a job that was made before runs were kept.
    #[serde(default)]
    pub things: Option<u64>,
}

/// Some of the things of a job: those who were members at its creation, in pages of
/// [`muster_wire::limits::JOB_PAGE_THINGS`]. Apart from the job, which is read for every thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobThings {
    /// The job.
    pub job: JobId,
    /// Its things, sorted over all pages.
    pub things: Vec<ThingName>,
}

/// That a thing came to a continuous job after its creation, or that its execution was deleted; its key names both.
/// Written by the thing's worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobJoined {
    /// When it came, or when its execution was deleted.
    pub at: Timestamp,
    /// An operator deleted its execution while the job was not over: the job gives it no other.
    #[serde(default)]
    pub deleted: bool,
}

/// Things that got their execution of a job at one moment. Whoever has no stored execution of it and no note that it was
/// deleted has one that is queued and was not touched since, while the job is not over. Its key names the job and the
/// first of the things. Written by the things' workers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobQueued {
    /// The job.
    pub job: JobId,
    /// When they got it.
    pub at: Timestamp,
    /// How long each may be in progress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_limit: Option<Duration>,
    /// The things.
    pub things: Vec<ThingName>,
}

/// A template for jobs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobTemplate {
    /// Its id.
    pub id: JobTemplateId,
    /// Free text for people.
    pub description: String,
    /// The document, with places for parameters.
    pub document: JobDocument,
    /// The course of jobs made from it.
    pub config: JobConfig,
    /// Who made it.
    pub by: PersonName,
    /// When.
    pub at: Timestamp,
}
