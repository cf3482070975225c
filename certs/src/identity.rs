//! Who a certificate speaks for: `spiffe://<fleet>/<role>/<name>`, in its only URI subject alternative name.
//!
//! Reading an identity does not prove it: call this on the leaf of a chain that TLS has verified against the
//! fleet's authority. The common name repeats the name for the eyes of people and SDKs; it decides nothing.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

pub use crate::certificate::certificate_id;
use crate::certificate::{self, CertificateError, CertificateFacts};

const SCHEME: &str = "spiffe://";
const FLEET_BYTES_MAX: usize = 64;
/// The length limit of an AWS thing name.
const NAME_BYTES_MAX: usize = 128;

/// The name of a fleet, the trust domain of its identities: 1 to 64 of `a-z 0-9 - .`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fleet(String);

/// What an identity may be in a fleet; policies hang on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A host with an agent, an AWS thing.
    Connector,
    /// A person or program that steers.
    Operator,
    /// A dashboard that only reads.
    Observer,
    /// A part of Muster itself.
    Service,
    /// Devices that shall get an identity of their own: `TEMPLATE:ID`.
    Claim,
    /// A device whose certificate was issued before its name was known. Whom it speaks for stands in the records; by
    /// itself it speaks for nobody.
    Provisioned,
}

/// A checked identity: fleet, role and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Identity {
    fleet: Fleet,
    role: Role,
    name: String,
}

/// Why a text or a certificate is not an identity.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The fleet name is empty, too long, or has a character that is not allowed.
    #[error("fleet name {found:?} is not usable (use a-z 0-9 - . only, 1 to 64 characters)")]
    Fleet {
        /// The text, cut to a printable length.
        found: String,
    },
    /// The role does not exist.
    #[error("role {found:?} does not exist (use connector, operator, observer, service, claim or provisioned)")]
    Role {
        /// The text, cut to a printable length.
        found: String,
    },
    /// The name breaks the rule of its role.
    #[error("{role} name {found:?} is not usable (use {}, 1 to 128 characters)", allowed(*role))]
    Name {
        /// The role whose rule applies.
        role: Role,
        /// The text, cut to a printable length.
        found: String,
    },
    /// The text is not of the form `spiffe://fleet/role/name`.
    #[error("{found:?} is not an identity (expected spiffe://<fleet>/<role>/<name>)")]
    Shape {
        /// The text, cut to a printable length.
        found: String,
    },
    /// The identity belongs to another fleet.
    #[error("the identity is of fleet {found}, not of this fleet {expected}; use a certificate that this fleet issued")]
    OtherFleet {
        /// The fleet of the identity.
        found: Fleet,
        /// The fleet that was asked for.
        expected: Fleet,
    },
    /// The certificate does not have exactly one URI.
    #[error("the certificate has {count} URI subject alternative names, expected exactly 1")]
    UriCount {
        /// How many there are.
        count: usize,
    },
    /// The certificate has a subject alternative name extension that is doubled or cannot be read.
    #[error("the subject alternative names of the certificate are not readable")]
    AlternativeNames,
    /// The certificate itself cannot be read.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

impl Fleet {
    /// Checks a fleet name.
    ///
    /// Errors: [`IdentityError::Fleet`].
    pub fn new(name: impl Into<String>) -> Result<Self, IdentityError> {
        let name = name.into();
        let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
        if (1..=FLEET_BYTES_MAX).contains(&name.len()) && name.bytes().all(allowed) {
            Ok(Self(name))
        } else {
            Err(IdentityError::Fleet { found: excerpt(&name) })
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The URI of the fleet itself, carried by its authority: `spiffe://<fleet>`.
    pub fn uri(&self) -> String {
        format!("{SCHEME}{self}")
    }

    /// Reads [`Fleet::uri`] from the certificate of an authority.
    ///
    /// Errors: any but `Role` and `Name`.
    pub fn from_certificate(der: &[u8]) -> Result<Self, IdentityError> {
        let uri = only_uri(&certificate::parse(der)?)?;
        match uri.strip_prefix(SCHEME) {
            Some(fleet) => Self::new(fleet),
            None => Err(IdentityError::Shape { found: excerpt(&uri) }),
        }
    }
}

impl Role {
    /// The role as it stands in an identity.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connector => "connector",
            Self::Operator => "operator",
            Self::Observer => "observer",
            Self::Service => "service",
            Self::Claim => "claim",
            Self::Provisioned => "provisioned",
        }
    }
}

impl Identity {
    /// Checks a name for a role and makes the identity.
    ///
    /// Errors: [`IdentityError::Name`].
    pub fn new(fleet: Fleet, role: Role, name: impl Into<String>) -> Result<Self, IdentityError> {
        let name = name.into();
        if is_name(role, &name) {
            Ok(Self { fleet, role, name })
        } else {
            Err(IdentityError::Name { role, found: excerpt(&name) })
        }
    }

