//! Takes the keys of a recipe one by one and collects what is wrong, so that all problems are told at once.

use super::recipe::Problem;
use std::collections::{BTreeMap, BTreeSet};
use toml::{Table, Value};

pub(super) struct Reader {
    table: Table,
    known: BTreeSet<String>,
    problems: Vec<Problem>,
}

impl Reader {
    pub(super) fn new(table: Table) -> Self {
        Self { table, known: BTreeSet::new(), problems: Vec::new() }
    }

    pub(super) fn problem(&mut self, key: &str, problem: impl Into<String>) {
        self.problems.push(Problem { key: key.to_owned(), problem: problem.into() });
    }

    /// Whether the section stands in the file. A key of that name that is no section is a problem.
    pub(super) fn section(&mut self, name: &str) -> bool {
        let is_table = self.table.get(name).map(Value::is_table);
        if is_table == Some(false) {
            self.known.insert(name.to_owned());
            self.problem(name, format!("must be a section, [{name}]"));
        }
        is_table == Some(true)
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        self.take(key, "must be a text in quotes", |value| value.as_str().map(str::to_owned))
    }

    pub(super) fn parsed<T>(&mut self, key: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let text = self.text(key)?;
        parse(&text).map_err(|problem| self.problem(key, problem)).ok()
    }

    pub(super) fn flag(&mut self, key: &str) -> Option<bool> {
        self.take(key, "must be true or false", Value::as_bool)
    }

    /// A whole number from `least` to `most`.
    pub(super) fn number(&mut self, key: &str, least: u64, most: u64) -> Option<u64> {
        let wrong = format!("must be a whole number from {least} to {most}");
        let in_range = |n: &u64| (least..=most).contains(n);
        self.take(key, &wrong, |value| u64::try_from(value.as_integer()?).ok().filter(in_range))
    }

    /// A number of seconds, also with a fraction, above zero.
    pub(super) fn seconds(&mut self, key: &str, most: u32) -> Option<std::time::Duration> {
        let wrong = format!("must be a number of seconds above 0 and at most {most}");
        self.take(key, &wrong, |value| {
            #[expect(clippy::cast_precision_loss, reason = "larger numbers are refused right below")]
            let seconds = value.as_float().or_else(|| value.as_integer().map(|n| n as f64))?;
            (seconds > 0.0 && seconds <= f64::from(most)).then(|| std::time::Duration::from_secs_f64(seconds))
        })
    }

    pub(super) fn texts(&mut self, key: &str) -> Option<Vec<String>> {
        self.take(key, "must be a list of texts, for example [\"a\", \"b\"]", |value| {
            value.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect()
        })
    }

    pub(super) fn ports(&mut self, key: &str) -> Option<Vec<u16>> {
        self.take(key, "must be a list of ports from 1 to 65535, for example [80, 443]", |value| {
            let port = |item: &Value| u16::try_from(item.as_integer()?).ok().filter(|port| *port > 0);
            value.as_array()?.iter().map(port).collect()
        })
    }

    pub(super) fn pairs(&mut self, key: &str) -> Option<BTreeMap<String, String>> {
        self.take(key, "must be a table of texts, for example { MODE = \"fast\" }", |value| {
            let pair = |(name, value): (&String, &Value)| Some((name.clone(), value.as_str()?.to_owned()));
            value.as_table()?.iter().map(pair).collect()
        })
    }

    /// Unknown keys are problems too: a misspelt `timeout` must not be a silent default.
    pub(super) fn finish(mut self) -> Vec<Problem> {
        let mut unknown = Vec::new();
        for (name, value) in &self.table {
            match value.as_table() {
                Some(section) => unknown.extend(section.keys().map(|inner| format!("{name}.{inner}"))),
                None => unknown.push(name.clone()),
            }
        }
        for key in unknown.into_iter().filter(|key| !self.known.contains(key)) {
            // TOML gives a key to the section above it, also when it was meant to stand alone.
            let alone = key.split_once('.').map(|(_, name)| name).filter(|name| self.known.contains(*name));
            let problem = match alone {
                Some(name) => format!("{name} belongs before the first [section]"),
                None => "no key of a recipe has this name".to_owned(),
            };
            self.problems.push(Problem { key, problem });
        }
        self.problems
    }

    fn take<T>(&mut self, key: &str, wrong: &str, read: impl FnOnce(&Value) -> Option<T>) -> Option<T> {
        self.known.insert(key.to_owned());
        let value = self.find(key)?;
        let taken = read(value);
        if taken.is_none() {
            self.problem(key, wrong);
        }
        taken
    }

    fn find(&self, key: &str) -> Option<&Value> {
        match key.split_once('.') {
            Some((section, name)) => self.table.get(section)?.as_table()?.get(name),
            None => self.table.get(key),
        }
    }
}
