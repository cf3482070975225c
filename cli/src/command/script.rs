//! The install script of a connector: a POSIX shell script with everything that a host needs in it.

use crate::context::Address;
use muster_wire::admin::AddedConnector;
use std::path::{Component, Path};

/// What goes into the script.
pub struct Script<'a> {
    /// The authority that the host shall trust.
    pub ca_pem: &'a str,
    /// Where the host reaches the server.
    pub server: &'a Address,
    /// The connector with its token.
    pub added: &'a AddedConnector,
    /// Folder of the agent; the script chooses when absent.
    pub prefix: Option<&'a Path>,
    /// Whether the script starts the agent.
    pub start: bool,
    /// Whether the script replaces the identity of a host that is enrolled already.
    pub renew: bool,
}

impl Script<'_> {
    /// The script.
    pub fn render(&self) -> String {
        let agent = self.added.agent.as_ref();
        let values = [
            ("@NAME@", self.added.name.to_string()),
            ("@EXPIRES@", self.added.expires_at.to_string()),
            ("@SERVER@", self.server.to_string()),
            ("@AGENT_PATH@", agent.map(|agent| plain(&agent.path)).unwrap_or_default()),
            ("@AGENT_SHA256@", agent.map(|agent| agent.sha256.to_string()).unwrap_or_default()),
            ("@PREFIX@", self.prefix.map(|prefix| prefix.display().to_string()).unwrap_or_default()),
            ("@START@", if self.start { "yes" } else { "no" }.to_owned()),
            ("@RENEW@", if self.renew { "yes" } else { "no" }.to_owned()),
            ("@CA_PEM@", plain(self.ca_pem.trim_end())),
            ("@TOKEN@", plain(&self.added.token)),
        ];
        values.iter().fold(TEMPLATE.to_owned(), |text, (name, value)| text.replace(name, value))
    }
}

/// Keeps the characters of PEM, tokens and paths. What the server sends ends up in a script that root runs, so nothing
/// in it may end a quotation or a here-document.
fn plain(text: &str) -> String {
    let allowed = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=' | '-' | '_' | '.' | ' ' | '\n');
    text.chars().filter(allowed).collect()
}

/// Why a folder cannot be the prefix of an agent; it becomes part of a shell script, a crontab and a systemd unit.
pub fn prefix_problem(prefix: &Path) -> Option<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '+');
    let text = prefix.to_str().filter(|text| text.chars().all(allowed));
    let climbs = prefix.components().any(|part| part == Component::ParentDir);
    match text {
        Some(text) if text.starts_with('/') && text != "/" && !climbs => None,
        _ => Some(format!(
            "--prefix {} cannot be used; give an absolute path of a-z A-Z 0-9 . _ - + without \"..\", \
             for example /opt/muster",
            prefix.display()
        )),
    }
}

const TEMPLATE: &str = include_str!("install.sh");

#[cfg(test)]
mod tests;
