//! Who used the processors between two moments: the server, this program, its stand-in, everybody else.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::{machine::processors, process};

/// Reads processor times at the start and at the end of something.
#[derive(Debug)]
pub struct Meter {
    server: u32,
    stand_in: Option<u32>,
    start: Sample,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Instant,
    server: Duration,
    client: Duration,
    stand_in: Duration,
    machine: Duration,
}

/// What was used between start and end.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Time on the wall.
    pub wall: Duration,
    /// Processor time of the server.
    pub server: Duration,
    /// Processor time of this program.
    pub client: Duration,
    /// Processor time of the stand-in responder; zero when there is none.
    pub stand_in: Duration,
    /// Processor time of everything else on the machine. Much of it makes the run worthless.
    pub others: Duration,
}

impl Meter {
    /// Starts to measure the server `server` and the stand-in, if there is one.
    pub fn start(server: u32, stand_in: Option<u32>) -> Result<Self> {
        Ok(Self { server, stand_in, start: Sample::take(server, stand_in)? })
    }

    /// What was used since the start. May be asked again later.
    pub fn read(&self) -> Result<Usage> {
        let end = Sample::take(self.server, self.stand_in)?;
        let start = &self.start;
        let ours = |sample: &Sample| sample.server + sample.client + sample.stand_in;
        Ok(Usage {
            wall: end.at - start.at,
            server: end.server.saturating_sub(start.server),
            client: end.client.saturating_sub(start.client),
            stand_in: end.stand_in.saturating_sub(start.stand_in),
            // Ticks of the machine and of processes are rounded apart, so the difference may be slightly negative.
            others: (end.machine.saturating_sub(start.machine)).saturating_sub(ours(&end).saturating_sub(ours(start))),
        })
    }
}

impl Usage {
    /// Share of all processors that others used, in percent.
    #[must_use]
    pub fn others_percent(&self) -> f64 {
        let processors = processors();
        100.0 * self.others.as_secs_f64() / (self.wall.as_secs_f64() * processors as f64)
    }
}

impl Sample {
    fn take(server: u32, stand_in: Option<u32>) -> Result<Self> {
        Ok(Self {
            at: Instant::now(),
            server: process::cpu_time(server)?,
            client: process::cpu_time(std::process::id())?,
            stand_in: stand_in.map_or(Ok(Duration::ZERO), process::cpu_time)?,
            machine: process::machine_busy()?,
        })
    }
}

/// Microseconds for each of `count`.
#[must_use]
pub fn micros_each(total: Duration, count: usize) -> f64 {
    total.as_secs_f64() * 1e6 / count.max(1) as f64
}
