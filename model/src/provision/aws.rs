//! Templates in the form of AWS IoT Core.

use super::expression::{Expression, Mapped, Mappings};
use super::{CERTIFICATE_ID, Override, Overrides, Template, TemplateError};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

type Fields = Map<String, Value>;

pub(super) fn read(document: &Fields) -> Result<Template, TemplateError> {
    for field in document.keys() {
        let known = ["Parameters", "Mappings", "Resources", "DeviceConfiguration", "AWSTemplateFormatVersion"];
        if !known.contains(&field.as_str()) {
            return Err(TemplateError::new(field, "is no part of a template"));
        }
    }
    let mut parts = Parts::default();
    for (logical, resource) in object(document.get("Resources"), "Resources")? {
        let at = format!("Resources.{logical}");
        let resource = object(Some(resource), &at)?;
        parts.resource(resource, &at)?;
    }
    let thing = parts.thing.ok_or_else(|| TemplateError::new("Resources", "a resource AWS::IoT::Thing is missing"))?;
    if !parts.certificate {
        return Err(TemplateError::new("Resources", "a resource AWS::IoT::Certificate is missing"));
    }
    Ok(Template {
        parameters: parameters(document.get("Parameters"))?,
        mappings: mappings(document.get("Mappings"))?,
        name: thing.name,
        pool: thing.pool,
        site: thing.site,
        description: thing.description,
        attributes: thing.attributes,
        policy: parts.policy,
        active: parts.active,
        device: expressions(document.get("DeviceConfiguration"), "DeviceConfiguration")?,
        components: BTreeMap::new(),
        overrides: thing.overrides,
        ignored: parts.ignored,
    })
}

#[derive(Default)]
struct Parts {
    thing: Option<Thing>,
    certificate: bool,
    active: bool,
    policy: Option<Expression>,
    ignored: Vec<String>,
}

struct Thing {
    name: Expression,
    pool: Option<Expression>,
    site: Option<Expression>,
    description: Option<Expression>,
    attributes: BTreeMap<String, Expression>,
    overrides: Overrides,
}

impl Parts {
    fn resource(&mut self, resource: &Fields, at: &str) -> Result<(), TemplateError> {
        let again = || TemplateError::new(at, "a template has one resource of this type");
        let properties = object(resource.get("Properties"), &format!("{at}.Properties"))?;
        let settings = match resource.get("OverrideSettings") {
            Some(settings) => object(Some(settings), &format!("{at}.OverrideSettings"))?,
            None => &Map::new(),
        };
        match resource.get("Type").and_then(Value::as_str) {
            Some("AWS::IoT::Thing") if self.thing.is_none() => {
                self.thing = Some(self.thing(properties, settings, at)?);
            }
            Some("AWS::IoT::Certificate") if !self.certificate => {
                self.certificate = true;
                self.active = active(properties, at)?;
            }
            Some("AWS::IoT::Policy") if self.policy.is_none() => {
                self.policy = Some(policy(properties, at)?);
            }
            Some("AWS::IoT::Thing" | "AWS::IoT::Certificate" | "AWS::IoT::Policy") => return Err(again()),
            _ => {
                let problem = "must be AWS::IoT::Thing, AWS::IoT::Certificate or AWS::IoT::Policy";
                return Err(TemplateError::new(format!("{at}.Type"), problem));
            }
        }
        Ok(())
    }

    fn thing(&mut self, properties: &Fields, settings: &Fields, at: &str) -> Result<Thing, TemplateError> {
        let name = properties.get("ThingName");
        let name = name.ok_or_else(|| TemplateError::new(at, "Properties.ThingName is missing"))?;
        let mut thing = Thing {
            name: Expression::read(name, &format!("{at}.ThingName"))?,
            pool: None,
            site: None,
            description: None,
            attributes: expressions(properties.get("AttributePayload"), &format!("{at}.AttributePayload"))?,
            overrides: Overrides::default(),
        };
        thing.site = thing.attributes.remove("site");
        thing.description = thing.attributes.remove("description");
        if let Some(groups) = properties.get("ThingGroups") {
            let at = format!("{at}.ThingGroups");
            let groups = groups.as_array().ok_or_else(|| TemplateError::new(&at, "must be a list"))?;
            thing.pool = match groups.as_slice() {
                [] => None,
                [one] => Some(Expression::read(one, &at)?),
                _ => return Err(TemplateError::new(at, "a connector has one pool; name one group")),
            };
        }
        for field in properties.keys() {
            match field.as_str() {
                "ThingName" | "AttributePayload" | "ThingGroups" => {}
                "ThingTypeName" | "BillingGroup" => self.ignored.push(field.clone()),
                _ => return Err(TemplateError::new(format!("{at}.{field}"), "is no property of a thing")),
            }
        }
        for (field, setting) in settings {
            let at = format!("{at}.OverrideSettings.{field}");
            let setting = match setting.as_str() {
                Some("DO_NOTHING") => Override::Keep,
                Some("REPLACE") => Override::Replace,
                Some("MERGE") if field == "AttributePayload" || field == "ThingGroups" => Override::Merge,
                Some("FAIL") => Override::Refuse,
                _ => return Err(TemplateError::new(at, "must be DO_NOTHING, REPLACE or FAIL, or MERGE for lists")),
            };
            match field.as_str() {
                "AttributePayload" => thing.overrides.attributes = setting,
                "ThingGroups" => thing.overrides.pool = setting,
                _ => self.ignored.push(format!("OverrideSettings.{field}")),
            }
        }
        Ok(thing)
    }
}

