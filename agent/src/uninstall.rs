//! `muster-agent uninstall`: takes the agent off this host, and with `--purge` its components.

use crate::args;
use crate::brain::upgrade::Step;
use crate::hands::{files, journal};
use crate::identity::Identity;
use crate::lock;
use crate::places::Prefix;
use crate::platform;
use crate::removal::{Removal, erase, sites};
use crate::service::{self, Kind};
use crate::typed;
use muster_runtime::clock::Clock;
use muster_runtime::failure::Failure;
use serde::Serialize;
use std::fmt;
use std::io::{BufRead, IsTerminal, Write};
use std::sync::Arc;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// What was removed and what stays.
#[derive(Debug, Serialize)]
pub struct Report {
    removed: Vec<String>,
    kept: Vec<String>,
}

/// Removes the agent; `None` when none is there.
pub async fn uninstall(prefix: &Prefix, args: &args::Uninstall) -> Result<Option<Report>, Failure> {
    let under_way = Removal::read(prefix)?;
    let is_there = [prefix.identity(), prefix.settings(), prefix.service(), prefix.agent(), prefix.removal()];
    if !is_there.iter().any(|path| path.exists()) {
        return Ok(None);
    }
    let kind = service::state(prefix).ok().flatten().map(|state| state.kind);
    if kind == Some(Kind::System) && !platform::is_superuser() {
        return Err(Failure::local("the agent is a service of the whole host; run this as root"));
    }
    let purge = args.purge || under_way.as_ref().is_some_and(|removal| removal.purge);
    if !purge {
        refuse_amid_upgrade(prefix)?;
    }
    if under_way.is_none() && !args.yes {
        confirm(prefix, purge)?;
    }
    let connector = Identity::load(prefix).ok().map(|identity| identity.name);
    service::stop(prefix)?;
    let _lock = lock::take(prefix).await?;
    // A removal that the server ordered is finished without it: whoever asks for it on this host has the say.
    let removal = match under_way {
        Some(removal) => removal.taken_over(purge),
        None => Removal::new(purge, None),
    };
    let removal = finish(prefix, removal).await?;
    if let Some(name) = connector {
        eprintln!("the server still knows this host; to remove it there: muster connector remove {name}");
    }
    Ok(Some(Report { removed: removal.removed, kept: removal.kept }))
}

/// Finishes a removal that needs no server. The lock must be held, and no agent runs.
///
/// Errors: a component cannot be removed, and then the agent stays; or the agent cannot be.
pub async fn finish(prefix: &Prefix, removal: Removal) -> Result<Removal, Failure> {
    let failed = |error| {
        Failure::local_because(format!("cannot write {}; nothing more is removed", prefix.removal().display()), error)
    };
    removal.write(prefix).map_err(failed)?;
    let (stop, changed, mut tasks) = (CancellationToken::new(), Arc::new(Notify::new()), JoinSet::new());
    let sites = sites(prefix, &Clock::system(), &changed, &stop, &mut tasks);
    let mut removal = removal.clear(prefix, sites).await;
    stop.cancel();
    tasks.join_all().await;
    if let Some(why) = &removal.failed {
        files::remove_file(&prefix.removal()).map_err(failed)?;
        return Err(Failure::Outcome(format!(
            "{why}; the agent stays, start it with: {} (without --purge the components stay)",
            typed::command(prefix, "start")
        )));
    }
    removal.write(prefix).map_err(failed)?;
    erase(prefix, &mut removal)?;
    Ok(removal)
}

/// A component between two versions is brought to one of them by its agent, or not at all.
fn refuse_amid_upgrade(prefix: &Prefix) -> Result<(), Failure> {
    for name in journal::known(prefix) {
        let record = journal::read(&prefix.journal(&name))
            .map_err(|error| Failure::local_because(format!("the state of {name} is not known"), error))?;
        if let Some(upgrade) = record.upgrade.filter(|upgrade| !Step::leaves_old_running(&upgrade.step)) {
            let (version, step) = (&upgrade.document.version, upgrade.step.public().as_str());
            return Err(Failure::Outcome(format!(
                "the upgrade of {name} to {version} is under way ({step}); let the agent end it, or add --purge"
            )));
        }
    }
    Ok(())
}

fn confirm(prefix: &Prefix, purge: bool) -> Result<(), Failure> {
    let what = if purge { "the agent and its components with their data" } else { "the agent; components stay" };
    let root = prefix.root().display();
    if !std::io::stdin().is_terminal() {
        return Err(Failure::local(format!("this removes {what} from {root}; to agree, add --yes")));
    }
    eprint!("Remove {what} from {root}? Type yes: ");
    let mut answer = String::new();
    let read = std::io::stderr().flush().and_then(|()| std::io::stdin().lock().read_line(&mut answer));
    read.map_err(|error| Failure::local_because("cannot read the answer; add --yes", error))?;
    if answer.trim() == "yes" { Ok(()) } else { Err(Failure::local("not agreed to; nothing was removed")) }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.removed.iter().map(|what| ("removed", what));
        let lines = lines.chain(self.kept.iter().map(|what| ("kept", what)));
        let lines: Vec<String> = lines.map(|(word, what)| format!("{word:<8} {what}")).collect();
        f.write_str(&lines.join("\n"))
    }
}
