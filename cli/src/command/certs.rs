//! `muster certs expiring`: every certificate of the fleet by the time that is left.

use super::Run;
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
        let before = now.plus(Duration::from_secs(u64::from(self.within) * 86_400));
        let mut operator = cx.connect().await?;
        let list: ExpiringList = operator.call(Verb::CertsExpiring, &ListExpiring { before }).await?;
        operator.close().await;
        let connectors = list.certificates.into_iter().map(|certificate| {
            let has_ended = certificate.not_after < now;
            let renewal = if has_ended { "muster connector recoveries" } else { "the agent, at half of its life" };
            row("connector", certificate.name.to_string(), certificate.not_after, now, renewal)
        });
        let mut rows: Vec<Row> = connectors.chain(local(&cx, now)?).filter(|row| row.not_after < before).collect();
        rows.sort_by(|one, other| (one.not_after, &one.name).cmp(&(other.not_after, &other.name)));
        if list.more > 0 {
            say_aside(&format!("{} more connectors are not listed; ask for fewer days", list.more));
        }
        let text =
            if rows.is_empty() { format!("no certificate ends within {} days", self.within) } else { table(&rows) };
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
