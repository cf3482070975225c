//! `muster job`.

use super::OperatorArgs;
use clap::{Args, Subcommand};
use muster_wire::id::{JobId, ThingName};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub enum JobCommand {
    /// Make a job for some things
    Create(JobCreateArgs),
}

#[derive(Debug, Args)]
pub struct JobCreateArgs {
    /// Id of the new job
    pub id: JobId,
    /// The things, separated by commas
    #[arg(long, value_name = "NAMES", required = true, value_delimiter = ',')]
    pub to_things: Vec<ThingName>,
    /// File with the job document, a JSON object
    #[arg(long, value_name = "FILE")]
    pub document: PathBuf,
    #[command(flatten)]
    pub operator: OperatorArgs,
}
