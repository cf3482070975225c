//! `muster restore`: a data folder from a backup, in which nothing is alive that had ended.
//!
//! ```text
//! unpack beside the data folder ─▶ check everything ─▶ load the store ─▶ the ledger has the last word
//!                                                     ─▶ move the old folder aside ─▶ rename into place
//! ```
//!
//! Until the last step the old folder is untouched; a crash before it leaves a folder `DIR.restoring-…` to be deleted,
//! a crash between the last two an old folder under its new name.

mod authority;
mod checks;

use super::Run;
use crate::archive::{Unpacked, sync_folders, unpack};
use crate::args::RestoreArgs;
use crate::datadir::{DataDir, private_folder};
use crate::error::CliError;
use crate::output::Output;
use checks::{Checked, check};
use muster_runtime::clock::Clock;
use muster_runtime::ids::random_hex;
use muster_shadow::backup::{self, Mended};
use muster_shadow::store::{Ledger, Ledgered, SledSettings, SledStore, StoreError, dump};
use muster_wire::time::Timestamp;
use serde_json::json;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

impl Run for RestoreArgs {
    fn describe(&self) -> String {
        let verb = if self.verify { "verify" } else { "restore" };
        format!("{verb} the backup {}", self.file.display())
    }

    fn json(&self) -> bool {
        self.json
    }

    async fn run(self) -> Result<Output, CliError> {
        let done = tokio::task::spawn_blocking(move || if self.verify { verify(&self) } else { restore(&self) });
        done.await.map_err(|error| CliError::local_because("the restore was given up", error))?
    }
}

fn verify(args: &RestoreArgs) -> Result<Output, CliError> {
    let folder =
        tempfile::tempdir().map_err(|error| CliError::local_because("cannot make a folder to unpack in", error))?;
    let unpacked = unpack(&args.file, folder.path(), false)?;
    let checked = check(&unpacked)?;
    let ledger = match (&args.ledger, &args.data) {
        (Some(file), _) => Some(read_ledger(file)?),
        // A ledger that happens to be there counts if it is this fleet's.
        (None, Some(data)) => Ledger::read(&DataDir::at(data).ledger()).ok(),
        (None, None) => None,
    };
    let before = known_ledger(&unpacked)?;
    let ledger = ledger.filter(|ledger| before.as_ref().is_none_or(|before| before.id == ledger.id));
    let advice = authority::check(args, &unpacked, ledger.as_ref())?;
    let text = format!("the backup {} is good\n{}{advice}", args.file.display(), facts(&unpacked, &checked));
    Ok(Output::new(&json!({ "backup": unpacked.manifest, "checked": checked, "advice": advice.trim() }), text))
}

fn restore(args: &RestoreArgs) -> Result<Output, CliError> {
    let (target, now) = (target(args)?, Clock::system().now());
    let old = occupied(target, args.force)?;
    let ledger = ledger(args, target, old)?;
    let draft = draft(target)?;
    let unpacked = unpack(&args.file, draft.path(), true)?;
    let checked = check(&unpacked)?;
    if let (Some(ledger), Some(before)) = (&ledger, known_ledger(&unpacked)?)
        && ledger.id != before.id
    {
        return Err(CliError::local(format!(
            "the ledger is that of another fleet than the backup {}; name the one of this fleet with --ledger FILE",
            args.file.display()
        )));
    }
    let advice = authority::check(args, &unpacked, ledger.as_ref())?;
    let mended = fill(&unpacked, ledger.as_ref(), now)?;
    let unwritable = |error| CliError::local_because(format!("cannot put the fleet into {}", target.display()), error);
    sync_folders(&unpacked.data).map_err(unwritable)?;
    let aside = old.then(|| free_name(target, now.epoch_seconds()));
    if let Some(aside) = &aside {
        fs::rename(target, aside).map_err(unwritable)?;
    }
    fs::rename(&unpacked.data, target).map_err(unwritable)?;
    File::open(above(target)).and_then(|folder| folder.sync_all()).map_err(unwritable)?;
    let text = format!(
        "restored fleet {} into {}\n{}{}{advice}",
        unpacked.manifest.fleet,
        target.display(),
        facts(&unpacked, &checked),
        next(target, &mended, aside.as_deref()),
    );
    let value = json!({
        "data": target, "backup": unpacked.manifest, "checked": checked, "moved_aside": aside,
        "tokens_dropped": mended.tokens, "certificates_from_ledger": mended.certificates,
        "connectors_from_ledger": mended.connectors, "connectors_disabled": mended.disabled, "access_keys_changed": mended.keys,
        "claims_revoked": mended.claims, "advice": advice.trim(),
    });
    Ok(Output::new(&value, text))
}

/// Where the fleet that was there is moved: a name that no earlier restore of the same second took.
fn free_name(target: &Path, seconds: i64) -> PathBuf {
    let first = beside(target, &format!("before-restore-{seconds}"));
    let further = (2_u32..).map(|number| beside(target, &format!("before-restore-{seconds}-{number}")));
    std::iter::once(first.clone()).chain(further).find(|path| !path.exists()).unwrap_or(first)
}

/// Without it the command line is refused, unless the backup is only to be checked.
fn target(args: &RestoreArgs) -> Result<&Path, CliError> {
    args.data.as_deref().ok_or_else(|| CliError::local("name the data folder to make with --data"))
}

