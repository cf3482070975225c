//! The parts of `muster connector show` that tell why a connector is not where it should be.

use crate::output::{Table, line, or_empty, plain, spelling};
use muster_wire::admin::ShownConnector;
use std::fmt::Write;

/// What is wrong and what to do next; nothing when nothing is.
pub fn findings(shown: &ShownConnector) -> String {
    let mut text = String::new();
    for finding in &shown.findings {
        let _ = writeln!(
            text,
            "{:<12}  {}\n{:<12}  -> {}",
            plain(&finding.about),
            plain(&finding.what),
            "",
            plain(&finding.next)
        );
    }
    if !text.is_empty() {
        text = format!("not as it should be:\n{text}\n");
    }
    text
}

/// More of the host and its clock.
pub fn host(shown: &ShownConnector) -> String {
    let view = &shown.connector;
    let host = &view.host;
    let labels: Vec<String> = host.labels.iter().map(ToString::to_string).collect();
    let clock = view.clock_ahead_ms.map(|ahead| match ahead {
        0.. => format!("{ahead} ms ahead of the server's"),
        behind => format!("{} ms behind the server's", behind.unsigned_abs()),
    });
    let lines = [
        ("kernel", host.kernel.clone()),
        ("booted", or_empty(host.booted_at.as_ref())),
        ("labels", labels.join(", ")),
        ("clock", clock.unwrap_or_default()),
    ];
    let mut text = String::new();
    for (name, value) in lines {
        text.push_str(&line(name, &value));
    }
    text
}

/// Open jobs, certificates and the history of the link.
pub fn rest(shown: &ShownConnector) -> String {
    let mut text = String::new();
    if !shown.jobs.is_empty() {
        let mut table = Table::new(&["OPEN JOB", "STATUS", "STEP", "QUEUED", "CHANGED"]);
        for job in &shown.jobs {
            table.row([
                job.job.to_string(),
                spelling(&job.status),
                job.step.clone().unwrap_or_default(),
                job.queued_at.to_string(),
                job.updated_at.to_string(),
            ]);
        }
        let _ = write!(text, "\n{}", table.fit());
    }
    if !shown.certificates.is_empty() {
        let mut table = Table::new(&["CERTIFICATE", "STATUS", "ISSUED", "ENDS"]);
        for certificate in &shown.certificates {
            table.row([
                certificate.id.to_string(),
                spelling(&certificate.status),
                or_empty(certificate.issued_at.as_ref()),
                or_empty(certificate.not_after.as_ref()),
            ]);
        }
        let _ = write!(text, "\n{}", table.fit());
    }
    if !shown.link_history.is_empty() {
        let mut table = Table::new(&["LINK", "WHEN"]);
        for event in &shown.link_history {
            table.row([if event.up { "came" } else { "went" }.to_owned(), event.at.to_string()]);
        }
        let _ = write!(text, "\n{}", table.fit());
    }
    text
}
