//! What a backup and a restore have to know of records: whether each can be read, and what must not come back to life.
//!
//! A restore takes the store back in time, and certificates and tokens with it. So: every token dies, and the ledger,
//! which nobody takes back, has the last word on every certificate, connector and access key. Where there is no
//! ledger, nobody knows what was revoked since; then no connector is let in before an operator says so, and every access
//! key and every claim is revoked.
//!
//! It takes the numbers of intents back too, and the ids of their jobs with them. An agent may remember a job of the lost
//! time by its id, so the numbers go on from the second of the restore: above whatever was given out one by one since.

use crate::records::{
    AccessKey, Certificate, CertificateState, Connector, KeyRevoked, Lifecycle, Numbering, Record, StoredAccessKey,
    StoredAction, StoredAttachment, StoredAuthority, StoredCertificate, StoredComponent, StoredConnector,
    StoredDeletedShadow, StoredJob, StoredJobJoined, StoredJobQueued, StoredJobRun, StoredJobTemplate, StoredJobThings,
    StoredNumbering, StoredOwnership, StoredPolicy, StoredProvisioningTemplate, StoredRecovery, StoredRetained,
    StoredSeen, StoredShadow, StoredStream, StoredTarget, StoredToken, StoredWork, key,
};
use crate::store::codec::{self, CodecError};
use crate::store::dump::{self, DumpError};
use crate::store::keys::BadKey;
use crate::store::{Expect, Key, Kind, Ledger, Op, Store, StoreError};
use muster_certs::Role;
use muster_model::job::StoredExecution;
use muster_wire::component::PublishedComponent;
use muster_wire::id::PersonName;
use muster_wire::time::Timestamp;
use std::collections::BTreeMap;
use std::io::Read;
use std::ops::ControlFlow;

/// Records that are changed at once.
const OPS_AT_ONCE: usize = 500;

