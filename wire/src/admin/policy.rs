//! Operator requests about policies.

use crate::id::{PersonName, ThingName};
use crate::policy::PolicyName;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// [`super::Verb::PolicyAdd`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddPolicy {
    /// Its name.
    pub name: PolicyName,
    /// The document, as text.
    pub document: String,
    /// Take the place of one that is there.
    #[serde(default)]
    pub replace: bool,
}

/// [`super::Verb::PolicyShow`], [`super::Verb::PolicyDelete`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamePolicy {
    /// Which one.
    pub name: PolicyName,
}

/// [`super::Verb::PolicyList`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListPolicies {
    /// Only names after this one: the `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<PolicyName>,
}

/// One page of policies, sorted by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyList {
    /// The page.
    pub policies: Vec<PolicyView>,
    /// Where the next page starts; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<PolicyName>,
}

/// A policy, without its document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyView {
    /// Its name.
    pub name: PolicyName,
    /// What a built-in policy is for; absent for the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub built_in: Option<String>,
    /// Grows with every change.
    pub version: u32,
    /// Connectors that have it by name. Every other one has `default` alone.
    pub connectors: usize,
    /// Who added or changed it last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<PersonName>,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

/// Answer to [`NamePolicy`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownPolicy {
    /// The policy.
    pub policy: PolicyView,
    /// Its document, as it was given.
    pub document: String,
    /// Connectors that have it by name; of many the first.
    pub connectors: Vec<ThingName>,
}

/// [`super::Verb::PolicyAttach`], [`super::Verb::PolicyDetach`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttachPolicy {
    /// Which policy.
    pub name: PolicyName,
    /// To which connectors, or from which.
    pub connectors: Vec<ThingName>,
    /// Also to names that are no registered connectors: device SDKs with certificates of their own.
    #[serde(default)]
    pub any_name: bool,
}

/// Answer to [`AttachPolicy`]: in force for every connection from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachedPolicy {
    /// Which policy.
    pub name: PolicyName,
    /// Whose policies are others now.
    pub changed: Vec<ThingName>,
    /// Who had it, or had it not, before.
    pub unchanged: Vec<ThingName>,
}
