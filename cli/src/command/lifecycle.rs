//! `muster connector remove`, `disable`, `enable`, `resolve`: the life of a connector after its enrolment.

use super::Run;
use crate::args::{ConnectorDisableArgs, ConnectorEnableArgs, ConnectorRemoveArgs, ConnectorResolveArgs};
use crate::client::Operator;
use crate::confirm::confirm;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Output, plain, say_aside, spelling};
use muster_wire::admin::{
    DisableConnector, LifecycleChanged, NameConnector, ResolveConnector, UninstallConnector, UninstallProgress,
    UninstallWish, Verb,
};
use muster_wire::component::{DETAIL_KEPT, DETAIL_REASON, DETAIL_REMOVED};
use muster_wire::id::ThingName;
use muster_wire::job::JobStatus;
use muster_wire::view::{Life, LinkStatus};
use serde_json::json;
use std::time::Duration;
use tokio::time::{Instant, sleep};

impl Run for ConnectorRemoveArgs {
    fn describe(&self) -> String {
        format!("remove connector {}", self.name)
    }

    fn json(&self) -> bool {
        self.operator.json
    }

    async fn run(self) -> Result<Output, CliError> {
        let cx = Context::open(&self.operator)?;
        let question = match (self.uninstall, self.purge) {
            (false, _) => format!(
                "{} is refused at once and comes back only with a new installation; its agent and components stay on \
                 the host.",
                self.name
            ),
            (true, false) => format!("The agent of {} removes itself; its components stay and run on.", self.name),
            (true, true) => {
                format!("The agent of {} removes itself, all of its components and their data.", self.name)
            }
        };
        confirm(&question, self.yes)?;
        let mut operator = cx.connect().await?;
        let uninstalled = if self.uninstall { self.uninstall(&mut operator).await? } else { None };
        let request = NameConnector { name: self.name.clone() };
        let changed: LifecycleChanged = operator.call(Verb::ConnectorRemove, &request).await?;
        operator.close().await;
        let mut text = String::new();
        for (what, name) in [("removed from the host", DETAIL_REMOVED), ("left on the host", DETAIL_KEPT)] {
            if let Some(list) = uninstalled.as_ref().and_then(|progress| progress.details.get(name)) {
                text.push_str(&format!("{what}: {}\n", plain(list)));
            }
        }
        text.push_str(&format!("{}: {}", self.name, revoked(&changed)));
        Ok(Output::new(&json!({"connector": changed, "uninstall": uninstalled}), text))
    }
}

impl ConnectorRemoveArgs {
    /// Has the agent take itself off its host. `None` when it was not reached and need not be.
    async fn uninstall(&self, operator: &mut Operator) -> Result<Option<UninstallProgress>, CliError> {
        let mut told = String::new();
        let mut wish = UninstallWish::Start { purge: self.purge };
        let patience = Duration::from_secs(u64::from(self.timeout.get()));
        let end = Instant::now() + patience;
        loop {
            let question = UninstallConnector { name: self.name.clone(), wish };
            let progress: UninstallProgress = operator.call(Verb::ConnectorUninstall, &question).await?;
            if progress.job.is_none() {
                let since = progress.link_since;
                return self.given_up(match progress.link {
                    LinkStatus::Never => format!("it has not connected since it was added at {since}"),
                    link => format!("it is {} since {since}", spelling(&link)),
                });
            }
            let news = standing(&progress);
            if news != told {
                say_aside(&format!("{}: {news}", self.name));
                told = news;
            }
            match progress.status {
                Some(JobStatus::Succeeded) => return Ok(Some(progress)),
                Some(status) if status.is_terminal() => {
                    let reason = progress.details.get(DETAIL_REASON).map_or("it gave no reason", String::as_str);
                    let reason = plain(reason);
                    return self.given_up(format!("did not uninstall itself ({}: {reason})", spelling(&status)));
                }
                _ => {}
            }
            if Instant::now() >= end {
                let question = UninstallConnector { name: self.name.clone(), wish: UninstallWish::Withdraw };
                let _: UninstallProgress = operator.call(Verb::ConnectorUninstall, &question).await?;
                return self.given_up(format!("not done after {} s, last: {told}", patience.as_secs()));
            }
            wish = UninstallWish::Ask;
            sleep(ASK_EVERY).await;
        }
    }

