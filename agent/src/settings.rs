//! `agent.toml`: every key has a default but the server and the name, and all problems are told at once.

mod allow;
mod proxy;
mod template;

use crate::hands::download::Over;
pub use allow::Allow;
use proxy::said_url;
pub use proxy::{Environment, Origin, Proxy};
pub use template::Template;

use crate::places::Prefix;
use muster_runtime::settings::{SettingsError, SettingsFile, environment};
use muster_runtime::telemetry::LogFormat;
use muster_wire::id::ThingName;
use muster_wire::label::{LABELS_MAX, Label};
use muster_wire::limits::{HEARTBEAT, SETTINGS_TRIAL, TELEMETRY_INTERVAL, VERIFY_INTERVAL};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The checked settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where the server is.
    pub server: Server,
    /// The proxy in between.
    pub proxy: Proxy,
    /// Which CA the server is known by, when it is not the one of the identity.
    pub ca_file: Option<PathBuf>,
    /// The connector's name.
    pub name: ThingName,
    /// What the host's owner says about it.
    pub labels: Vec<Label>,
    /// What the server may do here.
    pub allow: Allow,
    /// How packages are fetched.
    pub download: Over,
    /// A log filter.
    pub log_level: String,
    /// How logs are written.
    pub log_format: LogFormat,
    /// Time between two signs of life.
    pub heartbeat: Duration,
    /// Time between two samples of telemetry.
    pub telemetry_interval: Duration,
    /// Time between two pulls of everything.
    pub verify_interval: Duration,
    /// How long changed connection settings may wait for the server's confirmation.
    pub confirm_within: Duration,
}

/// Name or address, and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// The port of a server that names none.
const PORT_DEFAULT: u16 = 8443;

impl Settings {
    /// Reads the file of this prefix.
    ///
    /// Errors: every problem at once.
    pub fn read(prefix: &Prefix) -> Result<Self, SettingsError> {
        let path = prefix.settings();
        let mut file = SettingsFile::read(&path)?;
        let has_password = |file: &mut SettingsFile| {
            // Taken a second time below, with its problems.
            let found = file.take_secret("proxy", None, |text| Ok(said_url(text).ok().flatten()));
            found.is_some_and(|url| url.password.is_some())
        };
        if has_password(&mut file) && crate::platform::is_open_to_others(&path).unwrap_or(true) {
            let problem =
                "holds a password, and others may read the file; run `chmod 600` on it, or use proxy_password_file";
            file.problem("proxy", None, problem.to_owned());
        }
        Self::check(file, prefix.root(), &environment)
    }

    fn check(mut file: SettingsFile, folder: &Path, environment: Environment<'_>) -> Result<Self, SettingsError> {
        let seconds = |least: u64, most: u64| {
            move |text: &str| match text.parse::<u64>() {
                Ok(seconds) if (least..=most).contains(&seconds) => Ok(Duration::from_secs(seconds)),
                _ => Err(format!("must be a whole number of seconds from {least} to {most}")),
            }
        };
        let port = file.take("port", None, |text| match text.parse::<u16>() {
            Ok(port) if port > 0 => Ok(Some(port)),
            _ => Err("must be a number from 1 to 65535".to_owned()),
        });
        let server = file.take("server", None, |text| Server::parse_with(text, port).map(Some));
        let proxy = Proxy::take(&mut file, folder, environment);
        let ca_file = file.take("ca_file", None, |text| match folder.join(text) {
            path if path.is_file() => Ok(Some(path)),
            path => Err(format!("{} is no file", path.display())),
        });
        let name = file.take("name", None, |text| ThingName::new(text).map(Some).map_err(|error| error.to_string()));
        let labels = labels(&mut file);
        let allow = match file.has("allow") {
            false => {
                file.take_list("allow");
                Allow::all()
            }
            true => {
                let patterns = file.take_list("allow");
                Allow::parse(patterns.iter().map(String::as_str)).unwrap_or_else(|problem| {
                    file.problem("allow", None, problem);
                    Allow::all()
                })
            }
        };
        let download = file.take("download", Over::Auto, |text| match text {
            "auto" => Ok(Over::Auto),
            "https" => Ok(Over::Https),
            "mqtt" => Ok(Over::Mqtt),
            _ => Err("must be auto, https or mqtt".to_owned()),
        });
        let log_level = file.take("log_level", "info".to_owned(), |text| match text {
            "error" | "warn" | "info" | "debug" | "trace" => Ok(text.to_owned()),
            _ => Err("must be one of error, warn, info, debug, trace".to_owned()),
        });
        let log_format = file.take("log_format", LogFormat::Text, |text| match text {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err("must be text or json".to_owned()),
        });
        let heartbeat = file.take("heartbeat_s", HEARTBEAT, seconds(1, 60));
        let telemetry_interval = file.take("telemetry_interval_s", TELEMETRY_INTERVAL, seconds(1, 3600));
        let verify_interval = file.take("verify_interval_s", VERIFY_INTERVAL, seconds(1, 24 * 3600));
        let confirm_within = file.take("confirm_within_s", SETTINGS_TRIAL, seconds(1, 24 * 3600));
        for (key, is_missing, example) in
            [("server", !file.has("server"), "\"muster.example.org:8443\""), ("name", !file.has("name"), "\"host-1\"")]
        {
            if is_missing {
                file.problem(key, None, format!("is needed, for example {key} = {example}; `enrol` writes it"));
            }
        }
        file.finish()?;
        let missing = "a missing key is a problem, and problems end the check above";
        Ok(Self {
            server: server.expect(missing),
            proxy,
            ca_file,
            name: name.expect(missing),
            labels,
            allow,
            download,
            log_level,
            log_format,
            heartbeat,
            telemetry_interval,
            verify_interval,
            confirm_within,
        })
    }
}

