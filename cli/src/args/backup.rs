//! `muster backup` and `muster restore`.

use super::OperatorArgs;
use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(
    after_help = "Run it on the server's machine, as the user that owns the data folder: the fleet's keys are read \
                        from there and never sent. The server may run. Whoever has the file can join and steer the \
                        fleet: keep it as safe as the data folder."
)]
pub struct BackupArgs {
    /// File to write, a tar.zst readable by its owner only; it must not exist
    pub file: PathBuf,
    /// Leave out the component packages; after a restore they must be published again or copied back
    #[arg(long)]
    pub without_artifacts: bool,
    #[command(flatten)]
    pub operator: OperatorArgs,
}

#[derive(Debug, Args)]
#[command(
    after_help = "A restore takes nothing back to life: every token is dead, and the ledger (ledger.log in the data \
                        folder that the fleet lived in last, or a copy of it) says which certificates were revoked and \
                        which connectors removed after the backup. See docs/backup.md."
)]
pub struct RestoreArgs {
    /// A file that `muster backup` wrote
    pub file: PathBuf,
    /// Data folder to make
    #[arg(long, env = "MUSTER_DATA", hide_env_values = true, value_name = "DIR", required_unless_present = "verify")]
    pub data: Option<PathBuf>,
    /// Only check the file: every digest, every record, every key against its certificate
    #[arg(long)]
    pub verify: bool,
    /// Replace the fleet in the data folder, which is moved aside; its ledger is used
    #[arg(long)]
    pub force: bool,
    /// The ledger of the fleet, as it was last
    #[arg(long, value_name = "FILE", conflicts_with = "without_ledger")]
    pub ledger: Option<PathBuf>,
    /// The ledger is lost: restore with every connector disabled, to be enabled one by one
    #[arg(long)]
    pub without_ledger: bool,
    /// Restore although the fleet's authority was replaced after the backup: no host comes back by itself
    #[arg(long)]
    pub old_authority: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
