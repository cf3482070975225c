//! Measurements of a host: `muster/things/{thing}/telemetry/host`.

use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// What an agent measures of its host and of itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HostTelemetry {
    /// When it was measured, by the host's clock.
    pub at: Timestamp,
    /// CPU use of the whole host since the last sample, percent of all cores.
    pub cpu_percent: f32,
    /// Load average over one minute; absent where the platform has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_1m: Option<f32>,
    /// Memory of the host, bytes.
    pub memory_total_bytes: u64,
    /// Memory that could be given to a new process, bytes.
    pub memory_available_bytes: u64,
    /// Size of the volume that holds the agent's prefix, bytes.
    pub disk_total_bytes: u64,
    /// Free space on that volume, bytes.
    pub disk_available_bytes: u64,
    /// Seconds since the host booted.
    pub uptime_s: u64,
    /// Resident memory of the agent itself, bytes.
    pub agent_memory_bytes: u64,
}

impl HostTelemetry {
    /// Whether every number has a JSON form.
    #[must_use]
    pub fn is_finite(&self) -> bool {
        self.cpu_percent.is_finite() && self.load_1m.is_none_or(f32::is_finite)
    }
}
