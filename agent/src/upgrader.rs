//! Carries one upgrade from its acceptance to its end: asks [`crate::brain::upgrade`] what is next, has the hands do it,
//! and journals every step before it is done.

use crate::brain::upgrade::{Action, Event, Facts, Next, Stage, Step, Upgrade, Verdict, after, next};
use crate::hands::download::{self, Source, Wanted};
use crate::hands::installed::{self, Unit};
use crate::hands::journal::Journal;
use crate::hands::package::{self, Bounds};
use crate::hands::supervisor::Supervisor;
use crate::hands::{lifecycle, prechecks};
use crate::host::metrics;
use crate::places::{Home, Prefix};
use crate::platform;
use muster_certs::PublisherPublicKey;
use muster_runtime::clock::Clock;
use muster_runtime::faults;
use muster_wire::component::Health;
use muster_wire::id::{ComponentName, Version};
use muster_wire::limits::JOB_TIMEOUT;
use std::time::Duration;
use tokio::sync::mpsc;
use tracing::{info, warn};

/// Everything that an upgrade of one component needs.
pub struct Upgrader {
    /// Where all lies.
    pub prefix: Prefix,
    /// Component.
    pub component: ComponentName,
    /// Its folder.
    pub home: Home,
    /// Its journal, with the upgrade in it.
    pub journal: Journal,
    /// Its supervisor.
    pub supervisor: Supervisor,
    /// Where packages come from.
    pub source: Source,
    /// Whose packages are installed.
    pub publisher: PublisherPublicKey,
    /// The clock.
    pub clock: Clock,
    /// Told whenever the journal says something new.
    pub news: mpsc::Sender<ComponentName>,
}

/// Fetching ends so long before the job does: the rest still needs its time.
const AFTER_DOWNLOAD: Duration = Duration::from_secs(15 * 60);

impl Upgrader {
    /// Works until the journal holds no upgrade any more. `resumed` after a start of the agent.
    pub async fn run(self, mut resumed: bool) {
        while let Some(upgrade) = self.journal.read().upgrade {
            if resumed && upgrade.step.leaves_old_running() {
                self.run_current().await;
            }
            let facts = self.facts(&upgrade, std::mem::take(&mut resumed));
            let step = match next(&upgrade, &facts) {
                Action::Move(step) => Next::Step(step),
                Action::End(verdict) => Next::End(verdict),
                action => {
                    info!(component = %self.component, job = %upgrade.job, step = upgrade.step.public().as_str(), "upgrade step");
                    self.tell().await;
                    after(&upgrade, self.perform(&upgrade, &facts, action).await)
                }
            };
            self.go(&upgrade, step).await;
        }
    }

    fn facts(&self, upgrade: &Upgrade, resumed: bool) -> Facts {
        let document = &upgrade.document;
        let part = std::fs::metadata(self.prefix.part(&document.sha256));
        let installed = installed::facts(&self.home, &document.version);
        Facts {
            fetched: part.is_ok_and(|part| part.len() == document.size),
            unpacked: installed.is_some_and(|installed| installed.package_sha256 == document.sha256),
            resumed,
        }
    }

    async fn perform(&self, upgrade: &Upgrade, facts: &Facts, action: Action) -> Event {
        let back = matches!(upgrade.step, Step::RollingBack { .. });
        let done = match action {
            Action::Download => self.download(upgrade).await,
            Action::Unpack => self.unpack(upgrade, facts).await,
            Action::Stop => {
                faults::point(if back { "rollback.before_stop" } else { "upgrade.before_stop" });
                let stopped = self.supervisor.halt().await;
                if !back {
                    faults::point("upgrade.after_stop");
                }
                stopped
            }
            Action::Point(version) => {
                let pointed = installed::point(&self.home, version.as_ref());
                faults::point(if back { "rollback.after_switch" } else { "upgrade.after_switch" });
                pointed.map_err(|error| format!("cannot switch {}: {error}", self.home.current().display()))
            }
            Action::Start { version, trial } => {
                let started = self.start(&version, trial).await;
                faults::point(if back { "rollback.after_start" } else { "upgrade.after_start" });
                started
            }
            Action::Probe { version, soak_s } => self.watch(&version, soak_s, !back).await,
            Action::Move(_) | Action::End(_) => Ok(()),
        };
        match done {
            Ok(()) => Event::Done,
            Err(reason) => {
                let step = upgrade.step.public().as_str();
                warn!(component = %self.component, job = %upgrade.job, step, reason, "upgrade step failed");
                Event::Failed(reason)
            }
        }
    }

    async fn download(&self, upgrade: &Upgrade) -> Result<(), String> {
        let document = &upgrade.document;
        package::check_document(document, &self.publisher)?;
        prechecks::room_for(self.prefix.root(), document.size)?;
        let wanted = Wanted {
            path: document.path.clone(),
            sha256: document.sha256.clone(),
            size: document.size,
            part: self.prefix.part(&document.sha256),
        };
        let spent = self.clock.now().since(upgrade.accepted_at);
        let left = JOB_TIMEOUT.saturating_sub(AFTER_DOWNLOAD).saturating_sub(spent);
        download::fetch(&self.source, &wanted, tokio::time::Instant::now() + left).await?;
        faults::point("upgrade.after_download");
        Ok(())
    }

