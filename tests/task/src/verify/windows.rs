//! The agent, type-checked for Windows with Debian packages alone: a standard library for that target comes with no
//! toolchain of theirs, so it is checked along. That takes minutes, so it is done when it is asked for by name, and
//! nothing is installed for it.

use std::path::Path;
use std::process::Stdio;

use super::report::Outcome;
use crate::tree::Tree;

/// The packages that are needed, as `apt-get install` takes them.
pub const PACKAGES: &str = "rustc-web cargo-web rust-web-src gcc-mingw-w64-x86-64-posix";
/// What each of them brings.
const FILES: [&str; 4] = [
    "/usr/bin/rustc",
    "/usr/bin/cargo",
    "/usr/lib/rustlib/src/rust/library/std/Cargo.toml",
    "/usr/bin/x86_64-w64-mingw32-gcc-posix",
];
/// Paths are given because a toolchain manager may stand in front of the packages; the standard library may be built by
/// this compiler only with the variable.
pub const ENVIRONMENT: [(&str, &str); 4] = [
    ("CARGO", "/usr/bin/cargo"),
    ("RUSTC", "/usr/bin/rustc"),
    ("RUSTDOC", "/usr/bin/rustdoc"),
    ("RUSTC_BOOTSTRAP", "1"),
];
/// The check itself.
pub const ARGUMENTS: &str = "check -Z build-std=std,panic_abort --target x86_64-pc-windows-gnu -p muster-agent";

/// Checks the agent; `asked` when this step was named.
pub fn check(tree: &Tree, asked: bool) -> Result<Outcome, String> {
    if FILES.iter().any(|file| !Path::new(file).exists()) {
        return Ok(Outcome::Skipped(format!("needs the Debian packages {PACKAGES}")));
    }
    if !asked {
        return Ok(Outcome::Skipped("takes minutes; run it with --only windows".to_owned()));
    }
    let mut command = tree.program("/usr/bin/cargo");
    command.args(ARGUMENTS.split(' ')).current_dir(tree.root()).stdin(Stdio::null());
    // A folder of its own: another compiler would make everything anew each time.
    command.env("CARGO_TARGET_DIR", tree.target().join("windows")).env_remove("RUSTUP_TOOLCHAIN").envs(ENVIRONMENT);
    match command.status() {
        Ok(status) if status.success() => Ok(Outcome::Passed),
        Ok(status) => Err(format!("the agent does not check for Windows ({status})")),
        Err(error) => Err(format!("cannot start /usr/bin/cargo: {error}")),
    }
}