    fn given_up(&self, why: String) -> Result<Option<UninstallProgress>, CliError> {
        let name = &self.name;
        if self.force {
            say_aside(&format!("{name}: {why}; it is removed from the fleet all the same"));
            return Ok(None);
        }
        Err(CliError::Outcome(format!(
            "the agent of {name} was not uninstalled: {why}; nothing was removed. Try again when it is connected, or add \
             --force to remove it from the fleet and leave the agent on the host"
        )))
    }
}

fn standing(progress: &UninstallProgress) -> String {
    match (progress.status, progress.link) {
        (None | Some(JobStatus::Queued), LinkStatus::Online) => "told to uninstall itself".to_owned(),
        (None | Some(JobStatus::Queued), link) => format!("told to uninstall itself, and {} now", spelling(&link)),
        (Some(JobStatus::InProgress), _) => "is uninstalling itself".to_owned(),
        (Some(status), _) => spelling(&status).to_lowercase(),
    }
}

fn revoked(changed: &LifecycleChanged) -> String {
    let since = changed.lifecycle.since.map(|since| format!(" since {since}")).unwrap_or_default();
    let state = format!("{}{since}", spelling(&changed.lifecycle.state));
    match changed.certificates_revoked {
        0 => state,
        1 => format!("{state}, 1 certificate revoked"),
        count => format!("{state}, {count} certificates revoked"),
    }
}

impl Run for ConnectorDisableArgs {
    fn describe(&self) -> String {
        format!("disable connector {}", self.name)
    }

    fn json(&self) -> bool {
        self.operator.json
    }

    async fn run(self) -> Result<Output, CliError> {
        let request = DisableConnector { name: self.name, reason: self.reason };
        let cx = Context::open(&self.operator)?;
        let mut operator = cx.connect().await?;
        let changed: LifecycleChanged = operator.call(Verb::ConnectorDisable, &request).await?;
        operator.close().await;
        let next = format!("`muster connector enable {}` lets it in again", changed.name);
        Ok(Output::new(&changed, format!("{}: {}\n{next}", changed.name, life(&changed))))
    }
}

impl Run for ConnectorEnableArgs {
    fn describe(&self) -> String {
        format!("enable connector {}", self.name)
    }

    fn json(&self) -> bool {
        self.operator.json
    }

    async fn run(self) -> Result<Output, CliError> {
        let cx = Context::open(&self.operator)?;
        let mut operator = cx.connect().await?;
        let changed = named(&mut operator, Verb::ConnectorEnable, self.name).await?;
        operator.close().await;
        Ok(Output::new(&changed, format!("{}: {}", changed.name, life(&changed))))
    }
}

async fn named(operator: &mut Operator, verb: Verb, name: ThingName) -> Result<LifecycleChanged, CliError> {
    operator.call(verb, &NameConnector { name }).await
}

fn life(changed: &LifecycleChanged) -> String {
    super::connector::life(&changed.lifecycle)
}

impl Run for ConnectorResolveArgs {
    fn describe(&self) -> String {
        format!("resolve connector {}", self.name)
    }

    fn json(&self) -> bool {
        self.operator.json
    }

    async fn run(self) -> Result<Output, CliError> {
        let cx = Context::open(&self.operator)?;
        if !self.keep_current {
            let question = format!(
                "Every certificate of {} is revoked: both places are refused at once, until one is installed anew.",
                self.name
            );
            confirm(&question, self.yes)?;
        }
        let mut operator = cx.connect().await?;
        let request = ResolveConnector { name: self.name, keep_current: self.keep_current };
        let changed: LifecycleChanged = operator.call(Verb::ConnectorResolve, &request).await?;
        operator.close().await;
        let text = match changed.lifecycle.state {
            Life::Quarantined => format!(
                "{0}: {1}\nnow install the one place that goes on, with the script of:\n  \
                 muster connector add {0} --reinstall",
                changed.name,
                revoked(&changed)
            ),
            _ => format!("{}: {}; a second place that shows up is quarantined again", changed.name, life(&changed)),
        };
        Ok(Output::new(&changed, text))
    }
}

/// Between two questions how far an uninstall is.
const ASK_EVERY: Duration = Duration::from_millis(500);
