//! Nothing that was taken back comes back.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::records::{TokenRecord, key};
use crate::store::{Ledgered, MemoryStore, dump};
use muster_certs::{Fleet, Identity, Role};
use muster_wire::admin::KeyPolicy;
use muster_wire::id::{AccessKeyId, Sha256Hex, ThingName};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

fn admin() -> PersonName {
    PersonName::new("admin").unwrap()
}

fn name(text: &str) -> ThingName {
    ThingName::new(text).unwrap()
}

fn put<R: Record>(store: &dyn Store, key: &Key, record: R) {
    let value = codec::encode(key.as_bytes(), &R::Stored::from(record)).unwrap();
    store.apply(vec![Op::put(key.clone(), Expect::Any, value)]).wait().unwrap();
}

fn get<R: Record>(store: &dyn Store, key: &Key) -> Option<R> {
    let stored = store.get(key.as_bytes()).unwrap()?;
    Some(codec::decode::<R::Stored>(key.as_bytes(), &stored.value).unwrap().into())
}

fn certificate(byte: u8, state: CertificateState) -> Certificate {
    let identity = Identity::new(Fleet::new("test").unwrap(), Role::Connector, "a").unwrap();
    let id = Sha256Hex::from_bytes(&[byte; 32]);
    Certificate {
        id,
        identity: Some(identity),
        issued_at: Some(at(1)),
        not_after: Some(at(9)),
        state,
        issuer: None,
        key: None,
    }
}

fn key_of(byte: u8) -> Key {
    key::certificate(&Sha256Hex::from_bytes(&[byte; 32]))
}

fn revoked_state() -> CertificateState {
    CertificateState::Revoked { at: at(5), by: admin(), reason: "lost".into() }
}

/// A fleet that was backed up and lived on: what the backup holds, and the ledger at the end.
fn fleet() -> (Vec<u8>, Ledger) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.log");
    let store = Ledgered::open(MemoryStore::new(), &path, &"0".repeat(32)).unwrap();
    let connector = Connector { token_hash: Some("h".into()), ..Connector::new(name("a"), admin(), at(0)) };
    put(&store, &key::connector(&name("a")), connector.clone());
    put(&store, &key::connector(&name("b")), Connector::new(name("b"), admin(), at(0)));
    let token = TokenRecord {
        connector: name("a"),
        expires_at: at(300),
        used_at: None,
        issued_by: admin(),
        issued_at: Some(at(0)),
        binding: None,
        used_from: None,
        reinstall: false,
        ended: None,
    };
    put(&store, &key::token("h"), token);
    put(&store, &key_of(1), certificate(1, CertificateState::Current));
    put(&store, &key::access_key(&access_key(None).id), access_key(None));
    let mut backup = Vec::new();
    dump::write(&store, &mut backup).unwrap();

    put(&store, &key_of(1), certificate(1, revoked_state()));
    put(&store, &key_of(2), certificate(2, CertificateState::Pending));
    let revoked = access_key(Some(KeyRevoked { at: at(5), by: admin() }));
    put(&store, &key::access_key(&revoked.id), revoked);
    let off = Lifecycle::Disabled { at: at(6), by: admin(), reason: None };
    put(&store, &key::connector(&name("b")), Connector { lifecycle: off, ..Connector::new(name("b"), admin(), at(0)) });
    put(&store, &key::connector(&name("c")), Connector::new(name("c"), admin(), at(7)));
    (backup, Ledger::read(&path).unwrap())
}

fn access_key(revoked: Option<KeyRevoked>) -> AccessKey {
    AccessKey {
        id: AccessKeyId::new("MSTA").unwrap(),
        policy: KeyPolicy::Operator,
        description: None,
        created_at: at(1),
        created_by: admin(),
        revoked,
    }
}

fn restored(backup: &[u8]) -> MemoryStore {
    let store = MemoryStore::new();
    dump::load(backup, &store).unwrap();
    store
}

#[test]
fn the_ledger_has_the_last_word_on_who_may_come_in() {
    let (backup, ledger) = fleet();
    let store = restored(&backup);
    let mended = mend(&store, Some(&ledger), at(10)).unwrap();
    assert_eq!(mended, Mended { tokens: 1, certificates: 2, connectors: 2, disabled: 0, keys: 1, claims: 0 });
    let key = get::<AccessKey>(&store, &key::access_key(&access_key(None).id)).unwrap();
    assert_eq!(key.revoked.map(|revoked| revoked.at), Some(at(5)), "it was good in the backup");
    assert_eq!(get::<Certificate>(&store, &key_of(1)).unwrap().state, revoked_state());
    assert_eq!(get::<Certificate>(&store, &key_of(2)).unwrap().state, CertificateState::Pending);
    assert_eq!(revoked(&store).unwrap(), 1);
    assert!(get::<TokenRecord>(&store, &key::token("h")).is_none());
    let connector = |text| get::<Connector>(&store, &key::connector(&name(text))).unwrap();
    assert_eq!((connector("a").token_hash, connector("a").lifecycle), (None, Lifecycle::Active));
    assert!(matches!(connector("b").lifecycle, Lifecycle::Disabled { at, .. } if at == Timestamp::from_seconds(6)));
    assert_eq!(connector("c").registered_at, at(7));
    assert_eq!(mend(&store, Some(&ledger), at(11)).unwrap().disabled, 0);
}

#[test]
fn without_a_ledger_no_connector_is_let_in() {
    let (backup, _) = fleet();
    let store = restored(&backup);
    let mended = mend(&store, None, at(10)).unwrap();
    assert_eq!(mended, Mended { tokens: 1, certificates: 0, connectors: 0, disabled: 2, keys: 1, claims: 0 });
    let key = get::<AccessKey>(&store, &key::access_key(&access_key(None).id)).unwrap();
    assert_eq!(key.revoked.map(|revoked| revoked.at), Some(at(10)), "nobody knows whether it was revoked");
    let connector = get::<Connector>(&store, &key::connector(&name("a"))).unwrap();
    assert!(matches!(connector.lifecycle, Lifecycle::Disabled { reason: Some(why), .. } if why.contains("ledger")));
    // A second time finds nothing to do.
    assert_eq!(mend(&store, None, at(11)).unwrap(), Mended::default());
}

#[test]
fn a_record_that_cannot_be_read_is_found() {
    let (backup, _) = fleet();
    assert_eq!(check_records(backup.as_slice()).unwrap(), (5, Vec::new()));
    assert!(matches!(check_record(key_of(1).as_bytes(), b"\x01junk"), Err(RestoreError::Codec(_))));
    assert!(matches!(check_record(b"?", b""), Err(RestoreError::Key(_))));
}

/// The numbers of two restores from the same backup, with work in between, do not meet.
#[test]
fn intents_are_numbered_from_the_second_of_the_restore() {
    let (backup, ledger) = fleet();
    let numbering = |store: &MemoryStore| get::<Numbering>(store, &key::numbering()).unwrap().targets_from;
    let store = restored(&backup);
    mend(&store, Some(&ledger), at(1_800_000_000)).unwrap();
    assert_eq!(numbering(&store), 1_800_000_000);
    // A clock that went back takes no number back.
    mend(&store, Some(&ledger), at(3)).unwrap();
    assert_eq!(numbering(&store), 1_800_000_000);
    let again = restored(&backup);
    mend(&again, None, at(1_800_000_900)).unwrap();
    assert_eq!(numbering(&again), 1_800_000_900);
    check_record(key::numbering().as_bytes(), &again.get(key::numbering().as_bytes()).unwrap().unwrap().value).unwrap();
}
