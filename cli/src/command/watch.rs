//! `muster watch`: what happens in the fleet, line by line.

use super::{Run, list};
use crate::args::WatchArgs;
use crate::client::{Message, Operator};
use crate::context::Context;
use crate::error::CliError;
use crate::narrate::News;
use crate::output::{Output, json_line, say};
use muster_model::select::{Facts, selects};
use muster_wire::admin::Selector;
use muster_wire::id::ThingName;
use muster_wire::topic::{Topic, ViewTopic};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

/// The filter for everything that dashboards may read: all topics beside and below the one of the actions.
pub fn view_filter() -> String {
    let topic = Topic::View(ViewTopic::Actions).to_string();
    let parent = topic.rsplit_once('/').map_or(topic.as_str(), |(parent, _)| parent);
    format!("{parent}/#")
}

impl Run for WatchArgs {
    fn describe(&self) -> String {
        "watch the fleet".to_owned()
    }

    fn json(&self) -> bool {
        self.operator.json
    }

    async fn run(self) -> Result<Output, CliError> {
        let cx = Context::open(&self.operator)?;
        let mut operator = cx.connect().await?;
        let mut told = Told::of(self.meant.to, &mut operator).await?;
        operator.subscribe(&view_filter()).await?;
        let end = async {
            match self.seconds {
                Some(seconds) => tokio::time::sleep(Duration::from_secs(u64::from(seconds.get()))).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(end);
        let mut left = self.count.map(std::num::NonZeroU32::get);
        while left != Some(0) {
            let message = tokio::select! {
                // Cancel-safe: next_message() keeps what has arrived.
                message = operator.next_message() => message?,
                // Polled again until it is over.
                () = &mut end => break,
                // An interrupt ends the watch; that is what it is for.
                _ = tokio::signal::ctrl_c() => break,
            };
            if !told.is_of_interest(&message) {
                continue;
            }
            say(&line(message, cx.json, &operator.clock().now().to_string()));
            left = left.map(|left| left - 1);
        }
        operator.close().await;
        Ok(Output::silent())
    }
}

/// Whose news are told: of those that a selector means, from its first word to that of leaving.
struct Told {
    to: Option<Selector>,
    meant: BTreeSet<ThingName>,
}

impl Told {
    async fn of(to: Option<Selector>, operator: &mut Operator) -> Result<Self, CliError> {
        let views = match &to {
            Some(to) => list(operator, Some(to.clone())).await?,
            None => Vec::new(),
        };
        Ok(Self { to, meant: views.into_iter().map(|view| view.name).collect() })
    }

    /// A connector that comes to be meant, or is not meant any more, is told of once more: that is news.
    fn is_of_interest(&mut self, message: &Message) -> bool {
        let Some(to) = &self.to else { return true };
        match News::of(message.clone()) {
            News::Connector(view) if selects(to, &Facts::from(&*view)) => {
                self.meant.insert(view.name);
                true
            }
            News::Connector(view) => self.meant.remove(&view.name),
            News::Gone(name) => self.meant.iter().any(|one| one.as_str() == &*name),
            News::Action(action) => self.meant.contains(&action.thing),
            News::Metrics(name, _) => self.meant.iter().any(|one| one.as_str() == &*name),
            News::Other(_) => false,
        }
    }
}

fn line(message: Message, json: bool, now: &str) -> String {
    if !json {
        return format!("{now}  {}", News::of(message).line());
    }
    let payload = serde_json::from_slice(&message.payload)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&message.payload).into_owned()));
    json_line(&json!({"topic": message.topic, "payload": payload}))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_filter_covers_every_view() {
        assert_eq!(view_filter(), "muster/view/#");
    }

    #[test]
    fn news_are_of_those_that_are_meant_and_the_last_is_that_they_are_not() {
        let topic = |name: &str| Topic::View(ViewTopic::Connector(ThingName::new(name).unwrap())).to_string();
        let view = |name: &str, pool: &str| Message {
            topic: topic(name),
            payload: json!({
                "v": 1, "name": name, "pool": pool, "link": "online", "link_since": 0, "work": "healthy",
                "registered_at": 0, "host": {}, "components": {},
            })
            .to_string()
            .into(),
        };
        let action = |name: &str| Message {
            topic: Topic::View(ViewTopic::Actions).to_string(),
            payload: json!({
                "v": 1, "target": "t", "job": "j", "thing": name, "component": "c", "to": "1", "state": "queued",
                "by": "admin", "created_at": 0, "updated_at": 0,
            })
            .to_string()
            .into(),
        };
        let meant = BTreeSet::from([ThingName::new("a").unwrap()]);
        let mut told = Told { to: Some("pool=blue".parse().unwrap()), meant };
        for (message, is_told) in [
            (action("a"), true),
            (action("b"), false),
            (view("b", "green"), false),
            (view("b", "blue"), true),
            (action("b"), true),
            (view("a", "green"), true),
            (view("a", "green"), false),
            (action("a"), false),
            (Message { topic: topic("b"), payload: "".into() }, true),
            (Message { topic: topic("a"), payload: "".into() }, false),
        ] {
            assert_eq!(told.is_of_interest(&message), is_told, "{message:?}");
        }
        let mut everybody = Told { to: None, meant: BTreeSet::new() };
        assert!(everybody.is_of_interest(&view("c", "red")));
    }

    #[test]
    fn a_message_is_a_sentence_or_one_json_object() {
        let message = |payload: &'static str| Message { topic: "muster/view/new".to_owned(), payload: payload.into() };
        assert_eq!(line(message("{\"a\":1}"), true, ""), r#"{"payload":{"a":1},"topic":"muster/view/new"}"#);
        assert_eq!(line(message("no json"), true, ""), r#"{"payload":"no json","topic":"muster/view/new"}"#);
        assert_eq!(line(message("x"), false, "noon"), "noon  muster/view/new: x");
    }
}
