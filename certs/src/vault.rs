//! The authorities of a fleet as files, and how one takes over from another.
//!
//! ```text
//! ca.crt          the roots that hosts shall trust; the one that issues is first
//! ca.key          the key of the one that issues: the root in ca.crt that it belongs to
//! cross.crt       the word of the one before for the one that issues
//! next.crt .key   the one that will issue, and next-cross.crt: the word for it; from the announcement to the switch
//! rotation.json   how far the rotation is; the leading record
//! ```
//! `rotation.json` is written before the files that follow from it, and [`Vault::open`] makes them follow again: after a
//! crash anywhere the rotation is wholly in the old phase or is brought wholly into the new one at the next start. The
//! files of a new authority are written before the record that names it; a crash between leaves files that nobody
//! refers to, and the next announcement replaces them.

mod files;
mod roots;

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use muster_wire::admin::CaPhase;
use serde::{Deserialize, Serialize};

use crate::authority::{Authority, AuthorityError};
use crate::certificate::CertificateError;
use crate::profile;
use crate::store::StoreError;
use files::Files;
use roots::Roots;

/// A rotation, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotation {
    /// How far it is.
    pub phase: CaPhase,
    /// When that phase began, Unix seconds.
    pub since: i64,
    /// The id of the authority that is left.
    pub from: String,
    /// The id of the authority that follows.
    pub to: String,
}

/// Why the authorities cannot be used, or did not move.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VaultError {
    /// A file cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// One of the files without which there is no authority.
    #[error("{path} is missing; put it back from a backup, or from where you keep a copy: nothing can replace it")]
    Gone {
        /// The file.
        path: PathBuf,
    },
    /// A certificate cannot be read.
    #[error("a certificate of the authority cannot be read; restore the folder from a backup")]
    Certificate(#[from] CertificateError),
    /// An authority cannot be read, or could not be made.
    #[error("the authority cannot be used")]
    Authority(#[from] AuthorityError),
    /// No root belongs to the key.
    #[error("no certificate in {path} belongs to ca.key beside it; restore both from the same backup")]
    NoRoot {
        /// The file with the roots.
        path: PathBuf,
    },
    /// An authority that the record names is not there.
    #[error("the authority {id} that {path} names is not in the files beside it; restore the folder from a backup")]
    Missing {
        /// The record.
        path: PathBuf,
        /// Which authority.
        id: String,
    },
    /// The record is not readable.
    #[error("{path} is not readable: {reason}; restore the folder from a backup")]
    Record {
        /// The record.
        path: PathBuf,
        /// What the parser said.
        reason: String,
    },
    /// The phase does not follow from where the rotation is.
    #[error("the rotation of the authority is {now}; the next phase is {next}, not {asked}")]
    Order {
        /// Where it is, in words.
        now: String,
        /// What may come next.
        next: CaPhase,
        /// What was asked for.
        asked: CaPhase,
    },
}

/// The authorities of a fleet. Every method is short; what changes files is called by one thread alone.
pub struct Vault {
    files: Files,
    now: RwLock<State>,
}

#[derive(Clone)]
struct State {
    active: Arc<Authority>,
    roots: Roots,
    cross: Option<String>,
    rotation: Option<Rotation>,
}

impl Vault {
    /// Opens the folder for the server, and finishes what a crash left.
    ///
    /// Errors: any but `Order`.
    pub fn open(folder: &Path) -> Result<Self, VaultError> {
        Self::open_watched(folder, || ())
    }

    /// The same; `changed` is called behind each change of a file, so that a test can crash there.
    ///
    /// Errors: any but `Order`.
    pub fn open_watched(folder: &Path, changed: fn()) -> Result<Self, VaultError> {
        let files = Files::at(folder, changed);
        if let Some(rotation) = files.rotation()? {
            follow(&files, &rotation)?;
        }
        Self::of(files)
    }

    /// Reads the folder beside a server that may be running; changes nothing.
    ///
    /// Errors: any but `Order`.
    pub fn read(folder: &Path) -> Result<Self, VaultError> {
        Self::of(Files::at(folder, || ()))
    }

    /// An authority without a folder, for tests: it rotates in memory.
    ///
    /// Errors: any but `Order`.
    pub fn in_memory(authority: &Authority) -> Result<Self, VaultError> {
        let files = Files::in_memory();
        files.write_key(files::KEY, &authority.key_pem())?;
        files.write(files::ROOTS, authority.certificate_pem())?;
        Self::of(files)
    }

    fn of(files: Files) -> Result<Self, VaultError> {
        let state = State::read(&files)?;
        Ok(Self { files, now: RwLock::new(state) })
    }

    /// The authority that issues.
    pub fn active(&self) -> Arc<Authority> {
        self.state().active.clone()
    }

    /// What hosts shall trust, PEM; the root that issues is first.
    pub fn trusted_pem(&self) -> String {
        self.state().roots.pem()
    }

    /// What the server trusts when a client shows a certificate, PEM.
    pub fn client_roots_pem(&self) -> String {
        let state = self.state();
        match &state.rotation {
            // Announced only: nothing of the new one can be genuine yet.
            Some(rotation) if rotation.phase == CaPhase::Announced => state.active.certificate_pem().to_owned(),
            _ => state.roots.pem(),
        }
    }

    /// Whether one of the roots signed the first certificate of a PEM text.
    pub fn vouches_for(&self, pem: &str) -> bool {
        self.state().roots.issued(pem)
    }

    /// What the server sends after its own certificate, for hosts that know only the root before, PEM; may be empty.
    pub fn cross_pem(&self) -> String {
        self.state().cross.clone().unwrap_or_default()
    }

    /// The rotation under way, or the last one.
    pub fn rotation(&self) -> Option<Rotation> {
        self.state().rotation.clone()
    }

    /// The ids of the roots that hosts shall trust, with their last second; the one that issues is first.
    pub fn roots(&self) -> Vec<(String, i64)> {
        self.state().roots.list()
    }

    /// The id of the newest root: the one that issues, or the one that will.
    ///
    /// While a rotation is under way it is the one that follows.
    pub fn newest(&self) -> String {
        let state = self.state();
        match &state.rotation {
            Some(rotation) => rotation.to.clone(),
            None => state.roots.list().swap_remove(0).0,
        }
    }

    /// The phase that may be entered next.
    pub fn next_phase(&self) -> CaPhase {
        let phase = self.state().rotation.as_ref().map(|rotation| rotation.phase);
        phase.and_then(CaPhase::next).unwrap_or(CaPhase::Announced)
    }

    /// Enters the next phase, durably. `now` is Unix seconds.
    ///
    /// Errors: `Order` when `phase` is not the next one; any other when the files could not be written, and then
    /// [`Vault::open`] finishes or forgets it.
    pub fn enter(&self, phase: CaPhase, now: i64) -> Result<Rotation, VaultError> {
        let next = self.next_phase();
        if phase != next {
            let at = self.state().rotation.as_ref().map(|rotation| rotation.phase);
            let at = match at {
                Some(at) if at != CaPhase::Retired => format!("in the phase {at}"),
                _ => "not under way".to_owned(),
            };
            return Err(VaultError::Order { now: at, next, asked: phase });
        }
        let rotation = match (phase, self.rotation()) {
            (CaPhase::Announced, _) | (_, None) => self.make_next(now)?,
            (phase, Some(before)) => Rotation { phase, since: now, ..before },
        };
        self.files.write_rotation(&rotation)?;
        follow(&self.files, &rotation)?;
        let state = State::read(&self.files)?;
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = state;
        Ok(rotation)
    }

    /// Makes the authority that follows. Its key is on the disk before anything names it.
    fn make_next(&self, now: i64) -> Result<Rotation, VaultError> {
        let active = self.active();
        let next = active.successor(profile::AUTHORITY_LIFETIME, now)?;
        let cross = active.vouch_for(&next, now)?;
        self.files.write_key(files::NEXT_KEY, &next.key_pem())?;
        self.files.write(files::NEXT_CROSS, &cross)?;
        self.files.write(files::NEXT, next.certificate_pem())?;
        Ok(Rotation { phase: CaPhase::Announced, since: now, from: active.id()?, to: next.id()? })
    }

    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.now.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vault").field("rotation", &self.rotation()).finish_non_exhaustive()
    }
}

