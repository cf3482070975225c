//! The summary at the end of a run.

use std::fmt;
use std::time::Duration;

/// How a step ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It holds.
    Passed,
    /// It could not be checked here, and why.
    Skipped(String),
    /// It does not hold.
    Failed,
}

/// Every chosen step, with its outcome once it has one.
pub struct Report {
    rows: Vec<(&'static str, Option<(Outcome, Duration)>)>,
}

impl Report {
    /// A report in which nothing has run yet.
    pub fn new(names: Vec<&'static str>) -> Self {
        Self { rows: names.into_iter().map(|name| (name, None)).collect() }
    }

    /// Notes how a step ended.
    pub fn record(&mut self, name: &str, outcome: Outcome, took: Duration) {
        for (row, ended) in &mut self.rows {
            if *row == name {
                *ended = Some((outcome.clone(), took));
            }
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<8} {:>9}  result", "step", "seconds")?;
        let mut total = Duration::ZERO;
        for (name, ended) in &self.rows {
            let Some((outcome, took)) = ended else {
                writeln!(f, "{name:<8} {:>9}  not run", "-")?;
                continue;
            };
            total += *took;
            let seconds = took.as_secs_f64();
            match outcome {
                Outcome::Passed => writeln!(f, "{name:<8} {seconds:>9.1}  ok")?,
                Outcome::Skipped(why) => writeln!(f, "{name:<8} {seconds:>9.1}  skipped: {why}")?,
                Outcome::Failed => writeln!(f, "{name:<8} {seconds:>9.1}  FAILED")?,
            }
        }
        write!(f, "{:<8} {:>9.1}", "total", total.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_shows_every_step_even_those_that_never_ran() {
        let mut report = Report::new(vec!["fmt", "shell", "clippy", "test"]);
        report.record("fmt", Outcome::Passed, Duration::from_millis(1250));
        let why = "it is not installed".to_owned();
        report.record("shell", Outcome::Skipped(why), Duration::ZERO);
        report.record("clippy", Outcome::Failed, Duration::from_secs(61));
        assert_eq!(
            report.to_string(),
            "step       seconds  result\n\
             fmt            1.2  ok\n\
             shell          0.0  skipped: it is not installed\n\
             clippy        61.0  FAILED\n\
             test             -  not run\n\
             total         62.2"
        );
    }
}
