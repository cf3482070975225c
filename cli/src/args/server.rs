//! `muster init`, `muster serve` and `muster demo`.

use super::DataArgs;
use clap::Args;
use muster_certs::identity::Fleet;
use muster_wire::id::PersonName;
use std::net::SocketAddr;
use std::path::PathBuf;

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
    #[arg(long, value_name = "ADDR:PORT", value_parser = to_listen_on)]
    pub listen: Option<SocketAddr>,
    /// Address of the second port, for MQTT only [default: server.mqtt_listen in muster.toml]
    #[arg(long, value_name = "ADDR:PORT", value_parser = to_listen_on)]
    pub mqtt_listen: Option<SocketAddr>,
    /// Check the settings and stop
    #[arg(long)]
    pub check: bool,
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

fn to_listen_on(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "write an IP address and a port, for example 0.0.0.0:8443 or [::]:8443")
}
