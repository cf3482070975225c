//! `muster connector remove`: out of the fleet, with `--uninstall` off the host first.

use super::Run;
use super::lifecycle::revoked;
use super::whom::{Deed, Fates};
use crate::args::ConnectorRemoveArgs;
use crate::client::Operator;
use crate::confirm::confirm;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Output, plain, say_aside, spelling};
use muster_wire::admin::{LifecycleChanged, NameConnector, UninstallConnector, UninstallProgress, UninstallWish, Verb};
use muster_wire::component::{DETAIL_KEPT, DETAIL_REASON, DETAIL_REMOVED};
use muster_wire::id::ThingName;
use muster_wire::job::JobStatus;
use muster_wire::view::LinkStatus;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, sleep};

impl Run for ConnectorRemoveArgs {
    fn describe(&self) -> String {
        format!("remove {}", self.whom.describe())
    }

    fn json(&self) -> bool {
        self.operator.json
    }

    async fn run(self) -> Result<Output, CliError> {
        let cx = Context::open(&self.operator)?;
        if let Some(name) = self.whom.name.clone() {
            confirm(&self.consequence(&name), self.whom.yes)?;
            let mut operator = cx.connect().await?;
            let (value, text) = match self.take_out(&mut operator, vec![name]).await?.pop() {
                Some((_, fate)) => fate?,
                None => unreachable!("one name has one fate"),
            };
            operator.close().await;
            return Ok(Output::new(&value, text));
        }
        let deed = Deed { does: "removes", done: "removed", effect: self.consequences() };
        let names = self.whom.settle(&cx, &deed).await?;
        let mut fates = Fates::of(names.len());
        let mut operator = cx.connect().await?;
        for (name, fate) in self.take_out(&mut operator, names).await? {
            fates.add(name, fate)?;
        }
        operator.close().await;
        Ok(fates.output(&deed))
    }
}

/// The result for programs and for people, or why there is none.
type Fate = Result<(Value, String), CliError>;

impl ConnectorRemoveArgs {
    fn consequence(&self, name: &ThingName) -> String {
        match (self.uninstall, self.purge) {
            (false, _) => format!(
                "{name} is refused at once and comes back only with a new installation; its agent and components stay on \
                 the host."
            ),
            (true, false) => format!("The agent of {name} removes itself; its components stay and run on."),
            (true, true) => format!("The agent of {name} removes itself, all of its components and their data."),
        }
    }

    fn consequences(&self) -> String {
        match (self.uninstall, self.purge) {
            (false, _) => {
                "They are refused at once and come back only with a new installation; their agents and components stay on \
                 the hosts."
            }
            (true, false) => "Their agents remove themselves; their components stay and run on.",
            (true, true) => "Their agents remove themselves, all of their components and their data.",
        }
        .to_owned()
    }

    /// Removes them, each as soon as its agent is off its host where that is wanted: all agents work at the same time.
    async fn take_out(
        &self,
        operator: &mut Operator,
        names: Vec<ThingName>,
    ) -> Result<Vec<(ThingName, Fate)>, CliError> {
        let mut fates = Vec::new();
        let mut leaving: Vec<Leaving> = names.into_iter().map(|name| self.leaving(name)).collect();
        let end = Instant::now() + self.patience();
        while !leaving.is_empty() {
            let mut still = Vec::new();
            for mut one in leaving {
                let is_late = Instant::now() >= end;
                let look =
                    if self.uninstall { self.look(operator, &mut one, is_late).await } else { Ok(Look::Out(None)) };
                let fate = match look {
                    Ok(Look::Waits) => {
                        still.push(one);
                        continue;
                    }
                    Ok(Look::Out(uninstalled)) => remove(operator, &one.name, uninstalled).await,
                    Ok(Look::Stays(why)) if self.force => {
                        say_aside(&format!("{}: {why}; it is removed from the fleet all the same", one.name));
                        remove(operator, &one.name, None).await
                    }
                    Ok(Look::Stays(why)) => Err(stays(&one.name, &why)),
                    Err(error) => Err(error),
                };
                let is_lost = matches!(fate, Err(CliError::Unreachable { .. }));
                fates.push((one.name, fate));
                if is_lost {
                    // Nothing can be asked any more.
                    return Ok(fates);
                }
            }
            leaving = still;
            if !leaving.is_empty() {
                sleep(ASK_EVERY).await;
            }
        }
        Ok(fates)
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(u64::from(self.timeout.get()))
    }

