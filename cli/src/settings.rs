//! The settings of the server, `muster.toml`: every key with default, unit and example, all problems at once.

mod mqtt;

use muster_broker_bridge::MqttSettings;
use muster_certs::profile::SERVER_LIFETIME;
use muster_runtime::settings::{SettingsError, SettingsFile};
use muster_runtime::telemetry::LogFormat;
use muster_shadow::service::RetainedBounds;
use muster_wire::limits;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Checked settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The port for MQTT and HTTPS.
    pub listen: SocketAddr,
    /// The second port, for MQTT only, if it is wanted.
    pub mqtt_listen: Option<SocketAddr>,
    /// Names and addresses at which hosts reach the server; the first goes into install scripts.
    pub hosts: Vec<String>,
    /// Memory that the store may use to keep records at hand.
    pub cache_bytes: u64,
    /// Life of an enrolment token.
    pub enrolment_token_life: Duration,
    /// How long a connector is gone before it is offline.
    pub offline_after: Duration,
    /// Life of the certificates that connectors get.
    pub certificate_life: Duration,
    /// Life of the server's own certificate.
    pub server_certificate_life: Duration,
    /// Log filter.
    pub log_level: String,
    /// How logs are written.
    pub log_format: LogFormat,
    /// The authorities of hooks; `None` means those of the system.
    pub hook_ca: Option<PathBuf>,
    /// What devices may do.
    pub mqtt: MqttSettings,
    /// Deepest nesting of objects in a section of a shadow.
    pub shadow_depth_max: usize,
    /// How much applications may have retained.
    pub retained: RetainedBounds,
    /// The agent that is offered for download; `None` means the one beside this program.
    pub agent_binary: Option<PathBuf>,
}

/// A key of the file.
struct Key {
    name: &'static str,
    /// For people: what it is, unit, example.
    help: &'static str,
    default: &'static str,
}

/// The sections of the file with their keys, in order. The file that `init` writes is rendered from this.
const SECTIONS: &[(&str, &[Key])] = &[
    (
        "server",
        &[
            Key {
                name: "listen",
                help: "Address and port for MQTT and HTTPS together, told apart by ALPN. Port 0 picks a free one.\n\
                       Example: \"192.0.2.10:8443\"",
                default: "\"0.0.0.0:8443\"",
            },
            Key {
                name: "mqtt_listen",
                help: "Address and port of a second listener, for MQTT only. Empty: none.\nExample: \"0.0.0.0:8883\"",
                default: "\"0.0.0.0:8883\"",
            },
            Key {
                name: "hosts",
                help: "DNS names and IP addresses at which hosts reach the server; the first goes into install scripts.\n\
                       The server certificate holds the names given to `muster init`.\n\
                       Example: [\"muster.example.org\", \"192.0.2.10\"]",
                default: "[]",
            },
        ],
    ),
    (
        "store",
        &[Key {
            name: "cache_mb",
            help: "Memory for records kept at hand, in megabytes, 8 to 65536. Example: 256",
            default: "64",
        }],
    ),
    (
        "limits",
        &[
            Key {
                name: "enrolment_token_minutes",
                help: "Life of the token in an install script, in minutes, 1 to 1440. Example: 15",
                default: "5",
            },
            Key {
                name: "offline_after_seconds",
                help: "A connector that is gone is stale at first, and offline after so long, in seconds, 1 to 604800.\n\
                       Example: 60",
                default: "300",
            },
        ],
    ),
    (
        "provisioning",
        &[Key {
            name: "hook_ca",
            help: "File with the authorities (PEM) that hooks of provisioning templates prove themselves to.\n\
                   Empty: those that the system trusts. Example: \"/etc/muster/hooks-ca.pem\"",
            default: "\"\"",
        }],
    ),
    ("mqtt", mqtt::KEYS),
    (
        "shadows",
        &[Key {
            name: "depth_max",
            help: "Levels of objects below desired and reported, 1 to 32; AWS IoT Core names 6 in its refusal and 8 in its\n\
                   quotas. What is stored already stays as it is. Example: 8",
            default: "6",
        }],
    ),
    (
        "certificates",
        &[
            Key {
                name: "life",
                help: "Life of a connector's certificate, in seconds, minutes, hours or days: 15s to 398d. The agent renews\n\
                       it at half of its life. Choose three times the longest time that a host may be off. Example: \"90d\"",
                default: "\"30d\"",
            },
            Key {
                name: "server_life",
                help: "Life of the server's own certificate, 15s to 825d. The server renews it at half of its life.\n\
                       Example: \"90d\"",
                default: "\"825d\"",
            },
        ],
    ),
    (
        "log",
        &[
            Key {
                name: "level",
                help: "Log filter: error, warn, info, debug, trace, or per part. MUSTER_LOG replaces it.\n\
                       Example: \"info,muster_shadow=debug\"",
                default: "\"info\"",
            },
            Key { name: "format", help: "\"text\" for people or \"json\" for machines.", default: "\"text\"" },
        ],
    ),
    (
        "agent",
        &[Key {
            name: "binary",
            help: "Path of the agent program offered for download. Empty: muster-agent beside the muster program.\n\
                   Example: \"/usr/lib/muster/muster-agent\"",
            default: "\"\"",
        }],
    ),
];

