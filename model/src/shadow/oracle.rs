//! A second shadow, written plainly over JSON values, to compare the first with. Nothing is shared with it.
//!
//! It repeats the executable reference of the protocol notes line by line. Where the written rules differ from that
//! program (order of the checks, version of a missing shadow, an object of nulls) the written rules win.

#![allow(clippy::unwrap_used)]

use serde_json::{Map, Value, json};

pub(super) type Refused = (u16, String);

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Oracle {
    pub state: Value,
    pub meta: Value,
    pub version: u64,
    pub live: bool,
}

#[derive(Debug)]
pub(super) struct Accepted {
    pub accepted: Value,
    pub delta: Option<Value>,
    pub documents: Value,
}

fn err<T>(code: u16, message: &str) -> Result<T, Refused> {
    Err((code, message.to_owned()))
}

impl Oracle {
    pub fn new() -> Self {
        Self { state: json!({}), meta: json!({}), version: 0, live: false }
    }

    pub fn update(&mut self, request: &Value, t: i64) -> Result<Accepted, Refused> {
        if !request.is_object() {
            return err(400, "Invalid JSON");
        }
        let token = token(request)?;
        if request.get("state").is_none() {
            return err(400, "Missing required node: state");
        }
        let state = request["state"].clone();
        if !state.is_null() {
            if !state.is_object() {
                return err(400, "State node must be an object");
            }
            for (name, text) in [("desired", "Desired"), ("reported", "Reported")] {
                if !(state[name].is_null() || state[name].is_object()) {
                    return err(400, &format!("{text} node must be an object"));
                }
            }
            for key in state.as_object().unwrap().keys() {
                if key != "desired" && key != "reported" {
                    return err(400, "State contains an invalid node");
                }
            }
            check(&state["desired"], 1)?;
            check(&state["reported"], 1)?;
        }
        let version = &request["version"];
        if !version.is_null() {
            if !version.is_u64() {
                return err(400, "Invalid version");
            }
            let wanted = version.as_u64().unwrap();
            let fits = if self.live { wanted == self.version } else { wanted == 0 || wanted == 1 };
            if !fits {
                return err(409, "Version conflict");
            }
        }
        let previous = if self.live { Some(self.snapshot()) } else { None };
        let before = self.clone();
        let mut accepted_meta = json!({});
        if state.is_null() {
            self.state = json!({});
            self.meta = json!({});
            accepted_meta = json!({"timestamp": t});
        } else {
            for section in ["desired", "reported"] {
                let Some(patch) = state.get(section) else { continue };
                if patch.is_null() {
                    remove(&mut self.state, section);
                    remove(&mut self.meta, section);
                    continue;
                }
                if self.state.get(section).is_none() {
                    self.state[section] = json!({});
                    self.meta[section] = json!({});
                }
                merge(&mut self.state[section], &mut self.meta[section], patch, t);
                if self.state[section] == json!({}) {
                    remove(&mut self.state, section);
                    remove(&mut self.meta, section);
                }
                accepted_meta[section] = stamp(patch, t);
            }
        }
        if self.state.to_string().len() > 8192 {
            *self = before;
            return err(413, "The payload exceeds the maximum size allowed");
        }
        self.version += 1;
        self.live = true;
        let mut accepted = json!({"state": state, "metadata": accepted_meta, "timestamp": t, "version": self.version});
        let mut documents = json!({"current": self.snapshot(), "timestamp": t});
        if let Some(previous) = previous {
            documents["previous"] = previous;
        }
        let (difference, stamps) = self.difference();
        let mut delta = if difference == json!({}) {
            None
        } else {
            Some(json!({"state": difference, "metadata": stamps, "timestamp": t, "version": self.version}))
        };
        if let Some(token) = token {
            accepted["clientToken"] = json!(token);
            documents["clientToken"] = json!(token);
            if let Some(delta) = &mut delta {
                delta["clientToken"] = json!(token);
            }
        }
        Ok(Accepted { accepted, delta, documents })
    }

