#![allow(clippy::unwrap_used)]
use super::*;
use crate::bridge::{AdmitAll, Bridge, BridgeConfig, Caps};
use crate::door::protocol::ALPN;
use muster_bus::EmbeddedBus;
use muster_certs::identity::{Fleet, Role};
use muster_certs::throwaway::Throwaway;
use muster_runtime::clock::Clock;
use muster_runtime::tasks::Swarm;
use rustls::ClientConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// For whatever must happen. None of it takes a second; a busy machine may need many.
const DEADLINE: Duration = Duration::from_secs(60);

struct Door {
    bridge: Bridge,
    fleet: Throwaway,
    address: SocketAddr,
    swarm: Swarm,
    _folder: tempfile::TempDir,
    _inboxes: muster_bus::Inboxes,
}

impl Door {
    async fn open(caps: Caps) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let fleet = Throwaway::new("test", &["localhost"]).unwrap();
        let (bus, inboxes) = EmbeddedBus::new(1);
        let config = BridgeConfig {
            fleet: Fleet::new("test").unwrap(),
            tls: Arc::new(fleet.server_config(&ALPN).unwrap()),
            artifacts_dir: folder.path().to_owned(),
            agent_binary: None,
            clock: Clock::system(),
            gate: Arc::new(AdmitAll),
            mqtt: crate::settings::MqttSettings::default(),
        };
        let bridge = Bridge::with_caps(config, bus, caps).unwrap();
        let listener = bridge.bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let (address, swarm) = (listener.local_addr(), Swarm::new());
        swarm.spawn(listener.run(CancellationToken::new()));
        Self { bridge, fleet, address, swarm, _folder: folder, _inboxes: inboxes }
    }

    /// A TCP connection from this address of the loopback network.
    async fn tcp(&self, from: [u8; 4]) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        socket.connect(self.address).await.unwrap()
    }

    async fn tls(&self, from: [u8; 4], config: ClientConfig) -> TlsStream<TcpStream> {
        let tcp = self.tcp(from).await;
        TlsConnector::from(Arc::new(config)).connect("localhost".try_into().unwrap(), tcp).await.unwrap()
    }

    async fn anonymous(&self, from: [u8; 4]) -> TlsStream<TcpStream> {
        self.tls(from, self.fleet.anonymous_config(&[b"http/1.1"]).unwrap()).await
    }
}

/// Asks for the health; the status, with the connection still open.
async fn health(tls: &mut TlsStream<TcpStream>) -> String {
    tls.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut status = [0; 12];
    timeout(DEADLINE, tls.read_exact(&mut status)).await.expect("an answer in time").unwrap();
    String::from_utf8(status.to_vec()).unwrap()
}

#[tokio::test]
async fn one_silent_address_does_not_hold_the_door_shut() {
    let door = Door::open(Caps { newcomers_per_address: 2, ..Caps::default() }).await;
    let first = door.tcp([127, 0, 0, 2]).await;
    let _second = door.tcp([127, 0, 0, 2]).await;
    let mut third = door.tcp([127, 0, 0, 2]).await;
    let ended = timeout(DEADLINE, third.read(&mut [0])).await.expect("the third is closed at once");
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    assert_eq!(door.bridge.counters().turned_away, 1);
    let mut other = door.anonymous([127, 0, 0, 3]).await;
    assert_eq!(health(&mut other).await, "HTTP/1.1 200");
    // Who leaves makes room.
    drop(first);
    let next = async {
        loop {
            let tcp = door.tcp([127, 0, 0, 2]).await;
            let config = Arc::new(door.fleet.anonymous_config(&[b"http/1.1"]).unwrap());
            if let Ok(tls) = TlsConnector::from(config).connect("localhost".try_into().unwrap(), tcp).await {
                return tls;
            }
        }
    };
    let mut next = timeout(DEADLINE, next).await.expect("room again");
    assert_eq!(health(&mut next).await, "HTTP/1.1 200");
    door.swarm.drain(Duration::ZERO).await;
}

