//! `muster backup`: the fleet in one file.
//!
//! The keys are read from the data folder by whoever may read them; the server is asked for nothing but its records,
//! and leaves them in that folder too. Nothing secret crosses the network, and no operator certificate is enough to get
//! the fleet's keys.

use super::Run;
use crate::archive::{self, Manifest, Plan};
use crate::args::BackupArgs;
use crate::context::Context;
use crate::datadir::DataDir;
use crate::error::CliError;
use crate::output::Output;
use muster_certs::Vault;
use muster_model::component::path::check_inside;
use muster_shadow::store::{MemoryStore, SledSettings, SledStore, Store, StoreError, dump};
use muster_wire::admin::{SnapshotTaken, TakeSnapshot, Verb};
use muster_wire::time::Timestamp;
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::{NamedTempFile, TempPath};

/// A snapshot of the largest fleet on a slow disk.
const SNAPSHOT_PATIENCE: Duration = Duration::from_secs(600);

impl Run for BackupArgs {
    fn describe(&self) -> String {
        format!("back up the fleet to {}", self.file.display())
    }

    fn json(&self) -> bool {
        self.operator.json
    }

    async fn run(self) -> Result<Output, CliError> {
        let cx = Context::open(&self.operator)?;
        let folder = place(&self.file, cx.data.root())?;
        let records = records(&cx).await?;
        let (file, with_artifacts) = (self.file.clone(), !self.without_artifacts);
        let data = cx.data.clone();
        let written = tokio::task::spawn_blocking(move || write(&data, &records, with_artifacts, &folder, &file));
        let (manifest, size) =
            written.await.map_err(|error| CliError::local_because("writing the backup was given up", error))??;
        let file = self.file.display();
        let packages = if manifest.with_artifacts { "with" } else { "without" };
        let text = format!(
            "backed up fleet {} to {file}\n  records  {} as of {}\n  files    {}, {packages} the component packages\n  \
             size     {size} bytes\n\n\
             whoever has the file can join and steer the fleet: keep it as safe as {}\n\
             copy {} elsewhere as often as you can: after a restore it says who was revoked since",
            manifest.fleet,
            manifest.records,
            manifest.made_at,
            manifest.files.len(),
            cx.data.root().display(),
            cx.data.ledger().display(),
        );
        let value = json!({
            "file": self.file, "fleet": manifest.fleet, "made_at": manifest.made_at, "records": manifest.records,
            "files": manifest.files.len(), "with_artifacts": manifest.with_artifacts, "size": size,
        });
        Ok(Output::new(&value, text))
    }
}

/// The folder for a new file outside of the data folder.
fn place(file: &Path, data: &Path) -> Result<PathBuf, CliError> {
    let shown = file.display();
    if file.symlink_metadata().is_ok() {
        return Err(CliError::local(format!(
            "{shown} is there already; choose another name, for example with the date"
        )));
    }
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let real = |path: &Path| {
        path.canonicalize()
            .map_err(|error| CliError::local_because(format!("cannot use the folder {}", path.display()), error))
    };
    if real(folder)?.starts_with(real(data)?) {
        return Err(CliError::local(format!(
            "{shown} lies in the data folder and would be lost with it; choose a place outside of it"
        )));
    }
    Ok(folder.to_owned())
}

/// The records of the store at one moment.
struct Records {
    /// Removed when this is dropped.
    file: TempPath,
    entries: u64,
    at: Timestamp,
}

/// From the store itself when no server has it open, else from the server.
async fn records(cx: &Context) -> Result<Records, CliError> {
    let (data, at) = (cx.data.clone(), cx.clock.now());
    let own = tokio::task::spawn_blocking(move || stored(&data, at));
    match own.await.map_err(|error| CliError::local_because("reading the store was given up", error))?? {
        Some(records) => Ok(records),
        None => served(cx).await,
    }
}