impl State {
    fn read(files: &Files) -> Result<Self, VaultError> {
        let (pem, key) = (files.read(files::ROOTS)?, files.read(files::KEY)?);
        let mut roots = Roots::from_pem(&pem)?;
        let active = roots.belonging_to(&key).ok_or_else(|| VaultError::NoRoot { path: files.path(files::ROOTS) })?;
        roots.put_first(&active.id()?);
        let cross = files.read_if_there(files::CROSS)?;
        Ok(Self { active: Arc::new(active), roots, cross, rotation: files.rotation()? })
    }
}

/// Makes the files follow from the record. Doing it again changes nothing.
fn follow(files: &Files, rotation: &Rotation) -> Result<(), VaultError> {
    let missing = |id: &str| VaultError::Missing { path: files.path(files::RECORD), id: id.to_owned() };
    let mut roots = Roots::from_pem(&files.read(files::ROOTS)?)?;
    if let Some(next) = files.read_if_there(files::NEXT)? {
        roots.add(&next, &rotation.to)?;
    }
    if !roots.has(&rotation.to) {
        return Err(missing(&rotation.to));
    }
    match rotation.phase {
        CaPhase::Announced | CaPhase::TrustBoth => {
            roots.put_first(&rotation.from);
            files.write_if_new(files::ROOTS, &roots.pem())
        }
        CaPhase::Switched => {
            roots.put_first(&rotation.to);
            files.write_if_new(files::ROOTS, &roots.pem())?;
            if let Some(key) = files.read_if_there(files::NEXT_KEY)? {
                // The word for the new one first: a server of the new one without it loses the hosts that were off.
                if let Some(cross) = files.read_if_there(files::NEXT_CROSS)? {
                    files.write_if_new(files::CROSS, &cross)?;
                }
                // Replaces the old key, which from now on exists in backups only.
                files.write_key(files::KEY, &key)?;
            }
            files.remove(&[files::NEXT, files::NEXT_CROSS, files::NEXT_KEY])
        }
        CaPhase::Retired => {
            roots.keep_only(&rotation.to);
            files.write_if_new(files::ROOTS, &roots.pem())
        }
    }
}

/// How long before the end of an authority operators are warned: longer than any certificate below it takes to renew.
pub const AUTHORITY_WARNING: Duration = Duration::from_secs(180 * 24 * 60 * 60);

#[cfg(test)]
mod tests;
