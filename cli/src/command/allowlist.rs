//! `muster allowlist`: what a firewall must let out for a connector. The install script, and through it the agent's
//! prechecks, get the same list from the same function.

use super::Run;
use crate::args::AllowlistArgs;
use crate::context::{Address, Context};
use crate::datadir::DataDir;
use crate::error::CliError;
use crate::output::{Output, Table, say_aside};
use crate::settings::Settings;
use serde::Serialize;
use std::collections::BTreeSet;
use std::net::IpAddr;
use tokio::net::lookup_host;

/// A host and a port that must be let out, over TCP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Name, address or pattern.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Always `tcp`.
    pub protocol: &'static str,
    /// Who needs it.
    pub used_by: &'static str,
}

/// Who needs an entry: the agent, for everything.
pub const AGENT: &str = "agents";
/// Clients other than the agent that know no other port than the usual one of MQTT.
const CLIENTS: &str = "MQTT clients";

/// Everything that must be let out: the server's one port for agents, and the second port if there is one.
pub fn entries(server: &Address, second: Option<u16>) -> Vec<Entry> {
    let entry = |port, used_by| Entry { host: server.host.clone(), port, protocol: "tcp", used_by };
    let mut entries = vec![entry(server.port, AGENT)];
    entries.extend(second.filter(|port| *port != server.port).map(|port| entry(port, CLIENTS)));
    entries
}

/// The address at which hosts reach the server: the first host of the settings, with the port that is open.
pub fn public_address(cx: &Context) -> Result<Address, CliError> {
    let running = cx.server()?;
    Ok(Address { host: public_host(&cx.data, &Settings::read(&cx.data.settings())?)?, port: running.port })
}

fn public_host(data: &DataDir, settings: &Settings) -> Result<String, CliError> {
    settings.hosts.first().cloned().ok_or_else(|| {
        CliError::local(format!(
            "{} names no server.hosts; add the name at which hosts reach this server, or give --server HOST:PORT",
            data.settings().display()
        ))
    })
}

impl Run for AllowlistArgs {
    fn describe(&self) -> String {
        "list what a firewall must let out".to_owned()
    }

    fn json(&self) -> bool {
        self.json
    }

    async fn run(self) -> Result<Output, CliError> {
        let data = DataDir::open(&self.data.data)?;
        let settings = Settings::read(&data.settings())?;
        // The ports that are open if a server has run, else those of the settings.
        let open = data.server_addresses().ok();
        let port = |text: Option<&str>| text.and_then(|text| text.parse::<Address>().ok()).map(|address| address.port);
        let first = open.as_ref().and_then(|open| port(Some(&open.https)));
        let second = match &open {
            Some(open) => port(open.mqtt.as_deref()),
            None => settings.mqtt_listen.map(|listen| listen.port()),
        };
        let server = match &self.server {
            Some(text) => text.parse().map_err(|error| CliError::local_because("--server cannot be used", error))?,
            None => {
                let port = first.unwrap_or_else(|| settings.listen.port());
                Address { host: public_host(&data, &settings)?, port }
            }
        };
        let mut listed = entries(&server, second);
        if self.r#static {
            listed = resolved(listed).await?;
        } else if self.wildcard {
            for entry in &mut listed {
                entry.host = pattern(&entry.host);
            }
            if let Some(wide) = listed.iter().find(|entry| entry.host.starts_with("*.")) {
                let host = &wide.host;
                say_aside(&format!(
                    "{host} lets out to every host of that domain; use it if the domain is yours alone"
                ));
            }
        }
        let mut table = Table::new(&["HOST", "PORT", "PROTOCOL", "USED BY"]);
        for entry in &listed {
            let cells =
                [entry.host.clone(), entry.port.to_string(), entry.protocol.to_owned(), entry.used_by.to_owned()];
            table.row(cells);
        }
        Ok(Output::new(&listed, table.to_string()))
    }
}

/// Each entry once for each address that its name has now.
async fn resolved(entries: Vec<Entry>) -> Result<Vec<Entry>, CliError> {
    let mut all = Vec::new();
    for entry in entries {
        let found = lookup_host((entry.host.as_str(), entry.port)).await.map_err(|error| {
            CliError::local_because(format!("{} has no address here; check the name or the DNS", entry.host), error)
        })?;
        let addresses: BTreeSet<IpAddr> = found.map(|address| address.ip()).collect();
        all.extend(addresses.into_iter().map(|address| Entry { host: address.to_string(), ..entry.clone() }));
    }
    Ok(all)
}

/// `*.example.org` for `muster.example.org`. An address, and a name whose domain is all of it, stay as they are.
fn pattern(host: &str) -> String {
    match host.split_once('.') {
        Some((_, domain)) if host.parse::<IpAddr>().is_err() && domain.contains('.') && !may_be_registry(domain) => {
            format!("*.{domain}")
        }
        _ => host.to_owned(),
    }
}

/// Whether a domain looks like one under which anybody can have a name, such as `co.uk`. The list of those is long and
/// changes; a short word before a country is taken for one, since a pattern that is too narrow does no harm.
fn may_be_registry(domain: &str) -> bool {
    domain.split_once('.').is_some_and(|(word, country)| word.len() <= 3 && country.len() == 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_need_one_port_and_other_clients_perhaps_a_second() {
        let server = Address { host: "muster.example.org".to_owned(), port: 8443 };
        let ports =
            |second| entries(&server, second).iter().map(|entry| (entry.port, entry.used_by)).collect::<Vec<_>>();
        assert_eq!(ports(None), [(8443, AGENT)]);
        assert_eq!(ports(Some(8443)), [(8443, AGENT)]);
        assert_eq!(ports(Some(8883)), [(8443, AGENT), (8883, CLIENTS)]);
    }

    #[test]
    fn a_pattern_covers_the_domain_and_nothing_above_it() {
        for (host, expected) in [
            ("muster.example.org", "*.example.org"),
            ("a.b.example.org", "*.b.example.org"),
            ("example.org", "example.org"),
            ("localhost", "localhost"),
            ("a.co.uk", "a.co.uk"),
            ("muster.a.co.uk", "*.a.co.uk"),
            ("192.0.2.10", "192.0.2.10"),
            ("2001:db8::1", "2001:db8::1"),
        ] {
            assert_eq!(pattern(host), expected);
        }
    }
}
