//! `muster job`.

use super::{MeantArgs, OperatorArgs};
use crate::command::course::{Abort, Minutes, Retry, Window};
use clap::{Args, Subcommand, ValueEnum};
use muster_wire::admin::Selector;
use muster_wire::id::{JobId, JobTemplateId, ThingName};
use muster_wire::job::{EndBehavior, JobStatus, TargetSelection, WholeJobStatus};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub enum JobCommand {
    /// Make a job for things or groups
    Create(Box<JobCreateArgs>),
    /// List jobs and how far they are
    List(JobListArgs),
    /// Show a job: how far it is, its rules, its document
    Show(JobShowArgs),
    /// Change the description or the rules of a job that is not over
    Update(JobUpdateArgs),
    /// Call a job off
    Cancel(JobCancelArgs),
    /// Delete a job with all of its executions
    Delete(JobDeleteArgs),
    /// Add targets to a continuous job
    AddTargets(JobAddTargetsArgs),
    /// List the executions of a job or of a thing
    Executions(JobExecutionsArgs),
    /// Call off or delete one execution
    #[command(subcommand)]
    Execution(ExecutionCommand),
    /// Keep documents and rules to make jobs from
    #[command(subcommand)]
    Template(TemplateCommand),
}

#[derive(Debug, Subcommand)]
pub enum ExecutionCommand {
    /// Call off the execution of a job on a thing
    Cancel(ExecutionCancelArgs),
    /// Delete the execution of a job on a thing
    Delete(ExecutionDeleteArgs),
}

#[derive(Debug, Subcommand)]
pub enum TemplateCommand {
    /// Make a job template
    Create(Box<TemplateCreateArgs>),
    /// List job templates
    List(TemplateListArgs),
    /// Show a job template
    Show(TemplateShowArgs),
    /// Delete a job template; jobs made from it stay
    Delete(TemplateDeleteArgs),
}

/// Whom a job is for.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub struct TargetArgs {
    /// A group: the connectors that this selector means; may be given more than once
    #[arg(long, value_name = "SELECTOR")]
    pub to: Vec<Selector>,
    /// Things, registered or not, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub to_things: Vec<ThingName>,
}

/// The rules of a job that can be changed later.
#[derive(Debug, Args)]
#[command(next_help_heading = "Rules")]
pub struct RuleArgs {
    /// Tell at most so many things a minute
    #[arg(long, value_name = "THINGS")]
    pub rate: Option<u32>,
    /// Begin with so many things a minute, and multiply the rate each time so many things were reached
    #[arg(long, value_name = "THINGS", requires = "rate_factor")]
    pub rate_base: Option<u32>,
    /// Multiply the rate by this, 1.1 to 5
    #[arg(long, value_name = "FACTOR", requires = "rate_base")]
    pub rate_factor: Option<f64>,
    /// Multiply it each time so many things were told
    #[arg(long, value_name = "THINGS", requires = "rate_base", conflicts_with = "rate_on_succeeded")]
    pub rate_on_notified: Option<u32>,
    /// Multiply it each time so many things succeeded
    #[arg(long, value_name = "THINGS", requires = "rate_base")]
    pub rate_on_succeeded: Option<u32>,
    /// Give up when so many fail, for example 'FAILED>=20% after 10'; FAILED, REJECTED, TIMED_OUT or ALL; may be given
    /// more than once
    #[arg(long, value_name = "CRITERION")]
    pub abort: Vec<Abort>,
    /// A thing may take so long from its start, for example 30m or 2h
    #[arg(long, value_name = "TIME")]
    pub timeout: Option<Minutes>,
    /// Try again, for example FAILED=3,TIMED_OUT=1 or ALL=2
    #[arg(long, value_name = "TYPE=TIMES", value_delimiter = ',')]
    pub retry: Vec<Retry>,
}

/// When a job runs.
#[derive(Debug, Args)]
#[command(next_help_heading = "Schedule (UTC)")]
pub struct ScheduleArgs {
    /// Begin then: 'YYYY-MM-DD HH:MM' or YYYY-MM-DDTHH:MM:SSZ
    #[arg(long, value_name = "TIME")]
    pub start: Option<String>,
    /// End then
    #[arg(long, value_name = "TIME")]
    pub end: Option<String>,
    /// What happens at the end
    #[arg(long, value_name = "BEHAVIOR", requires = "end")]
    pub end_behavior: Option<EndChoice>,
    /// Tell things inside of this window only: a cron expression and how long it stays open, for example
    /// '30 22 * * FRI;2h'; may be given more than once
    #[arg(long, value_name = "CRON;TIME")]
    pub window: Vec<Window>,
}

/// What happens at the end of a schedule.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum EndChoice {
    /// No more things are told
    StopRollout,
    /// What is queued is canceled too
    Cancel,
    /// What is in progress is canceled too
    ForceCancel,
}

impl From<EndChoice> for EndBehavior {
    fn from(choice: EndChoice) -> Self {
        match choice {
            EndChoice::StopRollout => Self::StopRollout,
            EndChoice::Cancel => Self::Cancel,
            EndChoice::ForceCancel => Self::ForceCancel,
        }
    }
}

#[derive(Debug, Args)]
pub struct JobCreateArgs {
    /// Id of the new job
    pub id: JobId,
    #[command(flatten)]
    pub targets: TargetArgs,
    /// File with the job document, a JSON object
    #[arg(long, value_name = "FILE", required_unless_present = "template", conflicts_with = "template")]
    pub document: Option<PathBuf>,
    /// Use the document and the rules of this template
    #[arg(long, value_name = "TEMPLATE")]
    pub template: Option<JobTemplateId>,
    /// A value for ${NAME} in the template's document; may be given more than once
    #[arg(long, value_name = "NAME=VALUE", requires = "template", value_parser = pair)]
    pub param: Vec<(String, String)>,
    /// Also for connectors that come to a group later
    #[arg(long)]
    pub continuous: bool,
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,
    #[command(flatten)]
    pub operator: OperatorArgs,
    #[command(flatten)]
    pub rules: RuleArgs,
    #[command(flatten)]
    pub schedule: ScheduleArgs,
}