    /// Reads the identity from a verified certificate of `fleet`.
    ///
    /// Other kinds of alternative names (DNS, IP) are ignored; a second URI is an error.
    /// Errors: `Certificate`, `AlternativeNames`, `UriCount`, `OtherFleet`, and those of parsing the URI.
    pub fn from_certificate(der: &[u8], fleet: &Fleet) -> Result<Self, IdentityError> {
        Self::from_parsed(&certificate::parse(der)?, fleet)
    }

    /// As [`Identity::from_certificate`], with the facts of the same certificate: a door needs both for every client,
    /// and reading is the larger part of the work.
    ///
    /// Errors: those of [`Identity::from_certificate`].
    pub fn with_facts(der: &[u8], fleet: &Fleet) -> Result<(Self, CertificateFacts), IdentityError> {
        let certificate = certificate::parse(der)?;
        Ok((Self::from_parsed(&certificate, fleet)?, CertificateFacts::of(&certificate, der)))
    }

    /// Reads what a certificate says, whichever fleet it is of: for a listing or a revocation, not for a door.
    ///
    /// Errors: those of [`Identity::from_certificate`] except `OtherFleet`.
    pub fn of_any_fleet(der: &[u8]) -> Result<Self, IdentityError> {
        only_uri(&certificate::parse(der)?)?.parse()
    }

    fn from_parsed(certificate: &X509Certificate<'_>, fleet: &Fleet) -> Result<Self, IdentityError> {
        let identity: Self = only_uri(certificate)?.parse()?;
        if identity.fleet == *fleet {
            Ok(identity)
        } else {
            Err(IdentityError::OtherFleet { found: identity.fleet, expected: fleet.clone() })
        }
    }

    /// The fleet that vouches for this identity.
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// What it may be.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Its name within the role; for a connector the thing name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// The alphabet of an AWS thing name; people's names may hold dots, but not begin with one,
/// because names become file names.
fn is_name(role: Role, name: &str) -> bool {
    let dots = role == Role::Operator;
    let allowed =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'_' | b'-') || (dots && byte == b'.');
    (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(allowed)
}

const fn allowed(role: Role) -> &'static str {
    match role {
        Role::Operator => "a-z A-Z 0-9 : _ - . and no leading dot",
        Role::Connector | Role::Observer | Role::Service | Role::Claim | Role::Provisioned => "a-z A-Z 0-9 : _ - only",
    }
}

fn only_uri(certificate: &X509Certificate<'_>) -> Result<String, IdentityError> {
    // An error here is a doubled extension or one that does not parse.
    let names = certificate.subject_alternative_name().map_err(|_| IdentityError::AlternativeNames)?;
    let names = names.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default();
    if names.iter().any(|name| matches!(name, GeneralName::Invalid(..))) {
        return Err(IdentityError::AlternativeNames);
    }
    let mut uris = names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    match (uris.next(), uris.count()) {
        (Some(uri), 0) => Ok(uri.to_owned()),
        (first, more) => Err(IdentityError::UriCount { count: usize::from(first.is_some()) + more }),
    }
}

/// Foreign text goes into errors and logs; a kilobyte of it helps nobody.
fn excerpt(text: &str) -> String {
    text.chars().take(200).collect()
}

impl FromStr for Fleet {
    type Err = IdentityError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl FromStr for Role {
    type Err = IdentityError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "connector" => Ok(Self::Connector),
            "operator" => Ok(Self::Operator),
            "observer" => Ok(Self::Observer),
            "service" => Ok(Self::Service),
            "claim" => Ok(Self::Claim),
            "provisioned" => Ok(Self::Provisioned),
            _ => Err(IdentityError::Role { found: excerpt(text) }),
        }
    }
}

impl FromStr for Identity {
    type Err = IdentityError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let shape = || IdentityError::Shape { found: excerpt(text) };
        let mut parts = text.strip_prefix(SCHEME).ok_or_else(shape)?.split('/');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(fleet), Some(role), Some(name), None) => Self::new(fleet.parse()?, role.parse()?, name),
            _ => Err(shape()),
        }
    }
}

impl fmt::Display for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}/{}", self.fleet, self.role, self.name)
    }
}

impl TryFrom<String> for Fleet {
    type Error = IdentityError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(text)
    }
}

impl From<Fleet> for String {
    fn from(fleet: Fleet) -> Self {
        fleet.0
    }
}

impl TryFrom<String> for Identity {
    type Error = IdentityError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Identity> for String {
    fn from(identity: Identity) -> Self {
        identity.to_string()
    }
}

#[cfg(test)]
mod tests;
