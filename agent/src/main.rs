//! `muster-agent` runs on a connector: it enrols the host, keeps one connection to the server, and installs, starts,
//! watches, upgrades and rolls back the components that the server orders.
//!
//! `brain` holds the rules as pure functions, `hands` touch the host, `link` speaks with the server, `agent` joins them.
//! Invariants: what changes the host is journaled before it is done, and can be done twice; a component is wholly of one
//! version at every moment; the server hears facts of the running process, never intentions.

mod agent;
mod args;
mod brain;
mod check;
mod counter;
mod dial;
mod enrol;
mod hands;
mod host;
mod identity;
mod link;
mod places;
mod platform;
mod reports;
mod run;
mod settings;
mod status;
mod trial;
mod upgrader;

use crate::args::{Args, Verb};
use crate::places::Prefix;
use clap::Parser;
use muster_runtime::clock::Clock;
use muster_runtime::failure::Failure;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    // Exit code 2 for mistakes in the arguments is clap's own.
    let args = Args::parse();
    // One thread is enough and costs the least; what blocks for long goes to a few short-lived ones.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(2)
        .thread_stack_size(512 * 1024)
        .thread_keep_alive(std::time::Duration::from_secs(5))
        .build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(dispatch(args)),
        Err(error) => Err(Failure::local_because("cannot start the runtime", error)),
    };
    match done {
        Ok(text) if text.is_empty() => ExitCode::SUCCESS,
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("muster-agent: {}", failure.chain());
            failure.exit_code()
        }
    }
}

async fn dispatch(args: Args) -> Result<String, Failure> {
    match args.verb {
        Verb::Enrol(enrol) => enrol::enrol(enrol, &Clock::system()).await,
        Verb::Run(run) => run::run(&prefix(&run.prefix)?).await.map(|()| String::new()),
        Verb::Check(args) => {
            let report = check::check(&args, &prefix(&args.prefix)?, &Clock::system()).await?;
            let text = match args.json {
                true => serde_json::to_string_pretty(&report)
                    .map_err(|error| Failure::local_because("cannot print the checks", error))?,
                false => report.to_string(),
            };
            // The results belong on standard output also when some of them failed.
            println!("{text}");
            report.outcome().map(|()| String::new())
        }
        Verb::Reload(args) => run::reload(&prefix(&args.prefix)?),
        Verb::Status(args) => {
            let status = status::status(&prefix(&args.prefix)?)?;
            if args.json {
                serde_json::to_string_pretty(&status)
                    .map_err(|error| Failure::local_because("cannot print the status", error))
            } else {
                Ok(status.to_string())
            }
        }
    }
}

fn prefix(path: &Path) -> Result<Prefix, Failure> {
    Prefix::new(path)
        .map_err(|error| Failure::local_because(format!("--prefix {} is not usable", path.display()), error))
}
