//! Texts of a template that are made from what a device says.

use super::TemplateError;
use muster_wire::limits::{PROVISIONING_TEMPLATE_DEPTH_MAX, PROVISIONING_VALUE_BYTES_MAX};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// `Mappings`: map, key, name, value.
pub(super) type Mappings = BTreeMap<String, BTreeMap<String, BTreeMap<String, Mapped>>>;

/// What a mapping leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mapped {
    Text(String),
    List(Vec<String>),
}

/// What expressions may look at.
pub(super) struct Scope<'a> {
    pub(super) values: &'a BTreeMap<&'a str, &'a str>,
    pub(super) mappings: &'a Mappings,
}

/// A text, or how one is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expression {
    Text(String),
    List(Vec<Expression>),
    Ref(String),
    Join { with: String, parts: Box<Expression> },
    Select { at: usize, of: Box<Expression> },
    Split { by: String, text: Box<Expression> },
    Find { map: String, key: Box<Expression>, name: Box<Expression> },
    Sub { pieces: Vec<Piece>, values: BTreeMap<String, Expression> },
}

/// A part of a text with places in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Text(String),
    Place(String),
}

enum Made {
    Text(String),
    List(Vec<String>),
}

impl Expression {
    /// Reads a function of AWS IoT Core, or a plain text. `at` is the place in the document.
    pub(super) fn read(value: &Value, at: &str) -> Result<Self, TemplateError> {
        Self::read_deep(value, at, 0)
    }

    /// Reads a text with `${Name}` in it.
    pub(super) fn filled(text: &str, at: &str) -> Result<Self, TemplateError> {
        let mut pieces = pieces(text, at)?;
        match pieces.as_mut_slice() {
            [] => Ok(Self::Text(String::new())),
            [Piece::Text(text)] => Ok(Self::Text(std::mem::take(text))),
            _ => Ok(Self::Sub { pieces, values: BTreeMap::new() }),
        }
    }

    fn read_deep(value: &Value, at: &str, depth: usize) -> Result<Self, TemplateError> {
        if depth > PROVISIONING_TEMPLATE_DEPTH_MAX {
            let problem = format!("functions are nested deeper than {PROVISIONING_TEMPLATE_DEPTH_MAX}");
            return Err(TemplateError::new(at, problem));
        }
        match value {
            Value::String(text) => Ok(Self::Text(text.clone())),
            Value::Array(items) => {
                let read = |item| Self::read_deep(item, at, depth + 1);
                Ok(Self::List(items.iter().map(read).collect::<Result<_, _>>()?))
            }
            Value::Object(fields) => Self::function(fields, at, depth + 1),
            _ => Err(TemplateError::new(at, "must be a text or a function")),
        }
    }

