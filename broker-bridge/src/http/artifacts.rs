//! Where artifacts lie: `dir/aa/<digest>`, written whole or not at all.

use muster_runtime::ids::random_hex;
use muster_wire::id::Sha256Hex;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use tokio::io::AsyncWriteExt;

/// Begin of the names of unfinished uploads. No digest begins with a dot.
const UNFINISHED: &str = ".upload-";

/// A folder of artifacts.
#[derive(Clone, Debug)]
pub(crate) struct ArtifactStore {
    dir: PathBuf,
}

/// An upload on its way. Dropped before [`Upload::finish`] it leaves nothing behind.
pub(crate) struct Upload {
    file: tokio::fs::File,
    temporary: Option<PathBuf>,
    target: PathBuf,
}

impl ArtifactStore {
    /// Opens a folder, makes it if need be, and removes what unfinished uploads left.
    pub(crate) fn open(dir: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&dir)?;
        for entry in fs::read_dir(&dir)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(Self { dir })
    }

    /// Where the artifact with this digest is, or would be.
    pub(crate) fn path_of(&self, digest: &Sha256Hex) -> PathBuf {
        let digest = digest.to_string();
        self.dir.join(&digest[..2]).join(&digest)
    }

    /// Whether it is there.
    pub(crate) async fn has(&self, digest: &Sha256Hex) -> io::Result<bool> {
        tokio::fs::try_exists(self.path_of(digest)).await
    }

    /// Begins to write the artifact with this digest.
    pub(crate) async fn begin(&self, digest: &Sha256Hex) -> io::Result<Upload> {
        let temporary = self.dir.join(format!("{UNFINISHED}{}", random_hex::<8>()));
        let file = tokio::fs::File::options().write(true).create_new(true).open(&temporary).await?;
        Ok(Upload { file, temporary: Some(temporary), target: self.path_of(digest) })
    }
}

impl Upload {
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes).await
    }

    /// Puts the artifact in its place, durably. The caller has checked the digest.
    pub(crate) async fn finish(mut self) -> io::Result<()> {
        self.file.flush().await?;
        self.file.sync_all().await?;
        let Some(temporary) = self.temporary.take() else { return Ok(()) };
        let target = self.target.clone();
        let placed = tokio::task::spawn_blocking(move || {
            let placed = place(&temporary, &target);
            if placed.is_err() {
                // The error that is reported is the first one.
                let _ = fs::remove_file(&temporary);
            }
            placed
        });
        placed.await.map_err(io::Error::other)?
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            // What stays is removed at the next start.
            let _ = fs::remove_file(temporary);
        }
    }
}

fn place(temporary: &Path, target: &Path) -> io::Result<()> {
    let folder = target.parent().ok_or(io::ErrorKind::InvalidInput)?;
    if !folder.try_exists()? {
        fs::create_dir_all(folder)?;
        if let Some(above) = folder.parent() {
            fs::File::open(above)?.sync_all()?;
        }
    }
    fs::rename(temporary, target)?;
    // A name survives a power cut only when its folder was synced.
    fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn an_upload_is_there_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let store = ArtifactStore::open(dir.path().join("artifacts")).unwrap();
        let digest = Sha256Hex::from_bytes(&[0xab; 32]);
        let mut upload = store.begin(&digest).await.unwrap();
        upload.write(b"half").await.unwrap();
        drop(upload);
        assert!(!store.has(&digest).await.unwrap());
        assert_eq!(fs::read_dir(&store.dir).unwrap().count(), 0, "nothing is left");

        let mut upload = store.begin(&digest).await.unwrap();
        upload.write(b"whole").await.unwrap();
        upload.finish().await.unwrap();
        assert_eq!(fs::read(store.dir.join("ab").join(digest.to_string())).unwrap(), b"whole");
        assert!(store.has(&digest).await.unwrap());
    }

    #[test]
    fn what_a_killed_server_left_is_removed_at_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(".upload-1"), b"x").unwrap();
        fs::write(dir.path().join("kept"), b"x").unwrap();
        ArtifactStore::open(dir.path().to_owned()).unwrap();
        assert!(!dir.path().join(".upload-1").exists() && dir.path().join("kept").exists());
    }
}
