//! The figures of a run: what is measured, in which unit, and the mark that Muster is to reach.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

/// One thing that is measured. Its JSON name carries the unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "`Metric::about` says it, in one place and for the report too")]
pub enum Metric {
    StormServerCpuUs,
    StormConnectsPerS,
    StormWallS,
    StormP50Ms,
    StormP99Ms,
    StormClientCpuUs,
    StormOthersPercent,
    IdleRssKib,
    IdlePssKib,
    IdleBaseRssKib,
    ShadowPerS,
    ShadowP50Ms,
    ShadowP99Ms,
    ShadowServerCpuUs,
    ShadowClientCpuUs,
    ShadowStandInCpuUs,
    ShadowOthersPercent,
    FanOutThingsPerS,
    FanOutWallMs,
    FanOutFirstMs,
    FanOutServerCpuUs,
    FanOutClientCpuUs,
    FanOutOthersPercent,
    HostileAlonePerS,
    HostilePerS,
    HostileAloneP99Ms,
    HostileP99Ms,
    HostileP99Times,
    HostileRssKib,
    HostileOthersPercent,
    AgentRssMb,
}

/// The values of one run, or the medians of several.
pub type Figures = BTreeMap<Metric, f64>;

/// What Muster is to reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mark {
    /// This or less.
    AtMost(f64),
    /// This or more.
    AtLeast(f64),
}

impl Metric {
    /// All of them, in the order of the report.
    pub const ALL: [Self; 31] = [
        Self::StormServerCpuUs,
        Self::StormConnectsPerS,
        Self::StormWallS,
        Self::StormP50Ms,
        Self::StormP99Ms,
        Self::StormClientCpuUs,
        Self::StormOthersPercent,
        Self::IdleRssKib,
        Self::IdlePssKib,
        Self::IdleBaseRssKib,
        Self::ShadowPerS,
        Self::ShadowP50Ms,
        Self::ShadowP99Ms,
        Self::ShadowServerCpuUs,
        Self::ShadowClientCpuUs,
        Self::ShadowStandInCpuUs,
        Self::ShadowOthersPercent,
        Self::FanOutThingsPerS,
        Self::FanOutWallMs,
        Self::FanOutFirstMs,
        Self::FanOutServerCpuUs,
        Self::FanOutClientCpuUs,
        Self::FanOutOthersPercent,
        Self::HostileAlonePerS,
        Self::HostilePerS,
        Self::HostileAloneP99Ms,
        Self::HostileP99Ms,
        Self::HostileP99Times,
        Self::HostileRssKib,
        Self::HostileOthersPercent,
        Self::AgentRssMb,
    ];

    /// What it is, and its unit.
    #[must_use]
    pub fn about(self) -> (&'static str, &'static str) {
        match self {
            Self::StormServerCpuUs => ("storm: server CPU per connect and subscribe", "µs"),
            Self::StormConnectsPerS => ("storm: connects", "/s"),
            Self::StormWallS => ("storm: until the last is subscribed", "s"),
            Self::StormP50Ms => ("storm: one connect, median", "ms"),
            Self::StormP99Ms => ("storm: one connect, 99th percentile", "ms"),
            Self::StormClientCpuUs => ("storm: load program's CPU per connect", "µs"),
            Self::StormOthersPercent => ("storm: processors used by others", "%"),
            Self::IdleRssKib => ("idle: server memory (RSS) per client", "KiB"),
            Self::IdlePssKib => ("idle: server memory (PSS) per client", "KiB"),
            Self::IdleBaseRssKib => ("idle: server memory (RSS) without clients", "KiB"),
            Self::ShadowPerS => ("shadow: round trips", "/s"),
            Self::ShadowP50Ms => ("shadow: round trip, median", "ms"),
            Self::ShadowP99Ms => ("shadow: round trip, 99th percentile", "ms"),
            Self::ShadowServerCpuUs => ("shadow: server CPU per round trip", "µs"),
            Self::ShadowClientCpuUs => ("shadow: load program's CPU per round trip", "µs"),
            Self::ShadowStandInCpuUs => ("shadow: stand-in's CPU per round trip", "µs"),
            Self::ShadowOthersPercent => ("shadow: processors used by others", "%"),
            Self::FanOutThingsPerS => ("fan-out: things reached", "/s"),
            Self::FanOutWallMs => ("fan-out: trigger until the last thing knows", "ms"),
            Self::FanOutFirstMs => ("fan-out: trigger until the first thing knows", "ms"),
            Self::FanOutServerCpuUs => ("fan-out: server CPU per thing", "µs"),
            Self::FanOutClientCpuUs => ("fan-out: load program's CPU per thing", "µs"),
            Self::FanOutOthersPercent => ("fan-out: processors used by others", "%"),
            Self::HostileAlonePerS => ("hostile: round trips, alone", "/s"),
            Self::HostilePerS => ("hostile: round trips, beside bad clients", "/s"),
            Self::HostileAloneP99Ms => ("hostile: 99th percentile, alone", "ms"),
            Self::HostileP99Ms => ("hostile: 99th percentile, beside bad clients", "ms"),
            Self::HostileP99Times => ("hostile: 99th percentile, beside / alone", "×"),
            Self::HostileRssKib => ("hostile: server memory (RSS) per bad client", "KiB"),
            Self::HostileOthersPercent => ("hostile: processors used by others", "%"),
            Self::AgentRssMb => ("agent: resident memory", "MB"),
        }
    }

