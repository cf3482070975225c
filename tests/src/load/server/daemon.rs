//! A child process that runs until it is stopped, and leaves a log.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// Longest wait for a first word, and for an end after SIGTERM.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How often a condition outside this process is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// A running child. Dropped, it is killed.
#[derive(Debug)]
pub struct Daemon {
    name: String,
    child: Child,
    log: PathBuf,
    lines: mpsc::Receiver<String>,
}

impl Daemon {
    /// Runs `command` with stderr going to the file `log`.
    pub fn spawn(mut command: Command, log: &Path) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let file = File::create(log).with_context(|| format!("cannot create {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(file);
        let mut child = command.spawn().with_context(|| format!("cannot run {name}; is it installed or built?"))?;
        let stdout = child.stdout.take().context("a child without stdout")?;
        let (sender, lines) = mpsc::channel();
        // Reads to the end even when nobody listens any more, so that the child never blocks on a full pipe.
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Ok(Self { name, child, log: log.to_owned(), lines })
    }

    /// Its process number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the line on stdout that begins with `start`.
    pub fn wait_line(&mut self, start: &str) -> Result<String> {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) if line.starts_with(start) => return Ok(line),
                Ok(_) => {}
                Err(_) => bail!("{} did not say `{start}` in {} s: {}", self.name, PATIENCE.as_secs(), self.log_tail()),
            }
        }
    }

    /// Waits until `done`, or fails when the child ends or takes too long.
    pub fn wait_until(&mut self, what: &str, done: impl Fn() -> bool) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        while !done() {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended with {status} before {what}: {}", self.name, self.log_tail());
            }
            if Instant::now() > end {
                bail!("{}: {what} took over {} s: {}", self.name, PATIENCE.as_secs(), self.log_tail());
            }
            thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Asks it to end, waits, and kills it when it does not. Fails when it had ended before.
    pub fn stop(mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{} had ended with {status} during the run: {}", self.name, self.log_tail());
        }
        kill_process(Pid::from_child(&self.child), Signal::TERM)
            .with_context(|| format!("cannot stop {}", self.name))?;
        let end = Instant::now() + PATIENCE;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > end {
                bail!(
                    "{} did not end {} s after SIGTERM and was killed: {}",
                    self.name,
                    PATIENCE.as_secs(),
                    self.log_tail()
                );
            }
            thread::sleep(LOOK);
        }
        Ok(())
    }

    fn log_tail(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().rev().take(10).collect();
        if lines.is_empty() {
            "its log is empty".to_owned()
        } else {
            lines.into_iter().rev().collect::<Vec<_>>().join("\n  ")
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Fails when it has ended already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
