//! The agent's own program inside its prefix: a service must not depend on where somebody unpacked a download.

use crate::hands::files;
use crate::places::Prefix;
use crate::platform;
use muster_runtime::failure::Failure;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The name of the program.
pub const NAME: &str = if cfg!(windows) { "muster-agent.exe" } else { "muster-agent" };

/// Where the service finds the program: this one, copied into the prefix unless it lies there already.
pub fn place(prefix: &Prefix) -> Result<PathBuf, Failure> {
    let own =
        std::env::current_exe().map_err(|error| Failure::local_because("cannot tell where this program is", error))?;
    let version = env!("CARGO_PKG_VERSION");
    let failed = |error: io::Error| {
        let to = prefix.agent_version(version);
        Failure::local_because(format!("cannot copy {} to {}", own.display(), to.display()), error)
    };
    let inside = |path: &Path| path.canonicalize().ok().zip(prefix.agent().canonicalize().ok());
    if !inside(&own).is_some_and(|(own, agent)| own.starts_with(agent)) {
        let folder = prefix.agent_version(version);
        fs::create_dir_all(&folder).map_err(failed)?;
        copy(&own, &folder.join(NAME)).map_err(failed)?;
        let target = Path::new("versions").join(version);
        platform::switch_link(&prefix.agent_current(), &target).map_err(failed)?;
        return Ok(through_link(prefix, &folder));
    }
    Ok(through_link(prefix, own.parent().unwrap_or(Path::new(""))))
}

/// The program that lies in the prefix already, or this one, copied there.
pub fn find(prefix: &Prefix) -> Result<PathBuf, Failure> {
    let linked = prefix.agent_current().join(NAME);
    if linked.is_file() { Ok(linked) } else { place(prefix) }
}

/// The program by way of the link `current`, where the platform has such links: an upgrade of the agent moves the link.
fn through_link(prefix: &Prefix, folder: &Path) -> PathBuf {
    let linked = prefix.agent_current().join(NAME);
    if linked.is_file() { linked } else { folder.join(NAME) }
}

/// Copies beside the place and renames, so that a program that runs from there is not touched.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let temporary = to.with_extension("new");
    platform::remove_link(&temporary)?;
    let mut file = platform::create_file(&temporary, true)?;
    let copied = io::copy(&mut fs::File::open(from)?, &mut file).and_then(|_| file.sync_all());
    drop(file);
    copied.and_then(|()| fs::rename(&temporary, to)).and_then(|()| platform::sync_parent(to)).inspect_err(|_| {
        // Half a copy is of no use to anybody.
        let _ = files::remove_file(&temporary);
    })
}
