//! Provisioning templates: what a device says of itself becomes the connector that it shall be.
//!
//! A document has one of two shapes and becomes one [`Template`]:
//!
//! | shape | known by | texts |
//! |---|---|---|
//! | that of AWS IoT Core | `Resources` | `Ref`, `Fn::Join`, `Fn::Select`, `Fn::Split`, `Fn::FindInMap`, `Fn::Sub` |
//! | ours | `connector` | `${Parameter}` in every text |
//!
//! What cannot be carried out here is refused when the template is made, or listed as ignored when that does no harm;
//! a device is never the first to learn of it.
//!
//! Source: AWS IoT Core, "Provisioning templates"; docs/provisioning.md for ours.

mod aws;
mod expression;
mod own;

use expression::{Expression, Mappings, Scope};
use muster_wire::id::{ComponentName, PoolName, SiteName, ThingName, Version};
use muster_wire::limits::{
    DESCRIPTION_BYTES_MAX, PROVISIONING_PARAMETER_BYTES_MAX, PROVISIONING_PARAMETER_NAME_BYTES_MAX,
    PROVISIONING_PARAMETERS_MAX, PROVISIONING_TEMPLATE_BYTES_MAX,
};
use muster_wire::provision::Parameters;
use serde_json::Value;
use std::collections::BTreeMap;

/// What a document may name that the device does not say: the id of its certificate.
const CERTIFICATE_ID: &str = "AWS::IoT::Certificate::Id";

/// A template that can be carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    parameters: BTreeMap<String, Option<String>>,
    mappings: Mappings,
    name: Expression,
    pool: Option<Expression>,
    site: Option<Expression>,
    description: Option<Expression>,
    attributes: BTreeMap<String, Expression>,
    policy: Option<Expression>,
    active: bool,
    device: BTreeMap<String, Expression>,
    components: BTreeMap<ComponentName, Version>,
    overrides: Overrides,
    ignored: Vec<String>,
}

/// What happens to a connector that is there already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// To its pool.
    pub pool: Override,
    /// To site, description and attributes.
    pub attributes: Override,
}

/// What happens to one property of a connector that is there already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Override {
    /// It stays.
    #[default]
    Keep,
    /// It becomes what the template says.
    Replace,
    /// What the template says is added.
    Merge,
    /// The device is refused.
    Refuse,
}

/// What a template makes of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Who it shall be.
    pub name: ThingName,
    /// Its pool.
    pub pool: Option<PoolName>,
    /// Its site.
    pub site: Option<SiteName>,
    /// For people.
    pub description: Option<String>,
    /// What else is known of it.
    pub attributes: BTreeMap<String, String>,
    /// The policy of its certificate; absent is the one of connectors.
    pub policy: Option<String>,
    /// Whether it is let in at once.
    pub active: bool,
    /// What the device is told.
    pub device_configuration: BTreeMap<String, String>,
    /// What it shall run.
    pub components: BTreeMap<ComponentName, Version>,
    /// What happens if it is there already.
    pub overrides: Overrides,
}

/// Why a document is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {problem}")]
pub struct TemplateError {
    /// Where in the document.
    pub at: String,
    /// What is wrong there, and what would be right.
    pub problem: String,
}

impl TemplateError {
    fn new(at: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { at: at.into(), problem: problem.into() }
    }
}

/// Why a device cannot become a connector of this template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotRegistered(String);

impl Template {
    /// Reads a document of either shape and checks everything that does not hang on what a device says.
    ///
    /// Errors: the first problem, with its place.
    pub fn read(document: &Value) -> Result<Self, TemplateError> {
        let bytes = document.to_string().len();
        if bytes > PROVISIONING_TEMPLATE_BYTES_MAX {
            let problem = format!("{bytes} bytes; at most {PROVISIONING_TEMPLATE_BYTES_MAX} are allowed");
            return Err(TemplateError::new("the template", problem));
        }
        let fields = document.as_object().ok_or_else(|| TemplateError::new("the template", "must be an object"))?;
        let template = if fields.contains_key("Resources") { aws::read(fields) } else { own::read(fields) }?;
        template.check_references()?;
        Ok(template)
    }

    /// The document in a file of TOML, for [`Template::read`].
    ///
    /// Errors: no TOML, with its line.
    pub fn document_of_toml(text: &str) -> Result<Value, TemplateError> {
        toml::from_str(text).map_err(|error| TemplateError::new("the file is no TOML", error.to_string()))
    }

    /// What a device has to say, and may say: names, with the value when it says none.
    pub fn parameters(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.parameters.iter().map(|(name, default)| (name.as_str(), default.as_deref()))
    }

    /// Parts of the document that have no meaning here.
    #[must_use]
    pub fn ignored(&self) -> &[String] {
        &self.ignored
    }

