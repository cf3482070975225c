//! `muster policy`.

use super::OperatorArgs;
use clap::{Args, Subcommand};
use muster_wire::id::ThingName;
use muster_wire::policy::PolicyName;
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// List policies
    List(PolicyListArgs),
    /// Show a policy and who has it
    Show(PolicyShowArgs),
    /// Store a policy document
    Add(PolicyAddArgs),
    /// Delete a policy that no connector has
    Delete(PolicyDeleteArgs),
    /// Give a policy to connectors, beside those that they have
    Attach(PolicyAttachArgs),
    /// Take a policy away from connectors
    Detach(PolicyAttachArgs),
}

#[derive(Debug, Args)]
pub struct PolicyListArgs {
    #[command(flatten)]
    pub operator: OperatorArgs,
}

#[derive(Debug, Args)]
pub struct PolicyShowArgs {
    /// Name of the policy
    pub name: PolicyName,
    #[command(flatten)]
    pub operator: OperatorArgs,
}

#[derive(Debug, Args)]
pub struct PolicyAddArgs {
    /// File with the document, JSON as for AWS IoT Core
    pub file: PathBuf,
    /// Name of the policy [default: the name of the file, without its ending]
    #[arg(long, value_name = "NAME")]
    pub name: Option<PolicyName>,
    /// Replace the policy of this name; what it says is in force at once for all that have it
    #[arg(long)]
    pub replace: bool,
    #[command(flatten)]
    pub operator: OperatorArgs,
}

#[derive(Debug, Args)]
pub struct PolicyDeleteArgs {
    /// Name of the policy
    pub name: PolicyName,
    #[command(flatten)]
    pub operator: OperatorArgs,
}

#[derive(Debug, Args)]
pub struct PolicyAttachArgs {
    /// Name of the policy
    pub name: PolicyName,
    /// Names of the connectors
    #[arg(required = true, value_name = "CONNECTOR")]
    pub connectors: Vec<ThingName>,
    /// Also names that are no registered connectors: those of certificates from `muster cert issue`
    #[arg(long)]
    pub any_name: bool,
    #[command(flatten)]
    pub operator: OperatorArgs,
}
