//! Devices at work, alone and then beside thousands of clients that mean ill: silent, dawdling, deaf, talking garbage.
//!
//! All of them come back a second after they were cut, for as long as the devices are measured. Each has an address of
//! its own, so that what a server grants to one address does not spare it any of them.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
use rustls::ClientConfig;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{interval, sleep},
};

use super::{Outcome, Settings, Target, shadow};
use crate::load::{
    client::{Connection, KEEP_ALIVE_S, shake_hands},
    failures::{Failure, Failures, Kind},
    figures::{Figures, Metric},
    packet::{self, Version},
    process, traffic,
};

/// Kinds of bad clients.
pub const KINDS: usize = 4;
/// Of these, how many present a certificate.
const KINDS_WITH_CERTIFICATE: usize = 3;

/// How long a bad client stays away after it was cut.
const AWAY: Duration = Duration::from_secs(1);
/// A client that sends one byte a second.
const DAWDLE: Duration = Duration::from_secs(1);
/// Time between two updates of a client that reads no answer.
const DEAF_PAUSE: Duration = Duration::from_millis(500);
/// What the kernel keeps for a client that does not read; small, so that the server feels it soon.
const DEAF_BUFFER_BYTES: u32 = 4096;
/// Longest wait until every bad client has come once.
const ARRIVAL: Duration = Duration::from_secs(60);
/// How often the controller looks whether they have.
const LOOK: Duration = Duration::from_millis(50);

/// What a bad client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Vice {
    /// Opens a TCP connection and says nothing.
    Silent,
    /// Shakes hands and sends its CONNECT one byte a second.
    Dawdling,
    /// A device in good standing that sends updates and never reads an answer.
    Deaf,
    /// Sends what is neither TLS nor MQTT; every other one does so inside TLS.
    Garbage,
}

const VICES: [Vice; KINDS] = [Vice::Silent, Vice::Dawdling, Vice::Deaf, Vice::Garbage];

/// Measures `clients` devices alone and then beside the bad clients.
pub fn run(target: &Target, clients: usize, stand_in: Option<u32>, settings: &Settings) -> Result<Outcome> {
    let each = settings.bad;
    let alone = shadow::run(target, clients, stand_in, settings)?;
    let before = process::memory(target.pid)?.rss_kib;
    let mob = Mob::start(target, clients, each)?;
    let failures = Failures::default();
    mob.wait_arrived(each, &failures);
    let beside = shadow::run(target, clients, stand_in, settings)?;
    let after = process::memory(target.pid)?.rss_kib;
    mob.stop()?;

    let of = |outcome: &Outcome, metric| outcome.figures.get(&metric).copied().unwrap_or_default();
    let p99 = (of(&alone, Metric::ShadowP99Ms), of(&beside, Metric::ShadowP99Ms));
    let figures = Figures::from([
        (Metric::HostileAloneP99Ms, p99.0),
        (Metric::HostileP99Ms, p99.1),
        (Metric::HostileP99Times, p99.1 / p99.0),
        (Metric::HostileAlonePerS, of(&alone, Metric::ShadowPerS)),
        (Metric::HostilePerS, of(&beside, Metric::ShadowPerS)),
        (
            Metric::HostileOthersPercent,
            of(&alone, Metric::ShadowOthersPercent).max(of(&beside, Metric::ShadowOthersPercent)),
        ),
        (Metric::HostileRssKib, (after as f64 - before as f64) / (KINDS * each).max(1) as f64),
    ]);
    failures.add_counts(alone.failures);
    failures.add_counts(beside.failures);
    Ok(Outcome { figures, failures: failures.counts() })
}

/// All bad clients, on a thread of their own. Dropped, they leave.
struct Mob {
    came: Arc<[AtomicUsize; KINDS]>,
    leave: watch::Sender<bool>,
    thread: thread::JoinHandle<Result<()>>,
}

impl Mob {
    fn start(target: &Target, first: usize, each: usize) -> Result<Self> {
        let came = Arc::new([const { AtomicUsize::new(0) }; KINDS]);
        let (leave, mut left) = watch::channel(false);
        let identities = target.identities.get(first..first + KINDS_WITH_CERTIFICATE * each);
        let identities: Vec<_> = identities.context("too few certificates for the bad clients")?.to_vec();
        let (addr, count) = (target.addr, Arc::clone(&came));
        let work = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let mut clients = JoinSet::new();
                for (kind, vice) in VICES.into_iter().enumerate() {
                    for index in 0..each {
                        // The silent need no certificate.
                        let certificate = kind.saturating_sub(1) * each + index;
                        let tls = Arc::clone(&identities[certificate]);
                        let (thing, from) = (traffic::thing(first + certificate), address(kind * each + index));
                        let client = Client { addr, tls, thing, index, from };
                        let count = Arc::clone(&count);
                        clients.spawn(async move { client.misbehave(vice, &count[kind]).await });
                    }
                }
                // An error would mean that the controller is gone: time to leave too.
                let _ = left.wait_for(|leave| *leave).await;
            });
            Ok(())
        };
        let thread = thread::Builder::new().name("hostile".to_owned()).spawn(work).context("cannot start a thread")?;
        Ok(Self { came, leave, thread })
    }

    /// Waits until every bad client has come once. Those that did not are failures: beside too few there is nothing
    /// to show.
    fn wait_arrived(&self, each: usize, failures: &Failures) {
        let end = Instant::now() + ARRIVAL;
        let missing = || self.came.iter().map(|came| each.saturating_sub(came.load(Relaxed))).sum::<usize>();
        while missing() > 0 && Instant::now() < end {
            thread::sleep(LOOK);
        }
        let text = format!("of {each} bad clients of each kind came {:?}, in the order {VICES:?}", self.came);
        failures.add_many(missing(), Failure::new(Kind::Connect, text));
    }

    fn stop(self) -> Result<()> {
        self.leave.send_replace(true);
        self.thread.join().map_err(|_| anyhow!("the thread of bad clients broke"))?
    }
}

