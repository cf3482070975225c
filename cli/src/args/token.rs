//! `muster token` and `muster allowlist`.

use super::{DataArgs, MeantArgs, OperatorArgs};
use clap::{Args, Subcommand};
use muster_wire::id::ThingName;

#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// List the tokens of install scripts that still work
    List(TokenListArgs),
    /// Make the token of a connector's install script invalid
    Revoke(TokenRevokeArgs),
}

#[derive(Debug, Args)]
pub struct TokenListArgs {
    /// Also those of the last 30 days that were used, replaced or revoked, or have expired
    #[arg(long)]
    pub all: bool,
    #[command(flatten)]
    pub meant: MeantArgs,
    #[command(flatten)]
    pub operator: OperatorArgs,
}

#[derive(Debug, Args)]
pub struct TokenRevokeArgs {
    /// Name of the connector; it has one live token at most
    pub name: ThingName,
    #[command(flatten)]
    pub operator: OperatorArgs,
}

#[derive(Debug, Args)]
pub struct AllowlistArgs {
    #[command(flatten)]
    pub data: DataArgs,
    /// Addresses, as the names resolve now, for firewalls that know no names
    #[arg(long, conflicts_with = "wildcard")]
    pub r#static: bool,
    /// Patterns that go on to fit when the server moves to another name in its domain
    #[arg(long)]
    pub wildcard: bool,
    /// Address at which hosts reach the server [default: the first host in muster.toml and the server's port]
    #[arg(long, value_name = "HOST:PORT")]
    pub server: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
