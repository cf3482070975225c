//! JSON or CBOR: the first byte of a request tells, and the answer comes in the encoding of the request.

mod finite;

use crate::limits::DECODE_DETAIL_CHARS_MAX;
use finite::{Finite, NOT_FINITE};
use serde::de::{DeserializeOwned, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use std::fmt;

/// How a payload is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// UTF-8 JSON.
    #[default]
    Json,
    /// CBOR (RFC 8949).
    Cbor,
}

/// Why a payload could not be read. The words are those of the protocol, fit to be sent to whoever sent the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// JSON must be UTF-8.
    #[error("the payload is not UTF-8")]
    NotUtf8,
    /// The text or bytes do not parse, or are nested deeper than is read.
    #[error("the payload is not valid {0}")]
    Malformed(Encoding),
    /// CBOR can say what JSON cannot. It is refused rather than read as `null`, which would remove a field of a shadow.
    #[error("a number of the payload is infinite or not a number")]
    NotFinite,
    /// It parses, and is not what is wanted.
    #[error("the payload is not an object, or a field of it is missing or of the wrong type")]
    Shape,
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Json => "JSON",
            Self::Cbor => "CBOR",
        })
    }
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

    /// Reads a value. Trailing bytes are an error in both encodings, and so is a number that JSON does not have.
    pub fn decode<T: DeserializeOwned>(self, payload: &[u8]) -> Result<T, DecodeError> {
        self.read_finite(payload).map_err(|(error, _)| error)
    }

    /// Reads a value; an error is in the words of the reader, which say more and quote the payload: for operators.
    pub fn decode_explained<T: DeserializeOwned>(self, payload: &[u8]) -> Result<T, String> {
        self.read_finite(payload).map_err(|(error, detail)| {
            // The payload is as long as the sender likes.
            let detail: String = detail.chars().take(DECODE_DETAIL_CHARS_MAX).collect();
            match error {
                DecodeError::NotUtf8 | DecodeError::NotFinite => error.to_string(),
                DecodeError::Malformed(_) => format!("{error}: {detail}"),
                DecodeError::Shape => detail,
            }
        })
    }

    fn read_finite<T: DeserializeOwned>(self, payload: &[u8]) -> Result<T, (DecodeError, String)> {
        let value = self.read(payload)?;
        // JSON's reader refuses such numbers by itself.
        match if self == Self::Cbor { self.read(payload) } else { Ok(Finite) } {
            Ok(Finite) => Ok(value),
            Err((_, detail)) if detail == NOT_FINITE => Err((DecodeError::NotFinite, detail)),
            Err(other) => Err(other),
        }
    }

    fn read<T: DeserializeOwned>(self, payload: &[u8]) -> Result<T, (DecodeError, String)> {
        match self {
            Self::Json => {
                let text = std::str::from_utf8(payload).map_err(|_| (DecodeError::NotUtf8, String::new()))?;
                serde_json::from_str(text).map_err(|error| match error.is_data() {
                    true => (DecodeError::Shape, error.to_string()),
                    false => (DecodeError::Malformed(self), error.to_string()),
                })
            }
            Self::Cbor => {
                let mut rest = payload;
                let read = ciborium::de::from_reader_with_recursion_limit(&mut rest, CBOR_DEPTH_MAX);
                let value = read.map_err(|error| match error {
                    ciborium::de::Error::Semantic(_, detail) => (DecodeError::Shape, detail),
                    ciborium::de::Error::Io(_) => (DecodeError::Malformed(self), "it is cut off".to_owned()),
                    other => (DecodeError::Malformed(self), other.to_string()),
                })?;
                let trailing = || (DecodeError::Malformed(self), "bytes follow the value".to_owned());
                if rest.is_empty() { Ok(value) } else { Err(trailing()) }
            }
        }
    }

    /// Reads a value that is written as an object. A list of its fields, which [`Self::decode`] takes too, is refused.
    pub fn decode_object<T: DeserializeOwned>(self, payload: &[u8]) -> Result<T, DecodeError> {
        if self.is_object(payload) {
            return self.decode(payload);
        }
        self.decode::<IgnoredAny>(payload).and(Err(DecodeError::Shape))
    }

    /// The fields of an object that `T` has, whatever numbers are in the others.
    pub fn decode_fields<T: DeserializeOwned>(self, payload: &[u8]) -> Result<T, DecodeError> {
        if self.is_object(payload) {
            return self.read(payload).map_err(|(error, _)| error);
        }
        self.decode::<IgnoredAny>(payload).and(Err(DecodeError::Shape))
    }

    fn is_object(self, payload: &[u8]) -> bool {
        match self {
            Self::Json => payload.trim_ascii_start().first() == Some(&b'{'),
            Self::Cbor => Self::of(payload) == Self::Cbor,
        }
    }

    /// The client token of a request, whatever else is in it: in JSON also beside what is nested too deep to be read.
    ///
    /// Errors: the payload is no object, or does not parse.
    pub fn client_token(self, payload: &[u8]) -> Result<Option<Value>, DecodeError> {
        self.decode_fields::<TokenOnly>(payload).map(|found| found.0)
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
}

