//! A Python with the AWS SDK and an MQTT client, for tests by clients that we did not write. Python is no part of a Rust
//! toolchain, so its absence is no failure; a Python that cannot install them is one.

use std::path::Path;
use std::process::{Command, Stdio};
use std::{fs, io};

use super::report::Outcome;
use crate::tree::Tree;

/// Where the tests find the packages that they need, with exact versions.
pub const REQUIREMENTS: &str = "tests/aws/requirements.txt";

/// The package of the SDK, as the requirements begin the line that fixes its version.
const SDK: &str = "awsiotsdk==";

/// Makes the environment in `python` of the target folder, or keeps the one that is there and still fits.
pub fn prepare(tree: &Tree) -> Result<Outcome, String> {
    let source = tree.root().join(REQUIREMENTS);
    let wanted = match fs::read_to_string(&source) {
        Ok(wanted) => wanted,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Outcome::Skipped(format!("there is no {REQUIREMENTS}")));
        }
        Err(error) => return Err(format!("cannot read {}: {error}", source.display())),
    };
    let folder = tree.target().join("python");
    let python = folder.join("bin/python");
    // Written last: an environment without it is half done.
    let stamp = folder.join("requirements.txt");
    if fs::read_to_string(&stamp).is_ok_and(|made| made == wanted) && works(&python) {
        return Ok(Outcome::Passed);
    }
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv", "--clear"]).arg(&folder);
    match venv.stdin(Stdio::null()).status() {
        Ok(status) if status.success() => {}
        Ok(status) => return Err(format!("python3 cannot make {} ({status})", folder.display())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Outcome::Skipped("no python3".to_owned())),
        Err(error) => return Err(format!("cannot start python3: {error}")),
    }
    // Wheels only: to compile these would take minutes.
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]);
    pip.args(["--only-binary", ":all:", "--requirement"]).arg(&source).stdin(Stdio::null());
    match pip.status() {
        Ok(status) if status.success() => {}
        Ok(status) => return Err(format!("pip cannot install {REQUIREMENTS} ({status})")),
        Err(error) => return Err(format!("cannot start {}: {error}", python.display())),
    }
    unpack_sdk(&python, &folder, &wanted)?;
    fs::write(&stamp, wanted).map_err(|error| format!("cannot write {}: {error}", stamp.display()))?;
    Ok(Outcome::Passed)
}

/// Unpacks the sources of the SDK into `sdk` of `folder`: AWS's own tests are among them, and not in the wheel.
fn unpack_sdk(python: &Path, folder: &Path, wanted: &str) -> Result<(), String> {
    let Some(sdk) = wanted.lines().find(|line| line.starts_with(SDK)) else {
        return Err(format!("{REQUIREMENTS} names no {SDK}"));
    };
    let sources = folder.join("sources");
    let mut pip = Command::new(python);
    pip.args(["-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check", "--no-deps"]);
    pip.args(["--no-binary", ":all:", "--dest"]).arg(&sources).arg(sdk).stdin(Stdio::null());
    match pip.status() {
        Ok(status) if status.success() => {}
        Ok(status) => return Err(format!("pip cannot fetch the sources of {sdk} ({status})")),
        Err(error) => return Err(format!("cannot start {}: {error}", python.display())),
    }
    let packed = sources.join(format!("{}.tar.gz", sdk.replace("==", "-")));
    let mut unpack = Command::new(python);
    unpack.args(["-m", "tarfile", "--extract"]).arg(&packed).arg(folder.join("sdk")).stdin(Stdio::null());
    match unpack.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{} cannot be unpacked ({status})", packed.display())),
        Err(error) => Err(format!("cannot start {}: {error}", python.display())),
    }
}

/// Whether the interpreter is still there and finds the packages: it belongs to a Python that may have been replaced.
fn works(python: &Path) -> bool {
    let mut command = Command::new(python);
    command.args(["-c", "import awsiot, boto3, paho.mqtt"]).stdin(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