    /// What it shall run.
    #[must_use]
    pub fn components(&self) -> &BTreeMap<ComponentName, Version> {
        &self.components
    }

    /// The policy, when it does not hang on what a device says.
    #[must_use]
    pub fn fixed_policy(&self) -> Option<&str> {
        self.policy.as_ref().and_then(Expression::as_text)
    }

    /// What becomes of a device that says this. The same input gives the same output.
    ///
    /// Errors: a parameter that is missing or too long, a value that is no name of what it is used for.
    pub fn register(&self, said: &Parameters, certificate_id: &str) -> Result<Registration, NotRegistered> {
        check_parameters(said)?;
        let mut values: BTreeMap<&str, &str> = BTreeMap::new();
        for (name, default) in &self.parameters {
            values.extend(default.as_deref().map(|default| (name.as_str(), default)));
        }
        let known = |(name, _): &(&String, &String)| self.parameters.contains_key(*name);
        values.extend(said.iter().filter(known).map(|(name, value)| (name.as_str(), value.as_str())));
        values.insert(CERTIFICATE_ID, certificate_id);
        let scope = Scope { values: &values, mappings: &self.mappings };
        let text =
            |what: &str, one: &Expression| one.text(&scope).map_err(|why| NotRegistered(format!("{what}: {why}")));
        let maybe = |what: &str, one: &Option<Expression>| one.as_ref().map(|one| text(what, one)).transpose();
        let all =
            |what: &str, some: &BTreeMap<String, Expression>| -> Result<BTreeMap<String, String>, NotRegistered> {
                some.iter().map(|(key, one)| Ok((key.clone(), text(&format!("{what}.{key}"), one)?))).collect()
            };
        let description = maybe("description", &self.description)?;
        if description.as_ref().is_some_and(|text| text.len() > DESCRIPTION_BYTES_MAX) {
            return Err(NotRegistered(format!("description: longer than {DESCRIPTION_BYTES_MAX} bytes")));
        }
        if description.as_ref().is_some_and(|text| text.contains(char::is_control)) {
            return Err(NotRegistered("description: it has control characters".to_owned()));
        }
        Ok(Registration {
            name: named("thing name", ThingName::new(text("thing name", &self.name)?))?,
            pool: maybe("pool", &self.pool)?.map(|pool| named("pool", PoolName::new(pool))).transpose()?,
            site: maybe("site", &self.site)?.map(|site| named("site", SiteName::new(site))).transpose()?,
            description,
            attributes: all("attributes", &self.attributes)?,
            policy: maybe("policy", &self.policy)?,
            active: self.active,
            device_configuration: all("DeviceConfiguration", &self.device)?,
            components: self.components.clone(),
            overrides: self.overrides,
        })
    }

    /// Every name that is used is a parameter, and every mapping is there.
    fn check_references(&self) -> Result<(), TemplateError> {
        let known = |name: &str| self.parameters.contains_key(name) || name == CERTIFICATE_ID;
        let single = [Some(&self.name), self.pool.as_ref(), self.site.as_ref(), self.description.as_ref()];
        let expressions = single.into_iter().chain([self.policy.as_ref()]).flatten();
        for one in expressions.chain(self.attributes.values()).chain(self.device.values()) {
            if let Some(name) = one.references().into_iter().find(|name| !known(name)) {
                let problem = format!("no parameter has this name; add it to the parameters, or mend the text {one}");
                return Err(TemplateError::new(name, problem));
            }
            if let Some(map) = one.maps().into_iter().find(|map| !self.mappings.contains_key(map)) {
                return Err(TemplateError::new(map, "Fn::FindInMap names a mapping that Mappings does not have"));
            }
        }
        Ok(())
    }
}

fn check_parameters(said: &Parameters) -> Result<(), NotRegistered> {
    if said.len() > PROVISIONING_PARAMETERS_MAX {
        let count = said.len();
        return Err(NotRegistered(format!("{count} parameters; at most {PROVISIONING_PARAMETERS_MAX} are allowed")));
    }
    let long = |(name, value): &(&String, &String)| {
        name.len() > PROVISIONING_PARAMETER_NAME_BYTES_MAX || value.len() > PROVISIONING_PARAMETER_BYTES_MAX
    };
    if said.iter().any(|pair| long(&pair)) {
        return Err(NotRegistered(format!(
            "a parameter is too long: names have at most {PROVISIONING_PARAMETER_NAME_BYTES_MAX} bytes, values at most \
             {PROVISIONING_PARAMETER_BYTES_MAX}"
        )));
    }
    Ok(())
}

fn named<T, E: std::fmt::Display>(what: &str, name: Result<T, E>) -> Result<T, NotRegistered> {
    name.map_err(|error| NotRegistered(format!("{what}: {error}")))
}

#[cfg(test)]
mod tests;