fn active(properties: &Fields, at: &str) -> Result<bool, TemplateError> {
    let id = properties.get("CertificateId").and_then(|id| id.get("Ref")).and_then(Value::as_str);
    if id != Some(CERTIFICATE_ID) {
        let problem = format!("must be {{\"Ref\": \"{CERTIFICATE_ID}\"}}");
        return Err(TemplateError::new(format!("{at}.CertificateId"), problem));
    }
    match properties.get("Status").map(Value::as_str) {
        None => Ok(true),
        Some(Some(status)) if status.eq_ignore_ascii_case("ACTIVE") => Ok(true),
        Some(Some(status)) if status.eq_ignore_ascii_case("INACTIVE") => Ok(false),
        Some(_) => Err(TemplateError::new(format!("{at}.Status"), "must be ACTIVE or INACTIVE")),
    }
}

fn policy(properties: &Fields, at: &str) -> Result<Expression, TemplateError> {
    match (properties.get("PolicyName"), properties.get("PolicyDocument")) {
        (Some(name), None) => Expression::read(name, &format!("{at}.PolicyName")),
        (None, Some(_)) => {
            let problem = "policies are not made by templates; name one with PolicyName";
            Err(TemplateError::new(format!("{at}.PolicyDocument"), problem))
        }
        _ => Err(TemplateError::new(at, "PolicyName is missing, and PolicyDocument is not used beside it")),
    }
}

fn parameters(value: Option<&Value>) -> Result<BTreeMap<String, Option<String>>, TemplateError> {
    let Some(value) = value else { return Ok(BTreeMap::new()) };
    let mut parameters = BTreeMap::new();
    for (name, parameter) in object(Some(value), "Parameters")? {
        let at = format!("Parameters.{name}");
        let parameter = object(Some(parameter), &at)?;
        if parameter.get("Type").and_then(Value::as_str) != Some("String") {
            return Err(TemplateError::new(format!("{at}.Type"), "must be \"String\""));
        }
        let default = match parameter.get("Default") {
            None => None,
            Some(Value::String(text)) => Some(text.clone()),
            Some(_) => return Err(TemplateError::new(format!("{at}.Default"), "must be a text")),
        };
        parameters.insert(name.clone(), default);
    }
    Ok(parameters)
}

fn mappings(value: Option<&Value>) -> Result<Mappings, TemplateError> {
    let Some(value) = value else { return Ok(Mappings::new()) };
    let mut mappings = Mappings::new();
    for (map, keys) in object(Some(value), "Mappings")? {
        for (key, names) in object(Some(keys), &format!("Mappings.{map}"))? {
            for (name, value) in object(Some(names), &format!("Mappings.{map}.{key}"))? {
                let mapped = mapped(value).ok_or_else(|| {
                    TemplateError::new(format!("Mappings.{map}.{key}.{name}"), "must be a text or a list of texts")
                })?;
                let keys = mappings.entry(map.clone()).or_default();
                keys.entry(key.clone()).or_default().insert(name.clone(), mapped);
            }
        }
    }
    Ok(mappings)
}

fn mapped(value: &Value) -> Option<Mapped> {
    match value {
        Value::String(text) => Some(Mapped::Text(text.clone())),
        Value::Array(items) => {
            let texts = items.iter().map(|item| item.as_str().map(str::to_owned));
            texts.collect::<Option<_>>().map(Mapped::List)
        }
        _ => None,
    }
}

fn expressions(value: Option<&Value>, at: &str) -> Result<BTreeMap<String, Expression>, TemplateError> {
    let Some(value) = value else { return Ok(BTreeMap::new()) };
    let read = |(key, value): (&String, &Value)| Ok((key.clone(), Expression::read(value, &format!("{at}.{key}"))?));
    object(Some(value), at)?.iter().map(read).collect()
}

fn object<'a>(value: Option<&'a Value>, at: &str) -> Result<&'a Fields, TemplateError> {
    value.and_then(Value::as_object).ok_or_else(|| TemplateError::new(at, "must be an object"))
}
