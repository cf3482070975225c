//! Windows, through the standard library, `sysinfo` and the tools that every Windows has; nothing here is unsafe code.
//!
//! A process group is a process and those that descend from it. Links need a right that not every user has, so a link
//! that is switched is a small file with the target's name, which is replaced in one step like any other file.

use super::{Files, Here, Host, Processes, Wish};
use muster_runtime::settings;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::windows::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use sysinfo::{Disks, Pid, Process, ProcessRefreshKind, ProcessesToUpdate, System, UpdateKind};
use tokio::signal::windows::{
    CtrlBreak, CtrlC, CtrlClose, CtrlShutdown, ctrl_break, ctrl_c, ctrl_close, ctrl_shutdown,
};

/// Own console group: a Ctrl+C of the starter's console is not meant for it.
const CREATE_NEW_PROCESS_GROUP: u32 = 0x0000_0200;
/// No console at all: closing the starter's console ends nothing.
const DETACHED_PROCESS: u32 = 0x0000_0008;
/// The local system's account, as security tools name it in every language.
const SID_SYSTEM: &str = "*S-1-5-18";
const SID_EVERYONE: &str = "*S-1-1-0";
const SID_USERS: &str = "*S-1-5-32-545";
const SID_ADMINISTRATORS: &str = "*S-1-5-32-544";

impl Processes for Here {
    fn start_mark(pid: u32) -> Option<u64> {
        look(Some(pid)).ok()?.process(Pid::from_u32(pid)).map(Process::start_time)
    }

    /// A process that is over is forgotten as soon as nobody holds it; a child that was started is held by its starter,
    /// but not listed any more. Zero then stands for "over", and fits no living process.
    fn start_mark_of_child(pid: u32) -> Option<u64> {
        Some(Self::start_mark(pid).unwrap_or(0))
    }

    fn leaders_with_variable(name: &str, value: &str) -> Vec<u32> {
        let Ok(all) = look(None) else { return Vec::new() };
        let has = |process: &Process| variable_of(process, name).as_deref() == Some(value);
        // A child of one that has the variable inherited it.
        let leads = |process: &Process| !process.parent().and_then(|pid| all.process(pid)).is_some_and(has);
        let marked = all.processes().values().filter(|process| has(process) && leads(process));
        marked.map(|process| process.pid().as_u32()).collect()
    }

    fn group_has_variable(leader: u32, name: &str, value: &str) -> bool {
        let Ok(all) = look(None) else { return false };
        members(&all, leader).iter().any(|process| variable_of(process, name).as_deref() == Some(value))
    }

    fn variable(pid: u32, name: &str) -> Option<String> {
        variable_of(look(Some(pid)).ok()?.process(Pid::from_u32(pid))?, name)
    }

    fn group_is_alive(leader: u32, start: u64) -> bool {
        let Ok(all) = look(None) else { return false };
        // Another start time means that the number belongs to a stranger.
        if all.process(Pid::from_u32(leader)).is_some_and(|process| process.start_time() != start) {
            return false;
        }
        !members(&all, leader).is_empty()
    }

    /// Windows has no signal for this: `taskkill` without `/F` asks those that have a window or a console.
    fn terminate_group(leader: u32) -> io::Result<()> {
        taskkill(&["/T", "/PID", &leader.to_string()])
    }

    fn kill_group(leader: u32) -> io::Result<()> {
        for process in members(&look(None)?, leader) {
            process.kill();
        }
        Ok(())
    }

    fn terminate(pid: u32) -> io::Result<()> {
        taskkill(&["/PID", &pid.to_string()])
    }

    fn kill(pid: u32) -> io::Result<()> {
        if let Some(process) = look(Some(pid))?.process(Pid::from_u32(pid)) {
            process.kill();
        }
        Ok(())
    }

    fn ask_to_reload(_: u32) -> io::Result<()> {
        let why = "not available on Windows yet; say `restart` in place of `reload`";
        Err(io::Error::new(io::ErrorKind::Unsupported, why))
    }

    fn own_group(command: &mut Command) {
        command.creation_flags(CREATE_NEW_PROCESS_GROUP);
    }

    fn detach(command: &mut Command) {
        command.creation_flags(CREATE_NEW_PROCESS_GROUP | DETACHED_PROCESS);
    }

