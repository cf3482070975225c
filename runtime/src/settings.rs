//! Settings files: raw text first, then checked, with every problem reported at once.

use std::fmt;
use std::path::{Path, PathBuf};

/// A variable of the environment, when it is set, not empty and UTF-8.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// One thing that is wrong with a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key, `section.name`.
    pub key: String,
    /// The value as found; `None` when the key is missing.
    pub found: Option<String>,
    /// Where it was found: `file F, line N`, `environment`, `flag --x`.
    pub origin: String,
    /// What is wrong and what would be right.
    pub problem: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.found {
            Some(found) => write!(f, "{} = {found}  ({}): {}", self.key, self.origin, self.problem),
            None => write!(f, "{}  ({}): {}", self.key, self.origin, self.problem),
        }
    }
}

/// Everything that is wrong with a settings file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsError {
    /// The problems, in the order of the file.
    pub problems: Vec<Problem>,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.problems.len();
        write!(f, "settings are not usable ({count} problem{})", if count == 1 { "" } else { "s" })?;
        for problem in &self.problems {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for SettingsError {}

/// A settings file being checked: takes keys one by one and collects what is wrong.
#[derive(Debug)]
pub struct SettingsFile {
    path: PathBuf,
    text: String,
    table: toml::Table,
    known: Vec<String>,
    problems: Vec<Problem>,
}

impl SettingsFile {
    /// Reads a file.
    ///
    /// Errors: unreadable or not TOML, as one problem that names the file and, where known, the line.
    pub fn read(path: &Path) -> Result<Self, SettingsError> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            one(path.display().to_string(), None, "file".into(), format!("cannot be read: {error}"))
        })?;
        Self::parse(path, text)
    }

    /// Reads the text of a file; `path` is only for messages.
    pub fn parse(path: &Path, text: String) -> Result<Self, SettingsError> {
        let table = text.parse::<toml::Table>().map_err(|error| {
            let line = error.span().map_or(1, |span| line_of(&text, span.start));
            let origin = format!("file {}, line {line}", path.display());
            one("(syntax)".into(), None, origin, format!("not TOML: {}", error.message()))
        })?;
        Ok(Self { path: path.to_owned(), text, table, known: Vec::new(), problems: Vec::new() })
    }

    /// Takes `section.name` (or a top-level `name`) through `check`; `default` when it is absent.
    ///
    /// `check` gets the value as text (numbers and booleans too). A problem is remembered, and the default returned.
    pub fn take<T>(&mut self, key: &str, default: T, check: impl FnOnce(&str) -> Result<T, String>) -> T {
        self.take_shown(key, default, true, check)
    }

    /// As [`SettingsFile::take`], for a value that may hold a password: no problem repeats it.
    pub fn take_secret<T>(&mut self, key: &str, default: T, check: impl FnOnce(&str) -> Result<T, String>) -> T {
        self.take_shown(key, default, false, check)
    }

    fn take_shown<T>(
        &mut self,
        key: &str,
        default: T,
        is_shown: bool,
        check: impl FnOnce(&str) -> Result<T, String>,
    ) -> T {
        self.known.push(key.to_owned());
        let Some(value) = self.find(key) else { return default };
        let text = match value {
            toml::Value::String(text) => text.clone(),
            toml::Value::Integer(_) | toml::Value::Float(_) | toml::Value::Boolean(_) => value.to_string(),
            other => {
                let found = Some(other.type_str().to_owned());
                self.problem(key, found, "must be a single value".into());
                return default;
            }
        };
        let found = if is_shown { value.to_string() } else { "(not shown)".to_owned() };
        match check(&text) {
            Ok(value) => value,
            Err(problem) => {
                self.problem(key, Some(found), problem);
                default
            }
        }
    }

    /// Takes a list of texts; an absent key is an empty list.
    pub fn take_list(&mut self, key: &str) -> Vec<String> {
        self.known.push(key.to_owned());
        let Some(value) = self.find(key) else { return Vec::new() };
        let texts = value.as_array().map(|items| items.iter().map(|i| i.as_str().map(str::to_owned)).collect());
        match texts {
            Some(Some(texts)) => texts,
            _ => {
                let found = Some(value.to_string());
                self.problem(key, found, "must be a list of texts, for example [\"a\", \"b\"]".into());
                Vec::new()
            }
        }
    }

    /// Whether the file has the key.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    /// Notes a problem with something that was not found in the file, for example in the environment.
    pub fn problem_elsewhere(&mut self, key: &str, origin: &str, problem: String) {
        self.problems.push(Problem { key: key.to_owned(), found: None, origin: origin.to_owned(), problem });
    }

    /// Notes a problem with `key`, for rules that span several keys or that `take` cannot see.
    pub fn problem(&mut self, key: &str, found: Option<String>, problem: String) {
        let name = key.rsplit('.').next().unwrap_or(key);
        let at = self.text.lines().position(|line| line.split('=').next().is_some_and(|left| left.trim() == name));
        let line = at.map(|at| format!(", line {}", at + 1)).unwrap_or_default();
        let origin = format!("file {}{line}", self.path.display());
        self.problems.push(Problem { key: key.to_owned(), found, origin, problem });
    }

    /// Ends the check: unknown keys are problems too.
    pub fn finish(mut self) -> Result<(), SettingsError> {
        for key in keys(&self.table) {
            if !self.known.contains(&key) {
                let close = self.known.iter().find(|known| known.rsplit('.').next() == key.rsplit('.').next());
                let hint = match close {
                    Some(known) => format!("no setting has this name; is {known} meant?"),
                    None => "no setting has this name".to_owned(),
                };
                self.problem(&key, None, hint);
            }
        }
        if self.problems.is_empty() { Ok(()) } else { Err(SettingsError { problems: self.problems }) }
    }

    fn find(&self, key: &str) -> Option<&toml::Value> {
        match key.split_once('.') {
            Some((section, name)) => self.table.get(section)?.as_table()?.get(name),
            None => self.table.get(key),
        }
    }
}

