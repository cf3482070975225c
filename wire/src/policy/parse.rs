//! Reading a document: what is wrong with it is said at once, with where it stands, as far as an answer has room.

use super::condition::Condition;
use super::json::Unique;
use super::pattern::Template;
use super::{Action, Effect, Policy, Statement};
use crate::limits::{POLICY_CHARS_MAX, POLICY_PROBLEM_CHARS_MAX, POLICY_PROBLEMS_MAX, POLICY_TEXT_BYTES_MAX};
use serde_json::{Map, Value};
use std::cmp::Ordering;
use std::fmt;

/// Everything that is wrong with a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyProblems(pub Vec<String>);

impl fmt::Display for PolicyProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.0.len() == 1 { "" } else { "s" };
        write!(f, "the policy is not usable ({} problem{plural})", self.0.len())?;
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl std::error::Error for PolicyProblems {}

pub(super) fn policy(text: &str) -> Result<Policy, PolicyProblems> {
    let alone = |problem: String| PolicyProblems(vec![bounded(&problem)]);
    if text.len() > POLICY_TEXT_BYTES_MAX {
        return Err(alone(format!("it has {} bytes; at most {POLICY_TEXT_BYTES_MAX} are allowed", text.len())));
    }
    let Unique(value) = serde_json::from_str(text).map_err(|error| alone(format!("it is not JSON: {error}")))?;
    let Value::Object(document) = value else { return Err(alone("it is not a JSON object".to_owned())) };
    let mut reader = Reader::default();
    let chars = text.chars().filter(|c| !c.is_whitespace()).count();
    if chars > POLICY_CHARS_MAX {
        reader.says(format!("it has {chars} characters without white space; at most {POLICY_CHARS_MAX} are allowed"));
    }
    let statements = reader.document(&document);
    if reader.problems.is_empty() { Ok(Policy { statements }) } else { Err(PolicyProblems(reader.problems)) }
}

fn bounded(problem: &str) -> String {
    problem.chars().take(POLICY_PROBLEM_CHARS_MAX).collect()
}

#[derive(Default)]
struct Reader {
    problems: Vec<String>,
}

impl Reader {
    fn says(&mut self, problem: impl AsRef<str>) {
        match self.problems.len().cmp(&POLICY_PROBLEMS_MAX) {
            Ordering::Less => self.problems.push(bounded(problem.as_ref())),
            Ordering::Equal => self.problems.push("there are more; mend these first".to_owned()),
            Ordering::Greater => {}
        }
    }

    fn document(&mut self, document: &Map<String, Value>) -> Vec<Statement> {
        for key in document.keys().filter(|key| !matches!(key.as_str(), "Version" | "Id" | "Statement")) {
            self.says(format!("{key:?} is not known; a document has Version, Id and Statement"));
        }
        match document.get("Version").map(Value::as_str) {
            Some(Some("2012-10-17")) => {}
            Some(_) => self.says("Version is not \"2012-10-17\""),
            None => self.says("Version is missing; write \"2012-10-17\""),
        }
        let statements = match document.get("Statement") {
            Some(Value::Array(statements)) if !statements.is_empty() => statements.iter().collect(),
            Some(one @ Value::Object(_)) => vec![one],
            Some(_) => {
                self.says("Statement is neither an object nor a list of at least one");
                Vec::new()
            }
            None => {
                self.says("Statement is missing");
                Vec::new()
            }
        };
        let read = |(number, statement)| self.statement(&format!("Statement[{number}]"), statement);
        statements.into_iter().enumerate().filter_map(read).collect()
    }

    fn statement(&mut self, at: &str, statement: &Value) -> Option<Statement> {
        let Value::Object(statement) = statement else {
            self.says(format!("{at} is not an object"));
            return None;
        };
        for key in statement.keys() {
            match key.as_str() {
                "Sid" | "Effect" | "Action" | "Resource" | "Condition" => {}
                "NotAction" | "NotResource" => {
                    self.says(format!("{at}.{key} is not supported; deny what is meant in a statement of its own"));
                }
                "Principal" | "NotPrincipal" => {
                    self.says(format!("{at}.{key} has no meaning here; attach the policy to connectors"));
                }
                _ => self
                    .says(format!("{at}.{key} is not known; a statement has Sid, Effect, Action, Resource, Condition")),
            }
        }
        let effect = match statement.get("Effect").map(Value::as_str) {
            Some(Some("Allow")) => Some(Effect::Allow),
            Some(Some("Deny")) => Some(Effect::Deny),
            Some(_) => {
                self.says(format!("{at}.Effect is neither \"Allow\" nor \"Deny\""));
                None
            }
            None => {
                self.says(format!("{at}.Effect is missing; write \"Allow\" or \"Deny\""));
                None
            }
        };
        let actions = self.texts(at, "Action", statement.get("Action"), action);
        let resources = self.texts(at, "Resource", statement.get("Resource"), resource);
        let conditions = statement.get("Condition").map(|found| self.conditions(at, found)).unwrap_or_default();
        let actions = actions.into_iter().fold(0, |bits, more| bits | more);
        Some(Statement { effect: effect?, actions, resources, conditions })
    }

