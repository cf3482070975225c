//! A process that writes is killed at random moments; whatever it was answered is there afterwards.
//!
//! The test starts its own binary again as the writer. The writer prints a line for each answered op; the parent
//! kills it with SIGKILL, opens the store and looks for each line.

#![allow(clippy::unwrap_used)]
#![expect(clippy::disallowed_methods, reason = "the environment tells the writer from the test")]

use std::collections::BTreeMap;
use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use muster_shadow::store::{Expect, Op, SledSettings, SledStore, Store};

const WRITER_DIR: &str = "MUSTER_STORE_TEST_DIR";
const WRITER_ROUND: &str = "MUSTER_STORE_TEST_ROUND";
const WRITERS: usize = 4;
const KEYS: u64 = 200;
const ROUNDS: u64 = 25;
const VALUES_PER_ROUND: u64 = 1_000_000_000;
const PATIENCE: Duration = Duration::from_secs(60);

/// The newest answered state of each key: revision and round-and-count that was written, or that it was removed.
type Answered = BTreeMap<String, (u64, Option<u64>)>;

#[test]
fn whatever_was_answered_survives_sigkill() {
    if let Ok(dir) = env::var(WRITER_DIR) {
        return write_until_killed(Path::new(&dir), env::var(WRITER_ROUND).unwrap().parse().unwrap());
    }
    let dir = tempfile::tempdir().unwrap();
    let mut answered = Answered::new();
    let mut highest = 0;
    // Any sequence will do that spreads the moments; a fixed one can be run again.
    let mut chance = 0x9E37_79B9_7F4A_7C15_u64;
    for round in 1..=ROUNDS {
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // Some rounds are killed while they open, most after a number of answers, and a little later.
        let lines = if round % 5 == 0 { 0 } else { (chance >> 33) % 4000 };
        let pause = Duration::from_micros((chance >> 17) % 20_000);
        answered_before_kill(dir.path(), round, lines, pause, &mut answered);
        check(dir.path(), round, &mut answered, &mut highest);
    }
    assert!(answered.len() as u64 > KEYS, "the writers did next to nothing: {} keys", answered.len());
}

#[test]
fn a_first_opening_that_was_killed_can_be_repeated() {
    for moment in 0..40 {
        let dir = tempfile::tempdir().unwrap();
        let mut answered = Answered::new();
        let pause = Duration::from_micros(moment * 500);
        answered_before_kill(dir.path(), 1, 0, pause, &mut answered);
        check(dir.path(), 1, &mut answered, &mut 0);
    }
}

/// Runs a writer, kills it after `lines` lines and `pause`, and adds what it was answered.
fn answered_before_kill(dir: &Path, round: u64, lines: u64, pause: Duration, answered: &mut Answered) {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "whatever_was_answered_survives_sigkill", "--nocapture"])
        .env(WRITER_DIR, dir)
        .env(WRITER_ROUND, round.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let received = lines_of(&mut child);
    let mut seen = 0;
    while seen < lines {
        let line = received.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("round {round}: the writer fell silent"));
        seen += u64::from(note(&line, answered));
    }
    // Not waiting for something: the kill shall fall anywhere, also into the opening of the store.
    std::thread::sleep(pause);
    child.kill().unwrap();
    child.wait().unwrap();
    for line in received {
        note(&line, answered);
    }
}

fn lines_of(child: &mut Child) -> mpsc::Receiver<String> {
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        // The last line may be torn by the kill: only what ends in a line feed was said.
        while output.read_line(&mut line).is_ok_and(|read| read > 0) && line.ends_with('\n') {
            if send.send(std::mem::take(&mut line)).is_err() {
                return;
            }
        }
    });
    receive
}