/// The records of a store that no server has open; `None` when one has.
fn stored(data: &DataDir, at: Timestamp) -> Result<Option<Records>, CliError> {
    let is_new = !data.store().join("sled").exists();
    let opened: Result<Box<dyn Store>, StoreError> = if is_new {
        Ok(Box::new(MemoryStore::new()))
    } else {
        SledStore::open(&data.store(), &SledSettings::default()).map(|store| Box::new(store) as Box<dyn Store>)
    };
    let store = match opened {
        Ok(store) => store,
        Err(StoreError::InUse { .. }) => return Ok(None),
        Err(error) => return Err(CliError::local_because("cannot open the store", error)),
    };
    let file = NamedTempFile::new_in(data.root()).map_err(|error| {
        CliError::local_because(format!("cannot write into the data folder {}", data.root().display()), error)
    })?;
    let entries = dump::write(store.as_ref(), BufWriter::new(file.as_file()))
        .map_err(|error| CliError::local_because("cannot write the records down", error))?;
    Ok(Some(Records { file: file.into_temp_path(), entries, at }))
}

/// The records of a running server.
async fn served(cx: &Context) -> Result<Records, CliError> {
    let mut operator = cx.connect().await?;
    let taken: SnapshotTaken =
        operator.call_within(Verb::Snapshot, &TakeSnapshot::default(), SNAPSHOT_PATIENCE).await?;
    operator.close().await;
    let SnapshotTaken { file, entries, at, .. } = taken;
    let path = cx.data.root().join(&file);
    if check_inside(&file).is_err() || file.contains('/') || !path.is_file() {
        return Err(CliError::local(format!(
            "the server left its records in a file {file:?} that is not in {}; run this on the server's machine, with \
             the data folder that it serves",
            cx.data.root().display()
        )));
    }
    let file = TempPath::try_from_path(path)
        .map_err(|error| CliError::local_because("cannot take the server's records over", error))?;
    Ok(Records { file, entries, at })
}

fn write(
    data: &DataDir,
    records: &Records,
    with_artifacts: bool,
    folder: &Path,
    file: &Path,
) -> Result<(Manifest, u64), CliError> {
    let plan = Plan {
        data: data.root(),
        fleet: fleet(data)?,
        records: &records.file,
        entries: records.entries,
        made_at: records.at,
        with_artifacts,
    };
    let unwritable = |error| CliError::local_because(format!("cannot write {}", file.display()), error);
    // Private from its first byte on, and there under its name only when it is whole.
    let draft = NamedTempFile::new_in(folder).map_err(unwritable)?;
    let before = identities(data)?;
    let manifest = archive::write(&plan, BufWriter::new(draft.as_file()))?;
    if identities(data)? != before {
        return Err(CliError::local("a key or certificate was exchanged while the backup was written; run this again"));
    }
    draft.as_file().sync_all().map_err(unwritable)?;
    let size = draft.as_file().metadata().map_err(unwritable)?.len();
    draft.persist_noclobber(file).map_err(|error| unwritable(error.error))?;
    std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(unwritable)?;
    Ok((manifest, size))
}

/// The name of the fleet in its authority.
fn fleet(data: &DataDir) -> Result<String, CliError> {
    let vault = Vault::read(&data.authority())
        .map_err(|error| CliError::local_because("the authority is not usable", error))?;
    Ok(vault.active().fleet().to_string())
}

/// Every key and certificate, as it is now. A server that renews its own, or replaces the authority, exchanges several
/// of these files, and half of them in a backup would be worth nothing.
fn identities(data: &DataDir) -> Result<BTreeMap<PathBuf, Vec<u8>>, CliError> {
    let mut found = BTreeMap::new();
    for folder in [data.authority(), data.server_chain(), data.publisher_key(), data.operators()] {
        let folder = if folder.is_dir() { folder } else { folder.with_file_name("") };
        let failed = |error| CliError::local_because(format!("cannot read the folder {}", folder.display()), error);
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let content = fs::read(&path)
                .map_err(|error| CliError::local_because(format!("cannot read {}", path.display()), error))?;
            found.insert(path, content);
        }
    }
    Ok(found)
}
