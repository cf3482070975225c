//! Both servers through the same scenarios, in turns, several rounds.

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use super::{
    failures::{FailureCounts, summary},
    figures::{Figures, Metric, medians},
    machine::{Machine, raise_open_files},
    process, quiet,
    scenario::{Outcome, Scenario, Settings, fan_out, hostile, shadow, storm},
    server::{Kind, Options, Prepared},
};

/// What to compare.
#[derive(Clone, Debug, clap::Args)]
pub struct CompareArgs {
    /// The servers
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["muster", "mosquitto"])]
    pub servers: Vec<Kind>,
    /// The scenarios
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["storm", "shadow", "fan-out"])]
    pub scenarios: Vec<Scenario>,
    /// How often each server goes through each scenario; the medians are reported
    #[arg(long, default_value_t = 3)]
    pub rounds: usize,
    /// Clients of the storm
    #[arg(long, default_value_t = Scenario::Storm.clients())]
    pub storm_clients: usize,
    /// Clients that update shadows
    #[arg(long, default_value_t = Scenario::Shadow.clients())]
    pub shadow_clients: usize,
    /// Clients that a job reaches
    #[arg(long, default_value_t = Scenario::FanOut.clients())]
    pub fan_out_clients: usize,
    /// Longest wait for a quiet machine before each run, in seconds
    #[arg(long, default_value_t = 30)]
    pub quiet_wait: u64,
    /// Process of a running `muster-agent`, to report its memory
    #[arg(long)]
    pub agent_pid: Option<u32>,
    /// How the load is made.
    #[command(flatten)]
    pub settings: Settings,
    /// Where the servers are.
    #[command(flatten)]
    pub options: Options,
}

/// A comparison's result.
#[derive(Debug, Serialize)]
pub struct Report {
    /// No run failed.
    pub ok: bool,
    /// Where it was measured.
    pub machine: Machine,
    /// Clients of each scenario.
    pub clients: BTreeMap<Scenario, usize>,
    /// How the load was made.
    pub settings: Settings,
    /// QoS between mosquitto and its stand-in.
    pub stand_in_qos: u8,
    /// Median of each figure over the rounds, by server. Failed runs are left out, and disturbed ones where the
    /// scenario also has undisturbed ones.
    pub medians: BTreeMap<Kind, Figures>,
    /// Muster's medians divided by mosquitto's.
    pub ratios: Figures,
    /// Whether Muster reached the marks that the run has figures for.
    pub marks_reached: BTreeMap<Metric, bool>,
    /// Every run, in the order in which they were made.
    pub runs: Vec<Run>,
}

/// One server once through one scenario.
#[derive(Debug, Serialize)]
pub struct Run {
    /// Which server.
    pub server: Kind,
    /// Which scenario.
    pub scenario: Scenario,
    /// Counted from 1.
    pub round: usize,
    /// What was measured.
    pub figures: Figures,
    /// Others used the processors meanwhile.
    pub disturbed: bool,
    /// What went wrong with clients.
    pub failures: FailureCounts,
    /// What went wrong with the run as a whole.
    pub error: Option<String>,
}

impl Scenario {
    /// How many clients it has unless told otherwise.
    #[must_use]
    pub const fn clients(self) -> usize {
        match self {
            Self::Storm => 5_000,
            Self::Shadow | Self::Hostile => 1_000,
            Self::FanOut => 4_000,
        }
    }
}

impl CompareArgs {
    fn clients(&self, scenario: Scenario) -> usize {
        match scenario {
            Scenario::Storm => self.storm_clients,
            Scenario::Shadow | Scenario::Hostile => self.shadow_clients,
            Scenario::FanOut => self.fan_out_clients,
        }
    }

    /// Clients of the scenario and bad ones beside them.
    fn connections(&self, scenario: Scenario) -> usize {
        let bad = if scenario == Scenario::Hostile { hostile::KINDS * self.settings.bad } else { 0 };
        self.clients(scenario) + bad
    }

    /// Runs all of it. A run that fails is part of the report; what cannot be prepared is an error.
    pub fn run(&self) -> Result<Report> {
        ensure!(self.rounds > 0, "at least one round is needed");
        let most = self
            .scenarios
            .iter()
            .map(|scenario| self.connections(*scenario))
            .max()
            .context("at least one scenario is needed")?;
        raise_open_files(most)?;
        let mut prepared = Vec::new();
        for kind in &self.servers {
            eprintln!("preparing {kind:?} with {most} certificates");
            prepared.push(Prepared::new(*kind, &self.options, most)?);
        }
        let mut runs = Vec::new();
        for round in 1..=self.rounds {
            for scenario in &self.scenarios {
                for server in &prepared {
                    runs.push(self.one(server, *scenario, round));
                }
            }
            // The other one goes first in the next round.
            prepared.reverse();
        }
        let agent = self.agent_pid.map(agent_memory).transpose()?;
        Ok(self.report(runs, agent))
    }

