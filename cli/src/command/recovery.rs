//! `muster connector recoveries|approve`: hosts whose certificate is not taken any more, and an operator's yes.

use super::Run;
use crate::args::{ConnectorApproveArgs, ConnectorRecoveriesArgs};
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Output, Table};
use muster_wire::admin::{ApproveRecovery, ListRecoveries, Recovery, RecoveryList, Verb};

impl Run for ConnectorRecoveriesArgs {
    fn describe(&self) -> String {
        "list hosts that ask to be let in again".to_owned()
    }

    fn json(&self) -> bool {
        self.operator.json
    }

    async fn run(self) -> Result<Output, CliError> {
        let cx = Context::open(&self.operator)?;
        let mut operator = cx.connect().await?;
        let list: RecoveryList = operator.call(Verb::ConnectorRecoveries, &ListRecoveries {}).await?;
        operator.close().await;
        let nobody = "nobody asks to be let in again".to_owned();
        let text = if list.recoveries.is_empty() { nobody } else { table(&list.recoveries) };
        Ok(Output::new(&list, text))
    }
}

impl Run for ConnectorApproveArgs {
    fn describe(&self) -> String {
        format!("let {} in again", self.name)
    }

    fn json(&self) -> bool {
        self.operator.json
    }

    async fn run(self) -> Result<Output, CliError> {
        let cx = Context::open(&self.operator)?;
        let mut operator = cx.connect().await?;
        let request = ApproveRecovery { name: self.name, key: self.key };
        let approved: Recovery = operator.call(Verb::ConnectorApprove, &request).await?;
        operator.close().await;
        let text = format!("{} gets a certificate when it asks next (within 5 min)", approved.name);
        Ok(Output::new(&approved, text))
    }
}

fn table(recoveries: &[Recovery]) -> String {
    let mut table = Table::new(&["NAME", "SINCE", "FROM", "HOST", "WHY", "NEW KEY", "APPROVED BY"]);
    for recovery in recoveries {
        table.row([
            recovery.name.to_string(),
            recovery.asked_at.to_string(),
            recovery.peer.clone(),
            recovery.host.hostname.clone(),
            recovery.why.clone(),
            recovery.key.as_str().chars().take(16).collect(),
            recovery.approved_by.as_ref().map(ToString::to_string).unwrap_or_default(),
        ]);
    }
    table.to_string()
}
