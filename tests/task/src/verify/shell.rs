//! shellcheck on the shell scripts of the tree. It is no part of a Rust toolchain, so its absence is no failure.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{fs, io};

use super::report::Outcome;

/// What is checked, as a shell would write it.
pub const PATTERNS: &str = ".ci/run $(git ls-files '*.sh')";

/// Checks every script under `root`.
pub fn check(root: &Path) -> Result<Outcome, String> {
    let scripts =
        scripts(root).map_err(|error| format!("cannot list the shell scripts in {}: {error}", root.display()))?;
    if scripts.is_empty() {
        return Ok(Outcome::Skipped("there is no shell script".to_owned()));
    }
    let status = Command::new("shellcheck").args(&scripts).current_dir(root).stdin(Stdio::null()).status();
    match status {
        Ok(status) if status.success() => Ok(Outcome::Passed),
        Ok(status) => Err(format!("shellcheck has complaints ({status})")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Ok(Outcome::Skipped("shellcheck is not installed here".to_owned()))
        }
        Err(error) => Err(format!("cannot start shellcheck: {error}")),
    }
}

/// `.ci/run` and every `*.sh`, relative to `root`, in order. Hidden folders and build folders are not ours to read.
fn scripts(root: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let ci = Path::new(".ci/run");
    if root.join(ci).is_file() {
        found.push(ci.to_owned());
    }
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let path = entry.path();
            let hidden = entry.file_name().to_string_lossy().starts_with('.');
            let kind = entry.file_type()?;
            if kind.is_dir() && !hidden && !path.join("CACHEDIR.TAG").exists() {
                folders.push(path);
            } else if kind.is_file() && path.extension().is_some_and(|ext| ext == "sh") {
                found.push(path.strip_prefix(root).unwrap_or(&path).to_owned());
            }
        }
    }
    found.sort();
    Ok(found)
}
