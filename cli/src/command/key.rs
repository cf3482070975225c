//! `muster key`: makes, lists and revokes access keys.

use super::Run;
use crate::args::{KeyCreateArgs, KeyListArgs, KeyRevokeArgs};
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Output, Table};
use muster_wire::admin::{CreateKey, CreatedKey, KeyList, KeyView, ListKeys, RevokeKey, Verb};

impl Run for KeyCreateArgs {
    fn describe(&self) -> String {
        "make an access key".to_owned()
    }

    fn json(&self) -> bool {
        self.operator.json
    }

    async fn run(self) -> Result<Output, CliError> {
        let cx = Context::open(&self.operator)?;
        let mut operator = cx.connect().await?;
        let request = CreateKey { policy: self.policy, description: self.description };
        let made: CreatedKey = operator.call(Verb::KeyCreate, &request).await?;
        operator.close().await;
        let text = format!(
            "aws_access_key_id = {}\naws_secret_access_key = {}\n\nits holder may do what the policy {} says; the \
             secret is not shown again",
            made.key.id, made.secret, made.key.policy
        );
        Ok(Output::new(&made, text))
    }
}

impl Run for KeyListArgs {
    fn describe(&self) -> String {
        "list access keys".to_owned()
    }

    fn json(&self) -> bool {
        self.operator.json
    }

    async fn run(self) -> Result<Output, CliError> {
        let cx = Context::open(&self.operator)?;
        let mut operator = cx.connect().await?;
        let mut list = KeyList { keys: Vec::new(), next: None };
        let mut after = None;
        loop {
            let page: KeyList = operator.call(Verb::KeyList, &ListKeys { after }).await?;
            list.keys.extend(page.keys);
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        operator.close().await;
        if list.keys.is_empty() {
            let text = "no access keys; make one with `muster key create --policy observer`";
            return Ok(Output::new(&list, text));
        }
        let mut table = Table::new(&["ID", "POLICY", "CREATED", "BY", "REVOKED", "DESCRIPTION"]);
        for key in &list.keys {
            table.row([
                key.id.to_string(),
                key.policy.to_string(),
                key.created_at.to_string(),
                key.created_by.to_string(),
                key.revoked_at.map_or_else(|| "-".to_owned(), |at| at.to_string()),
                key.description.clone().unwrap_or_default(),
            ]);
        }
        Ok(Output::new(&list, table.to_string()))
    }
}

impl Run for KeyRevokeArgs {
    fn describe(&self) -> String {
        format!("revoke access key {}", self.id)
    }

    fn json(&self) -> bool {
        self.operator.json
    }

    async fn run(self) -> Result<Output, CliError> {
        let cx = Context::open(&self.operator)?;
        let mut operator = cx.connect().await?;
        let revoked: KeyView = operator.call(Verb::KeyRevoke, &RevokeKey { id: self.id }).await?;
        operator.close().await;
        let text = format!("revoked {}; whoever signs with it is refused from now on", revoked.id);
        Ok(Output::new(&revoked, text))
    }
}
