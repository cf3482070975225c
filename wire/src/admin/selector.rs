//! Which connectors an operator means: a few words that every command takes.
//!
//! ```text
//! selector = term *( "," term )          every term must hold
//! term     = [ "!" ] test                ! turns it round
//! test     = "all" | "unassigned" | "outdated"
//!          | ( "pool" | "site" | "name" | "os" | "label." KEY ) "=" values     * is any run of characters
//!          | "status=" values             online, stale, offline, never
//!          | "work=" values               healthy, degraded, failed, unknown
//!          | "component=" values          NAME or NAME@VERSION
//! values   = value *( "|" value )        one of them
//! ```
//!
//! `pool=`, `site=` and `label.KEY=` without a value mean connectors that have none; `unassigned` is `pool=`.

mod pattern;

pub use pattern::Pattern;

use crate::id::{ComponentName, PoolName, SiteName, ThingName, Version};
use crate::label::LabelKey;
use crate::limits::SELECTOR_BYTES_MAX;
use crate::view::{Life, LinkStatus, WorkStatus};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Which connectors are meant: those for which every term holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Selector {
    terms: Vec<Term>,
}

/// One condition.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Term {
    /// Whether it holds where the test does not.
    pub negated: bool,
    /// What is asked.
    pub test: Test,
}

/// What a term asks of a connector. Of several values one is enough.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Test {
    /// Nothing: every connector passes.
    All,
    /// Its agent or one of its components is not the latest for it.
    Outdated,
    /// Its pool; the empty pattern means none.
    Pool(Vec<Pattern>),
    /// Its site; the empty pattern means none.
    Site(Vec<Pattern>),
    /// Its name.
    Name(Vec<Pattern>),
    /// Its operating system; capital letters do not matter.
    Os(Vec<Pattern>),
    /// One of its labels; the empty pattern means that it has none with this key.
    Label(LabelKey, Vec<Pattern>),
    /// Whether it is reached, and whether it is let in: the words that a listing shows as its status.
    Status(Vec<Status>),
    /// Whether its components do their work.
    Work(Vec<WorkStatus>),
    /// A component that it reports.
    Component(Vec<ComponentTest>),
}

/// A word of a connector's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// Whether it is reached.
    Link(LinkStatus),
    /// What became of it, where that is not the usual.
    Life(Life),
}

/// A component, in any version or in one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ComponentTest {
    /// Component.
    pub name: ComponentName,
    /// The version that it reports; any when absent.
    pub version: Option<Version>,
}

/// Why a text is not a [`Selector`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "selector {text:?} is not usable: {problem}; terms are all, pool=, site=, name=, os=, label.KEY=, component=, \
     status=, work=, unassigned and outdated, joined by commas"
)]
pub struct SelectorError {
    /// The text as given.
    pub text: String,
    /// What is wrong with it.
    pub problem: String,
}

/// A selector that asks for what changes by itself, where a lasting intent is wanted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{term:?} changes by itself, so it cannot say which connectors shall run a version from now on; use pool=, site=, \
     name=, os= or label.KEY=, or name the connectors that `muster connector list --to` shows now"
)]
pub struct NotLasting {
    /// The term.
    pub term: String,
}

impl Selector {
    /// Every connector.
    #[must_use]
    pub fn all() -> Self {
        Self::of(Test::All)
    }

    /// The connectors of a pool.
    #[must_use]
    pub fn pool(pool: &PoolName) -> Self {
        Self::of(Test::Pool(vec![Pattern::new(pool.as_str())]))
    }

    /// The connectors of a site.
    #[must_use]
    pub fn site(site: &SiteName) -> Self {
        Self::of(Test::Site(vec![Pattern::new(site.as_str())]))
    }

    /// One connector.
    #[must_use]
    pub fn name(name: &ThingName) -> Self {
        Self::of(Test::Name(vec![Pattern::new(name.as_str())]))
    }

    /// The connectors that pass a test.
    #[must_use]
    pub fn of(test: Test) -> Self {
        Self { terms: vec![Term { negated: false, test }] }
    }

