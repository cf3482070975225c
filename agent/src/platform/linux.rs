//! Linux, through `/proc` and a few system calls.

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// Changes with every boot.
pub fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

/// When the kernel started the process, in ticks since boot; `None` when no process of that number is alive.
///
/// A zombie is dead: nobody may be there to collect it when its starter is gone.
pub fn start_mark(pid: u32) -> Option<u64> {
    let stat = Stat::read(pid)?;
    stat.alive.then_some(stat.start)
}

/// The same of a child that may be dead already; the kernel keeps it until it is collected.
pub fn start_mark_of_child(pid: u32) -> Option<u64> {
    Stat::read(pid).map(|stat| stat.start)
}

/// Living processes whose starting environment holds `name=value`, and that lead their process group.
pub fn leaders_with_variable(name: &str, value: &str) -> Vec<u32> {
    let leads = |pid: u32| Stat::read(pid).is_some_and(|stat| stat.alive && stat.group == pid);
    pids().filter(|pid| leads(*pid) && variable(*pid, name).as_deref() == Some(value)).collect()
}

/// Whether a living process of the group that `leader` leads or led holds `name=value` in its starting environment.
pub fn group_has_variable(leader: u32, name: &str, value: &str) -> bool {
    let belongs = |pid: u32| Stat::read(pid).is_some_and(|stat| stat.alive && stat.group == leader);
    pids().any(|pid| belongs(pid) && variable(pid, name).as_deref() == Some(value))
}

/// A variable of the environment that a process was started with; `None` also when we may not look at it.
pub fn variable(pid: u32, name: &str) -> Option<String> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let value = environment
        .split(|byte| *byte == 0)
        .find_map(|variable| variable.strip_prefix(name.as_bytes())?.strip_prefix(b"="))?;
    String::from_utf8(value.to_vec()).ok()
}

/// Whether anything alive is left of the group that process `leader` with this start mark led.
pub fn group_is_alive(leader: u32, start: u64) -> bool {
    // While a member lives, the kernel gives the group's number to no new process. A leader with another start
    // mark therefore means that the group is gone and its number belongs to a stranger.
    if Stat::read(leader).is_some_and(|stat| stat.start != start) {
        return false;
    }
    pids().filter_map(Stat::read).any(|stat| stat.alive && stat.group == leader)
}

/// Asks every process of a group to end.
pub fn terminate_group(leader: u32) -> io::Result<()> {
    signal_group(leader, Signal::TERM)
}

/// Ends every process of a group.
pub fn kill_group(leader: u32) -> io::Result<()> {
    signal_group(leader, Signal::KILL)
}

/// Makes the command lead a process group of its own, so that it outlives the agent and its children can be found.
pub fn own_group(command: &mut Command) {
    command.process_group(0);
}

/// The program file of a living process: the very file, also when its name is gone or names another one.
pub fn open_program(pid: u32) -> io::Result<File> {
    File::open(format!("/proc/{pid}/exe"))
}

/// Points the link `link` at `target`, in one step: at any moment it is the old one or the new one.
pub fn switch_link(link: &Path, target: &Path) -> io::Result<()> {
    let temporary = link.with_extension("new");
    remove_link(&temporary)?;
    std::os::unix::fs::symlink(target, &temporary)?;
    fs::rename(&temporary, link)?;
    sync_parent(link)
}

/// Makes a symbolic link.
pub fn make_link(link: &Path, target: &str) -> io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

/// Removes a link; one that is not there is fine.
pub fn remove_link(link: &Path) -> io::Result<()> {
    match fs::remove_file(link) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Tells an agent to read its settings again.
pub fn ask_to_reload(pid: u32) -> io::Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    Ok(rustix::process::kill_process(pid, Signal::HUP)?)
}

/// Makes what was renamed, made or removed beside `path` durable.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

/// Makes the whole file system of `folder` durable: cheaper than one call for each of many files.
pub fn sync_file_system(folder: &Path) -> io::Result<()> {
    rustix::fs::syncfs(File::open(folder)?).map_err(io::Error::from)
}

