//! Child processes: each with a log, each gone when its value is gone.

use crate::eventually::eventually;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use serde_json::Value;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::Duration;

/// A process that runs until it is told to end. Dropped, it is killed.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    /// Behind a lock, so that a fleet can be shared between threads.
    lines: Option<Mutex<mpsc::Receiver<String>>>,
}

impl Process {
    /// Starts a program that writes to the end of `log`.
    #[track_caller]
    pub fn spawn(name: &str, mut command: Command, log: &Path) -> Self {
        command.stdout(open(log));
        Self::start(name, command, log)
    }

    /// Starts a program whose standard output is listened to.
    #[track_caller]
    pub fn spawn_and_listen(name: &str, mut command: Command, log: &Path) -> Self {
        command.stdout(Stdio::piped());
        let mut process = Self::start(name, command, log);
        process.lines = process.child.stdout.take().map(listen).map(Mutex::new);
        process
    }

    #[track_caller]
    fn start(name: &str, mut command: Command, log: &Path) -> Self {
        command.stdin(Stdio::null()).stderr(open(log));
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        Self { name: name.to_owned(), child, log: log.to_owned(), lines: None }
    }

    /// Waits for a line on its standard output that begins so.
    #[track_caller]
    pub fn wait_for_line(&mut self, start: &str, deadline: Duration) -> String {
        let lines = self.lines.as_mut().expect("it was started to be listened to");
        let lines = lines.get_mut().expect("no holder of this lock panics");
        let line = eventually(&format!("{} says {start:?}", self.name), deadline, || {
            loop {
                match lines.try_recv() {
                    Ok(line) if line.starts_with(start) => return Ok(Ok(line)),
                    Ok(_) => {}
                    Err(mpsc::TryRecvError::Empty) => return Err(format!("nothing; its log:\n{}", tail(&self.log))),
                    Err(mpsc::TryRecvError::Disconnected) => return Ok(Err(())),
                }
            }
        });
        line.unwrap_or_else(|()| panic!("{} ended before it said {start:?}; its log:\n{}", self.name, tail(&self.log)))
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its exit status, if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(&mut self, deadline: Duration) -> ExitStatus {
        let what = format!("{} ends", self.name);
        let (child, log) = (&mut self.child, &self.log);
        eventually(&what, deadline, || match child.try_wait() {
            Ok(Some(status)) => Ok(status),
            Ok(None) => Err(format!("it runs; its log:\n{}", tail(log))),
            Err(error) => Err(error.to_string()),
        })
    }

    /// Asks it to end and waits for its end.
    #[track_caller]
    pub fn stop(mut self, deadline: Duration) -> ExitStatus {
        if self.ended().is_none() {
            kill_process(Pid::from_child(&self.child), Signal::TERM).expect("a child that has not ended has a number");
        }
        self.wait(deadline)
    }

    /// Holds it with SIGSTOP; returns when the last of its threads is held, so that nothing changes under a reader.
    #[track_caller]
    pub fn freeze(&self) {
        let pid = Pid::from_child(&self.child);
        let held = kill_process(pid, Signal::STOP).and_then(|()| waitid(WaitId::Pid(pid), WaitIdOptions::STOPPED));
        held.unwrap_or_else(|error| panic!("{} cannot be held ({error}); its log:\n{}", self.name, tail(&self.log)));
    }

    /// It goes on.
    #[track_caller]
    pub fn thaw(&self) {
        kill_process(Pid::from_child(&self.child), Signal::CONT).expect("a process that is held has a number");
    }

    /// Ends it with SIGKILL; returns when it is gone.
    pub fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // Both fail only when it has ended already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// How a command ended, and what it said.
#[derive(Debug)]
pub struct Output {
    /// The command, for failures.
    pub command: String,
    /// Its exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// Its results.
    pub stdout: String,
    /// Everything else.
    pub stderr: String,
}

impl Output {
    /// Runs a command to its end.
    #[track_caller]
    pub fn of(mut command: Command, deadline: Duration) -> Self {
        let text = format!("{command:?}");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot start {text}: {error}"));
        let pid = Pid::from_child(&child);
        let (sender, ended) = mpsc::channel();
        thread::spawn(move || sender.send(child.wait_with_output()));
        let Ok(output) = ended.recv_timeout(deadline) else {
            let _ = kill_process(pid, Signal::KILL);
            panic!("{text} did not end within {} s", deadline.as_secs());
        };
        let output = output.unwrap_or_else(|error| panic!("{text}: {error}"));
        let read = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { command: text, code: output.status.code(), stdout: read(&output.stdout), stderr: read(&output.stderr) }
    }

    /// Fails the test unless the command was successful.
    #[track_caller]
    pub fn succeeded(self) -> Self {
        self.ended_with(0)
    }

    /// Fails the test unless the command ended with this code.
    #[track_caller]
    pub fn ended_with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}\nsaid:\n{}{}", self.command, self.stdout, self.stderr);
        self
    }

    /// Fails the test unless the command gave this explanation.
    #[track_caller]
    pub fn explaining(self, words: &str) -> Self {
        assert!(self.stderr.contains(words), "{}\ndoes not say {words:?}:\n{}", self.command, self.stderr);
        self
    }

    /// What a successful command printed, as JSON.
    #[track_caller]
    pub fn json(self) -> Value {
        let output = self.succeeded();
        serde_json::from_str(&output.stdout)
            .unwrap_or_else(|error| panic!("{} printed no JSON ({error}):\n{}", output.command, output.stdout))
    }
}

/// The last lines of a log.
pub fn tail(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(TAIL_LINES)..];
    last.iter().map(|line| format!("  | {line}\n")).collect()
}

#[track_caller]
fn open(log: &Path) -> File {
    let opened = OpenOptions::new().create(true).append(true).open(log);
    opened.unwrap_or_else(|error| panic!("cannot write {}: {error}", log.display()))
}

/// Reads to the end even when nobody listens any more: whoever writes into a full pipe stops.
fn listen(output: ChildStdout) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    lines
}

const TAIL_LINES: usize = 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_frozen_does_nothing_until_it_is_thawed() {
        let folder = tempfile::tempdir().expect("a folder");
        let [file, log] = ["file", "log"].map(|name| folder.path().join(name));
        let mut command = Command::new("sh");
        command.args(["-c", "while :; do echo >> \"$0\"; done"]).arg(&file);
        let writer = Process::spawn("the writer", command, &log);
        let written = || fs::metadata(&file).map_or(0, |file| file.len());
        let goes_on = |from: u64| {
            eventually("the writer writes", Duration::from_secs(60), || match written() {
                now if now > from => Ok(()),
                now => Err(now.to_string()),
            });
        };
        goes_on(0);
        for _ in 0..100 {
            writer.freeze();
            let before = written();
            let state = fs::read_to_string(format!("/proc/{}/stat", writer.pid())).expect("a child has a state");
            assert!(state.contains(") T "), "{state}");
            assert_eq!(written(), before);
            writer.thaw();
            goes_on(before);
        }
    }
}
