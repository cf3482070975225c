//! Where the sources and the built binaries are, and how cargo is started there.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A source tree and the folder that its release binaries are built into.
pub struct Tree {
    root: PathBuf,
    binaries: PathBuf,
    cargo: OsString,
    target_settings: Vec<(&'static str, PathBuf)>,
}

impl Tree {
    /// Finds the tree that this program was built from.
    pub fn find() -> Result<Self, String> {
        // Cargo sets the variable for `cargo run`; the compiled-in path is for a binary started by hand.
        let manifest = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let manifest = PathBuf::from(manifest);
        let root = manifest
            .ancestors()
            .nth(2)
            .filter(|root| root.join("Cargo.toml").is_file())
            .ok_or_else(|| {
                format!(
                    "{} is not inside the workspace; start this with `cargo demo` or `cargo verify`",
                    manifest.display()
                )
            })?
            .to_owned();
        // Our own place is where cargo puts the other binaries too, however the target folder was chosen.
        // Asked once, here: after a rebuild Linux would answer with "… (deleted)".
        let own = env::current_exe().map_err(|error| format!("cannot find the folder of this program: {error}"))?;
        let binaries = own.parent().ok_or_else(|| format!("{} has no folder", own.display()))?.to_owned();
        Ok(Self {
            root,
            binaries,
            cargo: env::var_os("CARGO").unwrap_or_else(|| "cargo".into()),
            target_settings: absolute_target_settings()?,
        })
    }

    /// The folder with the workspace manifest.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder that cargo builds into.
    pub fn target(&self) -> &Path {
        self.binaries.parent().unwrap_or(&self.binaries)
    }

    /// The path of a release binary, whether it has been built or not.
    pub fn binary(&self, name: &str) -> PathBuf {
        self.binaries.join(format!("{name}{}", env::consts::EXE_SUFFIX))
    }

    /// Cargo with these arguments, at the root of the tree.
    pub fn cargo(&self, args: &[&str]) -> Command {
        let mut command = self.program(&self.cargo);
        command.args(args);
        command.current_dir(&self.root).stdin(Stdio::null());
        command.envs(self.target_settings.iter().map(|(key, path)| (key, path)));
        command
    }

    /// A program in the environment of the caller, without what `cargo run` told us about our own package.
    /// Build scripts watch those variables: with them here and absent in the caller's shell, each build
    /// on one side would make the next on the other side compile `ring` and all that uses it again.
    pub fn program(&self, path: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(path);
        for (key, _) in env::vars_os() {
            if key.to_str().is_some_and(|key| OURS.iter().any(|prefix| key.starts_with(prefix))) {
                command.env_remove(key);
            }
        }
        command
    }
}

const OURS: &[&str] = &["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"];

/// The target folder settings of the environment, made absolute: a relative one counts from the caller's
/// folder, and cargo is started from another.
fn absolute_target_settings() -> Result<Vec<(&'static str, PathBuf)>, String> {
    ["CARGO_TARGET_DIR", "CARGO_BUILD_TARGET_DIR"]
        .into_iter()
        .filter_map(|key| Some((key, env::var_os(key).filter(|value| !value.is_empty())?)))
        .map(|(key, value)| match std::path::absolute(&value) {
            Ok(path) => Ok((key, path)),
            Err(error) => Err(format!("{key} = {value:?} is not usable: {error}")),
        })
        .collect()
}
