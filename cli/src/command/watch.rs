//! `muster watch`: what happens in the fleet, line by line.

use super::Run;
use crate::args::WatchArgs;
use crate::client::Message;
use crate::context::Context;
use crate::error::CliError;
use crate::narrate::News;
use crate::output::{Output, json_line, say};
use muster_wire::topic::{Topic, ViewTopic};
use serde_json::{Value, json};
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
            say(&line(message, cx.json, &operator.clock().now().to_string()));
            left = left.map(|left| left - 1);
        }
        operator.close().await;
        Ok(Output::silent())
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
    use super::*;

    #[test]
    fn the_filter_covers_every_view() {
        assert_eq!(view_filter(), "muster/view/#");
    }

    #[test]
    fn a_message_is_a_sentence_or_one_json_object() {
        let message = |payload: &'static str| Message { topic: "muster/view/new".to_owned(), payload: payload.into() };
        assert_eq!(line(message("{\"a\":1}"), true, ""), r#"{"payload":{"a":1},"topic":"muster/view/new"}"#);
        assert_eq!(line(message("no json"), true, ""), r#"{"payload":"no json","topic":"muster/view/new"}"#);
        assert_eq!(line(message("x"), false, "noon"), "noon  muster/view/new: x");
    }
}
