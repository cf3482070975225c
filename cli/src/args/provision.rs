//! `muster template` and `muster claim`.

use super::OperatorArgs;
use clap::{Args, Subcommand};
use muster_wire::id::TemplateName;
use muster_wire::provision::ClaimName;
use std::num::NonZeroU32;
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub enum ProvisioningTemplateCommand {
    /// Make a template: what devices with a claim become
    Create(ProvisioningTemplateCreateArgs),
    /// List the templates
    List(ProvisioningTemplateListArgs),
    /// Show a template with its document
    Show(ProvisioningTemplateShowArgs),
    /// Delete a template and revoke its claims; connectors that it made stay
    Delete(ProvisioningTemplateDeleteArgs),
}

#[derive(Debug, Args)]
pub struct ProvisioningTemplateCreateArgs {
    /// Name of the template
    pub name: TemplateName,
    /// File with the document: TOML in the form of docs/provisioning.md, or JSON in that form or in that of AWS IoT Core
    #[arg(long, value_name = "FILE")]
    pub file: PathBuf,
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,
    /// Address that is asked before a device is registered, https:// or http://
    #[arg(long, value_name = "URL")]
    pub hook: Option<String>,
    /// Change the template of this name; its claims stay good
    #[arg(long)]
    pub replace: bool,
    #[command(flatten)]
    pub operator: OperatorArgs,
}

#[derive(Debug, Args)]
pub struct ProvisioningTemplateListArgs {
    #[command(flatten)]
    pub operator: OperatorArgs,
}

#[derive(Debug, Args)]
pub struct ProvisioningTemplateShowArgs {
    /// The template
    pub name: TemplateName,
    #[command(flatten)]
    pub operator: OperatorArgs,
}

#[derive(Debug, Args)]
pub struct ProvisioningTemplateDeleteArgs {
    /// The template
    pub name: TemplateName,
    #[command(flatten)]
    pub operator: OperatorArgs,
}

#[derive(Debug, Subcommand)]
pub enum ClaimCommand {
    /// Make a claim certificate for devices: with it they can become connectors of a template, and nothing else
    Create(ClaimCreateArgs),
    /// List claims
    List(ClaimListArgs),
    /// Take back a claim: whoever shows it is refused at once and for good
    Revoke(ClaimRevokeArgs),
}

#[derive(Debug, Args)]
pub struct ClaimCreateArgs {
    /// The template that it is for
    pub template: TemplateName,
    /// Folder for claim.crt, claim.key and ca.crt
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Validity [default: 365]
    #[arg(long, value_name = "DAYS", conflicts_with = "temporary")]
    pub days: Option<NonZeroU32>,
    /// Valid for five minutes, for somebody who sets up one device by hand
    #[arg(long)]
    pub temporary: bool,
    #[command(flatten)]
    pub operator: OperatorArgs,
}

#[derive(Debug, Args)]
pub struct ClaimListArgs {
    /// Only those of this template
    #[arg(long, value_name = "TEMPLATE")]
    pub template: Option<TemplateName>,
    #[command(flatten)]
    pub operator: OperatorArgs,
}

#[derive(Debug, Args)]
pub struct ClaimRevokeArgs {
    /// The claim, as `muster claim list` shows it: TEMPLATE:ID
    pub claim: ClaimName,
    /// Why; for the listing and the log
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    #[command(flatten)]
    pub operator: OperatorArgs,
}