    /// The mark for Muster, at the default numbers of clients.
    #[must_use]
    pub fn mark(self) -> Option<Mark> {
        match self {
            Self::StormServerCpuUs => Some(Mark::AtMost(400.0)),
            Self::IdleRssKib => Some(Mark::AtMost(16.0)),
            Self::ShadowPerS => Some(Mark::AtLeast(10_000.0)),
            Self::HostileP99Times => Some(Mark::AtMost(2.0)),
            Self::FanOutThingsPerS => Some(Mark::AtLeast(15_000.0)),
            Self::AgentRssMb => Some(Mark::AtMost(15.0)),
            _ => None,
        }
    }
}

impl Mark {
    /// Whether `value` reaches it.
    #[must_use]
    pub fn reached(self, value: f64) -> bool {
        match self {
            Self::AtMost(limit) => value <= limit,
            Self::AtLeast(limit) => value >= limit,
        }
    }

    /// As shown in a table.
    #[must_use]
    pub fn text(self) -> String {
        match self {
            Self::AtMost(limit) => format!("≤ {limit}"),
            Self::AtLeast(limit) => format!("≥ {limit}"),
        }
    }
}

/// The middle value of each metric over several runs; of an even number, the mean of the two in the middle.
#[must_use]
pub fn medians<'a>(runs: impl IntoIterator<Item = &'a Figures>) -> Figures {
    let mut values = BTreeMap::<Metric, Vec<f64>>::new();
    for (metric, value) in runs.into_iter().flatten() {
        values.entry(*metric).or_default().push(*value);
    }
    values.into_iter().map(|(metric, mut values)| (metric, median(&mut values))).collect()
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) { f64::midpoint(values[middle - 1], values[middle]) } else { values[middle] }
}

/// The value below which `percent` of `sorted` lie, in milliseconds; 0 when there are none.
#[must_use]
pub fn percentile_ms(sorted: &[Duration], percent: usize) -> f64 {
    let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(at).map_or(0.0, |duration| duration.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_take_each_metric_for_itself() {
        let run = |value| Figures::from([(Metric::ShadowPerS, value)]);
        assert_eq!(medians(&[run(3.0), run(1.0), run(2.0)]), run(2.0));
        assert_eq!(medians(&[run(4.0), run(1.0)]), run(2.5));
        let mut more = run(9.0);
        more.insert(Metric::AgentRssMb, 14.0);
        assert_eq!(medians(&[run(1.0), more])[&Metric::AgentRssMb], 14.0);
    }

    #[test]
    fn percentiles_are_values_that_occurred() {
        let sorted: Vec<_> = (1..=100).map(Duration::from_millis).collect();
        assert_eq!(percentile_ms(&sorted, 50), 51.0);
        assert_eq!(percentile_ms(&sorted, 99), 100.0);
        assert_eq!(percentile_ms(&sorted[..1], 99), 1.0);
        assert_eq!(percentile_ms(&[], 99), 0.0);
    }

    #[test]
    fn every_metric_is_in_the_list_once_with_its_unit_in_its_name() {
        for (at, metric) in Metric::ALL.into_iter().enumerate() {
            assert_eq!(metric as usize, at);
            let name = serde_json::to_string(&metric).unwrap_or_default();
            let unit = match metric.about().1 {
                "µs" => "_us\"",
                "/s" => "_per_s\"",
                "s" => "_s\"",
                "ms" => "_ms\"",
                "%" => "_percent\"",
                "KiB" => "_kib\"",
                "×" => "_times\"",
                _ => "_mb\"",
            };
            assert!(name.ends_with(unit), "{name} is measured in {unit}");
        }
    }

    #[test]
    fn a_mark_is_reached_from_its_own_side() {
        assert!(Mark::AtMost(16.0).reached(16.0) && !Mark::AtMost(16.0).reached(16.1));
        assert!(Mark::AtLeast(10.0).reached(10.0) && !Mark::AtLeast(10.0).reached(9.9));
    }
}
