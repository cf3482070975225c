//! Asks before something that cannot be taken back.

use crate::error::CliError;
use crate::output::say_aside;
use std::io::{BufRead, IsTerminal};

/// Asks on the terminal. Where there is none, nobody can be asked: the caller has to say `--yes`.
///
/// Errors: `Local` when the answer is not yes, or when there is nobody to ask.
pub fn confirm(question: &str, yes: bool) -> Result<(), CliError> {
    if yes {
        return Ok(());
    }
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(CliError::local(format!("{question} Say --yes to do it without being asked")));
    }
    say_aside(&format!("{question} [y/N]"));
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer).map_err(|error| CliError::local_because("cannot read the answer", error))?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(CliError::local("it was not confirmed; nothing was changed")),
    }
}
