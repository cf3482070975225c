//! `muster upgrade`: states an intent, and with `--wait` follows it to its end on every connector.

use super::Run;
use super::watch::view_filter;
use crate::args::UpgradeArgs;
use crate::client::Operator;
use crate::context::Context;
use crate::error::CliError;
use crate::narrate::{self, News};
use crate::output::{Output, plain, say, say_aside, spelling};
use muster_wire::admin::{ActionList, ListActions, Upgrade, UpgradeStarted, Verb};
use muster_wire::id::{ComponentName, ThingName, Version};
use muster_wire::view::{ActionState, ActionView, ConnectorView, LinkStatus};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval, timeout};

impl Run for UpgradeArgs {
    fn describe(&self) -> String {
        format!("upgrade {} to {} on {}", self.component, self.version, self.to)
    }

    fn json(&self) -> bool {
        self.operator.json
    }

    async fn run(self) -> Result<Output, CliError> {
        let cx = Context::open(&self.operator)?;
        let mut operator = cx.connect().await?;
        if self.wait {
            // Before the request, so that no step is missed.
            operator.subscribe(&view_filter()).await?;
        }
        let request = Upgrade {
            component: self.component.clone(),
            version: self.version.clone(),
            to: self.to.clone(),
            again: self.again,
        };
        let started: UpgradeStarted = operator.call(Verb::Upgrade, &request).await?;
        let names: Vec<&str> = started.matched.iter().map(ThingName::as_str).collect();
        let text = if names.is_empty() {
            format!("noted as {}; no connector matches {} now, and each that will gets it", started.target, self.to)
        } else {
            format!("noted as {} for {}", started.target, names.join(", "))
        };
        if !self.wait {
            operator.close().await;
            let follow = format!("{text}\n\nfollow it:\n  muster actions --target {}", started.target);
            return Ok(Output::new(&started, follow));
        }
        if !cx.json {
            say(&text);
        }
        for absent in absent(&super::list(&mut operator, None).await?, &started) {
            say_aside(&absent);
        }
        let goal = Goal { started: &started, component: &self.component, version: &self.version };
        let patience = Duration::from_secs(u64::from(self.timeout.get()));
        let mut fates = BTreeMap::new();
        let ended = timeout(patience, follow(&mut operator, &goal, &mut fates)).await;
        if let Ok(result) = ended {
            result?;
        }
        operator.close().await;
        Ok(goal.output(&fates, ended_in_time(&fates).then_some(()), patience))
    }
}

/// Who is not there to upgrade now: the wait may be for nothing, and whoever waits should know at once.
fn absent(connectors: &[ConnectorView], started: &UpgradeStarted) -> Vec<String> {
    let matched = connectors.iter().filter(|connector| started.matched.contains(&connector.name));
    matched
        .filter_map(|connector| {
            let (name, since) = (&connector.name, connector.link_since);
            match connector.link {
                LinkStatus::Online => None,
                LinkStatus::Never => Some(format!("{name}: has never connected; it upgrades once it is installed")),
                link => Some(format!("{name}: {} since {since}; it upgrades once it is back", spelling(&link))),
            }
        })
        .collect()
}

/// What an upgrade wants.
struct Goal<'a> {
    started: &'a UpgradeStarted,
    component: &'a ComponentName,
    version: &'a Version,
}

/// Where one connector is on the way to the goal.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fate {
    Waiting(String),
    Confirmed,
    Missed(String),
}

/// Waits until every connector has its fate. News make it quick; the question every two seconds makes it right.
async fn follow(
    operator: &mut Operator,
    goal: &Goal<'_>,
    fates: &mut BTreeMap<ThingName, Fate>,
) -> Result<(), CliError> {
    let mut tick = interval(ASK_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            // Cancel-safe: next_message() keeps what has arrived.
            message = operator.next_message() => {
                if let News::Action(action) = News::of(message?)
                    && action.target == goal.started.target
                {
                    say_aside(&plain(&narrate::action(&action)));
                    if action.state.is_end() {
                        tick.reset_immediately();
                    }
                }
            }
            // Cancel-safe: an interval keeps its next moment.
            _ = tick.tick() => {
                *fates = ask(operator, goal).await?;
                if ended_in_time(fates) {
                    return Ok(());
                }
            }
        }
    }
}

async fn ask(operator: &mut Operator, goal: &Goal<'_>) -> Result<BTreeMap<ThingName, Fate>, CliError> {
    let question = ListActions { thing: None, target: Some(goal.started.target.clone()) };
    let actions: ActionList = operator.call(Verb::Actions, &question).await?;
    let connectors = super::list(operator, None).await?;
    let fates = goal.started.matched.iter().map(|thing| {
        // Newest first, so the first one found is the latest.
        let action = actions.actions.iter().find(|action| action.thing == *thing);
        let connector = connectors.iter().find(|connector| connector.name == *thing);
        (thing.clone(), goal.fate(action, connector))
    });
    Ok(fates.collect())
}

fn ended_in_time(fates: &BTreeMap<ThingName, Fate>) -> bool {
    !fates.values().any(|fate| matches!(fate, Fate::Waiting(_)))
}

