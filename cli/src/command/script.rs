//! The install script of a connector: a text with everything that a host needs in it, for a POSIX shell or PowerShell.

use super::allowlist::{AGENT, Entry};
use crate::args::Shell;
use crate::context::Address;
use crate::error::CliError;
use crate::way::{Proxy, Way};
use muster_certs::certificate;
use muster_wire::admin::AddedConnector;
use muster_wire::limits::PREFIX_BYTES_MAX;
use std::net::IpAddr;
use std::path::Path;

/// What goes into the script.
pub struct Script<'a> {
    /// The authority that the host shall trust.
    pub ca_pem: &'a str,
    /// Where the host reaches the server.
    pub server: &'a Address,
    /// What a firewall must let out; the prechecks try exactly these.
    pub allowed: &'a [Entry],
    /// The connector with its token; without one it is a preview.
    pub added: &'a AddedConnector,
    /// The host's way to the server.
    pub way: &'a Way,
    /// The language of the script.
    pub shell: Shell,
    /// Whether the script starts the agent.
    pub start: bool,
    /// Whether the script replaces the identity of a host that is enrolled already.
    pub renew: bool,
}

impl Script<'_> {
    /// The script.
    ///
    /// Errors: `Local` when the authority's certificate cannot be read, or the proxy's password cannot stand in a script.
    pub fn render(&self) -> Result<String, CliError> {
        let (agent, preview) = (self.added.agent.as_ref(), self.added.token.is_empty());
        let yes = |is: bool| if is { "yes" } else { "no" }.to_owned();
        let fingerprint = certificate::first_from_pem(self.ca_pem)
            .map(|der| muster_certs::certificate_id(&der))
            .map_err(|error| CliError::local_because("the authority's certificate cannot be read", error))?;
        let allowed: Vec<String> = self
            .allowed
            .iter()
            .filter(|entry| entry.used_by == AGENT)
            .map(|entry| Address { host: entry.host.clone(), port: entry.port }.to_string())
            .collect();
        let (proxy, url, password) = match &self.way.proxy {
            Proxy::Url(url) => {
                let password = url.password.as_ref().map(|password| password.reveal().to_owned()).unwrap_or_default();
                if password == PASSWORD_END || password.starts_with("'@") {
                    let message = "the proxy's password cannot stand in a script; give another one";
                    return Err(CliError::local(message));
                }
                // A preview is shown around.
                if preview {
                    (url.to_string(), url.to_string(), String::new())
                } else {
                    (url.to_string(), url.reveal(), password)
                }
            }
            Proxy::Inherited | Proxy::Never => Default::default(),
        };
        let values = [
            ("@NAME@", self.added.name.to_string()),
            ("@TOKEN_LINE@", self.token_line(preview)),
            ("@SERVER@", self.server.to_string()),
            ("@SERVER_HOST@", self.server.host.clone()),
            ("@SERVER_PORT@", self.server.port.to_string()),
            ("@ALLOWED@", allowed.join(" ")),
            ("@POOL@", self.added.pool.as_ref().map(ToString::to_string).unwrap_or_default()),
            ("@AGENT_PATH@", agent.map(|agent| plain(&agent.path)).unwrap_or_default()),
            ("@AGENT_SHA256@", agent.map(|agent| agent.sha256.to_string()).unwrap_or_default()),
            ("@AGENT_KB@", agent.map_or(0, |agent| agent.size / 1024 + 1).to_string()),
            ("@CA_SHA256@", fingerprint),
            ("@PREFIX@", self.added.prefix.as_deref().map(|prefix| self.prefix(prefix)).unwrap_or_default()),
            ("@PROXY_LINE@", self.proxy_line()),
            ("@PROXY_MODE@", self.mode().to_owned()),
            ("@EXEMPT@", yes(self.exempts_server())),
            ("@BARE_HOST@", plain_url(&self.bare_host())),
            ("@BARE_PORT@", self.server.port.to_string()),
            ("@NUMBERS@", self.numbers()),
            ("@PROXY@", plain_url(&proxy)),
            ("@PROXY_URL@", plain_url(&url)),
            ("@NO_PROXY_GIVEN@", if self.way.bypass.is_some() { "yes" } else { "" }.to_owned()),
            ("@NO_PROXY_LIST@", self.way.bypass.as_ref().map(ToString::to_string).unwrap_or_default()),
            ("@START@", yes(self.start)),
            ("@RENEW@", yes(self.renew)),
            ("@PREVIEW@", yes(preview)),
            ("@CA_PEM@", plain(self.ca_pem.trim_end())),
            ("@TOKEN@", if preview { MASKED.to_owned() } else { plain(&self.added.token) }),
            // Last: what it holds is not looked at again.
            ("@PROXY_PASSWORD@", password),
        ];
        let template = match self.shell {
            Shell::Sh => SH,
            Shell::Powershell => POWERSHELL,
        };
        Ok(values.iter().fold(template.to_owned(), |text, (name, value)| text.replace(name, value)))
    }

    fn token_line(&self, preview: bool) -> String {
        if preview {
            return "This is a preview: it has no token, so it can check the host (--dry-run) and install nothing."
                .to_owned();
        }
        let until = self.added.expires_at;
        format!("The token in this script works once, until {until}, for this name, this pool and this prefix only.")
    }

    /// What the settings of the proxy mean, for whoever reads the script.
    fn proxy_line(&self) -> String {
        if let Some(note) = self.way.unused_for(&self.server.host, self.server.port) {
            return format!("{note}.");
        }
        match self.way.proxy {
            Proxy::Inherited => "The proxy is what the environment of the host says.".to_owned(),
            Proxy::Never => "No proxy, whatever the environment of the host says.".to_owned(),
            Proxy::Url(_) => "The proxy on the way to the server.".to_owned(),
        }
    }

    /// Who says which proxy it is.
    fn mode(&self) -> &'static str {
        match self.way.proxy {
            Proxy::Inherited => "inherited",
            Proxy::Never => "never",
            Proxy::Url(_) => "url",
        }
    }

    /// Whether the server is reached without the proxy, as far as that is known here; a host's own NO_PROXY counts
    /// instead of the default.
    fn exempts_server(&self) -> bool {
        self.way.exempts(&self.server.host, self.server.port)
    }

    fn bare_host(&self) -> String {
        self.server.host.trim_end_matches('.').to_ascii_lowercase()
    }

    /// The numbers of the server's address, those of an IPv4 one as of `::ffff:a.b.c.d`.
    fn numbers(&self) -> String {
        let address = match self.bare_host().parse::<IpAddr>() {
            Ok(IpAddr::V4(address)) => address.to_ipv6_mapped(),
            Ok(IpAddr::V6(address)) => address,
            Err(_) => return String::new(),
        };
        address.segments().map(|segment| segment.to_string()).join(" ")
    }

    /// The server checked it, and so did this program if it was given now; yet it becomes part of a script.
    fn prefix(&self, prefix: &str) -> String {
        match prefix_problem(Path::new(prefix), self.shell) {
            None => prefix.to_owned(),
            Some(_) => String::new(),
        }
    }
}

