//! `verify`: every check of the project in order, each named and timed; the first failure ends the run.

mod fuzz;
mod node;
mod packages;
mod python;
mod report;
mod shell;
mod windows;

use std::fs;
use std::process::ExitCode;
use std::time::Instant;

use crate::demo::BUILD_BINARIES;
use crate::tree::Tree;
use crate::{say, say_aside};
use report::{Outcome, Report};

/// One named check.
pub struct Step {
    /// What `--only` calls it.
    pub name: &'static str,
    /// What holds when it passes.
    pub claim: &'static str,
    actions: &'static [Action],
}

enum Action {
    /// Cargo with these arguments and these settings in its environment.
    Cargo { env: &'static [(&'static str, &'static str)], args: &'static [&'static str] },
    /// A copy of a built binary under a second name.
    Keep { binary: &'static str, name: &'static str },
    /// Debian packages whose programs the tests drive.
    Packages,
    /// A Python environment with the foreign clients of the tests, where there is a Python.
    Python,
    /// MQTT.js for the tests, where there is a Node.
    Node,
    /// shellcheck on every shell script, where it is installed.
    Shellcheck,
    /// A check for Windows, where the packages for it are installed and it was asked for.
    Windows,
    /// Every fuzz target for some seconds.
    Fuzz,
}

/// The checks, in the order in which they run: the quick ones first, the binaries before the tests that start them.
pub const STEPS: &[Step] = &[
    Step { name: "fmt", claim: "every file is formatted", actions: &[cargo(&["fmt", "--all", "--check"])] },
    Step {
        name: "clippy",
        claim: "no compiler or clippy warning",
        actions: &[cargo(&["clippy", "--release", "--workspace", "--all-targets", "--", "-D", "warnings"])],
    },
    Step { name: "build", claim: "the programs build", actions: &[cargo(BUILD_BINARIES)] },
    Step {
        name: "faults",
        claim: "the agent and the server build with fault points",
        // The last build puts the ordinary programs back in their place.
        actions: &[
            cargo(&["build", "--release", "-p", "muster-agent", "--features", "faults"]),
            Action::Keep { binary: "muster-agent", name: "muster-agent-faults" },
            cargo(&["build", "--release", "-p", "muster-cli", "--features", "faults"]),
            Action::Keep { binary: "muster", name: "muster-faults" },
            cargo(BUILD_BINARIES),
        ],
    },
    Step { name: "packages", claim: "the programs that the tests drive are there", actions: &[Action::Packages] },
    Step { name: "python", claim: "the foreign clients of the tests are there", actions: &[Action::Python] },
    Step { name: "node", claim: "the foreign client for Node is there", actions: &[Action::Node] },
    Step {
        name: "test",
        claim: "unit, property and end-to-end tests pass",
        actions: &[cargo(&["test", "--release", "--workspace"])],
    },
    Step {
        name: "doc",
        claim: "the documentation builds without a warning",
        actions: &[Action::Cargo {
            env: &[("RUSTDOCFLAGS", "-D warnings")],
            args: &["doc", "--release", "--workspace", "--no-deps"],
        }],
    },
    Step { name: "shell", claim: "shellcheck finds nothing", actions: &[Action::Shellcheck] },
    Step { name: "windows", claim: "the agent type-checks for Windows", actions: &[Action::Windows] },
    Step { name: "fuzz", claim: "no fuzz target finds a fault", actions: &[Action::Fuzz] },
];

const fn cargo(args: &'static [&'static str]) -> Action {
    Action::Cargo { env: &[], args }
}

/// Runs the steps in `only`, or all of them when it is empty, and prints the summary. Each fuzz target runs for
/// `fuzz_seconds`.
pub fn run(tree: &Tree, only: &[&str], fuzz_seconds: Option<u32>) -> Result<ExitCode, String> {
    let chosen: Vec<&Step> = STEPS.iter().filter(|step| only.is_empty() || only.contains(&step.name)).collect();
    let mut report = Report::new(chosen.iter().map(|step| step.name).collect());
    let mut failure = None;
    for step in chosen {
        say(&format!("==> {}: {}", step.name, step.claim));
        let start = Instant::now();
        let done = run_step(tree, step, only.contains(&step.name), fuzz_seconds.unwrap_or(fuzz::SECONDS));
        let outcome = match &done {
            Ok(outcome) => outcome.clone(),
            Err(_) => Outcome::Failed,
        };
        report.record(step.name, outcome, start.elapsed());
        if let Err(problem) = done {
            failure = Some((step, problem));
            break;
        }
    }
    say(&format!("\n{report}"));
    Ok(match failure {
        None => ExitCode::SUCCESS,
        Some((step, problem)) => {
            say_aside(&explain(tree, step, &problem));
            ExitCode::FAILURE
        }
    })
}

fn run_step(tree: &Tree, step: &Step, asked: bool, fuzz_seconds: u32) -> Result<Outcome, String> {
    let mut outcome = Outcome::Passed;
    for action in step.actions {
        match action {
            Action::Cargo { env, args } => {
                let mut command = tree.cargo(args);
                command.envs(env.iter().copied());
                let status = command.status().map_err(|error| format!("cannot start cargo: {error}"))?;
                if !status.success() {
                    return Err(format!("`{}` failed ({status})", by_hand(tree, action)));
                }
            }
            Action::Keep { binary, name } => keep(tree, binary, name)?,
            Action::Packages => outcome = packages::prepare()?,
            Action::Python => outcome = python::prepare(tree)?,
            Action::Node => outcome = node::prepare(tree)?,
            Action::Shellcheck => outcome = shell::check(tree.root())?,
            Action::Windows => outcome = windows::check(tree, asked)?,
            Action::Fuzz => outcome = fuzz::run(tree, fuzz_seconds)?,
        }
    }
    Ok(outcome)
}

/// Written beside its place and renamed into it: the place may hold a program that is running.
fn keep(tree: &Tree, binary: &str, name: &str) -> Result<(), String> {
    let (from, to) = (tree.binary(binary), tree.binary(name));
    let beside = tree.binary(&format!("{name}.new"));
    fs::copy(&from, &beside)
        .and_then(|_| fs::rename(&beside, &to))
        .map_err(|error| format!("cannot copy {} to {}: {error}", from.display(), to.display()))
}

fn explain(tree: &Tree, step: &Step, problem: &str) -> String {
    let mut text = format!(
        "verify failed in step {name}: {problem}\nrepeat it with: cargo verify --only {name}\nor by hand, in {root}:",
        name = step.name,
        root = tree.root().display()
    );
    for action in step.actions {
        text.push_str("\n    ");
        text.push_str(&by_hand(tree, action));
    }
    text
}

/// The action as a line for a shell.
fn by_hand(tree: &Tree, action: &Action) -> String {
    match action {
        Action::Cargo { env, args } => {
            let mut line = String::new();
            for (key, value) in *env {
                line.push_str(&format!("{key}=\"{value}\" "));
            }
            line + "cargo " + &args.join(" ")
        }
        Action::Keep { binary, name } => {
            format!("cp '{}' '{}'", tree.binary(binary).display(), tree.binary(name).display())
        }
        Action::Packages => packages::by_hand(),
        Action::Python => {
            let folder = tree.target().join("python");
            let folder = folder.display();
            format!("python3 -m venv '{folder}' && '{folder}/bin/python' -m pip install -r {}", python::REQUIREMENTS)
        }
        Action::Node => {
            let folder = tree.target().join("node");
            let (folder, source) = (folder.display(), node::SOURCE);
            format!(
                "mkdir -p '{folder}' && cp {source}/package*.json '{folder}' && npm --prefix '{folder}' {}",
                node::ARGUMENTS
            )
        }
        Action::Shellcheck => format!("shellcheck {}", shell::PATTERNS),
        Action::Windows => {
            let folder = tree.target().join("windows");
            let variables = windows::ENVIRONMENT.map(|(name, value)| format!("{name}={value}")).join(" ");
            format!("CARGO_TARGET_DIR='{}' {variables} /usr/bin/cargo {}", folder.display(), windows::ARGUMENTS)
        }
        Action::Fuzz => format!("cargo +nightly fuzz run --fuzz-dir {} --sanitizer none NAME", fuzz::FOLDER),
    }
}
