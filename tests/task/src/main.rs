//! The task runner behind `cargo demo` and `cargo verify`: builds what they need and runs it, with std and cargo alone.
#![allow(
    clippy::disallowed_methods,
    reason = "a build tool outside the product: it times its steps and reads cargo's environment itself"
)]

mod args;
mod demo;
mod tree;
mod verify;

use std::io::Write;
use std::process::ExitCode;

use args::Task;
use tree::Tree;

fn main() -> ExitCode {
    let words = std::env::args_os().skip(1).collect();
    let task = match args::parse(words) {
        Ok(task) => task,
        Err(problem) => {
            say_aside(&format!("{problem}\n\n{}", args::USAGE));
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let done = match task {
        Task::Help => {
            say(args::USAGE);
            Ok(ExitCode::SUCCESS)
        }
        Task::Demo(words) => Tree::find().and_then(|tree| demo::run(&tree, &words)),
        Task::Verify { only, fuzz_seconds } => Tree::find().and_then(|tree| verify::run(&tree, &only, fuzz_seconds)),
    };
    done.unwrap_or_else(|problem| {
        say_aside(&format!("error: {problem}"));
        ExitCode::FAILURE
    })
}

/// Results go to stdout. A reader that has gone away (`cargo verify | head`) is no reason to fail.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Everything that is not a result goes to stderr.
fn say_aside(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

const EXIT_USAGE: u8 = 2;