    fn leaving(&self, name: ThingName) -> Leaving {
        Leaving { name, wish: UninstallWish::Start { purge: self.purge }, told: String::new() }
    }

    /// Has an agent take itself off its host, and asks how far it is.
    async fn look(&self, operator: &mut Operator, one: &mut Leaving, is_late: bool) -> Result<Look, CliError> {
        let question = UninstallConnector { name: one.name.clone(), wish: one.wish };
        let progress: UninstallProgress = operator.call(Verb::ConnectorUninstall, &question).await?;
        if progress.job.is_none() {
            let since = progress.link_since;
            return Ok(Look::Stays(match progress.link {
                LinkStatus::Never => format!("it has not connected since it was added at {since}"),
                link => format!("it is {} since {since}", spelling(&link)),
            }));
        }
        let news = standing(&progress);
        if news != one.told {
            say_aside(&format!("{}: {news}", one.name));
            one.told = news;
        }
        match progress.status {
            Some(JobStatus::Succeeded) => return Ok(Look::Out(Some(progress))),
            Some(status) if status.is_terminal() => {
                let reason = progress.details.get(DETAIL_REASON).map_or("it gave no reason", String::as_str);
                let reason = plain(reason);
                return Ok(Look::Stays(format!("did not uninstall itself ({}: {reason})", spelling(&status))));
            }
            _ => {}
        }
        if is_late {
            let question = UninstallConnector { name: one.name.clone(), wish: UninstallWish::Withdraw };
            let _: UninstallProgress = operator.call(Verb::ConnectorUninstall, &question).await?;
            return Ok(Look::Stays(format!("not done after {} s, last: {}", self.patience().as_secs(), one.told)));
        }
        one.wish = UninstallWish::Ask;
        Ok(Look::Waits)
    }
}

/// A connector whose agent is to go first.
struct Leaving {
    name: ThingName,
    wish: UninstallWish,
    told: String,
}

/// How far an agent is.
enum Look {
    /// On its way.
    Waits,
    /// Off its host, or never asked to go.
    Out(Option<UninstallProgress>),
    /// It does not go; why.
    Stays(String),
}

async fn remove(operator: &mut Operator, name: &ThingName, uninstalled: Option<UninstallProgress>) -> Fate {
    let request = NameConnector { name: name.clone() };
    let changed: LifecycleChanged = operator.call(Verb::ConnectorRemove, &request).await?;
    let mut text = format!("{name}: {}", revoked(&changed));
    for (what, detail) in [("removed from the host", DETAIL_REMOVED), ("left on the host", DETAIL_KEPT)] {
        if let Some(list) = uninstalled.as_ref().and_then(|progress| progress.details.get(detail)) {
            text.push_str(&format!("\n  {what}: {}", plain(list)));
        }
    }
    Ok((json!({"connector": changed, "uninstall": uninstalled}), text))
}

fn stays(name: &ThingName, why: &str) -> CliError {
    CliError::Outcome(format!(
        "the agent of {name} was not uninstalled: {why}; nothing was removed. Try again when it is connected, or add --force \
         to remove it from the fleet and leave the agent on the host"
    ))
}

fn standing(progress: &UninstallProgress) -> String {
    match (progress.status, progress.link) {
        (None | Some(JobStatus::Queued), LinkStatus::Online) => "told to uninstall itself".to_owned(),
        (None | Some(JobStatus::Queued), link) => format!("told to uninstall itself, and {} now", spelling(&link)),
        (Some(JobStatus::InProgress), _) => "is uninstalling itself".to_owned(),
        (Some(status), _) => spelling(&status).to_lowercase(),
    }
}

/// Between two questions how far an uninstall is.
const ASK_EVERY: Duration = Duration::from_millis(500);