/// Why a restored store could not be made fit for use.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The store failed.
    #[error("the restored store failed")]
    Store(#[from] StoreError),
    /// A record cannot be read or written.
    #[error("a record cannot be used")]
    Codec(#[from] CodecError),
    /// The records of a backup cannot be read.
    #[error("the records of the backup cannot be used")]
    Dump(#[from] DumpError),
    /// A key is none of this program's.
    #[error("a record's key cannot be used")]
    Key(#[from] BadKey),
}

/// Checks that this program can read a record.
///
/// Errors: `Codec`, `Key`.
pub fn check_record(key: &[u8], value: &[u8]) -> Result<(), RestoreError> {
    fn as_one<T: serde::de::DeserializeOwned>(key: &[u8], value: &[u8]) -> Result<(), CodecError> {
        codec::decode::<T>(key, value).map(drop)
    }
    let parsed = Key::parse(key)?;
    match parsed.kind {
        Kind::Connector => as_one::<StoredConnector>(key, value),
        Kind::Token => as_one::<StoredToken>(key, value),
        Kind::Shadow => as_one::<StoredShadow>(key, value),
        Kind::Execution => as_one::<StoredExecution>(key, value),
        Kind::Job => as_one::<StoredJob>(key, value),
        Kind::JobThings => as_one::<StoredJobThings>(key, value),
        Kind::JobRun => as_one::<StoredJobRun>(key, value),
        Kind::JobJoined => as_one::<StoredJobJoined>(key, value),
        Kind::JobQueued => as_one::<StoredJobQueued>(key, value),
        Kind::JobTemplate => as_one::<StoredJobTemplate>(key, value),
        Kind::Target => as_one::<StoredTarget>(key, value),
        Kind::Component => as_one::<StoredComponent>(key, value),
        Kind::Action => as_one::<StoredAction>(key, value),
        Kind::Certificate => as_one::<StoredCertificate>(key, value),
        Kind::Policy => as_one::<StoredPolicy>(key, value),
        Kind::Attachment => as_one::<StoredAttachment>(key, value),
        Kind::AccessKey => as_one::<StoredAccessKey>(key, value),
        Kind::Stream => as_one::<StoredStream>(key, value),
        Kind::ProvisioningTemplate => as_one::<StoredProvisioningTemplate>(key, value),
        Kind::Ownership => as_one::<StoredOwnership>(key, value),
        Kind::Retained => as_one::<StoredRetained>(key, value),
        Kind::Meta => match parsed.parts.first().map(String::as_str) {
            Some("seen") => as_one::<StoredSeen>(key, value),
            Some("work") => as_one::<StoredWork>(key, value),
            Some("recovery") => as_one::<StoredRecovery>(key, value),
            Some("numbering") => as_one::<StoredNumbering>(key, value),
            Some("authority") => as_one::<StoredAuthority>(key, value),
            Some("deleted-shadow") => as_one::<StoredDeletedShadow>(key, value),
            _ => as_one::<serde::de::IgnoredAny>(key, value),
        },
    }?;
    Ok(())
}

/// Reads every record of a backup. Returns the number of entries and the published versions, whose packages must be there.
///
/// Errors: [`RestoreError`].
pub fn check_records(dump: impl Read) -> Result<(u64, Vec<PublishedComponent>), RestoreError> {
    let component = Key::new(Kind::Component);
    let mut published = BTreeMap::new();
    let entries = dump::read::<RestoreError>(dump, |key, value| {
        let Some(value) = value else {
            published.remove(&key);
            return Ok(());
        };
        check_record(&key, &value)?;
        if key.starts_with(component.as_bytes()) {
            published.insert(key.clone(), codec::decode::<StoredComponent>(&key, &value)?.into());
        }
        Ok(())
    })?;
    Ok((entries, published.into_values().collect()))
}

/// What a restore changed in the records that came from the backup.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mended {
    /// Tokens that were thrown away.
    pub tokens: usize,
    /// Certificates that the ledger knew otherwise: issued, replaced or revoked since the backup.
    pub certificates: usize,
    /// Connectors that the ledger knew otherwise.
    pub connectors: usize,
    /// Connectors that were disabled, because nobody knows what was revoked since.
    pub disabled: usize,
    /// Access keys that the ledger knew otherwise, or that were revoked, because nobody knows.
    pub keys: usize,
    /// Claims that were revoked, for the same reason.
    pub claims: usize,
}

/// Makes a store that was loaded from a backup fit for use. Blocks; not for async code. Doing it again changes nothing.
///
/// Errors: [`RestoreError`]; then the store must not be served.
pub fn mend(store: &dyn Store, ledger: Option<&Ledger>, now: Timestamp) -> Result<Mended, RestoreError> {
    let mut mended = Mended::default();
    let mut changes = Changes { store, ops: Vec::new() };
    for kind in [Kind::Token, Kind::Ownership] {
        for (key, _) in store.scan_all(Key::new(kind).as_bytes())? {
            mended.tokens += 1;
            changes.add(Op::delete(key, Expect::Any))?;
        }
    }
    // A yes to a host of that time is no yes now; it asks again.
    for (key, _) in store.scan_all(key::recoveries().as_bytes())? {
        changes.add(Op::delete(key, Expect::Any))?;
    }
    // The files of the authority are those of the backup: the next start notes that, in the ledger too.
    changes.add(Op::delete(key::authority(), Expect::Any))?;
    for (key, value) in ledger.iter().flat_map(|ledger| &ledger.records) {
        check_record(key, value)?;
        if key.as_slice() == key::authority().as_bytes() {
            continue;
        }
        if store.get(key)?.is_some_and(|stored| stored.value == *value) {
            continue;
        }
        match Key::parse(key)?.kind {
            Kind::Certificate => mended.certificates += 1,
            Kind::AccessKey => mended.keys += 1,
            _ => mended.connectors += 1,
        }
        changes.add(Op::put(key.clone(), Expect::Any, value.clone()))?;
    }
    changes.make()?;
    if ledger.is_none() {
        mended.claims = revoke_claims(&mut changes, now)?;
    }
    for (key, stored) in store.scan_all(Key::new(Kind::Connector).as_bytes())? {
        let found: Connector = codec::decode::<StoredConnector>(&key, &stored.value)?.into();
        let mut connector = Connector { token_hash: None, ..found.clone() };
        if ledger.is_none() && connector.lifecycle == Lifecycle::Active {
            mended.disabled += 1;
            connector.lifecycle = Lifecycle::Disabled { at: now, by: restorer(), reason: Some(UNSURE.to_owned()) };
        }
        if connector != found {
            let value = codec::encode(&key, &<Connector as Record>::Stored::from(connector))?;
            changes.add(Op::put(key, Expect::Any, value))?;
        }
    }
    let key = key::numbering();
    let before = match store.get(key.as_bytes())? {
        Some(stored) => codec::decode::<StoredNumbering>(key.as_bytes(), &stored.value)?.into(),
        None => Numbering::default(),
    };
    let targets_from = before.targets_from.max(u64::try_from(now.epoch_seconds()).unwrap_or_default());
    let value = codec::encode(key.as_bytes(), &StoredNumbering::from(Numbering { targets_from }))?;
    changes.add(Op::put(key, Expect::Any, value))?;
    if ledger.is_none() {
        for (key, stored) in store.scan_all(Key::new(Kind::AccessKey).as_bytes())? {
            let found: AccessKey = codec::decode::<StoredAccessKey>(&key, &stored.value)?.into();
            if found.revoked.is_none() {
                mended.keys += 1;
                let revoked = AccessKey { revoked: Some(KeyRevoked { at: now, by: restorer() }), ..found };
                let value = codec::encode(&key, &StoredAccessKey::from(revoked))?;
                changes.add(Op::put(key, Expect::Any, value))?;
            }
        }
    }
    changes.make()?;
    Ok(mended)
}

fn revoke_claims(changes: &mut Changes<'_>, now: Timestamp) -> Result<usize, RestoreError> {
    let mut claims = 0;
    for (key, stored) in changes.store.scan_all(Key::new(Kind::Certificate).as_bytes())? {
        let found: Certificate = codec::decode::<StoredCertificate>(&key, &stored.value)?.into();
        let is_claim = found.identity.as_ref().is_some_and(|identity| identity.role() == Role::Claim);
        if !is_claim || !found.state.is_good() {
            continue;
        }
        claims += 1;
        let state = CertificateState::Revoked { at: now, by: restorer(), reason: UNSURE_CLAIM.to_owned() };
        let value = codec::encode(&key, &StoredCertificate::from(Certificate { state, ..found }))?;
        changes.add(Op::put(key, Expect::Any, value))?;
    }
    changes.make()?;
    Ok(claims)
}

/// How many records of certificates say that they are revoked.
///
/// Errors: [`RestoreError`].
pub fn revoked(store: &dyn Store) -> Result<usize, RestoreError> {
    let mut count = 0;
    let mut failed = None;
    store.scan(Key::new(Kind::Certificate).as_bytes(), &mut |key, stored| {
        match codec::decode::<StoredCertificate>(key, &stored.value).map(Certificate::from) {
            Ok(certificate) => count += usize::from(matches!(certificate.state, CertificateState::Revoked { .. })),
            Err(error) => failed = Some(error),
        }
        if failed.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    failed.map_or(Ok(count), |error| Err(error.into()))
}

struct Changes<'a> {
    store: &'a dyn Store,
    ops: Vec<Op>,
}

impl Changes<'_> {
    fn add(&mut self, op: Op) -> Result<(), StoreError> {
        self.ops.push(op);
        if self.ops.len() < OPS_AT_ONCE { Ok(()) } else { self.make() }
    }

    fn make(&mut self) -> Result<(), StoreError> {
        let ops = std::mem::take(&mut self.ops);
        if ops.is_empty() { Ok(()) } else { self.store.apply(ops).wait().map(drop) }
    }
}

/// Why a connector is disabled after a restore without a ledger.
const UNSURE: &str = "the fleet was restored without its ledger, so nobody knows whether it was removed or its \
                      certificate revoked after the backup";

/// Why a claim is revoked then.
const UNSURE_CLAIM: &str =
    "the fleet was restored without its ledger, so nobody knows whether it was revoked after the backup";

fn restorer() -> PersonName {
    PersonName::new("restore").expect("letters only")
}

#[cfg(test)]
mod tests;
