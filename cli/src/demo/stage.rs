//! The stages of the story: each is asked for, watched, and then proven twice: by what the server says of every
//! connector, and by what the running components answer themselves.

use super::fleet::Fleet;
use super::screen::Screen;
use crate::client::Operator;
use crate::command::list;
use crate::error::{Cause, CliError};
use crate::https;
use crate::narrate::{self, News};
use crate::output::spelling;
use bytes::Bytes;
use http_body_util::Empty;
use hyper::Request;
use muster_wire::admin::{ActionList, ListActions, Selector, Upgrade, UpgradeStarted, Verb};
use muster_wire::component::Health;
use muster_wire::id::{ComponentName, TargetId, ThingName, Version};
use muster_wire::view::{ActionState, ActionView, ConnectorView, LinkStatus};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

/// One upgrade of the whole fleet, and what must have come of it.
pub struct Stage {
    /// The version that is asked for.
    pub version: &'static str,
    /// The version that must run afterwards.
    pub runs: &'static str,
    /// How every action must end.
    pub ending: Ending,
}

/// How an action must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The new version is proven to run.
    Confirmed,
    /// The new version failed, and the old one is back.
    RolledBack,
}

/// Goes through the stages with a connection to ask and one to watch.
pub struct Runner<'a> {
    operator: &'a mut Operator,
    watcher: &'a mut Operator,
    screen: &'a mut Screen,
    connectors: usize,
    /// The last line about each connector: the server repeats itself.
    said: BTreeMap<ThingName, String>,
}

/// Where one connector is on the way to the end of a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stand {
    Proven,
    Waiting(String),
    /// It cannot get there any more.
    Lost(String),
}

impl<'a> Runner<'a> {
    /// A runner for a fleet of so many connectors.
    pub fn new(
        operator: &'a mut Operator,
        watcher: &'a mut Operator,
        screen: &'a mut Screen,
        connectors: usize,
    ) -> Self {
        Self { operator, watcher, screen, connectors, said: BTreeMap::new() }
    }

    /// Says something.
    pub fn event(&mut self, text: &str) {
        self.screen.event(text);
    }

    /// Waits until every connector is online.
    pub async fn online(&mut self, fleet: &mut Fleet) -> Result<(), CliError> {
        self.until("every connector is online", fleet, None).await
    }

    /// Asks for a version on all connectors and waits until the stage is proven. Returns on how many it is.
    pub async fn upgrade(&mut self, fleet: &mut Fleet, stage: &Stage) -> Result<usize, CliError> {
        let request =
            Upgrade { component: greeter(), version: version(stage.version), to: Selector::all(), again: false };
        self.screen.event(&format!("upgrade greeter {} --to all", stage.version));
        let started: UpgradeStarted = self.operator.call(Verb::Upgrade, &request).await?;
        if started.matched.len() != self.connectors {
            let (found, wanted) = (started.matched.len(), self.connectors);
            return Err(CliError::Outcome(format!("the upgrade matched {found} connectors, not {wanted}")));
        }
        let claim = match stage.ending {
            Ending::Confirmed => format!("greeter {} is confirmed everywhere", stage.version),
            Ending::RolledBack => format!("greeter {} is rolled back to {} everywhere", stage.version, stage.runs),
        };
        self.until(&claim, fleet, Some((stage, &started.target))).await?;
        self.screen.event(&format!("{claim}, say the server and the {} processes", self.connectors));
        Ok(self.connectors)
    }

