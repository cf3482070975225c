//! A golden file of commands that fail: what was typed, the exit code, and what was said.

use muster_tests::fleet::{Fleet, Output, Programs};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Longer than any command here waits for anything.
const DEADLINE: Duration = Duration::from_secs(120);
/// Decide how the server is reached, and are not to.
const ENVIRONMENT: [&str; 5] = ["MUSTER_DATA", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"];

/// Collects what programs say, and compares it with `tests/golden/errors/NAME.txt` at the end.
pub struct Book {
    name: &'static str,
    programs: Programs,
    data: PathBuf,
    /// What changes from run to run, and what stands for it.
    masks: Vec<(String, String)>,
    text: String,
}

impl Book {
    /// An empty book.
    pub fn new(name: &'static str, fleet: &Fleet) -> Self {
        let root = fleet.root().to_str().expect("the temporary folder has a plain name").to_owned();
        let here = env!("CARGO_MANIFEST_DIR").to_owned();
        // A hint names the program by its path.
        let agent = fleet.programs().agent.display().to_string();
        let masks = [(agent, "muster-agent"), (root, "{root}"), (here, "{here}")];
        let masks = masks.map(|(text, stands)| (text, stands.to_owned())).into();
        let mut book =
            Self { name, programs: fleet.programs().clone(), data: fleet.data(), masks, text: String::new() };
        if let Some(address) = fleet.known_address() {
            book.mask_port(address.port(), "{port}");
        }
        book
    }

    /// From now on this stands for that.
    pub fn mask(&mut self, text: &str, stands: &str) {
        self.masks.push((text.to_owned(), stands.to_owned()));
    }

    /// The same of a port behind an address: without its colon, any number in another text might be it.
    pub fn mask_port(&mut self, port: u16, stands: &str) {
        self.mask(&format!(":{port}"), &format!(":{stands}"));
    }

    /// `muster WORDS` on the data folder of the fleet must fail.
    #[track_caller]
    pub fn muster(&mut self, words: &[&str]) {
        let mut command = Command::new(&self.programs.muster);
        command.args(words).arg("--data").arg(&self.data);
        self.note("muster", words, command);
    }

    /// `muster WORDS` and nothing else must fail.
    #[track_caller]
    pub fn muster_alone(&mut self, words: &[&str]) {
        let mut command = Command::new(&self.programs.muster);
        command.args(words);
        self.note("muster", words, command);
    }

    /// `muster-agent WORDS` must fail.
    #[track_caller]
    pub fn agent(&mut self, words: &[&str]) {
        let mut command = Command::new(&self.programs.agent);
        command.args(words);
        self.note("muster-agent", words, command);
    }

    #[track_caller]
    fn note(&mut self, program: &str, words: &[&str], mut command: Command) {
        for variable in ENVIRONMENT {
            command.env_remove(variable);
        }
        let output = Output::of(command, DEADLINE);
        let typed: Vec<String> = words.iter().map(|word| quoted(word)).collect();
        let code = output.code.unwrap_or_else(|| panic!("{} was killed:\n{}", output.command, output.stderr));
        assert_ne!(code, 0, "{} was to fail and said:\n{}", output.command, output.stdout);
        for internal in ["panicked", "Os {", "RUST_BACKTRACE"] {
            assert!(!output.stderr.contains(internal), "{} said:\n{}", output.command, output.stderr);
        }
        // Usage is pinned with the help, and a log is no error.
        let is_error =
            |line: &&str| !line.starts_with("Usage: ") && !line.contains(" INFO ") && !line.contains(" WARN ");
        let said: Vec<&str> = output.stderr.trim_end().lines().filter(is_error).collect();
        let said = said.join("\n").replace("\n\n\n", "\n\n");
        let block = format!("$ {program} {}\n{said}\n[exit code {code}]\n\n", typed.join(" "));
        let _ = write!(self.text, "{}", self.masked(&block));
    }

    fn masked(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (found, stands) in &self.masks {
            text = text.replace(found, stands);
        }
        without_times(&text)
    }

    /// Compares, or writes the file anew with `MUSTER_GOLDEN=write`.
    #[track_caller]
    pub fn finish(self) {
        let file = golden().join(format!("{}.txt", self.name));
        #[expect(clippy::disallowed_methods, reason = "a switch of this test alone")]
        let write = std::env::var("MUSTER_GOLDEN").is_ok_and(|value| value == "write");
        if write {
            fs::create_dir_all(golden()).expect("the folder of golden files");
            fs::write(&file, &self.text).expect("a golden file");
        }
        let expected = fs::read_to_string(&file).unwrap_or_default();
        let (found, expected): (Vec<&str>, Vec<&str>) = (blocks(&self.text), blocks(&expected));
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(found, expected, "{} says something else; MUSTER_GOLDEN=write takes it over", file.display());
        }
        assert_eq!(found.len(), expected.len(), "{} has another number of commands", file.display());
    }
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/errors")
}

fn blocks(text: &str) -> Vec<&str> {
    text.split("\n\n$ ").collect()
}

/// As it would be typed.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:={},@%+\n".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.to_owned() } else { format!("'{word}'") }
}

/// Puts `{time}` where a time is, as in 2026-11-22T04:59:25.549Z.
fn without_times(text: &str) -> String {
    let mut masked = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("20") {
        let (before, from) = rest.split_at(at);
        masked.push_str(before);
        let length = from.find(|c: char| !(c.is_ascii_digit() || "-:.T".contains(c))).unwrap_or(from.len());
        let is_time = length >= 19 && from[..length].contains('T') && from[length..].starts_with('Z');
        let taken = if is_time { length + 1 } else { 2 };
        masked.push_str(if is_time { "{time}" } else { "20" });
        rest = &from[taken..];
    }
    masked.push_str(rest);
    masked
}
