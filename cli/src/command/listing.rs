//! The table of `muster connector list`: columns, order, and marks.

use crate::args::{Column, ListingArgs, SortKey};
use crate::narrate;
use crate::output::{Table, or_empty, spelling};
use clap::ValueEnum;
use muster_wire::view::{ConnectorView, Life};
use std::cmp::Ordering;

/// What is shown when nothing else is asked for.
const USUAL: [Column; 8] = [
    Column::Name,
    Column::Status,
    Column::Work,
    Column::Pool,
    Column::Site,
    Column::Agent,
    Column::LastSync,
    Column::Components,
];
/// Behind a version that is not the latest for its connector.
const OUTDATED: &str = " *";

/// Sorts connectors, which come in the order of their names.
pub fn sort(connectors: &mut [ConnectorView], keys: &[SortKey]) {
    connectors.sort_by(|one, other| {
        let by = |key: &SortKey| {
            let order = compare(one, other, key.column);
            if key.reversed { order.reverse() } else { order }
        };
        keys.iter().map(by).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    });
}

fn compare(one: &ConnectorView, other: &ConnectorView, column: Column) -> Ordering {
    match column {
        Column::Since => one.link_since.cmp(&other.link_since),
        Column::WorkSince => one.work_since.cmp(&other.work_since),
        Column::LastSync => one.last_sync.cmp(&other.last_sync),
        Column::Registered => one.registered_at.cmp(&other.registered_at),
        _ => cell(one, column).cmp(&cell(other, column)),
    }
}

/// The table, with a line about the marks in it if there is any.
pub fn table(connectors: &[ConnectorView], args: &ListingArgs) -> String {
    let columns: &[Column] = match (args.wide, args.columns.as_slice()) {
        (true, _) => Column::value_variants(),
        (false, []) => &USUAL,
        (false, chosen) => chosen,
    };
    let headings: Vec<String> = columns.iter().map(|column| heading(*column)).collect();
    let mut table = Table::new(&headings.iter().map(String::as_str).collect::<Vec<_>>());
    for view in connectors {
        table.row(columns.iter().map(|column| cell(view, *column)));
    }
    let mut text = table.fit();
    let marks = columns.iter().any(|column| matches!(column, Column::Agent | Column::Components));
    if marks && connectors.iter().any(ConnectorView::is_outdated) {
        text.push_str("* not the latest for this connector\n");
    }
    text
}

fn heading(column: Column) -> String {
    let value = column.to_possible_value();
    value.map(|value| value.get_name().replace('-', " ").to_uppercase()).unwrap_or_default()
}

fn cell(view: &ConnectorView, column: Column) -> String {
    match column {
        Column::Name => view.name.to_string(),
        Column::Status => match view.lifecycle.state {
            Life::Active => spelling(&view.link),
            other => format!("{} ({})", spelling(&other), spelling(&view.link)),
        },
        Column::Since => view.link_since.to_string(),
        Column::Work => spelling(&view.work),
        Column::WorkSince => view.work_since.to_string(),
        Column::Pool => or_empty(view.pool.as_ref()),
        Column::Site => or_empty(view.site.as_ref()),
        Column::Agent => {
            let mark = if view.agent_outdated == Some(true) { OUTDATED } else { "" };
            view.host.agent_version.as_ref().map(|version| format!("{version}{mark}")).unwrap_or_default()
        }
        Column::LastSync => or_empty(view.last_sync.as_ref()),
        Column::Registered => view.registered_at.to_string(),
        Column::Host => view.host.hostname.clone(),
        Column::Addresses => view.host.addresses.join(", "),
        Column::Os => view.host.os.clone(),
        Column::Labels => view.host.labels.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        Column::Description => view.description.clone().unwrap_or_default(),
        Column::Components => {
            let one = |(name, component): (&_, &_)| {
                let component: &muster_wire::view::ComponentView = component;
                let mark = if component.outdated { OUTDATED } else { "" };
                format!("{name} {}{mark}", narrate::component(component))
            };
            view.components.iter().map(one).collect::<Vec<String>>().join(", ")
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use clap::Parser;
    use serde_json::json;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: ListingArgs,
    }

    fn args(words: &[&str]) -> ListingArgs {
        Cli::try_parse_from([&["list"], words].concat()).unwrap_or_else(|error| panic!("{error}")).args
    }

    fn fleet() -> Vec<ConnectorView> {
        let view = |name: &str, link: &str, sync: i64, outdated: bool| {
            serde_json::from_value(json!({
                "v": 1, "name": name, "link": link, "link_since": 0, "work": "healthy", "registered_at": 0,
                "last_sync": sync, "host": {"agent_version": "0.1.0", "os": "Debian\u{1b}[2J"},
                "components": {"web": {"desired": "1", "reported": "1", "health": "healthy", "outdated": outdated}},
            }))
            .unwrap()
        };
        vec![view("a", "online", 3, false), view("b", "never", 1, true), view("c", "online", 2, false)]
    }

    #[test]
    fn filters_become_one_selector() {
        let words = ["--status", "online,stale", "--pool", "blue", "--outdated", "--component", "web=1.1"];
        let selector = args(&words).selector().unwrap().unwrap();
        assert_eq!(selector.to_string(), "status=online|stale,pool=blue,component=web@1.1,outdated");
        assert!(args(&[]).selector().unwrap().is_none());
        assert!(args(&["--status", "up"]).selector().is_err());
    }

    #[test]
    fn rows_are_sorted_by_several_columns_in_either_order() {
        let mut views = fleet();
        sort(&mut views, &args(&["--sort", "status,-last-sync"]).sort);
        assert_eq!(views.iter().map(|view| view.name.as_str()).collect::<Vec<_>>(), ["b", "a", "c"]);
        let words = ["list", "--sort", "size"];
        let error = Cli::try_parse_from(words).err().map(|error| error.to_string()).unwrap();
        assert!(error.contains("no column is called \"size\"; use name, status"), "{error}");
    }

    #[test]
    fn chosen_columns_are_shown_marked_and_harmless() {
        let text = table(&fleet(), &args(&["--columns", "name,components,os"]));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "NAME  COMPONENTS  OS");
        assert_eq!(lines[2].split("  ").take(2).collect::<Vec<_>>().concat(), "b");
        assert!(lines[2].contains("web 1 *") && !text.contains('\u{1b}'), "{text}");
        assert_eq!(lines[4], "* not the latest for this connector");
        assert!(table(&fleet(), &args(&["--wide"])).lines().next().unwrap().contains("LAST SYNC"));
    }
}
