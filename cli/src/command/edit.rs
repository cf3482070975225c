//! `muster connector edit`: another pool, site or description.

use super::Run;
use super::whom::Deed;
use crate::args::ConnectorEditArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Output, or_empty, plain};
use muster_wire::admin::{Edit, EditConnector, EditedConnector, Intent, Verb};
use muster_wire::id::{PoolName, SiteName};
use std::fmt::Display;

impl Run for ConnectorEditArgs {
    fn describe(&self) -> String {
        format!("edit {}", self.whom.describe())
    }

    fn json(&self) -> bool {
        self.operator.json
    }

    async fn run(self) -> Result<Output, CliError> {
        let cx = Context::open(&self.operator)?;
        let pool = edit(self.pool, self.no_pool);
        let site = edit(self.site, self.no_site);
        let description = edit(self.description, self.no_description);
        let deed = Deed { does: "changes", done: "changed", effect: effect(&pool, &site, &description) };
        let question =
            |name| EditConnector { name, pool: pool.clone(), site: site.clone(), description: description.clone() };
        self.whom.change(&cx, &deed, Verb::ConnectorEdit, question, tell).await
    }
}

fn edit<T>(value: Option<T>, clear: bool) -> Edit<T> {
    match (value, clear) {
        (Some(value), _) => Edit::Set(value),
        (None, true) => Edit::Clear,
        (None, false) => Edit::Keep,
    }
}

/// What they are afterwards, for the question about many.
fn effect(pool: &Edit<PoolName>, site: &Edit<SiteName>, description: &Edit<String>) -> String {
    fn part<T: Display>(what: &str, edit: &Edit<T>) -> Option<String> {
        match edit {
            Edit::Keep => None,
            Edit::Clear => Some(format!("no {what}")),
            Edit::Set(value) => Some(format!("{what} {}", plain(&value.to_string()))),
        }
    }
    let parts = [part("pool", pool), part("site", site), part("description", description)];
    let is_moved = matches!(pool, Edit::Set(_));
    let moved = if is_moved { " What is wanted of that pool is told to their agents at once." } else { "" };
    format!("They get {}.{moved}", parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
}

fn tell(edited: &EditedConnector) -> String {
    let view = &edited.connector;
    let or_none = |text: String| if text.is_empty() { "none".to_owned() } else { text };
    let mut text = format!(
        "{}: pool {}, site {}",
        view.name,
        or_none(or_empty(view.pool.as_ref())),
        or_none(or_empty(view.site.as_ref())),
    );
    if let Some(description) = &view.description {
        text.push_str(&format!(", described as {}", plain(description)));
    }
    let mut list = |intents: &[Intent], what: &str| {
        for intent in intents {
            text.push_str(&format!("\n  {} {} {what} ({})", intent.component, intent.version, intent.target));
        }
    };
    list(&edited.wanted_now, "is wanted now; its agent is told at once");
    let gone: Vec<Intent> = edited
        .wanted_no_more
        .iter()
        .filter(|gone| !edited.wanted_now.iter().any(|now| now.component == gone.component))
        .cloned()
        .collect();
    list(&gone, "is not wanted any more; what runs stays");
    text
}
