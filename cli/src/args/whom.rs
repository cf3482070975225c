//! Which connectors a command is about: the same words in every command.

use clap::{ArgGroup, Args};
use muster_wire::admin::Selector;
use muster_wire::id::ThingName;

/// What a listing is cut down to.
#[derive(Clone, Debug, Args)]
pub struct MeantArgs {
    /// Only for connectors that this selector means now, for example pool=NAME,!site=NAME or name=web-*,status=offline|never
    #[arg(long, value_name = "SELECTOR")]
    pub to: Option<Selector>,
}

/// What a change is made to: one connector, or many after a question.
#[derive(Clone, Debug, Args)]
#[command(group = ArgGroup::new("whom").required(true).args(["name", "to"]))]
pub struct WhomArgs {
    /// Name of the connector
    pub name: Option<ThingName>,
    /// Instead of one: all that this selector means now, for example pool=NAME or name=web-*; they are named, and you are
    /// asked
    #[arg(long, value_name = "SELECTOR")]
    pub to: Option<Selector>,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
}
