//! Enrolment tokens: what a new host shows once to get its certificate.
//!
//! ```text
//! mst1_<43 characters of base64url>      32 random bytes; 1 is the version of the format
//! ```
//! The server stores only the [`TokenHash`]. A plain SHA-256 is enough: 256 random bits cannot be guessed from it,
//! unlike a password. Who may use a token, for what and until when is a record beside the hash, not part of it.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::certificate::hex;

/// What every token begins with; also what secret scanners look for.
pub const TOKEN_PREFIX: &str = "mst1_";

/// Random bytes in a token.
pub const TOKEN_BYTES: usize = 32;

const SECRET_CHARACTERS: usize = (TOKEN_BYTES * 8).div_ceil(6);
const HASH_BYTES: usize = 32;

/// An enrolment token. It has no `Display`: whoever prints it must ask for [`Token::reveal`].
#[derive(Clone)]
pub struct Token(String);

/// The SHA-256 of a token's text; safe to store and to show.
///
/// Comparison takes the same time wherever the two differ.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenHash([u8; HASH_BYTES]);

/// Why a text is not a token or a token hash. The text itself is never repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// It does not begin with [`TOKEN_PREFIX`].
    #[error("this is not an enrolment token: it must begin with `mst1_`; copy the whole token from the install script")]
    Prefix,
    /// It is too short or too long.
    #[error("the enrolment token has {found} characters after `mst1_`, expected 43; copy the whole token")]
    Length {
        /// Characters after the prefix.
        found: usize,
    },
    /// It has a character outside base64url, or bits that no token has.
    #[error("the enrolment token is damaged: only a-z A-Z 0-9 - _ may follow `mst1_`, as printed; copy it again")]
    Alphabet,
    /// It is not a hash as [`TokenHash`] prints it.
    #[error("a token hash is 64 lower-case hexadecimal digits")]
    Hash,
}

impl Token {
    /// Makes a token from 32 bytes of a cryptographic random source.
    pub fn from_random(random: [u8; TOKEN_BYTES]) -> Self {
        Self(format!("{TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(random)))
    }

    /// The token itself, to be shown once.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What the server stores.
    pub fn hash(&self) -> TokenHash {
        let mut bytes = [0; HASH_BYTES];
        bytes.copy_from_slice(digest(&SHA256, self.0.as_bytes()).as_ref());
        TokenHash(bytes)
    }
}

impl TokenHash {
    /// Whether this is the hash of `token`, in constant time.
    pub fn matches(&self, token: &Token) -> bool {
        *self == token.hash()
    }
}

impl FromStr for Token {
    type Err = TokenError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let secret = text.strip_prefix(TOKEN_PREFIX).ok_or(TokenError::Prefix)?;
        if secret.len() != SECRET_CHARACTERS {
            return Err(TokenError::Length { found: secret.chars().count() });
        }
        // The decoder also refuses spare bits that are not zero, so one secret has one text and one hash.
        URL_SAFE_NO_PAD.decode(secret).map_err(|_| TokenError::Alphabet)?;
        Ok(Self(text.to_owned()))
    }
}

impl FromStr for TokenHash {
    type Err = TokenError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Ok(byte - b'0'),
            b'a'..=b'f' => Ok(byte - b'a' + 10),
            _ => Err(TokenError::Hash),
        };
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        if pairs.len() != HASH_BYTES || !rest.is_empty() {
            return Err(TokenError::Hash);
        }
        let mut bytes = [0; HASH_BYTES];
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            *byte = digit(*high)? << 4 | digit(*low)?;
        }
        Ok(Self(bytes))
    }
}

impl PartialEq for TokenHash {
    fn eq(&self, other: &Self) -> bool {
        verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl Eq for TokenHash {}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(\"...\")")
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenHash({self})")
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl TryFrom<String> for TokenHash {
    type Error = TokenError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<TokenHash> for String {
    fn from(hash: TokenHash) -> Self {
        hash.to_string()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn token_reads_back_as_printed() {
        for random in [[0; 32], [0xff; 32], *b"0123456789abcdef0123456789abcdef"] {
            let token = Token::from_random(random);
            let again: Token = token.reveal().parse().unwrap();
            assert_eq!(token.hash(), again.hash());
            assert!(token.hash().matches(&again));
        }
        assert_eq!(Token::from_random([0; 32]).reveal(), format!("mst1_{}", "A".repeat(43)));
    }

    #[test]
    fn hash_covers_the_text_and_reads_back() {
        let token = Token::from_random([0; 32]);
        let hash = token.hash();
        assert_eq!(hash.to_string(), crate::certificate_id(token.reveal().as_bytes()));
        assert_eq!(hash.to_string().parse(), Ok(hash));
        let json = serde_json::to_string(&hash).unwrap();
        assert_eq!(serde_json::from_str::<TokenHash>(&json).unwrap(), hash);
        assert_ne!(hash, Token::from_random([1; 32]).hash());
        assert!(!hash.matches(&Token::from_random([1; 32])));
    }

    #[test]
    fn damaged_tokens_are_refused_with_the_reason() {
        let a42 = "A".repeat(42);
        for (text, expected) in [
            (String::new(), TokenError::Prefix),
            (format!("mst2_{a42}A"), TokenError::Prefix),
            (format!(" mst1_{a42}A"), TokenError::Prefix),
            ("mst1_".into(), TokenError::Length { found: 0 }),
            (format!("mst1_{a42}"), TokenError::Length { found: 42 }),
            (format!("mst1_{a42}A\n"), TokenError::Length { found: 44 }),
            (format!("mst1_{a42}+"), TokenError::Alphabet),
            (format!("mst1_{a42}="), TokenError::Alphabet),
            // Decodes to the same bytes as "A" at the end would, if spare bits were ignored.
            (format!("mst1_{a42}B"), TokenError::Alphabet),
        ] {
            assert_eq!(text.parse::<Token>().unwrap_err(), expected, "{text:?}");
        }
    }

    #[test]
    fn damaged_hashes_are_refused() {
        let good = Token::from_random([7; 32]).hash().to_string();
        for text in [String::new(), good[1..].into(), format!("{good}00"), good.to_uppercase(), "é".repeat(32)] {
            assert_eq!(text.parse::<TokenHash>(), Err(TokenError::Hash), "{text:?}");
        }
    }

    #[test]
    fn debug_does_not_print_the_secret() {
        let token = Token::from_random([7; 32]);
        assert_eq!(format!("{token:?}"), "Token(\"...\")");
    }
}
