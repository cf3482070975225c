//! Templates in our own form.
//!
//! ```toml
//! [parameters]
//! SerialNumber = {}                       # a device must say it
//! Site = { default = "lab" }
//!
//! [connector]
//! name = "cam-${SerialNumber}"
//! pool = "cameras"
//! site = "${Site}"
//!
//! [components]
//! recorder = "2.1"
//!
//! [device]                                # what the device is told
//! region = "${Site}"
//! ```

use super::expression::{Expression, Mappings};
use super::{Override, Overrides, Template, TemplateError};
use muster_wire::id::{ComponentName, Version};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    parameters: BTreeMap<String, Parameter>,
    connector: Connector,
    #[serde(default)]
    components: BTreeMap<ComponentName, Version>,
    #[serde(default)]
    device: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameter {
    default: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Connector {
    name: String,
    pool: Option<String>,
    site: Option<String>,
    description: Option<String>,
    #[serde(default)]
    attributes: BTreeMap<String, String>,
    policy: Option<String>,
    #[serde(default)]
    status: Status,
    #[serde(default)]
    existing: Existing,
}

#[derive(Default, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Status {
    #[default]
    Active,
    Inactive,
}

/// What happens to a connector that is there already.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Existing {
    /// It gets the new certificate and stays as it is.
    #[default]
    Keep,
    /// It becomes what the template says.
    Update,
    /// The device is refused.
    Refuse,
}

pub(super) fn read(document: &Map<String, Value>) -> Result<Template, TemplateError> {
    let document: Document = serde_json::from_value(Value::Object(document.clone()))
        .map_err(|error| TemplateError::new("the template", error.to_string()))?;
    let Connector { name, pool, site, description, attributes, policy, status, existing } = document.connector;
    let maybe = |text: Option<String>, at: &str| text.map(|text| Expression::filled(&text, at)).transpose();
    let all = |texts: BTreeMap<String, String>, at: &str| -> Result<BTreeMap<String, Expression>, TemplateError> {
        let filled = |(key, text): (String, String)| Ok((key, Expression::filled(&text, at)?));
        texts.into_iter().map(filled).collect()
    };
    let existing = match existing {
        Existing::Keep => Override::Keep,
        Existing::Update => Override::Replace,
        Existing::Refuse => Override::Refuse,
    };
    Ok(Template {
        parameters: document.parameters.into_iter().map(|(name, parameter)| (name, parameter.default)).collect(),
        mappings: Mappings::new(),
        name: Expression::filled(&name, "connector.name")?,
        pool: maybe(pool, "connector.pool")?,
        site: maybe(site, "connector.site")?,
        description: maybe(description, "connector.description")?,
        attributes: all(attributes, "connector.attributes")?,
        policy: maybe(policy, "connector.policy")?,
        active: status == Status::Active,
        device: all(document.device, "device")?,
        components: document.components,
        overrides: Overrides { pool: existing, attributes: existing },
        ignored: Vec::new(),
    })
}