/// What stands in the place of a token that was not made.
const MASKED: &str = "mst1_*******************************************";
/// The line that ends the password in the script.
const PASSWORD_END: &str = "MUSTER_PROXY";

/// Keeps the characters of PEM, tokens and paths. What the server sends ends up in a script that root runs, so nothing
/// in it may end a quotation or a here-document.
fn plain(text: &str) -> String {
    let allowed = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=' | '-' | '_' | '.' | ' ' | '\n');
    text.chars().filter(allowed).collect()
}

/// Keeps the characters of a URL whose user and password are percent-encoded.
fn plain_url(text: &str) -> String {
    let allowed =
        |c: &char| c.is_ascii_alphanumeric() || matches!(c, ':' | '/' | '@' | '%' | '-' | '_' | '.' | '~' | '[' | ']');
    text.chars().filter(allowed).collect()
}

/// Why a folder cannot be the prefix of an agent; it becomes part of a script, a crontab and a unit of a service manager.
pub fn prefix_problem(prefix: &Path, shell: Shell) -> Option<String> {
    let text = prefix.to_str().unwrap_or_default();
    let (fits, example) = match shell {
        Shell::Sh => {
            (is_unix_prefix(text), "an absolute path of a-z A-Z 0-9 . _ - + without \"..\", for example /opt/muster")
        }
        Shell::Powershell => {
            let example = "a path with a drive, of a-z A-Z 0-9 . _ - + and spaces without \"..\", for example \
                           C:\\Program Files\\Muster";
            (is_windows_prefix(text), example)
        }
    };
    if fits && text.len() <= PREFIX_BYTES_MAX {
        return None;
    }
    Some(format!("--prefix {} cannot be used; give {example}", prefix.display()))
}

fn is_unix_prefix(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '+');
    text.starts_with('/') && text != "/" && text.chars().all(allowed) && !text.split('/').any(|part| part == "..")
}

fn is_windows_prefix(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '\\' | '.' | '_' | '-' | '+' | ' ');
    let Some((drive, rest)) = text.split_once(":\\") else { return false };
    let part = |part: &str| !part.is_empty() && part != ".." && !part.ends_with([' ', '.']) && !part.starts_with(' ');
    drive.len() == 1
        && drive.chars().all(|c| c.is_ascii_alphabetic())
        && rest.chars().all(allowed)
        && rest.split('\\').all(part)
}

const SH: &str = include_str!("install.sh");
const POWERSHELL: &str = include_str!("install.ps1");

#[cfg(test)]
mod tests;
