//! `muster connector`: lists and shows connectors.

use super::{Run, diagnosis, listing};
use crate::args::{ConnectorListArgs, ConnectorShowArgs};
use crate::client::Operator;
use crate::context::Context;
use crate::error::CliError;
use crate::narrate;
use crate::output::{Output, Table, line, or_empty, plain, spelling};
use muster_wire::admin::{ConnectorList, ListConnectors, Selector, ShowConnector, ShownConnector, Verb};
use muster_wire::id::Version;
use muster_wire::settings::SettingsReport;
use muster_wire::view::{ComponentView, ConnectorView, LifecycleView};
use std::collections::BTreeSet;
use std::fmt::Write;

impl Run for ConnectorListArgs {
    fn describe(&self) -> String {
        "list connectors".to_owned()
    }

    fn json(&self) -> bool {
        self.operator.json
    }

    async fn run(self) -> Result<Output, CliError> {
        let cx = Context::open(&self.operator)?;
        let mut operator = cx.connect().await?;
        let filters =
            self.listing.selector().map_err(|error| CliError::local_because("a filter cannot be used", error))?;
        let selector = match (self.meant.to, filters) {
            (Some(to), Some(filters)) => Some(to.and(filters)),
            (to, filters) => to.or(filters),
        };
        let mut connectors = pages(&mut operator, selector, self.removed).await?;
        operator.close().await;
        listing::sort(&mut connectors, &self.listing.sort);
        let text = match connectors.as_slice() {
            [] => "no connectors".to_owned(),
            some => listing::table(some, &self.listing),
        };
        Ok(Output::new(&ConnectorList { connectors, next: None }, text))
    }
}

/// Every connector that matches, page by page.
///
/// Errors: `Refused`, `Unreachable`.
pub async fn list(operator: &mut Operator, selector: Option<Selector>) -> Result<Vec<ConnectorView>, CliError> {
    pages(operator, selector, false).await
}

/// The names that a selector means now; without one, every name is meant.
///
/// Errors: `Refused`, `Unreachable`.
pub async fn meant(operator: &mut Operator, to: Option<Selector>) -> Result<Meant, CliError> {
    let Some(to) = to else { return Ok(Meant(None)) };
    let connectors = pages(operator, Some(to), false).await?;
    Ok(Meant(Some(connectors.into_iter().map(|view| view.name.as_str().to_owned()).collect())))
}

/// See [`meant`].
#[derive(Debug)]
pub struct Meant(Option<BTreeSet<String>>);

impl Meant {
    /// Whether this name is one of them.
    pub fn has(&self, name: &str) -> bool {
        self.0.as_ref().is_none_or(|names| names.contains(name))
    }

    /// Whether there was a selector.
    pub const fn is_some(&self) -> bool {
        self.0.is_some()
    }
}

async fn pages(
    operator: &mut Operator,
    selector: Option<Selector>,
    removed: bool,
) -> Result<Vec<ConnectorView>, CliError> {
    let mut connectors = Vec::new();
    let mut after = None;
    loop {
        let question = ListConnectors { selector: selector.clone(), after, removed };
        let page: ConnectorList = operator.call(Verb::ConnectorList, &question).await?;
        connectors.extend(page.connectors);
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(connectors),
        }
    }
}

impl Run for ConnectorShowArgs {
    fn describe(&self) -> String {
        format!("show connector {}", self.name)
    }

    fn json(&self) -> bool {
        self.operator.json
    }

    async fn run(self) -> Result<Output, CliError> {
        let cx = Context::open(&self.operator)?;
        let mut operator = cx.connect().await?;
        let shown: ShownConnector = operator.call(Verb::ConnectorShow, &ShowConnector { name: self.name }).await?;
        operator.close().await;
        Ok(Output::new(&shown, sheet(&shown)))
    }
}

