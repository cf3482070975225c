//! `muster key`.

use super::OperatorArgs;
use clap::{Args, Subcommand};
use muster_wire::admin::KeyPolicy;
use muster_wire::id::AccessKeyId;

#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make an access key for programs that sign their HTTP requests, as boto3 does; its secret is shown once
    Create(KeyCreateArgs),
    /// List access keys
    List(KeyListArgs),
    /// Take back an access key: whoever signs with it is refused at once and for good
    Revoke(KeyRevokeArgs),
}

#[derive(Debug, Args)]
pub struct KeyCreateArgs {
    /// What the holder may do: observer (read), operator (also write shadows and publish), or connector:THING (what
    /// that device may do)
    #[arg(long, value_name = "POLICY")]
    pub policy: KeyPolicy,
    /// What it is for, for those who look at it later
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,
    #[command(flatten)]
    pub operator: OperatorArgs,
}

#[derive(Debug, Args)]
pub struct KeyListArgs {
    #[command(flatten)]
    pub operator: OperatorArgs,
}

#[derive(Debug, Args)]
pub struct KeyRevokeArgs {
    /// The key's id, as `key list` shows it
    #[arg(value_name = "ID")]
    pub id: AccessKeyId,
    #[command(flatten)]
    pub operator: OperatorArgs,
}
