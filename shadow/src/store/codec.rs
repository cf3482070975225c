//! How a record is written as bytes: one format byte, then the record.
//!
//! The format byte says how to read what follows (today always CBOR). The version of a record's own shape is the
//! record's business: a serde enum such as `StoredJob::V1`.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::keys::describe;

/// Format byte of CBOR.
const CBOR: u8 = 1;
/// Most records are smaller.
const USUAL_BYTES: usize = 256;

/// A record that cannot be written or read. Both name the kind and the key.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The record has no CBOR form.
    #[error("cannot encode the record {key} (a fault of this program)")]
    Encode {
        /// Kind and key.
        key: String,
        /// The cause.
        #[source]
        source: ciborium::ser::Error<std::io::Error>,
    },
    /// There is no byte at all.
    #[error("the record {key} is empty; restore it from a backup")]
    Empty {
        /// Kind and key.
        key: String,
    },
    /// Another format, probably of a later version.
    #[error("the record {key} has format {found}, this program reads {CBOR}; run the version that wrote it, or newer")]
    UnknownFormat {
        /// Kind and key.
        key: String,
        /// The format byte.
        found: u8,
    },
    /// The bytes are not a record of this type.
    #[error("cannot decode the record {key}; run the version that wrote it, or restore it from a backup")]
    Decode {
        /// Kind and key.
        key: String,
        /// The cause.
        #[source]
        source: ciborium::de::Error<std::io::Error>,
    },
    /// A whole record, and then more.
    #[error("the record {key} has {bytes} bytes too many; restore it from a backup")]
    Trailing {
        /// Kind and key.
        key: String,
        /// How many.
        bytes: usize,
    },
}

/// Writes a record. `key` is for the error only.
pub fn encode<T: Serialize>(key: &[u8], record: &T) -> Result<Vec<u8>, CodecError> {
    let mut bytes = Vec::with_capacity(USUAL_BYTES);
    bytes.push(CBOR);
    ciborium::into_writer(record, &mut bytes).map_err(|source| CodecError::Encode { key: describe(key), source })?;
    Ok(bytes)
}

/// Reads a record. `key` is for the error only.
pub fn decode<T: DeserializeOwned>(key: &[u8], bytes: &[u8]) -> Result<T, CodecError> {
    let (&format, mut rest) = bytes.split_first().ok_or_else(|| CodecError::Empty { key: describe(key) })?;
    if format != CBOR {
        return Err(CodecError::UnknownFormat { key: describe(key), found: format });
    }
    let record =
        ciborium::from_reader(&mut rest).map_err(|source| CodecError::Decode { key: describe(key), source })?;
    if !rest.is_empty() {
        return Err(CodecError::Trailing { key: describe(key), bytes: rest.len() });
    }
    Ok(record)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde::Deserialize;

    use super::super::keys::{Key, Kind};
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Sample {
        V1 { name: String, count: u64 },
    }

    fn key() -> Key {
        Key::new(Kind::Job).part("reboot")
    }

    #[test]
    fn records_come_back() {
        let record = Sample::V1 { name: "pump".to_owned(), count: u64::MAX };
        let bytes = encode(key().as_bytes(), &record).unwrap();
        assert_eq!(decode::<Sample>(key().as_bytes(), &bytes).unwrap(), record);
    }

    #[track_caller]
    fn refuses(bytes: &[u8], message: &str) {
        let error = decode::<Sample>(key().as_bytes(), bytes).unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
        assert!(error.to_string().contains("job reboot"), "{error}");
    }

    #[test]
    fn errors_name_kind_and_key() {
        let good = encode(key().as_bytes(), &Sample::V1 { name: String::new(), count: 0 }).unwrap();
        refuses(b"", "is empty");
        refuses(b"\x07abc", "has format 7");
        refuses(&good[..good.len() - 1], "cannot decode");
        refuses(&[&good[..], b"!!"].concat(), "2 bytes too many");
        refuses(&encode(key().as_bytes(), &"text").unwrap(), "cannot decode");
    }
}
