//! Which proxy is in force, and who said so: `agent.toml`, the environment, or nobody.

use super::Server;
use crate::dial::Way;
use muster_runtime::settings::SettingsFile;
use muster_wire::proxy::{Bypass, NONE, ProxyUrl, Secret};
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The proxy in force, and the servers that are reached without it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// The proxy; `None` for none.
    pub url: Option<ProxyUrl>,
    /// Who said so.
    pub origin: Origin,
    /// Where its password was read, when that was a file of its own.
    pub password_file: Option<PathBuf>,
    /// What is reached without it.
    pub bypass: Bypass,
    /// Who said so.
    pub bypass_origin: Origin,
}

/// Who made a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// `agent.toml`.
    File,
    /// An argument of the command.
    Argument,
    /// This variable of the environment.
    Environment(&'static str),
    /// Nobody.
    Default,
}

/// Asked in this order; the first that is set counts.
const PROXY_VARIABLES: [&str; 2] = ["HTTPS_PROXY", "https_proxy"];
const NO_PROXY_VARIABLES: [&str; 2] = ["NO_PROXY", "no_proxy"];
/// Longest password file that is read.
const PASSWORD_FILE_BYTES_MAX: u64 = 4096;

/// Where the environment is read.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Proxy {
    /// Takes `proxy`, `proxy_password_file` and `no_proxy` from the file, and what is not there from the environment.
    /// A relative password file lies in `folder`.
    pub fn take(file: &mut SettingsFile, folder: &Path, environment: Environment<'_>) -> Self {
        let said = file.has("proxy");
        let mut url = file.take_secret("proxy", None, said_url);
        let mut origin = if said { Origin::File } else { Origin::Default };
        if !said && let Some((variable, text)) = inherited(&PROXY_VARIABLES, environment) {
            origin = Origin::Environment(variable);
            match said_url(&text) {
                Ok(found) => url = found,
                Err(problem) => file.problem_elsewhere(variable, "environment", problem),
            }
        }
        let password_file = file.take("proxy_password_file", None, |text| Ok(Some(folder.join(text))));
        if let Some(path) = password_file.clone() {
            match url.as_mut() {
                Some(ProxyUrl { user: Some(_), password: password @ None, .. }) => match read_password(&path) {
                    Ok(text) => *password = Some(text),
                    Err(problem) => {
                        file.problem("proxy_password_file", Some(format!("\"{}\"", path.display())), problem);
                    }
                },
                Some(ProxyUrl { user: Some(_), .. }) => {
                    file.problem("proxy_password_file", None, "`proxy` holds a password already; keep one".into());
                }
                _ => {
                    file.problem("proxy_password_file", None, "`proxy` names no user whose password it could be".into())
                }
            }
        }
        let bypass_said = file.has("no_proxy");
        let entries = file.take_list("no_proxy");
        let (mut bypass, mut bypass_origin) = (Bypass::default(), Origin::Default);
        if bypass_said {
            bypass_origin = Origin::File;
            match Bypass::listed(entries.iter().map(String::as_str)) {
                Ok(found) => bypass = found,
                Err(problem) => file.problem("no_proxy", None, problem),
            }
        } else if let Some((variable, text)) = inherited(&NO_PROXY_VARIABLES, environment) {
            bypass_origin = Origin::Environment(variable);
            match Bypass::parse(text.split([',', ' '])) {
                Ok(found) => bypass = found,
                Err(problem) => file.problem_elsewhere(variable, "environment", problem),
            }
        }
        Self { url, origin, password_file, bypass, bypass_origin }
    }

    /// The same from arguments of a command; what is not given comes from the environment.
    ///
    /// Errors: which argument or variable is wrong, without any password.
    pub fn given(
        url: Option<&str>,
        no_proxy: Option<&str>,
        password_file: Option<&Path>,
        environment: Environment<'_>,
    ) -> Result<Self, String> {
        let (text, origin, called) = match (url, inherited(&PROXY_VARIABLES, environment)) {
            (Some(text), _) => (Some(text.to_owned()), Origin::Argument, "--proxy"),
            (None, Some((variable, text))) => (Some(text), Origin::Environment(variable), variable),
            (None, None) => (None, Origin::Default, ""),
        };
        let mut url = match text {
            Some(text) => said_url(&text).map_err(|problem| format!("{called}: {problem}"))?,
            None => None,
        };
        if origin == Origin::Argument && url.as_ref().is_some_and(|url| url.password.is_some()) {
            return Err("--proxy: every user of this host can read arguments; give the password with \
                        --proxy-password-file"
                .to_owned());
        }
        if let Some(path) = password_file {
            let password =
                read_password(path).map_err(|why| format!("--proxy-password-file {}: {why}", path.display()))?;
            match url.as_mut() {
                Some(url) if url.user.is_some() => url.password = Some(password),
                _ => return Err("--proxy-password-file: the proxy names no user whose password it could be".to_owned()),
            }
        }
        let (bypass, bypass_origin, called) = match (no_proxy, inherited(&NO_PROXY_VARIABLES, environment)) {
            (Some(text), _) => (Bypass::given(text), Origin::Argument, "--no-proxy"),
            (None, Some((variable, text))) => {
                (Bypass::parse(text.split([',', ' '])), Origin::Environment(variable), variable)
            }
            (None, None) => (Ok(Bypass::default()), Origin::Default, ""),
        };
        let bypass = bypass.map_err(|problem| format!("{called}: {problem}"))?;
        let password_file = password_file.map(Path::to_owned);
        Ok(Self { url, origin, password_file, bypass, bypass_origin })
    }

    /// The way to a server.
    pub fn way(&self, server: &Server) -> Way {
        match &self.url {
            Some(url) if !self.bypass.covers(&server.host, server.port) => Way::Through(url.clone()),
            _ => Way::Direct,
        }
    }

    /// One line for people: what is in force for this server, and who said so.
    pub fn explain(&self, server: &Server) -> String {
        match (&self.url, self.way(server)) {
            (_, Way::Through(url)) => format!("{url} ({})", self.origin),
            (Some(url), Way::Direct) => {
                let (origin, bypass) = (self.origin, self.bypass_origin);
                format!("none for {}: no_proxy ({bypass}) covers it; otherwise {url} ({origin})", server.host)
            }
            (None, _) => format!("none ({})", self.origin),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File => f.write_str("set in agent.toml"),
            Self::Argument => f.write_str("given as an argument"),
            Self::Environment(variable) => write!(f, "inherited from {variable}"),
            Self::Default => f.write_str("not set"),
        }
    }
}

