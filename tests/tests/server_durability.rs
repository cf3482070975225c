//! A server that is killed again and again loses nothing that it acknowledged.

use muster_runtime::ids::random_fraction;
use muster_tests::client::{Credentials, Mqtt, Version};
use muster_tests::eventually::eventually;
use muster_tests::fleet::Fleet;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

const KILLS: u64 = 50;
const CLIENTS: usize = 6;
/// Updates of one client on their way at once, so that a kill finds some in every stage.
const IN_FLIGHT: u64 = 8;
/// For what takes a moment; the machine may be busy.
const SOON: Duration = Duration::from_secs(120);
/// A kill comes within this time after updates are acknowledged again.
const MOMENT_MAX: Duration = Duration::from_millis(60);

/// Between two attempts to connect to a server that is not there yet.
const KNOCK_PAUSE: Duration = Duration::from_millis(5);

/// What the clients and the one who kills know of each other.
#[derive(Default)]
struct Round {
    /// Counts the starts of the server.
    start: AtomicU64,
    over: AtomicBool,
    acknowledged: AtomicU64,
    /// What is wrong, for the one who kills.
    problem: Mutex<Option<String>>,
}

/// One client: it counts, and remembers what it was promised.
struct Counter<'a> {
    thing: String,
    credentials: Credentials,
    address: SocketAddr,
    round: &'a Round,
    /// The start after which it last found everything that it was promised.
    checked: &'a AtomicU64,
    /// The last number that was sent.
    sent: u64,
    /// The last number that was acknowledged.
    promised: u64,
    /// How many updates were acknowledged.
    promises: u64,
}

impl Counter<'_> {
    fn run(mut self) -> Self {
        while !self.round.over.load(SeqCst) {
            let start = self.round.start.load(SeqCst);
            let Ok(client) = Mqtt::try_connect(self.address, &self.credentials, &self.thing, Version::V4) else {
                thread::sleep(KNOCK_PAUSE);
                continue;
            };
            match self.check(&client) {
                // The server died during the check: the next start is checked.
                None => continue,
                Some(Ok(())) => self.checked.store(start, SeqCst),
                Some(Err(problem)) => {
                    let mut place = self.round.problem.lock().unwrap_or_else(PoisonError::into_inner);
                    place.get_or_insert(format!("{} after start {start}: {problem}", self.thing));
                    break;
                }
            }
            self.count(&client, start);
        }
        self
    }

    /// Compares the shadow with what was promised. `None` when the connection ended.
    fn check(&self, client: &Mqtt) -> Option<Result<(), String>> {
        let topic = |rest: &str| format!("$aws/things/{}/shadow/{rest}", self.thing);
        client.subscribe(&topic("get/+")).ok()?;
        client.subscribe(&topic("update/accepted")).ok()?;
        let (number, version) = match client.ask(&topic("get"), json!({})).ok()? {
            Ok(shadow) => (shadow["state"]["reported"]["n"].as_u64(), shadow["version"].as_u64()),
            Err(rejected) if rejected["code"] == 404 => (Some(0), Some(0)),
            Err(rejected) => return Some(Err(format!("get was rejected: {rejected}"))),
        };
        let (sent, promised, promises) = (self.sent, self.promised, self.promises);
        // Every update counts the version up by one, so a lost one in the middle shows there.
        let kept = number.is_some_and(|number| (promised..=sent).contains(&number))
            && version.is_some_and(|version| version >= promises);
        Some(kept.then_some(()).ok_or_else(|| {
            format!(
                "the shadow has number {number:?} and version {version:?}, but {promised} was acknowledged \
                 (the last of {promises}) and {sent} was the last to be sent"
            )
        }))
    }

    /// Sends number after number until the connection ends, or until it turns out to reach a later start than thought.
    fn count(&mut self, client: &Mqtt, start: u64) {
        let topic = format!("$aws/things/{}/shadow/update", self.thing);
        let before = client.acknowledged() as u64;
        let first = self.sent;
        let (base, mut seen) = (self.promises, 0);
        while !self.round.over.load(SeqCst) && self.round.start.load(SeqCst) == start {
            while self.sent - first - seen < IN_FLIGHT {
                let update = json!({ "state": { "reported": { "n": self.sent + 1 } } });
                if client.send(&topic, update.to_string(), false).is_err() {
                    break;
                }
                self.sent += 1;
            }
            let result = client.wait_for_more_than((before + seen) as usize);
            // What was acknowledged before the end counts too.
            let now = client.acknowledged() as u64 - before;
            self.round.acknowledged.fetch_add(now - seen, SeqCst);
            seen = now;
            self.promises = base + seen;
            self.promised = self.promised.max(if seen > 0 { first + seen } else { 0 });
            if result.is_err() {
                break;
            }
            self.heed_answers(client, &topic);
        }
        self.heed_answers(client, &topic);
    }

    /// An answer is a promise as good as a PUBACK.
    fn heed_answers(&mut self, client: &Mqtt, topic: &str) {
        let accepted = format!("{topic}/accepted");
        let answers = client.messages().into_iter().filter(|message| message.topic == accepted);
        let numbers = answers.filter_map(|message| {
            let answer: Value = serde_json::from_slice(&message.payload).ok()?;
            answer["state"]["reported"]["n"].as_u64()
        });
        self.promised = self.promised.max(numbers.max().unwrap_or(0));
        client.forget();
    }
}