    /// Shows what happens until every connector stands where it should.
    ///
    /// Errors: `Outcome` with the last stand of each connector when that cannot be or takes too long.
    async fn until(
        &mut self,
        claim: &str,
        fleet: &mut Fleet,
        stage: Option<(&Stage, &TargetId)>,
    ) -> Result<(), CliError> {
        let mut tick = interval(LOOK_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let patience = sleep(STAGE_DEADLINE);
        tokio::pin!(patience);
        let mut late = false;
        loop {
            tokio::select! {
                // Cancel-safe: next_message() keeps what has arrived.
                message = self.watcher.next_message() => {
                    let news = News::of(message?);
                    self.show(&news);
                    continue;
                }
                // Cancel-safe: an interval keeps its next moment.
                _ = tick.tick() => {}
                // Polled again until it is over; one more look is worth it.
                () = &mut patience, if !late => late = true,
            }
            if let Some(error) = fleet.casualty() {
                return Err(error);
            }
            let stands = self.look(stage).await?;
            if stands.len() == self.connectors && stands.values().all(|stand| *stand == Stand::Proven) {
                self.screen.clear();
                return Ok(());
            }
            let lost = stands.values().any(|stand| matches!(stand, Stand::Lost(_)));
            if lost || late {
                self.screen.clear();
                return Err(explain(claim, lost, &stands, fleet));
            }
            self.screen.status(&status(&stands));
        }
    }

    fn show(&mut self, news: &News) {
        match news {
            News::Action(action) => self.screen.event(&narrate::action(action)),
            News::Connector(view) => {
                let line = news.line();
                if self.said.get(&view.name) != Some(&line) {
                    self.screen.event(&line);
                    self.said.insert(view.name.clone(), line);
                }
            }
            News::Gone(_) | News::Metrics(..) | News::Other(_) => {}
        }
    }

    /// Asks the server, and the processes, where every connector stands.
    async fn look(&mut self, stage: Option<(&Stage, &TargetId)>) -> Result<BTreeMap<ThingName, Stand>, CliError> {
        let connectors = list(self.operator, None).await?;
        let mut stands = BTreeMap::new();
        let Some((stage, target)) = stage else {
            for view in connectors {
                let stand = match view.link {
                    LinkStatus::Online => Stand::Proven,
                    other => Stand::Waiting(spelling(&other)),
                };
                stands.insert(view.name, stand);
            }
            return Ok(stands);
        };
        let question = ListActions { thing: None, target: Some(target.clone()) };
        let actions: ActionList = self.operator.call(Verb::Actions, &question).await?;
        for view in connectors {
            let action = actions.actions.iter().find(|action| action.thing == view.name);
            let stand = match server_stand(stage, action, &view) {
                Ok(port) => process_stand(stage, port).await,
                Err(stand) => stand,
            };
            stands.insert(view.name, stand);
        }
        Ok(stands)
    }
}

/// What the server says: the port of the component once everything is as it should be.
fn server_stand(stage: &Stage, action: Option<&ActionView>, view: &ConnectorView) -> Result<u16, Stand> {
    let waiting = |text: String| Err(Stand::Waiting(text));
    let Some(action) = action else { return waiting("no action yet".to_owned()) };
    let wanted = match stage.ending {
        Ending::Confirmed => ActionState::Confirmed,
        Ending::RolledBack => ActionState::RolledBack,
    };
    if action.state != wanted {
        let reason = action.reason.as_deref().unwrap_or("no reason given");
        return Err(match action.state.is_end() {
            true => Stand::Lost(format!("{}: {reason}", action.state.as_str())),
            false => Stand::Waiting(action.step.clone().unwrap_or_else(|| action.state.as_str().to_owned())),
        });
    }
    let Some(component) = view.components.get(&greeter()) else { return waiting("no component reported".to_owned()) };
    let runs = version(stage.runs);
    if view.link != LinkStatus::Online || component.reported.as_ref() != Some(&runs) {
        return waiting(format!("{}, runs {}", spelling(&view.link), narrate::component(component)));
    }
    if component.confirmed.as_ref() != Some(&runs) {
        return waiting(format!("{runs} is not confirmed"));
    }
    let failed = component.last_failed.as_ref().map(|failed| failed.version.as_str());
    if stage.ending == Ending::RolledBack && failed != Some(stage.version) {
        return waiting(format!("{} is not noted as failed", stage.version));
    }
    match (component.health, component.port) {
        (Some(Health::Healthy), Some(port)) => Ok(port),
        (_, None) => waiting("no port reported".to_owned()),
        (health, _) => waiting(format!("health {}", health.map(|health| spelling(&health)).unwrap_or_default())),
    }
}

/// What the process itself says.
async fn process_stand(stage: &Stage, port: u16) -> Stand {
    match timeout(ANSWER_DEADLINE, ask_version(port)).await {
        Ok(Ok(answer)) if answer == stage.runs => Stand::Proven,
        Ok(Ok(answer)) => Stand::Waiting(format!("the process on port {port} answers {answer:?}, not {}", stage.runs)),
        Ok(Err(error)) => Stand::Waiting(format!("the process on port {port} does not answer: {error}")),
        Err(_) => Stand::Waiting(format!("the process on port {port} does not answer")),
    }
}

async fn ask_version(port: u16) -> Result<String, Cause> {
    let connection = TcpStream::connect(("127.0.0.1", port)).await?;
    let request = Request::get("/version").header("host", "127.0.0.1").body(Empty::<Bytes>::new())?;
    let answer = https::exchange(connection, request).await?;
    if !answer.status.is_success() {
        return Err(format!("HTTP status {}", answer.status.as_u16()).into());
    }
    Ok(String::from_utf8_lossy(&answer.body).into_owned())
}

fn status(stands: &BTreeMap<ThingName, Stand>) -> String {
    let words = stands.iter().map(|(thing, stand)| match stand {
        Stand::Proven => format!("{thing}: done"),
        Stand::Waiting(why) | Stand::Lost(why) => format!("{thing}: {why}"),
    });
    words.collect::<Vec<_>>().join(" | ")
}

fn explain(claim: &str, lost: bool, stands: &BTreeMap<ThingName, Stand>, fleet: &Fleet) -> CliError {
    let mut text = if lost {
        format!("it was expected that {claim}, and it cannot be any more")
    } else {
        format!("it was expected that {claim} within {} s", STAGE_DEADLINE.as_secs())
    };
    text.push_str("; last seen:");
    for (thing, stand) in stands {
        let seen = match stand {
            Stand::Proven => "as expected",
            Stand::Waiting(why) | Stand::Lost(why) => why.as_str(),
        };
        text.push_str(&format!("\n  {thing}: {seen}  (log {})", fleet.log(thing.as_str()).display()));
    }
    text.push_str(&format!("\n  server: log {}", fleet.log("server").display()));
    CliError::Outcome(text)
}

fn greeter() -> ComponentName {
    ComponentName::new("greeter").expect("the component of the demo has a valid name")
}

fn version(text: &str) -> Version {
    Version::new(text).expect("the versions of the demo are valid")
}

const LOOK_EVERY: Duration = Duration::from_millis(250);
/// A stage takes a few seconds; a machine under load gets thirty times as many.
const STAGE_DEADLINE: Duration = Duration::from_secs(90);
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::{Value, json};

