//! Everybody connects at once, as after a power cut, and then stays idle.

use std::{
    pin::pin,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

use super::{Outcome, Settings, Target, Work};
use crate::load::{
    client::Connection,
    failures::Failure,
    figures::{Figures, Metric, percentile_ms},
    fleet::{Fleet, Phase, Shared},
    packet::{self, Packet},
    process::{self, Memory},
    usage::{Meter, Usage, micros_each},
};

/// How often memory and processor time are looked at while the server comes to rest.
const LOOK: Duration = Duration::from_millis(500);

/// A server is at rest when over one `LOOK` its memory moved less than this …
const REST_KIB: u64 = 256;

/// … and it used less processor time than this.
const REST_CPU: Duration = Duration::from_millis(20);

/// Connects `clients` clients and measures the server meanwhile and at rest.
pub fn run(target: &Target, clients: usize, settings: &Settings) -> Result<Outcome> {
    let plan = settings.plan(target, clients)?;
    let before = at_rest(target.pid, settings.deadline())?;
    let meter = Meter::start(target.pid, None)?;
    let fleet = Fleet::start(plan, &Work::Idle)?;
    fleet.wait_connected(settings.deadline());
    let storm = meter.read()?;
    let after = at_rest(target.pid, settings.deadline())?;
    // Work that the server put off until after the last SUBACK belongs to the connects too.
    let settled = meter.read()?;

    let mut counts = fleet.shared.progress.counts();
    counts.connects.sort_unstable();
    let shared = std::sync::Arc::clone(&fleet.shared);
    fleet.stop()?;
    let figures = figures(clients, &counts.connects, &storm, &settled, before, after);
    Ok(Outcome { figures, failures: shared.failures.counts() })
}

/// Answers what must be answered until the fleet stops.
pub async fn stay(shared: &Shared, connection: &mut Connection) -> Result<(), Failure> {
    let mut stop = pin!(shared.reached(|phase| phase == Phase::Stop));
    loop {
        let id = tokio::select! {
            // Cancel-safe, see there.
            packet = connection.next() => match packet? {
                Packet::Publish(message) => message.id,
                _ => None,
            },
            () = &mut stop => return Ok(()),
        };
        if let Some(id) = id {
            let mut out = Vec::with_capacity(4);
            packet::puback(&mut out, id);
            connection.send(&out).await?;
        }
    }
}

fn figures(
    clients: usize,
    connects: &[Duration],
    storm: &Usage,
    settled: &Usage,
    before: Memory,
    after: Memory,
) -> Figures {
    let each = |before: u64, after: u64| (after as f64 - before as f64) / clients as f64;
    Figures::from([
        (Metric::StormServerCpuUs, micros_each(settled.server, clients)),
        (Metric::StormConnectsPerS, connects.len() as f64 / storm.wall.as_secs_f64()),
        (Metric::StormWallS, storm.wall.as_secs_f64()),
        (Metric::StormP50Ms, percentile_ms(connects, 50)),
        (Metric::StormP99Ms, percentile_ms(connects, 99)),
        (Metric::StormClientCpuUs, micros_each(storm.client, clients)),
        (Metric::StormOthersPercent, storm.others_percent()),
        (Metric::IdleRssKib, each(before.rss_kib, after.rss_kib)),
        (Metric::IdlePssKib, each(before.pss_kib, after.pss_kib)),
        (Metric::IdleBaseRssKib, before.rss_kib as f64),
    ])
}

/// Memory of the server once neither it nor its processor time moves any more.
pub fn at_rest(pid: u32, patience: Duration) -> Result<Memory> {
    let end = Instant::now() + patience;
    let mut last = (process::memory(pid)?, process::cpu_time(pid)?);
    loop {
        thread::sleep(LOOK);
        let now = (process::memory(pid)?, process::cpu_time(pid)?);
        if now.0.rss_kib.abs_diff(last.0.rss_kib) < REST_KIB && now.1 - last.1 < REST_CPU {
            return Ok(now.0);
        }
        if Instant::now() > end {
            bail!(
                "process {pid} does not come to rest: {} KiB, still moving after {} s",
                now.0.rss_kib,
                patience.as_secs()
            );
        }
        last = now;
    }
}
