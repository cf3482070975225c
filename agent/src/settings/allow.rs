//! What this host lets the server do: the list `allow` of `agent.toml`.

use muster_wire::id::ComponentName;

/// Patterns of components, each perhaps with an operation in front: `greeter`, `db-*`, `upgrade:greeter`, `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allow(Vec<Pattern>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    operation: Option<String>,
    component: String,
}

impl Allow {
    /// Everything.
    pub fn all() -> Self {
        Self(vec![Pattern { operation: None, component: "*".to_owned() }])
    }

    /// Reads the patterns.
    ///
    /// Errors: the first that is none.
    pub fn parse<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let pattern = |text: &str| {
            let (operation, component) = match text.split_once(':') {
                Some((operation, component)) => (Some(operation), component),
                None => (None, text),
            };
            let is_name = |text: &str, extra: &[char]| {
                !text.is_empty()
                    && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c) || extra.contains(&c))
            };
            if is_name(component, &['*']) && operation.is_none_or(|operation| is_name(operation, &[])) {
                return Ok(Pattern { operation: operation.map(str::to_owned), component: component.to_owned() });
            }
            Err(format!("{text:?} is no component such as \"greeter\" or \"db-*\", nor OPERATION:COMPONENT"))
        };
        patterns.into_iter().map(pattern).collect::<Result<_, _>>().map(Self)
    }

    /// Whether this may be done here.
    pub fn covers(&self, operation: &str, component: &ComponentName) -> bool {
        self.0.iter().any(|pattern| {
            let is_operation = pattern.operation.as_ref().is_none_or(|only| only == operation);
            is_operation && fits(pattern.component.as_bytes(), component.as_str().as_bytes())
        })
    }
}

impl std::fmt::Display for Allow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = |pattern: &Pattern| match &pattern.operation {
            Some(operation) => format!("{operation}:{}", pattern.component),
            None => pattern.component.clone(),
        };
        match self.0.len() {
            0 => f.write_str("nothing"),
            _ => f.write_str(&self.0.iter().map(text).collect::<Vec<_>>().join(", ")),
        }
    }
}

/// Whether `*` in the pattern can stand for what is missing. Goes back to the last `*` only, so it is linear in practice
/// and at worst the product of the lengths.
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut of_name, mut star) = (0, 0, None);
    while of_name < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, of_name));
                at += 1;
            }
            Some(byte) if *byte == name[of_name] => {
                at += 1;
                of_name += 1;
            }
            _ => match star {
                Some((star_at, taken)) => {
                    at = star_at + 1;
                    of_name = taken + 1;
                    star = Some((star_at, taken + 1));
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn patterns_cover_what_they_say() {
        let covers = |patterns: &[&str], operation: &str, component: &str| {
            Allow::parse(patterns.iter().copied()).unwrap().covers(operation, &ComponentName::new(component).unwrap())
        };
        for (patterns, component, expected) in [
            (&["*"][..], "greeter", true),
            (&[], "greeter", false),
            (&["greeter"], "greeter", true),
            (&["greeter"], "greeter2", false),
            (&["db-*", "web"], "db-main", true),
            (&["db-*"], "db", false),
            (&["*-db-*x"], "a-db-b-db-x", true),
            (&["*a*b"], "ab-ba", false),
            (&["upgrade:greeter"], "greeter", true),
            (&["install:greeter"], "greeter", false),
            (&["upgrade:*"], "anything", true),
        ] {
            assert_eq!(covers(patterns, "upgrade", component), expected, "{patterns:?} {component}");
        }
        for bad in ["", "a b", ":a", "upgrade:", "a:b:c", "up*:a", "[a]"] {
            assert!(Allow::parse(["ok", bad]).unwrap_err().contains(&format!("{bad:?}")), "{bad}");
        }
    }
}