/// `none`, or a URL.
pub(super) fn said_url(text: &str) -> Result<Option<ProxyUrl>, String> {
    if text == NONE { Ok(None) } else { ProxyUrl::parse(text).map(Some) }
}

/// Reads the password of a proxy's user: the first line of a file that only its owner may read.
fn read_password(path: &Path) -> Result<Secret, String> {
    let mut text = String::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(PASSWORD_FILE_BYTES_MAX).read_to_string(&mut text));
    read.map_err(|error| format!("cannot be read: {error}"))?;
    if crate::platform::is_open_to_others(path).map_err(|error| format!("cannot be looked at: {error}"))? {
        return Err("others may read it; run `chmod 600` on it, and change the password if they did".to_owned());
    }
    match text.lines().next() {
        Some(line) if !line.is_empty() && !line.chars().any(char::is_control) => Ok(Secret::new(line.to_owned())),
        _ => Err("must hold the password in its first line".to_owned()),
    }
}

fn inherited(variables: &[&'static str], environment: Environment<'_>) -> Option<(&'static str, String)> {
    variables.iter().find_map(|name| environment(name).map(|value| (*name, value)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn take(text: &str, variables: &[(&str, &str)]) -> Result<Proxy, String> {
        let mut file = SettingsFile::parse(Path::new("agent.toml"), text.to_owned()).unwrap();
        let environment = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        let proxy = Proxy::take(&mut file, Path::new("/nowhere"), &environment);
        file.finish().map(|()| proxy).map_err(|error| error.to_string())
    }

    #[test]
    fn set_unset_and_inherited_are_three_things() {
        let server = Server::parse("muster.example.org:8443").unwrap();
        let variables = [("HTTPS_PROXY", "http://env:1"), ("https_proxy", "http://lower:1")];
        for (text, variables, expected) in [
            ("", &[][..], "none (not set)"),
            ("", &variables[..], "http://env:1 (inherited from HTTPS_PROXY)"),
            ("", &variables[1..], "http://lower:1 (inherited from https_proxy)"),
            ("proxy = \"none\"", &variables[..], "none (set in agent.toml)"),
            ("proxy = \"http://file:1\"", &variables[..], "http://file:1 (set in agent.toml)"),
            ("", &[("HTTPS_PROXY", "none")][..], "none (inherited from HTTPS_PROXY)"),
            (
                "proxy = \"http://file:1\"\nno_proxy = [\".example.org\"]",
                &[][..],
                "none for muster.example.org: no_proxy (set in agent.toml) covers it; otherwise http://file:1 (set in \
                 agent.toml)",
            ),
            (
                "",
                &[("https_proxy", "p:1"), ("no_proxy", "a, muster.example.org")][..],
                "none for muster.example.org: no_proxy (inherited from no_proxy) covers it; otherwise http://p:1 \
                 (inherited from https_proxy)",
            ),
            (
                "no_proxy = []",
                &[("https_proxy", "p:1"), ("no_proxy", "*")][..],
                "http://p:1 (inherited from https_proxy)",
            ),
        ] {
            assert_eq!(take(text, variables).unwrap().explain(&server), expected, "{text} {variables:?}");
        }
    }

    #[test]
    fn none_among_exempt_hosts_is_refused_where_it_is_written_for_the_agent() {
        let found = take("proxy = \"p:1\"\nno_proxy = [\"none\"]", &[]).unwrap_err();
        assert!(found.contains("no_proxy  (file agent.toml, line 2): none is no host in a list"), "{found}");
        let inherited = take("", &[("https_proxy", "p:1"), ("NO_PROXY", "none")]).unwrap();
        assert!(matches!(inherited.way(&Server::parse("10.1.2.3:8443").unwrap()), Way::Through(_)));
        let given = |no_proxy| Proxy::given(Some("p:1"), Some(no_proxy), None, &|_: &str| Some("*".to_owned()));
        let none = given("none").unwrap();
        assert_eq!((none.bypass.entries(), none.bypass_origin), (Vec::new(), Origin::Argument));
        assert!(given("").unwrap_err().starts_with("--no-proxy: it is empty; write none"));
        assert!(given("none,a").unwrap_err().starts_with("--no-proxy: none is no host"));
    }

    #[test]
    fn private_servers_are_reached_without_the_proxy_unless_it_is_said_otherwise() {
        let way = |text: &str, server: &str| take(text, &[]).unwrap().way(&Server::parse(server).unwrap());
        assert_eq!(way("proxy = \"p:1\"", "10.1.2.3:8443"), Way::Direct);
        assert!(matches!(way("proxy = \"p:1\"\nno_proxy = []", "10.1.2.3:8443"), Way::Through(_)));
        assert!(matches!(way("proxy = \"p:1\"\nno_proxy = [\"10.1.2.3:443\"]", "10.1.2.3:8443"), Way::Through(_)));
    }

    #[test]
    fn every_problem_names_its_place_and_no_password() {
        let text = "proxy = \"ftp://u:geheim@p:1\"\nno_proxy = [\"a b\"]\nproxy_password_file = \"x\"\n";
        let found = take(text, &[]).unwrap_err();
        assert!(found.contains("proxy = (not shown)  (file agent.toml, line 1)"), "{found}");
        assert!(found.contains("no_proxy  (file agent.toml, line 2)") && !found.contains("geheim"), "{found}");
        let found = take("", &[("https_proxy", "socks5://u:geheim@p:1"), ("NO_PROXY", "::1/900")]).unwrap_err();
        assert!(found.contains("https_proxy  (environment): proxies that are spoken to with socks5"), "{found}");
        assert!(found.contains("NO_PROXY  (environment)") && !found.contains("geheim"), "{found}");
        let found = take("proxy = \"http://me@p:1\"\nproxy_password_file = \"pw\"", &[]).unwrap_err();
        assert!(found.contains("proxy_password_file = \"/nowhere/pw\"") && found.contains("cannot be read"), "{found}");
    }
}
