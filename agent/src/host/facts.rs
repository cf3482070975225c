//! Who the host is.

use crate::platform;
use muster_wire::enrol::HostFacts;
use muster_wire::id::Version;
use std::net::IpAddr;
use sysinfo::{Networks, System};

/// Addresses that are told; a host with more has them all on one wire.
const ADDRESSES_MAX: usize = 16;

/// The facts of this host. `start_id` is drawn once for each start of the agent.
pub fn collect(start_id: &str) -> HostFacts {
    HostFacts {
        agent_version: Version::new(env!("CARGO_PKG_VERSION")).ok(),
        hostname: System::host_name().unwrap_or_default(),
        os: System::long_os_version().unwrap_or_else(|_| std::env::consts::OS.to_owned()),
        arch: std::env::consts::ARCH.to_owned(),
        addresses: addresses(),
        boot_id: platform::boot_id(),
        start_id: start_id.to_owned(),
    }
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
