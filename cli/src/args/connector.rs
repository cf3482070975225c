//! `muster connector`.

use super::OperatorArgs;
use clap::{Args, Subcommand};
use muster_wire::admin::Selector;
use muster_wire::id::{PoolName, SiteName, ThingName};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub enum ConnectorCommand {
    /// Register a connector and print the install script for its host
    Add(ConnectorAddArgs),
    /// List connectors
    List(ConnectorListArgs),
    /// Show one connector with its latest actions
    Show(ConnectorShowArgs),
}

#[derive(Debug, Args)]
pub struct ConnectorAddArgs {
    /// Name of the new connector
    pub name: ThingName,
    /// Pool of the connector [default: default]
    #[arg(long, value_name = "POOL", conflicts_with = "no_pool")]
    pub pool: Option<PoolName>,
    /// The connector belongs to no pool
    #[arg(long)]
    pub no_pool: bool,
    /// Site of the connector
    #[arg(long, value_name = "SITE")]
    pub site: Option<SiteName>,
    /// Free text for people
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,
    /// Make a new token for a connector that is there; its script also replaces the identity of an enrolled host
    #[arg(long)]
    pub renew: bool,
    /// Folder of the agent on the host [default: /opt/muster for root, else ~/.muster]
    #[arg(long, value_name = "DIR")]
    pub prefix: Option<PathBuf>,
    /// Address at which the host reaches the server [default: the first host in muster.toml and the server's port]
    #[arg(long, value_name = "HOST:PORT")]
    pub server: Option<String>,
    /// The script installs and enrols the agent but does not start it
    #[arg(long)]
    pub no_start: bool,
    #[command(flatten)]
    pub operator: OperatorArgs,
}

#[derive(Debug, Args)]
pub struct ConnectorListArgs {
    /// Which connectors, for example pool=NAME,!site=NAME or name=web-*,status=offline|never [default: all]
    #[arg(long, value_name = "SELECTOR")]
    pub to: Option<Selector>,
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
