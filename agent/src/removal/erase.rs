//! The agent takes itself off the host: what is secret first, what starts it again next, its programs and folder last.
//!
//! A kill in between leaves the record of the removal and the program that finishes it. Once the service is gone nobody
//! starts that by itself; what is left then holds no secret, and `muster-agent uninstall` finishes it.

use super::Removal;
use crate::hands::files;
use crate::places::Prefix;
use crate::platform;
use crate::service;
use crate::trial::beside;
use muster_runtime::failure::Failure;
use muster_runtime::faults;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Removes everything of the agent. The components' folder stays unless it is empty.
///
/// Errors: something cannot be removed; what was removed before that is gone.
pub fn erase(prefix: &Prefix, removal: &mut Removal) -> Result<(), Failure> {
    let guard = Guard::new(prefix)?;
    faults::point("uninstall.before_erase");
    let (record, lock, standing) = (prefix.removal(), prefix.lock(), prefix.standing());
    let service = prefix.service();
    for secret in guard.entries(&prefix.state())? {
        if secret.is_dir() && secret != prefix.journals() && secret != prefix.spool() {
            guard.shred(&secret)?;
        }
    }
    faults::point("uninstall.after_identity");
    // Settings may hold or name a proxy's password; so may those that were refused, and the record of both.
    for path in [prefix.trial(), prefix.proxy_password(), prefix.settings()] {
        guard.shred_file(&beside(&path))?;
        guard.remove(&beside(&path))?;
        guard.shred_file(&path)?;
        guard.remove(&path)?;
    }
    for entry in guard.entries(&prefix.state())? {
        if ![&record, &lock, &standing, &service].contains(&&entry) {
            guard.remove(&entry)?;
        }
    }
    for left in service::left(prefix)? {
        removal.note_kept(left);
    }
    for gone in service::remove(prefix)? {
        removal.note_removed(gone);
    }
    faults::point("uninstall.after_service");
    guard.remove(&prefix.agent())?;
    guard.remove_if_empty(&prefix.components())?;
    // The record is the last that goes with the folder around it: from here on there is nothing to finish.
    for last in [&service, &standing, &lock, &record] {
        guard.remove(last)?;
    }
    guard.remove(&prefix.state())?;
    if !guard.remove_if_empty(prefix.root())? {
        let left = guard.entries(prefix.root())?;
        let ours = |path: &&PathBuf| **path != prefix.components();
        for path in left.iter().filter(ours) {
            removal.note_kept(format!("{}, which is not the agent's", path.display()));
        }
    }
    Ok(())
}

/// Removes only what really lies below the prefix.
struct Guard {
    root: PathBuf,
}

impl Guard {
    fn new(prefix: &Prefix) -> Result<Self, Failure> {
        let root = prefix.root();
        let failed = |error| Failure::local_because(format!("cannot look at {}", root.display()), error);
        let guard = Self { root: root.canonicalize().map_err(failed)? };
        if guard.root.parent().is_none() {
            return Err(Failure::local(format!("{} is no folder of an agent; nothing is removed", root.display())));
        }
        Ok(guard)
    }