fn labels(file: &mut SettingsFile) -> Vec<Label> {
    let texts = file.take_list("labels");
    let mut labels: Vec<Label> = Vec::new();
    for text in &texts {
        match text.parse::<Label>() {
            Ok(label) if labels.iter().any(|other| other.key == label.key) => {
                file.problem("labels", None, format!("{} has two values", label.key));
            }
            Ok(label) => labels.push(label),
            Err(problem) => file.problem("labels", None, problem.to_string()),
        }
    }
    if labels.len() > LABELS_MAX {
        file.problem("labels", None, format!("must be at most {LABELS_MAX}"));
    }
    labels.sort();
    labels
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

    /// As [`Server::parse`], when the port may also stand alone, or nowhere.
    fn parse_with(text: &str, port: Option<u16>) -> Result<Self, String> {
        let has_port = text.rsplit_once(':').is_some_and(|(host, _)| !host.starts_with('[') || host.ends_with(']'));
        if has_port {
            let server = Self::parse(text)?;
            return match port {
                Some(port) if port != server.port => Err(format!("names another port than the setting port = {port}")),
                _ => Ok(server),
            };
        }
        Self::parse(&format!("{text}:{}", port.unwrap_or(PORT_DEFAULT)))
            .map_err(|_| "must be HOST or HOST:PORT, for example muster.example.org or [2001:db8::1]:8443".to_owned())
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
        let file = SettingsFile::parse(Path::new("agent.toml"), text.to_owned())?;
        Settings::check(file, Path::new("/nowhere"), &|_| None)
    }

    fn template() -> Template {
        Template {
            server: Server::parse("muster.example.org:8443").unwrap(),
            name: ThingName::new("host-1").unwrap(),
            proxy: None,
            proxy_password_file: None,
            no_proxy: None,
            labels: Vec::new(),
        }
    }

    #[test]
    fn the_template_is_usable_and_its_examples_are_the_defaults() {
        let text = template().to_string();
        let settings = check(&text).unwrap();
        assert_eq!((&settings.server, settings.name.as_str()), (&template().server, "host-1"));
        let explicit: String = text
            .lines()
            .map(|line| line.strip_prefix("# ").filter(|l| l.contains(" = ")).unwrap_or(line).to_owned() + "\n")
            .collect();
        assert_ne!(explicit, text);
        let mut explicit = check(&explicit).unwrap();
        assert_eq!(explicit.proxy.bypass_origin, Origin::File);
        explicit.proxy.bypass_origin = Origin::Default;
        assert_eq!(explicit, settings);
        // Every key of the settings is in the template, in force or not.
        let examples = text.lines().map(|line| line.trim_start_matches(['#', ' '])).filter(|line| line.contains(" = "));
        let table = examples.filter(|line| !line.starts_with("server")).collect::<Vec<_>>().join("\n");
        let table: toml::Table = table.parse().unwrap();
        let keys: Vec<&str> = table.keys().map(String::as_str).collect();
        let unknown = check(&keys.iter().map(|key| format!("{key} = 1979-05-27\n")).collect::<String>()).unwrap_err();
        assert!(!unknown.to_string().contains("no setting has this name"), "{unknown}");
        assert_eq!(keys.len(), 14, "{keys:?}");
    }

    #[test]
    fn the_template_says_what_it_is_given() {
        let text = Template {
            proxy: Some("http://me@proxy:3128".to_owned()),
            proxy_password_file: None,
            no_proxy: Some(vec![".example.org".to_owned()]),
            labels: vec!["rack=4".parse().unwrap()],
            ..template()
        };
        let settings = check(&text.to_string()).unwrap();
        assert_eq!(settings.proxy.url.unwrap().to_string(), "http://me@proxy:3128");
        assert_eq!(settings.proxy.bypass.entries(), [".example.org"]);
        assert_eq!(settings.labels, ["rack=4".parse::<Label>().unwrap()]);
    }

    #[test]
    fn every_problem_is_told() {
        let text = "name = \"a/b\"\nlog_level = \"loud\"\ntelemetry_interval_s = 0\nport = 0\nproxy = \"x y\"\n\
                    no_proxy = 3\nlabels = [\"a\", \"b=1\", \"b=2\"]\nallow = [\"a b\"]\nca_file = \"x\"\ncolour = 1\n";
        let problems = check(text).unwrap_err();
        let keys: Vec<&str> = problems.problems.iter().map(|problem| problem.key.as_str()).collect();
        let expected = [
            "port",
            "proxy",
            "no_proxy",
            "ca_file",
            "name",
            "labels",
            "labels",
            "allow",
            "log_level",
            "telemetry_interval_s",
            "server",
            "colour",
        ];
        assert_eq!(keys, expected);
    }

    #[test]
    fn a_server_may_leave_its_port_to_another_key() {
        let server = |text: &str| check(&format!("name = \"a\"\n{text}")).map(|settings| settings.server.to_string());
        for (text, expected) in [
            ("server = \"m.example.org\"", "m.example.org:8443"),
            ("server = \"m.example.org\"\nport = 443", "m.example.org:443"),
            ("server = \"m.example.org:443\"\nport = 443", "m.example.org:443"),
            ("server = \"[::1]\"", "[::1]:8443"),
        ] {
            assert_eq!(server(text).unwrap(), expected);
        }
        assert!(server("server = \"m:1\"\nport = 2").unwrap_err().to_string().contains("another port"));
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
