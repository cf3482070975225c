//! `muster upgrade`, `muster actions` and `muster watch`.

use super::{MeantArgs, OperatorArgs, at_least_one};
use clap::Args;
use muster_wire::admin::Selector;
use muster_wire::id::{ComponentName, TargetId, ThingName, Version};
use std::num::NonZeroU32;

#[derive(Debug, Args)]
pub struct UpgradeArgs {
    /// Component
    pub component: ComponentName,
    /// Version that shall run
    pub version: Version,
    /// Which connectors, now and from now on, for example all, pool=NAME or name=web-*,label.env=prod
    #[arg(long, value_name = "SELECTOR")]
    pub to: Selector,
    /// Offer the version also where it failed before
    #[arg(long)]
    pub again: bool,
    /// Follow the actions until all have ended; done only if all are confirmed
    #[arg(long)]
    pub wait: bool,
    /// How long to wait
    #[arg(long, value_name = "SECONDS", default_value = "600", requires = "wait", value_parser = at_least_one)]
    pub timeout: NonZeroU32,
    #[command(flatten)]
    pub operator: OperatorArgs,
}

#[derive(Debug, Args)]
pub struct ActionsArgs {
    /// Only of this connector
    #[arg(long, value_name = "NAME")]
    pub connector: Option<ThingName>,
    /// Only of this upgrade command
    #[arg(long, value_name = "TARGET")]
    pub target: Option<TargetId>,
    #[command(flatten)]
    pub meant: MeantArgs,
    #[command(flatten)]
    pub operator: OperatorArgs,
}

#[derive(Debug, Args)]
pub struct WatchArgs {
    /// Stop after so many messages
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub count: Option<NonZeroU32>,
    /// Stop after so many seconds
    #[arg(long, value_name = "S", value_parser = at_least_one)]
    pub seconds: Option<NonZeroU32>,
    #[command(flatten)]
    pub meant: MeantArgs,
    #[command(flatten)]
    pub operator: OperatorArgs,
}
