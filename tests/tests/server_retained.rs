//! A server that is killed again and again loses no retained message that it acknowledged, and none comes back that was
//! cleared.

use muster_runtime::ids::random_fraction;
use muster_tests::client::{Credentials, Mqtt, Version};
use muster_tests::eventually::eventually;
use muster_tests::fleet::Fleet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

const KILLS: u64 = 15;
const CLIENTS: usize = 4;
/// Messages of one client on their way at once.
const IN_FLIGHT: u64 = 8;
/// For what takes a moment; the machine may be busy.
const SOON: Duration = Duration::from_secs(120);
/// A kill comes within this time after messages are acknowledged again.
const MOMENT_MAX: Duration = Duration::from_millis(60);

/// One client: it counts on one topic, and every third message clears it.
struct Counter {
    name: String,
    credentials: Credentials,
    /// The number of the last message that was sent, and of the last that was acknowledged.
    sent: u64,
    promised: u64,
}

/// What is retained after a message.
fn payload(number: u64) -> String {
    if number.is_multiple_of(3) { String::new() } else { number.to_string() }
}

impl Counter {
    fn topic(&self) -> String {
        format!("app/{}/n", self.name)
    }

    #[track_caller]
    fn connect(&self, address: SocketAddr) -> Mqtt {
        Mqtt::connect(address, &self.credentials, &self.name, Version::V4)
    }

    /// Compares what is retained with what was promised: it is what some message left, the last promised one or later.
    #[track_caller]
    fn check(&self, client: &Mqtt, kill: u64) {
        let topic = self.topic();
        client.subscribe(&topic).expect("the own topics may be read");
        // What is retained comes first.
        client.publish(&topic, "live").expect("the own topics may be written");
        client.wait_for("the message that is not retained", |message| (!message.retained).then_some(()));
        let retained = client.messages().into_iter().find(|message| message.retained);
        let found = retained.map_or(String::new(), |message| String::from_utf8_lossy(&message.payload).into_owned());
        let (promised, sent) = (self.promised, self.sent);
        assert!(
            (promised..=sent).any(|number| payload(number) == found),
            "{} after kill {kill}: {found:?} is retained, but {promised} was acknowledged and {sent} was sent last",
            self.name
        );
    }

    /// Sends message after message until the connection ends.
    fn count(&mut self, client: &Mqtt, acknowledged: &AtomicU64) {
        let (topic, first, before) = (self.topic(), self.sent, client.acknowledged() as u64);
        let mut seen = 0;
        loop {
            while self.sent - first - seen < IN_FLIGHT {
                if client.send(&topic, payload(self.sent + 1), true).is_err() {
                    break;
                }
                self.sent += 1;
            }
            let result = client.wait_for_more_than((before + seen) as usize);
            let now = client.acknowledged() as u64 - before;
            acknowledged.fetch_add(now - seen, SeqCst);
            seen = now;
            if seen > 0 {
                self.promised = first + seen;
            }
            if result.is_err() {
                return;
            }
        }
    }
}

#[test]
fn kills_lose_no_acknowledged_retained_message() {
    let mut fleet = Fleet::start();
    let mut counters: Vec<Counter> = (0..CLIENTS)
        .map(|index| {
            let name = format!("counter-{index}");
            let credentials = fleet.issue_cert(&name, "connector");
            Counter { name, credentials, sent: 0, promised: 0 }
        })
        .collect();
    let acknowledged = AtomicU64::new(0);
    for kill in 0..KILLS {
        let clients: Vec<Mqtt> = counters.iter().map(|counter| counter.connect(fleet.address())).collect();
        for (counter, client) in counters.iter().zip(&clients) {
            counter.check(client, kill);
        }
        let before = acknowledged.load(SeqCst);
        thread::scope(|scope| {
            for (counter, client) in counters.iter_mut().zip(&clients) {
                scope.spawn(|| counter.count(client, &acknowledged));
            }
            eventually("messages are acknowledged", SOON, || {
                let more = acknowledged.load(SeqCst) - before;
                if more >= CLIENTS as u64 { Ok(()) } else { Err(format!("{more} acknowledged")) }
            });
            // Not a wait for anything: the moment shall be any moment.
            thread::sleep(MOMENT_MAX.mul_f64(random_fraction()));
            fleet.kill();
        });
        fleet.serve();
    }
    for counter in &counters {
        counter.check(&counter.connect(fleet.address()), KILLS);
    }
    let sent: u64 = counters.iter().map(|counter| counter.sent).sum();
    println!("{KILLS} kills: {sent} messages sent, {} acknowledged", acknowledged.load(SeqCst));
}
