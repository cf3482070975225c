//! Packs a data folder and the records of its store.

use super::{DATA, FORMAT, FileEntry, MANIFEST, Manifest, RECORDS};
use crate::error::CliError;
use aws_lc_rs::digest::{Context as Digest, SHA256};
use muster_wire::id::Sha256Hex;
use muster_wire::time::Timestamp;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use tar::{EntryType, Header};

/// What goes into a backup.
pub struct Plan<'a> {
    /// The data folder.
    pub data: &'a Path,
    /// The fleet's name.
    pub fleet: String,
    /// All records, as `muster_shadow::store::dump` writes them.
    pub records: &'a Path,
    /// Entries of the records.
    pub entries: u64,
    /// The moment of the records.
    pub made_at: Timestamp,
    /// Whether the component packages go in.
    pub with_artifacts: bool,
}

/// Names in the data folder that belong to the running server, not to the fleet.
const LEFT_OUT: [&str; 2] = ["store", "server.addr"];

/// Writes a backup to `out`.
///
/// Errors: `Local` with the first file that cannot be read or written.
pub fn write(plan: &Plan<'_>, out: impl Write) -> Result<Manifest, CliError> {
    let mut files = vec![(RECORDS.to_owned(), plan.records.to_owned())];
    collect(plan, &mut files)?;
    let failed = |error| CliError::local_because("cannot write the backup; is the disk full?", error);
    let compressor = zstd::Encoder::new(out, COMPRESSION_LEVEL).map_err(failed)?;
    let mut archive = tar::Builder::new(compressor);
    let mut entries = Vec::with_capacity(files.len());
    for (name, path) in files {
        let entry = append(&mut archive, name, &path).map_err(|error| {
            CliError::local_because(format!("cannot put {} into the backup", path.display()), error)
        })?;
        entries.push(entry);
    }
    let manifest = Manifest {
        format: FORMAT,
        made_by: format!("muster {}", env!("CARGO_PKG_VERSION")),
        fleet: plan.fleet.clone(),
        made_at: plan.made_at,
        with_artifacts: plan.with_artifacts,
        records: plan.entries,
        files: entries,
    };
    let text = serde_json::to_vec_pretty(&manifest).expect("a manifest has text keys, so it is JSON");
    let mut header = header(text.len() as u64, 0o600);
    archive
        .append_data(&mut header, MANIFEST, text.as_slice())
        .and_then(|()| archive.into_inner())
        .and_then(zstd::Encoder::finish)
        .and_then(|mut out| out.flush())
        .map_err(failed)?;
    Ok(manifest)
}

/// Every file of the data folder that belongs to the fleet, sorted by name.
fn collect(plan: &Plan<'_>, files: &mut Vec<(String, PathBuf)>) -> Result<(), CliError> {
    let mut folders = vec![(plan.data.to_owned(), String::new())];
    let mut found = Vec::new();
    while let Some((folder, prefix)) = folders.pop() {
        let unreadable = |error| CliError::local_because(format!("cannot read the folder {}", folder.display()), error);
        for entry in fs::read_dir(&folder).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let path = entry.path();
            let strange = |what: &str| CliError::local(format!("{} cannot be backed up: {what}", path.display()));
            let part = entry.file_name().into_string().map_err(|_| strange("its name is not UTF-8"))?;
            if prefix.is_empty() && is_left_out(&part, plan.with_artifacts) || part.starts_with('.') {
                continue;
            }
            let name = format!("{prefix}{part}");
            let kind = entry.file_type().map_err(unreadable)?;
            if kind.is_dir() {
                folders.push((path, format!("{name}/")));
            } else if kind.is_file() {
                found.push((format!("{DATA}/{name}"), path));
            } else {
                return Err(strange("it is neither a file nor a folder"));
            }
        }
    }
    found.sort();
    files.extend(found);
    Ok(())
}

fn is_left_out(name: &str, with_artifacts: bool) -> bool {
    LEFT_OUT.contains(&name) || name.starts_with("snapshot-") || (name == "artifacts" && !with_artifacts)
}

fn append(archive: &mut tar::Builder<impl Write>, name: String, path: &Path) -> io::Result<FileEntry> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    let size = metadata.len();
    let mut content = Digested { inner: file, digest: Digest::new(&SHA256), left: size };
    archive.append_data(&mut header(size, mode(&metadata)), &name, &mut content)?;
    let digest = content.digest.finish();
    let sha256 = Sha256Hex::from_bytes(digest.as_ref().try_into().expect("SHA-256 has 32 bytes"));
    Ok(FileEntry { name, size, sha256 })
}

fn header(size: u64, mode: u32) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

#[cfg(unix)]
fn mode(metadata: &fs::Metadata) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & 0o777
}

/// Elsewhere nothing says it: as private as a key.
#[cfg(not(unix))]
fn mode(_: &fs::Metadata) -> u32 {
    0o600
}

/// Reads so many bytes and digests them. A file that has grown since is cut there: only a ledger grows, and what was
/// written to it after the moment of the records is no part of them.
struct Digested<R> {
    inner: R,
    digest: Digest,
    left: u64,
}

impl<R: Read> Read for Digested<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.inner.read(&mut buffer[..wanted])?;
        if count == 0 && wanted > 0 {
            return Err(io::Error::other("it became shorter while it was read; try again"));
        }
        self.digest.update(&buffer[..count]);
        self.left -= count as u64;
        Ok(count)
    }
}

/// zstd's own default.
const COMPRESSION_LEVEL: i32 = 3;
