//! JSON or CBOR: the first byte of a request tells, and the answer comes in the encoding of the request.

use crate::limits::DECODE_DETAIL_CHARS_MAX;
use serde::{Serialize, de::DeserializeOwned};

/// How a payload is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// UTF-8 JSON.
    #[default]
    Json,
    /// CBOR (RFC 8949).
    Cbor,
}

/// Why a payload could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// JSON must be UTF-8.
    #[error("the payload is not UTF-8")]
    NotUtf8,
    /// The text or bytes do not parse, or do not have the wanted shape.
    #[error("the payload is not usable {encoding:?}: {detail}")]
    Malformed {
        /// How the payload was read.
        encoding: Encoding,
        /// The parser's words.
        detail: String,
    },
}

impl Encoding {
    /// The encoding of `payload`: a CBOR map begins with a byte of major type 5 (`0xa0..=0xbf`), JSON never does.
    /// An empty payload counts as JSON.
    #[must_use]
    pub fn of(payload: &[u8]) -> Self {
        match payload.first() {
            Some(0xa0..=0xbf) => Self::Cbor,
            _ => Self::Json,
        }
    }

    /// Reads a value. Trailing bytes are an error in both encodings.
    pub fn decode<T: DeserializeOwned>(self, payload: &[u8]) -> Result<T, DecodeError> {
        match self {
            Self::Json => {
                let text = std::str::from_utf8(payload).map_err(|_| DecodeError::NotUtf8)?;
                serde_json::from_str(text).map_err(|e| self.malformed(&e))
            }
            Self::Cbor => {
                let mut rest = payload;
                let value = ciborium::de::from_reader_with_recursion_limit(&mut rest, CBOR_DEPTH_MAX)
                    .map_err(|e| self.malformed(&e))?;
                if rest.is_empty() { Ok(value) } else { Err(self.malformed(&"bytes follow the value")) }
            }
        }
    }

    /// Writes a value.
    ///
    /// Panics when `value` cannot be serialised, which no type of this crate can bring about (string keys only,
    /// no fallible serialisers).
    #[must_use]
    pub fn encode<T: Serialize + ?Sized>(self, value: &T) -> Vec<u8> {
        match self {
            Self::Json => serde_json::to_vec(value).expect("wire types serialise to JSON"),
            Self::Cbor => {
                let mut bytes = Vec::with_capacity(256);
                ciborium::into_writer(value, &mut bytes).expect("wire types serialise to CBOR");
                bytes
            }
        }
    }

    fn malformed(self, detail: &dyn std::fmt::Display) -> DecodeError {
        // The parser's words may quote the payload, which is as long as the sender likes.
        let detail = detail.to_string().chars().take(DECODE_DETAIL_CHARS_MAX).collect();
        DecodeError::Malformed { encoding: self, detail }
    }
}

/// Deepest nesting that is read at all. JSON's reader stops at 128 by itself; the shadow rules allow 6.
const CBOR_DEPTH_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn both_encodings_carry_the_same_value() {
        let value = json!({"a": {"b": [1, -2, 3.5, true, null, "x"]}});
        for encoding in [Encoding::Json, Encoding::Cbor] {
            let bytes = encoding.encode(&value);
            assert_eq!(Encoding::of(&bytes), encoding);
            assert_eq!(encoding.decode::<Value>(&bytes), Ok(value.clone()));
        }
    }

    #[test]
    fn an_error_does_not_quote_a_payload_to_its_end() {
        let payload = Encoding::Json.encode(&"\u{1}".repeat(10_000));
        let error = Encoding::Json.decode::<u8>(&payload).expect_err("a text is no number").to_string();
        assert!(error.contains(r#"string "\u{1}\u{1}"#), "{error}");
        assert!(error.chars().count() < DECODE_DETAIL_CHARS_MAX + 50, "{error}");
    }

    #[test]
    fn bad_payloads_are_errors() {
        assert_eq!(Encoding::Json.decode::<Value>(b"{\"a\":\"\xff\"}"), Err(DecodeError::NotUtf8));
        assert!(Encoding::Json.decode::<Value>(b"{} {}").is_err());
        assert!(Encoding::Cbor.decode::<Value>(&[0xa0, 0xa0]).is_err());
        assert!(Encoding::Cbor.decode::<Value>(&[0xbf; 4096]).is_err());
        assert!(Encoding::Json.decode::<Value>("[".repeat(5000).as_bytes()).is_err());
    }
}
