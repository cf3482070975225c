//! Snapshots for backups: all records in a file of the data folder, for whoever may read that folder.
//!
//! The keys of the fleet lie in the same folder and never cross the network; so does the snapshot. Things are served
//! while it is taken; operators and enrolments wait for it.

use super::{FleetWorker, Refused};
use crate::service::ServiceError;
use crate::store::dump::{self, DumpError};
use muster_runtime::ids::random_hex;
use muster_wire::admin::SnapshotTaken;
use muster_wire::id::PersonName;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter};
use std::path::Path;
use tracing::info;

/// Begin and end of the names of snapshots.
const BEGIN: &str = "snapshot-";
const END: &str = ".records";

impl FleetWorker {
    pub(super) fn take_snapshot(&self, by: &PersonName) -> Result<SnapshotTaken, Refused> {
        let dir = &self.shared.config.data_dir;
        // One that nobody took away; its backup was given up.
        remove_old(dir).map_err(DumpError::Write).map_err(ServiceError::from)?;
        let file = format!("{BEGIN}{}{END}", random_hex::<8>());
        let path = dir.join(&file);
        let written = create(&path)
            .map_err(DumpError::Write)
            .and_then(|out| dump::write(self.shared.store.as_ref(), BufWriter::new(out)))
            .and_then(|entries| Ok((entries, fs::metadata(&path).map_err(DumpError::Write)?.len())));
        match written {
            Ok((entries, bytes)) => {
                info!(%by, file, entries, bytes, "snapshot taken");
                Ok(SnapshotTaken { file, entries, bytes, at: self.shared.clock.now() })
            }
            Err(error) => {
                // Half a snapshot is of no use; the error says why there is none.
                let _ = fs::remove_file(&path);
                Err(ServiceError::from(error).into())
            }
        }
    }
}

/// For its owner only: it holds hashes of tokens, and everything that hosts reported.
fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn remove_old(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| name.starts_with(BEGIN) && name.ends_with(END)) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
