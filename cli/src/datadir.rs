//! The data folder of a server: what lies where, and who may read it.
//!
//! ```text
//! muster.toml                       settings
//! server.addr                       where the running server listens; written by `serve`
//! ca/ca.crt         ca/ca.key       the authority of the fleet; while it is replaced, two
//! server/server.crt server/server.key
//! server/access.key                 the secrets of access keys follow from it; written by `serve`
//! publisher/publisher.key           signs packages;  publisher.pub: its public half
//! operators/<name>.crt  .key        what operator commands show to the server
//! store/            artifacts/      the server's own
//! ledger.log                        who may come in, beside the store: a restore of an older store must not undo it
//! ```
//! The folder is readable by its owner only. `init` writes `muster.toml` last: a folder without it is unfinished.

use crate::error::CliError;
use muster_certs::store;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// A data folder.
#[derive(Clone, Debug)]
pub struct DataDir {
    root: PathBuf,
}

/// The address of the running server, as `serve` left it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerAddresses {
    /// HTTPS and MQTT, told apart by ALPN.
    pub https: String,
    /// The second listener, for MQTT only, if there is one.
    pub mqtt: Option<String>,
}

/// Everything that `init` may leave in a folder that it did not finish.
const OWN_NAMES: [&str; 8] =
    ["ca", "server", "publisher", "operators", "store", "artifacts", "server.addr", "muster.toml"];

impl DataDir {
    /// The folder at `root`, whether it is there or not.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// An existing data folder.
    ///
    /// Errors: `Local` when `init` has not finished there.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, CliError> {
        let data = Self::at(root);
        match fs::metadata(data.settings()) {
            Ok(_) => Ok(data),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(CliError::local(format!(
                "{} is not a data folder of muster (it has no muster.toml); make one with \
                 `muster init --data {0} --host NAME`, or name another one with --data or MUSTER_DATA",
                data.root.display()
            ))),
            Err(error) => {
                let message = format!(
                    "cannot look into the data folder {}; name the folder that `muster init` made",
                    data.root.display()
                );
                Err(CliError::local_because(message, error))
            }
        }
    }

    /// Makes the folders, private to their owner.
    ///
    /// Errors: `Local` when there is a fleet already, or something that is not ours.
    pub fn create(root: impl Into<PathBuf>) -> Result<Self, CliError> {
        let data = Self::at(root);
        let shown = data.root.display();
        if data.settings().exists() {
            return Err(CliError::local(format!(
                "{shown} holds a fleet already; start it with `muster serve --data {shown}`, or choose another folder"
            )));
        }
        match fs::read_dir(&data.root) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                return Err(CliError::local_because(
                    format!("{shown} cannot be the data folder; choose a new or empty folder"),
                    error,
                ));
            }
            Ok(entries) => {
                let foreign = entries.flatten().map(|e| e.file_name()).find(|n| !OWN_NAMES.iter().any(|own| n == own));
                if let Some(foreign) = foreign {
                    return Err(CliError::local(format!(
                        "{shown} is not empty (it has {}); choose a new or empty folder",
                        foreign.to_string_lossy()
                    )));
                }
            }
        }
        for folder in ["", "ca", "server", "publisher", "operators", "store", "artifacts"] {
            let path = data.root.join(folder);
            private_folder(&path).map_err(|error| {
                CliError::local_because(format!("cannot make the folder {}", path.display()), error)
            })?;
        }
        Ok(data)
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `muster.toml`.
    pub fn settings(&self) -> PathBuf {
        self.root.join("muster.toml")
    }

    /// The folder of the authority, and of the one that follows it.
    pub fn authority(&self) -> PathBuf {
        self.root.join("ca")
    }

    /// The certificate of the authority.
    pub fn ca_certificate(&self) -> PathBuf {
        self.root.join("ca/ca.crt")
    }

    /// The key of the authority.
    pub fn ca_key(&self) -> PathBuf {
        self.root.join("ca/ca.key")
    }

    /// The certificate chain of the server.
    pub fn server_chain(&self) -> PathBuf {
        self.root.join("server/server.crt")
    }

    /// The master secret of access keys.
    pub fn access_master(&self) -> PathBuf {
        self.root.join("server/access.key")
    }

    /// The key of the server.
    pub fn server_key(&self) -> PathBuf {
        self.root.join("server/server.key")
    }

    /// The key that signs packages.
    pub fn publisher_key(&self) -> PathBuf {
        self.root.join("publisher/publisher.key")
    }

    /// The public half of the publisher's key, in its text form.
    pub fn publisher_public(&self) -> PathBuf {
        self.root.join("publisher/publisher.pub")
    }

    /// The certificates of operators.
    pub fn operators(&self) -> PathBuf {
        self.root.join("operators")
    }

    /// Certificate and key of one operator.
    pub fn operator(&self, name: &str) -> (PathBuf, PathBuf) {
        let folder = self.operators();
        (folder.join(format!("{name}.crt")), folder.join(format!("{name}.key")))
    }

    /// The names of the operators whose certificate and key are here, sorted. A certificate without a key, such as the
    /// authority's that `muster cert issue` adds, is nobody's.
    pub fn operator_names(&self) -> Result<Vec<String>, CliError> {
        self.certificate_names(true)
    }

    /// The names of the operators whose certificate is here and whose key is not, sorted.
    pub fn keyless_operators(&self) -> Result<Vec<String>, CliError> {
        let mut names = self.certificate_names(false)?;
        names.retain(|name| name != "ca");
        Ok(names)
    }

    fn certificate_names(&self, with_key: bool) -> Result<Vec<String>, CliError> {
        let folder = self.operators();
        let entries = fs::read_dir(&folder)
            .map_err(|error| CliError::local_because(format!("cannot look into {}", folder.display()), error))?;
        let name = |entry: fs::DirEntry| {
            let path = entry.path();
            let name = path.file_name()?.to_str()?.strip_suffix(".crt")?.to_owned();
            (path.with_extension("key").exists() == with_key).then_some(name)
        };
        let mut names: Vec<String> = entries.flatten().filter_map(name).collect();
        names.sort();
        Ok(names)
    }

    /// The server's store.
    pub fn store(&self) -> PathBuf {
        self.root.join("store")
    }

    /// Every word on certificates and connectors.
    pub fn ledger(&self) -> PathBuf {
        self.root.join("ledger.log")
    }

    /// The uploaded packages.
    pub fn artifacts(&self) -> PathBuf {
        self.root.join("artifacts")
    }

    /// Where the running server listens.
    pub fn server_address(&self) -> PathBuf {
        self.root.join("server.addr")
    }

    /// Notes where the server listens, for operator commands. Called by `serve` once it accepts connections.
    pub fn write_server_addresses(&self, addresses: &ServerAddresses) -> Result<(), CliError> {
        let mut text = format!("{}\n", addresses.https);
        if let Some(mqtt) = &addresses.mqtt {
            text.push_str(mqtt);
            text.push('\n');
        }
        store::write_public(&self.server_address(), text.as_bytes())
            .map_err(|error| CliError::local_because("cannot note the server's address", error))
    }

    /// Where the server listens.
    ///
    /// Errors: `Unreachable` when no server has run here, `Local` when the file is not ours.
    pub fn server_addresses(&self) -> Result<ServerAddresses, CliError> {
        let path = self.server_address();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(CliError::unreachable(format!(
                    "no server has run on the data folder {0} yet; start it with `muster serve --data {0}`",
                    self.root.display()
                )));
            }
            Err(error) => {
                let message = format!("cannot read the server's address in {}", path.display());
                return Err(CliError::local_because(message, error));
            }
        };
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let https = lines.next().ok_or_else(|| {
            CliError::local(format!("{} is empty; start `muster serve` again, it writes the file", path.display()))
        })?;
        Ok(ServerAddresses { https: https.to_owned(), mqtt: lines.next().map(str::to_owned) })
    }
}

