//! Streams: files that a device fetches over MQTT, block by block.
//!
//! ```text
//! describe ─▶ description {s, d, r: [{f, z}]}
//! get {f, l, o, n | b} ─▶ data {f, l, i, p}, one message for each block
//! anything that cannot be ─▶ rejected {o, m}
//! ```
//! The keys are those of AWS IoT Core; the topic says whether payloads are JSON or CBOR. In JSON a block is base64 and a
//! bitmap hexadecimal digits; in CBOR both are byte strings.

use crate::codec::{DecodeError, Encoding};
use crate::limits::{
    CLIENT_TOKEN_BYTES_MAX, PAYLOAD_BYTES_MAX, STREAM_BITMAP_BYTES_MAX, STREAM_BLOCK_BYTES_MAX, STREAM_BLOCK_BYTES_MIN,
    STREAM_BLOCKS_MAX, STREAM_BYTES_PER_REQUEST_MAX,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::de::{Deserializer, Error as _, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use std::fmt;

crate::id::name!(
    /// Identifier of a stream.
    StreamId, "stream id", 128, "A-Z a-z 0-9 _ -",
    first |c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'), rest |c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')
);

impl StreamId {
    /// The stream that every published package has, without anybody making it: file 0 is the package.
    #[must_use]
    pub fn of_package(sha256: &crate::id::Sha256Hex) -> Self {
        Self(format!("{PACKAGE_PREFIX}{sha256}").into())
    }

    /// The package of such a stream.
    #[must_use]
    pub fn package(&self) -> Option<crate::id::Sha256Hex> {
        let digest = self.as_str().strip_prefix(PACKAGE_PREFIX)?;
        crate::id::Sha256Hex::new(digest).ok().filter(crate::id::Sha256Hex::is_complete)
    }
}

/// Begin of the ids of packages' streams; no operator may take one.
pub const PACKAGE_PREFIX: &str = "package-";

/// Asks what a stream has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescribeStream {
    /// Returned with the answer.
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

/// What a stream has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamDescription {
    /// As it was sent.
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Grows with every change.
    #[serde(rename = "s")]
    pub version: u32,
    /// For people.
    #[serde(rename = "d", default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Its files.
    #[serde(rename = "r")]
    pub files: Vec<StreamFileView>,
}

/// A file of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamFileView {
    /// Its number.
    #[serde(rename = "f")]
    pub file: u8,
    /// Its length in bytes.
    #[serde(rename = "z")]
    pub size: u64,
}

/// Asks for blocks, as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetStream {
    /// Returned with every block.
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Of which version.
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    /// Of which file.
    #[serde(rename = "f", default, skip_serializing_if = "Option::is_none")]
    pub file: Option<i64>,
    /// Length of a block.
    #[serde(rename = "l", default, skip_serializing_if = "Option::is_none")]
    pub block: Option<i64>,
    /// The first block.
    #[serde(rename = "o", default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<i64>,
    /// How many blocks at most.
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    pub count: Option<i64>,
    /// Which blocks, from the first one.
    #[serde(rename = "b", default, skip_serializing_if = "Option::is_none")]
    pub bitmap: Option<Bitmap>,
}

/// A block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamBlock {
    /// As it was sent.
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Of which file.
    #[serde(rename = "f")]
    pub file: u8,
    /// Bytes in this block.
    #[serde(rename = "l")]
    pub length: u32,
    /// Its number, from the beginning of the file.
    #[serde(rename = "i")]
    pub number: u64,
    /// Its bytes.
    #[serde(rename = "p")]
    pub payload: Blob,
}

/// Says that a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamRejected {
    /// Why, for programs.
    #[serde(rename = "o")]
    pub code: StreamError,
    /// Why, for people.
    #[serde(rename = "m")]
    pub message: String,
    /// As it was sent.
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

/// Why a request is refused. The names are those of AWS IoT Core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StreamError {
    /// The topic is none of a stream.
    InvalidTopic,
    /// Not JSON, or not of this shape.
    InvalidJson,
    /// Not CBOR, or not of this shape.
    InvalidCbor,
    /// Something is missing, or two things do not fit together.
    InvalidRequest,
    /// It may not.
    Unauthorized,
    /// The block is too small or too large.
    BlockSizeOutOfBounds,
    /// The first block is behind all that a file can have.
    OffsetOutOfBounds,
    /// Too many blocks.
    BlockCountLimitExceeded,
    /// The bitmap is too long.
    BlockBitmapLimitExceeded,
    /// There is no such stream, file or block.
    ResourceNotFound,
    /// The stream has another version.
    VersionMismatch,
    /// The file is not what it was when the stream was made.
    ETagMismatch,
    /// The server failed, or has too much to do.
    InternalError,
}

