//! Shadow updates in a closed loop: each device has one update under way and starts the next with the answer.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;

use super::{Outcome, Settings, Target, Work};
use crate::load::{
    client::Connection,
    failures::{Failure, Kind},
    figures::{Figures, Metric, percentile_ms},
    fleet::{Fleet, Phase, Shared},
    packet::{self, Packet, Publish},
    traffic,
    usage::{Meter, micros_each},
};

/// Connects `clients` clients and has the active ones update for the time that `settings` give.
/// `stand_in` is the process that answers in place of a shadow service, if there is one.
pub fn run(target: &Target, clients: usize, stand_in: Option<u32>, settings: &Settings) -> Result<Outcome> {
    let active = settings.active.unwrap_or(clients).min(clients);
    let fleet = Fleet::start(settings.plan(target, clients)?, &Work::Updates(active))?;
    fleet.wait_connected(settings.deadline());
    fleet.set(Phase::Warm);
    thread::sleep(Duration::from_secs(settings.warmup));
    let meter = Meter::start(target.pid, stand_in)?;
    fleet.set(Phase::Measure);
    thread::sleep(Duration::from_secs(settings.seconds));
    let usage = meter.read()?;

    let shared = Arc::clone(&fleet.shared);
    let mut trips = fleet.stop()?;
    trips.sort_unstable();
    if trips.is_empty() {
        shared.failures.add(Failure::new(Kind::NoAnswer, "no update was answered"));
    }
    let mut figures = Figures::from([
        (Metric::ShadowPerS, trips.len() as f64 / usage.wall.as_secs_f64()),
        (Metric::ShadowP50Ms, percentile_ms(&trips, 50)),
        (Metric::ShadowP99Ms, percentile_ms(&trips, 99)),
        (Metric::ShadowServerCpuUs, micros_each(usage.server, trips.len())),
        (Metric::ShadowClientCpuUs, micros_each(usage.client, trips.len())),
        (Metric::ShadowOthersPercent, usage.others_percent()),
    ]);
    if stand_in.is_some() {
        figures.insert(Metric::ShadowStandInCpuUs, micros_each(usage.stand_in, trips.len()));
    }
    Ok(Outcome { figures, failures: shared.failures.counts() })
}

/// One client's loop.
pub async fn update(
    shared: &Shared,
    connection: &mut Connection,
    index: usize,
    recorded: &mut Vec<Duration>,
) -> Result<(), Failure> {
    let topic = traffic::update_topic(&traffic::thing(index));
    let (mut out, mut payload, mut token) = (Vec::new(), Vec::new(), Vec::new());
    shared.reached(|phase| phase != Phase::Hold).await;
    for sequence in 0.. {
        let phase = shared.phase();
        if phase == Phase::Stop {
            break;
        }
        // Not 0, and unlike the one before it.
        let id = (sequence % 60_000) as u16 + 1;
        traffic::quoted_token(&mut token, index, sequence);
        traffic::update_payload(&mut payload, sequence, &token);
        packet::publish(&mut out, &topic, Some(id), &payload);
        let start = Instant::now();
        connection.send(&out).await?;
        out.clear();
        await_answers(connection, id, &topic, &token, &mut out).await?;
        if phase == Phase::Measure && shared.phase() == Phase::Measure {
            recorded.push(start.elapsed());
        }
    }
    if out.is_empty() { Ok(()) } else { connection.send(&out).await }
}

/// Waits for both the PUBACK of `id` and the acceptance with `token`, in either order.
/// Acknowledgements that are due go to `out`, to leave with the next update in one write.
async fn await_answers(
    connection: &mut Connection,
    id: u16,
    topic: &str,
    token: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Failure> {
    let (mut acknowledged, mut accepted) = (false, false);
    while !(acknowledged && accepted) {
        match connection.next().await? {
            Packet::PubAck { id: found, .. } if found == id => acknowledged = true,
            Packet::Publish(message) => {
                if let Some(id) = message.id {
                    packet::puback(out, id);
                }
                accepted |= is_acceptance(&message, topic, token)?;
            }
            other => return Err(Failure::new(Kind::Protocol, format!("{other:?} while waiting for an answer"))),
        }
    }
    Ok(())
}

fn is_acceptance(message: &Publish<'_>, topic: &str, token: &[u8]) -> Result<bool, Failure> {
    if message.topic.strip_prefix(topic.as_bytes()) == Some(traffic::ACCEPTED.as_bytes()) {
        // The token stands near the end of the answer, but AWS fixes no order, so search all of it.
        return Ok(traffic::find(message.payload, token).is_some());
    }
    if message.topic.ends_with(traffic::REJECTED.as_bytes()) {
        return Err(Failure::new(Kind::Rejected, String::from_utf8_lossy(message.payload)));
    }
    Ok(false)
}
