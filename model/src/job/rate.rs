//! How fast things are told of a job.
//!
//! ```text
//!  any 60 seconds:  things told <= rate
//!  rate           = base * factor ^ (things reached / criterion), looked at anew once a minute
//! ```
//!
//! What is allowed is given at once at the begin of a minute; a rate without limit gives everything.

use super::run::{Pace, Release};
use super::tally::Tally;
use muster_wire::job::{JobStatus, RolloutConfig};
use muster_wire::time::Timestamp;
use std::time::Duration;

/// How many things may be told in a minute.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rate {
    cap: Option<u64>,
    growth: Option<Growth>,
}

#[derive(Clone, Debug, PartialEq)]
struct Growth {
    base: u64,
    factor: f64,
    each: u64,
    on: Reached,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reached {
    Notified,
    Succeeded,
}

impl Rate {
    /// Things in a minute after `notified` were told and some of these succeeded; `None` is without limit.
    #[must_use]
    pub fn per_minute(&self, notified: u64, tally: &Tally) -> Option<u64> {
        let grown = self.growth.as_ref().map(|growth| {
            let reached = match growth.on {
                Reached::Notified => notified,
                Reached::Succeeded => tally.of(JobStatus::Succeeded),
            };
            grow(growth.base, growth.factor, reached / growth.each)
        });
        match (self.cap, grown) {
            (Some(cap), Some(grown)) => Some(cap.min(grown)),
            (cap, grown) => cap.or(grown),
        }
    }

    /// Whether a success may change the rate.
    #[must_use]
    pub fn follows_successes(&self) -> bool {
        self.growth.as_ref().is_some_and(|growth| growth.on == Reached::Succeeded)
    }
}

/// How many things may be told now, at which pace, and when more may be.
pub(super) fn allowance(rate: &Rate, run: &super::Run, tally: &Tally, now: Timestamp) -> Allowance {
    let pace = match run.pace {
        Some(pace) if now < pace.since.plus(MINUTE) => Some(pace),
        _ => rate.per_minute(run.released, tally).map(|per_minute| Pace { per_minute, since: now }),
    };
    let Some(pace) = pace else { return Allowance { things: u64::MAX, pace: None, more_at: None } };
    let recent: Vec<&Release> = run.recent.iter().filter(|release| now < release.at.plus(MINUTE)).collect();
    let told: u64 = recent.iter().map(|release| release.things).sum();
    let things = pace.per_minute.saturating_sub(told);
    let oldest = recent.iter().map(|release| release.at).min();
    Allowance { things, pace: Some(pace), more_at: oldest.map(|at| at.plus(MINUTE)) }
}

/// What may be told now.
pub(super) struct Allowance {
    pub(super) things: u64,
    pub(super) pace: Option<Pace>,
    pub(super) more_at: Option<Timestamp>,
}

/// Checks what an operator wants; adds what is wrong to `problems`.
pub(super) fn check(config: &RolloutConfig, problems: &mut Vec<String>) -> Rate {
    if config.maximum_per_minute == Some(0) {
        problems.push("maximumPerMinute is 0; use at least 1".to_owned());
    }
    let growth = config.exponential_rate.as_ref().map(|exponential| {
        let (base, factor) = (exponential.base_rate_per_minute, exponential.increment_factor);
        if !(1..=BASE_MAX).contains(&base) {
            problems.push(format!("baseRatePerMinute is {base}; use 1 to {BASE_MAX}"));
        }
        let one_decimal = (factor * 10.0 - (factor * 10.0).round()).abs() < 1e-6;
        if !factor.is_finite() || !(1.1..=5.0).contains(&factor) || !one_decimal {
            problems.push(format!("incrementFactor is {factor}; use 1.1 to 5 with one decimal"));
        }
        let criteria = &exponential.rate_increase_criteria;
        let (each, on) = match (criteria.number_of_notified_things, criteria.number_of_succeeded_things) {
            (Some(each @ 1..), None) => (each, Reached::Notified),
            (None, Some(each @ 1..)) => (each, Reached::Succeeded),
            _ => {
                problems.push(
                    "rateIncreaseCriteria needs numberOfNotifiedThings or numberOfSucceededThings, one of the two, \
                     at least 1"
                        .to_owned(),
                );
                (1, Reached::Notified)
            }
        };
        Growth { base: base.into(), factor, each: each.into(), on }
    });
    Rate { cap: config.maximum_per_minute.map(u64::from), growth }
}

/// AWS IoT Core's figure.
const BASE_MAX: u32 = 1000;
/// A grown rate does not grow further: past it, telling is as fast as the server can.
const GROWN_MAX: u64 = 1_000_000;
pub(super) const MINUTE: Duration = Duration::from_secs(60);

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded before the cast")]
fn grow(base: u64, factor: f64, times: u64) -> u64 {
    let times = i32::try_from(times.min(1000)).unwrap_or(1000);
    let grown = f64::from(u32::try_from(base).unwrap_or(u32::MAX)) * factor.powi(times);
    // A hair more, so that 1.1 * 10 is 11 in binary fractions too.
    if grown >= GROWN_MAX as f64 { GROWN_MAX } else { (grown + 1e-9) as u64 }
}