    /// One server once through one scenario.
    pub(super) fn one(&self, server: &Prepared, scenario: Scenario, round: usize) -> Run {
        let (kind, clients) = (server.kind(), self.clients(scenario));
        eprint!("round {round} of {}: {kind:?}, {scenario:?} with {clients} clients … ", self.rounds);
        let quiet = quiet::wait(Duration::from_secs(self.quiet_wait));
        let start = Instant::now();
        let (outcome, error) = match quiet.and_then(|()| self.measure(server, scenario, clients)) {
            Ok((outcome, stopped)) => (outcome, stopped.err()),
            Err(e) => (Outcome { figures: Figures::new(), failures: FailureCounts::new() }, Some(e)),
        };
        let error = error.map(|e| format!("{e:#}"));
        let (figures, failures) = (outcome.figures, outcome.failures);
        let run =
            Run { server: kind, scenario, round, disturbed: quiet::disturbed(&figures), figures, failures, error };
        let seconds = start.elapsed().as_secs_f64();
        match run.trouble() {
            None if run.disturbed => eprintln!("{seconds:.0} s, disturbed by other programs"),
            None => eprintln!("{seconds:.0} s"),
            Some(trouble) => eprintln!("FAILED: {trouble}"),
        }
        run
    }

    fn measure(&self, server: &Prepared, scenario: Scenario, clients: usize) -> Result<(Outcome, Result<()>)> {
        let mut running = server.start()?;
        let outcome = match scenario {
            Scenario::Storm => storm::run(&running.target, clients, &self.settings)?,
            Scenario::Shadow => {
                let stand_in = server.start_stand_in(&mut running)?;
                shadow::run(&running.target, clients, stand_in, &self.settings)?
            }
            Scenario::Hostile => {
                let stand_in = server.start_stand_in(&mut running)?;
                hostile::run(&running.target, clients, stand_in, &self.settings)?
            }
            Scenario::FanOut => fan_out::run(&running.target, clients, &server.trigger(&running)?, &self.settings)?,
        };
        Ok((outcome, running.stop()))
    }

    fn report(&self, runs: Vec<Run>, agent: Option<f64>) -> Report {
        let mut by_server = BTreeMap::new();
        for kind in &self.servers {
            let mut figures = medians(self.scenarios.iter().flat_map(|scenario| best(&runs, *kind, *scenario)));
            if let (Kind::Muster, Some(rss)) = (kind, agent) {
                figures.insert(Metric::AgentRssMb, rss);
            }
            by_server.insert(*kind, figures);
        }
        let none = Figures::new();
        let of = |kind: Kind| by_server.get(&kind).unwrap_or(&none);
        let (muster, mosquitto) = (of(Kind::Muster), of(Kind::Mosquitto));
        let ratio = |(metric, value): (&Metric, &f64)| mosquitto.get(metric).map(|other| (*metric, value / other));
        Report {
            ok: runs.iter().all(|run| run.trouble().is_none()),
            machine: Machine::describe(&self.options.mosquitto),
            clients: self.scenarios.iter().map(|scenario| (*scenario, self.clients(*scenario))).collect(),
            settings: self.settings.clone(),
            stand_in_qos: self.options.stand_in_qos,
            ratios: muster.iter().filter_map(ratio).filter(|(_, ratio)| ratio.is_finite()).collect(),
            marks_reached: muster
                .iter()
                .filter_map(|(metric, value)| Some((*metric, metric.mark()?.reached(*value))))
                .collect(),
            medians: by_server,
            runs,
        }
    }
}

impl Run {
    /// What went wrong, in one line.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let counted = (!self.failures.is_empty()).then(|| summary(&self.failures));
        match (&self.error, counted) {
            (None, counted) => counted,
            (Some(error), None) => Some(error.clone()),
            (Some(error), Some(counted)) => Some(format!("{counted}; {error}")),
        }
    }
}

/// The figures to report: those of runs that succeeded, undisturbed ones if there are any.
pub(super) fn best(runs: &[Run], server: Kind, scenario: Scenario) -> Vec<&Figures> {
    let good = || runs.iter().filter(|run| run.server == server && run.scenario == scenario && run.trouble().is_none());
    let quiet: Vec<_> = good().filter(|run| !run.disturbed).map(|run| &run.figures).collect();
    if quiet.is_empty() { good().map(|run| &run.figures).collect() } else { quiet }
}

/// Resident memory of a running agent, in MB (1,000,000 bytes).
pub fn agent_memory(pid: u32) -> Result<f64> {
    Ok(process::memory(pid)?.rss_kib as f64 * 1024.0 / 1e6)
}

/// Writes `report` to the file `path`.
pub fn write_json(report: &impl Serialize, path: &Path) -> Result<()> {
    let text = serde_json::to_string_pretty(report).context("the report cannot be written as JSON")?;
    std::fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::failures::{Counted, Kind as FailureKind};

    fn run(per_s: f64, others_percent: f64, failed: bool) -> Run {
        let figures = Figures::from([(Metric::ShadowPerS, per_s), (Metric::ShadowOthersPercent, others_percent)]);
        let failure = (FailureKind::Refused, Counted { count: 1, first: String::new() });
        Run {
            server: Kind::Muster,
            scenario: Scenario::Shadow,
            round: 1,
            disturbed: quiet::disturbed(&figures),
            figures,
            failures: failed.then_some(failure).into_iter().collect(),
            error: None,
        }
    }

    #[track_caller]
    fn check(runs: &[Run], expected: &[f64]) {
        let found: Vec<_> = best(runs, Kind::Muster, Scenario::Shadow).iter().map(|f| f[&Metric::ShadowPerS]).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn failed_runs_never_count_and_disturbed_ones_only_without_better() {
        check(&[run(1.0, 0.0, false), run(2.0, 50.0, false), run(3.0, 0.0, true)], &[1.0]);
        check(&[run(2.0, 50.0, false), run(3.0, 0.0, true)], &[2.0]);
        check(&[run(3.0, 0.0, true)], &[]);
        assert!(best(&[run(1.0, 0.0, false)], Kind::Mosquitto, Scenario::Shadow).is_empty());
    }
}