    /// The connectors for which `other` holds as well.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.terms.extend(other.terms);
        self
    }

    /// What must hold, at least one term.
    #[must_use]
    pub fn terms(&self) -> &[Term] {
        &self.terms
    }

    /// Whether it asks only for what an operator or a host's settings say, so that it may stand for a lasting intent.
    ///
    /// Errors: [`NotLasting`] with the first other term.
    pub fn check_lasting(&self) -> Result<(), NotLasting> {
        let passing =
            |test: &Test| matches!(test, Test::Outdated | Test::Status(_) | Test::Work(_) | Test::Component(_));
        match self.terms.iter().find(|term| passing(&term.test)) {
            Some(term) => Err(NotLasting { term: term.to_string() }),
            None => Ok(()),
        }
    }
}

impl std::str::FromStr for Selector {
    type Err = SelectorError;
    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let bad = |problem| SelectorError { text: text.chars().take(QUOTED_CHARS_MAX).collect(), problem };
        let fits = |length: usize| match length {
            ..=SELECTOR_BYTES_MAX => Ok(()),
            length => Err(bad(format!("it has {length} bytes and may have {SELECTOR_BYTES_MAX}"))),
        };
        fits(text.len())?;
        let terms = text.split(',').map(Term::parse).collect::<Result<Vec<Term>, String>>().map_err(bad)?;
        let selector = Self { terms };
        // It is stored as it prints, and a short spelling may print longer: `pool=` as `unassigned`.
        fits(selector.to_string().len())?;
        Ok(selector)
    }
}

impl Term {
    fn parse(text: &str) -> Result<Self, String> {
        let (negated, text) = match text.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        Ok(Self { negated, test: Test::parse(text)? })
    }
}

impl Test {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "" => return Err("a term is empty".into()),
            "all" => return Ok(Self::All),
            "outdated" => return Ok(Self::Outdated),
            "unassigned" => return Ok(Self::Pool(vec![Pattern::new("")])),
            _ => {}
        }
        let (key, values) = text.split_once('=').ok_or_else(|| format!("{text:?} has no ="))?;
        match key {
            "pool" => patterns(values, optional(PoolName::new)).map(Self::Pool),
            "site" => patterns(values, optional(SiteName::new)).map(Self::Site),
            "name" => patterns(values, named(ThingName::new)).map(Self::Name),
            "os" => patterns(values, present).map(Self::Os),
            "status" => one_of(values, &STATUSES).map(Self::Status),
            "work" => one_of(values, &WORKS).map(Self::Work),
            "component" => values.split('|').map(ComponentTest::parse).collect::<Result<_, _>>().map(Self::Component),
            other => match other.strip_prefix("label.") {
                Some(label) => {
                    let label = LabelKey::new(label).map_err(|error| error.to_string())?;
                    patterns(values, visible).map(|values| Self::Label(label, values))
                }
                None => Err(format!("nothing is called {other:?}")),
            },
        }
    }
}

impl ComponentTest {
    fn parse(text: &str) -> Result<Self, String> {
        let (name, version) = match text.split_once('@') {
            Some((name, version)) => (name, Some(Version::new(version).map_err(|error| error.to_string())?)),
            None => (text, None),
        };
        Ok(Self { name: ComponentName::new(name).map_err(|error| error.to_string())?, version })
    }
}

fn patterns(values: &str, check: impl Fn(&str) -> Result<(), String>) -> Result<Vec<Pattern>, String> {
    values.split('|').map(|value| check(value).map(|()| Pattern::new(value))).collect()
}

/// The characters of a name, and `*`.
fn named<T, E: fmt::Display>(new: impl Fn(String) -> Result<T, E>) -> impl Fn(&str) -> Result<(), String> {
    move |value| new(value.replace('*', "x")).map(drop).map_err(|error| error.to_string())
}

fn optional<T, E: fmt::Display>(new: impl Fn(String) -> Result<T, E>) -> impl Fn(&str) -> Result<(), String> {
    let named = named(new);
    move |value| if value.is_empty() { Ok(()) } else { named(value) }
}

