//! `muster component`: publishes and lists components.

use super::Run;
use crate::args::{ComponentListArgs, ComponentPublishArgs};
use crate::client::Operator;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Output, Table};
use crate::package::Package;
use muster_certs::{PublisherKey, store};
use muster_wire::admin::{ComponentList, ListComponents, PublishComponent, Verb};
use muster_wire::component::{PublishedComponent, signed_text};
use muster_wire::enrol::artifact_path;
use std::path::Path;

impl Run for ComponentPublishArgs {
    fn describe(&self) -> String {
        format!("publish {}", self.dir.display())
    }

    fn json(&self) -> bool {
        self.operator.json
    }

    async fn run(self) -> Result<Output, CliError> {
        let cx = Context::open(&self.operator)?;
        let published = publish(&cx, &self.dir).await?;
        let text = format!(
            "published {} {}\n  package  sha256 {}, {} bytes\n\nnext:\n  muster upgrade {0} {1} --to all",
            published.name, published.version, published.sha256, published.size
        );
        Ok(Output::new(&published, text))
    }
}

/// Packs a folder, signs the package, uploads it and makes it a version of its component.
///
/// Errors: `Local` for everything that is wrong with the folder, `Refused`, `Unreachable`.
pub async fn publish(cx: &Context, dir: &Path) -> Result<PublishedComponent, CliError> {
    let package = Package::pack(dir)?;
    let signing = |error| CliError::local_because("cannot sign the package", error);
    let key_pem = store::read_pem(&cx.data.publisher_key())
        .map_err(|error| CliError::local_because("cannot use the publisher's key", error))?;
    let key = PublisherKey::from_pkcs8_pem(&key_pem).map_err(signing)?;
    let recipe = &package.recipe;
    let text = signed_text(&recipe.name, &recipe.version, &package.sha256, package.size);
    let signature = key.sign(text.as_bytes()).map_err(signing)?;

    cx.https()?.put(&artifact_path(&package.sha256), package.file.path()).await?;
    let request = PublishComponent {
        name: recipe.name.clone(),
        version: recipe.version.clone(),
        sha256: package.sha256.clone(),
        size: package.size,
        signature,
        soak_s: recipe.soak_s,
        description: recipe.description.clone(),
    };
    let mut operator = cx.connect().await?;
    let published = operator.call(Verb::ComponentPublish, &request).await;
    operator.close().await;
    published
}

impl Run for ComponentListArgs {
    fn describe(&self) -> String {
        "list components".to_owned()
    }

    fn json(&self) -> bool {
        self.operator.json
    }

    async fn run(self) -> Result<Output, CliError> {
        let cx = Context::open(&self.operator)?;
        let mut operator = cx.connect().await?;
        let list = ComponentList { components: list(&mut operator).await?, next: None };
        operator.close().await;
        if list.components.is_empty() {
            return Ok(Output::new(&list, "no components; publish one with `muster component publish DIR`"));
        }
        let mut table = Table::new(&["NAME", "VERSION", "PUBLISHED", "BY", "BYTES", "SHA256", "DESCRIPTION"]);
        for component in &list.components {
            table.row([
                component.name.to_string(),
                component.version.to_string(),
                component.published_at.to_string(),
                component.published_by.to_string(),
                component.size.to_string(),
                component.sha256.as_str().chars().take(12).collect(),
                component.description.clone(),
            ]);
        }
        Ok(Output::new(&list, table.to_string()))
    }
}

/// Every published version, page by page.
///
/// Errors: `Refused`, `Unreachable`.
async fn list(operator: &mut Operator) -> Result<Vec<PublishedComponent>, CliError> {
    let mut components = Vec::new();
    let mut after = None;
    loop {
        let page: ComponentList = operator.call(Verb::ComponentList, &ListComponents { after }).await?;
        components.extend(page.components);
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(components),
        }
    }
}
