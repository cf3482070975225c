//! What a command prints: a text for people, or one line of JSON.

use crate::error::CliError;
pub use muster_runtime::plain::plain;
use muster_runtime::plain::{harmless, steers};
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
            Some(value) if json => say(&json_line(&value)),
            _ if self.text.is_empty() => {}
            _ => say(self.text.trim_end_matches('\n')),
        }
        self.failure.map_or(Ok(()), |why| Err(CliError::Outcome(why)))
    }
}

/// JSON in one line, in which no text steers a terminal: it reads back as the same value.
pub fn json_line(value: &serde_json::Value) -> String {
    let escape = |c: char| if steers(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() };
    let text = value.to_string();
    if text.contains(steers) { text.chars().map(escape).collect() } else { text }
}

/// Writes a line to stdout at once. A reader that went away (`| head`) is no reason to fail.
pub fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{}", harmless(line));
    let _ = out.flush();
}

/// Writes a line to stderr: everything that is not a result.
pub fn say_aside(line: &str) {
    let _ = writeln!(std::io::stderr(), "{}", harmless(line));
}

/// `name  value`, as a line of a sheet; an empty value is shown as `-`.
pub fn line(name: &str, value: &str) -> String {
    let value = if value.is_empty() { "-" } else { value };
    format!("{name:<12}  {}\n", plain(value))
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
        let cell = |text: String| if text.is_empty() { "-".to_owned() } else { plain(&text) };
        self.rows.push(cells.into_iter().map(cell).collect());
    }
}

impl Table {
    /// The table, cut to the width of the terminal if stdout is one: the widest columns first, so that no line wraps.
    pub fn fit(self) -> String {
        match terminal_columns() {
            Some(columns) => self.within(columns),
            None => self.to_string(),
        }
    }

    fn within(mut self, columns: usize) -> String {
        let count = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widest = |rows: &[Vec<String>], column: usize| {
            rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let mut widths: Vec<usize> = (0..count).map(|column| widest(&self.rows, column)).collect();
        let gaps = 2 * count.saturating_sub(1);
        while widths.iter().sum::<usize>() + gaps > columns {
            // The first column names the row: it stays whole.
            let Some(width) = widths.iter_mut().skip(1).max().filter(|width| **width > CELL_CHARS_MIN) else { break };
            *width -= 1;
        }
        for row in &mut self.rows {
            for (cell, width) in row.iter_mut().zip(&widths) {
                cut(cell, *width);
            }
        }
        let mut text = String::new();
        for line in self.to_string().lines() {
            let mut line = line.to_owned();
            cut(&mut line, columns);
            text.push_str(&line);
            text.push('\n');
        }
        text
    }
}

/// Cuts a text that is longer, and shows that.
fn cut(text: &mut String, chars: usize) {
    if text.chars().count() > chars {
        *text = text.chars().take(chars.saturating_sub(1)).chain(['…']).collect();
    }
}

/// Width of the terminal that shows the results; `None` when they go elsewhere.
fn terminal_columns() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    (size.ws_col > 0).then_some(usize::from(size.ws_col))
}

/// No column is cut below this.
const CELL_CHARS_MIN: usize = 8;

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
    fn a_table_never_wraps_and_cuts_the_widest_column_first() {
        let table = || {
            let mut table = Table::new(&["NAME", "POOL", "COMPONENTS"]);
            table.row(["a-long-name-of-a-host".to_owned(), "blue".to_owned(), "x".repeat(100)]);
            table
        };
        for columns in [20, 40, 60, 200] {
            let text = table().within(columns);
            assert!(text.lines().all(|line| line.chars().count() <= columns), "{columns}: {text}");
        }
        let text = table().within(60);
        assert!(text.contains("a-long-name-of-a-host  blue") && text.contains('…'), "{text}");
        assert!(!table().within(200).contains('…'));
    }

    /// A host name that paints, forges a line of the sheet, and uses an 8-bit control and a change of direction.
    const EVIL: &str = "evil\u{1b}[31m\nlife          forged\u{9b}2J\u{202e}";

    #[test]
    fn what_a_host_says_neither_steers_the_terminal_nor_makes_a_line() {
        assert_eq!(plain(EVIL), "evil\u{fffd}[31m\u{fffd}life          forged\u{fffd}2J\u{fffd}");
        assert_eq!(line("host", EVIL).lines().count(), 1);
        assert_eq!(line("host", ""), "host          -\n");
        let mut table = Table::new(&["NAME"]);
        table.row([EVIL.to_owned()]);
        assert_eq!(table.to_string().lines().count(), 2);
        let json = json_line(&EVIL.into());
        assert!(!json.contains(steers), "{json}");
        assert_eq!(serde_json::from_str::<String>(&json).ok().as_deref(), Some(EVIL));
    }

    #[test]
    fn a_failed_result_is_printed_and_fails() {
        let output = Output::new(&1, "").but_failed("one of two");
        assert!(matches!(output.print(true), Err(CliError::Outcome(why)) if why == "one of two"));
    }
}