    /// The file of a running program cannot be replaced or removed, so its name leads to the very file.
    fn open_program(pid: u32) -> io::Result<File> {
        let all = look(Some(pid))?;
        let program = all.process(Pid::from_u32(pid)).and_then(Process::exe);
        File::open(program.ok_or(io::ErrorKind::NotFound)?)
    }
}

impl Files for Here {
    fn switch_link(link: &Path, target: &Path) -> io::Result<()> {
        let temporary = link.with_extension("new");
        let name = target.to_str().ok_or(io::ErrorKind::InvalidInput)?;
        let mut file = File::create(&temporary)?;
        io::Write::write_all(&mut file, name.as_bytes())?;
        file.sync_all()?;
        drop(file);
        fs::rename(&temporary, link)
    }

    fn link_target(link: &Path) -> io::Result<PathBuf> {
        fs::read_to_string(link).map(|name| name.trim().into())
    }

    fn make_link(_: &Path, target: &str) -> io::Result<()> {
        let why = format!("not available on Windows yet: the package holds a symbolic link to {target}");
        Err(io::Error::new(io::ErrorKind::Unsupported, why))
    }

    fn remove_link(link: &Path) -> io::Result<()> {
        match fs::remove_file(link) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// NTFS journals its folders; there is nothing to ask for.
    fn sync_parent(_: &Path) -> io::Result<()> {
        Ok(())
    }

    /// Asking for a whole volume needs an administrator, so every file is asked for.
    fn sync_file_system(folder: &Path) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                Self::sync_file_system(&path)?;
            } else {
                OpenOptions::new().write(true).open(&path)?.sync_all()?;
            }
        }
        Ok(())
    }

    /// What may be executed is told by the name; who may read is inherited from the folder.
    fn create_file(path: &Path, _: bool) -> io::Result<File> {
        OpenOptions::new().write(true).create_new(true).open(path)
    }

    /// Nothing is inherited any more; the system, administrators and this user have full rights.
    fn create_private_folder(path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)?;
        let mut command = tool("icacls.exe");
        command.arg(path).args(["/inheritance:r", "/q"]);
        for who in [SID_SYSTEM, SID_ADMINISTRATORS] {
            command.args(["/grant:r", &format!("{who}:(OI)(CI)F")]);
        }
        if let (Some(domain), Some(user)) = (settings::environment("USERDOMAIN"), settings::environment("USERNAME")) {
            command.args(["/grant:r", &format!("{domain}\\{user}:(OI)(CI)F")]);
        }
        succeeded("icacls", &mut command)
    }

    /// Asks `icacls` who may: anybody but the system, administrators and this user is somebody else.
    fn is_open_to_others(path: &Path) -> io::Result<bool> {
        let output = tool("icacls.exe").arg(path).args(["/findsid", SID_EVERYONE]).output()?;
        let users = tool("icacls.exe").arg(path).args(["/findsid", SID_USERS]).output()?;
        // It names the file again when it finds one.
        let name = path.to_string_lossy();
        Ok([output, users].iter().any(|output| String::from_utf8_lossy(&output.stdout).contains(&*name)))
    }

    fn is_executable(path: &Path) -> bool {
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        path.is_file() && ["exe", "cmd", "bat", "com"].iter().any(|known| extension.eq_ignore_ascii_case(known))
    }

    fn free_bytes(path: &Path) -> io::Result<u64> {
        volume(path, |disk| disk.available_space())
    }

    fn volume_bytes(path: &Path) -> io::Result<u64> {
        volume(path, |disk| disk.total_space())
    }

    fn is_disk_full(error: &io::Error) -> bool {
        matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }
}

impl Host for Here {
    /// The moment of the boot: Windows has no number for it.
    fn boot_id() -> String {
        System::boot_time().map(|at| format!("boot-{at}")).unwrap_or_default()
    }

    fn resident_bytes() -> u64 {
        let pid = std::process::id();
        look(Some(pid)).ok().and_then(|all| all.process(Pid::from_u32(pid)).map(Process::memory)).unwrap_or(0)
    }

    /// Only an administrator may ask for the files that are open on this host.
    fn is_superuser() -> bool {
        succeeded("fltmc", &mut tool("fltmc.exe")).is_ok()
    }