/// A refusal: code and words.
pub type Refusal = (StreamError, String);

/// Bytes: base64 in JSON, a byte string in CBOR.
#[derive(Clone, PartialEq, Eq)]
pub struct Blob(pub Vec<u8>);

/// Bits: hexadecimal digits in JSON, a byte string in CBOR.
#[derive(Clone, PartialEq, Eq)]
pub struct Bitmap(pub Vec<u8>);

/// A request that was checked: which blocks of which file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocks {
    /// The file.
    pub file: u8,
    /// Length of a block.
    pub block: u32,
    /// The numbers, ascending. Not more than one request may have.
    pub numbers: Vec<u64>,
}

/// Reads a request to describe a stream.
///
/// Errors: a [`Refusal`].
pub fn read_describe(encoding: Encoding, payload: &[u8]) -> Result<DescribeStream, Refusal> {
    if payload.is_empty() {
        return Ok(DescribeStream::default());
    }
    let request: DescribeStream = encoding.decode_object(payload).map_err(|error| unreadable(encoding, error))?;
    check_token(request.token.as_deref())?;
    Ok(request)
}

/// Reads a request for blocks.
///
/// Errors: a [`Refusal`].
pub fn read_get(encoding: Encoding, payload: &[u8]) -> Result<GetStream, Refusal> {
    let request: GetStream = encoding.decode_object(payload).map_err(|error| unreadable(encoding, error))?;
    check_token(request.token.as_deref())?;
    Ok(request)
}

/// The client token of a request that is not usable otherwise.
#[must_use]
pub fn token_of(encoding: Encoding, payload: &[u8]) -> Option<String> {
    // The other fields may be wrong, or bytes.
    let token = encoding.decode_fields::<DescribeStream>(payload).ok()?.token?;
    (token.len() <= CLIENT_TOKEN_BYTES_MAX).then_some(token)
}

fn unreadable(encoding: Encoding, error: DecodeError) -> Refusal {
    let (code, bits) = match encoding {
        Encoding::Json => (StreamError::InvalidJson, "hexadecimal digits, two for a byte"),
        Encoding::Cbor => (StreamError::InvalidCbor, "a byte string"),
    };
    let message = match error {
        DecodeError::NotUtf8 | DecodeError::Malformed(_) | DecodeError::NotFinite => error.to_string(),
        DecodeError::Shape => {
            format!("a request is an object in which c is a text, s, f, l, o and n are whole numbers, and b is {bits}")
        }
    };
    (code, message)
}

fn check_token(token: Option<&str>) -> Result<(), Refusal> {
    match token {
        Some(token) if token.len() > CLIENT_TOKEN_BYTES_MAX => {
            Err((StreamError::InvalidRequest, format!("c has {} bytes; at most {CLIENT_TOKEN_BYTES_MAX}", token.len())))
        }
        _ => Ok(()),
    }
}

impl GetStream {
    /// The file and the length of a block.
    ///
    /// Errors: a [`Refusal`].
    fn shape(&self, encoding: Encoding) -> Result<(u8, u32), Refusal> {
        let missing = |what: &str| (StreamError::InvalidRequest, format!("{what} is missing"));
        let file = self.file.ok_or_else(|| missing("f, the number of the file,"))?;
        let file = u8::try_from(file)
            .map_err(|_| (StreamError::InvalidRequest, format!("f is {file}; files have numbers from 0 to 255")))?;
        let block = self.block.ok_or_else(|| missing("l, the length of a block,"))?;
        let bounds = i64::from(STREAM_BLOCK_BYTES_MIN)..=i64::from(STREAM_BLOCK_BYTES_MAX);
        let size = u32::try_from(block).ok().filter(|_| bounds.contains(&block)).ok_or_else(|| {
            let message =
                format!("l is {block}; a block has {STREAM_BLOCK_BYTES_MIN} to {STREAM_BLOCK_BYTES_MAX} bytes");
            (StreamError::BlockSizeOutOfBounds, message)
        })?;
        let fits = match encoding {
            Encoding::Json => 4 * (u64::from(size)).div_ceil(3) + FRAME_BYTES <= PAYLOAD_BYTES_MAX as u64,
            Encoding::Cbor => u64::from(size) <= PAYLOAD_BYTES_MAX as u64,
        };
        if !fits {
            let message =
                format!("l is {block}: in JSON such a block is longer than a message; ask for less, or in CBOR");
            return Err((StreamError::BlockSizeOutOfBounds, message));
        }
        Ok((file, size))
    }

