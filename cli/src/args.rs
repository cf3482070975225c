//! The command line: the whole clap tree, and nothing else.

use clap::{Args, Parser, Subcommand, ValueEnum};
use muster_certs::identity::{Fleet, Role};
use muster_wire::admin::Selector;
use muster_wire::id::{ComponentName, JobId, PersonName, PoolName, SiteName, TargetId, ThingName, Version};
use std::net::SocketAddr;
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
    /// Add, list and show connectors
    #[command(subcommand)]
    Connector(ConnectorCommand),
    /// Publish and list components
    #[command(subcommand)]
    Component(ComponentCommand),
    /// State which connectors shall run which version of a component
    Upgrade(UpgradeArgs),
    /// List upgrade actions, newest first
    Actions(ActionsArgs),
    /// Print what happens in the fleet as it happens
    Watch(WatchArgs),
    /// Make jobs of your own
    #[command(subcommand)]
    Job(JobCommand),
    /// Issue certificates
    #[command(subcommand)]
    Cert(CertCommand),
    /// Show the whole life of a component with a server and three agents on this machine
    Demo(DemoArgs),
}

#[derive(Debug, Subcommand)]
pub enum ConnectorCommand {
    /// Register a connector and print the install script for its host
    Add(ConnectorAddArgs),
    /// List connectors
    List(ConnectorListArgs),
    /// Show one connector with its latest actions
    Show(ConnectorShowArgs),
}

#[derive(Debug, Subcommand)]
pub enum ComponentCommand {
    /// Pack a folder with a component.toml, sign it and publish it
    Publish(ComponentPublishArgs),
    /// List published versions
    List(ComponentListArgs),
}

#[derive(Debug, Subcommand)]
pub enum JobCommand {
    /// Make a job for some things
    Create(JobCreateArgs),
}

#[derive(Debug, Subcommand)]
pub enum CertCommand {
    /// Issue certificates for device SDKs, dashboards and load tests, signed with the authority in the data folder
    Issue(CertIssueArgs),
}

/// Where the server's files are.
#[derive(Debug, Args)]
pub struct DataArgs {
    /// Data folder of the server
    #[arg(long, env = "MUSTER_DATA", hide_env_values = true, value_name = "DIR")]
    pub data: PathBuf,
}

/// What every operator command takes.
#[derive(Debug, Args)]
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

#[derive(Debug, Args)]
pub struct InitArgs {
    #[command(flatten)]
    pub data: DataArgs,
    /// DNS name or IP address at which hosts reach the server; may be repeated, the first goes into install scripts
    #[arg(long = "host", value_name = "NAME", required = true)]
    pub hosts: Vec<String>,
    /// Name of the fleet, part of every identity
    #[arg(long, value_name = "NAME", default_value = "muster")]
    pub fleet: Fleet,
    /// Name of the first operator
    #[arg(long, value_name = "NAME", default_value = "admin")]
    pub operator: PersonName,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct ServeArgs {
    #[command(flatten)]
    pub data: DataArgs,
    /// Address of the port for MQTT and HTTPS; port 0 picks a free one [default: server.listen in muster.toml]
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: Option<SocketAddr>,
    /// Address of the second port, for MQTT only [default: server.mqtt_listen in muster.toml]
    #[arg(long, value_name = "ADDR:PORT")]
    pub mqtt_listen: Option<SocketAddr>,
    /// Check the settings and stop
    #[arg(long)]
    pub check: bool,
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
    /// Which connectors: all, pool=NAME, site=NAME or name=NAME
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

#[derive(Debug, Args)]
pub struct ComponentPublishArgs {
    /// Folder with component.toml and the files of one version
    pub dir: PathBuf,
    #[command(flatten)]
    pub operator: OperatorArgs,
}

#[derive(Debug, Args)]
pub struct ComponentListArgs {
    #[command(flatten)]
    pub operator: OperatorArgs,
}

#[derive(Debug, Args)]
pub struct UpgradeArgs {
    /// Component
    pub component: ComponentName,
    /// Version that shall run
    pub version: Version,
    /// Which connectors: all, pool=NAME, site=NAME or name=NAME
    #[arg(long, value_name = "SELECTOR")]
    pub to: Selector,
    /// Offer the version also where it failed before
    #[arg(long)]
    pub again: bool,
    /// Follow the actions until all have ended; done only if all are confirmed
    #[arg(long)]
    pub wait: bool,
    /// How long to wait
    #[arg(long, value_name = "SECONDS", default_value = "600", requires = "wait")]
    pub timeout: NonZeroU32,
    #[command(flatten)]
    pub operator: OperatorArgs,
}

#[derive(Debug, Args)]
pub struct ActionsArgs {
    /// Only of this connector
    #[arg(long, value_name = "NAME")]
    pub connector: Option<ThingName>,
    /// Only of this upgrade command
    #[arg(long, value_name = "TARGET")]
    pub target: Option<TargetId>,
    #[command(flatten)]
    pub operator: OperatorArgs,
}

#[derive(Debug, Args)]
pub struct WatchArgs {
    /// Stop after so many messages
    #[arg(long, value_name = "N")]
    pub count: Option<NonZeroU32>,
    /// Stop after so many seconds
    #[arg(long, value_name = "S")]
    pub seconds: Option<NonZeroU32>,
    #[command(flatten)]
    pub operator: OperatorArgs,
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

#[derive(Debug, Args)]
pub struct CertIssueArgs {
    #[command(flatten)]
    pub data: DataArgs,
    /// Name in the certificates; with --count, N-0, N-1 and so on
    #[arg(long, value_name = "N")]
    pub name: String,
    /// How many
    #[arg(long, value_name = "K")]
    pub count: Option<NonZeroU32>,
    /// What the holder may do
    #[arg(long, value_name = "POLICY")]
    pub policy: Policy,
    /// Folder for {name}.crt, {name}.key and ca.crt
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Validity [default: 30 for connectors, 365 for others]
    #[arg(long, value_name = "DAYS")]
    pub days: Option<NonZeroU32>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// A built-in policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Policy {
    /// Its own thing only
    Connector,
    /// Reads status, presence and shadow documents
    Observer,
    /// Steers the fleet
    Operator,
}

impl From<Policy> for Role {
    fn from(policy: Policy) -> Self {
        match policy {
            Policy::Connector => Self::Connector,
            Policy::Observer => Self::Observer,
            Policy::Operator => Self::Operator,
        }
    }
}

#[derive(Debug, Args)]
pub struct DemoArgs {
    /// End after the story instead of staying until Ctrl-C
    #[arg(long)]
    pub once: bool,
    /// The last line is one JSON object; what happens goes to stderr
    #[arg(long)]
    pub json: bool,
    /// Keep the data, prefixes and logs in this new or empty folder
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
}
