//! Linux, through `/proc` and a few system calls.

use super::{Files, Here, Host, Processes, Wish};
use muster_runtime::settings;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tokio::signal::unix::{Signal as UnixSignal, SignalKind, signal};

impl Processes for Here {
    fn start_mark(pid: u32) -> Option<u64> {
        let stat = Stat::read(pid)?;
        stat.alive.then_some(stat.start)
    }

    fn start_mark_of_child(pid: u32) -> Option<u64> {
        Stat::read(pid).map(|stat| stat.start)
    }

    fn leaders_with_variable(name: &str, value: &str) -> Vec<u32> {
        let leads = |pid: u32| Stat::read(pid).is_some_and(|stat| stat.alive && stat.group == pid);
        pids().filter(|pid| leads(*pid) && Self::variable(*pid, name).as_deref() == Some(value)).collect()
    }

    fn group_has_variable(leader: u32, name: &str, value: &str) -> bool {
        let belongs = |pid: u32| Stat::read(pid).is_some_and(|stat| stat.alive && stat.group == leader);
        pids().any(|pid| belongs(pid) && Self::variable(pid, name).as_deref() == Some(value))
    }

    fn variable(pid: u32, name: &str) -> Option<String> {
        let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
        let value = environment
            .split(|byte| *byte == 0)
            .find_map(|variable| variable.strip_prefix(name.as_bytes())?.strip_prefix(b"="))?;
        String::from_utf8(value.to_vec()).ok()
    }

    fn group_is_alive(leader: u32, start: u64) -> bool {
        // While a member lives, the kernel gives the group's number to no new process. A leader with another start
        // mark therefore means that the group is gone and its number belongs to a stranger.
        if Stat::read(leader).is_some_and(|stat| stat.start != start) {
            return false;
        }
        pids().filter_map(Stat::read).any(|stat| stat.alive && stat.group == leader)
    }

    fn terminate_group(leader: u32) -> io::Result<()> {
        signal_group(leader, Signal::TERM)
    }

    fn kill_group(leader: u32) -> io::Result<()> {
        signal_group(leader, Signal::KILL)
    }

    fn terminate(pid: u32) -> io::Result<()> {
        signal_one(pid, Signal::TERM)
    }

    fn kill(pid: u32) -> io::Result<()> {
        signal_one(pid, Signal::KILL)
    }

    fn ask_to_reload(pid: u32) -> io::Result<()> {
        Ok(kill_process(number(pid)?, Signal::HUP)?)
    }

    fn own_group(command: &mut Command) {
        command.process_group(0);
    }

    fn detach(command: &mut Command) {
        // A group of its own gets no SIGINT from the terminal; its SIGHUP goes to the foreground group only, and to the
        // leader of the session, which this is not.
        command.process_group(0);
    }

    fn open_program(pid: u32) -> io::Result<File> {
        File::open(format!("/proc/{pid}/exe"))
    }
}

impl Files for Here {
    fn switch_link(link: &Path, target: &Path) -> io::Result<()> {
        let temporary = link.with_extension("new");
        Self::remove_link(&temporary)?;
        std::os::unix::fs::symlink(target, &temporary)?;
        fs::rename(&temporary, link)?;
        Self::sync_parent(link)
    }

    fn link_target(link: &Path) -> io::Result<PathBuf> {
        fs::read_link(link)
    }

    fn make_link(link: &Path, target: &str) -> io::Result<()> {
        std::os::unix::fs::symlink(target, link)
    }

    fn remove_link(link: &Path) -> io::Result<()> {
        match fs::remove_file(link) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn sync_parent(path: &Path) -> io::Result<()> {
        match path.parent() {
            Some(parent) => File::open(parent)?.sync_all(),
            None => Ok(()),
        }
    }

    fn sync_file_system(folder: &Path) -> io::Result<()> {
        rustix::fs::syncfs(File::open(folder)?).map_err(io::Error::from)
    }

    fn create_file(path: &Path, executable: bool) -> io::Result<File> {
        let mode = if executable { 0o755 } else { 0o644 };
        fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path)
    }