/// Whether there is a fleet to be moved aside.
fn occupied(target: &Path, force: bool) -> Result<bool, CliError> {
    let shown = target.display();
    let mut entries = match fs::read_dir(target) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(CliError::local_because(format!("cannot look into {shown}"), error)),
    };
    if entries.next().is_none() {
        // An empty folder makes way by itself when another one is renamed over it.
        return Ok(false);
    }
    if !force {
        return Err(CliError::local(format!(
            "{shown} is not empty; choose another folder, or add --force, which moves it aside and uses its ledger"
        )));
    }
    let store = DataDir::at(target).store();
    if store.join("sled").exists() {
        match SledStore::open(&store, &SledSettings::default()) {
            Ok(_) => {}
            Err(StoreError::InUse { .. }) => {
                return Err(CliError::local(format!("a server runs on {shown}; stop it first")));
            }
            // A store that cannot be opened is a reason to restore.
            Err(_) => {}
        }
    }
    Ok(true)
}

/// The last word on who may come in: the file that was named, else that of the folder which is replaced.
fn ledger(args: &RestoreArgs, target: &Path, old: bool) -> Result<Option<Ledger>, CliError> {
    let own = DataDir::at(target).ledger();
    let path = match &args.ledger {
        Some(file) => file.clone(),
        None if args.without_ledger => return Ok(None),
        None if old && own.is_file() => own,
        None => {
            return Err(CliError::local(
                "without the fleet's ledger nobody knows which certificates were revoked and which connectors removed \
                 after the backup; name the latest copy of ledger.log with --ledger FILE, or, if it is lost, add \
                 --without-ledger: then every connector is disabled until `muster connector enable NAME`",
            ));
        }
    };
    read_ledger(&path).map(Some)
}

fn read_ledger(path: &Path) -> Result<Ledger, CliError> {
    Ledger::read(path)
        .map_err(|error| CliError::local_because(format!("cannot use the ledger {}", path.display()), error))
}

/// The ledger as it was when the backup was made; a fleet that never served has none.
fn known_ledger(unpacked: &Unpacked) -> Result<Option<Ledger>, CliError> {
    let path = DataDir::at(&unpacked.data).ledger();
    if !path.is_file() {
        return Ok(None);
    }
    Ledger::read(&path).map(Some).map_err(|error| CliError::local_because("cannot use the ledger in the backup", error))
}

/// A private folder beside the target, on the same disk. Removed when it is dropped.
fn draft(target: &Path) -> Result<TempDir, CliError> {
    let name = beside(target, "restoring-");
    let prefix = name.file_name().unwrap_or_default().to_owned();
    private_parent(target)?;
    tempfile::Builder::new()
        .prefix(&prefix)
        .tempdir_in(above(target))
        .map_err(|error| CliError::local_because(format!("cannot make a folder beside {}", target.display()), error))
}

fn private_parent(target: &Path) -> Result<(), CliError> {
    let above = above(target);
    if above.exists() {
        return Ok(());
    }
    private_folder(&above)
        .map_err(|error| CliError::local_because(format!("cannot make the folder {}", above.display()), error))
}

fn above(target: &Path) -> PathBuf {
    target.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned()
}

/// `DIR.what`, beside `DIR`.
fn beside(target: &Path, what: &str) -> PathBuf {
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{what}"));
    above(target).join(name)
}

/// Loads the store of the unpacked data folder and makes it fit for use.
fn fill(unpacked: &Unpacked, ledger: Option<&Ledger>, now: Timestamp) -> Result<Mended, CliError> {
    let data = DataDir::at(&unpacked.data);
    let failed = |what: &'static str| move |error: crate::error::Cause| CliError::local_because(what, error);
    let store = SledStore::open(&data.store(), &SledSettings::default())
        .map_err(|error| failed("cannot make the store")(error.into()))?;
    let records = File::open(&unpacked.records).map_err(|error| failed("cannot read the records")(error.into()))?;
    dump::load(BufReader::new(records), &store).map_err(|error| failed("cannot load the records")(error.into()))?;
    let fresh_id = random_hex::<16>();
    let store = Ledgered::open(store, &data.ledger(), &fresh_id)
        .map_err(|error| failed("cannot continue the ledger")(error.into()))?;
    backup::mend(&store, ledger, now).map_err(|error| failed("cannot make the store fit for use")(error.into()))
}

fn facts(unpacked: &Unpacked, checked: &Checked) -> String {
    let manifest = &unpacked.manifest;
    let packages = if manifest.with_artifacts { "all in it" } else { "not in it" };
    format!(
        "  fleet     {}\n  records   {} as of {}, all readable\n  files     {}, none damaged\n  keys      {}, each fits its \
         certificate\n  packages  {} published versions, {packages}\n",
        manifest.fleet,
        manifest.records,
        manifest.made_at,
        manifest.files.len(),
        checked.keys,
        checked.packages,
    )
}

fn next(target: &Path, mended: &Mended, aside: Option<&Path>) -> String {
    let mut text = String::new();
    let data = target.display();
    if let Some(aside) = aside {
        text.push_str(&format!("  before    the old folder is now {}\n", aside.display()));
    }
    if mended.disabled > 0 {
        text.push_str(&format!(
            "\n{} connectors are disabled: nobody knows what was revoked after the backup. Look at each one, then\n  \
             muster connector enable NAME --data {data}\n\
             revoke again whatever else was revoked since: certificates of operators, observers and devices\n",
            mended.disabled
        ));
    } else {
        text.push_str(&format!(
            "  ledger    {} certificates and {} connectors were as it says, not as the backup\n",
            mended.certificates, mended.connectors
        ));
    }
    if mended.keys > 0 {
        text.push_str(&format!("  keys      {} access keys are revoked, or were as the ledger says\n", mended.keys));
    }
    if mended.claims > 0 {
        text.push_str(&format!(
            "{} claims are revoked for the same reason; `muster claim create` makes new ones\n",
            mended.claims
        ));
    }
    text.push_str(&format!(
        "\nevery enrolment token is dead ({} were in the backup); `muster connector add NAME --renew` makes a new one\n\
         next:\n  muster serve --data {data}\n",
        mended.tokens
    ));
    text
}
