//! One job reaches every connected device.

use std::{pin::pin, sync::Arc, time::Instant};

use anyhow::Result;

use super::{Outcome, Settings, Target, Work};
use crate::load::{
    client::Connection,
    failures::{Failure, Kind},
    figures::{Figures, Metric},
    fleet::{Fleet, Phase, Shared},
    machine::processors,
    packet::{self, Packet},
    traffic,
    trigger::{Armed, Trigger},
    usage::{Meter, micros_each},
};

/// The job's id. Every run has a server with fresh data, so it needs to be unique only in one run.
pub const JOB_ID: &str = "load-fan-out";

/// Connects `clients` clients, pulls `trigger`, and waits until all of them know of the job.
pub fn run(target: &Target, clients: usize, trigger: &Trigger, settings: &Settings) -> Result<Outcome> {
    let mut plan = settings.plan(target, clients)?;
    // Everybody is told at one moment: on one thread the clients' own work would bound what is measured of the server.
    plan.threads = settings.threads.unwrap_or_else(processors);
    let fleet = Fleet::start(plan, &Work::AwaitJob(JOB_ID.into()))?;
    fleet.wait_connected(settings.deadline());
    let mut armed = Armed::new(trigger, target.addr, clients, settings)?;
    let meter = Meter::start(target.pid, None)?;
    let start = Instant::now();
    armed.pull()?;
    let all = fleet.shared.progress.wait_all_received(settings.deadline());
    let usage = meter.read()?;
    let shared = Arc::clone(&fleet.shared);
    if let Err(e) = armed.finish() {
        shared.failures.add(Failure::new(Kind::Rejected, format!("{e:#}")));
    }
    let received = shared.progress.counts().received;
    fleet.stop()?;
    if !all {
        let text = format!("no job after {} s", settings.deadline);
        shared.failures.add_many(clients - received.len(), Failure::new(Kind::NoAnswer, text));
    }

    let since = |at: Option<&Instant>| at.map_or(0.0, |at| at.duration_since(start).as_secs_f64());
    let (first, last) = (since(received.iter().min()), since(received.iter().max()));
    let figures = Figures::from([
        (Metric::FanOutThingsPerS, if last > 0.0 { received.len() as f64 / last } else { 0.0 }),
        (Metric::FanOutWallMs, last * 1e3),
        (Metric::FanOutFirstMs, first * 1e3),
        (Metric::FanOutServerCpuUs, micros_each(usage.server, received.len())),
        (Metric::FanOutClientCpuUs, micros_each(usage.client, received.len())),
        (Metric::FanOutOthersPercent, usage.others_percent()),
    ]);
    Ok(Outcome { figures, failures: shared.failures.counts() })
}

/// One client: notes when it is told of `job` for the first time, and acknowledges everything.
pub async fn await_job(shared: &Shared, connection: &mut Connection, job: &str) -> Result<(), Failure> {
    let quoted = format!("\"{job}\"");
    let mut stop = pin!(shared.reached(|phase| phase == Phase::Stop));
    let mut told = false;
    loop {
        let id = tokio::select! {
            // Cancel-safe, see there.
            packet = connection.next() => match packet? {
                Packet::Publish(message) => {
                    let ours = message.topic.ends_with(traffic::NOTIFY_NEXT.as_bytes())
                        && traffic::find(message.payload, quoted.as_bytes()).is_some();
                    if ours && !told {
                        told = true;
                        shared.progress.received(Instant::now());
                    }
                    message.id
                }
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
