//! Where everything lies below the prefix. The only file that joins these names.
//!
//! ```text
//! <prefix>/agent.toml
//! <prefix>/agent/versions/<version>/muster-agent   agent/current -> versions/<version>
//! <prefix>/state/lock   state/agent.json   state/service.json   state/removal.json   state/agent.log
//! <prefix>/state/identity/{key.pem,cert.pem,ca.pem,publisher.pub}   identity.next, identity.new: the one to come
//! <prefix>/state/journal/<component>.json   state/spool/<sha256>.part
//! <prefix>/components/<name>/<version>/…   current -> <version>   data/   log/current.log   run.json
//! ```

use muster_wire::id::{ComponentName, Sha256Hex, Version};
use std::path::{Path, PathBuf};

/// Where `enrol` keeps the password of the proxy's user, below the prefix.
pub const PROXY_PASSWORD: &str = "state/proxy-password";

/// The folder that holds all of the agent and its components.
#[derive(Clone, Debug)]
pub struct Prefix(PathBuf);

/// The folder of one component.
#[derive(Clone, Debug)]
pub struct Home(PathBuf);

impl Prefix {
    /// The prefix at `path`, made absolute: components are started in other folders. It need not be there.
    pub fn new(path: &Path) -> std::io::Result<Self> {
        if path.is_file() {
            return Err(std::io::Error::other("it is a file; name the folder of the agent"));
        }
        std::path::absolute(path).map(Self)
    }

    /// The prefix that a program at `program` belongs to: `<prefix>/agent/versions/<version>/<program>`.
    pub fn of_program(program: &Path) -> Option<Self> {
        let versions = program.parent()?.parent()?;
        let agent = versions.parent()?;
        let is_ours = versions.file_name()? == "versions" && agent.file_name()? == "agent";
        is_ours.then(|| agent.parent().map(|root| Self(root.to_owned()))).flatten()
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.0
    }

    /// The settings.
    pub fn settings(&self) -> PathBuf {
        self.0.join("agent.toml")
    }

    /// The password of the proxy's user, where `enrol` keeps it.
    pub fn proxy_password(&self) -> PathBuf {
        self.0.join(PROXY_PASSWORD)
    }

    /// The connection settings that the server confirmed, and those on trial.
    pub fn trial(&self) -> PathBuf {
        self.state().join("settings.json")
    }

    /// What only this user may look into.
    pub fn state(&self) -> PathBuf {
        self.0.join("state")
    }

    /// Held by the agent that runs.
    pub fn lock(&self) -> PathBuf {
        self.state().join("lock")
    }

    /// How often the agent has begun to connect.
    pub fn session(&self) -> PathBuf {
        self.state().join("session.json")
    }

    /// What the running agent says of itself.
    pub fn standing(&self) -> PathBuf {
        self.state().join("agent.json")
    }

    /// What a running agent wrote to its standard output and error, when nobody else keeps that.
    pub fn agent_log(&self) -> PathBuf {
        self.state().join("agent.log")
    }

    /// How the agent is kept running.
    pub fn service(&self) -> PathBuf {
        self.state().join("service.json")
    }

    /// How far the agent's own removal is.
    pub fn removal(&self) -> PathBuf {
        self.state().join("removal.json")
    }

    /// The agent's own programs.
    pub fn agent(&self) -> PathBuf {
        self.0.join("agent")
    }

    /// The programs of one version of the agent.
    pub fn agent_version(&self, version: &str) -> PathBuf {
        self.agent().join("versions").join(version)
    }

    /// The link to the version of the agent that shall run.
    pub fn agent_current(&self) -> PathBuf {
        self.agent().join("current")
    }

    /// Key, certificates and the publisher's key.
    pub fn identity(&self) -> PathBuf {
        self.state().join("identity")
    }

    /// Left by `muster-agent renew` for the agent that runs.
    pub fn renewal_wanted(&self) -> PathBuf {
        self.state().join("renew.wanted")
    }

    /// Why a renewal that somebody wanted was refused.
    pub fn renewal_refused(&self) -> PathBuf {
        self.state().join("renew.refused")
    }

    /// The journals.
    pub fn journals(&self) -> PathBuf {
        self.state().join("journal")
    }

    /// The journal of one component.
    pub fn journal(&self, component: &ComponentName) -> PathBuf {
        self.journals().join(format!("{component}.json"))
    }

    /// Packages on their way.
    pub fn spool(&self) -> PathBuf {
        self.state().join("spool")
    }

    /// A package on its way.
    pub fn part(&self, sha256: &Sha256Hex) -> PathBuf {
        self.spool().join(format!("{sha256}.part"))
    }

    /// All components.
    pub fn components(&self) -> PathBuf {
        self.0.join("components")
    }

    /// One component.
    pub fn home(&self, component: &ComponentName) -> Home {
        Home(self.components().join(component.as_str()))
    }
}

impl Home {
    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.0
    }

    /// The files of a version.
    pub fn version(&self, version: &Version) -> PathBuf {
        self.0.join(version.as_str())
    }

    /// Where a version is unpacked; no version can have this name.
    pub fn unpacking(&self, version: &Version) -> PathBuf {
        self.0.join(format!(".new-{version}"))
    }

    /// The link to the version that shall run.
    pub fn current(&self) -> PathBuf {
        self.0.join("current")
    }

    /// What the component keeps across versions.
    pub fn data(&self) -> PathBuf {
        self.0.join("data")
    }

    /// What it writes to its standard output and error.
    pub fn log(&self) -> PathBuf {
        self.0.join("log").join("current.log")
    }

    /// The process that was started last.
    pub fn run(&self) -> PathBuf {
        self.0.join("run.json")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_knows_its_prefix() {
        let of = |path: &str| Prefix::of_program(Path::new(path)).map(|prefix| prefix.0);
        assert_eq!(of("/opt/muster/agent/versions/1.0/muster-agent"), Some("/opt/muster".into()));
        for stranger in ["/usr/bin/muster-agent", "/opt/agent/versions", "/a/agents/versions/1/muster-agent", "/"] {
            assert_eq!(of(stranger), None, "{stranger}");
        }
    }
}