struct Client {
    addr: SocketAddr,
    tls: Arc<ClientConfig>,
    thing: String,
    index: usize,
    from: IpAddr,
}

/// The address of the bad client number `number`; all of 127.0.0.0/8 is this host. The first block is the devices'.
fn address(number: usize) -> IpAddr {
    let low = (number % 250 + 1) as u8;
    Ipv4Addr::new(127, 1, (number / 250) as u8, low).into()
}

impl Client {
    async fn misbehave(self, vice: Vice, came: &AtomicUsize) {
        let mut first = true;
        loop {
            // However a visit ends, the next one follows; being cut is what bad clients are there for.
            let _ = self
                .visit(vice, || {
                    if std::mem::take(&mut first) {
                        came.fetch_add(1, Relaxed);
                    }
                })
                .await;
            sleep(AWAY).await;
        }
    }

    /// A socket that will be seen to come from the client's own address.
    fn socket(&self) -> Result<TcpSocket, Failure> {
        let socket = TcpSocket::new_v4().map_err(|e| Failure::new(Kind::Client, e))?;
        socket.bind((self.from, 0).into()).map_err(|e| Failure::new(Kind::Client, e))?;
        Ok(socket)
    }

    async fn connect(&self, socket: TcpSocket) -> Result<TcpStream, Failure> {
        socket.connect(self.addr).await.map_err(|e| Failure::new(Kind::Connect, e))
    }

    async fn visit(&self, vice: Vice, mut arrived: impl FnMut()) -> Result<(), Failure> {
        let tcp = || async { self.connect(self.socket()?).await };
        let tls = || async { shake_hands(tcp().await?, Arc::clone(&self.tls)).await };
        let gone = |e| Failure::new(Kind::Disconnected, e);
        match vice {
            Vice::Silent => {
                let mut stream = tcp().await?;
                arrived();
                stream.read(&mut [0]).await.map_err(gone)?;
            }
            Vice::Dawdling => {
                let mut stream = tls().await?;
                arrived();
                let mut bytes = Vec::new();
                // Longer than anybody waits, at this pace.
                packet::connect(&mut bytes, Version::V311, &"slow".repeat(30), KEEP_ALIVE_S);
                let mut pace = interval(DAWDLE);
                for byte in bytes {
                    pace.tick().await;
                    stream.write_all(&[byte]).await.map_err(gone)?;
                    stream.flush().await.map_err(gone)?;
                }
            }
            Vice::Deaf => {
                let socket = self.socket()?;
                socket.set_recv_buffer_size(DEAF_BUFFER_BYTES).map_err(|e| Failure::new(Kind::Client, e))?;
                let tcp = self.connect(socket).await?;
                let mut connection = Connection::over(tcp, Arc::clone(&self.tls), Version::V311, &self.thing).await?;
                connection.subscribe(&traffic::filters(&self.thing)).await?;
                arrived();
                let topic = traffic::update_topic(&self.thing);
                let (mut out, mut payload, mut token) = (Vec::new(), Vec::new(), Vec::new());
                for sequence in 0.. {
                    traffic::quoted_token(&mut token, self.index, sequence);
                    traffic::update_payload(&mut payload, sequence, &token);
                    out.clear();
                    packet::publish(&mut out, &topic, Some((sequence % 60_000) as u16 + 1), &payload);
                    connection.send(&out).await?;
                    sleep(DEAF_PAUSE).await;
                }
            }
            Vice::Garbage => {
                let bytes: Vec<u8> = (0..512_usize).map(|at| ((self.index + at) * 167 + at * at) as u8).collect();
                if self.index.is_multiple_of(2) {
                    let mut stream = tcp().await?;
                    arrived();
                    stream.write_all(&bytes).await.map_err(gone)?;
                    stream.read_to_end(&mut Vec::new()).await.map_err(gone)?;
                } else {
                    let mut stream = tls().await?;
                    arrived();
                    stream.write_all(&bytes).await.map_err(gone)?;
                    stream.flush().await.map_err(gone)?;
                    stream.read_to_end(&mut Vec::new()).await.map_err(gone)?;
                }
            }
        }
        Ok(())
    }
}
