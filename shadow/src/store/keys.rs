//! The one place where keys are put together and taken apart.
//!
//! ```text
//! key    = kind-byte part*
//! part   = escaped-bytes 0x00
//! escape   0x00 -> 0x01 0x01,  0x01 -> 0x01 0x02
//! ```
//!
//! Every part ends in 0x00 and holds none, so a key is a prefix of another only when its parts are the first parts of
//! the other: scanning `shadow a` finds `a` and what is under it, never `ab`. Names never contain 0x00 or 0x01; they
//! are escaped all the same, so that no input can reach into the records of another.

use std::fmt;

/// What a record is about: its namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A connector in the registry.
    Connector,
    /// An enrolment token.
    Token,
    /// A shadow of a thing.
    Shadow,
    /// A job on one thing.
    Execution,
    /// A job.
    Job,
    /// The things of a job.
    JobThings,
    /// How far a job is.
    JobRun,
    /// A thing that came to a continuous job.
    JobJoined,
    /// Things that got their executions of a job together.
    JobQueued,
    /// A template for jobs.
    JobTemplate,
    /// An operator's intent for a component.
    Target,
    /// A published component version.
    Component,
    /// A line in the record of who did what.
    Action,
    /// A fact about the store or the fleet as a whole.
    Meta,
    /// An issued certificate.
    Certificate,
    /// A policy.
    Policy,
    /// The policies of a connector.
    Attachment,
    /// An access key.
    AccessKey,
    /// A stream of files.
    Stream,
    /// A template by which devices provision themselves.
    ProvisioningTemplate,
    /// A certificate that waits for its device to become a thing.
    Ownership,
    /// The retained message of an application's topic.
    Retained,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 22] = [
        Self::Connector,
        Self::Token,
        Self::Shadow,
        Self::Execution,
        Self::Job,
        Self::JobThings,
        Self::JobRun,
        Self::JobJoined,
        Self::JobQueued,
        Self::JobTemplate,
        Self::Target,
        Self::Component,
        Self::Action,
        Self::Meta,
        Self::Certificate,
        Self::Policy,
        Self::Attachment,
        Self::AccessKey,
        Self::Stream,
        Self::ProvisioningTemplate,
        Self::Ownership,
        Self::Retained,
    ];

    /// The byte that starts every key of the kind. On disk: never change or reuse one.
    const fn byte(self) -> u8 {
        match self {
            Self::Connector => b'c',
            Self::Token => b't',
            Self::Shadow => b's',
            Self::Execution => b'e',
            Self::Job => b'j',
            Self::JobThings => b'h',
            Self::JobRun => b'R',
            Self::JobJoined => b'I',
            Self::JobQueued => b'Q',
            Self::JobTemplate => b'L',
            Self::Target => b'g',
            Self::Component => b'p',
            Self::Action => b'a',
            Self::Meta => b'm',
            Self::Certificate => b'x',
            Self::Policy => b'y',
            Self::Attachment => b'z',
            Self::AccessKey => b'k',
            Self::Stream => b'f',
            Self::ProvisioningTemplate => b'T',
            Self::Ownership => b'o',
            Self::Retained => b'r',
        }
    }

    /// The word for the kind in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connector => "connector",
            Self::Token => "token",
            Self::Shadow => "shadow",
            Self::Execution => "execution",
            Self::Job => "job",
            Self::JobThings => "things of job",
            Self::JobRun => "run of job",
            Self::JobJoined => "late thing of job",
            Self::JobQueued => "queued things of job",
            Self::JobTemplate => "job template",
            Self::Target => "target",
            Self::Component => "component",
            Self::Action => "action",
            Self::Meta => "meta",
            Self::Certificate => "certificate",
            Self::Policy => "policy",
            Self::Attachment => "policies of",
            Self::AccessKey => "access key",
            Self::Stream => "stream",
            Self::ProvisioningTemplate => "provisioning template",
            Self::Ownership => "ownership token",
            Self::Retained => "retained message",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A key, or the prefix of all keys that begin with the same parts.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Vec<u8>);

impl Key {
    /// The prefix of all records of a kind.
    pub fn new(kind: Kind) -> Self {
        let mut bytes = Vec::with_capacity(USUAL_BYTES);
        bytes.push(kind.byte());
        Self(bytes)
    }

    /// Adds a name.
    #[must_use]
    pub fn part(mut self, part: impl AsRef<str>) -> Self {
        let part = part.as_ref().as_bytes();
        for piece in part.split_inclusive(|byte| matches!(*byte, END | ESCAPE)) {
            match piece.split_last() {
                Some((&END, plain)) => self.0.extend_from_slice(&[plain, &[ESCAPE, ESCAPED_END]].concat()),
                Some((&ESCAPE, plain)) => self.0.extend_from_slice(&[plain, &[ESCAPE, ESCAPED_ESCAPE]].concat()),
                Some(_) | None => self.0.extend_from_slice(piece),
            }
        }
        self.0.push(END);
        self
    }

    /// Adds a number so that keys sort as the numbers do.
    #[must_use]
    pub fn number(self, number: u64) -> Self {
        self.part(format!("{number:016x}"))
    }

    /// The bytes, for `get` and `scan`.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// A stored key, checked. Errors: bytes that no key has.
    pub fn from_stored(key: &[u8]) -> Result<Self, BadKey> {
        Self::parse(key).map(|_| Self(key.to_vec()))
    }