#[derive(Debug, Args)]
pub struct JobListArgs {
    /// Only with this status
    #[arg(long, value_name = "STATUS", value_parser = spelled::<WholeJobStatus>)]
    pub status: Option<WholeJobStatus>,
    /// Only with this target: a selector as it was given, or a thing
    #[arg(long, value_name = "TARGET")]
    pub target: Option<String>,
    /// Only SNAPSHOT or CONTINUOUS
    #[arg(long, value_name = "KIND", value_parser = spelled::<TargetSelection>)]
    pub target_selection: Option<TargetSelection>,
    #[command(flatten)]
    pub meant: MeantArgs,
    #[command(flatten)]
    pub operator: OperatorArgs,
}

#[derive(Debug, Args)]
pub struct JobShowArgs {
    /// The job
    pub id: JobId,
    #[command(flatten)]
    pub operator: OperatorArgs,
}

#[derive(Debug, Args)]
pub struct JobUpdateArgs {
    /// The job
    pub id: JobId,
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,
    #[command(flatten)]
    pub operator: OperatorArgs,
    #[command(flatten)]
    pub rules: RuleArgs,
}

#[derive(Debug, Args)]
pub struct JobCancelArgs {
    /// The job
    pub id: JobId,
    /// Also what is in progress
    #[arg(long)]
    pub force: bool,
    /// Why, for programs: A-Z 0-9 _
    #[arg(long, value_name = "CODE")]
    pub reason_code: Option<String>,
    /// Why, for people
    #[arg(long, value_name = "TEXT")]
    pub comment: Option<String>,
    #[command(flatten)]
    pub operator: OperatorArgs,
}

#[derive(Debug, Args)]
pub struct JobDeleteArgs {
    /// The job
    pub id: JobId,
    /// Also when it is not over
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub operator: OperatorArgs,
}

#[derive(Debug, Args)]
pub struct JobAddTargetsArgs {
    /// The job
    pub id: JobId,
    #[command(flatten)]
    pub targets: TargetArgs,
    #[command(flatten)]
    pub operator: OperatorArgs,
}

#[derive(Debug, Args)]
pub struct JobExecutionsArgs {
    /// Of this job
    #[arg(required_unless_present = "thing")]
    pub id: Option<JobId>,
    /// Of this thing; with a job, every try of the job on the thing
    #[arg(long, value_name = "THING")]
    pub thing: Option<ThingName>,
    /// Only with this status
    #[arg(long, value_name = "STATUS", value_parser = spelled::<JobStatus>)]
    pub status: Option<JobStatus>,
    #[command(flatten)]
    pub meant: MeantArgs,
    #[command(flatten)]
    pub operator: OperatorArgs,
}

#[derive(Debug, Args)]
pub struct ExecutionCancelArgs {
    /// The job
    pub id: JobId,
    /// The thing
    pub thing: ThingName,
    /// Also when it is in progress
    #[arg(long)]
    pub force: bool,
    /// Only when it has this version
    #[arg(long, value_name = "NUMBER")]
    pub expected_version: Option<u64>,
    /// A detail that replaces those of the device; may be given more than once
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    pub detail: Vec<(String, String)>,
    #[command(flatten)]
    pub operator: OperatorArgs,
}

#[derive(Debug, Args)]
pub struct ExecutionDeleteArgs {
    /// The job
    pub id: JobId,
    /// The thing
    pub thing: ThingName,
    /// Which try [default: the latest]
    #[arg(long, value_name = "NUMBER")]
    pub number: Option<u64>,
    /// Also when it is not over
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub operator: OperatorArgs,
}

#[derive(Debug, Args)]
pub struct TemplateCreateArgs {
    /// Id of the new template
    pub id: JobTemplateId,
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    pub description: String,
    /// File with the document, a JSON object; ${NAME} in a text is a parameter
    #[arg(long, value_name = "FILE", required_unless_present = "from_job")]
    pub document: Option<PathBuf>,
    /// Take document and rules from this job
    #[arg(long, value_name = "JOB", conflicts_with_all = ["document", "RuleArgs", "ScheduleArgs"])]
    pub from_job: Option<JobId>,
    #[command(flatten)]
    pub operator: OperatorArgs,
    #[command(flatten)]
    pub rules: RuleArgs,
    #[command(flatten)]
    pub schedule: ScheduleArgs,
}

#[derive(Debug, Args)]
pub struct TemplateListArgs {
    #[command(flatten)]
    pub operator: OperatorArgs,
}

#[derive(Debug, Args)]
pub struct TemplateShowArgs {
    /// The template
    pub id: JobTemplateId,
    #[command(flatten)]
    pub operator: OperatorArgs,
}

#[derive(Debug, Args)]
pub struct TemplateDeleteArgs {
    /// The template
    pub id: JobTemplateId,
    #[command(flatten)]
    pub operator: OperatorArgs,
}

/// Reads a word of the API, in capital letters or not, with `-` for `_`.
fn spelled<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    let word = text.to_ascii_uppercase().replace('-', "_");
    serde_json::from_value(serde_json::Value::String(word)).map_err(|error| {
        // Serde says it for programmers: "unknown variant `X`, expected one of `A`, `B`".
        let known = error.to_string().replace('`', "");
        known.split_once("expected ").map_or(known.clone(), |(_, known)| format!("write {known}"))
    })
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("it has no =; write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}