    fn default_prefix() -> Option<PathBuf> {
        let root = if Self::is_superuser() { "ProgramData" } else { "LOCALAPPDATA" };
        settings::environment(root).map(|folder| Path::new(&folder).join("Muster"))
    }

    fn send_datagram(address: &str, _: &str) -> io::Result<()> {
        let why = format!("not available on Windows yet: messages to {address}");
        Err(io::Error::new(io::ErrorKind::Unsupported, why))
    }
}

/// What the console and the system tell this process.
pub struct Wishes {
    c: CtrlC,
    r#break: CtrlBreak,
    close: CtrlClose,
    shutdown: CtrlShutdown,
}

impl Wishes {
    /// Listens from now on: nothing is lost between two calls of [`Wishes::next`].
    pub fn listen() -> io::Result<Self> {
        Ok(Self { c: ctrl_c()?, r#break: ctrl_break()?, close: ctrl_close()?, shutdown: ctrl_shutdown()? })
    }

    /// Waits for the next. Cancel-safe: what was not taken stays.
    pub async fn next(&mut self) -> Wish {
        tokio::select! {
            _ = self.c.recv() => {}
            _ = self.r#break.recv() => {}
            _ = self.close.recv() => {}
            _ = self.shutdown.recv() => {}
        }
        Wish::End
    }
}

/// One process, or all of them, with their programs and environments.
fn look(pid: Option<u32>) -> io::Result<System> {
    let mut system = System::new().map_err(io::Error::other)?;
    let wanted = pid.map(|pid| [Pid::from_u32(pid)]);
    let which = wanted.as_ref().map_or(ProcessesToUpdate::All, |pids| ProcessesToUpdate::Some(pids));
    let what =
        ProcessRefreshKind::nothing().with_memory().with_exe(UpdateKind::Always).with_environ(UpdateKind::Always);
    system.refresh_processes_specifics(which, true, what);
    Ok(system)
}

/// The process `leader` and all that descend from it. One whose parent is younger than itself has lost its parent and
/// that parent's number was given away.
fn members(all: &System, leader: u32) -> Vec<&Process> {
    let mut found: Vec<&Process> = all.process(Pid::from_u32(leader)).into_iter().collect();
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        let born_later =
            |process: &&Process| process.parent() == Some(parent.pid()) && process.start_time() >= parent.start_time();
        found.extend(all.processes().values().filter(born_later));
        next += 1;
    }
    found
}

fn variable_of(process: &Process, name: &str) -> Option<String> {
    let wanted = |variable: &str| {
        let (found, value) = variable.split_once('=')?;
        found.eq_ignore_ascii_case(name).then(|| value.to_owned())
    };
    process.environ().iter().find_map(|variable| wanted(variable.to_str()?))
}

/// A figure of the volume that holds `path`: the one with the longest mount point above it.
fn volume(path: &Path, figure: impl Fn(&sysinfo::Disk) -> u64) -> io::Result<u64> {
    let disks = Disks::new_with_refreshed_list().map_err(io::Error::other)?;
    let holding = disks.iter().filter(|disk| path.starts_with(disk.mount_point()));
    let disk = holding.max_by_key(|disk| disk.mount_point().as_os_str().len());
    disk.map(figure).ok_or_else(|| io::ErrorKind::NotFound.into())
}

fn taskkill(arguments: &[&str]) -> io::Result<()> {
    /// What `taskkill` says when there is no such process.
    const NOT_FOUND: i32 = 128;
    let mut command = tool("taskkill.exe");
    let output = command.args(arguments).output()?;
    match output.status.code() {
        Some(0 | NOT_FOUND) => Ok(()),
        _ => Err(io::Error::other(format!("taskkill: {}", String::from_utf8_lossy(&output.stderr).trim()))),
    }
}

/// A tool of the system itself: what a changed PATH leads to is not started.
fn tool(name: &str) -> Command {
    let root = settings::environment("SystemRoot").unwrap_or_else(|| r"C:\Windows".to_owned());
    let mut command = Command::new(Path::new(&root).join("System32").join(name));
    command.stdin(Stdio::null());
    command
}

fn succeeded(name: &str, command: &mut Command) -> io::Result<()> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("{name}: {}", String::from_utf8_lossy(&output.stderr).trim())))
}
