//! A quiet machine: the figures of a run that shared the processors with a build are those of the build.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;

use super::{
    figures::{Figures, Metric},
    machine::processors,
    process,
};

/// With more than this share of all processors used by others, a run is disturbed.
pub const OTHERS_PERCENT_MAX: f64 = 5.0;

/// The time over which the processors must be quiet before a run starts.
const LOOK: Duration = Duration::from_secs(2);

/// Waits until the whole machine is quiet, at most `patience`. A run that starts in noise shows it in its figures.
pub fn wait(patience: Duration) -> Result<()> {
    let end = Instant::now() + patience;
    let processors = processors();
    while Instant::now() < end {
        let before = process::machine_busy()?;
        thread::sleep(LOOK);
        let busy = process::machine_busy()?.saturating_sub(before);
        if 100.0 * busy.as_secs_f64() / (LOOK.as_secs_f64() * processors as f64) < OTHERS_PERCENT_MAX {
            break;
        }
    }
    Ok(())
}

/// Whether others used the processors during the run with these figures.
#[must_use]
pub fn disturbed(figures: &Figures) -> bool {
    let shares = [
        Metric::StormOthersPercent,
        Metric::ShadowOthersPercent,
        Metric::FanOutOthersPercent,
        Metric::HostileOthersPercent,
    ];
    shares.iter().filter_map(|metric| figures.get(metric)).any(|percent| *percent > OTHERS_PERCENT_MAX)
}
