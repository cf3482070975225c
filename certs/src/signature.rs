//! AWS Signature Version 4: who signed an HTTP request, and whether it is the request that was signed.
//!
//! ```text
//! Authorization: AWS4-HMAC-SHA256 Credential=ID/DATE/REGION/SERVICE/aws4_request, SignedHeaders=a;b, Signature=HEX
//!
//! canonical request = METHOD \n path \n query \n headers \n \n names of headers \n SHA-256 of the body
//! string to sign    = AWS4-HMAC-SHA256 \n TIME \n scope \n SHA-256 of the canonical request
//! ```
//!
//! The path is encoded once more, as every service but S3 does; one with empty or dot segments is refused, because
//! clients sign another one than they send. The signature covers `host`, `x-amz-date` and every other `x-amz-*` header
//! that is there, or it does not count. The body is always hashed by us. Pure: the time is an argument.

use crate::access_key::AccessSecret;
use crate::certificate::hex;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac::{self, HMAC_SHA256};
use muster_wire::id::AccessKeyId;
use muster_wire::limits::SIGNATURE_SKEW_MAX;
use muster_wire::plane::{decode, encode};
use muster_wire::time::Timestamp;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const TERMINATOR: &str = "aws4_request";
const DATE: &str = "x-amz-date";
const CONTENT_HASH: &str = "x-amz-content-sha256";
const SESSION: &str = "x-amz-security-token";
/// Headers that one signature may cover: each is looked for in the request.
const HEADERS_MAX: usize = 50;

/// Why a signature does not count. What was signed with is never repeated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The `Authorization` header is not of this kind.
    #[error("the Authorization header is not one of {ALGORITHM}; {0}")]
    Incomplete(&'static str),
    /// It is not for this service.
    #[error("Credential should be scoped to correct service: '{0}'")]
    Service(&'static str),
    /// The time of the signature cannot be read, or is another than its scope's.
    #[error("the date in {DATE} and in the credential do not name one moment")]
    Date,
    /// Signed too long ago, or in the future.
    #[error("Signature expired: it was made at {signed}, the time here is {now}; set the clock")]
    Skew {
        /// The time in the request.
        signed: Timestamp,
        /// The time here.
        now: Timestamp,
    },
    /// The request was made with a key of another kind.
    #[error("session tokens are not used here; sign with an access key of `muster key create` alone")]
    Session,
    /// A header that counts is not covered.
    #[error("the header {0:?} has to be signed")]
    Unsigned(String),
    /// The body is not the one that was announced.
    #[error("{CONTENT_HASH} is not the digest of the body")]
    Body,
    /// The path is not sent as it is signed.
    #[error("the path has empty segments or dots; encode them")]
    Path,
    /// Something else was signed, or with another secret.
    #[error(
        "The request signature we calculated does not match the signature you provided. Check your secret access key \
         and signing method."
    )]
    Mismatch,
}

/// What an `Authorization` header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorization {
    /// Whose secret was used.
    pub key: AccessKeyId,
    date: String,
    region: String,
    service: String,
    signed_headers: Vec<String>,
    signature: Vec<u8>,
}

/// The parts of a request that a signature covers.
#[derive(Clone, Copy, Debug)]
pub struct SignedRequest<'a> {
    /// `GET` and so on.
    pub method: &'a str,
    /// As it was sent.
    pub path: &'a str,
    /// As it was sent, without the `?`.
    pub query: &'a str,
    /// Every header, in order, names in lower case.
    pub headers: &'a [(&'a str, &'a str)],
    /// All of it.
    pub body: &'a [u8],
}

/// Whether an `Authorization` header is meant to be a signature.
pub fn is_signature(authorization: &str) -> bool {
    authorization.starts_with("AWS4-")
}

