//! Conditions of statements.
//!
//! | operator | keys | holds when |
//! |---|---|---|
//! | `StringEquals`, `StringLike`, `StringNotEquals`, `StringNotLike` | any variable | a value of the list is equal (`Like`: with `*` and `?`); `Not`: none is |
//! | `Bool` | `iot:Connection.Thing.IsAttached` | it is what the list says |
//! | `IpAddress`, `NotIpAddress` | `aws:SourceIp` | a network of the list has the peer's address; `Not`: none has |
//! | `ForAllValues:StringEquals`, `ForAnyValue:StringEquals` | `iot:ConnectAttributes` | all, or at least one, of what is special about the CONNECT is in the list |
//!
//! A key without a value holds for the `Not` forms and for `ForAllValues` alone, as in IAM. Everything but
//! `iot:ConnectAttributes` is known before CONNECT is answered and decided once.

use super::ConnectAttributes;
use super::pattern::Template;
use super::variable::{Facts, Variable};
use std::net::IpAddr;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    Text { key: Variable, values: Vec<Template>, negated: bool },
    Source { networks: Vec<Network>, negated: bool },
    Connect(Rest),
}

/// A condition on the CONNECT itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rest {
    all: bool,
    persistent: bool,
    will: bool,
}

/// Addresses with the same first bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Network {
    address: IpAddr,
    bits: u32,
}

impl Condition {
    /// Reads one key of one operator.
    ///
    /// Errors: what is wrong, one sentence each.
    pub(super) fn parse(operator: &str, key: &str, values: &[&str]) -> Result<Self, Vec<String>> {
        let one = |problem: String| vec![problem];
        match operator {
            "StringEquals" | "StringNotEquals" | "StringLike" | "StringNotLike" => {
                let key = Variable::parse(key).map_err(one)?;
                let wild = operator.ends_with("Like");
                let values = gather(values.iter().map(|value| Template::parse(value, wild)))?;
                Ok(Self::Text { key, values, negated: operator.contains("Not") })
            }
            "Bool" => {
                if key != "iot:Connection.Thing.IsAttached" {
                    return Err(one(format!("Bool is for iot:Connection.Thing.IsAttached, not for {key:?}")));
                }
                let read = |value: &&str| match *value {
                    "true" | "false" => Template::parse(value, false),
                    other => Err(format!("{other:?} is neither \"true\" nor \"false\"")),
                };
                let values = gather(values.iter().map(read))?;
                Ok(Self::Text { key: Variable::IsAttached, values, negated: false })
            }
            "IpAddress" | "NotIpAddress" => {
                if key != "aws:SourceIp" {
                    return Err(one(format!("{operator} is for aws:SourceIp, not for {key:?}")));
                }
                let networks = gather(values.iter().map(|value| Network::parse(value)))?;
                Ok(Self::Source { networks, negated: operator == "NotIpAddress" })
            }
            "ForAllValues:StringEquals" | "ForAnyValue:StringEquals" => {
                if key != "iot:ConnectAttributes" {
                    return Err(one(format!("{operator} is for iot:ConnectAttributes, not for {key:?}")));
                }
                let mut rest = Rest { all: operator.starts_with("ForAll"), persistent: false, will: false };
                let mut problems = Vec::new();
                for value in values {
                    match *value {
                        "PersistentConnect" => rest.persistent = true,
                        "LastWill" => rest.will = true,
                        other => problems.push(format!(
                            "{other:?} is no ConnectAttribute; there are PersistentConnect and LastWill"
                        )),
                    }
                }
                if problems.is_empty() { Ok(Self::Connect(rest)) } else { Err(problems) }
            }
            other => Err(one(format!(
                "the operator {other:?} is not known; there are StringEquals, StringNotEquals, StringLike, StringNotLike, \
                 Bool, IpAddress, NotIpAddress, ForAllValues:StringEquals and ForAnyValue:StringEquals"
            ))),
        }
    }

    pub(super) fn needs_certificate(&self) -> bool {
        match self {
            Self::Text { key, values, .. } => key.needs_certificate() || values.iter().any(Template::needs_certificate),
            Self::Source { .. } | Self::Connect(_) => false,
        }
    }

    /// Whether it holds; `Err` with what only a CONNECT can say.
    fn holds(&self, facts: &Facts<'_>) -> Result<bool, Rest> {
        match self {
            Self::Text { key, values, negated } => {
                let value = key.value(facts);
                let found =
                    value.is_some_and(|value| values.iter().any(|wanted| wanted.resolve(facts).matches("", &value)));
                Ok(found != *negated)
            }
            Self::Source { networks, negated } => {
                let found = facts.source.is_some_and(|source| networks.iter().any(|network| network.has(source)));
                Ok(found != *negated)
            }
            Self::Connect(rest) => Err(rest.clone()),
        }
    }
}

/// What is left to be asked at CONNECT; `None` when the statement says nothing about this connection.
pub(super) fn resolve(conditions: &[Condition], facts: &Facts<'_>) -> Option<Vec<Rest>> {
    let mut rest = Vec::new();
    for condition in conditions {
        match condition.holds(facts) {
            Ok(true) => {}
            Ok(false) => return None,
            Err(later) => rest.push(later),
        }
    }
    Some(rest)
}

impl Rest {
    /// Whether it holds; `attributes` is absent for everything but CONNECT.
    pub(super) fn holds(&self, attributes: Option<ConnectAttributes>) -> bool {
        let found = attributes.unwrap_or_default();
        match self.all {
            true => (!found.persistent || self.persistent) && (!found.will || self.will),
            false => (found.persistent && self.persistent) || (found.will && self.will),
        }
    }
}

impl Network {
    fn parse(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} is no network; write 10.0.0.0/8, 192.0.2.7 or 2001:db8::/32");
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u32>().map_err(|_| bad())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| bad())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        match address.to_canonical() {
            _ if bits > most => Err(bad()),
            // A peer's address is compared as the IPv4 address that it is.
            IpAddr::V4(inner) if address.is_ipv6() && bits >= 96 => Ok(Self { address: inner.into(), bits: bits - 96 }),
            _ => Ok(Self { address, bits }),
        }
    }

    fn has(self, found: IpAddr) -> bool {
        let left = |whole: u32| whole - self.bits;
        match (self.address, found.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                (ours.to_bits() ^ theirs.to_bits()).checked_shr(left(32)).unwrap_or(0) == 0
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
                (ours.to_bits() ^ theirs.to_bits()).checked_shr(left(128)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

fn gather<T>(each: impl Iterator<Item = Result<T, String>>) -> Result<Vec<T>, Vec<String>> {
    let (mut good, mut problems) = (Vec::new(), Vec::new());
    for one in each {
        match one {
            Ok(value) => good.push(value),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(good) } else { Err(problems) }
}
