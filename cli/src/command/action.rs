//! `muster actions`: upgrade actions.

use super::{Run, connector};
use crate::args::ActionsArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Output, Table, or_empty};
use muster_wire::admin::{ActionList, ListActions, Verb};
use muster_wire::view::ActionView;

impl Run for ActionsArgs {
    fn describe(&self) -> String {
        "list actions".to_owned()
    }

    fn json(&self) -> bool {
        self.operator.json
    }

    async fn run(self) -> Result<Output, CliError> {
        let cx = Context::open(&self.operator)?;
        let mut operator = cx.connect().await?;
        let question = ListActions { thing: self.connector, target: self.target };
        let mut list: ActionList = operator.call(Verb::Actions, &question).await?;
        let meant = connector::meant(&mut operator, self.meant.to).await?;
        list.actions.retain(|action| meant.has(action.thing.as_str()));
        operator.close().await;
        let text = if list.actions.is_empty() { "no actions".to_owned() } else { table(&list.actions) };
        Ok(Output::new(&list, text))
    }
}

/// Actions as a table.
pub fn table(actions: &[ActionView]) -> String {
    let mut table =
        Table::new(&["UPDATED", "CONNECTOR", "COMPONENT", "FROM", "TO", "STATE", "STEP", "TARGET", "REASON"]);
    for action in actions {
        table.row([
            action.updated_at.to_string(),
            action.thing.to_string(),
            action.component.to_string(),
            or_empty(action.from.as_ref()),
            action.to.to_string(),
            action.state.as_str().to_owned(),
            or_empty(action.step.as_ref()),
            action.target.to_string(),
            or_empty(action.reason.as_ref()),
        ]);
    }
    table.to_string()
}