    /// A text or a list of texts, each read by `read`.
    fn texts<T>(
        &mut self,
        at: &str,
        key: &str,
        value: Option<&Value>,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        let values = match value {
            Some(one @ Value::String(_)) => vec![one],
            Some(Value::Array(many)) if !many.is_empty() => many.iter().collect(),
            Some(_) => {
                self.says(format!("{at}.{key} is neither a text nor a list of at least one"));
                return Vec::new();
            }
            None => {
                self.says(format!("{at}.{key} is missing"));
                return Vec::new();
            }
        };
        let mut good = Vec::new();
        for (number, value) in values.into_iter().enumerate() {
            match value.as_str().map(&read) {
                Some(Ok(found)) => good.push(found),
                Some(Err(problem)) => self.says(format!("{at}.{key}[{number}]: {problem}")),
                None => self.says(format!("{at}.{key}[{number}] is not a text")),
            }
        }
        good
    }

    fn conditions(&mut self, at: &str, value: &Value) -> Vec<Condition> {
        let Value::Object(operators) = value else {
            self.says(format!("{at}.Condition is not an object"));
            return Vec::new();
        };
        let mut conditions = Vec::new();
        for (operator, keys) in operators {
            let Value::Object(keys) = keys else {
                self.says(format!("{at}.Condition.{operator} is not an object"));
                continue;
            };
            for (key, values) in keys {
                let at = format!("{at}.Condition.{operator}.{key}");
                match words(values).map(|values| Condition::parse(operator, key, &values)) {
                    Some(Ok(condition)) => conditions.push(condition),
                    Some(Err(problems)) => problems.iter().for_each(|problem| self.says(format!("{at}: {problem}"))),
                    None => self.says(format!("{at} is neither a text nor a list of texts")),
                }
            }
        }
        conditions
    }
}

/// A text, a truth value, or a list of them; as texts.
fn words(value: &Value) -> Option<Vec<&str>> {
    match value {
        Value::Array(many) if !many.is_empty() => many.iter().map(read).collect(),
        Value::Array(_) => None,
        one => read(one).map(|one| vec![one]),
    }
}

fn read(value: &Value) -> Option<&str> {
    match value {
        Value::String(text) => Some(text),
        Value::Bool(true) => Some("true"),
        Value::Bool(false) => Some("false"),
        _ => None,
    }
}

/// The bits of the actions that a text names.
fn action(text: &str) -> Result<u32, String> {
    let wanted = text.to_ascii_lowercase();
    let pattern = Template::parse(&wanted, true)?.resolve(&super::Facts::default());
    let named = |action: &&Action| {
        let name = action.as_str().to_ascii_lowercase();
        pattern.matches("iot:", &name) || (action.is_of_jobs() && pattern.matches("iotjobsdata:", &name))
    };
    match Action::ALL.iter().filter(named).fold(0, |bits, action| bits | action.bit()) {
        0 => {
            let all: Vec<&str> = Action::ALL.iter().map(|action| action.as_str()).collect();
            Err(format!("no action is called {text:?}; there are iot:* and, with iot: before it, {}", all.join(", ")))
        }
        bits => Ok(bits),
    }
}

/// Types of resources that anything asks about.
const TYPES: [&str; 4] = ["client", "topic", "topicfilter", "thing"];

/// A resource: its partition, region and account do not matter.
fn resource(text: &str) -> Result<Template, String> {
    let shape = || {
        format!(
            "{text:?} is no resource; write arn:aws:iot:REGION:ACCOUNT:TYPE/NAME, TYPE/NAME or *, where TYPE is client, \
             topic, topicfilter or thing"
        )
    };
    let named = if text.starts_with("arn:") {
        let fields: Vec<&str> = text.splitn(6, ':').collect();
        match fields.as_slice() {
            [_, _, service, _, _, named] if matches!(*service, "iot" | "*") => *named,
            [_, _, "iot" | "*", .., "*"] | [_, _, "*"] | [_, "*"] => "*",
            _ => return Err(shape()),
        }
    } else {
        text
    };
    if named == "*" {
        return Ok(Template::everything());
    }
    let kind = named.split('/').next().unwrap_or_default();
    let is_open = kind.contains(['*', '?']);
    if !is_open && (!TYPES.contains(&kind) || !named.contains('/')) {
        return Err(shape());
    }
    Template::parse(named, true)
}
