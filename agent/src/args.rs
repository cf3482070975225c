//! The command line.

use crate::service::Kind;
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
    /// Keep the agent running as a service of this host, from now on and after every boot.
    Install(Install),
    /// Start the service.
    Start(Place),
    /// Stop the agent; its components go on.
    Stop(Place),
    /// Stop the agent and start it again; its components go on.
    Restart(Place),
    /// Make the running agent read its settings again.
    Reload(Place),
    /// Say how the agent stands, what runs here, and what is wrong.
    Status(Status),
    /// Get another certificate now instead of at half of the life of this one.
    Renew(Place),
    /// Remove the agent from this host; components stay, unless they are to be purged.
    Uninstall(Uninstall),
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
    /// What is reached without the proxy, with commas in between, or none; without it NO_PROXY counts.
    #[arg(long, value_name = "LIST")]
    pub no_proxy: Option<String>,
    /// File with the password of the proxy's user.
    #[arg(long, value_name = "FILE")]
    pub proxy_password_file: Option<PathBuf>,
}

/// Where the agent is.
#[derive(Debug, clap::Args)]
pub struct Place {
    /// Folder of the agent and its components [default: the one that this program lies in, else /opt/muster for root
    /// and ~/.muster for other users].
    #[arg(long, value_name = "DIR")]
    pub prefix: Option<PathBuf>,
}

/// Arguments of `run`.
#[derive(Debug, clap::Args)]
pub struct Run {
    /// Where the agent is.
    #[command(flatten)]
    pub place: Place,
}

/// Arguments of `install`.
#[derive(Debug, clap::Args)]
pub struct Install {
    /// Where the agent is.
    #[command(flatten)]
    pub place: Place,
    /// What keeps the agent running [default: systemd where it runs, else a process in the background].
    #[arg(long = "as", value_name = "KIND")]
    pub kind: Option<Kind>,
    /// Do not start it now.
    #[arg(long)]
    pub no_start: bool,
}

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
pub struct Check {
    /// Where the agent is.
    #[command(flatten)]
    pub place: Place,
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

/// Arguments of `status`.
#[derive(Debug, clap::Args)]
pub struct Status {
    /// Where the agent is.
    #[command(flatten)]
    pub place: Place,
    /// As JSON.
    #[arg(long)]
    pub json: bool,
    /// Wait until the server has confirmed a report of the running agent. Exit code 1: it does not; 2: the agent does
    /// not run; 3: the server is not reached.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub wait: Option<u64>,
}

/// Arguments of `uninstall`.
#[derive(Debug, clap::Args)]
pub struct Uninstall {
    /// Where the agent is.
    #[command(flatten)]
    pub place: Place,
    /// Remove the components with their data, too: each is stopped, and its own uninstall command run.
    #[arg(long)]
    pub purge: bool,
    /// Say what was removed and what stays.
    #[arg(long)]
    pub report: bool,
    /// As JSON.
    #[arg(long, requires = "report")]
    pub json: bool,
    /// Do not ask.
    #[arg(long)]
    pub yes: bool,
}

#[cfg(test)]
mod tests;
