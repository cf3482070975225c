//! Clients that are slow, silent or deaf cost others nothing, and are cut in time.

use muster_runtime::clock::Clock;
use muster_tests::client::{Credentials, Mqtt, Raw, Version, connect_packet, subscribe_packet};
use muster_tests::eventually::eventually;
use muster_tests::fleet::Fleet;
use serde_json::json;
use std::fs;
use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

/// Of each kind.
const CLIENTS: usize = 100;
/// Longest round trip of a well-behaved client in a hundred, on a machine where it takes a few milliseconds alone: the
/// bad clients work on the same machine, and other tests too.
const P99_MAX: Duration = Duration::from_secs(1);
/// On a slower machine, so many times what it takes alone: the promise is twice, the rest is for the other tests.
const P99_TIMES_MAX: u32 = 4;
/// How long it is measured alone, and how many round trips that takes at least.
const ALONE: Duration = Duration::from_secs(5);
const ALONE_TRIPS: usize = 20;
/// For one more round trip, whatever the disk takes.
const TRIP_DEADLINE: Duration = Duration::from_secs(120);
/// The server gives a handshake 10 s, and then a CONNECT 10 to 15 s, and these are quick; the rest is for a busy machine.
const CUT_DEADLINE: Duration = Duration::from_secs(60);
/// The server gives a write that stands still 30 s; before that the buffers of every connection must be filled, by updates
/// that each wait for the disk.
const DEAF_CUT_DEADLINE: Duration = Duration::from_secs(900);

const UPDATE_BYTES: usize = 100;
/// Every such update is some 20 KB for each deaf subscriber, who reads none of it.
const LARGE_UPDATE_BYTES: usize = 6 * 1024;

/// A megabyte waits for each at most, and as much again for everything else.
const DEAF_MB_MAX: u64 = 2 * CLIENTS as u64;

/// A well-behaved client that updates its shadow again and again.
struct Pulse<'a> {
    over: &'a AtomicBool,
    trips: Arc<AtomicUsize>,
    thread: thread::ScopedJoinHandle<'a, Vec<Duration>>,
}

impl<'a> Pulse<'a> {
    /// Every update carries so many bytes.
    fn start<'e: 'a>(
        scope: &'a thread::Scope<'a, 'e>,
        address: SocketAddr,
        credentials: &Credentials,
        bytes: usize,
        over: &'a AtomicBool,
    ) -> Self {
        let credentials = credentials.clone();
        let trips = Arc::new(AtomicUsize::new(0));
        let made = trips.clone();
        let thread = scope.spawn(move || {
            let beat = |times: &[Duration]| {
                made.store(times.len(), SeqCst);
                !over.load(SeqCst)
            };
            round_trips(address, &credentials, bytes, beat)
        });
        Self { over, trips, thread }
    }

    /// Waits for a round trip that begins from now on.
    #[track_caller]
    fn goes_on(&self, beside: &str) {
        // The one that is on its way began before.
        let enough = self.trips.load(SeqCst) + 2;
        eventually(&format!("a round trip beside {beside}"), TRIP_DEADLINE, || match self.trips.load(SeqCst) {
            trips if trips >= enough => Ok(()),
            trips => Err(format!("{trips} round trips")),
        });
    }

    /// Ends it, and fails the test when it was disturbed, compared with what it took alone.
    #[track_caller]
    fn finish(self, beside: &str, alone: Duration) {
        self.over.store(true, SeqCst);
        let times = self.thread.join().expect("the well-behaved client was served all the time");
        let p99 = p99(beside, times);
        let most = P99_MAX.max(P99_TIMES_MAX * alone);
        assert!(p99 < most, "p99 is {p99:?} beside {beside}, and {alone:?} alone");
    }
}

/// Round trips of a client, one after the other, until it is not to go on after those.
fn round_trips(
    address: SocketAddr,
    credentials: &Credentials,
    bytes: usize,
    goes_on: impl Fn(&[Duration]) -> bool,
) -> Vec<Duration> {
    let clock = Clock::system();
    let thing = Mqtt::connect(address, credentials, "pulse", Version::V4);
    thing.subscribe("$aws/things/pulse/shadow/update/accepted").expect("the own topics may be read");
    let padding = "x".repeat(bytes);
    let mut times = Vec::new();
    while goes_on(&times) {
        let began = clock.instant();
        let update = json!({ "state": { "reported": { "n": times.len(), "padding": padding } } });
        thing.ask_accepted("$aws/things/pulse/shadow/update", update);
        times.push(began.elapsed());
        thing.forget();
    }
    thing.disconnect();
    times
}

/// What the pulse takes while nobody disturbs it.
fn alone(address: SocketAddr, credentials: &Credentials, bytes: usize) -> Duration {
    let goes_on = |times: &[Duration]| times.len() < ALONE_TRIPS || times.iter().sum::<Duration>() < ALONE;
    p99("nobody", round_trips(address, credentials, bytes, goes_on))
}

fn p99(beside: &str, mut times: Vec<Duration>) -> Duration {
    times.sort();
    let longest = *times.last().unwrap_or_else(|| panic!("no round trip beside {beside}"));
    let (middle, p99) = (times[times.len() / 2], times[times.len() * 99 / 100]);
    println!("{} round trips beside {beside}: median {middle:?}, p99 {p99:?}, max {longest:?}", times.len());
    p99
}

/// Ends the pulse also when the test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

