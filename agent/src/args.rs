//! The command line.

use clap::{Parser, Subcommand};
use muster_wire::id::{PoolName, ThingName};
use muster_wire::label::Label;
use std::path::PathBuf;

/// Runs on a connector: installs, starts, watches and upgrades components for a Muster server.
#[derive(Debug, Parser)]
#[command(name = "muster-agent", version, disable_help_subcommand = true)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Get this host's identity from the server, with the token of `muster connector add`.
    Enrol(Enrol),
    /// Run until stopped; components go on running afterwards.
    Run(Run),
    /// Say whether this host and its way to the server are fit for the agent; exit code 2 when they are not.
    Check(Check),
    /// Make the running agent read its settings again.
    Reload(Reload),
    /// Say what runs here.
    Status(Status),
}

/// Arguments of `enrol`.
#[derive(Debug, clap::Args)]
pub struct Enrol {
    /// Folder for the agent and its components.
    #[arg(long, value_name = "DIR")]
    pub prefix: PathBuf,
    /// Address of the server.
    #[arg(long, value_name = "HOST:PORT")]
    pub server: String,
    /// The server's CA certificate; nothing else is trusted.
    #[arg(long, value_name = "FILE")]
    pub ca: PathBuf,
    /// Name of this connector, as the server knows it.
    #[arg(long, value_parser = |text: &str| ThingName::new(text))]
    pub name: ThingName,
    /// Pool that the token is meant for; the server refuses another one.
    #[arg(long, value_parser = |text: &str| PoolName::new(text))]
    pub pool: Option<PoolName>,
    /// File with the token; without it the token is read from standard input.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// How the server is reached.
    #[command(flatten)]
    pub proxy: ProxyArgs,
    /// What this host is, for selecting it later; may be repeated.
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = |text: &str| text.parse::<Label>())]
    pub labels: Vec<Label>,
    /// Replace an identity that is there already.
    #[arg(long)]
    pub force: bool,
}

/// How the server is reached.
#[derive(Debug, clap::Args)]
pub struct ProxyArgs {
    /// HTTP proxy on the way to the server, as http://HOST:PORT or http://USER@HOST:PORT, or none; without it HTTPS_PROXY counts.
    #[arg(long, value_name = "URL")]
    pub proxy: Option<String>,
    /// What is reached without the proxy, with commas in between; without it NO_PROXY counts.
    #[arg(long, value_name = "LIST")]
    pub no_proxy: Option<String>,
    /// File with the password of the proxy's user.
    #[arg(long, value_name = "FILE")]
    pub proxy_password_file: Option<PathBuf>,
}

/// Arguments of `run`.
#[derive(Debug, clap::Args)]
pub struct Run {
    /// Folder for the agent and its components.
    #[arg(long, value_name = "DIR")]
    pub prefix: PathBuf,
}

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
pub struct Check {
    /// Folder for the agent and its components.
    #[arg(long, value_name = "DIR")]
    pub prefix: PathBuf,
    /// As JSON.
    #[arg(long)]
    pub json: bool,
    /// Check a host that has no settings yet, with those that are given here.
    #[arg(long, requires = "server", requires = "ca")]
    pub before_enrol: bool,
    /// Address of the server.
    #[arg(long, value_name = "HOST:PORT", requires = "before_enrol")]
    pub server: Option<String>,
    /// The server's CA certificate.
    #[arg(long, value_name = "FILE", requires = "before_enrol")]
    pub ca: Option<PathBuf>,
    /// SHA-256 that this CA certificate must have.
    #[arg(long, value_name = "HEX", requires = "before_enrol")]
    pub ca_sha256: Option<String>,
    /// How the server is reached.
    #[command(flatten)]
    pub proxy: ProxyArgs,
}

/// Arguments of `reload`.
#[derive(Debug, clap::Args)]
pub struct Reload {
    /// Folder for the agent and its components.
    #[arg(long, value_name = "DIR")]
    pub prefix: PathBuf,
}

/// Arguments of `status`.
#[derive(Debug, clap::Args)]
pub struct Status {
    /// Folder for the agent and its components.
    #[arg(long, value_name = "DIR")]
    pub prefix: PathBuf,
    /// As JSON.
    #[arg(long)]
    pub json: bool,
}

#[cfg(test)]
mod tests;
