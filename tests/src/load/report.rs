//! A comparison as a table for people.

use std::fmt::Write;

use super::{
    compare::Report,
    figures::{Figures, Metric},
    quiet::OTHERS_PERCENT_MAX,
    server::Kind,
};

/// The table, with a heading and what must be said about it.
#[must_use]
pub fn table(report: &Report) -> String {
    let mut out = format!("{}\n\n", report.machine.line());
    let mut rows = vec![heading(report)];
    let names = |metric: &Metric| report.medians.values().any(|figures| figures.contains_key(metric));
    for metric in Metric::ALL.into_iter().filter(names) {
        rows.push(row(report, metric));
    }
    lay_out(&mut out, &rows);
    for line in remarks(report) {
        out.push_str(&line);
        out.push('\n');
    }
    out
}

fn heading(report: &Report) -> Vec<String> {
    let mut cells = vec!["median of the rounds".to_owned(), "unit".to_owned()];
    cells.extend(report.medians.keys().map(|kind| format!("{kind:?}").to_lowercase()));
    cells.extend(["ratio".to_owned(), "mark".to_owned(), String::new()]);
    cells
}

fn row(report: &Report, metric: Metric) -> Vec<String> {
    let (label, unit) = metric.about();
    let mut cells = vec![label.to_owned(), unit.to_owned()];
    cells.extend(report.medians.values().map(|figures| value(figures, metric)));
    cells.push(value_with(&report.ratios, metric, |ratio| format!("{ratio:.2}")));
    cells.push(metric.mark().map(super::figures::Mark::text).unwrap_or_default());
    let reached = report.marks_reached.get(&metric);
    cells.push(reached.map(|reached| if *reached { "reached" } else { "MISSED" }).unwrap_or_default().to_owned());
    cells
}

fn value(figures: &Figures, metric: Metric) -> String {
    value_with(figures, metric, |value| match value.abs() {
        ..10.0 => format!("{value:.2}"),
        ..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    })
}

fn value_with(figures: &Figures, metric: Metric, show: impl Fn(f64) -> String) -> String {
    figures.get(&metric).map_or_else(|| "-".to_owned(), |value| show(*value))
}

/// The first column to the left, all others to the right.
pub(super) fn lay_out(out: &mut String, rows: &[Vec<String>]) {
    let columns = rows.first().map_or(0, Vec::len);
    let widths: Vec<usize> =
        (0..columns).map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)).collect();
    for row in rows {
        let mut line = format!("{:<width$}", row[0], width = widths[0]);
        for (cell, width) in row.iter().zip(&widths).skip(1) {
            let _ = write!(line, "  {cell:>width$}");
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
}

fn remarks(report: &Report) -> Vec<String> {
    let mut lines = Vec::new();
    for run in &report.runs {
        if let Some(trouble) = run.trouble() {
            lines.push(format!(
                "FAILED, not counted: {:?} {:?} round {}: {trouble}",
                run.server, run.scenario, run.round
            ));
        }
    }
    let disturbed = report.runs.iter().filter(|run| run.disturbed).count();
    if disturbed > 0 {
        lines.push(format!(
            "In {disturbed} of {} runs other programs used over {OTHERS_PERCENT_MAX} % of the processors. They count only \
             where a scenario has no others; better repeat on a quiet machine.",
            report.runs.len()
        ));
    }
    if !report.medians.contains_key(&Kind::Mosquitto) {
        lines.push("Without mosquitto in the same run the figures say little about another machine.".to_owned());
    }
    if !lines.is_empty() {
        lines.insert(0, String::new());
    }
    lines
}