impl Settings {
    /// Reads and checks the file.
    ///
    /// Errors: every problem at once.
    pub fn read(path: &Path) -> Result<Self, SettingsError> {
        Self::check(SettingsFile::read(path)?)
    }

    fn check(mut file: SettingsFile) -> Result<Self, SettingsError> {
        let any = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port);
        let listen = file.take("server.listen", any(8443), address);
        let mqtt_listen = file.take("server.mqtt_listen", Some(any(8883)), |text| {
            if text.is_empty() { Ok(None) } else { address(text).map(Some) }
        });
        if let Some(mqtt) = mqtt_listen
            && mqtt == listen
            && listen.port() != 0
        {
            let problem = "is the same as server.listen; use another port, or \"\" for none".to_owned();
            file.problem("server.mqtt_listen", Some(format!("{:?}", mqtt.to_string())), problem);
        }
        let hosts = file.take_list("server.hosts");
        for host in hosts.iter().filter(|host| !is_host(host)) {
            let problem = "is neither a DNS name nor an IP address (without port or brackets)".to_owned();
            file.problem("server.hosts", Some(format!("{host:?}")), problem);
        }
        let cache_mb = file.take("store.cache_mb", 64, |text| number(text, 8, 65_536));
        let default_minutes = limits::ENROLMENT_TOKEN_LIFE.as_secs() / 60;
        let minutes = file.take("limits.enrolment_token_minutes", default_minutes, |text| number(text, 1, 1440));
        let (min, max) = (limits::OFFLINE_AFTER_MIN.as_secs(), limits::OFFLINE_AFTER_MAX.as_secs());
        let offline_after =
            file.take("limits.offline_after_seconds", limits::OFFLINE_AFTER.as_secs(), |text| number(text, min, max));
        let hook_ca = file.take("provisioning.hook_ca", None, |text| match Path::new(text) {
            _ if text.is_empty() => Ok(None),
            path if path.is_file() => Ok(Some(path.to_owned())),
            _ => Err("is not a file; give the path of a PEM file, or \"\" for what the system trusts".to_owned()),
        });
        let (mqtt, retained) = mqtt::take(&mut file);
        let depth = file.take("shadows.depth_max", limits::SHADOW_DEPTH_MAX as u64, |text| {
            number(text, 1, limits::SHADOW_DEPTH_SETTING_MAX as u64)
        });
        let certificate_life = file.take("certificates.life", limits::CERTIFICATE_LIFE, |text| {
            life(text, limits::CERTIFICATE_LIFE_MIN, limits::CERTIFICATE_LIFE_MAX)
        });
        let server_certificate_life = file.take("certificates.server_life", SERVER_LIFETIME, |text| {
            life(text, limits::CERTIFICATE_LIFE_MIN, SERVER_LIFETIME)
        });
        let log_level = file.take("log.level", "info".to_owned(), log_filter);
        let log_format = file.take("log.format", LogFormat::Text, |text| match text {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err("must be \"text\" or \"json\"".to_owned()),
        });
        let agent_binary = file.take("agent.binary", None, |text| match Path::new(text) {
            _ if text.is_empty() => Ok(None),
            path if path.is_file() => Ok(Some(path.to_owned())),
            _ => Err("is not a file; give the path of muster-agent, or \"\" for the one beside muster".to_owned()),
        });
        file.finish()?;
        Ok(Self {
            listen,
            mqtt_listen,
            hosts,
            cache_bytes: cache_mb * 1024 * 1024,
            enrolment_token_life: Duration::from_secs(minutes * 60),
            offline_after: Duration::from_secs(offline_after),
            hook_ca,
            mqtt,
            shadow_depth_max: usize::try_from(depth).unwrap_or(limits::SHADOW_DEPTH_MAX),
            retained,
            certificate_life,
            server_certificate_life,
            log_level,
            log_format,
            agent_binary,
        })
    }

    /// The file that `init` writes: every key with its explanation, the defaults commented out, `hosts` set.
    pub fn template(hosts: &[String]) -> String {
        let mut text = String::from("# Settings of muster. A line that begins with \"# key =\" shows the default.\n");
        for (section, keys) in SECTIONS {
            let _ = write!(text, "\n[{section}]\n");
            for key in *keys {
                for line in key.help.lines() {
                    let _ = writeln!(text, "# {line}");
                }
                if (*section, key.name) == ("server", "hosts") {
                    let quoted: Vec<String> = hosts.iter().map(|host| format!("{host:?}")).collect();
                    let _ = writeln!(text, "hosts = [{}]", quoted.join(", "));
                } else {
                    let _ = writeln!(text, "# {} = {}", key.name, key.default);
                }
            }
        }
        text
    }
}

