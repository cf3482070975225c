//! Policies: documents in the form of AWS IoT Core that say what a connector may do. Pure.
//!
//! ```text
//!  text ── parse (every problem at once) ──▶ Policy ── resolve (facts of one connection) ──▶ Permit ── asked ──▶ Verdict
//! ```
//! A statement that denies beats every one that allows; what no statement names is denied. A variable that has no value
//! for a connection, or a value that would act as a wildcard, stays as its own text and so matches nothing.

mod builtin;
mod condition;
mod json;
mod parse;
mod pattern;
mod variable;

pub use builtin::{BUILTINS, DEFAULT};
pub use parse::PolicyProblems;
pub use variable::{CertificateNames, Facts, NameField};

use condition::{Condition, Rest};
use pattern::{Pattern, Template};
use std::sync::Arc;

crate::id::name!(
    /// Name of a policy.
    PolicyName, "policy name", 128, "A-Z a-z 0-9 + = , . @ _ -",
    first |c| c.is_ascii_alphanumeric() || matches!(c, '+' | '=' | ',' | '.' | '@' | '_' | '-'),
    rest |c| c.is_ascii_alphanumeric() || matches!(c, '+' | '=' | ',' | '.' | '@' | '_' | '-')
);

use serde::{Deserialize, Serialize};
use std::fmt;

/// Defines [`Action`]: one line for each.
macro_rules! actions {
    ($($(#[$doc:meta])* $action:ident,)+) => {
        /// What a policy is asked about.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Action {
            $($(#[$doc])* $action,)+
        }

        impl Action {
            /// Every action.
            pub const ALL: &'static [Self] = &[$(Self::$action),+];

            /// Its name in a document, without the service.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$action => stringify!($action),)+
                }
            }
        }
    };
}

actions! {
    /// At CONNECT; the resource is the client id.
    Connect,
    /// At every PUBLISH; the resource is the topic.
    Publish,
    /// At every PUBLISH with RETAIN as well.
    RetainPublish,
    /// At every SUBSCRIBE; the resource is the text of the filter.
    Subscribe,
    /// At every delivery; the resource is the topic.
    Receive,
    /// Over HTTP; the resource is the topic.
    GetRetainedMessage,
    /// Over HTTP; there is no resource.
    ListRetainedMessages,
    /// Over HTTP; the resource is the thing, here and below.
    GetThingShadow,
    /// Over HTTP.
    UpdateThingShadow,
    /// Over HTTP.
    DeleteThingShadow,
    /// Over HTTP.
    ListNamedShadowsForThing,
    /// Over HTTP.
    DescribeJobExecution,
    /// Over HTTP.
    GetPendingJobExecutions,
    /// Over HTTP.
    UpdateJobExecution,
    /// Over HTTP.
    StartNextPendingJobExecution,
    /// Known, so that documents of AWS IoT Core are taken; nothing here asks it.
    AssumeRoleWithCertificate,
}

impl Action {
    const fn bit(self) -> u32 {
        1 << self as u32
    }

    /// Whether a document may also name it with the service `iotjobsdata`.
    const fn is_of_jobs(self) -> bool {
        matches!(
            self,
            Self::DescribeJobExecution
                | Self::GetPendingJobExecutions
                | Self::UpdateJobExecution
                | Self::StartNextPendingJobExecution
        )
    }
}

/// What an action is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource<'a> {
    /// An MQTT client id.
    Client(&'a str),
    /// A topic.
    Topic(&'a str),
    /// The text of a topic filter.
    TopicFilter(&'a str),
    /// A thing.
    Thing(&'a str),
    /// Nothing in particular: only `*` names it.
    Everything,
}

impl Resource<'_> {
    /// The text that patterns match, in two parts.
    fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::Client(name) => ("client/", name),
            Self::Topic(name) => ("topic/", name),
            Self::TopicFilter(name) => ("topicfilter/", name),
            Self::Thing(name) => ("thing/", name),
            Self::Everything => ("", ""),
        }
    }
}

/// What is special about a CONNECT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectAttributes {
    /// The session outlives the connection.
    pub persistent: bool,
    /// It leaves a will.
    pub will: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    Allow,
    Deny,
}