    const BAD: Stage = Stage { version: "1.2", runs: "1.1", ending: Ending::RolledBack };
    const GOOD: Stage = Stage { version: "1.1", runs: "1.1", ending: Ending::Confirmed };

    fn view(component: &Value) -> ConnectorView {
        serde_json::from_value(json!({
            "v": 1, "name": "alpha", "link": "online", "link_since": 0, "work": "healthy", "registered_at": 0,
            "host": {}, "components": {"greeter": component},
        }))
        .unwrap()
    }

    fn action(state: &str) -> ActionView {
        serde_json::from_value(json!({
            "v": 1, "target": "t", "job": "j", "thing": "alpha", "component": "greeter", "to": "1.2", "state": state,
            "by": "admin", "created_at": 0, "updated_at": 0,
        }))
        .unwrap()
    }

    #[track_caller]
    fn check(stage: &Stage, state: &str, component: Value, expected: Result<u16, Stand>) {
        assert_eq!(server_stand(stage, Some(&action(state)), &view(&component)), expected);
    }

    #[test]
    fn nothing_but_the_whole_ending_counts() {
        let waiting = |text: &str| Err(Stand::Waiting(text.to_owned()));
        let good = json!({"reported": "1.1", "confirmed": "1.1", "health": "healthy", "port": 7});
        let with = |key: &str, value: Value| {
            let mut changed = good.clone();
            changed[key] = value;
            changed
        };
        check(&GOOD, "confirmed", good.clone(), Ok(7));
        check(&GOOD, "proving", good.clone(), waiting("proving"));
        check(&GOOD, "rolled-back", good.clone(), Err(Stand::Lost("rolled-back: no reason given".to_owned())));
        check(&GOOD, "confirmed", with("reported", json!("1.0")), waiting("online, runs 1.0"));
        check(&GOOD, "confirmed", with("confirmed", json!("1.0")), waiting("1.1 is not confirmed"));
        check(&GOOD, "confirmed", with("health", json!("starting")), waiting("health starting"));
        check(&GOOD, "confirmed", with("port", Value::Null), waiting("no port reported"));
        check(&BAD, "confirmed", good.clone(), Err(Stand::Lost("confirmed: no reason given".to_owned())));
        check(&BAD, "rolled-back", good.clone(), waiting("1.2 is not noted as failed"));
        let failed = json!({"version": "1.2", "package_sha256": "aa", "reason": "r", "at": 0});
        check(&BAD, "rolled-back", with("last_failed", failed), Ok(7));
        assert_eq!(server_stand(&GOOD, None, &view(&good)), waiting("no action yet"));
    }
}
