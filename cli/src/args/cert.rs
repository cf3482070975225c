//! `muster cert`.

use super::{DataArgs, MeantArgs, OperatorArgs, at_least_one};
use clap::{Args, Subcommand, ValueEnum};
use muster_certs::identity::Role;
use muster_wire::id::ThingName;
use std::num::NonZeroU32;
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub enum CertCommand {
    /// Issue certificates for device SDKs, dashboards and load tests, signed with the authority in the data folder
    Issue(CertIssueArgs),
    /// List the certificates that the server knows: those of enrolled connectors, and revoked ones
    List(CertListArgs),
    /// Take back a certificate: whoever shows it is refused at once and for good
    Revoke(CertRevokeArgs),
    /// Give an operator of the data folder another certificate, with a new key
    Renew(CertRenewArgs),
}

#[derive(Debug, Subcommand)]
pub enum CertsCommand {
    /// List certificates by the time that is left: connectors, operators, the server, the authority
    Expiring(CertsExpiringArgs),
}

#[derive(Debug, Args)]
pub struct CertsExpiringArgs {
    #[command(flatten)]
    pub meant: MeantArgs,
    #[command(flatten)]
    pub operator: OperatorArgs,
    /// Only those that end within so many days [default: 7 for what is renewed by itself, which a healthy connector never
    /// comes near; 30 for what people renew: operators and the authority]
    #[arg(long, value_name = "DAYS", value_parser = days)]
    pub within: Option<u32>,
}

fn days(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| "must be a whole number of days, for example 30".to_owned())
}

#[derive(Debug, Args)]
pub struct CertRenewArgs {
    #[command(flatten)]
    pub operator: OperatorArgs,
    /// Validity [default: 365]
    #[arg(long, value_name = "DAYS")]
    pub days: Option<NonZeroU32>,
}

#[derive(Debug, Args)]
pub struct CertIssueArgs {
    #[command(flatten)]
    pub data: DataArgs,
    /// Name in the certificates; with --count, N-0, N-1 and so on
    #[arg(long, value_name = "N")]
    pub name: String,
    /// How many
    #[arg(long, value_name = "K", value_parser = at_least_one)]
    pub count: Option<NonZeroU32>,
    /// What the holder may do
    #[arg(long, value_name = "POLICY")]
    pub policy: Policy,
    /// Folder for {name}.crt, {name}.key and ca.crt
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Validity [default: 30 for connectors, 365 for others]
    #[arg(long, value_name = "DAYS", value_parser = at_least_one)]
    pub days: Option<NonZeroU32>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct CertListArgs {
    /// Only those of this connector
    #[arg(long, value_name = "NAME")]
    pub connector: Option<ThingName>,
    #[command(flatten)]
    pub meant: MeantArgs,
    #[command(flatten)]
    pub operator: OperatorArgs,
}

#[derive(Debug, Args)]
pub struct CertRevokeArgs {
    /// The certificate: its file, or its id as `cert list` shows it (the SHA-256 of the certificate)
    #[arg(value_name = "FILE|ID")]
    pub certificate: String,
    /// Why, for those who look at it later
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    #[command(flatten)]
    pub operator: OperatorArgs,
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
