//! `muster connector add`.

use super::OperatorArgs;
use clap::{Args, ValueEnum};
use muster_wire::id::{ComponentName, PoolName, SiteName, ThingName, Version};
use muster_wire::limits::{ENROLMENT_TOKEN_LIFE_MAX, ENROLMENT_TOKEN_LIFE_MIN};
use muster_wire::proxy::Secret;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

#[derive(Clone, Debug, Args)]
pub struct ConnectorAddArgs {
    /// Name of the new connector; on a terminal a form asks for it and the rest when it is missing
    pub name: Option<ThingName>,
    /// Pool of the connector [default: default]
    #[arg(long, value_name = "POOL", conflicts_with = "no_pool")]
    pub pool: Option<PoolName>,
    /// The connector belongs to no pool
    #[arg(long)]
    pub no_pool: bool,
    /// Site of the connector
    #[arg(long, value_name = "SITE")]
    pub site: Option<SiteName>,
    /// Free text for people
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,
    /// Component that the connector shall run once it is enrolled; may be repeated
    #[arg(long = "component", value_name = "C=V")]
    pub components: Vec<Choice>,
    /// Make a new token for a connector that is there; its script also replaces the identity of an enrolled host
    #[arg(long, requires = "name", conflicts_with_all = ["pool", "no_pool", "site", "description", "components"])]
    pub renew: bool,
    /// The same for a host that was made anew, also for a connector that was removed: it keeps its history and pool, and
    /// gets again what is wanted of it
    #[arg(long, requires = "name", conflicts_with_all = ["renew", "pool", "no_pool", "site", "description", "components"])]
    pub reinstall: bool,
    /// Show the script with its token masked; nothing is added and no token made
    #[arg(long)]
    pub preview: bool,
    /// Life of the token, 10s to 24h [default: limits.enrolment_token_minutes in muster.toml]
    #[arg(long, value_name = "TIME")]
    pub ttl: Option<Life>,
    /// Folder of the agent on the host; the token works for no other [default: /opt/muster for root, else ~/.muster]
    #[arg(long, value_name = "DIR")]
    pub prefix: Option<PathBuf>,
    /// HTTP proxy on the host's way to the server, `http://[USER@]HOST:PORT`, or none; the password of USER is asked for on
    /// a terminal [default: what the host's environment says]
    #[arg(long, value_name = "URL")]
    pub proxy: Option<String>,
    /// What the host reaches without the proxy, with commas in between, or none [default: what NO_PROXY of the host's
    /// environment says; without it loopback, link-local and private ranges]
    #[arg(long, value_name = "LIST")]
    pub no_proxy: Option<String>,
    /// File with the password of the proxy's user in its first line; - for standard input
    #[arg(long, value_name = "FILE", requires = "proxy")]
    pub proxy_password_file: Option<PathBuf>,
    /// The password as it was answered; every user of this host could read an argument.
    #[arg(skip)]
    pub proxy_password: Option<Secret>,
    /// Address at which the host reaches the server [default: the first host in muster.toml and the server's port]
    #[arg(long, value_name = "HOST:PORT")]
    pub server: Option<String>,
    /// Kind of the script
    #[arg(long, value_name = "KIND", default_value = "sh")]
    pub shell: Shell,
    /// The same as --shell powershell
    #[arg(long, conflicts_with = "shell")]
    pub windows: bool,
    /// The script installs and enrols the agent but does not start it
    #[arg(long)]
    pub no_start: bool,
    /// Write the script to FILE, which only its owner can read: it holds the token; a file that is there is kept
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Let --output replace a file that is there
    #[arg(long, requires = "output")]
    pub force: bool,
    #[command(flatten)]
    pub operator: OperatorArgs,
}

/// For which system a script is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// POSIX shell, for Linux
    Sh,
    /// PowerShell, for Windows
    Powershell,
}

/// A component and its version, as written `C=V`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    pub component: ComponentName,
    pub version: Version,
}

impl FromStr for Choice {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (component, version) =
            text.split_once('=').ok_or_else(|| "must be COMPONENT=VERSION, for example greeter=1.2".to_owned())?;
        Ok(Self {
            component: ComponentName::new(component).map_err(|error| error.to_string())?,
            version: Version::new(version).map_err(|error| error.to_string())?,
        })
    }
}

/// How long a token lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life(pub Duration);

impl FromStr for Life {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "must be a number with s, m or h, for example 90s, 15m or 2h".to_owned();
        let unit = text.chars().last().ok_or_else(wrong)?;
        let seconds = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            _ => return Err(wrong()),
        };
        let number: u32 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
        let life = Duration::from_secs(u64::from(number) * seconds);
        if (ENROLMENT_TOKEN_LIFE_MIN..=ENROLMENT_TOKEN_LIFE_MAX).contains(&life) {
            Ok(Self(life))
        } else {
            Err("must be from 10 seconds to 24 hours".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lives_have_a_unit() {
        for (text, seconds) in [("10s", 10), ("15m", 900), ("24h", 86_400)] {
            assert_eq!(text.parse(), Ok(Life(Duration::from_secs(seconds))));
        }
        for bad in ["", "10", "s", "1d", "-1s", "1.5h", "é", "9s", "25h", "99999999h"] {
            assert!(bad.parse::<Life>().is_err(), "{bad}");
        }
    }

    #[test]
    fn components_are_chosen_with_their_version() {
        let choice = "greeter=1.2".parse::<Choice>();
        assert!(choice.is_ok_and(|c| c.component.as_str() == "greeter" && c.version.as_str() == "1.2"));
        for bad in ["greeter", "=1", "greeter=", "a b=1"] {
            assert!(bad.parse::<Choice>().is_err(), "{bad}");
        }
    }
}