    async fn unpack(&self, upgrade: &Upgrade, facts: &Facts) -> Result<(), String> {
        let document = &upgrade.document;
        if !facts.unpacked {
            let (part, home) = (self.prefix.part(&document.sha256), self.home.clone());
            let order = document.clone();
            let unpacking =
                tokio::task::spawn_blocking(move || package::unpack(&part, &home, &order, Bounds::default()));
            unpacking.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        }
        faults::point("upgrade.after_unpack");
        if upgrade.is_same_version() {
            return Ok(());
        }
        let unit = self.unit(&document.version)?;
        let old = upgrade.from.as_ref().and_then(|from| self.unit(from).ok());
        prechecks::check(&unit.recipe, old.as_ref(), self.prefix.root(), metrics::memory_available())?;
        self.install(&unit).await
    }

    async fn install(&self, unit: &Unit) -> Result<(), String> {
        let Some(step) = &unit.recipe.install else { return Ok(()) };
        lifecycle::run(unit, step, "install").await
    }

    async fn start(&self, version: &Version, trial: bool) -> Result<(), String> {
        self.supervisor.run(self.unit(version)?, trial).await
    }

    /// Waits until the probe of `version` has passed for the soak time. On trial the death of its process is a verdict;
    /// otherwise it is started again and only the deadline counts.
    async fn watch(&self, version: &Version, soak_s: u32, trial: bool) -> Result<(), String> {
        let unit = self.unit(version)?;
        let patience = unit.recipe.health.start_timeout;
        let (begun, soak) = (self.clock.instant(), Duration::from_secs(soak_s.into()));
        let mut status = self.supervisor.status();
        loop {
            let seen = status.borrow_and_update().clone();
            let now = self.clock.instant();
            let trouble = seen.trouble.as_deref().unwrap_or("no probe has ended yet");
            if seen.version.as_ref() != Some(version) {
                return Err("another version was started meanwhile".to_owned());
            }
            if trial && seen.process.is_none() {
                return Err(trouble.to_owned());
            }
            let again_at = match (seen.health, seen.healthy_since) {
                (Health::Unhealthy, _) => return Err(format!("its probe passed and then failed: {trouble}")),
                (Health::Healthy, Some(since)) if now.saturating_duration_since(since) >= soak => return Ok(()),
                (Health::Healthy, Some(since)) => since + soak,
                _ if now.saturating_duration_since(begun) >= patience => {
                    let patience = patience.as_secs_f64();
                    return Err(format!("no probe passed within {patience} s of its start: {trouble}"));
                }
                _ => begun + patience,
            };
            tokio::select! {
                // Cancel-safe: a change stays marked as unseen.
                changed = status.changed() => if changed.is_err() {
                    // The agent is stopping; the next one goes on from the journal.
                    std::future::pending::<()>().await;
                },
                () = tokio::time::sleep_until(again_at.into()) => {}
            }
        }
    }

    async fn go(&self, upgrade: &Upgrade, step: Next) {
        match step {
            Next::Step(step) => {
                if let Err(error) = self.journal.change(|record| record.step(step.clone())) {
                    self.go_unwritten(upgrade, step, &error.to_string()).await;
                }
            }
            Next::End(verdict) => self.end(&verdict).await,
        }
    }

    /// The journal cannot be written. Before anything is changed that is the end; later the way back is taken, and what
    /// the journal still says is a step that can be done again after a crash.
    async fn go_unwritten(&self, upgrade: &Upgrade, step: Step, error: &str) {
        warn!(component = %self.component, error, "the journal was not written");
        let step = match step {
            back @ Step::RollingBack { .. } => Next::Step(back),
            _ if upgrade.step.leaves_old_running() => after(upgrade, Event::Failed(error.to_owned())),
            _ => Next::Step(Step::RollingBack { reason: error.to_owned(), stage: Stage::Stopping }),
        };
        match step {
            Next::Step(step) => self.journal.change_unwritten(|record| record.step(step)),
            Next::End(verdict) => self.end(&verdict).await,
        }
    }

    async fn end(&self, verdict: &Verdict) {
        if *verdict == Verdict::Succeeded {
            faults::point("upgrade.before_confirm");
        }
        // Whatever runs now is what shall run; it gets no new chance to be a trial.
        if let Err(error) = self.supervisor.keep().await {
            warn!(component = %self.component, error, "its supervisor was not reached");
        }
        let part = self.journal.read().upgrade.map(|upgrade| self.prefix.part(&upgrade.document.sha256));
        let now = self.clock.now();
        if let Err(error) = self.journal.change(|record| record.end(verdict, now)) {
            warn!(component = %self.component, %error, "the end of the upgrade was not journaled");
            self.journal.change_unwritten(|record| record.end(verdict, now));
        }
        info!(component = %self.component, ?verdict, "upgrade ended");
        self.tidy(part);
        self.tell().await;
    }

    /// Removes what nobody needs any more. Failing costs disk space and is tried again after the next upgrade.
    fn tidy(&self, part: Option<std::path::PathBuf>) {
        let (current, previous) = (installed::current(&self.home), self.journal.read().previous);
        let keep: Vec<&Version> = current.iter().chain(&previous).collect();
        let removed = part.map_or(Ok(()), |part| platform::remove_link(&part));
        if let Err(error) = removed.and_then(|()| installed::prune(&self.home, &keep)) {
            warn!(component = %self.component, %error, "old versions were not removed");
        }
    }

    async fn run_current(&self) {
        let Some(version) = installed::current(&self.home) else { return };
        if let Err(error) = self.start(&version, false).await {
            warn!(component = %self.component, %version, error, "the current version does not run");
        }
    }

    fn unit(&self, version: &Version) -> Result<Unit, String> {
        Unit::load(&self.home, &self.component, version)
    }

    async fn tell(&self) {
        // The receiver ends with the agent, and then nobody needs to know.
        let _ = self.news.send(self.component.clone()).await;
    }
}
