//! `muster ca`.

use super::OperatorArgs;
use clap::{Args, Subcommand, ValueEnum};
use muster_wire::admin::CaPhase;

#[derive(Debug, Subcommand)]
pub enum CaCommand {
    /// Show the authority, its rotation, and who would be left behind by the next phase
    Status(CaStatusArgs),
    /// Replace the authority, one phase at a time: announced, trust-both, switched, retired
    Rotate(CaRotateArgs),
}

#[derive(Debug, Args)]
pub struct CaStatusArgs {
    #[command(flatten)]
    pub operator: OperatorArgs,
}

#[derive(Debug, Args)]
pub struct CaRotateArgs {
    #[command(flatten)]
    pub operator: OperatorArgs,
    /// The phase to enter [default: the one that comes next]
    #[arg(long, value_name = "PHASE")]
    pub phase: Option<Phase>,
    /// Do not ask. Where there is no terminal, a named --phase says as much
    #[arg(long)]
    pub yes: bool,
    /// Enter it although connectors are left behind; those named need `muster connector approve` to come back
    #[arg(long)]
    pub force: bool,
}

/// A phase of the rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Phase {
    /// The new authority is made, and agents are told to trust it in addition
    Announced,
    /// The server lets in clients of both
    TrustBoth,
    /// Everything is issued by the new one; agents renew
    Switched,
    /// The old one is trusted no more
    Retired,
}

impl From<Phase> for CaPhase {
    fn from(phase: Phase) -> Self {
        match phase {
            Phase::Announced => Self::Announced,
            Phase::TrustBoth => Self::TrustBoth,
            Phase::Switched => Self::Switched,
            Phase::Retired => Self::Retired,
        }
    }
}