    /// Takes a stored key apart.
    pub fn parse(key: &[u8]) -> Result<ParsedKey, BadKey> {
        let bad = |problem| BadKey { key: format!("{}", key.escape_ascii()), problem };
        let (&first, rest) = key.split_first().ok_or_else(|| bad("it is empty"))?;
        let kind = Kind::ALL.into_iter().find(|kind| kind.byte() == first).ok_or_else(|| bad("its kind is unknown"))?;
        let mut parts = Vec::new();
        let mut part = Vec::new();
        let mut bytes = rest.iter();
        while let Some(&byte) = bytes.next() {
            match byte {
                END => {
                    let name = String::from_utf8(std::mem::take(&mut part)).map_err(|_| bad("a part is not UTF-8"))?;
                    parts.push(name);
                    if bytes.as_slice().is_empty() {
                        return Ok(ParsedKey { kind, parts });
                    }
                }
                ESCAPE => match bytes.next() {
                    Some(&ESCAPED_END) => part.push(END),
                    Some(&ESCAPED_ESCAPE) => part.push(ESCAPE),
                    _ => return Err(bad("an escape is not finished")),
                },
                plain => part.push(plain),
            }
        }
        if rest.is_empty() { Ok(ParsedKey { kind, parts }) } else { Err(bad("its last part is not finished")) }
    }
}

impl AsRef<[u8]> for Key {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl From<Key> for Vec<u8> {
    fn from(key: Key) -> Self {
        key.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&describe(&self.0))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}

/// A key taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsedKey {
    /// What the record is about.
    pub kind: Kind,
    /// The names, in order.
    pub parts: Vec<String>,
}

impl ParsedKey {
    /// The number that [`Key::number`] wrote as part `index`.
    pub fn number(&self, index: usize) -> Option<u64> {
        let part = self.parts.get(index).filter(|part| part.len() == 16)?;
        u64::from_str_radix(part, 16).ok()
    }
}

/// Bytes that no [`Key`] has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key:?} is not a key of this store ({problem}); was the store written by a newer version?")]
pub struct BadKey {
    key: String,
    problem: &'static str,
}

/// A key for a message: `shadow pump-1 components`. The secret part of a record never stands in its key.
pub fn describe(key: &[u8]) -> String {
    match Key::parse(key) {
        Ok(ParsedKey { kind, parts }) => parts.iter().fold(kind.name().to_owned(), |text, part| text + " " + part),
        Err(_) => format!("{:?}", key.escape_ascii().to_string()),
    }
}

/// Most keys are shorter.
const USUAL_BYTES: usize = 64;
const END: u8 = 0x00;
const ESCAPE: u8 = 0x01;
const ESCAPED_END: u8 = 0x01;
const ESCAPED_ESCAPE: u8 = 0x02;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn build(kind: Kind, parts: &[String]) -> Key {
        parts.iter().fold(Key::new(kind), Key::part)
    }

    #[test]
    fn every_kind_has_its_own_byte_and_name() {
        assert_eq!(Kind::ALL.iter().map(|kind| kind.byte()).collect::<BTreeSet<_>>().len(), Kind::ALL.len());
        assert_eq!(Kind::ALL.iter().map(|kind| kind.name()).collect::<BTreeSet<_>>().len(), Kind::ALL.len());
    }

    #[test]
    fn prefix_of_a_is_no_prefix_of_ab() {
        let a = Key::new(Kind::Shadow).part("a");
        assert!(!Key::new(Kind::Shadow).part("ab").as_bytes().starts_with(a.as_bytes()));
        assert!(Key::new(Kind::Shadow).part("a").part("b").as_bytes().starts_with(a.as_bytes()));
    }

    #[test]
    fn numbers_sort_and_come_back() {
        let keys: Vec<Key> =
            [0, 9, 10, 255, 256, u64::MAX].map(|number| Key::new(Kind::Action).number(number)).into_iter().collect();
        assert!(keys.is_sorted());
        assert_eq!(Key::parse(keys[2].as_bytes()).unwrap().number(0), Some(10));
    }

    #[test]
    fn keys_are_described_by_kind_and_parts() {
        assert_eq!(Key::new(Kind::Shadow).part("pump-1").part("components").to_string(), "shadow pump-1 components");
        assert_eq!(describe(b"\xff\x00"), r#""\\xff\\x00""#);
    }

    #[test]
    fn bytes_that_are_no_key_are_refused() {
        for (bytes, problem) in [
            (&b""[..], "it is empty"),
            (b"?a\x00", "its kind is unknown"),
            (b"sab", "its last part is not finished"),
            (b"sa\x01", "an escape is not finished"),
            (b"sa\x01\x07\x00", "an escape is not finished"),
            (b"s\xff\x00", "a part is not UTF-8"),
        ] {
            assert_eq!(Key::parse(bytes).unwrap_err().problem, problem, "{bytes:?}");
        }
    }

    fn any_parts() -> impl Strategy<Value = Vec<String>> {
        // Few letters, so that equal parts and shared beginnings are common.
        prop::collection::vec("[ab\u{0}\u{1}\u{2}é]{0,3}", 0..4)
    }

    proptest! {
        #[test]
        fn keys_come_back_as_they_were_built(parts in any_parts(), kind in prop::sample::select(&Kind::ALL[..])) {
            let parsed = Key::parse(build(kind, &parts).as_bytes()).unwrap();
            prop_assert_eq!(parsed, ParsedKey { kind, parts });
        }

        #[test]
        fn a_key_is_a_prefix_only_of_keys_under_it(above in any_parts(), below in any_parts()) {
            let prefix = build(Kind::Job, &above);
            let key = build(Kind::Job, &below);
            prop_assert_eq!(key.as_bytes().starts_with(prefix.as_bytes()), below.starts_with(&above));
        }

        #[test]
        fn parsing_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..20)) {
            let _ = Key::parse(&bytes);
            let _ = describe(&bytes);
        }
    }
}
