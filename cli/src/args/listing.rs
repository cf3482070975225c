//! What `muster connector list` shows of which connectors, and `muster connector edit`.

use super::{OperatorArgs, WhomArgs};
use clap::{ArgGroup, Args, ValueEnum};
use muster_wire::admin::{Selector, SelectorError};
use muster_wire::id::{PoolName, SiteName};

#[derive(Debug, Args)]
pub struct ListingArgs {
    /// Only with this status: online, stale, offline, never, disabled, quarantined; several with commas
    #[arg(long, value_name = "STATUS", value_delimiter = ',')]
    pub status: Vec<String>,
    /// Only with this work: healthy, degraded, failed, unknown; several with commas
    #[arg(long, value_name = "WORK", value_delimiter = ',')]
    pub work: Vec<String>,
    /// Only of this pool
    #[arg(long, value_name = "POOL", conflicts_with = "unassigned")]
    pub pool: Option<PoolName>,
    /// Only of this site
    #[arg(long, value_name = "SITE")]
    pub site: Option<SiteName>,
    /// Only of no pool
    #[arg(long)]
    pub unassigned: bool,
    /// Only where the agent or a component is not the latest for the connector
    #[arg(long)]
    pub outdated: bool,
    /// Only with this component, in any version or in one; several times for one of them
    #[arg(long, value_name = "NAME[=VERSION]")]
    pub component: Vec<String>,
    /// Sort by these columns; - in front turns the order round, for example status,-last-sync
    #[arg(long, value_name = "COLUMN", value_delimiter = ',', allow_hyphen_values = true)]
    pub sort: Vec<SortKey>,
    /// Show these columns
    #[arg(long, value_enum, value_name = "COLUMN", value_delimiter = ',', conflicts_with = "wide")]
    pub columns: Vec<Column>,
    /// Show every column
    #[arg(long)]
    pub wide: bool,
}

impl ListingArgs {
    /// The filters as one selector; `None` when there is none.
    ///
    /// Errors: a value that is none.
    pub fn selector(&self) -> Result<Option<Selector>, SelectorError> {
        let mut terms = Vec::new();
        let mut term = |key: &str, values: &[String]| {
            if !values.is_empty() {
                terms.push(format!("{key}={}", values.join("|")));
            }
        };
        term("status", &self.status);
        term("work", &self.work);
        term("pool", &self.pool.iter().map(ToString::to_string).collect::<Vec<_>>());
        term("site", &self.site.iter().map(ToString::to_string).collect::<Vec<_>>());
        term("component", &self.component.iter().map(|one| one.replacen('=', "@", 1)).collect::<Vec<_>>());
        let flags = [(self.unassigned, "unassigned"), (self.outdated, "outdated")];
        terms.extend(flags.iter().filter(|(given, _)| *given).map(|(_, word)| (*word).to_owned()));
        if terms.is_empty() { Ok(None) } else { terms.join(",").parse().map(Some) }
    }
}

/// A column of a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Column {
    Name,
    Status,
    Since,
    Work,
    WorkSince,
    Pool,
    Site,
    Agent,
    LastSync,
    Registered,
    Host,
    Addresses,
    Os,
    Labels,
    Description,
    Components,
}

/// A column to sort by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SortKey {
    /// The column.
    pub column: Column,
    /// Largest first.
    pub reversed: bool,
}

impl std::str::FromStr for SortKey {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (reversed, name) = match text.strip_prefix('-') {
            Some(name) => (true, name),
            None => (false, text),
        };
        let column = Column::from_str(name, true).map_err(|_| {
            let known = Column::value_variants().iter().filter_map(ValueEnum::to_possible_value);
            let known: Vec<String> = known.map(|value| value.get_name().to_owned()).collect();
            format!("no column is called {name:?}; use {}", known.join(", "))
        })?;
        Ok(Self { column, reversed })
    }
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("change").required(true).multiple(true)
    .args(["pool", "no_pool", "site", "no_site", "description", "no_description"]))]
#[command(
    after_help = "A connector that moves into a pool gets what is wanted of that pool at once. One that leaves a \
                        pool keeps what runs: nothing is taken away."
)]
pub struct ConnectorEditArgs {
    #[command(flatten)]
    pub whom: WhomArgs,
    /// Move it into this pool
    #[arg(long, value_name = "POOL", conflicts_with = "no_pool")]
    pub pool: Option<PoolName>,
    /// Take it out of its pool
    #[arg(long)]
    pub no_pool: bool,
    /// Say that it is at this site
    #[arg(long, value_name = "SITE", conflicts_with = "no_site")]
    pub site: Option<SiteName>,
    /// It belongs to no site
    #[arg(long)]
    pub no_site: bool,
    /// Free text for people
    #[arg(long, value_name = "TEXT", conflicts_with = "no_description")]
    pub description: Option<String>,
    /// Take its description away
    #[arg(long)]
    pub no_description: bool,
    #[command(flatten)]
    pub operator: OperatorArgs,
}
