//! Reads a line that is not shown.

use crate::error::CliError;
#[cfg(unix)]
use std::io::{Write, stderr, stdin};

/// Asks and reads one line without showing it.
///
/// Errors: `Local` when nothing can be read, or the form was given up.
#[cfg(unix)]
pub fn read_line(prompt: &str) -> Result<String, CliError> {
    use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, tcgetattr, tcsetattr};
    let failed = |error| CliError::local_because("cannot hide what is typed on the terminal", error);
    let terminal = stdin();
    let before = tcgetattr(&terminal).map_err(|error| failed(std::io::Error::from(error)))?;
    let mut quiet = before.clone();
    quiet.local_modes.remove(LocalModes::ECHO);
    // A signal would end the program and leave the terminal mute: Ctrl-C ends the line instead.
    quiet.local_modes.remove(LocalModes::ISIG);
    quiet.special_codes[SpecialCodeIndex::VEOL] = CTRL_C;
    tcsetattr(&terminal, OptionalActions::Now, &quiet).map_err(|error| failed(std::io::Error::from(error)))?;
    let line = shown(prompt);
    let restored = tcsetattr(&terminal, OptionalActions::Now, &before);
    let _ = stderr().write_all(b"\n");
    restored.map_err(|error| failed(std::io::Error::from(error)))?;
    line
}

/// There is no way to hide it here.
///
/// Errors: `Local`, always.
#[cfg(not(unix))]
pub fn read_line(_: &str) -> Result<String, CliError> {
    Err(CliError::local("what is typed cannot be hidden here; give the proxy's password with --proxy-password-file"))
}

#[cfg(unix)]
const CTRL_C: u8 = 3;

#[cfg(unix)]
fn shown(prompt: &str) -> Result<String, CliError> {
    let mut out = stderr().lock();
    let _ = out.write_all(prompt.as_bytes()).and_then(|()| out.flush());
    let mut line = Vec::new();
    // Byte by byte up to either end of the line.
    for byte in std::io::Read::bytes(stdin().lock()) {
        match byte {
            Ok(b'\n' | b'\r') => break,
            Ok(CTRL_C) => return Err(CliError::local("given up; nothing was added")),
            Ok(byte) => line.push(byte),
            Err(error) => return Err(CliError::local_because("cannot read from the terminal", error)),
        }
    }
    String::from_utf8(line).map_err(|_| CliError::local("the password is no text (UTF-8)"))
}
