//! How busy the host is. Only what is asked for is refreshed: a full look at all processes would cost more memory than
//! the agent itself needs.

use crate::platform;
use muster_wire::telemetry::HostTelemetry;
use muster_wire::time::Timestamp;
use std::path::PathBuf;
use sysinfo::System;

/// Measures the host.
pub struct Metrics {
    /// Absent where the platform cannot be measured.
    system: Option<System>,
    volume: PathBuf,
}

impl Metrics {
    /// `volume` is a path on the volume to be measured.
    pub fn new(volume: PathBuf) -> Self {
        let mut system = System::new().ok();
        // The first look at the processors only sets the mark for the next one.
        system.as_mut().map(System::refresh_cpu_usage);
        Self { system, volume }
    }

    /// One sample.
    pub fn sample(&mut self, at: Timestamp) -> HostTelemetry {
        let mut sample = HostTelemetry {
            at,
            disk_total_bytes: platform::volume_bytes(&self.volume).unwrap_or(0),
            disk_available_bytes: platform::free_bytes(&self.volume).unwrap_or(0),
            uptime_s: System::uptime().unwrap_or(0),
            agent_memory_bytes: platform::resident_bytes(),
            ..HostTelemetry::default()
        };
        #[expect(clippy::cast_possible_truncation, reason = "a load average needs no more digits")]
        let load_1m = System::load_average().ok().map(|load| load.one as f32);
        sample.load_1m = load_1m;
        if let Some(system) = &mut self.system {
            system.refresh_cpu_usage();
            system.refresh_memory();
            sample.cpu_percent = system.global_cpu_usage();
            sample.memory_total_bytes = system.total_memory();
            sample.memory_available_bytes = system.available_memory();
        }
        sample
    }
}

/// Memory that could be given to a new process, in bytes; `None` where the platform cannot be measured.
pub fn memory_available() -> Option<u64> {
    let mut system = System::new().ok()?;
    system.refresh_memory();
    Some(system.available_memory())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_holds_what_every_host_has() {
        let sample = Metrics::new("/".into()).sample(Timestamp::from_seconds(5));
        assert!(sample.memory_total_bytes > sample.memory_available_bytes);
        assert!(sample.disk_total_bytes > 0 && sample.agent_memory_bytes > 0 && sample.uptime_s > 0);
        assert!(sample.cpu_percent >= 0.0 && sample.at == Timestamp::from_seconds(5));
    }
}
