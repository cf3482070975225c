//! What an operator command works with: the data folder, the server's address, the operator's certificate.

use crate::args::OperatorArgs;
use crate::client::Operator;
use crate::datadir::DataDir;
use crate::error::CliError;
use crate::https::Https;
use crate::output::say_aside;
use muster_certs::{CertificateFacts, store, verifier};
use muster_runtime::clock::Clock;
use muster_wire::limits::OPERATOR_WARNING;
use muster_wire::time::Timestamp;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

/// A host and a port, as written `host:port` or `[::1]:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// DNS name or IP address, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// The certificate of an operator and the authority to trust.
#[derive(Clone)]
pub struct Credentials {
    /// The authority.
    pub ca_pem: String,
    /// The operator's certificate.
    pub certificate_pem: String,
    /// The operator's key.
    pub key_pem: String,
}

/// The surroundings of an operator command.
pub struct Context {
    /// The data folder.
    pub data: DataDir,
    /// Whether JSON is wanted.
    pub json: bool,
    /// The time.
    pub clock: Clock,
    operator: Option<String>,
}

impl Context {
    /// Finds the data folder.
    ///
    /// Errors: `Local` when it is none.
    pub fn open(args: &OperatorArgs) -> Result<Self, CliError> {
        let operator = args.operator.as_ref().map(ToString::to_string);
        Ok(Self { data: DataDir::open(&args.data.data)?, json: args.json, clock: Clock::system(), operator })
    }

    /// For a data folder that this process made.
    pub fn of(data: DataDir) -> Self {
        Self { data, json: false, clock: Clock::system(), operator: None }
    }

    /// Connects to the server over MQTT.
    ///
    /// Errors: `Local` for unusable files, `Unreachable`.
    pub async fn connect(&self) -> Result<Operator, CliError> {
        let credentials = self.credentials()?;
        self.warn_of_end(&credentials);
        Operator::connect(&self.server()?, &credentials, self.clock.clone()).await
    }

    /// Says in time that the operator's certificate ends: nobody renews it unasked.
    fn warn_of_end(&self, credentials: &Credentials) {
        let Ok(facts) = CertificateFacts::from_pem(&credentials.certificate_pem) else { return };
        let end = Timestamp::from_seconds(facts.not_after);
        if self.clock.now().plus(OPERATOR_WARNING) > end {
            let name = self.operator_name().unwrap_or_default();
            say_aside(&format!(
                "muster: the certificate of operator {name} ends {end}; `muster cert renew --as {name}` makes another one"
            ));
        }
    }

    /// The server over HTTPS. Nothing is connected yet.
    ///
    /// Errors: `Local` for unusable files, `Unreachable` when no server has run.
    pub fn https(&self) -> Result<Https, CliError> {
        let credentials = self.credentials()?;
        let own = (credentials.certificate_pem.as_str(), credentials.key_pem.as_str());
        let config = verifier::client_config(&credentials.ca_pem, Some(own), &[b"http/1.1"])
            .map_err(|error| CliError::local_because("cannot use the operator's certificate", error))?;
        Ok(Https::new(self.server()?, config))
    }

    /// Where to reach the server from here.
    ///
    /// Errors: as [`DataDir::server_addresses`].
    pub fn server(&self) -> Result<Address, CliError> {
        let text = self.data.server_addresses()?.https;
        let address: Address = text.parse().map_err(|problem: AddressError| {
            let file = self.data.server_address();
            CliError::local(format!("{} is damaged: {problem}; start `muster serve` again", file.display()))
        })?;
        Ok(address.reachable())
    }

    /// The operator's certificate and key.
    ///
    /// Errors: `Local` when there is none or it cannot be read.
    pub fn credentials(&self) -> Result<Credentials, CliError> {
        let name = self.operator_name()?;
        let (certificate, key) = self.data.operator(&name);
        if certificate.exists() && !key.exists() {
            return Err(keyless(&name, &key));
        }
        let read = |path| {
            store::read_pem(path)
                .map_err(|error| CliError::local_because("cannot use the operator's certificate", error))
        };
        Ok(Credentials {
            ca_pem: read(&self.data.ca_certificate())?,
            certificate_pem: read(&certificate)?,
            key_pem: read(&key)?,
        })
    }

    /// The name of the operator whose certificate is used.
    ///
    /// Errors: `Local` when there is none, or several and none was named.
    pub fn operator_name(&self) -> Result<String, CliError> {
        if let Some(name) = &self.operator {
            return Ok(name.clone());
        }
        let names = self.data.operator_names()?;
        match names.as_slice() {
            [only] => Ok(only.clone()),
            [] => match self.data.keyless_operators()?.first() {
                Some(name) => Err(keyless(name, &self.data.operator(name).1)),
                None => Err(CliError::local(format!(
                    "{} holds no operator certificate; make one with `muster cert issue --name admin --policy operator --out {0}`",
                    self.data.operators().display()
                ))),
            },
            several if several.iter().any(|name| name == "admin") => Ok("admin".to_owned()),
            several => Err(CliError::local(format!("say which operator you are: --as {}", several.join(" or --as ")))),
        }
    }
}

fn keyless(name: &str, key: &Path) -> CliError {
    CliError::local(format!(
        "{} is missing, and the certificate beside it is of no use without it; put it back, or make both anew on the \
         server's machine with `muster cert renew --as {name}`",
        key.display()
    ))
}

impl Address {
    /// The address to connect to: a server that listens on every address is reached on the loopback.
    fn reachable(self) -> Self {
        let host = match self.host.parse::<IpAddr>() {
            Ok(IpAddr::V4(ip)) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.to_string(),
            Ok(IpAddr::V6(ip)) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.to_string(),
            _ => return self,
        };
        Self { host, ..self }
    }
}

/// Why a text is not an [`Address`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an address; use HOST:PORT, for example muster.example.org:8443 or [2001:db8::1]:8443")]
pub struct AddressError(String);

impl std::str::FromStr for Address {
    type Err = AddressError;
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let bad = || AddressError(text.to_owned());
        let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(bad)?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match bare {
            Some(v6) => v6.parse::<Ipv6Addr>().map_err(|_| bad())?.to_string(),
            None if !host.contains(':') && crate::settings::is_host(host) => host.to_owned(),
            None => return Err(bad()),
        };
        Ok(Self { host, port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn addresses_round_trip_and_the_rest_is_refused() {
        for text in ["127.0.0.1:8443", "muster.example.org:1", "[::1]:65535"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        for bad in ["", "host", "host:", ":1", "host:0", "host:65536", "::1:1", "[x]:1", "a b:1", "$(x):1"] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_server_on_every_address_is_reached_on_the_loopback() {
        for (listens, reached) in [("0.0.0.0:1", "127.0.0.1:1"), ("[::]:1", "[::1]:1"), ("192.0.2.1:1", "192.0.2.1:1")]
        {
            assert_eq!(listens.parse::<Address>().unwrap().reachable().to_string(), reached);
        }
    }
}
