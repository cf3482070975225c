//! Operator requests about provisioning templates and claims.

use crate::id::{PersonName, Sha256Hex, TemplateName};
use crate::provision::ClaimName;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// [`super::Verb::TemplateCreate`]. Answered with the [`TemplateView`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateTemplate {
    /// Its name.
    pub template: TemplateName,
    /// In the form of AWS IoT Core, or in ours; docs/provisioning.md has both.
    pub document: serde_json::Value,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Who is asked before a device may become a thing: an `http` or `https` address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<String>,
    /// A template of this name is replaced. Claims of it stay good.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replace: bool,
}

/// [`super::Verb::TemplateShow`] and [`super::Verb::TemplateDelete`]. Answered with the [`TemplateView`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NameTemplate {
    /// Which one.
    pub template: TemplateName,
}

/// [`super::Verb::TemplateList`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListTemplates {}

/// Every template, by name, without documents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateList {
    /// The templates.
    pub templates: Vec<TemplateView>,
}

/// A provisioning template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateView {
    /// Its name.
    pub name: TemplateName,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Who is asked before a device may become a thing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<String>,
    /// What a device has to say, and may say.
    pub parameters: Vec<TemplateParameter>,
    /// Parts of the document that have no meaning here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignored: Vec<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it.
    pub created_by: PersonName,
    /// As it was given; not in a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<serde_json::Value>,
}

/// A parameter of a template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateParameter {
    /// Its name.
    pub name: String,
    /// Its value when the device says none; a device must say it when this is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
}

/// [`super::Verb::ClaimCreate`]: the key stays with the operator's program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateClaim {
    /// What it is called; the program that asks draws the second half.
    pub claim: ClaimName,
    /// A PKCS #10 request in PEM.
    pub csr: String,
    /// Its life in seconds; absent is a year.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub life_s: Option<u32>,
}

/// A claim certificate was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatedClaim {
    /// The claim.
    pub claim: ClaimView,
    /// Its certificate.
    pub certificate: String,
    /// What the device trusts the server by.
    pub ca: String,
}

/// [`super::Verb::ClaimList`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListClaims {
    /// Only those of this template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<TemplateName>,
    /// Only those after this one: the `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<ClaimName>,
}

/// One page of claims, sorted by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimList {
    /// The server's time, to which the ends of the claims compare.
    pub now: Timestamp,
    /// The page.
    pub claims: Vec<ClaimView>,
    /// Where the next page starts; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<ClaimName>,
}

/// [`super::Verb::ClaimRevoke`]. Answered with the [`ClaimView`] after it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevokeClaim {
    /// Which one.
    pub claim: ClaimName,
    /// Why; for the listing and the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Whether a claim still works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClaimState {
    /// It works.
    Live,
    /// Its time is over.
    Expired,
    /// An operator took it back.
    Revoked,
}

/// A claim certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimView {
    /// What it is called.
    pub claim: ClaimName,
    /// SHA-256 of the certificate.
    pub certificate: Sha256Hex,
    /// Whether it still works.
    pub state: ClaimState,
    /// When it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued_at: Option<Timestamp>,
    /// Its last valid moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Timestamp>,
    /// Why it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
