//! The recipe of a component, `component.toml`: what it is, how to start, stop and probe it, what it needs.
//!
//! ```toml
//! name = "greeter"
//! version = "1.0.0"
//! description = "Says hello"
//! soak_s = 10                        # the probe must pass this long before an upgrade counts
//! supervision = "process"            # the agent runs it, in its own process group
//!
//! [start]
//! command = ["bin/greeter", "serve", "--version", "{version}", "--port-file", "{data}/port"]
//! env = { MODE = "fast" }
//!
//! [install]                          # before the old version is stopped; may run twice after a power cut
//! command = ["bin/prepare", "{data}"]
//! timeout_s = 60
//!
//! [stop]                             # without a command: SIGTERM to the process group
//! timeout_s = 10                     # then SIGKILL
//!
//! [health]
//! http = "/health"                   # or tcp = true, or command = [...]
//! port_file = "port"                 # or port = 8080
//! interval_s = 0.5
//! timeout_s = 2
//! failures = 3                       # in a row make it unhealthy
//! start_timeout_s = 30               # the first pass must be there by then
//!
//! [prechecks]
//! disk_mb = 100
//! memory_mb = 64
//! os = ["linux"]
//! ports = [8080]
//!
//! [logs]
//! files = ["greeter.log"]            # relative to the data folder
//! ```
//! A relative program lies inside the version's folder. Arguments and values of `env` may use `{version}`, `{dir}` (the
//! version's folder) and `{data}` (kept across versions); any other text in braces stays as it is. Every command finds
//! `MUSTER_COMPONENT`, `MUSTER_VERSION` and `MUSTER_DATA` in its environment and ends with an [`ExitMeaning`].

use super::path::check_inside;
use super::probe::{Health, PortSource, Probe, SECONDS_MAX};
use super::reader::Reader;
use muster_wire::id::{ComponentName, Version};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// A checked recipe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// Component.
    pub name: ComponentName,
    /// Version.
    pub version: Version,
    /// Free text for people.
    pub description: String,
    /// How long the probe must pass before an upgrade counts, in seconds.
    pub soak_s: u32,
    /// What runs.
    pub start: Start,
    /// Runs before the version is used for the first time; after a crash it may run again.
    pub install: Option<Lifecycle>,
    /// How it is asked to end.
    pub stop: Stop,
    /// Runs when the component is taken off the host; never as a part of an upgrade.
    pub uninstall: Option<Lifecycle>,
    /// How to tell that it works.
    pub health: Health,
    /// What the host must have before anything is changed.
    pub prechecks: Prechecks,
    /// Log files that people may ask for, relative to the data folder.
    pub log_files: Vec<String>,
}

/// The long-running command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Variables beside those that every command gets.
    pub env: BTreeMap<String, String>,
}

/// A command that runs to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lifecycle {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// It must be over by then; 60 s by default.
    pub timeout: Duration,
}

/// How a component is asked to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// A command of its own; without one the process group gets SIGTERM.
    pub argv: Option<Vec<String>>,
    /// What still runs after that is killed; 10 s by default.
    pub timeout: Duration,
}

/// What the host must have; checked before anything is changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prechecks {
    /// Free disk space.
    pub disk_mb: u64,
    /// Free memory.
    pub memory_mb: u64,
    /// Operating systems it runs on (`linux`, `macos`, `windows`); empty means any.
    pub os: Vec<String>,
    /// Ports that nobody but the version before it may hold.
    pub ports: Vec<u16>,
}

/// What the exit code of a lifecycle command says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitMeaning {
    /// 0.
    Done,
    /// 1: called wrongly; trying again is of no use.
    Usage,
    /// 2, any other code, and death by a signal.
    Failed,
    /// 3: not now; the same command may work later.
    TryLater,
}

/// What the placeholders of a recipe stand for.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    /// The version.
    pub version: &'a str,
    /// The version's folder.
    pub dir: &'a str,
    /// The data folder of the component, kept across versions.
    pub data: &'a str,
}

/// One thing that is wrong with a recipe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key, `section.name`.
    pub key: String,
    /// What is wrong and what would be right.
    pub problem: String,
}

