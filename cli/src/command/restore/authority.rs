//! Whether hosts would believe the authority in a backup: the ledger knows which one the fleet had last.

use crate::archive::Unpacked;
use crate::args::RestoreArgs;
use crate::datadir::DataDir;
use crate::error::CliError;
use muster_certs::Vault;
use muster_shadow::store::Ledger;
use muster_wire::admin::CaPhase;
use std::fmt::Write;

/// What to do about the authority after the restore; nothing when it is the one that the fleet had last.
///
/// Errors: `Local` when the backup cannot issue what hosts believe, unless that is wanted.
pub(super) fn check(args: &RestoreArgs, unpacked: &Unpacked, ledger: Option<&Ledger>) -> Result<String, CliError> {
    // Without a ledger, or with one of an earlier version, nobody knows.
    let Some(last) = ledger.and_then(Ledger::authority) else { return Ok(String::new()) };
    let unusable = |error| CliError::local_because("the authority in the backup is not usable; use another one", error);
    let vault = Vault::read(&DataDir::at(&unpacked.data).authority()).map_err(unusable)?;
    let own = vault.active().id().map_err(|error| unusable(error.into()))?;
    let rotation = vault.rotation();
    // The ledger may be a copy from before the backup.
    if own == last.issues
        || rotation.as_ref().is_some_and(|rotation| own == rotation.to && last.issues == rotation.from)
    {
        return Ok(String::new());
    }
    if let Some(rotation) = rotation.filter(|rotation| rotation.to == last.issues) {
        return Ok(format!(
            "\nthe fleet's authority was replaced after the backup, which is in the phase {} and has the key of the one that \
             follows. Hosts come back after\n  muster ca rotate --phase {}\n",
            rotation.phase,
            CaPhase::Switched
        ));
    }
    let since = last.since.map(|at| format!(" (rotation: {} since {at})", last.phase.unwrap_or(CaPhase::Retired)));
    let mut what = format!(
        "the backup {} is of the authority {own}, which was replaced by {}{}; its key is not in it, and hosts have \
         certificates of that one",
        args.file.display(),
        last.issues,
        since.unwrap_or_default()
    );
    if last.phase == Some(CaPhase::Retired) {
        what.push_str(" and trust no other");
    }
    let ways = "if the folder `ca` of the fleet's last data folder is left, put it in the place of the restored one and run \
                `muster cert renew`; else every host needs a new script (`muster connector add NAME --renew`)";
    if args.old_authority {
        let mut text = String::new();
        let _ = write!(text, "\n{what}.\nBefore the start: {ways}\n");
        return Ok(text);
    }
    Err(CliError::local(format!("{what}. Use a backup that was made since, or add --old-authority, and then: {ways}")))
}
