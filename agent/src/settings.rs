//! `agent.toml`: every key has a default but the server and the name, and all problems are told at once.

use muster_runtime::settings::{SettingsError, SettingsFile};
use muster_runtime::telemetry::LogFormat;
use muster_wire::id::ThingName;
use muster_wire::limits::{TELEMETRY_INTERVAL, VERIFY_INTERVAL};
use std::path::Path;
use std::time::Duration;

/// The checked settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where the server is.
    pub server: Server,
    /// The connector's name.
    pub name: ThingName,
    /// A log filter.
    pub log_level: String,
    /// How logs are written.
    pub log_format: LogFormat,
    /// Time between two samples of telemetry.
    pub telemetry_interval: Duration,
    /// Time between two pulls of everything.
    pub verify_interval: Duration,
}

/// Name or address, and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl Settings {
    /// Reads the file.
    ///
    /// Errors: every problem at once.
    pub fn read(path: &Path) -> Result<Self, SettingsError> {
        Self::check(SettingsFile::read(path)?)
    }

    fn check(mut file: SettingsFile) -> Result<Self, SettingsError> {
        let seconds = |least: u64, most: u64| {
            move |text: &str| match text.parse::<u64>() {
                Ok(seconds) if (least..=most).contains(&seconds) => Ok(Duration::from_secs(seconds)),
                _ => Err(format!("must be a whole number of seconds from {least} to {most}")),
            }
        };
        let server = file.take("server", None, |text| Server::parse(text).map(Some));
        let name = file.take("name", None, |text| ThingName::new(text).map(Some).map_err(|error| error.to_string()));
        let log_level = file.take("log_level", "info".to_owned(), |text| match text {
            "error" | "warn" | "info" | "debug" | "trace" => Ok(text.to_owned()),
            _ => Err("must be one of error, warn, info, debug, trace".to_owned()),
        });
        let log_format = file.take("log_format", LogFormat::Text, |text| match text {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err("must be text or json".to_owned()),
        });
        let telemetry_interval = file.take("telemetry_interval_s", TELEMETRY_INTERVAL, seconds(1, 3600));
        let verify_interval = file.take("verify_interval_s", VERIFY_INTERVAL, seconds(1, 24 * 3600));
        for (key, is_missing, example) in
            [("server", server.is_none(), "\"muster.example.org:8443\""), ("name", name.is_none(), "\"host-1\"")]
        {
            if is_missing {
                file.problem(key, None, format!("is needed, for example {key} = {example}; `enrol` writes it"));
            }
        }
        file.finish()?;
        let missing = "a missing key is a problem, and problems end the check above";
        Ok(Self {
            server: server.expect(missing),
            name: name.expect(missing),
            log_level,
            log_format,
            telemetry_interval,
            verify_interval,
        })
    }

    /// The text of a new file.
    pub fn template(server: &Server, name: &ThingName) -> String {
        let (telemetry, verify) = (TELEMETRY_INTERVAL.as_secs(), VERIFY_INTERVAL.as_secs());
        format!(
            "# Settings of the Muster agent. A line with # in front shows the default.\n\
             \n\
             # Where the server is, HOST:PORT; the only port that a firewall must let out.\n\
             server = \"{server}\"\n\
             \n\
             # The name of this connector, the one in its certificate.\n\
             name = \"{name}\"\n\
             \n\
             # What is logged to standard error: error, warn, info, debug or trace. MUSTER_LOG replaces it.\n\
             # log_level = \"info\"\n\
             \n\
             # How it is logged: text for people, json for machines.\n\
             # log_format = \"text\"\n\
             \n\
             # Seconds between two measurements of this host.\n\
             # telemetry_interval_s = {telemetry}\n\
             \n\
             # Seconds, give or take a fifth, between two complete comparisons with the server.\n\
             # verify_interval_s = {verify}\n"
        )
    }
}

impl Server {
    /// Reads `HOST:PORT`; an IPv6 address stands in brackets.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || "must be HOST:PORT, for example muster.example.org:8443 or [2001:db8::1]:8443".to_owned();
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?;
        let host = match host.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']').filter(|host| host.contains(':')).ok_or_else(wrong)?,
            None => host,
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':');
        if host.is_empty() || !host.chars().all(plain) || (host.contains(':') && !text.starts_with('[')) {
            return Err(wrong());
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

impl std::fmt::Display for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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

    fn check(text: &str) -> Result<Settings, SettingsError> {
        Settings::check(SettingsFile::parse(Path::new("agent.toml"), text.to_owned())?)
    }

    #[test]
    fn the_template_is_usable_and_its_examples_are_the_defaults() {
        let server = Server::parse("muster.example.org:8443").unwrap();
        let text = Settings::template(&server, &ThingName::new("host-1").unwrap());
        let settings = check(&text).unwrap();
        assert_eq!((&settings.server, settings.name.as_str()), (&server, "host-1"));
        let explicit: String = text
            .lines()
            .map(|line| line.strip_prefix("# ").filter(|l| l.contains(" = ")).unwrap_or(line).to_owned() + "\n")
            .collect();
        assert_ne!(explicit, text);
        assert_eq!(check(&explicit).unwrap(), settings);
    }

    #[test]
    fn every_problem_is_told() {
        let problems = check("name = \"a/b\"\nlog_level = \"loud\"\ntelemetry_interval_s = 0\nport = 3\n").unwrap_err();
        let keys: Vec<&str> = problems.problems.iter().map(|problem| problem.key.as_str()).collect();
        assert_eq!(keys, ["name", "log_level", "telemetry_interval_s", "server", "name", "port"]);
    }

    #[test]
    fn servers_are_a_host_and_a_port() {
        for good in ["a:1", "10.0.0.1:8443", "[::1]:443", "a-b.example.org:65535"] {
            assert_eq!(Server::parse(good).unwrap().to_string(), good);
        }
        for bad in ["a", ":1", "a:0", "a:65536", "::1:443", "[a]:1", "https://a:1", "a b:1", ""] {
            assert!(Server::parse(bad).is_err(), "{bad}");
        }
    }
}
