//! The machine that a result belongs to, and the limits that a run needs raised.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use rustix::process::{Resource, getrlimit, setrlimit};
use serde::Serialize;

/// Processors that this program may use.
#[must_use]
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// What a reader must know to compare a result with another.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// Processors that this program may use.
    pub processors: usize,
    /// Their name.
    pub processor: String,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Kernel release.
    pub kernel: String,
    /// Commit that was checked out, with `+` when files were changed; empty outside a work tree.
    pub commit: String,
    /// First line that mosquitto says about itself; empty when it is not there.
    pub mosquitto: String,
}

impl Machine {
    /// Describes this machine. What cannot be found out stays empty.
    #[must_use]
    pub fn describe(mosquitto: &Path) -> Self {
        let line = |path: &str, name: &str| {
            let text = fs::read_to_string(path).unwrap_or_default();
            let value = text
                .lines()
                .find_map(|line| line.strip_prefix(name)?.split_once(':'))
                .map(|(_, value)| value.trim().to_owned());
            value.unwrap_or_default()
        };
        let changed = !output("git", &["status", "--porcelain", "--untracked-files=no"]).is_empty();
        Self {
            processors: processors(),
            processor: line("/proc/cpuinfo", "model name"),
            memory_mib: line("/proc/meminfo", "MemTotal").trim_end_matches(" kB").parse::<u64>().unwrap_or(0) / 1024,
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            commit: format!(
                "{}{}",
                output("git", &["rev-parse", "--short=12", "HEAD"]),
                if changed { "+" } else { "" }
            ),
            mosquitto: output(mosquitto, &["-h"]).lines().next().unwrap_or_default().to_owned(),
        }
    }

    /// All of it in one line.
    #[must_use]
    pub fn line(&self) -> String {
        format!(
            "{} × {}, {} MiB, Linux {}, commit {}, {}",
            self.processors, self.processor, self.memory_mib, self.kernel, self.commit, self.mosquitto
        )
    }
}

/// Raises the limit of open files as far as it goes and checks that it is enough for `clients`.
/// Servers started later inherit it.
pub fn raise_open_files(clients: usize) -> Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).context("cannot raise the limit of open files to its hard limit")?;
    let needed = clients as u64 + 256;
    let allowed = limit.current.unwrap_or(u64::MAX);
    ensure!(
        allowed >= needed,
        "{clients} clients need {needed} open files and {allowed} are allowed; raise it with `ulimit -Hn`"
    );
    Ok(())
}

/// What a program prints; empty when it cannot be run.
fn output(program: impl AsRef<std::ffi::OsStr>, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}
