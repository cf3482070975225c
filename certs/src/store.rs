//! Keys and certificates as files: written whole or not at all, keys readable by their owner only.
//!
//! ```text
//! create .name.<random>.tmp (must not exist, 0600)  ->  write  ->  fsync  ->  rename over name  ->  fsync directory
//! ```
//! After a crash at any point the file is the old one or the new one; a left-over `.tmp` is harmless and private.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use crate::certificate::hex;

/// The largest key or certificate file that is read; a chain with many roots is far below it.
pub const PEM_BYTES_MAX: u64 = 1024 * 1024;

/// Why a file could not be written or read; each names the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The path does not name a file.
    #[error("{path} does not name a file; give the path of a file")]
    NoName {
        /// The path.
        path: PathBuf,
    },
    /// A step of writing failed; the file is whole: the old one or, when only the last sync failed, the new one.
    #[error(
        "cannot write {path}: failed to {step}; check that its directory exists, is writable by this user and has free space"
    )]
    Write {
        /// The file to be written.
        path: PathBuf,
        /// What was being done.
        step: &'static str,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// The file does not exist.
    #[error("{path} does not exist; check the path, or create it (`muster init` on a server, enrolment on a host)")]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// This user may not read the file.
    #[error("{path} may not be read by this user; run as the user that owns it")]
    Denied {
        /// The file.
        path: PathBuf,
    },
    /// Reading failed for another reason.
    #[error("cannot read {path}; check that it is a file on a healthy disk")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// A file with a private key is open to others.
    #[error(
        "{path} holds a private key but others may use it (mode {mode:04o}); run `chmod 600 {path}`, and replace the key if others had access"
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file is larger than any PEM file of ours.
    #[error("{path} is larger than {PEM_BYTES_MAX} bytes; it is not a key or certificate file")]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The file is not PEM.
    #[error("{path} is not a PEM file (no `-----BEGIN` line); give the path of a key or certificate in PEM form")]
    NotPem {
        /// The file.
        path: PathBuf,
    },
}

/// Writes a private key or another secret: mode 0600, atomically, durable when this returns.
///
/// Errors: [`StoreError::NoName`], [`StoreError::Write`]; a file that was there stays whole.
pub fn write_secret(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    write(path, bytes, Access::Owner)
}

/// Writes what everyone may read, such as a certificate: mode 0644, atomically, durable when this returns.
///
/// Errors: [`StoreError::NoName`], [`StoreError::Write`]; a file that was there stays whole.
pub fn write_public(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    write(path, bytes, Access::Everyone)
}

/// Reads a PEM file; one with a private key in it must belong to its owner alone.
///
/// Errors: any but `NoName` and `Write`.
pub fn read_pem(path: &Path) -> Result<String, StoreError> {
    let path_buf = || path.to_owned();
    let failed = |source: io::Error| match source.kind() {
        ErrorKind::NotFound => StoreError::Missing { path: path_buf() },
        ErrorKind::PermissionDenied => StoreError::Denied { path: path_buf() },
        ErrorKind::InvalidData => StoreError::NotPem { path: path_buf() },
        _ => StoreError::Read { path: path_buf(), source },
    };
    let file = File::open(path).map_err(failed)?;
    let mut text = String::new();
    // Text that is not UTF-8 arrives as `InvalidData`.
    (&file).take(PEM_BYTES_MAX + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > PEM_BYTES_MAX {
        return Err(StoreError::TooLarge { path: path_buf() });
    }
    if !text.contains("-----BEGIN ") {
        return Err(StoreError::NotPem { path: path_buf() });
    }
    if text.contains("PRIVATE KEY-----") {
        // Asked of the open file, so it is the file that was read.
        refuse_exposed(path, &file.metadata().map_err(failed)?)?;
    }
    Ok(text)
}

#[derive(Clone, Copy)]
enum Access {
    Owner,
    Everyone,
}

fn write(path: &Path, bytes: &[u8], access: Access) -> Result<(), StoreError> {
    let name = path.file_name().ok_or_else(|| StoreError::NoName { path: path.to_owned() })?;
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let failed = |step| move |source| StoreError::Write { path: path.to_owned(), step, source };

    let mut random = [0; 8];
    aws_lc_rs::rand::fill(&mut random)
        .map_err(|_| failed("draw a random name")(io::Error::other("no random numbers")))?;
    let mut temporary_name = OsString::from(".");
    temporary_name.push(name);
    temporary_name.push(format!(".{}.tmp", hex(&random)));
    let temporary = directory.join(temporary_name);

    let file = create_private(&temporary).map_err(failed("create a temporary file beside it"))?;
    let written = fill(&file, bytes, access)
        .map_err(failed("write and sync the content"))
        .and_then(|()| fs::rename(&temporary, path).map_err(failed("move the new file into place")));
    if let Err(error) = written {
        // The first error is the one to report; if this fails too, a private file is left behind.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    sync_directory(directory).map_err(failed("sync its directory"))
}

fn fill(mut file: &File, bytes: &[u8], access: Access) -> io::Result<()> {
    file.write_all(bytes)?;
    if let Access::Everyone = access {
        allow_everyone(file)?;
    }
    file.sync_all()
}

#[cfg(unix)]
mod modes {
    use std::fs::Permissions;
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};

    use super::*;

    /// Any bit for group or others: who may write a key may also replace it.
    const OTHERS: u32 = 0o077;

    pub(super) fn create_private(path: &Path) -> io::Result<File> {
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
    }

    pub(super) fn allow_everyone(file: &File) -> io::Result<()> {
        file.set_permissions(Permissions::from_mode(0o644))
    }

    pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
        File::open(directory)?.sync_all()
    }

    pub(super) fn refuse_exposed(path: &Path, metadata: &fs::Metadata) -> Result<(), StoreError> {
        let mode = metadata.permissions().mode() & 0o7777;
        if mode & OTHERS == 0 { Ok(()) } else { Err(StoreError::Exposed { path: path.to_owned(), mode }) }
    }
}

/// Elsewhere access follows the directory, which the installer restricts; a directory cannot be synced.
#[cfg(not(unix))]
mod modes {
    use super::*;

    pub(super) fn create_private(path: &Path) -> io::Result<File> {
        OpenOptions::new().write(true).create_new(true).open(path)
    }

    pub(super) fn allow_everyone(_: &File) -> io::Result<()> {
        Ok(())
    }

    pub(super) fn sync_directory(_: &Path) -> io::Result<()> {
        Ok(())
    }

    pub(super) fn refuse_exposed(_: &Path, _: &fs::Metadata) -> Result<(), StoreError> {
        Ok(())
    }
}

use modes::{allow_everyone, create_private, refuse_exposed, sync_directory};

#[cfg(all(test, unix))]
mod tests;
