//! Packs a folder into a component package: the same folder gives the same bytes, whoever packs it and when.
//!
//! A package is a `tar.zst`: `component.toml` first, then everything else sorted by name; no times, no owners, and of
//! the permissions only whether a file may be executed. Links must stay inside; devices and sockets are refused.

use crate::error::CliError;
use aws_lc_rs::digest::{Context as Digest, SHA256};
use muster_model::component::path::{check_inside, check_link};
use muster_model::component::{INSTALLED_FILE, RECIPE_BYTES_MAX, RECIPE_FILE, Recipe};
use muster_wire::id::Sha256Hex;
use muster_wire::limits::{ARTIFACT_BYTES_MAX, PACKAGE_FILES_MAX, UNPACKED_BYTES_MAX};
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use tar::{EntryType, Header};
use tempfile::NamedTempFile;

/// A packed component; the file is removed when this is dropped.
#[derive(Debug)]
pub struct Package {
    /// What the component is.
    pub recipe: Recipe,
    /// The package.
    pub file: NamedTempFile,
    /// Digest of the package.
    pub sha256: Sha256Hex,
    /// Length of the package in bytes.
    pub size: u64,
}

impl Package {
    /// Packs a folder.
    ///
    /// Errors: `Local` with everything that is wrong with the recipe, or the first file that cannot be packed.
    pub fn pack(dir: &Path) -> Result<Self, CliError> {
        let recipe = read_recipe(dir)?;
        let entries = collect(dir)?;
        check_programs(dir, &recipe)?;
        let failed = |error| CliError::local_because(format!("cannot pack {}", dir.display()), error);
        let file = NamedTempFile::new().map_err(failed)?;
        let (sha256, size) = write(&entries, &file).map_err(failed)?;
        if size > ARTIFACT_BYTES_MAX {
            return Err(CliError::local(format!(
                "the package of {} has {size} bytes; at most {ARTIFACT_BYTES_MAX} are allowed",
                dir.display()
            )));
        }
        Ok(Self { recipe, file, sha256, size })
    }
}

fn read_recipe(dir: &Path) -> Result<Recipe, CliError> {
    let path = dir.join(RECIPE_FILE);
    let mut text = String::new();
    File::open(&path).and_then(|file| file.take(RECIPE_BYTES_MAX as u64 + 1).read_to_string(&mut text)).map_err(
        |error| {
            let shown = path.display();
            let next = "name the folder of one version, with component.toml in it";
            CliError::local_because(format!("cannot read the recipe {shown}; {next}"), error)
        },
    )?;
    Recipe::parse(&text)
        .map_err(|error| CliError::local_because(format!("the recipe in {} cannot be used", dir.display()), error))
}

/// One file, folder or link of a package.
struct Entry {
    /// Path inside the package, with `/`.
    name: String,
    path: PathBuf,
    metadata: Metadata,
}

/// Everything below `dir`, the recipe first, the rest sorted by name.
fn collect(dir: &Path) -> Result<Vec<Entry>, CliError> {
    let mut entries = Vec::new();
    let mut folders = vec![(dir.to_owned(), String::new())];
    let mut bytes = 0_u64;
    while let Some((folder, prefix)) = folders.pop() {
        let unreadable = |error| CliError::local_because(format!("cannot read the folder {}", folder.display()), error);
        for found in fs::read_dir(&folder).map_err(unreadable)? {
            let found = found.map_err(unreadable)?;
            let path = found.path();
            let refused = |why: String| CliError::local(format!("{} cannot be packed: {why}", path.display()));
            let part = found.file_name().into_string().map_err(|_| refused("its name is not UTF-8".to_owned()))?;
            let name = format!("{prefix}{part}");
            check_inside(&name).map_err(|error| refused(error.to_string()))?;
            if name == INSTALLED_FILE {
                return Err(refused("the agent keeps a file of its own under this name".to_owned()));
            }
            let metadata = found.metadata().map_err(unreadable)?;
            let kind = metadata.file_type();
            if kind.is_dir() {
                folders.push((path.clone(), format!("{name}/")));
            } else if kind.is_file() {
                bytes = bytes.saturating_add(metadata.len());
            } else if !kind.is_symlink() {
                return Err(refused("it is no file, folder or link".to_owned()));
            }
            entries.push(Entry { name, path, metadata });
            if entries.len() > PACKAGE_FILES_MAX || bytes > UNPACKED_BYTES_MAX {
                return Err(CliError::local(format!(
                    "{} is too large: a package may hold {PACKAGE_FILES_MAX} files and {UNPACKED_BYTES_MAX} bytes",
                    dir.display()
                )));
            }
        }
    }
    entries.sort_by(|a, b| (a.name != RECIPE_FILE, &a.name).cmp(&(b.name != RECIPE_FILE, &b.name)));
    Ok(entries)
}