/// Everything that is wrong with a recipe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecipeError {
    /// The problems, in the order of the checks.
    pub problems: Vec<Problem>,
}

impl Recipe {
    /// Reads and checks the text of a recipe.
    ///
    /// Errors: every problem at once.
    pub fn parse(text: &str) -> Result<Self, RecipeError> {
        let one = |key: &str, problem: String| RecipeError { problems: vec![Problem { key: key.to_owned(), problem }] };
        if text.len() > super::RECIPE_BYTES_MAX {
            return Err(one("(file)", format!("has more than {} bytes", super::RECIPE_BYTES_MAX)));
        }
        let table = text.parse::<toml::Table>().map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            let line = text.bytes().take(start).filter(|byte| *byte == b'\n').count() + 1;
            one("(syntax)", format!("not TOML, line {line}: {}", error.message()))
        })?;
        let mut reader = Reader::new(table);
        let recipe = Self::read(&mut reader);
        let problems = reader.finish();
        match recipe {
            Some(recipe) if problems.is_empty() => Ok(recipe),
            _ => Err(RecipeError { problems }),
        }
    }

    /// Every part is read before any missing one ends it, so that all problems are found.
    fn read(reader: &mut Reader) -> Option<Self> {
        let name = required(reader, "name", |text| ComponentName::new(text).map_err(|e| e.to_string()));
        let version = required(reader, "version", |text| {
            let version = Version::new(text).map_err(|e| e.to_string())?;
            let reserved = super::RESERVED_VERSIONS.contains(&text);
            if reserved {
                Err(format!("\"{text}\" names a folder of the agent; use another version"))
            } else {
                Ok(version)
            }
        });
        let description = reader.text("description").unwrap_or_default();
        let soak_s = reader.number("soak_s", 0, u64::from(SECONDS_MAX)).and_then(|n| u32::try_from(n).ok());
        supervision(reader);
        let start = start(reader);
        let install = lifecycle(reader, "install");
        let stop = stop(reader);
        let uninstall = lifecycle(reader, "uninstall");
        let health = Health::read(reader);
        let prechecks = prechecks(reader);
        let log_files = log_files(reader);
        Some(Self {
            name: name?,
            version: version?,
            description,
            soak_s: soak_s.unwrap_or(10),
            start: start?,
            install,
            stop,
            uninstall,
            health: health?,
            prechecks,
            log_files,
        })
    }

    /// The programs that the package itself must hold: every relative one.
    pub fn programs(&self) -> impl Iterator<Item = &str> {
        let probe = match &self.health.probe {
            Probe::Command { argv } => Some(argv),
            Probe::Http { .. } | Probe::Tcp { .. } => None,
        };
        let lifecycle = self.install.iter().chain(&self.uninstall).map(|step| &step.argv);
        let commands = std::iter::once(&self.start.argv).chain(lifecycle).chain(&self.stop.argv).chain(probe);
        commands.filter_map(|argv| argv.first()).map(String::as_str).filter(|program| !program.starts_with('/'))
    }

    /// Where the component says it listens, when its probe knows.
    #[must_use]
    pub fn port(&self) -> Option<&PortSource> {
        self.health.port()
    }
}

impl Places<'_> {
    /// Puts the places into one argument or value. What is put in is not looked at again.
    #[must_use]
    pub fn fill(&self, text: &str) -> String {
        let known = [("{version}", self.version), ("{dir}", self.dir), ("{data}", self.data)];
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('{') {
            filled.push_str(&rest[..at]);
            rest = &rest[at..];
            let (replacement, length) = known
                .iter()
                .find(|(name, _)| rest.starts_with(name))
                .map_or(("{", 1), |(name, value)| (value, name.len()));
            filled.push_str(replacement);
            rest = &rest[length..];
        }
        filled.push_str(rest);
        filled
    }
}

impl ExitMeaning {
    /// Reads an exit code; `None` is death by a signal.
    #[must_use]
    pub const fn of(code: Option<i32>) -> Self {
        match code {
            Some(0) => Self::Done,
            Some(1) => Self::Usage,
            Some(3) => Self::TryLater,
            _ => Self::Failed,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.problem)
    }
}

