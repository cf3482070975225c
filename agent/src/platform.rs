//! What differs between operating systems, as small contracts: processes, files and locks, the host itself.
//!
//! Each contract is a trait that the file of the platform implements for [`Here`], so a platform that lacks something
//! does not compile; the functions of the same names call it. What a platform cannot offer is an error that says so.
//! Service managers have a contract of their own, [`crate::service::Manager`], and locks are the standard library's.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(windows)]
mod windows;

#[cfg(not(any(target_os = "linux", windows)))]
compile_error!("the agent runs on Linux and Windows; another platform needs its own file beside platform/linux.rs");

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What is asked of this process, listened to from its beginning to its end.
#[cfg(target_os = "linux")]
pub use linux::Wishes;
#[cfg(windows)]
pub use windows::Wishes;

/// What somebody wants of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// That it ends.
    End,
    /// That it reads its settings again.
    #[cfg_attr(windows, expect(dead_code, reason = "nobody can ask for it there yet"))]
    Reload,
}

/// The platform that this agent was built for.
pub struct Here;

/// Writes a trait, and for each of its functions one that calls it for [`Here`].
macro_rules! contract {
    ($(#[$about:meta])* $name:ident { $(
        $(#[$doc:meta])* fn $function:ident($($argument:ident: $type:ty),*) $(-> $result:ty)?;
    )* }) => {
        $(#[$about])*
        pub trait $name { $( $(#[$doc])* fn $function($($argument: $type),*) $(-> $result)?; )* }
        $( $(#[$doc])* pub fn $function($($argument: $type),*) $(-> $result)? { <Here as $name>::$function($($argument),*) } )*
    };
}

contract! {
    /// Processes by their kernel identity, and groups of them.
    Processes {
        /// When the kernel started the process; `None` when no process of that number is alive. A zombie is dead: nobody
        /// may be there to collect it when its starter is gone. The unit is the platform's.
        fn start_mark(pid: u32) -> Option<u64>;
        /// The same of a child that may be dead already; the kernel keeps it until it is collected.
        fn start_mark_of_child(pid: u32) -> Option<u64>;
        /// Living processes whose starting environment holds `name=value`, and that lead their process group.
        fn leaders_with_variable(name: &str, value: &str) -> Vec<u32>;
        /// Whether a living process of the group that `leader` leads or led holds `name=value` in its starting environment.
        fn group_has_variable(leader: u32, name: &str, value: &str) -> bool;
        /// A variable of the environment that a process was started with; `None` also when we may not look at it.
        fn variable(pid: u32, name: &str) -> Option<String>;
        /// Whether anything alive is left of the group that process `leader` with this start mark led.
        fn group_is_alive(leader: u32, start: u64) -> bool;
        /// Asks every process of a group to end.
        fn terminate_group(leader: u32) -> io::Result<()>;
        /// Ends every process of a group.
        fn kill_group(leader: u32) -> io::Result<()>;
        /// Asks one process to end; one that is not there is fine.
        fn terminate(pid: u32) -> io::Result<()>;
        /// Ends one process; one that is not there is fine.
        fn kill(pid: u32) -> io::Result<()>;
        /// Tells an agent to read its settings again.
        fn ask_to_reload(pid: u32) -> io::Result<()>;
        /// Makes the command lead a process group of its own, so that it outlives the agent and its children can be found.
        fn own_group(command: &mut Command);
        /// Makes the command outlive the terminal that it is started from.
        fn detach(command: &mut Command);
        /// The program file of a living process: the very file, also when its name is gone or names another one.
        fn open_program(pid: u32) -> io::Result<File>;
    }
}

contract! {
    /// Files, links, permissions and volumes.
    Files {
        /// Points the link `link` at `target`, in one step: at any moment it is the old one or the new one.
        fn switch_link(link: &Path, target: &Path) -> io::Result<()>;
        /// Where a link that [`switch_link`] made points to.
        fn link_target(link: &Path) -> io::Result<PathBuf>;
        /// Makes a symbolic link.
        fn make_link(link: &Path, target: &str) -> io::Result<()>;
        /// Removes a link; one that is not there is fine.
        fn remove_link(link: &Path) -> io::Result<()>;
        /// Makes what was renamed, made or removed beside `path` durable.
        fn sync_parent(path: &Path) -> io::Result<()>;
        /// Makes the whole file system of `folder` durable: cheaper than one call for each of many files.
        fn sync_file_system(folder: &Path) -> io::Result<()>;
        /// Makes a new file: readable by all and, when asked for, executable; never with special bits.
        fn create_file(path: &Path, executable: bool) -> io::Result<File>;
        /// Makes a folder, and those above it, that only this user may look into.
        fn create_private_folder(path: &Path) -> io::Result<()>;
        /// Whether users other than the owner may read or change a file.
        fn is_open_to_others(path: &Path) -> io::Result<bool>;
        /// Whether a file may be executed by its owner.
        fn is_executable(path: &Path) -> bool;
        /// Bytes that this user may still write to the volume of `path`.
        fn free_bytes(path: &Path) -> io::Result<u64>;
        /// Size of the volume of `path` in bytes.
        fn volume_bytes(path: &Path) -> io::Result<u64>;
        /// Whether an error says that the disk (or this user's share of it) is full.
        fn is_disk_full(error: &io::Error) -> bool;
    }
}

contract! {
    /// The host, this process, and who runs it.
    Host {
        /// Changes with every boot.
        fn boot_id() -> String;
        /// Resident memory of this process in bytes.
        fn resident_bytes() -> u64;
        /// Whether this user may install services for the whole host.
        fn is_superuser() -> bool;
        /// Where an agent is when nobody says so: for the whole host, or for this user.
        fn default_prefix() -> Option<PathBuf>;
        /// Sends one datagram to a local socket, without waiting; `@` at the beginning of its address stands for the
        /// namespace that is no folder.
        fn send_datagram(address: &str, text: &str) -> io::Result<()>;
    }
}
