//! `muster certs expiring`: every certificate of the fleet by the time that is left.

use super::{Run, connector};
use crate::args::CertsExpiringArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Output, Table, say_aside};
use muster_certs::{CertificateFacts, Vault, store};
use muster_wire::admin::{ExpiringList, ListExpiring, Verb};
use muster_wire::time::Timestamp;
use serde::Serialize;
use std::path::Path;
use std::time::Duration;

/// One certificate.
#[derive(Debug, Serialize)]
struct Row {
    kind: &'static str,
    name: String,
    not_after: Timestamp,
    /// Whole days; below zero when it has ended.
    days_left: i64,
    /// Who does something about it.
    renewal: &'static str,
}

/// Agents and the server renew at half of a life, of 30 days as a rule: with so little left, something is in the way.
const RENEWED_BY_ITSELF_DAYS: u32 = 7;
/// People want to know early what only they can do.
const RENEWED_BY_PEOPLE_DAYS: u32 = 30;

impl Row {
    fn is_by_people(&self) -> bool {
        matches!(self.kind, "authority" | "operator")
    }
}

fn none(within: Option<u32>) -> String {
    match within {
        Some(days) => format!("no certificate ends within {days} days"),
        None => format!(
            "no certificate needs anybody: none of a connector or the server ends within {RENEWED_BY_ITSELF_DAYS} days, \
             none of an operator or the authority within {RENEWED_BY_PEOPLE_DAYS}"
        ),
    }
}

const DAY_MS: i64 = 86_400_000;

impl Run for CertsExpiringArgs {
    fn describe(&self) -> String {
        "list certificates that end soon".to_owned()
    }

    fn json(&self) -> bool {
        self.operator.json
    }

    async fn run(self) -> Result<Output, CliError> {
        let cx = Context::open(&self.operator)?;
        let now = cx.clock.now();
        let within = |days: u32| now.plus(Duration::from_secs(u64::from(self.within.unwrap_or(days)) * 86_400));
        let before = within(RENEWED_BY_ITSELF_DAYS);
        let by_people = within(RENEWED_BY_PEOPLE_DAYS);
        let mut operator = cx.connect().await?;
        let list: ExpiringList = operator.call(Verb::CertsExpiring, &ListExpiring { before }).await?;
        let meant = connector::meant(&mut operator, self.meant.to).await?;
        operator.close().await;
        // Only connectors are meant by a selector.
        let others = if meant.is_some() { Vec::new() } else { local(&cx, now)? };
        let certificates = list.certificates.into_iter().filter(|one| meant.has(one.name.as_str()));
        let connectors = certificates.map(|certificate| {
            let has_ended = certificate.not_after < now;
            let renewal = if has_ended { "muster connector recoveries" } else { "the agent, at half of its life" };
            row("connector", certificate.name.to_string(), certificate.not_after, now, renewal)
        });
        let mut rows: Vec<Row> = connectors
            .chain(others)
            .filter(|row| row.not_after < if row.is_by_people() { by_people } else { before })
            .collect();
        rows.sort_by(|one, other| (one.not_after, &one.name).cmp(&(other.not_after, &other.name)));
        if list.more > 0 {
            say_aside(&format!("{} more connectors are not listed; ask for fewer days", list.more));
        }
        let text = if rows.is_empty() { none(self.within) } else { table(&rows) };
        Ok(Output::new(&serde_json::json!({ "certificates": rows, "more": list.more }), text))
    }
}

/// Those whose files are in the data folder.
fn local(cx: &Context, now: Timestamp) -> Result<Vec<Row>, CliError> {
    let vault = Vault::read(&cx.data.authority())
        .map_err(|error| CliError::local_because("cannot read the authority", error))?;
    let roots = vault.roots().into_iter();
    let mut rows: Vec<Row> =
        roots.map(|(id, end)| row("authority", id, Timestamp::from_seconds(end), now, "muster ca rotate")).collect();
    let end = |path: &Path| {
        let pem = store::read_pem(path).map_err(|error| CliError::local_because("cannot read a certificate", error))?;
        let facts = CertificateFacts::from_pem(&pem)
            .map_err(|error| CliError::local_because(format!("cannot read {}", path.display()), error))?;
        Ok::<_, CliError>(Timestamp::from_seconds(facts.not_after))
    };
    rows.push(row("server", String::new(), end(&cx.data.server_chain())?, now, "the server, at half of its life"));
    for name in cx.data.operator_names()? {
        let end = end(&cx.data.operator(&name).0)?;
        rows.push(row("operator", name, end, now, "muster cert renew"));
    }
    Ok(rows)
}

fn row(kind: &'static str, name: String, not_after: Timestamp, now: Timestamp, renewal: &'static str) -> Row {
    let days_left = not_after.millis().saturating_sub(now.millis()).div_euclid(DAY_MS);
    Row { kind, name, not_after, days_left, renewal }
}

fn table(rows: &[Row]) -> String {
    let mut table = Table::new(&["KIND", "NAME", "ENDS", "DAYS LEFT", "RENEWED BY"]);
    for row in rows {
        let left = if row.days_left < 0 { "ended".to_owned() } else { row.days_left.to_string() };
        let name = if row.kind == "authority" { row.name.chars().take(16).collect() } else { row.name.clone() };
        table.row([row.kind.to_owned(), name, row.not_after.to_string(), left, row.renewal.to_owned()]);
    }
    table.to_string()
}
