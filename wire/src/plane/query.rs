//! Percent-encoding, and what a query says.

use super::{Page, PlaneError, Publish};

/// Undoes percent-encoding.
pub fn decode(text: &str) -> Result<String, PlaneError> {
    let bad = || PlaneError::Invalid("the path or the query has percent signs that encode no UTF-8 text".into());
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16)).ok_or_else(bad);
        let (high, low) = (digit()?, digit()?);
        bytes.push(u8::try_from(high << 4 | low).unwrap_or_default());
    }
    String::from_utf8(bytes).map_err(|_| bad())
}

/// Percent-encodes everything but the unreserved characters and those of `kept`.
#[must_use]
pub fn encode(text: &str, kept: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        let character = char::from(byte);
        if character.is_ascii_alphanumeric() || "-._~".contains(character) || kept.contains(character) {
            encoded.push(character);
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// The token that stands for this key: hexadecimal, so that nobody takes it for a name.
pub(super) fn token(key: &str) -> String {
    key.bytes().map(|byte| format!("{byte:02x}")).collect()
}

fn key(token: &str) -> Option<Box<str>> {
    let (pairs, odd) = token.as_bytes().as_chunks::<2>();
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let bytes = pairs.iter().map(|[high, low]| u8::try_from(digit(*high)? << 4 | digit(*low)?).ok());
    let bytes: Vec<u8> = bytes.collect::<Option<_>>().filter(|_| odd.is_empty())?;
    Some(String::from_utf8(bytes).ok()?.into())
}

/// The parameters of a query. Of one that is repeated the first counts.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn parse(text: &str) -> Result<Self, PlaneError> {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name)?, decode(value)?))
        });
        pairs.collect::<Result<_, PlaneError>>().map(Self)
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, PlaneError> {
        let number = |text: &str| text.parse().map_err(|_| PlaneError::Invalid(format!("{name} is no number")));
        self.text(name).map(number).transpose()
    }

    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, PlaneError> {
        let flag = |text: &str| match text.to_ascii_lowercase().as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(PlaneError::Invalid(format!("{name} is true or false"))),
        };
        self.text(name).map(flag).transpose()
    }

    pub(super) fn page(&self, size: &'static str, usual: usize, most: usize) -> Result<Page, PlaneError> {
        let after = match self.text("nextToken") {
            None | Some("") => None,
            Some(token) => {
                let invalid = || PlaneError::Invalid("nextToken is none that this server gave".into());
                Some(key(token).ok_or_else(invalid)?)
            }
        };
        let wished = self.number(size)?.map(|wished| usize::try_from(wished).unwrap_or(usize::MAX));
        let wished = wished.unwrap_or(usual);
        if !(1..=most).contains(&wished) {
            return Err(PlaneError::Invalid(format!("{size} is 1 to {most}")));
        }
        Ok(Page { after, size: wished })
    }

    pub(super) fn publish(&self) -> Result<Publish, PlaneError> {
        let text = |name| self.text(name).filter(|text| !text.is_empty()).map(Into::into);
        let at_least_once = match self.text("qos") {
            None | Some("0") => false,
            Some("1") => true,
            _ => return Err(PlaneError::Invalid("qos is 0 or 1".into())),
        };
        let expiry = self.number("messageExpiry")?;
        Ok(Publish {
            at_least_once,
            retain: self.flag("retain")?.unwrap_or(false),
            content_type: text("contentType"),
            response_topic: text("responseTopic"),
            expiry_seconds: expiry.map(|seconds| u32::try_from(seconds).unwrap_or(u32::MAX)),
        })
    }
}
