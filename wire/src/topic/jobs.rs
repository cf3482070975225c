//! The jobs of a thing: what stands behind `$aws/things/{thing}/jobs/`.

use crate::id::{JobId, NameError};
use std::fmt;

/// Which execution a request is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum JobRef {
    /// The one that would be started next.
    Next,
    /// The latest one of this job.
    Id(JobId),
}

/// A request about jobs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum JobsVerb {
    /// GetPendingJobExecutions.
    GetPending,
    /// StartNextPendingJobExecution.
    StartNext,
    /// DescribeJobExecution.
    Describe(JobRef),
    /// UpdateJobExecution.
    Update(JobId),
}

/// What is said about the jobs of a thing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum JobsTopic {
    /// A client asks.
    Request(JobsVerb),
    /// The service did it.
    Accepted(JobsVerb),
    /// The service refused it.
    Rejected(JobsVerb),
    /// The list of pending executions changed.
    Notify,
    /// The next execution changed.
    NotifyNext,
}

impl JobsTopic {
    /// A job may be called `get` or `notify`: the two-level forms belong to the API, the longer ones to the job.
    pub(super) fn from_parts(parts: &[&str]) -> Result<Option<Self>, NameError> {
        let (verb, outcome) = match parts {
            ["notify"] => return Ok(Some(Self::Notify)),
            ["notify-next"] => return Ok(Some(Self::NotifyNext)),
            [api @ ("get" | "start-next")] => (Self::list_verb(api), None),
            [api @ ("get" | "start-next"), outcome @ ("accepted" | "rejected")] => {
                (Self::list_verb(api), Some(*outcome))
            }
            [job, api @ ("get" | "update")] => (Self::job_verb(job, api)?, None),
            [job, api @ ("get" | "update"), outcome] => (Self::job_verb(job, api)?, Some(*outcome)),
            _ => return Ok(None),
        };
        let Some(verb) = verb else { return Ok(None) };
        Ok(match outcome {
            None => Some(Self::Request(verb)),
            Some("accepted") => Some(Self::Accepted(verb)),
            Some("rejected") => Some(Self::Rejected(verb)),
            Some(_) => None,
        })
    }

    fn list_verb(api: &str) -> Option<JobsVerb> {
        Some(if api == "get" { JobsVerb::GetPending } else { JobsVerb::StartNext })
    }

    fn job_verb(job: &str, api: &str) -> Result<Option<JobsVerb>, NameError> {
        Ok(match (job, api) {
            ("$next", "get") => Some(JobsVerb::Describe(JobRef::Next)),
            ("$next", _) => None,
            (job, "get") => Some(JobsVerb::Describe(JobRef::Id(JobId::new(job)?))),
            (job, _) => Some(JobsVerb::Update(JobId::new(job)?)),
        })
    }
}

impl fmt::Display for JobsTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verb, tail) = match self {
            Self::Request(verb) => (verb, ""),
            Self::Accepted(verb) => (verb, "/accepted"),
            Self::Rejected(verb) => (verb, "/rejected"),
            Self::Notify => return f.write_str("notify"),
            Self::NotifyNext => return f.write_str("notify-next"),
        };
        match verb {
            JobsVerb::GetPending => write!(f, "get{tail}"),
            JobsVerb::StartNext => write!(f, "start-next{tail}"),
            JobsVerb::Describe(JobRef::Next) => write!(f, "$next/get{tail}"),
            JobsVerb::Describe(JobRef::Id(job)) => write!(f, "{job}/get{tail}"),
            JobsVerb::Update(job) => write!(f, "{job}/update{tail}"),
        }
    }
}

/// Where a request to no jobs API is rejected: AWS IoT Core does not document it, and its other rejections are here.
#[must_use]
pub fn jobs_rejection(topic: &str) -> String {
    format!("{topic}/rejected")
}