    fn create_private_folder(path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))
    }

    fn is_open_to_others(path: &Path) -> io::Result<bool> {
        Ok(fs::metadata(path)?.permissions().mode() & 0o077 != 0)
    }

    fn is_executable(path: &Path) -> bool {
        fs::metadata(path).is_ok_and(|facts| facts.is_file() && facts.permissions().mode() & 0o100 != 0)
    }

    fn free_bytes(path: &Path) -> io::Result<u64> {
        let facts = rustix::fs::statvfs(path)?;
        Ok(facts.f_bavail.saturating_mul(facts.f_frsize))
    }

    fn volume_bytes(path: &Path) -> io::Result<u64> {
        let facts = rustix::fs::statvfs(path)?;
        Ok(facts.f_blocks.saturating_mul(facts.f_frsize))
    }

    fn is_disk_full(error: &io::Error) -> bool {
        matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }
}

impl Host for Here {
    fn boot_id() -> String {
        fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
    }

    fn resident_bytes() -> u64 {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
        kilobytes.unwrap_or(0).saturating_mul(1024)
    }

    fn is_superuser() -> bool {
        rustix::process::geteuid().is_root()
    }

    fn default_prefix() -> Option<PathBuf> {
        if Self::is_superuser() {
            return Some("/opt/muster".into());
        }
        settings::environment("HOME").map(|home| Path::new(&home).join(".muster"))
    }

    fn send_datagram(address: &str, text: &str) -> io::Result<()> {
        let address = match address.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(address)?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        socket.send_to_addr(text.as_bytes(), &address).map(drop)
    }
}

/// The signals of this process.
pub struct Wishes {
    terminate: UnixSignal,
    interrupt: UnixSignal,
    hangup: UnixSignal,
}

impl Wishes {
    /// Listens from now on: no signal is lost between two calls of [`Wishes::next`].
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next. Cancel-safe: a signal that was not taken stays.
    pub async fn next(&mut self) -> Wish {
        tokio::select! {
            _ = self.terminate.recv() => Wish::End,
            _ = self.interrupt.recv() => Wish::End,
            _ = self.hangup.recv() => Wish::Reload,
        }
    }
}

fn signal_group(leader: u32, signal: Signal) -> io::Result<()> {
    none_is_fine(kill_process_group(number(leader)?, signal))
}

fn signal_one(pid: u32, signal: Signal) -> io::Result<()> {
    none_is_fine(kill_process(number(pid)?, signal))
}

fn number(pid: u32) -> io::Result<Pid> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

fn none_is_fine(signalled: rustix::io::Result<()>) -> io::Result<()> {
    match signalled {
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
    use crate::platform::*;
    use std::thread;
    use std::time::Duration;

    /// Waits for what nothing announces, a minute at most.
    fn eventually(what: &str, holds: impl Fn() -> bool) {
        for _ in 0..6_000 {
            if holds() {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("not in time: {what}");
    }

    #[test]
    fn a_process_has_a_mark_while_it_lives_and_none_as_a_zombie() {
        let mut command = Command::new("/bin/sh");
        own_group(command.args(["-c", "read x"]).stdin(std::process::Stdio::piped()).env("MUSTER_TEST_MARK", "a 1"));
        let mut child = command.spawn().unwrap();
        let mark = start_mark(child.id()).unwrap();
        // While it turns into another program, the kernel shows no environment of it.
        eventually("the shell runs", || variable(child.id(), "MUSTER_TEST_MARK").is_some());
        assert!(group_is_alive(child.id(), mark) && !group_is_alive(child.id(), mark + 1));
        assert_eq!(leaders_with_variable("MUSTER_TEST_MARK", "a 1"), [child.id()]);
        assert_eq!(leaders_with_variable("MUSTER_TEST_MARK", "a"), [0; 0]);
        assert!(group_has_variable(child.id(), "MUSTER_TEST_MARK", "a 1"));
        assert!(!group_has_variable(child.id(), "MUSTER_TEST_MARK", "a"));
        kill_group(child.id()).unwrap();
        // Not collected yet: the kernel keeps it as a zombie.
        eventually("the shell is a zombie", || start_mark(child.id()).is_none());
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
