//! What the kernel says about a process: processor time and memory, from `/proc`.

use std::{fs, time::Duration};

use anyhow::{Context, Result, anyhow};

/// Processor time that process `pid` has used so far, user and system, ended threads included.
pub fn cpu_time(pid: u32) -> Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).with_context(|| format!("cannot read {path}; has process {pid} ended?"))?;
    parse_cpu_ticks(&stat).map(ticks).with_context(|| format!("{path} has an unknown form"))
}

/// Memory of process `pid`, in KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Resident set: all pages in memory, shared ones included.
    pub rss_kib: u64,
    /// Proportional set: shared pages divided among those who share them.
    pub pss_kib: u64,
}

/// Reads the memory of process `pid`.
pub fn memory(pid: u32) -> Result<Memory> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}; has process {pid} ended?"))?;
    parse_memory(&text).with_context(|| format!("{path} has an unknown form"))
}

/// Processor time that the whole machine has spent working (all processors, steal included) since it started.
pub fn machine_busy() -> Result<Duration> {
    let text = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
    parse_busy_ticks(&text).map(ticks).context("/proc/stat has an unknown form")
}

fn ticks(count: u64) -> Duration {
    Duration::from_micros(count * 1_000_000 / rustix::param::clock_ticks_per_second())
}

fn parse_cpu_ticks(stat: &str) -> Result<u64> {
    // The second field is the program's name in parentheses and may hold spaces; count from behind it.
    let (_, fields) = stat.rsplit_once(')').ok_or_else(|| anyhow!("no program name"))?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: u64 = fields.next().ok_or_else(|| anyhow!("no user time"))?.parse()?;
    let system: u64 = fields.next().ok_or_else(|| anyhow!("no system time"))?.parse()?;
    Ok(user + system)
}

fn parse_memory(text: &str) -> Result<Memory> {
    let field = |name: &str| -> Result<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).ok_or_else(|| anyhow!("no line {name}"))?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    };
    Ok(Memory { rss_kib: field("Rss:")?, pss_kib: field("Pss:")? })
}

fn parse_busy_ticks(text: &str) -> Result<u64> {
    let line = text.lines().next().and_then(|line| line.strip_prefix("cpu ")).ok_or_else(|| anyhow!("no cpu line"))?;
    let fields = line.split_whitespace().map(str::parse).collect::<Result<Vec<u64>, _>>()?;
    // user nice system idle iowait irq softirq steal; guest time is already part of user.
    Ok(fields.iter().take(8).enumerate().filter(|(at, _)| !matches!(at, 3 | 4)).map(|(_, ticks)| ticks).sum())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn processor_time_is_found_behind_a_program_name_with_spaces() {
        let stat = "77 (a b) c) S 1 77 77 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 3 0 100 0 0";
        assert_eq!(parse_cpu_ticks(stat).unwrap(), 300);
    }

    #[test]
    fn memory_is_read_from_a_rollup() {
        let text = "55d0-7ffc ---p 00000000 00:00 0 [rollup]\nRss:                5320 kB\nPss:                1210 kB\nPss_Dirty: 8 kB\n";
        assert_eq!(parse_memory(text).unwrap(), Memory { rss_kib: 5320, pss_kib: 1210 });
    }

    #[test]
    fn idle_and_waiting_time_is_not_work() {
        assert_eq!(parse_busy_ticks("cpu  1 2 3 1000 2000 4 5 6 9 9\ncpu0 1 2 3").unwrap(), 21);
    }

    #[test]
    fn this_process_can_be_read() {
        let pid = std::process::id();
        assert!(memory(pid).unwrap().rss_kib > 500);
        assert!(cpu_time(pid).unwrap() <= machine_busy().unwrap());
    }
}
