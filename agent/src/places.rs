//! Where everything lies below the prefix. The only file that joins these names.
//!
//! ```text
//! <prefix>/agent.toml
//! <prefix>/state/lock   state/identity/{key.pem,cert.pem,ca.pem,publisher.pub}
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
    /// The prefix at `path`, made absolute: components are started in other folders.
    pub fn new(path: &Path) -> std::io::Result<Self> {
        std::path::absolute(path).map(Self)
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

    /// Key, certificates and the publisher's key.
    pub fn identity(&self) -> PathBuf {
        self.state().join("identity")
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
