//! `muster token`: the tokens of install scripts, without the secret in them.

use super::{Run, connector};
use crate::args::{TokenListArgs, TokenRevokeArgs};
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Output, Table, or_empty, spelling};
use muster_wire::admin::{ListTokens, RevokeToken, RevokedToken, TokenList, TokenState, TokenView, Verb};
use muster_wire::time::Timestamp;
use std::fmt::Write;
use std::time::Duration;

impl Run for TokenListArgs {
    fn describe(&self) -> String {
        "list tokens".to_owned()
    }

    fn json(&self) -> bool {
        self.operator.json
    }

    async fn run(self) -> Result<Output, CliError> {
        let cx = Context::open(&self.operator)?;
        let mut operator = cx.connect().await?;
        let mut list: TokenList = operator.call(Verb::TokenList, &ListTokens { all: self.all }).await?;
        let meant = connector::meant(&mut operator, self.meant.to).await?;
        list.tokens.retain(|token| meant.has(token.connector.as_str()));
        operator.close().await;
        let text = match (list.tokens.is_empty(), self.all) {
            (true, true) => "no tokens within the last 30 days".to_owned(),
            (true, false) => "no live tokens; --all shows those that have ended, too".to_owned(),
            (false, _) => text(&list),
        };
        Ok(Output::new(&list, text))
    }
}

fn text(list: &TokenList) -> String {
    let any_used = list.tokens.iter().any(|token| token.used_at.is_some());
    let headings = ["TOKEN", "CONNECTOR", "POOL", "PREFIX", "ISSUED BY", "TIME LEFT", "USES", "USED AT", "USED FROM"];
    let shown = if any_used { headings.len() } else { headings.len() - 2 };
    let mut table = Table::new(&headings[..shown]);
    for token in &list.tokens {
        let cells = [
            token.id.clone(),
            token.connector.to_string(),
            or_empty(token.pool.as_ref()),
            token.prefix.clone().unwrap_or_else(|| "any".to_owned()),
            token.issued_by.to_string(),
            left(token, list.now),
            format!("{} of {}", token.uses, token.uses_max),
            or_empty(token.used_at.as_ref()),
            or_empty(token.used_from.as_ref()),
        ];
        table.row(cells.into_iter().take(shown));
    }
    let mut text = table.to_string();
    if list.left_off > 0 {
        let _ = writeln!(text, "and {} more", list.left_off);
    }
    text
}

/// The time that a live token has, or why it has none.
fn left(token: &TokenView, now: Timestamp) -> String {
    match token.state {
        TokenState::Live => span(token.expires_at.since(now)),
        other => spelling(&other),
    }
}

/// Two units are enough: `4m 12s`, `3h 5m`.
fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m {s}s"),
        (h, m, _) => format!("{h}h {m}m"),
    }
}

impl Run for TokenRevokeArgs {
    fn describe(&self) -> String {
        format!("revoke the token of {}", self.name)
    }

    fn json(&self) -> bool {
        self.operator.json
    }

    async fn run(self) -> Result<Output, CliError> {
        let cx = Context::open(&self.operator)?;
        let mut operator = cx.connect().await?;
        let revoked: RevokedToken =
            operator.call(Verb::TokenRevoke, &RevokeToken { connector: self.name.clone() }).await?;
        operator.close().await;
        let text = format!(
            "the token {} of {} works no more; `muster connector add {1} --renew` makes a new one",
            revoked.token.id, self.name
        );
        Ok(Output::new(&revoked, text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_two_units() {
        for (seconds, text) in [(0, "0s"), (59, "59s"), (252, "4m 12s"), (3600, "1h 0m"), (86_399, "23h 59m")] {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
    }
}
