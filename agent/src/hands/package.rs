//! Unpacks a package beside the running version: everything that is not a plain file, a folder or a link inside the
//! package is refused, and so is more than a version may hold.

use super::files;
use super::installed::{self, Installed};
use crate::places::Home;
use crate::platform;
use muster_model::component::path::{PathError, check_inside, check_link};
use muster_model::component::{INSTALLED_FILE, RECIPE_FILE, RESERVED_VERSIONS};
use muster_wire::component::{UpgradeDocument, signed_text};
use muster_wire::enrol::artifact_digest;
use muster_wire::limits::{ARTIFACT_BYTES_MAX, PACKAGE_FILES_MAX, UNPACKED_BYTES_MAX};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use tar::EntryType;
use tracing::warn;

/// How much a package may hold.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Bytes after unpacking.
    pub bytes: u64,
    /// Files, folders and links.
    pub entries: usize,
}

/// Why a package is refused; nothing of it is left.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// It cannot be read.
    #[error("the package is not a readable tar.zst: {0}")]
    Read(#[source] io::Error),
    /// A path leads out of it.
    #[error("the package is refused: {0}")]
    Path(#[from] PathError),
    /// A path is not text.
    #[error("the package is refused: a path is not UTF-8")]
    NotUtf8,
    /// Something that is neither file, folder nor symbolic link.
    #[error("the package is refused: {path:?} is a {kind}; only files, folders and symbolic links are unpacked")]
    Kind {
        /// Where.
        path: String,
        /// What.
        kind: &'static str,
    },
    /// A path goes through a file or a link.
    #[error("the package is refused: {0:?} lies below something that is no folder")]
    Through(String),
    /// Twice the same name, or the agent's own.
    #[error("the package is refused: {0:?} is there twice, or is a name that the agent needs")]
    Taken(String),
    /// Too much.
    #[error("the package is refused: it unpacks to more than {} MB or {} files", .0.bytes / 1024 / 1024, .0.entries)]
    TooMuch(Bounds),
    /// The recipe is missing or wrong.
    #[error("the package is refused: {0}")]
    Recipe(String),
    /// The disk is full.
    #[error("disk full: the package does not fit; free some space")]
    DiskFull,
    /// The host refused.
    #[error("cannot write {path}: {source}")]
    Write {
        /// Where.
        path: String,
        /// What the operating system said.
        source: io::Error,
    },
}

impl Default for Bounds {
    fn default() -> Self {
        Self { bytes: UNPACKED_BYTES_MAX, entries: PACKAGE_FILES_MAX }
    }
}

/// Checks what a document promises before anything is fetched: that the publisher signed it, and that it can be meant.
pub fn check_document(document: &UpgradeDocument, publisher: &muster_certs::PublisherPublicKey) -> Result<(), String> {
    if document.size == 0 || document.size > ARTIFACT_BYTES_MAX {
        return Err(format!("a package of {} bytes is not installed; 1 to {ARTIFACT_BYTES_MAX} are", document.size));
    }
    if RESERVED_VERSIONS.contains(&document.version.as_str()) {
        return Err(format!("version {} has the name of a folder that the agent needs", document.version));
    }
    if artifact_digest(&document.path).as_ref() != Some(&document.sha256) {
        return Err(format!("path {:?} is not that of the package with SHA-256 {}", document.path, document.sha256));
    }
    let signed = signed_text(&document.component, &document.version, &document.sha256, document.size);
    publisher.verify(signed.as_bytes(), &document.signature).map_err(|error| format!("the package is refused: {error}"))
}

/// Unpacks `part` to the folder of its version: wholly and durably, or not at all.
pub fn unpack(part: &Path, home: &Home, document: &UpgradeDocument, bounds: Bounds) -> Result<(), PackageError> {
    let folder = home.unpacking(&document.version);
    let unpacked = unpack_beside(part, &folder, document, bounds).and_then(|()| take_place(&folder, home, document));
    if unpacked.is_err()
        && let Err(error) = files::remove_tree(&folder)
    {
        warn!(%error, folder = %folder.display(), "a half unpacked package was not removed");
    }
    unpacked
}

fn unpack_beside(part: &Path, folder: &Path, document: &UpgradeDocument, bounds: Bounds) -> Result<(), PackageError> {
    files::remove_tree(folder).map_err(|error| write(folder, error))?;
    fs::create_dir_all(folder).map_err(|error| write(folder, error))?;
    let mut decoder = zstd::Decoder::new(File::open(part).map_err(PackageError::Read)?).map_err(PackageError::Read)?;
    // 8 MiB: what level 19 uses. A package must not decide how much memory the agent takes.
    decoder.window_log_max(23).map_err(PackageError::Read)?;
    let mut archive = tar::Archive::new(Bounded { inner: decoder, left: bounds.bytes });
    let mut count = 0;
    for entry in archive.entries().map_err(PackageError::Read)? {
        let mut entry = entry.map_err(|error| read(error, bounds))?;
        count += 1;
        if count > bounds.entries {
            return Err(PackageError::TooMuch(bounds));
        }
        unpack_entry(&mut entry, folder, bounds)?;
    }
    check_recipe(folder, document)?;
    let installed = Installed { package_sha256: document.sha256.clone(), soak_s: document.soak_s };
    files::replace_json(&folder.join(INSTALLED_FILE), &installed).map_err(|error| write(folder, error))?;
    platform::sync_file_system(folder).map_err(|error| write(folder, error))
}

fn unpack_entry<R: Read>(entry: &mut tar::Entry<'_, R>, folder: &Path, bounds: Bounds) -> Result<(), PackageError> {
    let path = text(&entry.path_bytes())?;
    let path = path.trim_end_matches('/');
    check_inside(path)?;
    if matches!(path, ".") {
        return Ok(());
    }
    if path.trim_start_matches("./") == INSTALLED_FILE {
        return Err(PackageError::Taken(path.to_owned()));
    }
    let target = folder.join(path);
    make_folders(folder, path, false)?;
    let taken = |error: io::Error| match error.kind() {
        io::ErrorKind::AlreadyExists => PackageError::Taken(path.to_owned()),
        _ => write(&target, error),
    };
    match entry.header().entry_type() {
        EntryType::Directory => make_folders(folder, path, true),
        EntryType::Regular | EntryType::Continuous => {
            let executable = entry.header().mode().map_err(PackageError::Read)? & 0o100 != 0;
            let mut file = platform::create_file(&target, executable).map_err(taken)?;
            copy(entry, &mut file, &target, bounds)
        }
        EntryType::Symlink => {
            let points_to = text(&entry.link_name_bytes().unwrap_or_default())?;
            check_link(path, &points_to)?;
            platform::make_link(&target, &points_to).map_err(taken)
        }
        other => Err(PackageError::Kind { path: path.to_owned(), kind: kind(other) }),
    }
}

/// Makes the folders above `path`, and `path` itself if it is one. Each must be a real folder: a link in the way
/// could lead anywhere.
fn make_folders(folder: &Path, path: &str, itself: bool) -> Result<(), PackageError> {
    let mut at = folder.to_owned();
    let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    let count = if itself { parts.len() } else { parts.len().saturating_sub(1) };
    for part in parts.iter().take(count) {
        at.push(part);
        match fs::symlink_metadata(&at) {
            Ok(facts) if facts.is_dir() => {}
            Ok(_) => return Err(PackageError::Through(path.to_owned())),
            Err(_) => fs::create_dir(&at).map_err(|error| write(&at, error))?,
        }
    }
    Ok(())
}

fn copy<R: Read>(
    entry: &mut tar::Entry<'_, R>,
    file: &mut File,
    target: &Path,
    bounds: Bounds,
) -> Result<(), PackageError> {
    let mut buffer = [0; 32 * 1024];
    loop {
        let length = entry.read(&mut buffer).map_err(|error| read(error, bounds))?;
        if length == 0 {
            return Ok(());
        }
        io::Write::write_all(file, &buffer[..length]).map_err(|error| write(target, error))?;
    }
}

fn check_recipe(folder: &Path, document: &UpgradeDocument) -> Result<(), PackageError> {
    let recipe = installed::recipe(folder).map_err(PackageError::Recipe)?;
    if recipe.name != document.component || recipe.version != document.version {
        return Err(PackageError::Recipe(format!(
            "its {RECIPE_FILE} says {} {}, the order says {} {}",
            recipe.name, recipe.version, document.component, document.version
        )));
    }
    let missing: Vec<&str> =
        recipe.programs().filter(|program| !platform::is_executable(&folder.join(program))).collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(PackageError::Recipe(format!("it holds no executable file {}", missing.join(", "))))
    }
}

