//! `muster connector`.

use super::{ConnectorAddArgs, ConnectorEditArgs, ListingArgs, MeantArgs, OperatorArgs, WhomArgs, at_least_one};
use clap::{Args, Subcommand};
use muster_wire::id::{Sha256Hex, ThingName};
use std::num::NonZeroU32;

#[derive(Debug, Subcommand)]
pub enum ConnectorCommand {
    /// Register a connector and print the install script for its host
    Add(Box<ConnectorAddArgs>),
    /// List connectors
    List(ConnectorListArgs),
    /// Show everything about one connector, and why it is not where it should be
    Show(ConnectorShowArgs),
    /// Move connectors to another pool or site, or describe them
    Edit(ConnectorEditArgs),
    /// Take connectors out of the fleet: refused at once and for good, with its history kept
    Remove(ConnectorRemoveArgs),
    /// Keep connectors out for a while
    Disable(ConnectorDisableArgs),
    /// Let disabled connectors in again
    Enable(ConnectorEnableArgs),
    /// End the quarantine of a connector whose identity ran in two places
    Resolve(ConnectorResolveArgs),
    /// List hosts whose certificate is not taken any more and that proved their old key
    Recoveries(ConnectorRecoveriesArgs),
    /// Let such a host in again
    Approve(ConnectorApproveArgs),
}

#[derive(Debug, Args)]
pub struct ConnectorRecoveriesArgs {
    #[command(flatten)]
    pub operator: OperatorArgs,
}

#[derive(Debug, Args)]
pub struct ConnectorApproveArgs {
    /// Name of the connector
    pub name: ThingName,
    /// Only if it asks with this new key, as `recoveries --json` shows it
    #[arg(long, value_name = "SHA256")]
    pub key: Option<Sha256Hex>,
    #[command(flatten)]
    pub operator: OperatorArgs,
}

#[derive(Debug, Args)]
pub struct ConnectorListArgs {
    #[command(flatten)]
    pub meant: MeantArgs,
    /// List the connectors that were removed instead
    #[arg(long)]
    pub removed: bool,
    #[command(flatten)]
    pub listing: ListingArgs,
    #[command(flatten)]
    pub operator: OperatorArgs,
}

#[derive(Debug, Args)]
pub struct ConnectorShowArgs {
    /// Name of the connector
    pub name: ThingName,
    #[command(flatten)]
    pub operator: OperatorArgs,
}

#[derive(Debug, Args)]
pub struct ConnectorRemoveArgs {
    #[command(flatten)]
    pub whom: WhomArgs,
    /// First have the agent take itself off the host, and wait until it says so
    #[arg(long)]
    pub uninstall: bool,
    /// With --uninstall: the components and their data go too
    #[arg(long, requires = "uninstall")]
    pub purge: bool,
    /// With --uninstall: longest time to wait for the agent
    #[arg(long, value_name = "SECONDS", default_value = "120", requires = "uninstall", value_parser = at_least_one)]
    pub timeout: NonZeroU32,
    /// With --uninstall: remove it from the fleet also when the agent does not answer
    #[arg(long, requires = "uninstall")]
    pub force: bool,
    #[command(flatten)]
    pub operator: OperatorArgs,
}

#[derive(Debug, Args)]
pub struct ConnectorDisableArgs {
    #[command(flatten)]
    pub whom: WhomArgs,
    /// Why, for those who look at it later
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    #[command(flatten)]
    pub operator: OperatorArgs,
}

#[derive(Debug, Args)]
pub struct ConnectorEnableArgs {
    #[command(flatten)]
    pub whom: WhomArgs,
    #[command(flatten)]
    pub operator: OperatorArgs,
}

#[derive(Debug, Args)]
pub struct ConnectorResolveArgs {
    /// Name of the connector
    pub name: ThingName,
    /// There is one host only, whose state was restored: keep its certificate. Otherwise every certificate of the
    /// connector is revoked, and the one place that goes on is installed anew
    #[arg(long)]
    pub keep_current: bool,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    #[command(flatten)]
    pub operator: OperatorArgs,
}