impl Authorization {
    /// Reads the header.
    ///
    /// Errors: `Incomplete`.
    pub fn parse(header: &str) -> Result<Self, SignatureError> {
        let rest = header.strip_prefix(ALGORITHM).filter(|rest| rest.starts_with(' '));
        let rest = rest.ok_or(SignatureError::Incomplete("another algorithm is named"))?;
        let field = |name: &str| {
            let mut values = rest.split(',').filter_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='));
            values.next().filter(|_| values.next().is_none())
        };
        let credential = field("Credential").ok_or(SignatureError::Incomplete("it has no Credential"))?;
        let scope: Vec<&str> = credential.split('/').collect();
        let [key, date, region, service, TERMINATOR] = scope.as_slice() else {
            return Err(SignatureError::Incomplete("its Credential is not ID/DATE/REGION/SERVICE/aws4_request"));
        };
        let key = AccessKeyId::new(key).map_err(|_| SignatureError::Incomplete("its access key id is none"))?;
        let named = |text: &str| {
            (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        if !(named(date) && named(region) && named(service)) {
            return Err(SignatureError::Incomplete("its Credential has an impossible date, region or service"));
        }
        let headers = field("SignedHeaders").ok_or(SignatureError::Incomplete("it has no SignedHeaders"))?;
        let signed_headers: Vec<String> = headers.split(';').map(str::to_owned).collect();
        let in_order = signed_headers.is_sorted_by(|one, next| one < next);
        let lower = signed_headers.iter().all(|name| !name.is_empty() && *name == name.to_ascii_lowercase());
        if !in_order || !lower || signed_headers.len() > HEADERS_MAX {
            return Err(SignatureError::Incomplete("its SignedHeaders are not in lower case and in order"));
        }
        let signature = field("Signature").and_then(unhex).filter(|bytes| bytes.len() == SHA256.output_len());
        let signature = signature.ok_or(SignatureError::Incomplete("its Signature is not 64 hexadecimal digits"))?;
        let (date, region, service) = ((*date).to_owned(), (*region).to_owned(), (*service).to_owned());
        Ok(Self { key, date, region, service, signed_headers, signature })
    }

    /// Whether this request was signed with this secret, for one of these services, about now. What the body is need not
    /// be known yet; [`Authorization::verify`] has the last word.
    ///
    /// Errors: all but `Incomplete`, `Body` and `Mismatch`.
    pub fn check(
        &self,
        request: &SignedRequest<'_>,
        services: &[&'static str],
        now: Timestamp,
    ) -> Result<(), SignatureError> {
        if !services.contains(&self.service.as_str()) {
            return Err(SignatureError::Service(services.first().copied().unwrap_or_default()));
        }
        let signed = self.signed_at(request)?;
        let apart = now.millis().abs_diff(signed.millis());
        if u128::from(apart) > SIGNATURE_SKEW_MAX.as_millis() {
            return Err(SignatureError::Skew { signed, now });
        }
        if request.header(SESSION).is_some() {
            return Err(SignatureError::Session);
        }
        let counts = |name: &str| name == "host" || name.starts_with("x-amz-");
        let covered = |name: &str| self.signed_headers.iter().any(|signed| signed == name);
        let missing = ["host", DATE].into_iter().chain(request.headers.iter().map(|(name, _)| *name));
        if let Some(name) = missing.filter(|name| counts(name)).find(|name| !covered(name)) {
            return Err(SignatureError::Unsigned(name.to_owned()));
        }
        let mut segments = request.path.strip_prefix('/').unwrap_or_default().split('/');
        if segments.any(|segment| matches!(segment, "" | "." | "..")) {
            return Err(SignatureError::Path);
        }
        Ok(())
    }

    /// Whether this whole request was signed with this secret, for one of these services, about now. The comparison takes
    /// the same time wherever the two differ.
    ///
    /// Errors: all but `Incomplete`.
    pub fn verify(
        &self,
        secret: &AccessSecret,
        request: &SignedRequest<'_>,
        services: &[&'static str],
        now: Timestamp,
    ) -> Result<(), SignatureError> {
        self.check(request, services, now)?;
        let body = hex(digest(&SHA256, request.body).as_ref());
        if request.header(CONTENT_HASH).is_some_and(|announced| announced != body) {
            return Err(SignatureError::Body);
        }
        let scope = format!("{}/{}/{}/{TERMINATOR}", self.date, self.region, self.service);
        let at = request.header(DATE).ok_or(SignatureError::Date)?;
        let canonical = hex(digest(&SHA256, self.canonical(request, &body)?.as_bytes()).as_ref());
        let text = format!("{ALGORITHM}\n{at}\n{scope}\n{canonical}");
        let mut key = format!("AWS4{}", secret.reveal()).into_bytes();
        for part in [self.date.as_str(), &self.region, &self.service, TERMINATOR] {
            key = hmac::sign(&hmac::Key::new(HMAC_SHA256, &key), part.as_bytes()).as_ref().to_vec();
        }
        hmac::verify(&hmac::Key::new(HMAC_SHA256, &key), text.as_bytes(), &self.signature)
            .map_err(|_| SignatureError::Mismatch)
    }

    /// `20260131T081500Z`, on the day of the scope.
    fn signed_at(&self, request: &SignedRequest<'_>) -> Result<Timestamp, SignatureError> {
        let text = request.header(DATE).filter(|text| text.is_ascii() && text.len() == 16);
        let (date, time) = text.and_then(|text| text.split_once('T')).ok_or(SignatureError::Date)?;
        if date != self.date || date.len() != 8 || time.len() != 7 {
            return Err(SignatureError::Date);
        }
        let spelled =
            format!("{}-{}-{}T{}:{}:{}", &date[..4], &date[4..6], &date[6..], &time[..2], &time[2..4], &time[4..]);
        Timestamp::from_utc(&spelled).ok_or(SignatureError::Date)
    }

    fn canonical(&self, request: &SignedRequest<'_>, body: &str) -> Result<String, SignatureError> {
        let mut text = format!("{}\n{}\n{}\n", request.method, encode(request.path, "/"), query(request.query)?);
        for name in &self.signed_headers {
            let values: Vec<String> = request
                .headers
                .iter()
                .filter(|(known, _)| known == name)
                .map(|(_, value)| value.split_ascii_whitespace().collect::<Vec<_>>().join(" "))
                .collect();
            text.push_str(&format!("{name}:{}\n", values.join(",")));
        }
        text.push_str(&format!("\n{}\n{body}", self.signed_headers.join(";")));
        Ok(text)
    }
}

impl<'a> SignedRequest<'a> {
    fn header(&self, wanted: &str) -> Option<&'a str> {
        self.headers.iter().find(|(name, _)| *name == wanted).map(|(_, value)| *value)
    }
}

/// Every parameter encoded in one way, in order.
fn query(text: &str) -> Result<String, SignatureError> {
    let again = |text: &str| Ok(encode(&decode(text).map_err(|_| SignatureError::Mismatch)?, ""));
    let mut pairs = Vec::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        pairs.push((again(name)?, again(value)?));
    }
    pairs.sort();
    Ok(pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&"))
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let (pairs, odd) = text.as_bytes().as_chunks::<2>();
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let bytes = pairs.iter().map(|[high, low]| u8::try_from(digit(*high)? << 4 | digit(*low)?).ok());
    bytes.collect::<Option<_>>().filter(|_| odd.is_empty())
}

#[cfg(test)]
mod tests;
