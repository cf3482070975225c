//! Access keys: what a program without a certificate signs its HTTP requests with.
//!
//! ```text
//! secret = base64url(HMAC-SHA256(master, "muster access key 1" 0x00 id))     43 characters
//! ```
//! A signature is checked with the secret itself, so a hash of it would not do. So the secrets are not stored at all:
//! each follows from the id of the key and one master secret of the server, which lies in a file for its owner alone.
//! The records of keys, the ledger and whoever lists them know no secret. A new master makes every key useless.

use aws_lc_rs::hmac::{self, HMAC_SHA256};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use muster_wire::id::AccessKeyId;
use std::fmt;

/// Random bytes in a master secret.
pub const ACCESS_MASTER_BYTES: usize = 32;
/// Random bytes in the id of a key.
pub const ACCESS_KEY_ID_BYTES: usize = 10;

const BEGIN: &str = "-----BEGIN MUSTER ACCESS PRIVATE KEY-----";
const END: &str = "-----END MUSTER ACCESS PRIVATE KEY-----";
const PURPOSE: &[u8] = b"muster access key 1\0";
/// Base32, as the ids of AWS have it.
const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// From which the secrets of all access keys follow.
#[derive(Clone)]
pub struct AccessMaster([u8; ACCESS_MASTER_BYTES]);

/// The secret of one access key. It has no `Display`: whoever prints it must ask for [`AccessSecret::reveal`].
#[derive(Clone, PartialEq, Eq)]
pub struct AccessSecret(String);

/// A text is no master secret. The text itself is never repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no master secret of access keys; restore the file from a backup, or remove it and make new keys")]
pub struct NoMaster;

impl AccessMaster {
    /// Makes one from bytes of a cryptographic random source.
    pub fn from_random(random: [u8; ACCESS_MASTER_BYTES]) -> Self {
        Self(random)
    }

    /// Reads what [`AccessMaster::to_pem`] wrote.
    ///
    /// Errors: [`NoMaster`].
    pub fn from_pem(pem: &str) -> Result<Self, NoMaster> {
        let text = pem.trim().strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(END)).ok_or(NoMaster)?;
        let bytes = STANDARD.decode(text.trim()).map_err(|_| NoMaster)?;
        bytes.try_into().map(Self).map_err(|_| NoMaster)
    }

    /// For a file that only its owner may read.
    pub fn to_pem(&self) -> String {
        format!("{BEGIN}\n{}\n{END}\n", STANDARD.encode(self.0))
    }

    /// The secret of the key with this id.
    pub fn secret(&self, id: &AccessKeyId) -> AccessSecret {
        let mut context = hmac::Context::with_key(&hmac::Key::new(HMAC_SHA256, &self.0));
        context.update(PURPOSE);
        context.update(id.as_str().as_bytes());
        AccessSecret(URL_SAFE_NO_PAD.encode(context.sign()))
    }
}

impl AccessSecret {
    /// The secret itself, to be shown once.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// One that was not made here, for tests of signatures.
    #[cfg(test)]
    pub(crate) fn of(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// The id of a new key: `MSTA` and 16 letters, from bytes of a random source.
pub fn access_key_id(random: [u8; ACCESS_KEY_ID_BYTES]) -> AccessKeyId {
    let bits = random.iter().fold(0_u128, |bits, byte| bits << 8 | u128::from(*byte));
    let letter = |at: usize| char::from(LETTERS[usize::try_from(bits >> (5 * at) & 31).unwrap_or(0)]);
    let text: String = "MSTA".chars().chain((0..16).rev().map(letter)).collect();
    AccessKeyId::new(text).expect("letters and digits")
}

impl fmt::Debug for AccessMaster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessMaster(\"...\")")
    }
}

impl fmt::Debug for AccessSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessSecret(\"...\")")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_master_reads_back_and_gives_each_key_a_secret_of_its_own() {
        let master = AccessMaster::from_random([7; 32]);
        let again = AccessMaster::from_pem(&master.to_pem()).unwrap();
        let (one, other) = (access_key_id([1; 10]), access_key_id([2; 10]));
        assert_eq!(master.secret(&one), again.secret(&one));
        assert_ne!(master.secret(&one), master.secret(&other));
        assert_ne!(master.secret(&one), AccessMaster::from_random([8; 32]).secret(&one));
        assert_eq!(master.secret(&one).reveal().len(), 43);
        assert_eq!(format!("{master:?} {:?}", master.secret(&one)), "AccessMaster(\"...\") AccessSecret(\"...\")");
    }

    #[test]
    fn ids_have_the_shape_of_aws() {
        assert_eq!(access_key_id([0; 10]).as_str(), "MSTAAAAAAAAAAAAAAAAA");
        assert_eq!(access_key_id([0xff; 10]).as_str(), "MSTA7777777777777777");
        assert_eq!(access_key_id([0, 0, 0, 0, 0, 0, 0, 0, 0, 1]).as_str(), "MSTAAAAAAAAAAAAAAAAB");
    }

    #[test]
    fn what_is_no_master_is_refused() {
        let good = AccessMaster::from_random([7; 32]).to_pem();
        for text in ["", BEGIN, &good[1..], &good.replace("Bw", "B"), "-----BEGIN PRIVATE KEY-----"] {
            assert!(AccessMaster::from_pem(text).is_err(), "{text}");
        }
    }
}