/// Every program that the recipe starts from the package must be in it and executable.
fn check_programs(dir: &Path, recipe: &Recipe) -> Result<(), CliError> {
    for program in recipe.programs() {
        let path = dir.join(program);
        let metadata = fs::metadata(&path).map_err(|error| {
            CliError::local_because(
                format!("{RECIPE_FILE} starts {program}, but {} is not there", path.display()),
                error,
            )
        })?;
        if !metadata.is_file() || !executable(&metadata) {
            return Err(CliError::local(format!(
                "{RECIPE_FILE} starts {program}, but {0} is not executable; run `chmod +x {0}`",
                path.display()
            )));
        }
    }
    Ok(())
}

fn write(entries: &[Entry], file: &NamedTempFile) -> io::Result<(Sha256Hex, u64)> {
    let counted = Counted { inner: file.as_file(), digest: Digest::new(&SHA256), size: 0 };
    let compressor = zstd::Encoder::new(counted, COMPRESSION_LEVEL)?;
    let mut archive = tar::Builder::new(compressor);
    for entry in entries {
        append(&mut archive, entry)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", entry.path.display())))?;
    }
    let mut counted = archive.into_inner()?.finish()?;
    counted.flush()?;
    let digest = counted.digest.finish();
    let bytes = digest.as_ref().try_into().expect("SHA-256 has 32 bytes");
    Ok((Sha256Hex::from_bytes(bytes), counted.size))
}

fn append(archive: &mut tar::Builder<impl Write>, entry: &Entry) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    let kind = entry.metadata.file_type();
    if kind.is_dir() {
        header.set_entry_type(EntryType::Directory);
        header.set_mode(0o755);
        header.set_size(0);
        archive.append_data(&mut header, format!("{}/", entry.name), io::empty())
    } else if kind.is_symlink() {
        let target = fs::read_link(&entry.path)?;
        let text = target.to_str().ok_or_else(|| io::Error::other("the target of the link is not UTF-8"))?;
        check_link(&entry.name, text).map_err(io::Error::other)?;
        header.set_entry_type(EntryType::Symlink);
        header.set_mode(0o777);
        header.set_size(0);
        archive.append_link(&mut header, &entry.name, text)
    } else {
        let file = File::open(&entry.path)?;
        let size = entry.metadata.len();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(if executable(&entry.metadata) { 0o755 } else { 0o644 });
        header.set_size(size);
        // A file that grows meanwhile is cut; one that shrinks is an error, for the archive would be damaged.
        archive.append_data(&mut header, &entry.name, Exactly { inner: file, left: size })
    }
}

#[cfg(unix)]
fn executable(metadata: &Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & 0o111 != 0
}

/// Elsewhere nothing says it; what runs is then up to the file's name.
#[cfg(not(unix))]
fn executable(metadata: &Metadata) -> bool {
    metadata.is_file()
}

/// The digest of a file.
pub fn digest_of(file: &Path) -> io::Result<Sha256Hex> {
    let mut counted = Counted { inner: io::sink(), digest: Digest::new(&SHA256), size: 0 };
    io::copy(&mut File::open(file)?, &mut counted)?;
    let digest = counted.digest.finish();
    Ok(Sha256Hex::from_bytes(digest.as_ref().try_into().expect("SHA-256 has 32 bytes")))
}

/// Counts and digests what is written.
struct Counted<W> {
    inner: W,
    digest: Digest,
    size: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.digest.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Reads so many bytes, and fails when there are fewer.
struct Exactly<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Exactly<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.inner.read(&mut buffer[..wanted])?;
        if count == 0 && wanted > 0 {
            return Err(io::Error::other("it became shorter while it was packed"));
        }
        self.left -= count as u64;
        Ok(count)
    }
}

/// zstd's own default: packages are packed once and unpacked on every host, where the level costs nothing.
const COMPRESSION_LEVEL: i32 = 3;

#[cfg(test)]
mod tests;