/// Ends the clients also when the test fails.
struct Over<'a>(&'a Round);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, SeqCst);
    }
}

#[test]
fn fifty_kills_lose_no_acknowledged_shadow_update() {
    let mut fleet = Fleet::start();
    let round = Round::default();
    let checked: [AtomicU64; CLIENTS] = Default::default();
    round.start.store(1, SeqCst);
    let address = fleet.address();
    let counters = thread::scope(|scope| {
        let over = Over(&round);
        let threads: Vec<_> = checked
            .iter()
            .enumerate()
            .map(|(index, checked)| {
                let thing = format!("counter-{index}");
                let credentials = fleet.issue_cert(&thing, "connector");
                let round = &round;
                let counter =
                    Counter { thing, credentials, address, round, checked, sent: 0, promised: 0, promises: 0 };
                scope.spawn(move || counter.run())
            })
            .collect();
        for kill in 1..=KILLS {
            until_all_have_checked(&round, &checked, kill);
            let before = round.acknowledged.load(SeqCst);
            eventually("every client is promised something", SOON, || {
                let more = round.acknowledged.load(SeqCst) - before;
                if more >= CLIENTS as u64 { Ok(()) } else { Err(format!("{more} updates acknowledged")) }
            });
            // Not a wait for anything: the moment shall be any moment.
            thread::sleep(MOMENT_MAX.mul_f64(random_fraction()));
            fleet.kill();
            // Before the start: whoever reads this number can only reach the server that is started now, or a later one.
            round.start.store(kill + 1, SeqCst);
            fleet.serve();
        }
        until_all_have_checked(&round, &checked, KILLS + 1);
        drop(over);
        threads.into_iter().map(|thread| thread.join().expect("a client ends")).collect::<Vec<_>>()
    });

    let acknowledged: u64 = counters.iter().map(|counter| counter.promises).sum();
    let sent: u64 = counters.iter().map(|counter| counter.sent).sum();
    println!("{KILLS} kills: {sent} updates sent by {CLIENTS} clients, all {acknowledged} acknowledged ones found");
}

#[test]
fn an_orderly_stop_succeeds_and_loses_nothing() {
    let mut fleet = Fleet::start();
    let thing = fleet.issue_cert("t1", "connector");
    for number in 1..=5 {
        let client = Mqtt::connect(fleet.address(), &thing, "t1", Version::V4);
        let update = json!({ "state": { "reported": { "n": number } } });
        client.publish("$aws/things/t1/shadow/update", update.to_string()).expect("an update of the own shadow");
        let status = fleet.stop();
        assert!(status.success(), "the server ended with {status}; its log:\n{}", fleet.log("server"));
        client.wait_for_end(SOON);
        fleet.serve();
        let client = Mqtt::connect(fleet.address(), &thing, "t1", Version::V4);
        client.subscribe("$aws/things/t1/shadow/get/+").expect("the own topics may be read");
        let shadow = client.ask_accepted("$aws/things/t1/shadow/get", json!({}));
        assert_eq!((&shadow["state"]["reported"]["n"], &shadow["version"]), (&json!(number), &json!(number)));
    }
}

#[track_caller]
fn until_all_have_checked(round: &Round, checked: &[AtomicU64], start: u64) {
    eventually("every client finds what it was promised", SOON, || {
        if let Some(problem) = round.problem.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            panic!("{problem}");
        }
        let seen: Vec<u64> = checked.iter().map(|checked| checked.load(SeqCst)).collect();
        if seen.iter().all(|seen| *seen >= start) { Ok(()) } else { Err(format!("start {start}, checked {seen:?}")) }
    });
}