impl Goal<'_> {
    /// Where a connector is, from its latest action, or without one from what is known of the connector.
    fn fate(&self, action: Option<&ActionView>, connector: Option<&ConnectorView>) -> Fate {
        if let Some(action) = action {
            let why = || action.reason.clone().unwrap_or_else(|| action.state.as_str().to_owned());
            return match action.state {
                ActionState::Confirmed => Fate::Confirmed,
                ActionState::RolledBack | ActionState::Failed | ActionState::Superseded => {
                    Fate::Missed(format!("{}: {}", action.state.as_str(), why()))
                }
                ActionState::Queued | ActionState::Running | ActionState::Proving => {
                    Fate::Waiting(action.state.as_str().to_owned())
                }
            };
        }
        let Some(connector) = connector else { return Fate::Missed("the connector is gone".to_owned()) };
        let Some(component) = connector.components.get(self.component) else {
            return Fate::Waiting("not offered yet".to_owned());
        };
        let runs = component.reported.as_ref() == Some(self.version);
        if runs && component.confirmed.as_ref() == Some(self.version) {
            return Fate::Confirmed;
        }
        match (&component.last_failed, &component.why) {
            (Some(failed), Some(why)) if failed.version == *self.version && !runs => Fate::Missed(why.clone()),
            (_, why) => Fate::Waiting(why.clone().unwrap_or_else(|| "not offered yet".to_owned())),
        }
    }

    fn output(&self, fates: &BTreeMap<ThingName, Fate>, in_time: Option<()>, patience: Duration) -> Output {
        let mut lines = Vec::new();
        let mut ends = serde_json::Map::new();
        for (thing, fate) in fates {
            let (state, reason) = match fate {
                Fate::Confirmed => ("confirmed", None),
                Fate::Missed(why) => ("missed", Some(why)),
                Fate::Waiting(why) => ("waiting", Some(why)),
            };
            lines.push(match reason {
                Some(reason) => format!("{thing}: {state} ({})", plain(reason)),
                None => format!("{thing}: {state}"),
            });
            ends.insert(thing.to_string(), json!({"state": state, "reason": reason}));
        }
        let confirmed = fates.values().filter(|fate| **fate == Fate::Confirmed).count();
        let all = self.started.matched.len();
        let value = json!({
            "target": self.started.target, "matched": self.started.matched, "confirmed": confirmed, "connectors": ends,
        });
        let output = Output::new(&value, lines.join("\n"));
        if confirmed == all {
            return output;
        }
        let late = if in_time.is_some() { String::new() } else { format!(" within {} s", patience.as_secs()) };
        output.but_failed(format!(
            "{confirmed} of {all} connectors confirmed {} {}{late}; `muster actions --target {}` says more",
            self.component, self.version, self.started.target
        ))
    }
}

const ASK_EVERY: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn connector(component: serde_json::Value) -> ConnectorView {
        serde_json::from_value(json!({
            "v": 1, "name": "alpha", "link": "online", "link_since": 0, "work": "healthy", "registered_at": 0,
            "host": {}, "components": {"greeter": component},
        }))
        .unwrap()
    }

    fn action(state: &str) -> ActionView {
        serde_json::from_value(json!({
            "v": 1, "target": "t", "job": "j", "thing": "alpha", "component": "greeter", "to": "1.2", "state": state,
            "reason": "the probe failed", "by": "admin", "created_at": 0, "updated_at": 0,
        }))
        .unwrap()
    }

    #[test]
    fn whoever_waits_learns_at_once_who_is_not_there() {
        let started = UpgradeStarted { target: "t".parse().unwrap(), matched: vec!["alpha".parse().unwrap()] };
        let with = |link| vec![ConnectorView { link, ..connector(json!({})) }];
        assert!(absent(&with(LinkStatus::Online), &started).is_empty());
        assert_eq!(
            absent(&with(LinkStatus::Never), &started),
            ["alpha: has never connected; it upgrades once it is installed"]
        );
        assert!(absent(&with(LinkStatus::Offline), &started)[0].starts_with("alpha: offline since 1970"));
    }

    #[test]
    fn the_latest_action_decides_and_without_one_the_facts_of_the_connector() {
        let started = UpgradeStarted { target: "t".parse().unwrap(), matched: vec!["alpha".parse().unwrap()] };
        let (component, version) = ("greeter".parse().unwrap(), "1.2".parse().unwrap());
        let goal = Goal { started: &started, component: &component, version: &version };
        let missed = |text: &str| Fate::Missed(text.to_owned());
        let waiting = |text: &str| Fate::Waiting(text.to_owned());
        let at_rest = connector(json!({"reported": "1.2", "confirmed": "1.2"}));
        let failed = json!({"version": "1.2", "package_sha256": "aa", "reason": "r", "at": 0});
        let barred = connector(json!({"reported": "1.1", "confirmed": "1.1", "last_failed": failed, "why": "failed"}));
        let cases = [
            (Some(action("confirmed")), Some(barred.clone()), Fate::Confirmed),
            (Some(action("rolled-back")), Some(at_rest.clone()), missed("rolled-back: the probe failed")),
            (Some(action("proving")), Some(at_rest.clone()), waiting("proving")),
            (None, Some(at_rest), Fate::Confirmed),
            (None, Some(barred), missed("failed")),
            (None, Some(connector(json!({"reported": "1.1"}))), waiting("not offered yet")),
            (None, None, missed("the connector is gone")),
        ];
        for (action, connector, fate) in cases {
            assert_eq!(goal.fate(action.as_ref(), connector.as_ref()), fate);
        }
    }
}
