//! What a command prints: a text for people, or one line of JSON.

use crate::error::CliError;
use serde::Serialize;
use std::fmt;
use std::io::Write;

/// The result of a command.
#[derive(Debug, Default)]
pub struct Output {
    text: String,
    json: Option<serde_json::Value>,
    failure: Option<String>,
}

impl Output {
    /// `value` for programs, `text` for people.
    pub fn new(value: &impl Serialize, text: impl Into<String>) -> Self {
        let json = serde_json::to_value(value).expect("results have text keys, so they are JSON");
        Self { text: text.into(), json: Some(json), failure: None }
    }

    /// Nothing to print: the command has printed while it ran.
    pub fn silent() -> Self {
        Self::default()
    }

    /// The result is to be printed, and yet it is not what was asked for: exit code 1.
    pub fn but_failed(mut self, why: impl Into<String>) -> Self {
        self.failure = Some(why.into());
        self
    }

    /// Prints the result.
    ///
    /// Errors: [`CliError::Outcome`] when the result is not what was asked for.
    pub fn print(self, json: bool) -> Result<(), CliError> {
        match self.json {
            Some(value) if json => say(&value.to_string()),
            _ if self.text.is_empty() => {}
            _ => say(self.text.trim_end_matches('\n')),
        }
        self.failure.map_or(Ok(()), |why| Err(CliError::Outcome(why)))
    }
}

/// Writes a line to stdout at once. A reader that went away (`| head`) is no reason to fail.
pub fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}

/// Writes a line to stderr: everything that is not a result.
pub fn say_aside(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Aligned columns with a heading.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these column headings.
    pub fn new(headings: &[&str]) -> Self {
        Self { rows: vec![headings.iter().map(|heading| (*heading).to_owned()).collect()] }
    }

    /// Adds a line; an empty cell is shown as `-`.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cell = |text: String| if text.is_empty() { "-".to_owned() } else { text };
        self.rows.push(cells.into_iter().map(cell).collect());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(cell);
                line.extend(std::iter::repeat_n(' ', width - cell.chars().count() + 2));
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// The text of something that may be absent.
pub fn or_empty<T: ToString>(value: Option<&T>) -> String {
    value.map(ToString::to_string).unwrap_or_default()
}

/// A value's JSON text without its quotes: the spelling of a fieldless enum on the wire.
pub fn spelling(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(text)) => text,
        Ok(other) => other.to_string(),
        Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_empty_cells_are_visible() {
        let mut table = Table::new(&["NAME", "POOL"]);
        table.row(["é".to_owned(), String::new()]);
        table.row(["longer".to_owned(), "blue".to_owned()]);
        assert_eq!(table.to_string(), "NAME    POOL\né       -\nlonger  blue\n");
    }

    #[test]
    fn a_failed_result_is_printed_and_fails() {
        let output = Output::new(&1, "").but_failed("one of two");
        assert!(matches!(output.print(true), Err(CliError::Outcome(why)) if why == "one of two"));
    }
}