/// Makes a folder, and those above it, for its owner only.
///
/// Errors: those of the system.
#[cfg(unix)]
pub fn private_folder(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))
}

/// Makes a folder, and those above it.
///
/// Errors: those of the system.
#[cfg(not(unix))]
pub fn private_folder(path: &Path) -> std::io::Result<()> {
    fs::create_dir_all(path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_folder_with_other_things_or_a_fleet_in_it_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("data");
        let data = DataDir::create(&root).unwrap();
        // An unfinished init may be repeated.
        DataDir::create(&root).unwrap();
        assert!(DataDir::open(&root).unwrap_err().to_string().contains("has no muster.toml"));
        fs::write(data.settings(), "").unwrap();
        assert!(DataDir::create(&root).unwrap_err().to_string().contains("holds a fleet already"));
        fs::write(folder.path().join("letter.txt"), "").unwrap();
        assert!(DataDir::create(folder.path()).unwrap_err().to_string().contains("is not empty (it has letter.txt)"));
    }

    #[test]
    fn addresses_round_trip_and_their_absence_says_what_to_start() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::at(folder.path());
        assert!(matches!(data.server_addresses(), Err(CliError::Unreachable { .. })));
        for mqtt in [None, Some("127.0.0.1:2".to_owned())] {
            let addresses = ServerAddresses { https: "127.0.0.1:1".into(), mqtt };
            data.write_server_addresses(&addresses).unwrap();
            assert_eq!(data.server_addresses().unwrap(), addresses);
        }
    }
}