/// How deep objects and arrays nest in a JSON text that is sound.
#[must_use]
pub fn json_depth(text: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut in_text, mut escaped) = (false, false);
    for byte in text {
        match (in_text, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => in_text = !in_text,
            (false, b'{' | b'[') => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            (false, b'}' | b']') => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Of several tokens the last counts, as with all fields.
struct TokenOnly(Option<Value>);

impl<'de> Deserialize<'de> for TokenOnly {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = TokenOnly;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<TokenOnly, A::Error> {
                let mut found = None;
                while let Some(name) = fields.next_key::<String>()? {
                    match name.as_str() {
                        "clientToken" => found = Some(fields.next_value()?),
                        // The reader of JSON skips a value without a call for each of its levels.
                        _ => drop(fields.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(TokenOnly(found))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

/// Deepest nesting that is read at all. JSON's reader stops at 128 by itself; the shadow rules allow 6.
const CBOR_DEPTH_MAX: usize = 128;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

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
        let error = Encoding::Json.decode_explained::<u8>(&payload).expect_err("a text is no number");
        assert!(error.contains(r#"string "\u{1}\u{1}"#), "{error}");
        assert_eq!(error.chars().count(), DECODE_DETAIL_CHARS_MAX, "{error}");
    }

    #[test]
    fn bad_payloads_are_errors() {
        assert_eq!(Encoding::Json.decode::<Value>(b"{\"a\":\"\xff\"}"), Err(DecodeError::NotUtf8));
        assert!(Encoding::Json.decode::<Value>(b"{} {}").is_err());
        assert!(Encoding::Cbor.decode::<Value>(&[0xa0, 0xa0]).is_err());
        assert!(Encoding::Cbor.decode::<Value>(&[0xbf; 4096]).is_err());
        assert!(Encoding::Json.decode::<Value>("[".repeat(5000).as_bytes()).is_err());
    }

    #[test]
    fn a_number_that_json_does_not_have_is_refused_wherever_it_is() {
        // 0xf9 7c00 and 7e00 are infinity and NaN in two bytes, 0xfb is a double; 0xc1 is a tag, 0xc2 a long integer.
        let whole: [&[u8]; 5] = [b"\xf9\x7b\xff", b"\xc1\x01", b"\xc2\x49\x01\0\0\0\0\0\0\0\0", b"\xf6", b"\x42ab"];
        let bad: [&[u8]; 5] = [
            b"\xf9\x7c\0",
            b"\xf9\xfc\0",
            b"\xf9\x7e\0",
            b"\xfb\x7f\xf0\0\0\0\0\0\0",
            b"\x82\x01\xa1\x61b\xfa\x7f\x80\0\0",
        ];
        let framed = |value: &[u8]| [b"\xa2\x61a", value, b"\x6bclientToken\x61t"].concat();
        for value in whole {
            assert_eq!(Encoding::Cbor.read_finite::<Finite>(&framed(value)).map(drop), Ok(()), "{value:x?}");
        }
        for value in bad {
            let payload = framed(value);
            assert_eq!(Encoding::Cbor.decode::<Value>(&payload), Err(DecodeError::NotFinite), "{value:x?}");
            assert_eq!(Encoding::Cbor.client_token(&payload), Ok(Some(json!("t"))));
        }
        // Who knows that a number comes skips the tags before it.
        #[derive(Debug, PartialEq, Deserialize)]
        struct Tagged {
            a: f64,
        }
        let tagged = |value: &[u8]| Encoding::Cbor.decode::<Tagged>(&framed(&[b"\xc1", value].concat()));
        assert_eq!(tagged(b"\xf9\x3c\0"), Ok(Tagged { a: 1.0 }));
        assert_eq!(tagged(b"\xf9\x7c\0"), Err(DecodeError::NotFinite));
    }

    #[test]
    fn the_depth_of_json_counts_what_is_no_text() {
        for (text, depth) in
            [("1", 0), ("{}", 1), (r#"{"a":[[]],"b":{}}"#, 3), (r#"["[[\"[[",{}]"#, 2), (r#"["\\",[]]"#, 2)]
        {
            assert_eq!(json_depth(text.as_bytes()), depth, "{text}");
        }
    }

    #[test]
    fn a_list_is_no_object_and_the_words_are_our_own() {
        #[derive(Debug, PartialEq, Deserialize)]
        struct Wanted {
            a: u8,
        }
        for encoding in [Encoding::Json, Encoding::Cbor] {
            let read = |value: Value| encoding.decode_object::<Wanted>(&encoding.encode(&value));
            assert_eq!(read(json!({"a": 1})), Ok(Wanted { a: 1 }));
            for other in [json!([1]), json!([]), json!(1), json!({}), json!({"a": "1"})] {
                assert_eq!(read(other.clone()), Err(DecodeError::Shape), "{encoding} {other}");
            }
        }
        assert_eq!(Encoding::Json.decode_object::<Wanted>(b" [x"), Err(DecodeError::Malformed(Encoding::Json)));
        assert_eq!(Encoding::Json.decode_object::<Wanted>(b""), Err(DecodeError::Malformed(Encoding::Json)));
        let explained = Encoding::Json.decode_explained::<Wanted>(br#"{"a":"x"}"#).unwrap_err();
        assert!(explained.starts_with(r#"invalid type: string "x", expected u8"#), "{explained}");
        let error = Encoding::Cbor.decode::<Value>(b"\xa1").unwrap_err();
        assert_eq!(error.to_string(), "the payload is not valid CBOR");
    }

    #[test]
    fn the_token_is_found_beside_what_is_nested_too_deep() {
        let deep = 60_000;
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let deep = deep / open.len();
            let nested = format!("{}1{}", open.repeat(deep), close.repeat(deep));
            let payload = format!(r#"{{"state":{nested},"clientToken":"t"}}"#);
            assert!(Encoding::Json.decode::<Value>(payload.as_bytes()).is_err());
            assert_eq!(Encoding::Json.client_token(payload.as_bytes()), Ok(Some(json!("t"))));
            assert!(Encoding::Json.client_token(&payload.as_bytes()[..payload.len() - 1]).is_err());
        }
        let cbor = Encoding::Cbor.encode(&json!({"clientToken": "t", "a": 1}));
        assert_eq!(Encoding::Cbor.client_token(&cbor), Ok(Some(json!("t"))));
        assert_eq!(Encoding::Json.client_token(br#"{"clientToken":"a","clientToken":"b"}"#), Ok(Some(json!("b"))));
        assert_eq!(Encoding::Json.client_token(br#"["t"]"#), Err(DecodeError::Shape));
    }
}