    /// Refuses what a link on the way leads elsewhere. A link itself is no way: it is removed, not followed.
    fn check(&self, path: &Path) -> Result<(), Failure> {
        let parent = path.parent().unwrap_or(path);
        match parent.canonicalize() {
            Ok(real) if real.starts_with(&self.root) || path.canonicalize().is_ok_and(|own| own == self.root) => Ok(()),
            Ok(real) => {
                let (path, real) = (path.display(), real.display());
                Err(Failure::local(format!("{path} is in truth in {real}, outside of the prefix; it is not touched")))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(Failure::local_because(format!("cannot look at {}", parent.display()), error)),
        }
    }

    fn entries(&self, folder: &Path) -> Result<Vec<PathBuf>, Failure> {
        self.check(&folder.join("entry"))?;
        match fs::read_dir(folder) {
            Ok(entries) => Ok(entries.flatten().map(|entry| entry.path()).collect()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(Failure::local_because(format!("cannot look into {}", folder.display()), error)),
        }
    }

    /// Removes a file, a link or a folder with all that is in it; what is not there is fine.
    fn remove(&self, path: &Path) -> Result<(), Failure> {
        self.check(path)?;
        let removed = match fs::symlink_metadata(path) {
            Ok(facts) if facts.is_dir() => files::remove_tree(path),
            Ok(_) => files::remove_file(path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => Err(error),
        };
        removed
            .and_then(|()| platform::sync_parent(path))
            .map_err(|error| Failure::local_because(format!("cannot remove {}", path.display()), error))
    }

    /// Removes a folder when nothing is in it. Says whether it is gone.
    fn remove_if_empty(&self, folder: &Path) -> Result<bool, Failure> {
        self.check(folder)?;
        match fs::remove_dir(folder) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(false),
            // A mount point, or a folder above that this user may not write to: empty is as good as gone.
            Err(_) if self.entries(folder)?.is_empty() => Ok(true),
            Err(error) => Err(Failure::local_because(format!("cannot remove {}", folder.display()), error)),
        }
    }

    /// Overwrites every file of a folder, then removes it: a key must not be found in the free blocks of the disk. On
    /// disks that write elsewhere every time this is no guarantee; the certificate is revoked by the server.
    fn shred(&self, folder: &Path) -> Result<(), Failure> {
        for path in self.entries(folder)? {
            self.shred_file(&path)?;
        }
        self.remove(folder)
    }

    /// Overwrites a file; what is none is left alone.
    fn shred_file(&self, path: &Path) -> Result<(), Failure> {
        self.check(path)?;
        let Some(facts) = fs::symlink_metadata(path).ok().filter(fs::Metadata::is_file) else { return Ok(()) };
        let zeros = vec![0; usize::try_from(facts.len().min(SHREDDED_BYTES_MAX)).unwrap_or(0)];
        let overwritten = OpenOptions::new().write(true).open(path).and_then(|mut file| {
            file.write_all(&zeros)?;
            file.sync_all()
        });
        if let Err(error) = overwritten {
            tracing::warn!(%error, path = %path.display(), "it was not overwritten before it is removed");
        }
        Ok(())
    }
}

/// Keys and certificates are far below this.
const SHREDDED_BYTES_MAX: u64 = 1024 * 1024;

#[cfg(all(test, unix))]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::symlink;

    fn prefix(folder: &Path) -> Prefix {
        let prefix = Prefix::new(&folder.join("muster")).unwrap();
        for made in [prefix.identity(), prefix.journals(), prefix.agent().join("versions/1"), prefix.components()] {
            fs::create_dir_all(made).unwrap();
        }
        fs::write(prefix.identity().join("key.pem"), "secret").unwrap();
        for path in [prefix.settings(), prefix.proxy_password()] {
            fs::write(&path, "secret").unwrap();
            fs::write(beside(&path), "secret").unwrap();
        }
        fs::write(prefix.trial(), "secret").unwrap();
        Removal::new(false, None).write(&prefix).unwrap();
        prefix
    }

    #[test]
    fn nothing_of_the_agent_is_left_and_what_is_not_its_own_stays() {
        let folder = tempfile::tempdir().unwrap();
        let prefix = prefix(folder.path());
        fs::create_dir_all(prefix.components().join("greeter")).unwrap();
        fs::write(prefix.root().join("notes"), "of an administrator").unwrap();
        let mut removal = Removal::new(false, None);
        erase(&prefix, &mut removal).unwrap();
        let mut left = fs::read_dir(prefix.root()).unwrap().map(|e| e.unwrap().file_name()).collect::<Vec<_>>();
        left.sort();
        assert_eq!(left, ["components", "notes"]);
        assert_eq!(removal.kept, [format!("{}, which is not the agent's", prefix.root().join("notes").display())]);
        erase(&prefix, &mut removal).unwrap();
    }

    #[test]
    fn a_link_out_of_the_prefix_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let prefix = prefix(folder.path());
        let outside = folder.path().join("outside");
        fs::rename(prefix.state(), &outside).unwrap();
        symlink(&outside, prefix.state()).unwrap();
        let refusal = erase(&prefix, &mut Removal::new(false, None)).unwrap_err().to_string();
        assert!(refusal.contains("outside of the prefix; it is not touched"), "{refusal}");
        assert_eq!(fs::read_to_string(outside.join("identity/key.pem")).unwrap(), "secret");
        // A link among the components goes, not what it leads to.
        let other = folder.path().join("other");
        fs::create_dir(&other).unwrap();
        fs::write(other.join("file"), "").unwrap();
        let guard = Guard::new(&prefix).unwrap();
        symlink(&other, prefix.components().join("x")).unwrap();
        guard.remove(&prefix.components()).unwrap();
        assert!(other.join("file").exists() && !prefix.components().exists());
    }
}
