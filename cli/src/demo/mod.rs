//! `muster demo`: the whole life of a component, with real processes on this machine.
//!
//! ```text
//! init -> serve -> 3 x (connector add, muster-agent enrol, muster-agent run) -> 3 x component publish
//!      -> upgrade 1.0: confirmed everywhere -> upgrade 1.1: confirmed -> upgrade 1.2: fails its probe, rolled back
//! ```
//! Every stage is read back twice: from the server's views, and from the running components themselves.
//! Invariant: no process outlives the demo, however it ends (SIGKILL of the demo itself excepted).

mod child;
mod fleet;
mod package;
mod screen;
mod stage;

use crate::args::DemoArgs;
use crate::client::Operator;
use crate::command::{Run, add, default_pool, publish, view_filter};
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Output, say, say_aside};
use fleet::{Fleet, Programs};
use muster_runtime::clock::Clock;
use muster_wire::admin::AddConnector;
use muster_wire::id::ThingName;
use screen::Screen;
use serde_json::json;
use stage::{Ending, Stage};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// What was proven.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    deployed: usize,
    upgraded: usize,
    rolled_back: usize,
}

impl Run for DemoArgs {
    fn describe(&self) -> String {
        "show the demo".to_owned()
    }

    fn json(&self) -> bool {
        self.json
    }

    async fn run(self) -> Result<Output, CliError> {
        let programs = Programs::find()?;
        let clock = Clock::system();
        let began = clock.instant();
        let place = Place::make(self.keep.as_deref())?;
        let mut fleet = Fleet::new(place.path(), programs)?;
        let mut screen = Screen::new(self.json, clock);
        let mut tally = Tally::default();
        let mut unwanted = false;
        let told = tokio::select! {
            told = tell(&mut fleet, &mut screen, &mut tally) => told,
            // The story is dropped where it is; the fleet stands outside of it and is stopped below.
            () = interrupted() => {
                unwanted = true;
                Err(CliError::Outcome("it was interrupted".to_owned()))
            }
        };
        screen.clear();
        let seconds = (began.elapsed().as_secs_f64() * 10.0).round() / 10.0;
        if self.json {
            let mut value = json!({
                "ok": told.is_ok(), "connectors": CONNECTORS.len(), "deployed": tally.deployed,
                "upgraded": tally.upgraded, "rolled_back": tally.rolled_back, "seconds": seconds,
            });
            if let Err(error) = &told {
                value["error"] = error.chain().into();
            }
            say(&value.to_string());
        } else if told.is_ok() {
            screen.event(&format!(
                "done in {seconds} s: {} connectors, {} deployed, {} upgraded, {} rolled back",
                CONNECTORS.len(),
                tally.deployed,
                tally.upgraded,
                tally.rolled_back
            ));
        }
        let ended = match told {
            Ok(()) if !self.once => {
                screen.note(&invitation(&fleet));
                tokio::select! {
                    () = interrupted() => Ok(()),
                    // Cancel-safe: it only looks at the children.
                    error = fleet.watch() => Err(error),
                }
            }
            told => told,
        };
        screen.clear();
        if ended.is_ok() && !self.once {
            screen.note("stopping everything");
        }
        fleet.stop().await;
        if ended.is_err() && !unwanted {
            place.keep();
        }
        ended.map(|()| Output::silent())
    }
}

/// The story. On an error the fleet still stands; the caller stops it.
async fn tell(fleet: &mut Fleet, screen: &mut Screen, tally: &mut Tally) -> Result<(), CliError> {
    let cx = fleet.start_server().await?;
    let server = cx.server()?;
    screen.event(&format!(
        "the server listens on {server}, with its own authority, on data in {}",
        cx.data.root().display()
    ));

    let mut operator = cx.connect().await?;
    let mut watcher = cx.connect().await?;
    watcher.subscribe(&view_filter()).await?;
    for name in CONNECTORS {
        enrol(fleet, screen, &cx, &mut operator, name).await?;
    }
    let mut stages = stage::Runner::new(&mut operator, &mut watcher, screen, CONNECTORS.len());
    stages.online(fleet).await?;

    for version in ["1.0", "1.1", "1.2"] {
        let healthy = version != "1.2";
        let dir = package::write(fleet.root(), fleet.greeter(), version, healthy)?;
        let published = publish(&cx, &dir).await?;
        let note = if healthy { "" } else { ", whose health probe will fail" };
        stages.event(&format!(
            "published greeter {version}{note}: {} bytes, sha256 {:.12}…",
            published.size,
            published.sha256.as_str()
        ));
    }
    let confirmed = |version| Stage { version, runs: version, ending: Ending::Confirmed };
    tally.deployed = stages.upgrade(fleet, &confirmed("1.0")).await?;
    tally.upgraded = stages.upgrade(fleet, &confirmed("1.1")).await?;
    let bad = Stage { version: "1.2", runs: "1.1", ending: Ending::RolledBack };
    tally.rolled_back = stages.upgrade(fleet, &bad).await?;
    operator.close().await;
    watcher.close().await;
    Ok(())
}

/// Adds a connector as an operator does, enrols it as its host does, and starts its agent.
async fn enrol(
    fleet: &mut Fleet,
    screen: &mut Screen,
    cx: &Context,
    operator: &mut Operator,
    name: &str,
) -> Result<(), CliError> {
    let name = ThingName::new(name).expect("the names of the demo are valid");
    let request = AddConnector::new(name.clone(), Some(default_pool()));
    let added = add(operator, &request).await?;
    fleet.enrol(cx, &added).await?;
    fleet.start_agent(&name)?;
    screen.event(&format!("{name} made its key, enrolled with its token and got its certificate"));
    Ok(())
}

/// The exact commands for a second shell.
fn invitation(fleet: &Fleet) -> String {
    let muster = fleet.muster().display();
    let data = fleet.data().display();
    format!(
        "\nIt stays up until Ctrl-C. In a second shell:\n\n  \
         export MUSTER_DATA={data}\n  \
         {muster} connector list\n  \
         {muster} connector show alpha\n  \
         {muster} actions\n  \
         {muster} watch\n  \
         {muster} upgrade greeter 1.0 --to name=alpha --wait\n  \
         {muster} connector add delta > install-delta.sh\n"
    )
}

/// Ctrl-C or a polite request to end.
async fn interrupted() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                // Cancel-safe: signals are not lost, and one is enough.
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}

/// The folder of a demo: removed at the end unless someone wants it.
enum Place {
    Kept(PathBuf),
    Temporary(TempDir),
}

impl Place {
    fn make(keep: Option<&Path>) -> Result<Self, CliError> {
        let failed = |error| CliError::local_because("cannot make a folder for the demo", error);
        match keep {
            None => tempfile::Builder::new().prefix("muster-demo-").tempdir().map(Self::Temporary).map_err(failed),
            Some(folder) => {
                fs::create_dir_all(folder).map_err(failed)?;
                if fs::read_dir(folder).map_err(failed)?.next().is_some() {
                    let shown = folder.display();
                    return Err(CliError::local(format!("--keep {shown} is not empty; name a new or empty folder")));
                }
                folder.canonicalize().map(Self::Kept).map_err(failed)
            }
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Kept(path) => path,
            Self::Temporary(folder) => folder.path(),
        }
    }

    /// After a failure the logs stay: they are the way to the cause.
    fn keep(self) {
        if let Self::Temporary(folder) = self {
            say_aside(&format!("muster: data and logs are kept in {}", folder.keep().display()));
        }
    }
}

const CONNECTORS: [&str; 3] = ["alpha", "beta", "gamma"];