fn one(key: String, found: Option<String>, origin: String, problem: String) -> SettingsError {
    SettingsError { problems: vec![Problem { key, found, origin, problem }] }
}

fn line_of(text: &str, byte: usize) -> usize {
    text.as_bytes().iter().take(byte).filter(|b| **b == b'\n').count() + 1
}

/// Every key of a settings table, `section.name`; settings are at most two levels deep.
fn keys(table: &toml::Table) -> Vec<String> {
    let mut keys = Vec::new();
    for (name, value) in table {
        match value.as_table() {
            Some(section) => keys.extend(section.keys().map(|inner| format!("{name}.{inner}"))),
            None => keys.push(name.clone()),
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn port(text: &str) -> Result<u16, String> {
        text.parse().map_err(|_| "must be a number from 0 to 65535".to_owned())
    }

    #[test]
    fn every_problem_is_reported_at_once() {
        let text = "[listener]\nport = 99999\nnames = 3\n[store]\ncache = [1]\ncolour = \"red\"\n";
        let mut file = SettingsFile::parse(Path::new("muster.toml"), text.into()).unwrap();
        assert_eq!(file.take("listener.port", 1, port), 1);
        assert_eq!(file.take_list("listener.names"), Vec::<String>::new());
        assert_eq!(file.take("store.cache", 7, port), 7);
        let message = file.finish().unwrap_err().to_string();
        assert_eq!(
            message,
            "settings are not usable (4 problems)\n  \
             listener.port = 99999  (file muster.toml, line 2): must be a number from 0 to 65535\n  \
             listener.names = 3  (file muster.toml, line 3): must be a list of texts, for example [\"a\", \"b\"]\n  \
             store.cache = array  (file muster.toml, line 5): must be a single value\n  \
             store.colour  (file muster.toml, line 6): no setting has this name"
        );
    }

    #[test]
    fn a_secret_is_not_repeated() {
        let mut file = SettingsFile::parse(Path::new("x"), "password = \"geheim\"\n".into()).unwrap();
        assert!(file.has("password") && !file.has("user"));
        file.take_secret("password", (), |_| Err("is too short".to_owned()));
        file.problem_elsewhere("HTTPS_PROXY", "environment", "is no URL".to_owned());
        let message = file.finish().unwrap_err().to_string();
        assert!(message.contains("password = (not shown)  (file x, line 1): is too short"), "{message}");
        assert!(message.contains("HTTPS_PROXY  (environment): is no URL"), "{message}");
    }

    #[test]
    fn defaults_fill_what_is_absent() {
        let mut file = SettingsFile::parse(Path::new("x"), String::new()).unwrap();
        assert_eq!(file.take("listener.port", 8443, port), 8443);
        assert_eq!(file.finish(), Ok(()));
    }

    #[test]
    fn a_file_that_is_not_toml_names_the_line() {
        let error = SettingsFile::parse(Path::new("x"), "a = 1\nb = = 2\n".into()).unwrap_err();
        assert!(error.to_string().contains("file x, line 2): not TOML"), "{error}");
    }
}
