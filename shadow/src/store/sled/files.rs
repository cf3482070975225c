//! The files of the store: the lock, opening, and what has to be synced.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::super::StoreError;
use super::{SledSettings, SyncHook};

/// sled lets go of its file lock from a thread that may outlive the closed database by a moment.
const REOPEN_TRIES: u32 = 500;
const REOPEN_PAUSE: Duration = Duration::from_millis(10);

/// Held while the store is open. sled locks its data file too, but only after it has touched other files.
pub(super) struct Lock(#[expect(dead_code, reason = "holding the open file holds the lock")] File);

impl Lock {
    pub(super) fn take(dir: &Path) -> Result<Self, StoreError> {
        fs::create_dir_all(dir).map_err(|source| error("create", dir, source))?;
        let path = dir.join("lock");
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|source| error("open", &path, source))?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(StoreError::InUse { dir: dir.to_path_buf() }),
            Err(TryLockError::Error(source)) => Err(error("lock", &path, source)),
        }
    }
}

/// Opens sled under `dir`; a crash at any point leaves a folder that this opens again.
pub(super) fn open(dir: &Path, settings: &SledSettings) -> Result<::sled::Db, StoreError> {
    let path = engine_dir(dir);
    if !path.exists() {
        create(dir, &path, settings)?;
    }
    remove_unfinished_snapshots(&path)?;
    let db = open_engine(&path, settings)?;
    // Opening writes a snapshot and renames it into place.
    sync_tree(&path)?;
    Ok(db)
}

/// Makes a new sled folder aside and renames it: sled cannot open a folder whose making was cut short.
fn create(dir: &Path, path: &Path, settings: &SledSettings) -> Result<(), StoreError> {
    let draft = dir.join("sled.new");
    if draft.exists() {
        fs::remove_dir_all(&draft).map_err(|source| error("remove the unfinished", &draft, source))?;
    }
    drop(open_engine(&draft, settings)?);
    sync_tree(&draft)?;
    fs::rename(&draft, path).map_err(|source| error("rename into place", &draft, source))?;
    sync(dir)?;
    // The folder itself may be new as well.
    dir.parent().filter(|parent| !parent.as_os_str().is_empty()).map_or(Ok(()), sync)
}

/// A snapshot whose writing was cut short: sled would take it for the newest one and refuse to open.
fn remove_unfinished_snapshots(path: &Path) -> Result<(), StoreError> {
    for file in entries(path)? {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            fs::remove_file(&file).map_err(|source| error("remove the unfinished", &file, source))?;
        }
    }
    Ok(())
}

fn open_engine(path: &Path, settings: &SledSettings) -> Result<::sled::Db, StoreError> {
    let config = ::sled::Config::new()
        .path(path)
        .cache_capacity(settings.cache_bytes)
        .flush_every_ms(None)
        .use_compression(false);
    for _ in 0..REOPEN_TRIES {
        match config.open() {
            Err(::sled::Error::Io(source)) if source.to_string().contains("could not acquire lock") => {
                std::thread::sleep(REOPEN_PAUSE);
            }
            Err(source) => return Err(StoreError::Open { dir: path.to_path_buf(), source: Arc::new(source) }),
            Ok(db) => return Ok(db),
        }
    }
    Err(StoreError::InUse { dir: path.to_path_buf() })
}

/// Our own handle to the file that holds all data.
pub(super) struct DataFiles {
    db: File,
    blobs: PathBuf,
    hook: SyncHook,
}

impl DataFiles {
    pub(super) fn of(dir: &Path, hook: SyncHook) -> Result<Self, StoreError> {
        let path = engine_dir(dir).join("db");
        let db = File::options().read(true).write(true).open(&path).map_err(|source| error("open", &path, source))?;
        Ok(Self { db, blobs: engine_dir(dir).join("blobs"), hook })
    }

    /// Makes everything that sled has flushed survive a power cut.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        (self.hook)()?;
        self.sync_blobs()?;
        self.db.sync_data()
    }

    /// Records are kept too small for blobs, so this looks into an empty folder. Should a page become one after all,
    /// its file is synced before the answer like the rest.
    fn sync_blobs(&self) -> io::Result<()> {
        let mut found = false;
        for file in fs::read_dir(&self.blobs)? {
            match File::open(file?.path()) {
                Ok(file) => file.sync_all()?,
                // sled has removed it since the folder was read.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            found = true;
        }
        if found { File::open(&self.blobs)?.sync_all() } else { Ok(()) }
    }
}

fn engine_dir(dir: &Path) -> PathBuf {
    dir.join("sled")
}

/// Syncs every file and folder under `path`.
fn sync_tree(path: &Path) -> Result<(), StoreError> {
    for entry in entries(path)? {
        if entry.is_dir() { sync_tree(&entry)? } else { sync(&entry)? }
    }
    sync(path)
}

fn sync(path: &Path) -> Result<(), StoreError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(|source| error("sync", path, source))
}

fn entries(path: &Path) -> Result<Vec<PathBuf>, StoreError> {
    fs::read_dir(path)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect())
        .map_err(|source| error("list", path, source))
}

pub(super) fn error(action: &'static str, path: &Path, source: io::Error) -> StoreError {
    StoreError::Folder { action, path: path.to_path_buf(), source: Arc::new(source) }
}
