#![allow(clippy::unwrap_used)]

use super::*;
use crate::identity::{Fleet, Identity, Role};

const NOW: i64 = 1_800_000_000;

fn authority() -> Authority {
    Authority::create(&Fleet::new("acme").unwrap(), NOW).unwrap()
}

/// As after a restart of the server.
fn reopened(vault: Vault) -> Vault {
    let files = vault.files;
    if let Files::Memory(memory) = &files {
        memory.lock().unwrap().changes_left = None;
    }
    if let Some(rotation) = files.rotation().unwrap() {
        follow(&files, &rotation).unwrap();
    }
    Vault::of(files).unwrap()
}

fn ids(vault: &Vault) -> Vec<String> {
    vault.roots().into_iter().map(|(id, _)| id).collect()
}

#[test]
fn a_rotation_goes_through_its_phases_in_order_only() {
    let vault = Vault::in_memory(&authority()).unwrap();
    let old = vault.active().id().unwrap();
    assert_eq!((ids(&vault), vault.cross_pem().as_str()), (vec![old.clone()], ""));
    assert!(matches!(vault.enter(CaPhase::Retired, NOW), Err(VaultError::Order { next: CaPhase::Announced, .. })));

    vault.enter(CaPhase::Announced, NOW).unwrap();
    let new = vault.newest();
    assert_eq!(ids(&vault), [old.clone(), new.clone()]);
    assert_eq!(vault.active().id().unwrap(), old);
    assert_eq!(Roots::from_pem(&vault.client_roots_pem()).unwrap().list().len(), 1);
    assert!(matches!(vault.enter(CaPhase::Announced, NOW), Err(VaultError::Order { next: CaPhase::TrustBoth, .. })));

    vault.enter(CaPhase::TrustBoth, NOW + 1).unwrap();
    assert_eq!(Roots::from_pem(&vault.client_roots_pem()).unwrap().list().len(), 2);
    assert_eq!(vault.active().id().unwrap(), old);

    vault.enter(CaPhase::Switched, NOW + 2).unwrap();
    assert_eq!(ids(&vault), [new.clone(), old]);
    assert_eq!(vault.active().id().unwrap(), new);
    assert!(!vault.cross_pem().is_empty());

    let end = vault.enter(CaPhase::Retired, NOW + 3).unwrap();
    assert_eq!((end.phase, end.since), (CaPhase::Retired, NOW + 3));
    assert_eq!(ids(&vault), [new]);
    // Hosts that were off all the time still reach the server.
    assert!(!vault.cross_pem().is_empty());
    // And the next rotation begins.
    vault.enter(CaPhase::Announced, NOW + 4).unwrap();
}

#[test]
fn a_crash_at_any_write_leaves_the_phase_before_or_the_whole_next_one() {
    for changes in 0..40 {
        for goal in 1..=4 {
            let vault = Vault::in_memory(&authority()).unwrap();
            for phase in &CaPhase::ALL[..goal - 1] {
                vault.enter(*phase, NOW).unwrap();
            }
            let before = vault.rotation();
            let Files::Memory(memory) = &vault.files else { unreachable!("it is in memory") };
            memory.lock().unwrap().changes_left = Some(changes);
            let phase = CaPhase::ALL[goal - 1];
            let done = vault.enter(phase, NOW);
            let vault = reopened(vault);
            let after = vault.rotation();
            match done {
                Ok(rotation) => assert_eq!(after.as_ref(), Some(&rotation)),
                Err(_) => assert!(after == before || after.as_ref().is_some_and(|after| after.phase == phase)),
            }
            // Whatever happened, it issues, and goes on from there to the end.
            let identity = Identity::new(vault.active().fleet().clone(), Role::Connector, "c").unwrap();
            vault.active().issue_with_new_key(&identity, Duration::from_secs(60), NOW).unwrap();
            while vault.rotation().is_none_or(|rotation| rotation.phase != CaPhase::Retired) {
                vault.enter(vault.next_phase(), NOW).unwrap();
            }
            assert_eq!(ids(&vault), [vault.newest()]);
        }
    }
}

#[cfg(unix)]
#[test]
fn on_a_disk_the_keys_are_private_and_a_restart_finds_the_same() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let authority = authority();
    store_authority(folder.path(), &authority);
    let vault = Vault::open(folder.path()).unwrap();
    for phase in CaPhase::ALL {
        vault.enter(phase, NOW).unwrap();
        for key in ["ca.key", "next.key"] {
            let path = folder.path().join(key);
            let expected = key == "ca.key" || phase < CaPhase::Switched;
            assert_eq!(path.exists(), expected, "{key} in phase {phase}");
            if expected {
                assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
            }
        }
        let again = Vault::open(folder.path()).unwrap();
        assert_eq!((again.rotation(), ids(&again)), (vault.rotation(), ids(&vault)));
        assert_eq!(again.active().id().unwrap(), vault.active().id().unwrap());
    }
    assert!(!std::fs::read_to_string(folder.path().join("ca.key")).unwrap().contains(&authority.key_pem()));
}

#[cfg(unix)]
fn store_authority(folder: &Path, authority: &Authority) {
    crate::store::write_secret(&folder.join("ca.key"), authority.key_pem().as_bytes()).unwrap();
    crate::store::write_public(&folder.join("ca.crt"), authority.certificate_pem().as_bytes()).unwrap();
}
