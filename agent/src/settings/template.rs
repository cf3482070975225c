//! The text of a new `agent.toml`: every key, with its default or an example.

use super::Server;
use muster_wire::id::ThingName;
use muster_wire::label::Label;
use muster_wire::limits::{HEARTBEAT, SETTINGS_TRIAL, TELEMETRY_INTERVAL, VERIFY_INTERVAL};
use muster_wire::proxy::NO_PROXY_DEFAULT;
use std::fmt;

/// What a new file says; the rest are defaults.
#[derive(Clone, Debug)]
pub struct Template {
    /// Where the server is.
    pub server: Server,
    /// The connector's name.
    pub name: ThingName,
    /// `none` or a URL; `None` leaves the choice to the environment.
    pub proxy: Option<String>,
    /// Where the password of the proxy's user is.
    pub proxy_password_file: Option<String>,
    /// What is reached without the proxy.
    pub no_proxy: Option<Vec<String>>,
    /// What the host's owner says about it.
    pub labels: Vec<Label>,
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set = |key: &str, value: Option<String>, example: &str| match value {
            Some(value) => format!("{key} = {value}"),
            None => format!("#{key} = {example}"),
        };
        let text = |text: &String| format!("{text:?}");
        let no_proxy = match &self.no_proxy {
            Some(entries) => format!("no_proxy = {}", list(entries)),
            None => format!("# no_proxy = {}", list(&NO_PROXY_DEFAULT)),
        };
        let labels = match self.labels.is_empty() {
            true => "#labels = [\"rack=4\", \"owner=web-team\"]".to_owned(),
            false => format!("labels = {}", list(&self.labels.iter().map(ToString::to_string).collect::<Vec<_>>())),
        };
        write!(
            f,
            "# Settings of the Muster agent; all of them are explained in docs/agent-settings.md.\n\
             # A line that begins with `# ` shows a default, one that begins with `#` an example. `muster-agent reload` makes\n\
             # changes count. A changed server, proxy or CA is tried, and taken back when the server does not confirm it.\n\
             \n\
             # Where the server is, HOST:PORT; the only port that a firewall must let out.\n\
             server = \"{server}\"\n\
             \n\
             # The name of this connector, the one in its certificate.\n\
             name = \"{name}\"\n\
             \n\
             # The HTTP proxy on the way to the server: a URL, or \"none\" for never a proxy. Without this line, HTTPS_PROXY of\n\
             # the environment counts. A password belongs into a file of its own (mode 0600).\n\
             {proxy}\n\
             {password}\n\
             \n\
             # Reached without the proxy: hosts, .domains, addresses, networks, each but the last with :PORT if needed, or *.\n\
             # Without this line, NO_PROXY of the environment counts, and without that the default; [] exempts nothing.\n\
             {no_proxy}\n\
             \n\
             # Which CA the server is known by, when it is not the one that this host was enrolled with.\n\
             #ca_file = \"ca.pem\"\n\
             \n\
             # What this host is, for selecting it on the server.\n\
             {labels}\n\
             \n\
             # The components that the server may install and upgrade here; anything else is rejected.\n\
             # allow = [\"*\"]\n\
             \n\
             # How packages are fetched: https, mqtt, or auto, which is https, and mqtt while https brings nothing.\n\
             # download = \"auto\"\n\
             \n\
             # What is logged to standard error: error, warn, info, debug or trace. MUSTER_LOG replaces it.\n\
             # log_level = \"info\"\n\
             \n\
             # How it is logged: text for people, json for machines.\n\
             # log_format = \"text\"\n\
             \n\
             # Seconds between two signs of life.\n\
             # heartbeat_s = {heartbeat}\n\
             \n\
             # Seconds between two measurements of this host.\n\
             # telemetry_interval_s = {telemetry}\n\
             \n\
             # Seconds, give or take a fifth, between two complete comparisons with the server.\n\
             # verify_interval_s = {verify}\n\
             \n\
             # Seconds in which the server must confirm a changed server, proxy or CA.\n\
             # confirm_within_s = {confirm}\n",
            server = self.server,
            name = self.name,
            proxy = set("proxy", self.proxy.as_ref().map(text), "\"http://proxy.example.org:3128\""),
            password =
                set("proxy_password_file", self.proxy_password_file.as_ref().map(text), "\"state/proxy-password\""),
            heartbeat = HEARTBEAT.as_secs(),
            telemetry = TELEMETRY_INTERVAL.as_secs(),
            verify = VERIFY_INTERVAL.as_secs(),
            confirm = SETTINGS_TRIAL.as_secs(),
        )
    }
}

/// A list for TOML; none of the texts holds more than plain characters.
fn list<T: AsRef<str>>(texts: &[T]) -> String {
    let quoted: Vec<String> = texts.iter().map(|text| format!("{:?}", text.as_ref())).collect();
    format!("[{}]", quoted.join(", "))
}
