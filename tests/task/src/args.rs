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
    },
}

/// Shown for `--help` and after a mistake.
pub const USAGE: &str = "\
usage: cargo demo [--] [ARGS of `muster demo`]
       cargo verify [--only STEP]...

`cargo verify` runs, in this order: fmt clippy build faults python test doc shell";

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
    let mut only = Vec::new();
    let mut words = words.iter().map(|word| word.to_string_lossy());
    while let Some(word) = words.next() {
        let name = match word.strip_prefix("--only=") {
            Some(name) => name.to_owned(),
            None if word == "--only" => match words.next() {
                Some(name) => name.into_owned(),
                None => return Err("--only needs the name of a step".to_owned()),
            },
            None if word == "--help" || word == "-h" => return Ok(Task::Help),
            None => return Err(format!("`verify` does not know {word:?}")),
        };
        match verify::STEPS.iter().find(|step| step.name == name) {
            Some(step) => only.push(step.name),
            None => return Err(format!("`verify` has no step {name:?}")),
        }
    }
    Ok(Task::Verify { only })
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
        let want = Ok(Task::Verify { only: vec!["fmt", "doc"] });
        assert_eq!(parse_words(&["verify", "--only", "fmt", "--only=doc"]), want);
        assert_eq!(parse_words(&["verify", "--", "--only", "fmt", "--only", "doc"]), want);
        assert_eq!(parse_words(&["verify"]), Ok(Task::Verify { only: Vec::new() }));
    }

    #[test]
    fn mistakes_are_named() {
        for (words, want) in [
            (&[][..], "a task is missing"),
            (&["demos"], "there is no task \"demos\""),
            (&["verify", "--only"], "--only needs the name of a step"),
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
