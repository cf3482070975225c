//! What the host itself must bring.

use super::Line;
use crate::places::Prefix;
use crate::platform;
use std::path::{Path, PathBuf};
use sysinfo::System;

const MEGABYTE: u64 = 1024 * 1024;
/// The agent itself takes about 10 MB; a download and an unpacking component take more.
const MEMORY_MB: u64 = 64;
const MEMORY_LEAST_MB: u64 = 24;
/// Two versions of the agent and of a small component, journals and logs.
const DISK_MB: u64 = 256;
const DISK_LEAST_MB: u64 = 64;

/// The checks of the host.
pub fn checks(prefix: &Prefix) -> Vec<Line> {
    let memory = System::new().map(|mut system| {
        system.refresh_memory();
        system.available_memory() / MEGABYTE
    });
    let there = existing(prefix.root());
    let free = platform::free_bytes(&there).unwrap_or(0) / MEGABYTE;
    vec![
        os(),
        match memory {
            Ok(found) => {
                let fix = "stop something else on this host, or give it more memory";
                Line::at_least("memory", "available", found, MEMORY_MB, MEMORY_LEAST_MB, fix)
            }
            Err(error) => {
                Line::warn("memory", format!("not known: {error}"), format!("{MEMORY_MB} MB"), "look for it by hand")
            }
        },
        Line::at_least(
            "disk",
            &format!("free at {}", there.display()),
            free,
            DISK_MB,
            DISK_LEAST_MB,
            "free some space on this volume, or choose another prefix",
        ),
        rights(&there),
        path(prefix.root()),
    ]
}

fn os() -> Line {
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    // A program that runs has the right system and processor; what is told is for the person who reads.
    Line::pass("system", format!("{os} {arch}"), "the system and processor that this agent was built for")
}

/// The folder itself, or the nearest one above it that is there.
fn existing(path: &Path) -> PathBuf {
    path.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("/")).to_owned()
}

/// Whether this user can make files there: asked of the system by making one, since no table of rights tells all.
fn rights(folder: &Path) -> Line {
    let needed = "this user makes files and folders there";
    match tempfile_in(folder) {
        Ok(()) => Line::pass("rights", format!("{} is writable", folder.display()), needed),
        Err(error) => Line::fail(
            "rights",
            format!("{} is not writable: {error}", folder.display()),
            needed,
            "run as the user that owns it, or choose a prefix of this user",
        ),
    }
}

fn tempfile_in(folder: &Path) -> std::io::Result<()> {
    let name = folder.join(format!(".muster-check-{}", muster_runtime::ids::random_hex::<8>()));
    std::fs::File::options().write(true).create_new(true).open(&name)?;
    std::fs::remove_file(name)
}

fn path(prefix: &Path) -> Line {
    let needed = "a prefix of printable ASCII without spaces";
    let shown = prefix.display().to_string();
    if shown.bytes().all(|byte| byte.is_ascii_graphic()) {
        Line::pass("path", shown, needed)
    } else {
        Line::fail(
            "path",
            format!("{shown:?}"),
            needed,
            "choose another prefix; components and units name it in many places",
        )
    }
}