    pub fn get(&self, name: &str, t: i64) -> Result<Value, Refused> {
        if !self.live {
            return err(404, &format!("No shadow exists with name: '{name}'"));
        }
        let mut answer = self.snapshot();
        let (difference, stamps) = self.difference();
        if difference != json!({}) {
            answer["state"]["delta"] = difference;
            answer["metadata"]["delta"] = stamps;
        }
        answer["timestamp"] = json!(t);
        Ok(answer)
    }

    pub fn delete(&mut self, name: &str, t: i64) -> Result<Value, Refused> {
        if !self.live {
            return err(404, &format!("No shadow exists with name: '{name}'"));
        }
        let answer = json!({"version": self.version, "timestamp": t});
        *self = Self { version: self.version + 1, ..Self::new() };
        Ok(answer)
    }

    fn snapshot(&self) -> Value {
        json!({"state": self.state, "metadata": self.meta, "version": self.version})
    }

    fn difference(&self) -> (Value, Value) {
        if self.state.get("desired").is_none() {
            return (json!({}), json!({}));
        }
        let reported = self.state.get("reported").cloned().unwrap_or(json!({}));
        difference(&self.state["desired"], &reported, &self.meta["desired"])
    }
}

fn token(request: &Value) -> Result<Option<String>, Refused> {
    match &request["clientToken"] {
        Value::Null => Ok(None),
        Value::String(token) if token.len() <= 64 => Ok(Some(token.clone())),
        _ => err(400, "Invalid clientToken"),
    }
}

fn check(value: &Value, depth: usize) -> Result<(), Refused> {
    if let Value::Array(items) = value {
        for item in items {
            if item.is_null() {
                return err(400, "Invalid JSON");
            }
            check(item, depth)?;
        }
    }
    if let Value::Object(fields) = value {
        if !fields.is_empty() && depth > 6 {
            return err(400, "JSON contains too many levels of nesting; maximum is 6");
        }
        for field in fields.values() {
            check(field, depth + 1)?;
        }
    }
    Ok(())
}

fn stamp(value: &Value, t: i64) -> Value {
    match value {
        Value::Object(fields) => Value::Object(fields.iter().map(|(k, v)| (k.clone(), stamp(v, t))).collect()),
        Value::Array(items) => Value::Array(items.iter().map(|v| stamp(v, t)).collect()),
        _ => json!({"timestamp": t}),
    }
}

fn remove(object: &mut Value, key: &str) {
    object.as_object_mut().unwrap().remove(key);
}

fn only_nulls(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(fields) => !fields.is_empty() && fields.values().all(only_nulls),
        _ => false,
    }
}

fn merge(doc: &mut Value, meta: &mut Value, patch: &Value, t: i64) {
    for (key, value) in patch.as_object().unwrap() {
        let absent = doc.get(key).is_none();
        if value.is_null() {
            remove(doc, key);
            remove(meta, key);
        } else if value.is_object() {
            if absent && only_nulls(value) {
                continue;
            }
            if absent || !doc[key].is_object() {
                doc[key] = json!({});
                meta[key] = json!({});
            }
            merge(&mut doc[key], &mut meta[key], value, t);
        } else {
            doc[key] = value.clone();
            meta[key] = stamp(value, t);
        }
    }
}

fn difference(desired: &Value, reported: &Value, meta: &Value) -> (Value, Value) {
    let (mut values, mut stamps) = (Map::new(), Map::new());
    for (key, wanted) in desired.as_object().unwrap() {
        match reported.get(key) {
            Some(found) if wanted.is_object() && found.is_object() => {
                let (inner, inner_stamps) = difference(wanted, found, &meta[key]);
                if inner != json!({}) {
                    values.insert(key.clone(), inner);
                    stamps.insert(key.clone(), inner_stamps);
                }
            }
            Some(found) if plain(found) == plain(wanted) => {}
            _ => {
                values.insert(key.clone(), wanted.clone());
                stamps.insert(key.clone(), meta[key].clone());
            }
        }
    }
    (Value::Object(values), Value::Object(stamps))
}

/// Every number as a float, so that `1` equals `1.0`. Exact for the small numbers of the tests.
fn plain(value: &Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64()),
        Value::Array(items) => Value::Array(items.iter().map(plain).collect()),
        Value::Object(fields) => Value::Object(fields.iter().map(|(k, v)| (k.clone(), plain(v))).collect()),
        other => other.clone(),
    }
}
