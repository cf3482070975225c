//! The components when the agent goes: removed, each with its own uninstall command, or left as they are.

use super::{Removal, Stage};
use crate::hands::installed::{self, Unit};
use crate::hands::process::Run;
use crate::hands::supervisor::Supervisor;
use crate::hands::{files, journal, lifecycle};
use crate::places::{Home, Prefix};
use muster_runtime::clock::Clock;
use muster_runtime::faults;
use muster_wire::id::ComponentName;
use std::sync::Arc;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// A component on this host, with whoever keeps it running.
#[derive(Clone, Debug)]
pub struct Site {
    /// Name.
    pub name: ComponentName,
    /// Its folder.
    pub home: Home,
    /// Stops it.
    pub supervisor: Supervisor,
}

impl Removal {
    /// Removes the components or notes that they stay, and says what will go with the agent. Afterwards it is reporting,
    /// when the server ordered it, or erasing. A component that cannot be removed ends it as failed.
    pub async fn clear(mut self, prefix: &Prefix, sites: Vec<Site>) -> Self {
        if self.stage != Stage::Clearing {
            return self;
        }
        for site in sites {
            if !self.purge {
                self.note_kept(kept(&site));
                continue;
            }
            match remove(prefix, &site).await {
                Ok(()) => self.note_removed(format!("component {} ({})", site.name, site.home.root().display())),
                Err(why) => {
                    warn!(component = %site.name, why, "it cannot be removed, so the agent stays");
                    self.note_kept(kept(&site));
                    self.failed.get_or_insert(format!("component {} cannot be removed: {why}", site.name));
                }
            }
            // Where a crash lost this, the components that are gone are not in the list that people read.
            if let Err(error) = self.write(prefix) {
                warn!(%error, "how far the removal is was not written down");
            }
            faults::point("uninstall.after_component");
        }
        match (&self.failed, &self.order) {
            (Some(_), _) => self.note_kept(format!("agent ({})", prefix.root().display())),
            (None, _) => {
                for (what, path) in [
                    ("identity", prefix.identity()),
                    ("settings", prefix.settings()),
                    ("state", prefix.state()),
                    ("programs", prefix.agent()),
                ] {
                    if path.exists() {
                        self.note_removed(format!("{what} {}", path.display()));
                    }
                }
            }
        }
        self.stage = if self.order.is_some() { Stage::Reporting } else { Stage::Erasing };
        self
    }
}

/// Stops a component, runs its uninstall command, and removes its folder with its data.
async fn remove(prefix: &Prefix, site: &Site) -> Result<(), String> {
    site.supervisor.halt().await?;
    if let Some(version) = installed::current(&site.home) {
        let unit = Unit::load(&site.home, &site.name, &version)?;
        if let Some(step) = &unit.recipe.uninstall {
            lifecycle::run(&unit, step, "uninstall").await?;
        }
        info!(component = %site.name, %version, "component removed");
    }
    let root = site.home.root();
    let failed = |error| format!("cannot remove {}: {error}", root.display());
    // The link goes first: a folder without it is no component that an agent would start.
    installed::forget(&site.home).map_err(failed)?;
    files::remove_tree(root).map_err(failed)?;
    let journal = prefix.journal(&site.name);
    files::remove_file(&journal).map_err(|error| format!("cannot remove {}: {error}", journal.display()))
}

/// What stays of a component, for people.
fn kept(site: &Site) -> String {
    let (name, root) = (&site.name, site.home.root().display());
    let version = installed::current(&site.home).map_or_else(|| "no version".to_owned(), |version| version.to_string());
    let process = Run::read(&site.home).ok().flatten().and_then(|run| run.find());
    match process {
        Some(key) => format!("component {name} {version}, process {} ({root})", key.pid),
        None => format!("component {name} {version}, not running ({root})"),
    }
}

/// The components of a prefix that no agent runs in. Their supervisors work in `tasks` until `stop`.
pub fn sites(
    prefix: &Prefix,
    clock: &Clock,
    changed: &Arc<Notify>,
    stop: &CancellationToken,
    tasks: &mut JoinSet<()>,
) -> Vec<Site> {
    let site = |name: ComponentName| {
        let home = prefix.home(&name);
        let (supervisor, work) =
            Supervisor::new(name.clone(), home.clone(), clock.clone(), Arc::clone(changed), stop.clone());
        tasks.spawn(work);
        Site { name, home, supervisor }
    };
    journal::known(prefix).into_iter().map(site).collect()
}