#[tokio::test]
async fn http_without_a_certificate_has_bounded_places_and_those_with_one_do_not_need_them() {
    let door = Door::open(Caps { anonymous: 2, anonymous_per_address: 1, ..Caps::default() }).await;
    let mut first = door.anonymous([127, 0, 0, 2]).await;
    assert_eq!(health(&mut first).await, "HTTP/1.1 200");
    assert_eq!(health(&mut door.anonymous([127, 0, 0, 2]).await).await, "HTTP/1.1 503", "its share is used up");
    let mut second = door.anonymous([127, 0, 0, 3]).await;
    assert_eq!(health(&mut second).await, "HTTP/1.1 200");
    let mut third = door.anonymous([127, 0, 0, 4]).await;
    assert_eq!(health(&mut third).await, "HTTP/1.1 503", "all places are taken");
    let mut rest = String::new();
    timeout(DEADLINE, third.read_to_string(&mut rest)).await.expect("closed").unwrap();
    assert!(rest.contains("Retry-After: 10\r\n") && rest.contains("try again"), "{rest}");
    assert_eq!(door.bridge.counters().turned_away, 2);
    let config = door.fleet.client_config(Role::Connector, "t1", &[b"http/1.1"]).unwrap();
    assert_eq!(health(&mut door.tls([127, 0, 0, 2], config).await).await, "HTTP/1.1 200");
    door.swarm.drain(Duration::ZERO).await;
}

#[tokio::test]
async fn http_without_a_certificate_ends_at_its_deadline_and_with_one_it_stays() {
    let door = Door::open(Caps { anonymous_deadline: Duration::from_millis(300), ..Caps::default() }).await;
    let config = door.fleet.client_config(Role::Connector, "t1", &[b"http/1.1"]).unwrap();
    let mut known = door.tls([127, 0, 0, 2], config).await;
    let mut unknown = door.anonymous([127, 0, 0, 2]).await;
    // Busy all the time, so that no other deadline ends it.
    let served = async {
        let mut answer = [0; 1024];
        loop {
            if unknown.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.is_err()
                || !matches!(unknown.read(&mut answer).await, Ok(1..))
            {
                break;
            }
        }
    };
    timeout(DEADLINE, served).await.expect("ended although it was never idle");
    assert_eq!(health(&mut known).await, "HTTP/1.1 200");
    door.swarm.drain(Duration::ZERO).await;
}

#[tokio::test]
async fn an_address_that_goes_on_sending_garbage_waits_until_a_client_of_it_does_right() {
    let door = Door::open(Caps::default()).await;
    let (bad, other) = ([127, 0, 0, 2], [127, 0, 0, 3]);
    // How long a handshake itself takes is the machine's affair; what the door adds is looked up.
    let waits = |from: [u8; 4]| door.bridge.shared().offenders.wait(from.into(), Instant::now());
    let second = Duration::from_secs(1);
    let offends = async {
        while waits(bad) < second {
            let mut tcp = door.tcp(bad).await;
            tcp.write_all(b"neither TLS nor anything else").await.unwrap();
            // Closed, in whatever way.
            let _ = tcp.read_to_end(&mut Vec::new()).await;
        }
    };
    timeout(DEADLINE, offends).await.expect("who goes on offending waits longer");
    let begun = Instant::now();
    assert_eq!(health(&mut door.anonymous(bad).await).await, "HTTP/1.1 200");
    assert!(begun.elapsed() >= second / 2, "the door holds it, though some of the wait may be over by now");
    assert_eq!(waits(other), Duration::ZERO);
    assert_eq!(health(&mut door.anonymous(other).await).await, "HTTP/1.1 200");
    let config = door.fleet.client_config(Role::Connector, "t1", &[b"mqtt"]).unwrap();
    let mut mqtt = door.tls(bad, config).await;
    mqtt.write_all(b"\x10\x0e\0\x04MQTT\x04\x02\0\x1e\0\x02t1").await.unwrap();
    let mut connack = [0; 4];
    timeout(DEADLINE, mqtt.read_exact(&mut connack)).await.expect("an answer in time").unwrap();
    assert_eq!(connack, [0x20, 2, 0, 0]);
    assert_eq!(waits(bad), Duration::ZERO, "one that does everything right makes up for it");
    assert_eq!(health(&mut door.anonymous(bad).await).await, "HTTP/1.1 200");
    door.swarm.drain(Duration::ZERO).await;
}
