//! What the host must have before anything on it is changed.

use super::installed::Unit;
use crate::platform;
use muster_model::component::{PortSource, Recipe};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

const MEGABYTE: u64 = 1024 * 1024;
/// Package, unpacked files and some air; packages compress to about a third.
const PACKAGE_SIZES: u64 = 3;
/// Journals, logs and whatever else must still fit afterwards.
const DISK_RESERVE: u64 = 8 * MEGABYTE;

/// Whether a package of `size` bytes will fit, before it is fetched.
pub fn room_for(prefix: &Path, size: u64) -> Result<(), String> {
    let needed = size.saturating_mul(PACKAGE_SIZES).saturating_add(DISK_RESERVE);
    room(prefix, needed)
}

/// Whether the host has what the recipe asks for. `old` is the version whose ports become free.
pub fn check(recipe: &Recipe, old: Option<&Unit>, prefix: &Path, memory_available: Option<u64>) -> Result<(), String> {
    let wanted = &recipe.prechecks;
    let mut problems = Vec::new();
    problems.extend(room(prefix, wanted.disk_mb.saturating_mul(MEGABYTE)).err());
    if let Some(available) = memory_available
        && available < wanted.memory_mb.saturating_mul(MEGABYTE)
    {
        let free = available / MEGABYTE;
        problems.push(format!("{} MB of memory are needed and {free} MB are available", wanted.memory_mb));
    }
    let os = std::env::consts::OS;
    if !wanted.os.is_empty() && !wanted.os.iter().any(|name| name == os) {
        problems.push(format!("it runs on {} and this host has {os}", wanted.os.join(", ")));
    }
    let held_by_old = |port: u16| {
        old.is_some_and(|old| {
            old.recipe.prechecks.ports.contains(&port) || old.recipe.port() == Some(&PortSource::Fixed(port))
        })
    };
    for port in wanted.ports.iter().filter(|port| !held_by_old(**port)) {
        if let Err(error) = TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)) {
            problems.push(format!("port {port} cannot be used: {error}"));
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(format!("this host does not suit it: {}", problems.join("; "))) }
}

fn room(prefix: &Path, needed: u64) -> Result<(), String> {
    let free = platform::free_bytes(prefix)
        .map_err(|error| format!("cannot find out how much space is free below {}: {error}", prefix.display()))?;
    if free >= needed {
        return Ok(());
    }
    let (needed, free) = (needed.div_ceil(MEGABYTE), free / MEGABYTE);
    Err(format!("disk full: {needed} MB are needed below {} and {free} MB are free", prefix.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn all_that_is_missing_is_named() {
        let taken = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let text = format!(
            "name = \"x\"\nversion = \"1\"\n[start]\ncommand = [\"x\"]\n[health]\ntcp = true\nport = 1\n\
             [prechecks]\ndisk_mb = 1073741824\nmemory_mb = 2\nos = [\"windows\"]\nports = [{port}]\n"
        );
        let problem = check(&Recipe::parse(&text).unwrap(), None, Path::new("/"), Some(MEGABYTE)).unwrap_err();
        for part in ["disk full: 1073741824 MB", "2 MB of memory", "it runs on windows", &format!("port {port} ")] {
            assert!(problem.contains(part), "{part}: {problem}");
        }
        assert!(room_for(Path::new("/"), 1).is_ok());
    }
}