#[test]
fn silent_and_dawdling_clients_are_cut_and_disturb_nobody() {
    let mut fleet = Fleet::start();
    let (pulse, slow) = (fleet.issue_cert("pulse", "connector"), fleet.issue_cert("slow", "connector"));
    let address = fleet.address();
    let alone = alone(address, &pulse, UPDATE_BYTES);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let _over = Over(&over);
        let pulse = Pulse::start(scope, address, &pulse, UPDATE_BYTES, &over);
        let silent: Vec<TcpStream> =
            (0..CLIENTS).map(|_| TcpStream::connect(address).expect("TCP is accepted")).collect();
        let tls = slow.tls(&[b"mqtt"]);
        let shaken: Vec<Raw> =
            (0..CLIENTS).map(|_| Raw::with(address, tls.clone()).expect("TLS is accepted")).collect();
        let dawdling: Vec<Raw> =
            (0..CLIENTS).map(|_| Raw::with(address, tls.clone()).expect("TLS is accepted")).collect();
        let dawdle = scope.spawn(|| byte_by_byte(dawdling));
        pulse.goes_on("silent and dawdling clients");

        for stream in silent {
            assert!(is_closed_within(stream, CUT_DEADLINE), "a silent TCP connection stays open");
        }
        pulse.goes_on("clients that are silent over TLS, and dawdling ones");
        for mut raw in shaken {
            let heard = raw.hear_all(CUT_DEADLINE);
            assert!(heard.closed, "a silent TLS connection stays open: {heard:?}");
        }
        dawdle.join().expect("every CONNECT that takes too long is cut");
        pulse.finish("silent and dawdling clients", alone);
    });
    // All their places are free again.
    drop(Mqtt::connect(address, &slow, "slow", Version::V4));
    fleet.assert_serving();
}

/// Sends a CONNECT to each, one byte at a time, and fails when one of them is let in.
fn byte_by_byte(mut connections: Vec<Raw>) {
    let packet = connect_packet(&"slow".repeat(30));
    let clock = Clock::system();
    let end = clock.instant() + CUT_DEADLINE;
    // The last byte is never sent.
    for byte in &packet[..packet.len() - 1] {
        connections.retain_mut(|raw| raw.send(std::slice::from_ref(byte)).is_ok());
        if connections.is_empty() || clock.instant() > end {
            break;
        }
        // Not a wait for anything: slowness is the point.
        thread::sleep(Duration::from_millis(200));
    }
    for mut raw in connections {
        let heard = raw.hear_all(Duration::from_secs(5));
        assert!(heard.closed && heard.bytes.is_empty(), "a CONNECT may take more than {CUT_DEADLINE:?}: {heard:?}");
    }
}

fn is_closed_within(mut stream: TcpStream, deadline: Duration) -> bool {
    stream.set_read_timeout(Some(deadline)).expect("a deadline that is not zero");
    match stream.read(&mut [0]) {
        Ok(count) => count == 0,
        Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
    }
}

#[test]
fn subscribers_that_never_read_are_cut_and_disturb_nobody() {
    let mut fleet = Fleet::start();
    let pulse = fleet.issue_cert("pulse", "connector");
    // One identity may have four connections.
    let observers: Vec<Credentials> =
        (0..CLIENTS.div_ceil(4)).map(|number| fleet.issue_cert(&format!("deaf-{number}"), "observer")).collect();
    let address = fleet.address();
    let alone = alone(address, &pulse, LARGE_UPDATE_BYTES);
    let over = AtomicBool::new(false);
    let before = peak_mb(fleet.server_pid());
    thread::scope(|scope| {
        let _over = Over(&over);
        let mut deaf = Vec::with_capacity(CLIENTS);
        for number in 0..CLIENTS {
            let tls = observers[number / 4].tls(&[b"mqtt"]);
            let mut raw = Raw::with(address, tls).expect("TLS is accepted");
            raw.send(&connect_packet(&format!("deaf-{number}"))).expect("a CONNECT is taken");
            assert_eq!(raw.hear(4, CUT_DEADLINE).bytes, [0x20, 2, 0, 0], "CONNACK");
            raw.send(&subscribe_packet(1, "$aws/things/+/shadow/#")).expect("a SUBSCRIBE is taken");
            assert_eq!(raw.hear(5, CUT_DEADLINE).bytes, [0x90, 3, 0, 1, 0], "SUBACK");
            deaf.push(raw);
        }
        let pulse = Pulse::start(scope, address, &pulse, LARGE_UPDATE_BYTES, &over);
        let log = fleet.root().join("logs/server.log");
        eventually("all deaf subscribers are cut", DEAF_CUT_DEADLINE, || {
            let text = fs::read_to_string(&log).unwrap_or_default();
            let cut =
                text.lines().filter(|line| line.contains("disconnected") && line.contains("client=deaf-")).count();
            if cut == CLIENTS { Ok(()) } else { Err(format!("{cut} of {CLIENTS} are cut")) }
        });
        pulse.finish("subscribers that never read", alone);
        for mut raw in deaf {
            assert!(raw.hear_all(CUT_DEADLINE).closed, "a deaf subscriber is still connected");
        }
    });
    let peak = peak_mb(fleet.server_pid());
    println!("the server's memory: at most {before} MB before, {peak} MB with the deaf");
    assert!(peak < before + DEAF_MB_MAX, "{peak} MB for {CLIENTS} deaf subscribers");
    fleet.assert_serving();
}

/// The most memory that a process ever had resident.
fn peak_mb(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux says how much was resident");
    line.split_whitespace().next().and_then(|kb| kb.parse::<u64>().ok()).expect("a number") / 1024
}
