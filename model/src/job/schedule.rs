//! When a job runs: begin, end, and maintenance windows. All times are UTC.

use super::cron::{Cron, YEARS};
use muster_wire::job::{EndBehavior, SchedulingConfig};
use muster_wire::time::Timestamp;
use std::time::Duration;

/// A checked schedule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    /// Nothing happens before.
    pub start: Option<Timestamp>,
    /// The rollout ends then.
    pub end: Option<Timestamp>,
    /// What happens then.
    pub end_behavior: EndBehavior,
    windows: Vec<Window>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Window {
    opens: Cron,
    stays: Duration,
}

/// Whether things may be told of the job now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// A window is open, or there are none.
    Open,
    /// Not before this moment; `None` when no window opens any more.
    ClosedUntil(Option<Timestamp>),
}

impl Schedule {
    /// How the maintenance windows stand.
    #[must_use]
    pub fn gate(&self, now: Timestamp) -> Gate {
        let open = |window: &Window| {
            // The first opening that has not closed by now.
            let earliest = Timestamp::from_millis(
                now.millis().saturating_sub(i64::try_from(window.stays.as_millis()).unwrap_or(i64::MAX)) + 1,
            );
            window.opens.at_or_after(earliest).is_some_and(|opened| opened <= now)
        };
        if self.windows.is_empty() || self.windows.iter().any(open) {
            return Gate::Open;
        }
        Gate::ClosedUntil(self.windows.iter().filter_map(|window| window.opens.at_or_after(now)).min())
    }

    /// Checks the times against the moment at which the job is made.
    ///
    /// Errors: what is wrong, for people.
    pub fn check_at(&self, now: Timestamp) -> Result<(), String> {
        if self.start.is_some_and(|start| start > now.plus(START_AHEAD_MAX)) {
            return Err("startTime is more than a year ahead".to_owned());
        }
        let begin = self.start.map_or(now, |start| start.max(now));
        match self.end {
            Some(end) if end <= begin => Err(format!("endTime {end} is not after the start, {begin}")),
            Some(end) if end > begin.plus(END_AHEAD_MAX) => {
                Err("endTime is more than two years after the start".to_owned())
            }
            _ if self.gate(begin) == Gate::ClosedUntil(None) => {
                Err(format!("no maintenance window opens within {YEARS} years"))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// Checks what an operator wants; adds what is wrong to `problems`.
pub(super) fn check(config: &SchedulingConfig, problems: &mut Vec<String>) -> Schedule {
    let mut time = |name: &str, text: &Option<String>| {
        let text = text.as_ref()?;
        let time = Timestamp::from_utc(text);
        if time.is_none() {
            problems.push(format!("{name} {text:?} is no time; use \"YYYY-MM-DD HH:MM\" or YYYY-MM-DDTHH:MM:SSZ, UTC"));
        }
        time
    };
    let (start, end) = (time("startTime", &config.start_time), time("endTime", &config.end_time));
    if config.end_behavior.is_some() && config.end_time.is_none() {
        problems.push("endBehavior needs an endTime".to_owned());
    }
    if config.maintenance_windows.len() > WINDOWS_MAX {
        let windows = config.maintenance_windows.len();
        problems.push(format!("there are {windows} maintenance windows; at most {WINDOWS_MAX} are allowed"));
    }
    let mut windows = Vec::new();
    for window in &config.maintenance_windows {
        let minutes = window.duration_in_minutes;
        if !(1..=WINDOW_MINUTES_MAX).contains(&minutes) {
            problems.push(format!("durationInMinutes is {minutes}; use 1 to {WINDOW_MINUTES_MAX}"));
        }
        if window.start_time.len() > CRON_BYTES_MAX {
            problems.push(format!("the cron expression of a window is longer than {CRON_BYTES_MAX} bytes"));
            continue;
        }
        match Cron::parse(&window.start_time) {
            Ok(opens) => windows.push(Window { opens, stays: Duration::from_secs(u64::from(minutes) * 60) }),
            Err(problem) => {
                problems.push(format!("the maintenance window {:?} is not usable: {problem}", window.start_time));
            }
        }
    }
    Schedule { start, end, end_behavior: config.end_behavior.unwrap_or_default(), windows }
}

/// AWS IoT Core's figures.
const WINDOW_MINUTES_MAX: u32 = 1430;
const CRON_BYTES_MAX: usize = 256;
const START_AHEAD_MAX: Duration = Duration::from_secs(366 * 86_400);
const END_AHEAD_MAX: Duration = Duration::from_secs(2 * 366 * 86_400);
/// More windows than days of a month help nobody.
const WINDOWS_MAX: usize = 31;
