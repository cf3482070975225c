//! `demo`: builds the three programs that the demo is made of, then becomes the demo.

use std::ffi::OsString;
use std::io;
use std::process::{Command, ExitCode, Stdio};

use crate::tree::Tree;

/// What builds every program that a user or a test starts.
pub const BUILD_BINARIES: &[&str] =
    &["build", "--release", "-p", "muster-cli", "-p", "muster-agent", "-p", "muster-greeter"];

/// Builds, then hands this process over to `muster demo`. Returns only when that failed.
pub fn run(tree: &Tree, words: &[OsString]) -> Result<ExitCode, String> {
    // Stdout belongs to the demo alone: its last line may be read by a program.
    let built = tree
        .cargo(BUILD_BINARIES)
        .stdout(Stdio::from(io::stderr()))
        .status()
        .map_err(|error| format!("cannot start cargo: {error}"))?;
    if !built.success() {
        return Err(format!("the demo was not started: `cargo {}` failed ({built})", BUILD_BINARIES.join(" ")));
    }
    let muster = tree.binary("muster");
    let mut demo = tree.program(&muster);
    demo.arg("demo").args(words);
    become_it(demo).map_err(|error| format!("cannot start {}: {error}", muster.display()))
}

/// Replaces this process, so that Ctrl-C, other signals and the exit code need nobody in between.
#[cfg(unix)]
fn become_it(mut command: Command) -> io::Result<ExitCode> {
    use std::os::unix::process::CommandExt;
    Err(command.exec())
}

/// Waits for the child. Ctrl-C reaches it because it shares the console; it decides when to end.
#[cfg(not(unix))]
fn become_it(mut command: Command) -> io::Result<ExitCode> {
    let status = command.status()?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}
