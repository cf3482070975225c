//! `muster-agent` runs on a connector: it enrols the host, keeps one connection to the server, and installs, starts,
//! watches, upgrades and rolls back the components that the server orders.
//!
//! `brain` holds the rules as pure functions, `hands` touch the host, `link` speaks with the server, `agent` joins them; `service`
//! keeps it running, `removal` takes it away.
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
mod keeper;
mod keeping;
mod link;
mod lock;
mod places;
mod platform;
mod removal;
mod renew;
mod reports;
mod run;
mod service;
mod settings;
mod standing;
mod status;
mod tls;
mod trial;
mod typed;
mod uninstall;
mod upgrader;

use crate::args::{Args, Place, Verb};
use crate::places::Prefix;
use clap::Parser;
use muster_runtime::clock::Clock;
use muster_runtime::failure::Failure;
use muster_runtime::plain::harmless;
use serde::Serialize;
use std::fmt;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

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
            println!("{}", harmless(&text));
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("muster-agent: {}", harmless(&failure.chain()));
            failure.exit_code()
        }
    }
}

async fn dispatch(args: Args) -> Result<String, Failure> {
    match args.verb {
        Verb::Enrol(enrol) => enrol::enrol(enrol, &Clock::system()).await,
        Verb::Run(run) => run::run(&prefix(&run.place)?).await.map(|()| String::new()),
        Verb::Check(args) => {
            let report = check::check(&args, &prefix(&args.place)?, &Clock::system()).await?;
            // The results belong on standard output also when some of them failed.
            println!("{}", print(&report, args.json)?);
            report.outcome().map(|()| String::new())
        }
        Verb::Install(args) => service::install(&prefix(&args.place)?, args.kind, !args.no_start),
        Verb::Start(place) => service::start(&prefix(&place)?),
        Verb::Stop(place) => service::stop(&prefix(&place)?),
        Verb::Restart(place) => service::restart(&prefix(&place)?),
        Verb::Reload(place) => run::reload(&prefix(&place)?),
        Verb::Renew(place) => renew::renew(&prefix(&place)?).await,
        Verb::Status(args) => {
            let prefix = prefix(&args.place)?;
            if let Some(seconds) = args.wait {
                status::wait(&prefix, Duration::from_secs(seconds)).await?;
            }
            print(&status::status(&prefix)?, args.json)
        }
        Verb::Uninstall(args) => {
            let prefix = prefix(&args.place)?;
            let root = prefix.root().display();
            match uninstall::uninstall(&prefix, &args).await? {
                Some(report) if args.report => print(&report, args.json),
                Some(_) => Ok(format!("the agent is removed from {root}")),
                None => Ok(format!("there is no agent in {root}")),
            }
        }
    }
}

fn print<T: Serialize + fmt::Display>(value: &T, json: bool) -> Result<String, Failure> {
    if json {
        serde_json::to_string_pretty(value).map_err(|error| Failure::local_because("cannot print the answer", error))
    } else {
        Ok(value.to_string())
    }
}

/// The prefix that is named, or the one that this program lies in, or the usual one.
fn prefix(place: &Place) -> Result<Prefix, Failure> {
    let unusable =
        |path: &Path, error| Failure::local_because(format!("--prefix {} is not usable", path.display()), error);
    if let Some(path) = &place.prefix {
        return Prefix::new(path).map_err(|error| unusable(path, error));
    }
    if let Some(prefix) = typed::own().as_deref().and_then(Prefix::of_program) {
        return Ok(prefix);
    }
    let usual =
        platform::default_prefix().ok_or_else(|| Failure::local("there is no usual folder here; add --prefix DIR"))?;
    Prefix::new(&usual).map_err(|error| unusable(&usual, error))
}
