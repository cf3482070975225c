//! MQTT.js for Node, for tests by clients that we did not write. Node is no part of a Rust toolchain, so its absence is no
//! failure; a Node that cannot install the package is one.

use std::process::{Command, Stdio};
use std::{fs, io};

use super::report::Outcome;
use crate::tree::Tree;

/// Where the tests keep the packages that they need, with exact versions and digests.
pub const SOURCE: &str = "tests/js";
/// What names the packages, and what fixes them with all that they need.
const FILES: [&str; 2] = ["package.json", "package-lock.json"];
/// Everything is fixed by the lock file, and no package runs anything of its own.
pub const ARGUMENTS: &str = "ci --ignore-scripts --no-audit --no-fund --loglevel error";

/// Installs the packages into `node` of the target folder, or keeps what is there and still fits.
pub fn prepare(tree: &Tree) -> Result<Outcome, String> {
    let source = tree.root().join(SOURCE);
    let read = |name: &str| match fs::read_to_string(source.join(name)) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("cannot read {}: {error}", source.join(name).display())),
    };
    let (Some(package), Some(lock)) = (read(FILES[0])?, read(FILES[1])?) else {
        return Ok(Outcome::Skipped(format!("there is no {SOURCE}")));
    };
    for program in ["node", "npm"] {
        let mut version = Command::new(program);
        version.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        match version.status() {
            Ok(status) if status.success() => {}
            Ok(status) => return Err(format!("{program} cannot say its version ({status})")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Outcome::Skipped(format!("no {program}; the tests with MQTT.js are skipped")));
            }
            Err(error) => return Err(format!("cannot start {program}: {error}")),
        }
    }
    let folder = tree.target().join("node");
    // Written last: a folder without it is half done.
    let stamp = folder.join("installed.json");
    if fs::read_to_string(&stamp).is_ok_and(|made| made == lock) {
        let mut node = Command::new("node");
        node.args(["-e", "require('mqtt')"]).current_dir(&folder).stdin(Stdio::null()).stderr(Stdio::null());
        if node.status().is_ok_and(|status| status.success()) {
            return Ok(Outcome::Passed);
        }
    }
    let write = |name: &str, text: &str| {
        fs::write(folder.join(name), text)
            .map_err(|error| format!("cannot write {name} in {}: {error}", folder.display()))
    };
    fs::create_dir_all(&folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    write("installed.json", "")?;
    write(FILES[0], &package)?;
    write(FILES[1], &lock)?;
    let mut npm = Command::new("npm");
    npm.args(ARGUMENTS.split(' ')).current_dir(&folder).stdin(Stdio::null());
    match npm.status() {
        Ok(status) if status.success() => {}
        Ok(status) => return Err(format!("npm cannot install what {SOURCE}/{} names ({status})", FILES[1])),
        Err(error) => return Err(format!("cannot start npm: {error}")),
    }
    write("installed.json", &lock)?;
    Ok(Outcome::Passed)
}