/// Makes a new file: readable by all and, when asked for, executable; never with special bits.
pub fn create_file(path: &Path, executable: bool) -> io::Result<File> {
    let mode = if executable { 0o755 } else { 0o644 };
    fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path)
}

/// Makes a folder, and those above it, that only this user may look into.
pub fn create_private_folder(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))
}

/// Whether users other than the owner may read or change a file.
pub fn is_open_to_others(path: &Path) -> io::Result<bool> {
    Ok(fs::metadata(path)?.permissions().mode() & 0o077 != 0)
}

/// Whether a file may be executed by its owner.
pub fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|facts| facts.is_file() && facts.permissions().mode() & 0o100 != 0)
}

/// Bytes that this user may still write to the volume of `path`.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let facts = rustix::fs::statvfs(path)?;
    Ok(facts.f_bavail.saturating_mul(facts.f_frsize))
}

/// Size of the volume of `path` in bytes.
pub fn volume_bytes(path: &Path) -> io::Result<u64> {
    let facts = rustix::fs::statvfs(path)?;
    Ok(facts.f_blocks.saturating_mul(facts.f_frsize))
}

/// Whether an error says that the disk (or this user's share of it) is full.
pub fn is_disk_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Resident memory of this process in bytes.
pub fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kilobytes.unwrap_or(0).saturating_mul(1024)
}

fn signal_group(leader: u32, signal: Signal) -> io::Result<()> {
    let pid = i32::try_from(leader).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    match kill_process_group(pid, signal) {
        // Nobody is left.
        Err(Errno::SRCH) => Ok(()),
        other => other.map_err(io::Error::from),
    }
}

fn pids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The fields of `/proc/<pid>/stat` that are of use here.
struct Stat {
    alive: bool,
    group: u32,
    start: u64,
}

impl Stat {
    fn read(pid: u32) -> Option<Self> {
        let mut text = String::new();
        File::open(format!("/proc/{pid}/stat")).ok()?.read_to_string(&mut text).ok()?;
        // The second field is the program's name in parentheses and may itself hold spaces and parentheses.
        let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
        let alive = !matches!(fields.next()?, "Z" | "X" | "x");
        // From here on: parent, group, and 16 fields later the start time (number 22 of proc_pid_stat(5)).
        let group = fields.nth(1)?.parse().ok()?;
        let start = fields.nth(16)?.parse().ok()?;
        Some(Self { alive, group, start })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_process_has_a_mark_while_it_lives_and_none_as_a_zombie() {
        let mut command = Command::new("/bin/sh");
        own_group(command.args(["-c", "read x"]).stdin(std::process::Stdio::piped()).env("MUSTER_TEST_MARK", "a 1"));
        let mut child = command.spawn().unwrap();
        let mark = start_mark(child.id()).unwrap();
        assert!(group_is_alive(child.id(), mark) && !group_is_alive(child.id(), mark + 1));
        assert_eq!(leaders_with_variable("MUSTER_TEST_MARK", "a 1"), [child.id()]);
        assert_eq!(leaders_with_variable("MUSTER_TEST_MARK", "a"), [0; 0]);
        assert!(group_has_variable(child.id(), "MUSTER_TEST_MARK", "a 1"));
        assert!(!group_has_variable(child.id(), "MUSTER_TEST_MARK", "a"));
        kill_group(child.id()).unwrap();
        // Not collected yet: the kernel keeps it as a zombie.
        while start_mark(child.id()).is_some() {
            std::thread::yield_now();
        }
        assert!(!group_is_alive(child.id(), mark));
        child.wait().unwrap();
        kill_group(child.id()).unwrap();
        assert!(start_mark(std::process::id()).is_some());
    }

    #[test]
    fn a_link_is_switched_also_over_a_leftover() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("current");
        switch_link(&link, Path::new("1")).unwrap();
        make_link(&link.with_extension("new"), "leftover").unwrap();
        switch_link(&link, Path::new("2")).unwrap();
        assert_eq!(fs::read_link(&link).unwrap(), Path::new("2"));
        remove_link(&link).unwrap();
        remove_link(&link).unwrap();
    }
}
