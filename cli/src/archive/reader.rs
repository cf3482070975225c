//! Unpacks a backup into a folder and compares every file with the manifest.

use super::{DATA, FORMAT, FileEntry, MANIFEST, Manifest, RECORDS};
use crate::error::CliError;
use aws_lc_rs::digest::{Context as Digest, SHA256};
use muster_model::component::path::check_inside;
use muster_wire::id::Sha256Hex;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// A backup that is complete and undamaged.
pub struct Unpacked {
    /// What it is.
    pub manifest: Manifest,
    /// The data folder in it.
    pub data: PathBuf,
    /// The records in it.
    pub records: PathBuf,
}

/// Largest manifest: two million files.
const MANIFEST_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Unpacks the backup `file` into the new folder `into`. Without `keep_artifacts` the packages are checked but not kept.
///
/// Errors: `Local` when the file is no backup, damaged or cut, or `into` cannot be written.
pub fn unpack(file: &Path, into: &Path, keep_artifacts: bool) -> Result<Unpacked, CliError> {
    let shown = file.display();
    let damaged = |why: String| CliError::local(format!("the backup {shown} cannot be used: {why}; use another one"));
    let unreadable = |error: io::Error| CliError::local_because(format!("cannot read the backup {shown}"), error);
    let packed = File::open(file).map_err(unreadable)?;
    let plain = zstd::Decoder::new(packed).map_err(unreadable)?;
    let mut archive = tar::Archive::new(plain);
    let mut found = Vec::new();
    let mut manifest: Option<Manifest> = None;
    for entry in archive.entries().map_err(unreadable)? {
        let mut entry = entry.map_err(|error| damaged(format!("it is damaged or was cut off ({error})")))?;
        let name = entry.path().ok().and_then(|path| path.to_str().map(str::to_owned));
        let name = name.ok_or_else(|| damaged("a name in it is not UTF-8".to_owned()))?;
        if manifest.is_some() || check_inside(&name).is_err() || !entry.header().entry_type().is_file() {
            return Err(damaged(format!("{name:?} has no place in a backup")));
        }
        if name == MANIFEST {
            let mut text = Vec::new();
            (&mut entry).take(MANIFEST_BYTES_MAX).read_to_end(&mut text).map_err(unreadable)?;
            let read: Manifest =
                serde_json::from_slice(&text).map_err(|error| damaged(format!("its manifest is not one ({error})")))?;
            if read.format != FORMAT {
                let (found, made_by) = (read.format, &read.made_by);
                return Err(damaged(format!("it has format {found}, this program reads {FORMAT} (made by {made_by})")));
            }
            manifest = Some(read);
            continue;
        }
        let is_artifact = name.starts_with("data/artifacts/");
        let target = (keep_artifacts || !is_artifact).then(|| into.join(&name));
        let mode = entry.header().mode().unwrap_or(0o600);
        let copied = copy(&mut entry, target.as_deref(), mode);
        let (size, sha256) = copied.map_err(|error| {
            CliError::local_because(
                format!("cannot unpack {name} of the backup {shown} into {}", into.display()),
                error,
            )
        })?;
        found.push(FileEntry { name, size, sha256 });
    }
    let manifest = manifest.ok_or_else(|| damaged("it ends before its manifest".to_owned()))?;
    if !is_all(archive.into_inner()) {
        return Err(damaged("something follows its end that does not belong to it".to_owned()));
    }
    if let Some((told, _)) = manifest.files.iter().zip(&found).find(|(told, found)| told != found) {
        return Err(damaged(format!("{} is not what its manifest says", told.name)));
    }
    if manifest.files.len() != found.len() {
        return Err(damaged(format!("it has {} files, its manifest {}", found.len(), manifest.files.len())));
    }
    if !found.iter().any(|file| file.name == RECORDS) {
        return Err(damaged("it has no records".to_owned()));
    }
    Ok(Unpacked { manifest, data: into.join(DATA), records: into.join(RECORDS) })
}

/// Copies a file, or only digests it. What is written is on the disk when this returns.
/// Whether nothing but the zeros that fill up an archive follows.
fn is_all(rest: impl Read) -> bool {
    let mut padding = Vec::new();
    let read = rest.take(PADDING_BYTES_MAX + 1).read_to_end(&mut padding);
    read.is_ok_and(|length| length as u64 <= PADDING_BYTES_MAX) && padding.iter().all(|byte| *byte == 0)
}

/// Archives are filled up to a multiple of 10 KiB at most.
const PADDING_BYTES_MAX: u64 = 16 * 1024;

fn copy(from: &mut impl Read, to: Option<&Path>, mode: u32) -> io::Result<(u64, Sha256Hex)> {
    let mut out = to.map(|path| create(path, mode)).transpose()?;
    let mut digest = Digest::new(&SHA256);
    let mut buffer = vec![0; 64 * 1024];
    let mut size = 0;
    loop {
        let count = from.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        digest.update(&buffer[..count]);
        size += count as u64;
        if let Some(out) = &mut out {
            out.write_all(&buffer[..count])?;
        }
    }
    out.map_or(Ok(()), |out| out.sync_all())?;
    let digest = digest.finish();
    Ok((size, Sha256Hex::from_bytes(digest.as_ref().try_into().expect("SHA-256 has 32 bytes"))))
}

fn create(path: &Path, mode: u32) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        crate::datadir::private_folder(folder)?;
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    // Nobody else may write, whatever the archive says.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode & 0o744);
    #[cfg(not(unix))]
    let _ = mode;
    options.open(path)
}

/// Makes the names of all files and folders below `root` survive a power cut; their contents are on the disk already.
///
/// Errors: those of the system.
pub fn sync_folders(root: &Path) -> io::Result<()> {
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_folders(&entry.path())?;
        }
    }
    File::open(root)?.sync_all()
}
