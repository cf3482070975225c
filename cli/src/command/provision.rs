//! `muster template` and `muster claim`: how devices provision themselves.

mod claim;

use super::Run;
use crate::args::{
    ProvisioningTemplateCreateArgs, ProvisioningTemplateDeleteArgs, ProvisioningTemplateListArgs,
    ProvisioningTemplateShowArgs,
};
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Output, Table, or_empty};
use muster_model::provision::Template;
use muster_wire::admin::{CreateTemplate, ListTemplates, NameTemplate, TemplateList, TemplateView, Verb};
use serde_json::Value;
use std::path::Path;

impl Run for ProvisioningTemplateCreateArgs {
    fn describe(&self) -> String {
        format!("create template {}", self.name)
    }

    fn json(&self) -> bool {
        self.operator.json
    }

    async fn run(self) -> Result<Output, CliError> {
        let document = read_document(&self.file)?;
        let cx = Context::open(&self.operator)?;
        let request = CreateTemplate {
            template: self.name,
            document,
            description: self.description,
            hook: self.hook,
            replace: self.replace,
        };
        let mut operator = cx.connect().await?;
        let made: TemplateView = operator.call(Verb::TemplateCreate, &request).await?;
        operator.close().await;
        let mut text =
            format!("template {} made; `muster claim create {} --out DIR` makes a claim", made.name, made.name);
        if !made.ignored.is_empty() {
            text.push_str(&format!("\nwithout meaning here: {}", made.ignored.join(", ")));
        }
        Ok(Output::new(&made, text))
    }
}

impl Run for ProvisioningTemplateListArgs {
    fn describe(&self) -> String {
        "list templates".to_owned()
    }

    fn json(&self) -> bool {
        self.operator.json
    }

    async fn run(self) -> Result<Output, CliError> {
        let cx = Context::open(&self.operator)?;
        let mut operator = cx.connect().await?;
        let listed: TemplateList = operator.call(Verb::TemplateList, &ListTemplates::default()).await?;
        operator.close().await;
        let text = if listed.templates.is_empty() { "no templates".to_owned() } else { table(&listed.templates) };
        Ok(Output::new(&listed, text))
    }
}

impl Run for ProvisioningTemplateShowArgs {
    fn describe(&self) -> String {
        format!("show template {}", self.name)
    }

    fn json(&self) -> bool {
        self.operator.json
    }

    async fn run(self) -> Result<Output, CliError> {
        let cx = Context::open(&self.operator)?;
        let mut operator = cx.connect().await?;
        let shown: TemplateView = operator.call(Verb::TemplateShow, &NameTemplate { template: self.name }).await?;
        operator.close().await;
        let document = serde_json::to_string_pretty(&shown.document).unwrap_or_default();
        let mut text = table(std::slice::from_ref(&shown));
        if !shown.ignored.is_empty() {
            text.push_str(&format!("\nwithout meaning here: {}\n", shown.ignored.join(", ")));
        }
        Ok(Output::new(&shown, format!("{text}\n{document}")))
    }
}

impl Run for ProvisioningTemplateDeleteArgs {
    fn describe(&self) -> String {
        format!("delete template {}", self.name)
    }

    fn json(&self) -> bool {
        self.operator.json
    }

    async fn run(self) -> Result<Output, CliError> {
        let cx = Context::open(&self.operator)?;
        let mut operator = cx.connect().await?;
        let gone: TemplateView = operator.call(Verb::TemplateDelete, &NameTemplate { template: self.name }).await?;
        operator.close().await;
        Ok(Output::new(&gone, format!("template {} deleted, and its claims revoked", gone.name)))
    }
}

/// Reads TOML, or JSON when the file begins as JSON does. What it means is the server's business; a mistake is found here
/// too, before anything is sent.
fn read_document(file: &Path) -> Result<Value, CliError> {
    let unusable = |why: String| CliError::local(format!("{} is no template: {why}", file.display()));
    let text = std::fs::read_to_string(file)
        .map_err(|error| CliError::local_because(format!("cannot read {}", file.display()), error))?;
    let document = if text.trim_start().starts_with('{') {
        serde_json::from_str(&text).map_err(|error| unusable(error.to_string()))?
    } else {
        Template::document_of_toml(&text).map_err(|error| unusable(error.to_string()))?
    };
    Template::read(&document).map_err(|error| unusable(error.to_string()))?;
    Ok(document)
}

fn table(templates: &[TemplateView]) -> String {
    let mut table = Table::new(&["TEMPLATE", "CREATED", "PARAMETERS", "HOOK", "DESCRIPTION"]);
    for view in templates {
        let parameter = |one: &muster_wire::admin::TemplateParameter| match &one.default {
            Some(default) => format!("{}={default}", one.name),
            None => one.name.clone(),
        };
        table.row([
            view.name.to_string(),
            view.created_at.to_string(),
            view.parameters.iter().map(parameter).collect::<Vec<_>>().join(" "),
            or_empty(view.hook.as_ref()),
            or_empty(view.description.as_ref()),
        ]);
    }
    table.to_string()
}