    fn function(fields: &Map<String, Value>, at: &str, depth: usize) -> Result<Self, TemplateError> {
        let wrong = |problem: &str| TemplateError::new(at, problem);
        let mut entries = fields.iter();
        let (Some((function, argument)), None) = (entries.next(), entries.next()) else {
            return Err(wrong("a function is an object with one field, such as {\"Ref\": \"SerialNumber\"}"));
        };
        let at = format!("{at}.{function}");
        let read = |value: &Value| Self::read_deep(value, &at, depth).map(Box::new);
        let wrong = |problem: &str| TemplateError::new(&at, problem);
        match (function.as_str(), argument) {
            ("Ref", Value::String(name)) => Ok(Self::Ref(name.clone())),
            ("Fn::Join", Value::Array(both)) => match both.as_slice() {
                [Value::String(with), parts] => Ok(Self::Join { with: with.clone(), parts: read(parts)? }),
                _ => Err(wrong("must be [\"delimiter\", [values]]")),
            },
            ("Fn::Select", Value::Array(both)) => match both.as_slice() {
                [index, of] => {
                    let index = index.as_u64().or_else(|| index.as_str()?.parse().ok());
                    let index = index.and_then(|index| usize::try_from(index).ok());
                    let at = index.ok_or_else(|| wrong("begins with an index, counted from 0"))?;
                    Ok(Self::Select { at, of: read(of)? })
                }
                _ => Err(wrong("must be [index, [values]]")),
            },
            ("Fn::Split", Value::Array(both)) => match both.as_slice() {
                [Value::String(by), text] if !by.is_empty() => Ok(Self::Split { by: by.clone(), text: read(text)? }),
                _ => Err(wrong("must be [\"delimiter\", text], and the delimiter is not empty")),
            },
            ("Fn::FindInMap", Value::Array(all)) => match all.as_slice() {
                [Value::String(map), key, name] => {
                    Ok(Self::Find { map: map.clone(), key: read(key)?, name: read(name)? })
                }
                _ => Err(wrong("must be [\"map\", key, name]")),
            },
            ("Fn::Sub", Value::String(text)) => Self::filled(text, &at),
            ("Fn::Sub", Value::Array(both)) => match both.as_slice() {
                [Value::String(text), Value::Object(values)] => {
                    let value = |(name, value): (&String, &Value)| Ok((name.clone(), *read(value)?));
                    let values = values.iter().map(value).collect::<Result<_, TemplateError>>()?;
                    Ok(Self::Sub { pieces: pieces(text, &at)?, values })
                }
                _ => Err(wrong("must be a text, or [text, {values}]")),
            },
            ("Ref", _) => Err(wrong("must name a parameter")),
            _ => Err(wrong(
                "is no function of templates; use Ref, Fn::Join, Fn::Select, Fn::Split, Fn::FindInMap or Fn::Sub",
            )),
        }
    }

    /// The text, if it is always the same.
    pub(super) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Makes the text.
    ///
    /// Errors, in words: a value that is missing, a list where a text is needed, a text that is too long.
    pub(super) fn text(&self, scope: &Scope<'_>) -> Result<String, String> {
        match self.make(scope)? {
            Made::Text(text) => bounded(text),
            Made::List(_) => Err(format!("{self} is a list, not a text")),
        }
    }

    fn list(&self, scope: &Scope<'_>) -> Result<Vec<String>, String> {
        match self.make(scope)? {
            Made::List(list) => Ok(list),
            Made::Text(_) => Err(format!("{self} is a text, not a list")),
        }
    }

    fn make(&self, scope: &Scope<'_>) -> Result<Made, String> {
        Ok(match self {
            Self::Text(text) => Made::Text(text.clone()),
            Self::List(items) => Made::List(items.iter().map(|item| item.text(scope)).collect::<Result<_, _>>()?),
            Self::Ref(name) => Made::Text(value(scope, name)?.to_owned()),
            Self::Join { with, parts } => Made::Text(bounded(parts.list(scope)?.join(with))?),
            Self::Select { at, of } => {
                let mut list = of.list(scope)?;
                if *at >= list.len() {
                    return Err(format!("{of} has {} values, so none with index {at}", list.len()));
                }
                Made::Text(list.swap_remove(*at))
            }
            Self::Split { by, text } => Made::List(text.text(scope)?.split(by.as_str()).map(str::to_owned).collect()),
            Self::Find { map, key, name } => {
                let (key, name) = (key.text(scope)?, name.text(scope)?);
                let found = scope.mappings.get(map).and_then(|map| map.get(&key)).and_then(|key| key.get(&name));
                match found.ok_or_else(|| format!("the mapping {map} has no {key:?} with {name:?}"))? {
                    Mapped::Text(text) => Made::Text(text.clone()),
                    Mapped::List(list) => Made::List(list.clone()),
                }
            }
            Self::Sub { pieces, values } => {
                let own = values.iter().map(|(name, one)| Ok((name.as_str(), one.text(scope)?)));
                let own = own.collect::<Result<BTreeMap<&str, String>, String>>()?;
                let mut text = String::new();
                for piece in pieces {
                    match piece {
                        Piece::Text(more) => text.push_str(more),
                        Piece::Place(name) => match own.get(name.as_str()) {
                            Some(more) => text.push_str(more),
                            None => text.push_str(value(scope, name)?),
                        },
                    }
                    if text.len() > PROVISIONING_VALUE_BYTES_MAX {
                        break;
                    }
                }
                Made::Text(bounded(text)?)
            }
        })
    }

