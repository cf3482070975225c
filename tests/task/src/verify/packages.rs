//! Debian packages that the end-to-end tests drive real programs of. Where they are missing they are installed, which
//! needs root and apt; where that cannot be, the summary says what is not tested.

use std::path::Path;
use std::process::{Command, Stdio};

use super::report::Outcome;

/// A program, and the package that brings it. Whoever writes a test with another program adds it here.
pub const PROGRAMS: &[(&str, &str)] = &[("tinyproxy", "tinyproxy"), ("ip", "iproute2")];

/// Installs what is missing.
pub fn prepare() -> Result<Outcome, String> {
    let missing = missing();
    if !missing.is_empty() {
        if !is_root() || find("apt-get").is_none() {
            let names = missing.join(" ");
            return Ok(Outcome::Skipped(format!(
                "{names} missing, no apt or not root: what needs them FAILS or is left out"
            )));
        }
        apt(&["update", "-qq"])?;
        let install = ["install", "-y", "-qq", "--no-install-recommends"];
        apt(&[&install[..], &missing].concat())?;
        let left = self::missing();
        if !left.is_empty() {
            return Err(format!("{} was installed, but its program is not there", left.join(" ")));
        }
    }
    if !is_root() {
        return Ok(Outcome::Skipped("not root: tests in a network namespace are left out".to_owned()));
    }
    Ok(Outcome::Passed)
}

/// The installation as a line for a shell.
pub fn by_hand() -> String {
    let packages: Vec<&str> = PROGRAMS.iter().map(|(_, package)| *package).collect();
    format!("apt-get install --no-install-recommends {}", packages.join(" "))
}

fn missing() -> Vec<&'static str> {
    PROGRAMS.iter().filter(|(program, _)| find(program).is_none()).map(|(_, package)| *package).collect()
}

/// Packages of Debian also put programs where only root's PATH goes.
fn find(program: &str) -> Option<()> {
    let folders = ["/usr/sbin", "/sbin", "/usr/bin", "/bin", "/usr/local/bin"];
    folders.iter().any(|folder| Path::new(folder).join(program).is_file()).then_some(())
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").stdin(Stdio::null()).output();
    id.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

fn apt(args: &[&str]) -> Result<(), String> {
    let mut command = Command::new("apt-get");
    command.args(args).env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null()).stdout(Stdio::null());
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`apt-get {}` failed ({status})", args.join(" "))),
        Err(error) => Err(format!("cannot start apt-get: {error}")),
    }
}
