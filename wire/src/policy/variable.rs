//! Variables of documents, and the facts that are their values.

use crate::limits::POLICY_VARIABLE_BYTES_MAX;
use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

/// What is known of a connection.
#[derive(Clone, Debug, Default)]
pub struct Facts<'a> {
    /// The MQTT client id; empty over HTTP.
    pub client_id: &'a str,
    /// The name in the certificate.
    pub thing: &'a str,
    /// Of the connector, as in [`super::Grants`].
    pub attributes: &'a [(&'static str, String)],
    /// The id of the certificate.
    pub certificate_id: &'a str,
    /// What the certificate says of its holder and its issuer, if it was read.
    pub certificate: Option<&'a CertificateNames>,
    /// The address of the peer.
    pub source: Option<IpAddr>,
}

/// What a certificate says of its holder and its issuer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateNames {
    /// Of the holder, in the order of the certificate.
    pub subject: Vec<(NameField, Box<str>)>,
    /// Of the issuer.
    pub issuer: Vec<(NameField, Box<str>)>,
    /// Hexadecimal, in lower case.
    pub serial: Box<str>,
}

/// Defines [`NameField`]: the field, and its object identifier.
macro_rules! fields {
    ($($field:ident = $oid:literal,)+) => {
        /// A part of the name in a certificate.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs, reason = "each is called as X.520 calls it")]
        pub enum NameField {
            $($field,)+
        }

        impl NameField {
            const ALL: &'static [Self] = &[$(Self::$field),+];

            const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$field => stringify!($field),)+
                }
            }

            /// The field with this object identifier, in dots.
            #[must_use]
            pub fn of(oid: &str) -> Option<Self> {
                match oid {
                    $($oid => Some(Self::$field),)+
                    _ => None,
                }
            }
        }
    };
}

fields! {
    CommonName = "2.5.4.3",
    Surname = "2.5.4.4",
    SerialNumber = "2.5.4.5",
    Country = "2.5.4.6",
    State = "2.5.4.8",
    Organization = "2.5.4.10",
    OrganizationalUnit = "2.5.4.11",
    Title = "2.5.4.12",
    GivenName = "2.5.4.42",
    Initials = "2.5.4.43",
    GenerationQualifier = "2.5.4.44",
    DistinguishedNameQualifier = "2.5.4.46",
    Pseudonym = "2.5.4.65",
}

/// A variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Variable {
    ClientId,
    SourceIp,
    ThingName,
    /// Things have no types here: it never has a value.
    ThingTypeName,
    Attribute(Box<str>),
    IsAttached,
    CertificateId,
    CertificateSerial,
    Subject(NameField, usize),
    Issuer(NameField, usize),
}

const KNOWN: &str = "iot:ClientId, iot:Connection.Thing.ThingName, iot:Connection.Thing.ThingTypeName, \
                     iot:Connection.Thing.Attributes[NAME], iot:Connection.Thing.IsAttached, aws:SourceIp, \
                     iot:CertificateId, iot:Certificate.SerialNumber, iot:Certificate.Subject.FIELD, \
                     iot:Certificate.Issuer.FIELD";

impl Variable {
    /// Reads what stands between `${` and `}`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let unknown = || format!("no variable is called {text:?}; there are {KNOWN}");
        Ok(match text {
            "iot:ClientId" => Self::ClientId,
            "aws:SourceIp" => Self::SourceIp,
            "iot:CertificateId" => Self::CertificateId,
            "iot:Certificate.SerialNumber" => Self::CertificateSerial,
            "iot:Connection.Thing.ThingName" => Self::ThingName,
            "iot:Connection.Thing.ThingTypeName" => Self::ThingTypeName,
            "iot:Connection.Thing.IsAttached" => Self::IsAttached,
            _ => {
                if let Some(name) = text.strip_prefix("iot:Connection.Thing.Attributes[") {
                    let name = name.strip_suffix(']').filter(|name| !name.is_empty()).ok_or_else(unknown)?;
                    return Ok(Self::Attribute(name.into()));
                }
                let (of_subject, rest) = match text.strip_prefix("iot:Certificate.Subject.") {
                    Some(rest) => (true, rest),
                    None => (false, text.strip_prefix("iot:Certificate.Issuer.").ok_or_else(unknown)?),
                };
                let (field, number) = match rest.split_once('.') {
                    Some((field, number)) => (field, number.parse().map_err(|_| unknown())?),
                    None => (rest, 0),
                };
                let field = NameField::ALL.iter().copied().find(|known| known.as_str() == field).ok_or_else(unknown)?;
                if of_subject { Self::Subject(field, number) } else { Self::Issuer(field, number) }
            }
        })
    }

    pub(super) fn needs_certificate(&self) -> bool {
        matches!(self, Self::CertificateSerial | Self::Subject(..) | Self::Issuer(..))
    }

    /// Its value.
    pub(super) fn value<'a>(&self, facts: &Facts<'a>) -> Option<Cow<'a, str>> {
        let named = |names: &'a [(NameField, Box<str>)], field: &NameField, number: usize| {
            names.iter().filter(|(found, _)| found == field).nth(number).map(|(_, value)| &**value)
        };
        let value: &'a str = match self {
            Self::ClientId => facts.client_id,
            Self::ThingName => facts.thing,
            Self::ThingTypeName => return None,
            Self::IsAttached => return Some((if facts.thing.is_empty() { "false" } else { "true" }).into()),
            Self::Attribute(name) => &facts.attributes.iter().find(|(known, _)| **known == **name)?.1,
            Self::CertificateId => facts.certificate_id,
            Self::SourceIp => return facts.source.map(|source| source.to_string().into()),
            Self::CertificateSerial => &facts.certificate?.serial,
            Self::Subject(field, number) => named(&facts.certificate?.subject, field, *number)?,
            Self::Issuer(field, number) => named(&facts.certificate?.issuer, field, *number)?,
        };
        (!value.is_empty()).then_some(value.into())
    }

    /// Its value, unless that would act as a wildcard of a policy or of a filter.
    pub(super) fn insertable<'a>(&self, facts: &Facts<'a>) -> Option<Cow<'a, str>> {
        self.value(facts)
            .filter(|value| value.len() <= POLICY_VARIABLE_BYTES_MAX && !value.contains(['*', '$', '+', '?', '#']))
    }
}

impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = match self {
            Self::ClientId => "iot:ClientId",
            Self::SourceIp => "aws:SourceIp",
            Self::ThingName => "iot:Connection.Thing.ThingName",
            Self::ThingTypeName => "iot:Connection.Thing.ThingTypeName",
            Self::IsAttached => "iot:Connection.Thing.IsAttached",
            Self::CertificateId => "iot:CertificateId",
            Self::CertificateSerial => "iot:Certificate.SerialNumber",
            Self::Attribute(name) => return write!(f, "${{iot:Connection.Thing.Attributes[{name}]}}"),
            Self::Subject(field, 0) => return write!(f, "${{iot:Certificate.Subject.{}}}", field.as_str()),
            Self::Issuer(field, 0) => return write!(f, "${{iot:Certificate.Issuer.{}}}", field.as_str()),
            Self::Subject(field, number) => {
                return write!(f, "${{iot:Certificate.Subject.{}.{number}}}", field.as_str());
            }
            Self::Issuer(field, number) => {
                return write!(f, "${{iot:Certificate.Issuer.{}.{number}}}", field.as_str());
            }
        };
        write!(f, "${{{plain}}}")
    }
}
