//! What a component writes to its standard output and error: one file, cut when it grows large.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;

/// At this size the log is copied to `previous.log` and begun anew: with both, a component costs 16 MiB at most
/// between two looks.
const LOG_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Opens the log for appending. Appending matters: after a cut the component goes on at the new end by itself.
pub fn open(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    OpenOptions::new().append(true).create(true).open(path)
}

/// Cuts the log when it is too large. The component holds the file open, so it is emptied, not renamed.
pub fn rotate(path: &Path) -> io::Result<bool> {
    rotate_at(path, LOG_BYTES_MAX)
}

fn rotate_at(path: &Path, max: u64) -> io::Result<bool> {
    if fs::metadata(path).map(|facts| facts.len()).unwrap_or(0) <= max {
        return Ok(false);
    }
    fs::copy(path, path.with_file_name("previous.log"))?;
    OpenOptions::new().write(true).open(path)?.set_len(0)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::io::Write;

    #[test]
    fn a_writer_goes_on_at_the_new_end_after_a_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log").join("current.log");
        let mut log = open(&path).unwrap();
        log.write_all(b"12345").unwrap();
        assert!(!rotate_at(&path, 5).unwrap());
        log.write_all(b"6").unwrap();
        assert!(rotate_at(&path, 5).unwrap());
        log.write_all(b"7").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"7");
        assert_eq!(fs::read(path.with_file_name("previous.log")).unwrap(), b"123456");
    }
}
