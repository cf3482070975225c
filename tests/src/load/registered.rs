//! What an operation costs with few and with many things registered: the same load on both, in turns, several rounds.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use serde::Serialize;

use super::{
    compare::{CompareArgs, Run, best},
    figures::{Figures, Mark, Metric, medians},
    machine::{Machine, raise_open_files},
    report::lay_out,
    scenario::{Scenario, Settings},
    server::{Kind, Options, Prepared},
};

/// The most that an operation may cost with many things, as a multiple of its cost with few.
const COST_MARK: Mark = Mark::AtMost(1.2);

/// The scenarios, and what an operation costs in each.
const COSTS: [(Scenario, Metric); 3] = [
    (Scenario::Storm, Metric::StormServerCpuUs),
    (Scenario::Shadow, Metric::ShadowServerCpuUs),
    (Scenario::FanOut, Metric::FanOutServerCpuUs),
];

/// What else is shown.
const SHOWN: [Metric; 4] =
    [Metric::StormConnectsPerS, Metric::ShadowPerS, Metric::FanOutThingsPerS, Metric::IdleBaseRssKib];

/// What to compare.
#[derive(Clone, Debug, clap::Args)]
pub struct RegisteredArgs {
    /// Things of the small fleet
    #[arg(long, default_value_t = 1_000)]
    pub few: usize,
    /// Things of the large fleet
    #[arg(long, default_value_t = 20_000)]
    pub many: usize,
    /// Clients that connect, update and get a job
    #[arg(long, default_value_t = 1_000)]
    pub clients: usize,
    /// How often each fleet goes through each scenario; the medians are reported
    #[arg(long, default_value_t = 3)]
    pub rounds: usize,
    /// Longest wait for a quiet machine before each run, in seconds
    #[arg(long, default_value_t = 30)]
    pub quiet_wait: u64,
    /// How the load is made.
    #[command(flatten)]
    pub settings: Settings,
    /// Where the servers are.
    #[command(flatten)]
    pub options: Options,
}

/// The result.
#[derive(Debug, Serialize)]
pub struct Report {
    /// No run failed.
    pub ok: bool,
    /// Where it was measured.
    pub machine: Machine,
    /// Clients in every run.
    pub clients: usize,
    /// How the load was made.
    pub settings: Settings,
    /// Medians by number of registered things.
    pub medians: BTreeMap<usize, Figures>,
    /// Medians with many divided by those with few.
    pub ratios: Figures,
    /// Whether each cost stays below its mark.
    pub marks_reached: BTreeMap<Metric, bool>,
    /// Every run, by number of registered things.
    pub runs: BTreeMap<usize, Vec<Run>>,
}

impl RegisteredArgs {
    /// Runs all of it. A run that fails is part of the report; what cannot be prepared is an error.
    pub fn run(&self) -> Result<Report> {
        ensure!(self.rounds > 0, "at least one round is needed");
        ensure!(self.clients <= self.few && self.few < self.many, "it must be clients ≤ few < many");
        raise_open_files(self.clients)?;
        let mut fleets = Vec::new();
        for things in [self.few, self.many] {
            eprintln!("registering {things} things");
            fleets.push((things, Prepared::with_registered(&self.options, self.clients, things)?));
        }
        let one = self.one_run();
        let mut runs = BTreeMap::<usize, Vec<Run>>::new();
        for round in 1..=self.rounds {
            for (scenario, _) in COSTS {
                for (things, server) in &fleets {
                    eprint!("{things} things, ");
                    runs.entry(*things).or_default().push(one.one(server, scenario, round));
                }
            }
            // The other one goes first in the next round.
            fleets.reverse();
        }
        Ok(self.report(runs))
    }

    fn one_run(&self) -> CompareArgs {
        CompareArgs {
            servers: vec![Kind::Muster],
            scenarios: COSTS.map(|(scenario, _)| scenario).to_vec(),
            rounds: self.rounds,
            storm_clients: self.clients,
            shadow_clients: self.clients,
            fan_out_clients: self.clients,
            quiet_wait: self.quiet_wait,
            agent_pid: None,
            settings: self.settings.clone(),
            options: self.options.clone(),
        }
    }

    fn report(&self, runs: BTreeMap<usize, Vec<Run>>) -> Report {
        let of = |runs: &Vec<Run>| medians(COSTS.iter().flat_map(|(scenario, _)| best(runs, Kind::Muster, *scenario)));
        let medians: BTreeMap<usize, Figures> = runs.iter().map(|(things, runs)| (*things, of(runs))).collect();
        let ratios = ratios(&medians[&self.few], &medians[&self.many]);
        let reached = |(_, metric): (Scenario, Metric)| Some((metric, COST_MARK.reached(*ratios.get(&metric)?)));
        Report {
            ok: runs.values().flatten().all(|run| run.trouble().is_none()),
            machine: Machine::describe(&self.options.mosquitto),
            clients: self.clients,
            settings: self.settings.clone(),
            marks_reached: COSTS.into_iter().filter_map(reached).collect(),
            medians,
            ratios,
            runs,
        }
    }
}

fn ratios(few: &Figures, many: &Figures) -> Figures {
    let ratio = |(metric, value): (&Metric, &f64)| few.get(metric).map(|other| (*metric, value / other));
    many.iter().filter_map(ratio).filter(|(_, ratio)| ratio.is_finite()).collect()
}

/// The report for people.
#[must_use]
pub fn table(report: &Report) -> String {
    let mut out = format!("{}\n\n", report.machine.line());
    let mut heading = vec![format!("{} clients, median of the rounds", report.clients), "unit".to_owned()];
    heading.extend(report.medians.keys().map(|things| format!("{things} things")));
    heading.extend(["ratio".to_owned(), "mark".to_owned(), String::new()]);
    let mut rows = vec![heading];
    for metric in COSTS.map(|(_, metric)| metric).into_iter().chain(SHOWN) {
        let (label, unit) = metric.about();
        let mut row = vec![label.to_owned(), unit.to_owned()];
        let value = |value: Option<&f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1}"));
        row.extend(report.medians.values().map(|figures| value(figures.get(&metric))));
        row.push(report.ratios.get(&metric).map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}")));
        match report.marks_reached.get(&metric) {
            Some(reached) => row.extend([COST_MARK.text(), if *reached { "reached" } else { "MISSED" }.to_owned()]),
            None => row.extend([String::new(), String::new()]),
        }
        rows.push(row);
    }
    lay_out(&mut out, &rows);
    for (things, runs) in &report.runs {
        for run in runs {
            if let Some(trouble) = run.trouble() {
                out.push_str(&format!("FAILED, not counted: {things} things, {:?}: {trouble}\n", run.scenario));
            }
        }
    }
    let disturbed = report.runs.values().flatten().filter(|run| run.disturbed).count();
    if disturbed > 0 {
        out.push_str(&format!(
            "{disturbed} runs were disturbed by other programs; better repeat on a quiet machine.\n"
        ));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cost_with_many_is_divided_by_the_cost_with_few() {
        let few = Figures::from([(Metric::ShadowServerCpuUs, 40.0), (Metric::StormServerCpuUs, 0.0)]);
        let many = Figures::from([(Metric::ShadowServerCpuUs, 50.0), (Metric::StormServerCpuUs, 1.0)]);
        assert_eq!(ratios(&few, &many), Figures::from([(Metric::ShadowServerCpuUs, 1.25)]));
        assert!(!COST_MARK.reached(1.25));
    }
}
