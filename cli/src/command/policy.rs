//! `muster policy`: what connectors may do, by name.

use super::Run;
use crate::args::{PolicyAddArgs, PolicyAttachArgs, PolicyDeleteArgs, PolicyListArgs, PolicyShowArgs};
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Output, Table, or_empty};
use muster_wire::admin::{
    AddPolicy, AttachPolicy, AttachedPolicy, ListPolicies, NamePolicy, PolicyList, PolicyView, ShownPolicy, Verb,
};
use muster_wire::policy::PolicyName;
use std::path::Path;

impl Run for PolicyListArgs {
    fn describe(&self) -> String {
        "list policies".to_owned()
    }

    fn json(&self) -> bool {
        self.operator.json
    }

    async fn run(self) -> Result<Output, CliError> {
        let cx = Context::open(&self.operator)?;
        let mut operator = cx.connect().await?;
        let mut policies: Vec<PolicyView> = Vec::new();
        let mut after = None;
        loop {
            let page: PolicyList = operator.call(Verb::PolicyList, &ListPolicies { after }).await?;
            policies.extend(page.policies);
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        operator.close().await;
        let mut table = Table::new(&["NAME", "VERSION", "CONNECTORS", "CHANGED", "BY", "NOTE"]);
        for policy in &policies {
            table.row([
                policy.name.to_string(),
                policy.version.to_string(),
                policy.connectors.to_string(),
                or_empty(policy.at.as_ref()),
                or_empty(policy.by.as_ref()),
                policy.built_in.as_ref().map(|purpose| format!("built in: {purpose}")).unwrap_or_default(),
            ]);
        }
        Ok(Output::new(&PolicyList { policies, next: None }, table.to_string()))
    }
}

impl Run for PolicyShowArgs {
    fn describe(&self) -> String {
        format!("show policy {}", self.name)
    }

    fn json(&self) -> bool {
        self.operator.json
    }

    async fn run(self) -> Result<Output, CliError> {
        let cx = Context::open(&self.operator)?;
        let mut operator = cx.connect().await?;
        let shown: ShownPolicy = operator.call(Verb::PolicyShow, &NamePolicy { name: self.name }).await?;
        operator.close().await;
        let policy = &shown.policy;
        let origin = match (&policy.built_in, &policy.at, &policy.by) {
            (Some(purpose), ..) => format!("built in: {purpose}"),
            (None, Some(at), Some(by)) => format!("version {}, {at} by {by}", policy.version),
            _ => format!("version {}", policy.version),
        };
        let mut names: Vec<String> = shown.connectors.iter().map(ToString::to_string).collect();
        if names.len() < policy.connectors {
            names.push(format!("and {} more", policy.connectors - names.len()));
        }
        let names = if names.is_empty() { "none by name".to_owned() } else { names.join(", ") };
        let head = format!("name        {}\norigin      {origin}\nconnectors  {names}\n\n", policy.name);
        let text = head + &shown.document;
        Ok(Output::new(&shown, text))
    }
}

impl Run for PolicyAddArgs {
    fn describe(&self) -> String {
        format!("add the policy in {}", self.file.display())
    }

    fn json(&self) -> bool {
        self.operator.json
    }

    async fn run(self) -> Result<Output, CliError> {
        let name = match self.name {
            Some(name) => name,
            None => name_of(&self.file)?,
        };
        let document = std::fs::read_to_string(&self.file)
            .map_err(|error| CliError::local_because("the file cannot be read as text", error))?;
        let cx = Context::open(&self.operator)?;
        let mut operator = cx.connect().await?;
        let request = AddPolicy { name, document, replace: self.replace };
        let policy: PolicyView = operator.call(Verb::PolicyAdd, &request).await?;
        operator.close().await;
        let stored = format!("stored {} version {}", policy.name, policy.version);
        let text = match policy.connectors {
            0 => format!("{stored}\n\nnext:\n  muster policy attach {} CONNECTOR", policy.name),
            many => format!("{stored}; in force for connectors: {many}"),
        };
        Ok(Output::new(&policy, text))
    }
}

/// The name of a policy whose file says it.
fn name_of(file: &Path) -> Result<PolicyName, CliError> {
    let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    PolicyName::new(stem)
        .map_err(|error| CliError::local_because("the file's name is no name of a policy; give --name NAME", error))
}

impl Run for PolicyDeleteArgs {
    fn describe(&self) -> String {
        format!("delete policy {}", self.name)
    }

    fn json(&self) -> bool {
        self.operator.json
    }

    async fn run(self) -> Result<Output, CliError> {
        let cx = Context::open(&self.operator)?;
        let mut operator = cx.connect().await?;
        let policy: PolicyView = operator.call(Verb::PolicyDelete, &NamePolicy { name: self.name }).await?;
        operator.close().await;
        let text = format!("deleted {}", policy.name);
        Ok(Output::new(&policy, text))
    }
}

/// Gives a policy to connectors.
pub struct Attach(pub PolicyAttachArgs);

/// Takes it away.
pub struct Detach(pub PolicyAttachArgs);

impl Run for Attach {
    fn describe(&self) -> String {
        format!("attach policy {}", self.0.name)
    }

    fn json(&self) -> bool {
        self.0.operator.json
    }

    async fn run(self) -> Result<Output, CliError> {
        change(self.0, Verb::PolicyAttach, "has it now", "had it before").await
    }
}

impl Run for Detach {
    fn describe(&self) -> String {
        format!("detach policy {}", self.0.name)
    }

    fn json(&self) -> bool {
        self.0.operator.json
    }

    async fn run(self) -> Result<Output, CliError> {
        change(self.0, Verb::PolicyDetach, "has it no more", "did not have it").await
    }
}

async fn change(args: PolicyAttachArgs, verb: Verb, changed: &str, unchanged: &str) -> Result<Output, CliError> {
    let request = AttachPolicy { name: args.name, connectors: args.connectors, any_name: args.any_name };
    let cx = Context::open(&args.operator)?;
    let mut operator = cx.connect().await?;
    let answer: AttachedPolicy = operator.call(verb, &request).await?;
    operator.close().await;
    let mut table = Table::new(&["CONNECTOR", "POLICY", "OUTCOME"]);
    for (things, what) in [(&answer.changed, changed), (&answer.unchanged, unchanged)] {
        for thing in things {
            table.row([thing.to_string(), answer.name.to_string(), what.to_owned()]);
        }
    }
    Ok(Output::new(&answer, table.to_string()))
}
