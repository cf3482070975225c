//! Job templates: documents with `${name}` in their texts.

use muster_wire::job::JobDocument;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What is missing or too much.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// The document wants values that were not given.
    #[error("the template wants a value for {}", .0.join(", "))]
    Missing(Vec<String>),
    /// Values were given that the document does not want.
    #[error("the template has no place for {}", .0.join(", "))]
    Unknown(Vec<String>),
}

/// The names that stand in `${…}` in the texts of `document`.
#[must_use]
pub fn parameters(document: &JobDocument) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for value in document.values() {
        collect(value, &mut names);
    }
    names
}

/// The document with every `${name}` replaced. Values are put in as they are: what looks like a place stays text.
///
/// Errors: a place without a value, a value without a place.
pub fn fill(document: &JobDocument, values: &BTreeMap<String, String>) -> Result<JobDocument, TemplateError> {
    let wanted = parameters(document);
    let missing: Vec<String> = wanted.iter().filter(|name| !values.contains_key(*name)).cloned().collect();
    if !missing.is_empty() {
        return Err(TemplateError::Missing(missing));
    }
    let unknown: Vec<String> = values.keys().filter(|name| !wanted.contains(*name)).cloned().collect();
    if !unknown.is_empty() {
        return Err(TemplateError::Unknown(unknown));
    }
    Ok(document.iter().map(|(key, value)| (key.clone(), replace(value, values))).collect())
}

fn collect(value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => {
            names.extend(pieces(text).into_iter().filter_map(|piece| match piece {
                Piece::Place(name) => Some(name.to_owned()),
                Piece::Text(_) => None,
            }));
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, names)),
        Value::Object(fields) => fields.values().for_each(|value| collect(value, names)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn replace(value: &Value, values: &BTreeMap<String, String>) -> Value {
    match value {
        Value::String(text) => {
            let filled = pieces(text).into_iter().map(|piece| match piece {
                Piece::Text(text) => text,
                Piece::Place(name) => values.get(name).map_or("", String::as_str),
            });
            Value::String(filled.collect())
        }
        Value::Array(all) => Value::Array(all.iter().map(|value| replace(value, values)).collect()),
        Value::Object(fields) => {
            Value::Object(fields.iter().map(|(key, value)| (key.clone(), replace(value, values))).collect())
        }
        other => other.clone(),
    }
}

enum Piece<'t> {
    Text(&'t str),
    Place(&'t str),
}

/// Takes a text apart. `${` that no name and `}` follow is text.
fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let (mut rest, mut from) = (text, 0);
    while let Some(at) = rest[from..].find("${").map(|at| at + from) {
        let name = rest[at + 2..].split_once('}').map(|(name, _)| name).filter(|name| is_name(name));
        match name {
            Some(name) => {
                pieces.push(Piece::Text(&rest[..at]));
                pieces.push(Piece::Place(name));
                rest = &rest[at + 2 + name.len() + 1..];
                from = 0;
            }
            None => from = at + 2,
        }
    }
    pieces.push(Piece::Text(rest));
    pieces
}

fn is_name(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn document(value: Value) -> JobDocument {
        value.as_object().unwrap().clone()
    }

    fn values(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn every_place_is_filled_and_nothing_else() {
        let template = document(json!({ "run": "${tool} --to ${to}${to}", "deep": [{ "x": "${to}" }], "n": 1,
            "${tool}": true, "not": "$ {x} ${a b} ${open" }));
        let filled = fill(&template, &values(&[("tool", "dd"), ("to", "${tool}")])).unwrap();
        let expected = json!({ "run": "dd --to ${tool}${tool}", "deep": [{ "x": "${tool}" }], "n": 1,
            "${tool}": true, "not": "$ {x} ${a b} ${open" });
        assert_eq!(filled, document(expected));
    }

    #[test]
    fn values_and_places_must_agree() {
        let template = document(json!({ "a": "${x} ${y}" }));
        assert_eq!(fill(&template, &values(&[("x", "1")])), Err(TemplateError::Missing(vec!["y".into()])));
        let many = values(&[("x", "1"), ("y", "2"), ("z", "3")]);
        assert_eq!(fill(&template, &many), Err(TemplateError::Unknown(vec!["z".into()])));
    }
}
