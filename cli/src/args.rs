//! The command line: the whole clap tree, and nothing else.

mod add;
mod backup;
mod ca;
mod cert;
mod component;
mod connector;
mod job;
mod key;
mod listing;
mod policy;
mod provision;
mod server;
mod stream;
mod token;
mod upgrade;
mod whom;

pub use add::{Choice, ConnectorAddArgs, Shell};
pub use backup::{BackupArgs, RestoreArgs};
pub use ca::{CaCommand, CaRotateArgs, CaStatusArgs};
pub use cert::{
    CertCommand, CertIssueArgs, CertListArgs, CertRenewArgs, CertRevokeArgs, CertsCommand, CertsExpiringArgs,
};
pub use component::{ComponentCommand, ComponentListArgs, ComponentPublishArgs};
pub use connector::{
    ConnectorApproveArgs, ConnectorCommand, ConnectorDisableArgs, ConnectorEnableArgs, ConnectorListArgs,
    ConnectorRecoveriesArgs, ConnectorRemoveArgs, ConnectorResolveArgs, ConnectorShowArgs,
};
pub use job::{
    ExecutionCancelArgs, ExecutionCommand, ExecutionDeleteArgs, JobAddTargetsArgs, JobCancelArgs, JobCommand,
    JobCreateArgs, JobDeleteArgs, JobExecutionsArgs, JobListArgs, JobShowArgs, JobUpdateArgs, RuleArgs, ScheduleArgs,
    TemplateCommand, TemplateCreateArgs, TemplateDeleteArgs, TemplateListArgs, TemplateShowArgs,
};
pub use key::{KeyCommand, KeyCreateArgs, KeyListArgs, KeyRevokeArgs};
pub use listing::{Column, ConnectorEditArgs, ListingArgs, SortKey};
pub use policy::{PolicyAddArgs, PolicyAttachArgs, PolicyCommand, PolicyDeleteArgs, PolicyListArgs, PolicyShowArgs};
pub use provision::{
    ClaimCommand, ClaimCreateArgs, ClaimListArgs, ClaimRevokeArgs, ProvisioningTemplateCommand,
    ProvisioningTemplateCreateArgs, ProvisioningTemplateDeleteArgs, ProvisioningTemplateListArgs,
    ProvisioningTemplateShowArgs,
};
pub use server::{DemoArgs, InitArgs, ServeArgs};
pub use stream::{StreamCommand, StreamCreateArgs, StreamDeleteArgs, StreamListArgs};
pub use token::{AllowlistArgs, TokenCommand, TokenListArgs, TokenRevokeArgs};
pub use upgrade::{ActionsArgs, UpgradeArgs, WatchArgs};
pub use whom::{MeantArgs, WhomArgs};

use clap::{Args, Parser, Subcommand};
use muster_wire::id::PersonName;
use std::num::NonZeroU32;
use std::path::PathBuf;

/// Enrols hosts, and deploys and upgrades the components on them.
#[derive(Debug, Parser)]
#[command(
    name = "muster",
    version,
    propagate_version = false,
    subcommand_required = true,
    arg_required_else_help = true
)]
#[command(after_help = "Exit codes: 0 done, 1 the fleet said no, 2 wrong usage or a problem on this machine, \
                        3 the server cannot be reached.")]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a data folder: authority, server certificate, first operator, settings
    Init(InitArgs),
    /// Run the server
    Serve(ServeArgs),
    /// Add, list, show, disable and remove connectors
    #[command(subcommand)]
    Connector(ConnectorCommand),
    /// List and revoke the tokens of install scripts
    #[command(subcommand)]
    Token(TokenCommand),
    /// Print the hosts and ports that a firewall must let connectors reach
    Allowlist(AllowlistArgs),
    /// Publish and list components
    #[command(subcommand)]
    Component(ComponentCommand),
    /// State which connectors shall run which version of a component
    Upgrade(UpgradeArgs),
    /// List upgrade actions, newest first
    Actions(ActionsArgs),
    /// Print what happens in the fleet as it happens
    Watch(WatchArgs),
    /// Make, watch and steer jobs of your own
    #[command(subcommand)]
    Job(JobCommand),
    /// Offer files that devices fetch over MQTT
    #[command(subcommand)]
    Stream(StreamCommand),
    /// Say by policies what connectors may do
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Issue, list and revoke certificates
    #[command(subcommand)]
    Cert(CertCommand),
    /// Make, list and revoke access keys for programs that sign their HTTP requests
    #[command(subcommand)]
    Key(KeyCommand),
    /// Watch over the certificates of the fleet
    #[command(subcommand)]
    Certs(CertsCommand),
    /// Show the authority of the fleet, and replace it
    #[command(subcommand)]
    Ca(CaCommand),
    /// Say what devices become that provision themselves
    #[command(subcommand)]
    Template(ProvisioningTemplateCommand),
    /// Make, list and revoke the certificates with which devices provision themselves
    #[command(subcommand)]
    Claim(ClaimCommand),
    /// Write the fleet into one file: settings, keys, records, packages
    Backup(BackupArgs),
    /// Make a data folder from a backup, or check one
    Restore(RestoreArgs),
    /// Show the whole life of a component with a server and three agents on this machine
    Demo(DemoArgs),
}

/// A number of things, days or seconds.
fn at_least_one(text: &str) -> Result<NonZeroU32, &'static str> {
    text.parse().map_err(|_| "write a whole number, at least 1")
}

/// Where the server's files are.
#[derive(Clone, Debug, Args)]
pub struct DataArgs {
    /// Data folder of the server
    #[arg(long, env = "MUSTER_DATA", hide_env_values = true, value_name = "DIR")]
    pub data: PathBuf,
}

/// What every operator command takes.
#[derive(Clone, Debug, Args)]
pub struct OperatorArgs {
    #[command(flatten)]
    pub data: DataArgs,
    /// Use the certificate of this operator [default: the only one in the data folder, else admin]
    #[arg(long = "as", value_name = "OPERATOR")]
    pub operator: Option<PersonName>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[cfg(test)]
mod tests;