fn visible(value: &str) -> Result<(), String> {
    match value.chars().find(|c| c.is_control()) {
        Some(bad) => Err(format!("a value has the character {bad:?}")),
        None => Ok(()),
    }
}

fn present(value: &str) -> Result<(), String> {
    if value.is_empty() { Err("a value is empty".into()) } else { visible(value) }
}

fn one_of<T: Copy>(values: &str, known: &[(&str, T)]) -> Result<Vec<T>, String> {
    let find = |value: &str| {
        let found = known.iter().find(|(word, _)| *word == value);
        found.map(|(_, meaning)| *meaning).ok_or_else(|| {
            let words: Vec<&str> = known.iter().map(|(word, _)| *word).collect();
            format!("{value:?} is none of {}", words.join(", "))
        })
    };
    values.split('|').map(find).collect()
}

/// The words for [`Status`].
const STATUSES: [(&str, Status); 6] = [
    ("online", Status::Link(LinkStatus::Online)),
    ("stale", Status::Link(LinkStatus::Stale)),
    ("offline", Status::Link(LinkStatus::Offline)),
    ("never", Status::Link(LinkStatus::Never)),
    ("disabled", Status::Life(Life::Disabled)),
    ("quarantined", Status::Life(Life::Quarantined)),
];
/// The words for [`WorkStatus`].
const WORKS: [(&str, WorkStatus); 4] = [
    ("healthy", WorkStatus::Healthy),
    ("degraded", WorkStatus::Degraded),
    ("failed", WorkStatus::Failed),
    ("unknown", WorkStatus::Unknown),
];
/// A longer text is cut in an error.
const QUOTED_CHARS_MAX: usize = 200;

impl TryFrom<String> for Selector {
    type Error = SelectorError;
    fn try_from(text: String) -> Result<Self, SelectorError> {
        text.parse()
    }
}

impl From<Selector> for String {
    fn from(selector: Selector) -> String {
        selector.to_string()
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        joined(f, &self.terms, ",", |f, term| term.fmt(f))
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.negated {
            f.write_str("!")?;
        }
        self.test.fmt(f)
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = |f: &mut fmt::Formatter<'_>, values: &[Pattern]| joined(f, values, "|", |f, value| value.fmt(f));
        match self {
            Self::All => f.write_str("all"),
            Self::Outdated => f.write_str("outdated"),
            Self::Pool(values) if matches!(values.as_slice(), [only] if only.is_none()) => f.write_str("unassigned"),
            Self::Pool(values) => f.write_str("pool=").and_then(|()| words(f, values)),
            Self::Site(values) => f.write_str("site=").and_then(|()| words(f, values)),
            Self::Name(values) => f.write_str("name=").and_then(|()| words(f, values)),
            Self::Os(values) => f.write_str("os=").and_then(|()| words(f, values)),
            Self::Label(key, values) => write!(f, "label.{key}=").and_then(|()| words(f, values)),
            Self::Status(values) => {
                f.write_str("status=").and_then(|()| joined(f, values, "|", |f, v| word(f, v, &STATUSES)))
            }
            Self::Work(values) => f.write_str("work=").and_then(|()| joined(f, values, "|", |f, v| word(f, v, &WORKS))),
            Self::Component(values) => {
                f.write_str("component=")?;
                joined(f, values, "|", |f, value| match &value.version {
                    Some(version) => write!(f, "{}@{version}", value.name),
                    None => value.name.fmt(f),
                })
            }
        }
    }
}

fn joined<T>(
    f: &mut fmt::Formatter<'_>,
    items: &[T],
    separator: &str,
    mut show: impl FnMut(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            f.write_str(separator)?;
        }
        show(f, item)?;
    }
    Ok(())
}

fn word<T: PartialEq>(f: &mut fmt::Formatter<'_>, value: &T, known: &[(&str, T)]) -> fmt::Result {
    f.write_str(known.iter().find(|(_, meaning)| meaning == value).map_or("", |(word, _)| word))
}

#[cfg(test)]
mod tests;