    /// The names that must be parameters.
    pub(super) fn references(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        self.walk(&mut |one| match one {
            Self::Ref(name) => drop(names.insert(name.clone())),
            Self::Sub { pieces, values } => names.extend(pieces.iter().filter_map(|piece| match piece {
                Piece::Place(name) if !values.contains_key(name) => Some(name.clone()),
                _ => None,
            })),
            _ => {}
        });
        names
    }

    /// The mappings that must be there.
    pub(super) fn maps(&self) -> BTreeSet<String> {
        let mut maps = BTreeSet::new();
        self.walk(&mut |one| {
            if let Self::Find { map, .. } = one {
                maps.insert(map.clone());
            }
        });
        maps
    }

    fn walk(&self, visit: &mut impl FnMut(&Self)) {
        visit(self);
        match self {
            Self::Text(_) | Self::Ref(_) => {}
            Self::List(items) => items.iter().for_each(|item| item.walk(visit)),
            Self::Join { parts: one, .. } | Self::Select { of: one, .. } | Self::Split { text: one, .. } => {
                one.walk(visit);
            }
            Self::Find { key, name, .. } => {
                key.walk(visit);
                name.walk(visit);
            }
            Self::Sub { values, .. } => values.values().for_each(|value| value.walk(visit)),
        }
    }
}

fn value<'a>(scope: &Scope<'a>, name: &str) -> Result<&'a str, String> {
    scope.values.get(name).copied().ok_or_else(|| format!("the parameter {name:?} is missing"))
}

fn bounded(text: String) -> Result<String, String> {
    if text.len() <= PROVISIONING_VALUE_BYTES_MAX {
        Ok(text)
    } else {
        Err(format!("a text becomes longer than {PROVISIONING_VALUE_BYTES_MAX} bytes"))
    }
}

/// Takes a text apart: `${Name}` is a place, `${!Name}` stands for the text `${Name}`.
fn pieces(text: &str, at: &str) -> Result<Vec<Piece>, TemplateError> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let Some((name, after)) = after.split_once('}') else {
            return Err(TemplateError::new(at, format!("`${{` without `}}` in {text:?}")));
        };
        if !before.is_empty() {
            pieces.push(Piece::Text(before.to_owned()));
        }
        match name.strip_prefix('!') {
            Some(literal) => pieces.push(Piece::Text(format!("${{{literal}}}"))),
            None if name.is_empty() => {
                return Err(TemplateError::new(at, format!("`${{}}` without a name in {text:?}")));
            }
            None => pieces.push(Piece::Place(name.to_owned())),
        }
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    Ok(pieces)
}

impl fmt::Display for Expression {
    /// As people know it; what is inside a function is left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{text:?}"),
            Self::List(_) => f.write_str("[…]"),
            Self::Ref(name) => write!(f, "Ref {name:?}"),
            Self::Join { .. } => f.write_str("Fn::Join"),
            Self::Select { .. } => f.write_str("Fn::Select"),
            Self::Split { .. } => f.write_str("Fn::Split"),
            Self::Find { map, .. } => write!(f, "Fn::FindInMap {map:?}"),
            Self::Sub { pieces, .. } => {
                f.write_str("\"")?;
                for piece in pieces {
                    match piece {
                        Piece::Text(text) => f.write_str(text)?,
                        Piece::Place(name) => write!(f, "${{{name}}}")?,
                    }
                }
                f.write_str("\"")
            }
        }
    }
}
