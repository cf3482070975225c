//! A running bridge, and the service side of its bus in the hands of the test.

use muster_broker_bridge::{ALPN, Bridge, BridgeConfig, Gate, MqttSettings, Refusal};
use muster_bus::{Answer, Caller, Deliveries, EmbeddedBus, Inbound, LinkChange, Message, NotRetained, Request};
use muster_certs::identity::{Fleet, Role};
use muster_certs::throwaway::Throwaway;
use muster_runtime::clock::Clock;
use muster_runtime::tasks::Swarm;
use muster_wire::time::Timestamp;
use rustls::ClientConfig;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{Mutex, mpsc};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

/// For whatever must happen. None of it takes a second; a busy machine may need many.
pub const DEADLINE: Duration = Duration::from_secs(60);

pub struct Stage {
    pub fleet: Throwaway,
    pub bridge: Bridge,
    pub bus: Arc<EmbeddedBus>,
    pub address: SocketAddr,
    pub folder: tempfile::TempDir,
    pub swarm: Swarm,
    pub stop: CancellationToken,
    pub service: Service,
    pub retaining: Arc<Retaining>,
}

/// Lets in every client with a valid certificate of the fleet.
struct AdmitAll;

impl Gate for AdmitAll {
    fn admits(&self, _caller: &Caller) -> Result<(), Refusal> {
        Ok(())
    }
}

/// The service's side of the bus.
pub struct Service {
    pub things: mpsc::Receiver<Inbound>,
    pub fleet: mpsc::Receiver<Inbound>,
}

impl Stage {
    pub async fn new() -> Self {
        Self::with_gate(Arc::new(AdmitAll)).await
    }

    pub async fn with_gate(gate: Arc<dyn Gate>) -> Self {
        Self::with(gate, MqttSettings::default(), Clock::system()).await
    }

    pub async fn with_settings(mqtt: MqttSettings) -> Self {
        Self::with(Arc::new(AdmitAll), mqtt, Clock::system()).await
    }

    /// A bridge for which time stands still.
    pub async fn at_one_moment() -> Self {
        Self::with(Arc::new(AdmitAll), MqttSettings::default(), Clock::fixed(Clock::system().now())).await
    }

    async fn with(gate: Arc<dyn Gate>, mqtt: MqttSettings, clock: Clock) -> Self {
        let fleet = Throwaway::new("test", &["localhost"]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (bus, mut inboxes) = EmbeddedBus::new(1);
        std::fs::write(folder.path().join("muster-agent"), b"the agent").unwrap();
        let config = BridgeConfig {
            fleet: Fleet::new("test").unwrap(),
            tls: Arc::new(fleet.server_config(&ALPN).unwrap()),
            artifacts_dir: folder.path().join("artifacts"),
            agent_binary: Some(folder.path().join("muster-agent")),
            clock,
            gate,
            mqtt,
        };
        let bridge = Bridge::new(config, bus.clone()).unwrap();
        let listener = bridge.bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let (address, stop, swarm) = (listener.local_addr(), CancellationToken::new(), Swarm::new());
        swarm.spawn(listener.run(stop.clone()));
        let service = Service { things: inboxes.partitions.remove(0), fleet: inboxes.fleet };
        let retaining = Arc::new(Retaining::default());
        swarm.spawn(retain(bus.clone(), inboxes.retained, retaining.clone()));
        Self { fleet, bridge, bus, address, folder, swarm, stop, service, retaining }
    }

    pub fn config(&self, role: Role, name: &str, alpn: &[&[u8]]) -> Arc<ClientConfig> {
        Arc::new(self.fleet.client_config(role, name, alpn).unwrap())
    }

    pub fn anonymous(&self, alpn: &[&[u8]]) -> Arc<ClientConfig> {
        Arc::new(self.fleet.anonymous_config(alpn).unwrap())
    }

    pub async fn tls(&self, config: Arc<ClientConfig>) -> std::io::Result<TlsStream<TcpStream>> {
        let tcp = TcpStream::connect(self.address).await?;
        TlsConnector::from(config).connect("localhost".try_into().unwrap(), tcp).await
    }
}

/// How the service deals with retained messages.
pub struct Retaining {
    /// How many more it takes.
    pub room: AtomicUsize,
    /// It fails.
    pub fails: AtomicBool,
    /// Whoever has this stops it.
    pub turn: Mutex<()>,
}

impl Default for Retaining {
    fn default() -> Self {
        Self { room: AtomicUsize::new(usize::MAX), fails: AtomicBool::new(false), turn: Mutex::default() }
    }
}

/// Does with retained messages what the service does, but for the store.
async fn retain(bus: Arc<EmbeddedBus>, mut inbox: mpsc::Receiver<Inbound>, how: Arc<Retaining>) {
    while let Some(Inbound::Retain(wish)) = inbox.recv().await {
        let _turn = how.turn.lock().await;
        if how.fails.load(SeqCst) {
            let _ = wish.reply.send(Err(NotRetained::Failed));
            continue;
        }
        let full = how.room.fetch_update(SeqCst, SeqCst, |room| room.checked_sub(1)).is_err();
        if !full {
            bus.keep(&Arc::new(Message { retained: true, ..wish.message.as_ref().clone() }), Timestamp::default());
            bus.spread(&wish.message);
        }
        let _ = wish.reply.send(if full { Err(NotRetained::Full) } else { Ok(()) });
    }
}

impl Service {
    /// The next request of a client about a thing.
    pub async fn request(&mut self) -> Request {
        loop {
            if let Inbound::Request(request) = in_time(self.things.recv()).await.unwrap() {
                return request;
            }
        }
    }

    /// The next coming or going.
    pub async fn link(&mut self) -> LinkChange {
        loop {
            if let Inbound::Link(change) = in_time(self.things.recv()).await.unwrap() {
                return change;
            }
        }
    }

    /// The next request of an operator.
    pub async fn operator(&mut self) -> Request {
        match in_time(self.fleet.recv()).await {
            Some(Inbound::Request(request)) => request,
            other => panic!("not an operator's request: {other:?}"),
        }
    }
}

pub fn settle(request: &Request, answer: Answer) {
    request.connection.answer(request.tag, answer);
}

#[track_caller]
pub fn in_time<T>(future: impl Future<Output = T>) -> impl Future<Output = T> {
    let caller = std::panic::Location::caller();
    async move {
        tokio::time::timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("nothing happened in time at {caller}"))
    }
}

/// Waits for a condition that nothing announces.
#[track_caller]
pub fn eventually(condition: impl Fn() -> bool) -> impl Future<Output = ()> {
    in_time(async move {
        while !condition() {
            tokio::task::yield_now().await;
        }
    })
}