/// Takes in a line `put KEY REVISION VALUE` or `del KEY REVISION`; says whether it was one.
fn note(line: &str, answered: &mut Answered) -> bool {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (key, revision, value) = match words[..] {
        ["put", key, revision, value] => (key, revision, Some(value.parse().unwrap())),
        ["del", key, revision] => (key, revision, None),
        _ => return false,
    };
    let revision = revision.parse().unwrap();
    let newest = answered.entry(key.to_owned()).or_default();
    assert!(revision > newest.0, "{key}: revision {revision} after {}", newest.0);
    *newest = (revision, value);
    true
}

/// Compares the store with what was answered, and takes over what it did beyond that.
///
/// Each writer can have been killed between one op and its line, so at most that many keys may be ahead, and only by
/// an op of this round.
fn check(dir: &Path, round: u64, answered: &mut Answered, highest: &mut u64) {
    let store = SledStore::open(dir, &SledSettings::default()).unwrap();
    let mut found = Answered::new();
    for (key, stored) in store.scan_all(b"").unwrap() {
        assert_eq!(store.get(&key).unwrap().as_ref(), Some(&stored));
        let text = String::from_utf8(stored.value.to_vec()).unwrap();
        let value = text.split('.').next().unwrap().parse().unwrap();
        assert_eq!(text, value_text(value), "round {round}");
        found.insert(String::from_utf8(key).unwrap(), (stored.revision.get(), Some(value)));
    }
    let mut ahead = 0;
    for (key, newest) in answered.iter_mut() {
        match (found.remove(key), *newest) {
            (Some(there), said) if there == said => {}
            (None, (_, None)) => {}
            (Some(there), said) => {
                assert!(there.0 > said.0, "round {round}: {key} went back from {said:?} to {there:?}");
                assert_eq!(there.1.map(round_of), Some(round), "round {round}: {key} was {said:?}, is {there:?}");
                *newest = there;
                ahead += 1;
            }
            // A record is only removed straight after it was put, so by the round that put it.
            (None, (revision, Some(value))) => {
                assert_eq!(round_of(value), round, "round {round}: {key} of revision {revision} is gone");
                *newest = (revision, None);
                ahead += 1;
            }
        }
    }
    for (key, there) in found {
        assert_eq!(there.1.map(round_of), Some(round), "round {round}: {key} comes from nowhere");
        answered.insert(key, there);
        ahead += 1;
    }
    assert!(ahead <= WRITERS, "round {round}: {ahead} keys differ from what was answered");
    // Removing what is not there changes nothing and still takes a revision.
    let next = store.apply(vec![Op::delete("none", Expect::Any)]).wait_single().unwrap().unwrap().get();
    let known = answered.values().map(|(revision, _)| *revision).max().unwrap_or(0).max(*highest);
    assert!(next > known, "round {round}: revision {next} after {known}");
    *highest = next;
}

fn round_of(value: u64) -> u64 {
    value / VALUES_PER_ROUND
}

/// A value that says what it is and is of very different lengths, some of them stored in pieces.
fn value_text(value: u64) -> String {
    let length = if value.is_multiple_of(10) { 9000 } else { 100 + value % 900 };
    format!("{value}.{}", "x".repeat(length as usize))
}

fn write_until_killed(dir: &Path, round: u64) {
    let store = SledStore::open(dir, &SledSettings::default()).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let store = &store;
            scope.spawn(move || {
                // A record is removed only in the round that wrote it, straight after the put: `check` counts on it.
                for count in 0_u64.. {
                    let value = round * VALUES_PER_ROUND + count;
                    let key = format!("k{writer}-{}", count % KEYS);
                    let put = store.apply(vec![Op::put(key.as_str(), Expect::Any, value_text(value))]);
                    say(&format!("put {key} {} {value}\n", put.wait_single().unwrap().unwrap()));
                    if count % 7 == 0 {
                        let removed = store.apply(vec![Op::delete(key.as_str(), Expect::Any)]);
                        say(&format!("del {key} {}\n", removed.wait_single().unwrap().unwrap()));
                    }
                }
            });
        }
    });
}

/// One write per line, so that lines of two threads never mix.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // The parent closes its end only when the round is over.
    if out.write_all(line.as_bytes()).and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}
