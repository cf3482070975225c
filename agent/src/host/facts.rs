//! Who the host is.

use crate::hands::process::sha256;
use crate::platform;
use muster_wire::enrol::HostFacts;
use muster_wire::id::{Sha256Hex, Version};
use muster_wire::time::Timestamp;
use std::net::IpAddr;
use std::sync::OnceLock;
use sysinfo::{Networks, System};

/// Addresses that are told; a host with more has them all on one wire.
const ADDRESSES_MAX: usize = 16;

/// The facts of this host. `start_id` is drawn once for each start of the agent.
pub fn collect(start_id: &str) -> HostFacts {
    HostFacts {
        agent_version: Version::new(env!("CARGO_PKG_VERSION")).ok(),
        agent_sha256: own_digest(),
        hostname: System::host_name().unwrap_or_default(),
        os: System::long_os_version().unwrap_or_else(|_| std::env::consts::OS.to_owned()),
        kernel: System::kernel_version().unwrap_or_default(),
        arch: std::env::consts::ARCH.to_owned(),
        addresses: addresses(),
        boot_id: platform::boot_id(),
        booted_at: booted_at(),
        start_id: start_id.to_owned(),
        labels: Vec::new(),
        settings: None,
        reports_refused: None,
    }
}

fn booted_at() -> Option<Timestamp> {
    let seconds = i64::try_from(System::boot_time().ok()?).ok()?;
    (seconds > 0).then(|| Timestamp::from_seconds(seconds))
}

/// Digest of the program that runs, read from the process: the file may have been replaced since.
fn own_digest() -> Option<Sha256Hex> {
    static DIGEST: OnceLock<Option<Sha256Hex>> = OnceLock::new();
    DIGEST.get_or_init(|| sha256(platform::open_program(std::process::id()).ok()?).ok()).clone()
}

fn addresses() -> Vec<String> {
    let Ok(networks) = Networks::new_with_refreshed_list() else { return Vec::new() };
    let all = networks.values().flat_map(|network| network.ip_networks()).map(|network| network.addr);
    let mut addresses: Vec<IpAddr> = all.filter(is_of_use).collect();
    addresses.sort();
    addresses.dedup();
    addresses.truncate(ADDRESSES_MAX);
    addresses.iter().map(ToString::to_string).collect()
}

fn is_of_use(address: &IpAddr) -> bool {
    let link_local = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    !link_local && !address.is_loopback() && !address.is_unspecified()
}