/// Whether a text is a DNS name or an IP address, as certificates and addresses take it.
pub fn is_host(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.parse::<IpAddr>().is_ok() || (text.len() <= 253 && text.split('.').all(label))
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        let hint = if text.parse::<IpAddr>().is_ok() { "a port is missing; " } else { "" };
        format!("{hint}must be an IP address and a port, for example \"0.0.0.0:8443\" or \"[::]:8443\"")
    })
}

fn number(text: &str, min: u64, max: u64) -> Result<u64, String> {
    let number = text.parse().ok().filter(|number| (min..=max).contains(number));
    number.ok_or_else(|| format!("must be a whole number from {min} to {max}"))
}

/// A whole number with its unit.
fn life(text: &str, min: Duration, max: Duration) -> Result<Duration, String> {
    let wrong = || {
        format!(
            "must be a whole number with s, m, h or d behind it, from {} s to {} d",
            min.as_secs(),
            max.as_secs() / 86_400
        )
    };
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let life = number.parse::<u64>().ok().and_then(|number| number.checked_mul(seconds)).map(Duration::from_secs);
    life.filter(|life| (min..=max).contains(life)).ok_or_else(wrong)
}

/// Levels, and `part=level` pairs. The log library takes more; a filter that it refuses falls back to `info` loudly.
fn log_filter(text: &str) -> Result<String, String> {
    let level = |text: &str| matches!(text, "off" | "error" | "warn" | "info" | "debug" | "trace");
    let directive = |text: &str| match text.trim().rsplit_once('=') {
        Some((target, text)) => !target.is_empty() && level(text),
        None => level(text.trim()),
    };
    if text.split(',').all(directive) {
        Ok(text.to_owned())
    } else {
        Err("must be error, warn, info, debug or trace, or parts such as \"info,muster_shadow=debug\"".to_owned())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn check(text: &str) -> Result<Settings, SettingsError> {
        Settings::check(SettingsFile::parse(Path::new("muster.toml"), text.to_owned())?)
    }

    #[test]
    fn the_template_is_the_defaults_and_names_every_key() {
        let template = Settings::template(&["muster.example.org".to_owned()]);
        let settings = check(&template).unwrap();
        assert_eq!(settings, check("server.hosts = [\"muster.example.org\"]").unwrap());
        assert_eq!(settings.listen.to_string(), "0.0.0.0:8443");
        assert_eq!(settings.enrolment_token_life, limits::ENROLMENT_TOKEN_LIFE);
        assert_eq!(settings.offline_after, limits::OFFLINE_AFTER);
    }

    #[test]
    fn the_defaults_in_the_template_are_the_defaults_in_the_code() {
        // With every default made real, nothing changes and no key is unknown.
        let template = Settings::template(&[]);
        let mut text = String::new();
        for line in template.lines() {
            let default = line.strip_prefix("# ").filter(|rest| {
                rest.split_once(" = ").is_some_and(|(key, _)| key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
            });
            text.push_str(default.unwrap_or(line));
            text.push('\n');
        }
        assert_eq!(check(&text).unwrap(), check("").unwrap());
        assert!(SECTIONS.iter().flat_map(|(_, keys)| *keys).all(|key| text.contains(&format!("\n{} = ", key.name))));
    }

    #[test]
    fn every_problem_is_reported_at_once() {
        let text = "[server]\nlisten = \"0.0.0.0\"\nmqtt_listen = 5\nhosts = [\"a:1\"]\n[store]\ncache_mb = 1\n\
                    [limits]\nenrolment_token_minutes = \"x\"\noffline_after_seconds = 0\n[log]\nlevel = \"loud\"\nformat = \"xml\"\nlvl = 1\n\
                    [agent]\nbinary = \"/does/not/exist\"\n";
        let error = check(text).unwrap_err();
        let expected = "\
settings are not usable (10 problems)
  server.listen = \"0.0.0.0\"  (file muster.toml, line 2): a port is missing; must be an IP address and a port, for example \"0.0.0.0:8443\" or \"[::]:8443\"
  server.mqtt_listen = 5  (file muster.toml, line 3): must be an IP address and a port, for example \"0.0.0.0:8443\" or \"[::]:8443\"
  server.hosts = \"a:1\"  (file muster.toml, line 4): is neither a DNS name nor an IP address (without port or brackets)
  store.cache_mb = 1  (file muster.toml, line 6): must be a whole number from 8 to 65536
  limits.enrolment_token_minutes = \"x\"  (file muster.toml, line 8): must be a whole number from 1 to 1440
  limits.offline_after_seconds = 0  (file muster.toml, line 9): must be a whole number from 1 to 604800
  log.level = \"loud\"  (file muster.toml, line 11): must be error, warn, info, debug or trace, or parts such as \"info,muster_shadow=debug\"
  log.format = \"xml\"  (file muster.toml, line 12): must be \"text\" or \"json\"
  agent.binary = \"/does/not/exist\"  (file muster.toml, line 15): is not a file; give the path of muster-agent, or \"\" for the one beside muster
  log.lvl  (file muster.toml, line 13): no setting has this name";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn limits_of_mqtt_can_be_lowered_and_most_cannot_be_raised() {
        let text = "[mqtt]\ntopic_bytes_max = 64\ntopic_slashes_max = 3\nhash_matches_parent = true\nclient_id_bytes_max = 23\n\
                    unacknowledged_in_max = 20\nunacknowledged_out_max = 10\nconnections_per_thing_max = 8\n";
        let mqtt = check(text).unwrap().mqtt;
        assert_eq!((mqtt.topic_bytes_max, mqtt.topic_slashes_max, mqtt.client_id_bytes_max), (64, 3, 23));
        assert_eq!((mqtt.unacknowledged_in_max, mqtt.unacknowledged_out_max), (20, 10));
        assert_eq!((mqtt.hash_matches_parent, mqtt.connections_per_thing_max), (true, 8));
        for line in [
            "topic_bytes_max = 257",
            "topic_slashes_max = 8",
            "client_id_bytes_max = 129",
            "unacknowledged_in_max = 101",
            "unacknowledged_out_max = 0",
            "connections_per_thing_max = 1",
            "hash_matches_parent = 1",
        ] {
            assert!(check(&format!("[mqtt]\n{line}\n")).is_err(), "{line}");
        }
    }

    #[test]
    fn two_listeners_need_two_ports() {
        let error = check("[server]\nlisten = \"0.0.0.0:1\"\nmqtt_listen = \"0.0.0.0:1\"\n").unwrap_err();
        assert!(error.to_string().contains("is the same as server.listen"));
        assert_eq!(check("[server]\nmqtt_listen = \"\"\n").unwrap().mqtt_listen, None);
    }

    #[test]
    fn lives_have_a_unit_and_bounds() {
        for (text, seconds) in [("15s", 15), ("90m", 5400), ("12h", 43_200), ("398d", 398 * 86_400)] {
            let settings = check(&format!("certificates.life = \"{text}\"")).unwrap();
            assert_eq!(settings.certificate_life, Duration::from_secs(seconds));
        }
        for text in ["", "d", "30", "14s", "399d", "1w", "-1d", "30 d", "9999999999999999999d", "30é"] {
            assert!(check(&format!("certificates.life = \"{text}\"")).is_err(), "{text}");
        }
    }

    #[test]
    fn hosts_are_names_or_addresses() {
        for good in ["a", "muster.example.org", "192.0.2.1", "::1", "x-1.y"] {
            assert!(is_host(good), "{good}");
        }
        for bad in ["", "a:1", "[::1]", "-a", "a..b", "a b", "*.x"] {
            assert!(!is_host(bad), "{bad}");
        }
    }
}
