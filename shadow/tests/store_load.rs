//! Disk and memory under many updates, and how fast durable updates are. The rates are printed, not judged.

#![allow(clippy::unwrap_used)]
#![expect(clippy::disallowed_methods, reason = "a rate is a number of updates over true time")]

use std::fs;
use std::time::Instant;

use muster_shadow::store::{Expect, Op, SledSettings, SledStore, Store};

const KEYS: u64 = 2_000;
const VALUE_BYTES: usize = 1024;
const BATCH: u64 = 64;
const UPDATES: u64 = 200_000;
const THREADS: u64 = 4;
const SINGLES: u64 = 5_000;

/// sled rewrites pages into fresh segments and reuses old ones late; this is far over what was measured (3 to 4).
const DISK_FACTOR: u64 = 8;
/// A few segments of half a MiB, even for a store with next to nothing in it.
const DISK_ALLOWANCE: u64 = 16 * 1024 * 1024;
/// The default cache of 64 MiB, which 2 MB of live data do not fill, and buffers.
const MEMORY_MAX: u64 = 96 * 1024 * 1024;

#[test]
fn disk_and_memory_stay_bounded_under_updates() {
    let dir = tempfile::tempdir().unwrap();
    let store = SledStore::open(dir.path(), &SledSettings::default()).unwrap();
    let memory_before = resident_bytes();
    let (mut most_disk, mut most_memory) = (0, 0);
    let started = Instant::now();
    for batch in 0..UPDATES / BATCH {
        let ops = (0..BATCH).map(|n| update(batch * BATCH + n)).collect();
        assert!(store.apply(ops).wait().unwrap().iter().all(Result::is_ok));
        if batch % 100 == 0 {
            most_disk = most_disk.max(store.size_on_disk().unwrap());
            most_memory = most_memory.max(resident_bytes());
        }
    }
    let batches = UPDATES as f64 / started.elapsed().as_secs_f64();

    let started = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let store = &store;
            scope.spawn(move || {
                for n in 0..SINGLES {
                    store.apply(vec![update(n * THREADS + thread)]).wait_single().unwrap().unwrap();
                }
            });
        }
    });
    let singles = (THREADS * SINGLES) as f64 / started.elapsed().as_secs_f64();

    let live = store.live_bytes();
    let factor = most_disk as f64 / live as f64;
    println!("durable updates of {VALUE_BYTES} bytes over {KEYS} keys:");
    println!("  batches of {BATCH}: {batches:.0}/s; single ops from {THREADS} threads: {singles:.0}/s");
    println!("  disk at most {:.1} MB ({factor:.1} x live data)", most_disk as f64 / 1e6);
    println!("  memory {:.1} MB before, at most {:.1} MB", memory_before as f64 / 1e6, most_memory as f64 / 1e6);

    assert_eq!(live, (0..KEYS).map(|n| key(n).len() as u64 + VALUE_BYTES as u64).sum::<u64>());
    assert!(most_disk < DISK_FACTOR * live + DISK_ALLOWANCE, "{most_disk} bytes on disk for {live} live ones");
    assert!(most_memory < MEMORY_MAX, "{most_memory} bytes resident");
}

fn key(n: u64) -> String {
    format!("shadow/connector-{n:05}/components")
}

fn update(n: u64) -> Op {
    // A stride that shares no factor with KEYS: every key in turn, neighbours far apart.
    let mut value = vec![b'.'; VALUE_BYTES];
    value[..8].copy_from_slice(&n.to_be_bytes());
    Op::put(key(n * 37 % KEYS), Expect::Any, value)
}

fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}
