//! `muster connector edit`: another pool, site or description.

use super::Run;
use crate::args::ConnectorEditArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Output, or_empty};
use muster_wire::admin::{Edit, EditConnector, EditedConnector, Intent, Verb};

impl Run for ConnectorEditArgs {
    fn describe(&self) -> String {
        format!("edit connector {}", self.name)
    }

    fn json(&self) -> bool {
        self.operator.json
    }

    async fn run(self) -> Result<Output, CliError> {
        let cx = Context::open(&self.operator)?;
        let request = EditConnector {
            name: self.name,
            pool: edit(self.pool, self.no_pool),
            site: edit(self.site, self.no_site),
            description: edit(self.description, self.no_description),
        };
        let mut operator = cx.connect().await?;
        let edited: EditedConnector = operator.call(Verb::ConnectorEdit, &request).await?;
        operator.close().await;
        let text = tell(&edited);
        Ok(Output::new(&edited, text))
    }
}

fn edit<T>(value: Option<T>, clear: bool) -> Edit<T> {
    match (value, clear) {
        (Some(value), _) => Edit::Set(value),
        (None, true) => Edit::Clear,
        (None, false) => Edit::Keep,
    }
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