/// Gives the folder its name. What an earlier order left under that name goes, unless it is the current version.
fn take_place(folder: &Path, home: &Home, document: &UpgradeDocument) -> Result<(), PackageError> {
    let target = home.version(&document.version);
    if installed::current(home).as_ref() == Some(&document.version) {
        return Err(PackageError::Recipe(format!(
            "version {} is running from another package; publish the new files under a new version",
            document.version
        )));
    }
    files::remove_tree(&target).map_err(|error| write(&target, error))?;
    fs::rename(folder, &target).map_err(|error| write(&target, error))?;
    platform::sync_parent(&target).map_err(|error| write(&target, error))
}

/// Ends with an error after a number of bytes: a small package may unpack to terabytes.
struct Bounded<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(length as u64).ok_or_else(|| io::Error::from(io::ErrorKind::FileTooLarge))?;
        Ok(length)
    }
}

fn read(error: io::Error, bounds: Bounds) -> PackageError {
    // The tar reader wraps what the reader below it said; the kind stays.
    if error.kind() == io::ErrorKind::FileTooLarge { PackageError::TooMuch(bounds) } else { PackageError::Read(error) }
}

fn write(path: &Path, source: io::Error) -> PackageError {
    if platform::is_disk_full(&source) {
        PackageError::DiskFull
    } else {
        PackageError::Write { path: path.display().to_string(), source }
    }
}

fn text(bytes: &[u8]) -> Result<String, PackageError> {
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| PackageError::NotUtf8)
}

fn kind(kind: EntryType) -> &'static str {
    match kind {
        EntryType::Link => "hard link",
        EntryType::Char | EntryType::Block => "device",
        EntryType::Fifo => "pipe",
        _ => "thing of an unknown kind",
    }
}

#[cfg(test)]
mod tests;
