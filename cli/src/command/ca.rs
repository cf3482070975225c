//! `muster ca`: the authority of the fleet and its rotation.

use super::Run;
use crate::args::{CaRotateArgs, CaStatusArgs};
use crate::confirm::confirm;
use crate::context::Context;
use crate::error::CliError;
use crate::output::Output;
use muster_wire::admin::{CaPhase, CaStatus, RotateCa, ShowCa, Verb};
use std::fmt::Write;
use std::io::IsTerminal;

impl Run for CaStatusArgs {
    fn describe(&self) -> String {
        "show the authority".to_owned()
    }

    fn json(&self) -> bool {
        self.operator.json
    }

    async fn run(self) -> Result<Output, CliError> {
        let cx = Context::open(&self.operator)?;
        let mut operator = cx.connect().await?;
        let status: CaStatus = operator.call(Verb::CaStatus, &ShowCa {}).await?;
        operator.close().await;
        Ok(Output::new(&status, sheet(&status)))
    }
}

impl Run for CaRotateArgs {
    fn describe(&self) -> String {
        match self.phase {
            Some(phase) => format!("take the rotation of the authority to {}", CaPhase::from(phase)),
            None => "take the rotation of the authority further".to_owned(),
        }
    }

    fn json(&self) -> bool {
        self.operator.json
    }

    async fn run(self) -> Result<Output, CliError> {
        let cx = Context::open(&self.operator)?;
        let mut operator = cx.connect().await?;
        let named = self.phase.map(CaPhase::from);
        let status: CaStatus = operator.call(Verb::CaStatus, &ShowCa {}).await?;
        let phase = named.unwrap_or_else(|| following(&status));
        // A script that names the phase means it. One that does not takes a step further each time that it runs.
        let is_meant = self.yes || (named.is_some() && !std::io::stdin().is_terminal());
        confirm(&format!("This takes the rotation of the authority to {phase}: {}.", entering(phase)), is_meant)?;
        // The phase that was asked about, also when somebody else has moved it on meanwhile.
        let request = RotateCa { phase: Some(phase), force: self.force };
        let status: CaStatus = operator.call(Verb::CaRotate, &request).await?;
        operator.close().await;
        let advice = status.phase.map(advice).unwrap_or_default();
        Ok(Output::new(&status, format!("{}\n{advice}", sheet(&status))))
    }
}

/// The phase that comes next; a rotation that is over is followed by another.
fn following(status: &CaStatus) -> CaPhase {
    status.phase.and_then(CaPhase::next).unwrap_or(CaPhase::Announced)
}

/// What happens on the way into a phase.
const fn entering(phase: CaPhase) -> &'static str {
    match phase {
        CaPhase::Announced => {
            "a new authority is made, and agents are told to trust it as well; nothing is refused yet"
        }
        CaPhase::TrustBoth => "the server lets in clients of both authorities",
        CaPhase::Switched => {
            "everything is issued by the new authority, and the key of the old one is destroyed; there is no way back"
        }
        CaPhase::Retired => {
            "what the old authority has issued is refused from then on, and a host without a new certificate needs an \
             operator's approval to come back"
        }
    }
}

/// What a phase asks of people.
fn advice(phase: CaPhase) -> String {
    let of_phase = match phase {
        CaPhase::Announced | CaPhase::TrustBoth => "",
        CaPhase::Switched => {
            "\nthe operators of this data folder have certificates of the new authority. Whatever else `muster cert issue` has \
             made (device SDKs, dashboards, operators elsewhere) is refused from `retired` on: issue it again before\n"
        }
        CaPhase::Retired => "\nwhat the old authority issued is refused from now on\n",
    };
    format!(
        "{of_phase}\nback up now (`muster backup FILE`): an older backup brings back authorities that hosts will not believe"
    )
}

fn sheet(status: &CaStatus) -> String {
    let mut text = String::new();
    for root in &status.roots {
        let role = if root.issues { "issues" } else { "trusted" };
        let _ = writeln!(text, "{role:<10}  {} until {}", root.fingerprint, root.not_after);
    }
    let phase = match (status.phase, status.since) {
        (Some(CaPhase::Retired), Some(since)) => format!("none since {since}"),
        (Some(phase), Some(since)) => format!("{phase} since {since}"),
        _ => "none".to_owned(),
    };
    let _ = writeln!(text, "{:<10}  {phase}", "rotation");
    let CaStatus { connectors, trusting, renewed, left_behind_total, .. } = status;
    if status.phase.is_some() {
        let _ = writeln!(
            text,
            "{:<10}  {connectors} enrolled, {trusting} trust the newest authority, {renewed} have a certificate of it",
            "connectors"
        );
    }
    let is_over = status.phase.is_none_or(|phase| phase == CaPhase::Retired);
    if !is_over && *left_behind_total > 0 {
        let names: Vec<&str> = status.left_behind.iter().map(muster_wire::id::ThingName::as_str).collect();
        let more = left_behind_total.saturating_sub(names.len() as u64);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let _ = writeln!(text, "{:<10}  {}{more}", "waits for", names.join(", "));
    }
    if let Some(next) = status.phase.and_then(CaPhase::next) {
        let _ = write!(text, "{:<10}  muster ca rotate --phase {next}", "next");
    }
    text.truncate(text.trim_end().len());
    text
}