/// A document that was read and is sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    statements: Vec<Statement>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Statement {
    effect: Effect,
    /// The bits of its actions.
    actions: u32,
    resources: Vec<Template>,
    conditions: Vec<Condition>,
}

impl Policy {
    /// Reads a document.
    ///
    /// Errors: every problem that it has.
    pub fn parse(text: &str) -> Result<Self, PolicyProblems> {
        parse::policy(text)
    }

    /// Whether a variable names something of the client's certificate besides its id: it has to be read for that.
    #[must_use]
    pub fn needs_certificate(&self) -> bool {
        let of_resources = |statement: &Statement| statement.resources.iter().any(Template::needs_certificate);
        let of_conditions = |statement: &Statement| statement.conditions.iter().any(Condition::needs_certificate);
        self.statements.iter().any(|statement| of_resources(statement) || of_conditions(statement))
    }
}

/// Everything that was granted to one connector by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// Whether the built-in policy [`DEFAULT`] is among them.
    pub includes_default: bool,
    /// The others.
    pub policies: Vec<Arc<Policy>>,
    /// What `iot:Connection.Thing.Attributes[…]` means.
    pub attributes: Vec<(&'static str, String)>,
}

impl Grants {
    /// See [`Policy::needs_certificate`].
    #[must_use]
    pub fn needs_certificate(&self) -> bool {
        self.policies.iter().any(|policy| policy.needs_certificate())
    }
}

/// What the statements say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// One denies it.
    Denied,
    /// One allows it, and none denies it.
    Allowed,
    /// None names it.
    Silent,
}

/// The grants of one connection: every variable has its value.
#[derive(Clone, Debug)]
pub struct Permit {
    grants: Arc<Grants>,
    statements: Vec<Resolved>,
}

#[derive(Clone, Debug)]
struct Resolved {
    effect: Effect,
    actions: u32,
    resources: Vec<Pattern>,
    /// What can only be said at CONNECT.
    rest: Vec<Rest>,
}

impl Permit {
    /// Puts the facts of a connection into its grants.
    #[must_use]
    pub fn new(grants: Arc<Grants>, facts: &Facts<'_>) -> Self {
        let statements = grants.policies.iter().flat_map(|policy| &policy.statements);
        let statements = statements
            .filter_map(|statement| {
                let rest = condition::resolve(&statement.conditions, facts)?;
                let resources = statement.resources.iter().map(|resource| resource.resolve(facts)).collect();
                Some(Resolved { effect: statement.effect, actions: statement.actions, resources, rest })
            })
            .collect();
        Self { grants, statements }
    }

    /// What it was made of.
    #[must_use]
    pub fn grants(&self) -> &Arc<Grants> {
        &self.grants
    }

    /// Asks about everything but CONNECT.
    #[must_use]
    pub fn ask(&self, action: Action, resource: Resource<'_>) -> Verdict {
        self.verdict(action, resource, None)
    }

    /// Asks about a CONNECT.
    #[must_use]
    pub fn ask_connect(&self, client_id: &str, attributes: ConnectAttributes) -> Verdict {
        self.verdict(Action::Connect, Resource::Client(client_id), Some(attributes))
    }

    fn verdict(&self, action: Action, resource: Resource<'_>, attributes: Option<ConnectAttributes>) -> Verdict {
        let (kind, name) = resource.parts();
        let mut verdict = Verdict::Silent;
        for statement in self.statements.iter().filter(|statement| statement.actions & action.bit() != 0) {
            let named = statement.resources.iter().any(|pattern| pattern.matches(kind, name));
            if !named || !statement.rest.iter().all(|rest| rest.holds(attributes)) {
                continue;
            }
            match statement.effect {
                Effect::Deny => return Verdict::Denied,
                Effect::Allow => verdict = Verdict::Allowed,
            }
        }
        verdict
    }
}

#[cfg(test)]
mod tests;