impl fmt::Display for RecipeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.problems.len();
        write!(f, "{} is not usable ({count} problem{})", super::RECIPE_FILE, if count == 1 { "" } else { "s" })?;
        for problem in &self.problems {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for RecipeError {}

/// Reads program and arguments. A relative program must stay inside the version's folder.
pub(super) fn command(reader: &mut Reader, key: &str, needed: bool) -> Option<Vec<String>> {
    let present = reader.has(key);
    let argv = reader.texts(key);
    if !present && needed {
        reader.problem(key, "is missing; give program and arguments, for example [\"bin/tool\", \"--flag\"]");
    }
    let argv = argv?;
    let Some(program) = argv.first() else {
        reader.problem(key, "is empty; give at least a program");
        return None;
    };
    if !program.starts_with('/')
        && let Err(error) = check_inside(program)
    {
        reader.problem(key, error.to_string());
        return None;
    }
    if argv.iter().any(|argument| argument.contains('\0')) {
        reader.problem(key, "holds a NUL character, which no command line can");
        return None;
    }
    Some(argv)
}

fn required<T>(reader: &mut Reader, key: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
    if !reader.has(key) {
        reader.problem(key, "is missing");
    }
    reader.parsed(key, parse)
}

fn supervision(reader: &mut Reader) {
    // There is one kind, so only the check matters.
    let _ = reader.parsed("supervision", |text| match text {
        "process" => Ok(()),
        "systemd" => Err("\"systemd\" is not offered yet; use \"process\": the agent starts and watches it".to_owned()),
        _ => Err("must be \"process\"".to_owned()),
    });
}

fn start(reader: &mut Reader) -> Option<Start> {
    reader.section("start");
    let argv = command(reader, "start.command", true);
    let env = reader.pairs("start.env").unwrap_or_default();
    for name in env.keys() {
        let usable = !name.is_empty() && !name.contains(['=', '\0']);
        if !usable || name.starts_with("MUSTER_") {
            reader.problem("start.env", format!("{name:?} cannot be set; use another name (MUSTER_… is the agent's)"));
        }
    }
    if env.values().any(|value| value.contains('\0')) {
        reader.problem("start.env", "a value holds a NUL character, which no environment can");
    }
    Some(Start { argv: argv?, env })
}

fn lifecycle(reader: &mut Reader, section: &str) -> Option<Lifecycle> {
    if !reader.section(section) {
        return None;
    }
    let argv = command(reader, &format!("{section}.command"), true);
    let timeout = reader.seconds(&format!("{section}.timeout_s"), SECONDS_MAX);
    Some(Lifecycle { argv: argv?, timeout: timeout.unwrap_or(Duration::from_secs(60)) })
}

fn stop(reader: &mut Reader) -> Stop {
    reader.section("stop");
    let argv = command(reader, "stop.command", false);
    let timeout = reader.seconds("stop.timeout_s", SECONDS_MAX);
    Stop { argv, timeout: timeout.unwrap_or(Duration::from_secs(10)) }
}

fn prechecks(reader: &mut Reader) -> Prechecks {
    const MEGABYTES_MAX: u64 = 1 << 30;
    reader.section("prechecks");
    let os = reader.texts("prechecks.os").unwrap_or_default();
    for name in os.iter().filter(|name| !matches!(name.as_str(), "linux" | "macos" | "windows")) {
        reader.problem("prechecks.os", format!("{name:?} is unknown; use \"linux\", \"macos\" or \"windows\""));
    }
    Prechecks {
        disk_mb: reader.number("prechecks.disk_mb", 0, MEGABYTES_MAX).unwrap_or(0),
        memory_mb: reader.number("prechecks.memory_mb", 0, MEGABYTES_MAX).unwrap_or(0),
        os,
        ports: reader.ports("prechecks.ports").unwrap_or_default(),
    }
}

fn log_files(reader: &mut Reader) -> Vec<String> {
    reader.section("logs");
    let files = reader.texts("logs.files").unwrap_or_default();
    for file in &files {
        if let Err(error) = check_inside(file) {
            reader.problem("logs.files", error.to_string());
        }
    }
    files
}

#[cfg(test)]
mod tests;
