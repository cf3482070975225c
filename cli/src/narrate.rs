//! What happens in the fleet, as sentences: one line for each message under `muster/view/`.

use muster_wire::component::Health;
use muster_wire::telemetry::HostTelemetry;
use muster_wire::topic::{Topic, ViewTopic};
use muster_wire::view::{ActionView, ComponentView, ConnectorView, Life};

use crate::client::Message;
use crate::output::{plain, spelling};

/// A message that was understood.
#[derive(Clone, Debug)]
pub enum News {
    /// The state of a connector.
    Connector(Box<ConnectorView>),
    /// A connector was removed: its retained state is gone.
    Gone(Box<str>),
    /// A step of an upgrade.
    Action(Box<ActionView>),
    /// Measurements of a host.
    Metrics(Box<str>, Box<HostTelemetry>),
    /// Something this program does not know; a newer server may say more.
    Other(Message),
}

impl News {
    /// Reads a message.
    pub fn of(message: Message) -> Self {
        let read = match Topic::parse(&message.topic) {
            Ok(Topic::View(ViewTopic::Connector(name) | ViewTopic::Metrics(name))) if message.payload.is_empty() => {
                Some(Self::Gone(name.as_str().into()))
            }
            Ok(Topic::View(ViewTopic::Connector(_))) => {
                serde_json::from_slice(&message.payload).map(|view| Self::Connector(Box::new(view))).ok()
            }
            Ok(Topic::View(ViewTopic::Actions)) => {
                serde_json::from_slice(&message.payload).map(|view| Self::Action(Box::new(view))).ok()
            }
            Ok(Topic::View(ViewTopic::Metrics(thing))) => serde_json::from_slice(&message.payload)
                .map(|metrics| Self::Metrics(thing.as_str().into(), Box::new(metrics)))
                .ok(),
            _ => None,
        };
        read.unwrap_or(Self::Other(message))
    }

    /// The message as one line for people.
    pub fn line(&self) -> String {
        plain(&match self {
            Self::Connector(view) => connector(view),
            Self::Gone(name) => format!("{name}: gone"),
            Self::Action(view) => action(view),
            Self::Metrics(thing, measured) => format!("{thing}: {}", metrics(measured)),
            Self::Other(message) => format!("{}: {}", message.topic, String::from_utf8_lossy(&message.payload)),
        })
    }
}

/// `alpha: online, healthy; greeter 1.1 (wanted 1.2)`.
pub fn connector(view: &ConnectorView) -> String {
    let mut line = format!("{}: {}, {}", view.name, spelling(&view.link), spelling(&view.work));
    if view.lifecycle.state != Life::Active {
        line = format!("{}: {}, {}", view.name, spelling(&view.lifecycle.state), spelling(&view.link));
    }
    for (separator, (name, component)) in std::iter::once("; ").chain(std::iter::repeat(", ")).zip(&view.components) {
        line.push_str(&format!("{separator}{name} {}", self::component(component)));
    }
    line
}

/// `1.1 (wanted 1.2, unhealthy, failed 1.2)`.
pub fn component(view: &ComponentView) -> String {
    let mut notes = Vec::new();
    if let Some(desired) = view.desired.as_ref().filter(|desired| view.reported.as_ref() != Some(*desired)) {
        notes.push(format!("wanted {desired}"));
    }
    if let Some(health) = view.health.filter(|health| *health != Health::Healthy) {
        notes.push(spelling(&health));
    }
    if let Some(failed) = &view.last_failed {
        notes.push(format!("{} failed", failed.version));
    }
    let mut text = view.reported.as_ref().map_or_else(|| "not installed".to_owned(), ToString::to_string);
    if !notes.is_empty() {
        text.push_str(&format!(" ({})", notes.join(", ")));
    }
    text
}

/// `alpha: greeter 1.0 -> 1.1 running (probing): reason`.
pub fn action(view: &ActionView) -> String {
    let from = view.from.as_ref().map(|from| format!("{from} -> ")).unwrap_or_default();
    let mut line = format!("{}: {} {from}{} {}", view.thing, view.component, view.to, view.state.as_str());
    if let Some(step) = view.step.as_ref().filter(|_| !view.state.is_end()) {
        line.push_str(&format!(" ({step})"));
    }
    if let Some(reason) = &view.reason {
        line.push_str(&format!(": {reason}"));
    }
    line
}

/// `cpu 12 %, memory 1024 of 4096 MiB free, disk 10 of 50 GiB free`.
pub fn metrics(measured: &HostTelemetry) -> String {
    const MIB: u64 = 1024 * 1024;
    const GIB: u64 = 1024 * MIB;
    format!(
        "cpu {:.0} %, memory {} of {} MiB free, disk {} of {} GiB free",
        measured.cpu_percent,
        measured.memory_available_bytes / MIB,
        measured.memory_total_bytes / MIB,
        measured.disk_available_bytes / GIB,
        measured.disk_total_bytes / GIB,
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[track_caller]
    fn check(topic: &str, payload: &serde_json::Value, line: &str) {
        let payload = payload.to_string().into();
        assert_eq!(News::of(Message { topic: topic.to_owned(), payload }).line(), line);
    }

    #[test]
    fn messages_become_sentences() {
        check(
            "muster/view/connectors/alpha",
            &serde_json::json!({
                "v": 1, "name": "alpha", "link": "online", "link_since": 0, "work": "degraded", "registered_at": 0,
                "host": {}, "components": {"greeter": {"desired": "1.2", "reported": "1.1", "health": "unhealthy"}},
            }),
            "alpha: online, degraded; greeter 1.1 (wanted 1.2, unhealthy)",
        );
        check(
            "muster/view/actions",
            &serde_json::json!({
                "v": 1, "target": "t", "job": "j", "thing": "alpha", "component": "greeter", "from": "1.0", "to": "1.1",
                "state": "running", "step": "probing", "by": "admin", "created_at": 0, "updated_at": 0,
            }),
            "alpha: greeter 1.0 -> 1.1 running (probing)",
        );
        check(
            "muster/view/actions",
            &serde_json::json!({
                "v": 1, "target": "t", "job": "j", "thing": "alpha", "component": "greeter", "to": "1.1",
                "state": "failed", "reason": "x\u{1b}[2K\nalpha: healthy", "by": "admin", "created_at": 0,
                "updated_at": 0,
            }),
            "alpha: greeter 1.1 failed: x\u{fffd}[2K\u{fffd}alpha: healthy",
        );
        check("muster/view/else", &serde_json::json!(1), "muster/view/else: 1");
        check("muster/view/actions", &serde_json::json!(1), "muster/view/actions: 1");
    }
}
