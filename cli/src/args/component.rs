//! `muster component`.

use super::OperatorArgs;
use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub enum ComponentCommand {
    /// Pack a folder with a component.toml, sign it and publish it
    Publish(ComponentPublishArgs),
    /// List published versions
    List(ComponentListArgs),
}

#[derive(Debug, Args)]
pub struct ComponentPublishArgs {
    /// Folder with component.toml and the files of one version
    pub dir: PathBuf,
    #[command(flatten)]
    pub operator: OperatorArgs,
}

#[derive(Debug, Args)]
pub struct ComponentListArgs {
    #[command(flatten)]
    pub operator: OperatorArgs,
}
