//! The command line of the task runner.

use std::ffi::OsString;

use crate::verify;

/// What the caller asked for.
#[derive(Debug, PartialEq, Eq)]
pub enum Task {
    /// Print the usage text.
    Help,
    /// Build the binaries, then become `muster demo` with these arguments.
    Demo(Vec<OsString>),
    /// Run the checks with these names, or all of them when there are none.
    Verify {
        /// Names of steps.
        only: Vec<&'static str>,
        /// How long each fuzz target runs, if not as usual.
        fuzz_seconds: Option<u32>,
    },
}

/// Shown for `--help` and after a mistake.
pub const USAGE: &str = "\
usage: cargo demo [--] [ARGS of `muster demo`]
       cargo verify [--only STEP]... [--fuzz-seconds N]

Each fuzz target runs for N seconds (10).
`cargo verify` runs, in this order: fmt clippy build faults packages python node test doc shell windows fuzz";

/// Reads the words after the program name. A `--` between the task and its arguments is dropped,
/// so that `cargo demo -- --once` and `cargo demo --once` mean the same.
pub fn parse(words: Vec<OsString>) -> Result<Task, String> {
    let mut words = words.into_iter();
    let Some(task) = words.next() else {
        return Err("a task is missing".to_owned());
    };
    let mut rest: Vec<OsString> = words.collect();
    if rest.first().is_some_and(|word| word == "--") {
        rest.remove(0);
    }
    match task.to_str() {
        Some("demo") => Ok(Task::Demo(rest)),
        Some("verify") => parse_verify(&rest),
        Some("help" | "--help" | "-h") => Ok(Task::Help),
        _ => Err(format!("there is no task {task:?}")),
    }
}

fn parse_verify(words: &[OsString]) -> Result<Task, String> {
    let (mut only, mut fuzz_seconds) = (Vec::new(), None);
    let mut words = words.iter().map(|word| word.to_string_lossy().into_owned());
    while let Some(word) = words.next() {
        let (option, value) = match word.split_once('=') {
            Some((option, value)) => (option, Some(value.to_owned())),
            None => (word.as_str(), None),
        };
        match option {
            "--only" => {
                let name = value.or_else(|| words.next()).ok_or("--only needs the name of a step")?;
                match verify::STEPS.iter().find(|step| step.name == name) {
                    Some(step) => only.push(step.name),
                    None => return Err(format!("`verify` has no step {name:?}")),
                }
            }
            "--fuzz-seconds" => {
                let seconds = value.or_else(|| words.next()).and_then(|value| value.parse().ok());
                fuzz_seconds = Some(seconds.ok_or("--fuzz-seconds needs a number")?);
            }
            "--help" | "-h" => return Ok(Task::Help),
            _ => return Err(format!("`verify` does not know {word:?}")),
        }
    }
    Ok(Task::Verify { only, fuzz_seconds })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_words(words: &[&str]) -> Result<Task, String> {
        parse(words.iter().map(OsString::from).collect())
    }

    #[test]
    fn a_double_dash_before_the_arguments_of_the_demo_changes_nothing() {
        let want = Ok(Task::Demo(vec!["--once".into(), "--json".into()]));
        assert_eq!(parse_words(&["demo", "--once", "--json"]), want);
        assert_eq!(parse_words(&["demo", "--", "--once", "--json"]), want);
    }

    #[test]
    fn only_the_first_double_dash_is_dropped() {
        let want = Ok(Task::Demo(vec!["--once".into(), "--".into(), "x".into()]));
        assert_eq!(parse_words(&["demo", "--", "--once", "--", "x"]), want);
    }

    #[test]
    fn verify_takes_steps_by_name_in_both_spellings() {
        let want = Ok(Task::Verify { only: vec!["fmt", "doc"], fuzz_seconds: None });
        assert_eq!(parse_words(&["verify", "--only", "fmt", "--only=doc"]), want);
        assert_eq!(parse_words(&["verify", "--", "--only", "fmt", "--only", "doc"]), want);
        assert_eq!(parse_words(&["verify"]), Ok(Task::Verify { only: Vec::new(), fuzz_seconds: None }));
        let want = Ok(Task::Verify { only: vec!["fuzz"], fuzz_seconds: Some(600) });
        assert_eq!(parse_words(&["verify", "--only=fuzz", "--fuzz-seconds=600"]), want);
        assert_eq!(parse_words(&["verify", "--only", "fuzz", "--fuzz-seconds", "600"]), want);
    }

    #[test]
    fn mistakes_are_named() {
        for (words, want) in [
            (&[][..], "a task is missing"),
            (&["demos"], "there is no task \"demos\""),
            (&["verify", "--only"], "--only needs the name of a step"),
            (&["verify", "--fuzz-seconds", "long"], "--fuzz-seconds needs a number"),
            (&["verify", "--only", "lint"], "`verify` has no step \"lint\""),
            (&["verify", "fmt"], "`verify` does not know \"fmt\""),
        ] {
            assert_eq!(parse_words(words), Err(want.to_owned()), "{words:?}");
        }
    }

    #[test]
    fn the_usage_text_names_every_step_in_order() {
        let names: Vec<&str> = verify::STEPS.iter().map(|step| step.name).collect();
        assert!(USAGE.ends_with(&format!("in this order: {}", names.join(" "))));
    }
}
