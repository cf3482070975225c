//! `muster stream`.

use super::OperatorArgs;
use clap::{Args, Subcommand};
use muster_wire::stream::StreamId;

#[derive(Debug, Subcommand)]
pub enum StreamCommand {
    /// Make a stream of files and packages
    Create(StreamCreateArgs),
    /// List the streams that operators made
    List(StreamListArgs),
    /// Delete a stream; its files stay
    Delete(StreamDeleteArgs),
}

#[derive(Debug, Args)]
pub struct StreamCreateArgs {
    /// Id of the stream
    pub id: StreamId,
    /// Files of this machine, and packages of published components as NAME@VERSION; numbered from 0 in this order
    #[arg(required = true, value_name = "FILE|NAME@VERSION")]
    pub sources: Vec<String>,
    /// What it is for
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub description: String,
    /// Replace the stream of this id; its version grows
    #[arg(long)]
    pub replace: bool,
    #[command(flatten)]
    pub operator: OperatorArgs,
}

#[derive(Debug, Args)]
pub struct StreamListArgs {
    #[command(flatten)]
    pub operator: OperatorArgs,
}

#[derive(Debug, Args)]
pub struct StreamDeleteArgs {
    /// Id of the stream
    pub id: StreamId,
    #[command(flatten)]
    pub operator: OperatorArgs,
}