    /// Which blocks are meant of a stream of this version, whose file has the length that `size_of` tells.
    ///
    /// Errors: a [`Refusal`].
    pub fn blocks(
        &self,
        encoding: Encoding,
        version: u32,
        size_of: impl Fn(u8) -> Option<u64>,
    ) -> Result<Blocks, Refusal> {
        let (file, block) = self.shape(encoding)?;
        let offset = bounded(self.offset.unwrap_or(0)).ok_or_else(|| {
            let message = format!("o is {}; it is 0 to {STREAM_BLOCKS_MAX}", self.offset.unwrap_or(0));
            (StreamError::OffsetOutOfBounds, message)
        })?;
        let count = match self.count {
            Some(count) => Some(bounded(count).ok_or_else(|| {
                let message = format!("n is {count}; it is 1 to {STREAM_BLOCKS_MAX}");
                (StreamError::BlockCountLimitExceeded, message)
            })?),
            None => None,
        };
        if let Some(bitmap) = &self.bitmap
            && bitmap.0.len() > STREAM_BITMAP_BYTES_MAX
        {
            let message = format!("b has {} bytes; at most {STREAM_BITMAP_BYTES_MAX}", bitmap.0.len());
            return Err((StreamError::BlockBitmapLimitExceeded, message));
        }
        if let Some(wanted) = self.version
            && wanted != version
        {
            let message = format!("the stream has version {version}, not {wanted}; describe it again");
            return Err((StreamError::VersionMismatch, message));
        }
        let Some(size) = size_of(file) else {
            return Err((StreamError::ResourceNotFound, format!("the stream has no file {file}")));
        };
        if count == Some(0) {
            return Err((StreamError::InvalidRequest, "n is 0; a request asks for one block at least".to_owned()));
        }
        let blocks = size.div_ceil(u64::from(block));
        let most = u64::from(STREAM_BYTES_PER_REQUEST_MAX / block).max(1);
        let most = count.map_or(most, |count| most.min(count));
        let numbers: Vec<u64> = match &self.bitmap {
            Some(bitmap) => bitmap.ones().map(|bit| offset + bit).filter(|number| *number < blocks).collect(),
            None => (offset..blocks.min(offset + most)).collect(),
        };
        let numbers: Vec<u64> = numbers.into_iter().take(usize::try_from(most).unwrap_or(usize::MAX)).collect();
        if numbers.is_empty() {
            let message = format!("file {file} has {blocks} blocks of {block} bytes; none of them is asked for");
            return Err((StreamError::ResourceNotFound, message));
        }
        Ok(Blocks { file, block, numbers })
    }
}

/// What stands round a block in JSON, with the longest token: `{"c":"…","f":255,"l":98304,"i":98304,"p":""}`.
const FRAME_BYTES: u64 = 512;

fn bounded(value: i64) -> Option<u64> {
    u64::try_from(value).ok().filter(|value| *value <= STREAM_BLOCKS_MAX)
}

impl Bitmap {
    /// The numbers of the bits that are set. Byte 0 has bits 7 to 0; bit 0 is the lowest of byte 0.
    pub fn ones(&self) -> impl Iterator<Item = u64> {
        let bits = |(at, byte): (usize, &u8)| {
            let byte = *byte;
            (0..8_u64).filter(move |bit| byte >> bit & 1 == 1).map(move |bit| at as u64 * 8 + bit)
        };
        self.0.iter().enumerate().flat_map(bits)
    }
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match serializer.is_human_readable() {
            true => serializer.serialize_str(&BASE64.encode(&self.0)),
            false => serializer.serialize_bytes(&self.0),
        }
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            return BASE64.decode(text).map(Self).map_err(D::Error::custom);
        }
        deserializer.deserialize_byte_buf(Bytes).map(Self)
    }
}

impl Serialize for Bitmap {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match serializer.is_human_readable() {
            true => serializer.serialize_str(&self.0.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
            false => serializer.serialize_bytes(&self.0),
        }
    }
}

impl<'de> Deserialize<'de> for Bitmap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            return unhex(&text)
                .map(Self)
                .ok_or_else(|| D::Error::custom("b is not hexadecimal digits, two for a byte"));
        }
        deserializer.deserialize_byte_buf(Bytes).map(Self)
    }
}

struct Bytes;

impl Visitor<'_> for Bytes {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a byte string")
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
        Ok(bytes.to_vec())
    }

    fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
        Ok(bytes)
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl fmt::Debug for Bitmap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.ones()).finish()
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text).as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    digits.chunks_exact(2).map(|pair| u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok()).collect()
}

#[cfg(test)]
mod tests;