fn sheet(shown: &ShownConnector) -> String {
    let view = &shown.connector;
    let host = &view.host;
    let mut text = diagnosis::findings(shown);
    let lines = [
        ("name", view.name.to_string()),
        ("description", or_empty(view.description.as_ref())),
        ("life", life(&view.lifecycle)),
        ("link", format!("{} since {}", spelling(&view.link), view.link_since)),
        ("work", format!("{} since {}", spelling(&view.work), view.work_since)),
        ("pool", or_empty(view.pool.as_ref())),
        ("site", or_empty(view.site.as_ref())),
        ("policies", shown.policies.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
        ("registered", view.registered_at.to_string()),
        ("enrolled", or_empty(view.enrolled_at.as_ref())),
        ("template", or_empty(shown.provisioned_by.as_ref())),
        ("last sync", or_empty(view.last_sync.as_ref())),
        ("host", host.hostname.clone()),
        ("system", format!("{} {}", host.os, host.arch).trim().to_owned()),
        ("addresses", host.addresses.join(", ")),
        ("agent", or_empty(host.agent_version.as_ref())),
        ("way", host.settings.as_ref().map(way).unwrap_or_default()),
        ("measured", view.telemetry.as_ref().map(narrate::metrics).unwrap_or_default()),
    ];
    for (name, value) in lines {
        text.push_str(&line(name, &value));
    }
    for (name, value) in &shown.attributes {
        text.push_str(&line("attribute", &format!("{name} = {value}")));
    }
    text.push_str(&diagnosis::host(shown));
    if !view.components.is_empty() {
        let mut table = Table::new(&["COMPONENT", "WANTED", "RUNS", "CONFIRMED", "HEALTH", "PORT", "NOTE"]);
        for (name, component) in &view.components {
            table.row([
                name.to_string(),
                or_empty(component.desired.as_ref()),
                or_empty(component.reported.as_ref()),
                or_empty(component.confirmed.as_ref()),
                component.health.map(|health| spelling(&health)).unwrap_or_default(),
                or_empty(component.port.as_ref()),
                note(component),
            ]);
        }
        let _ = write!(text, "\n{table}");
    }
    if !shown.actions.is_empty() {
        let _ = write!(text, "\n{}", super::action::table(&shown.actions));
    }
    text.push_str(&diagnosis::rest(shown));
    text
}

/// How its agent is connected, and what became of the last change.
fn way(settings: &SettingsReport) -> String {
    let proxy = settings.proxy.as_ref().map_or("no proxy".to_owned(), |proxy| format!("proxy {proxy}"));
    let on_trial = if settings.on_trial { ", on trial" } else { "" };
    let refused = settings.refused.as_ref().map(|refused| format!("; {refused}")).unwrap_or_default();
    format!("{}, {proxy}{on_trial}{refused}", settings.server)
}

/// `disabled since … by … (why)`.
pub fn life(view: &LifecycleView) -> String {
    let mut text = spelling(&view.state);
    if let Some(since) = &view.since {
        text.push_str(&format!(" since {since}"));
    }
    if let Some(by) = &view.by {
        text.push_str(&format!(" by {by}"));
    }
    if let Some(why) = &view.why {
        text.push_str(&format!(" ({why})"));
    }
    plain(&text)
}

/// Why it is not where it should be, and what failed last unless the first tells of it.
fn note(component: &ComponentView) -> String {
    let why = component.why.as_deref().unwrap_or_default();
    let told = |version: &Version| why.split_ascii_whitespace().any(|word| names(word, version.as_str()));
    let failed = component.last_failed.as_ref().filter(|failed| !told(&failed.version));
    let failed = failed.map(|failed| format!("{} failed: {}", failed.version, failed.reason));
    component.why.iter().cloned().chain(failed).collect::<Vec<_>>().join("; ")
}

/// Whether a word of a sentence is this version; punctuation round it does not count.
fn names(word: &str, version: &str) -> bool {
    word == version || word.trim_matches(|c: char| !c.is_ascii_alphanumeric()) == version
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn view(why: Option<&str>) -> ComponentView {
        let sha256 = "00".repeat(32);
        let failed = json!({"version": "1.1", "package_sha256": sha256, "reason": "the probe failed", "at": 1_800_000_000_000_i64});
        let mut text = json!({"last_failed": failed});
        if let Some(why) = why {
            text["why"] = why.into();
        }
        serde_json::from_value(text).unwrap()
    }

    #[test]
    fn what_a_host_reports_makes_no_line_of_the_sheet() {
        let evil = "evil\u{1b}[31m\nlife          forged";
        let host = json!({
            "hostname": evil, "os": evil, "arch": evil, "kernel": evil, "addresses": [evil],
        });
        let connector = json!({
            "v": 1, "name": "web-1", "description": evil, "link": "offline", "link_since": 0, "work": "unknown",
            "registered_at": 0, "host": host, "components": {},
            "lifecycle": { "state": "disabled", "since": 0, "by": "ann", "why": evil },
        });
        let finding = json!({ "about": "web", "what": evil, "next": evil });
        let shown: ShownConnector = serde_json::from_value(json!({
            "connector": connector, "policies": [], "actions": [], "findings": [finding], "attributes": { "a": evil },
        }))
        .unwrap();
        let text = sheet(&shown);
        assert!(text.contains("forged") && !text.contains('\u{1b}'), "{text}");
        let forged = text.lines().filter(|line| line.starts_with("life ") && !line.contains("disabled since")).count();
        assert_eq!(forged, 0, "{text}");
    }

    #[test]
    fn a_failed_version_is_told_of_once() {
        assert_eq!(note(&view(None)), "1.1 failed: the probe failed");
        for told in ["1.1 failed: the probe failed", "it went back from 1.1: the probe failed", "failed (1.1)"] {
            assert_eq!(note(&view(Some(told))), told);
        }
        assert_eq!(note(&view(Some("waits for 1.1.0"))), "waits for 1.1.0; 1.1 failed: the probe failed");
    }
}
