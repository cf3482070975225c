#![allow(clippy::unwrap_used)]
use super::*;
use crate::bridge::{AdmitAll, Bridge, BridgeConfig};
use crate::door::protocol::ALPN;
use crate::session::link::Granted;
use crate::settings::MqttSettings;
use muster_bus::{Caller, Deliveries, EmbeddedBus, Message};
use muster_certs::identity::{Fleet, Role};
use muster_certs::throwaway::Throwaway;
use muster_runtime::clock::Clock;
use muster_wire::filter::TopicFilter;
use muster_wire::id::ThingName;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

struct Stage {
    session: Connection<DuplexStream>,
    bus: Arc<EmbeddedBus>,
    _folder: tempfile::TempDir,
    _inboxes: muster_bus::Inboxes,
}

/// A session of thing `t1` with a keep-alive of a minute, and its client's end with room for so many bytes.
async fn stage(room: usize) -> (Stage, DuplexStream) {
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
        mqtt: MqttSettings::default(),
    };
    let bridge = Bridge::new(config, bus.clone()).unwrap();
    let shared = bridge.shared();
    let caller = Caller {
        identity: fleet.identity(Role::Connector, "t1").unwrap(),
        certificate_id: "id".into(),
        client_id: "c1".into(),
        peer: [127, 0, 0, 1].into(),
        certificate: None,
    };
    let mut connect = Connect {
        send_max: 100,
        version: Version::V5,
        client_id: Some("c1".into()),
        keep_alive: Duration::from_secs(60),
        receive_max: 100,
        packet_max: usize::MAX,
        clean: true,
        life: Duration::ZERO,
        life_reduced: false,
        aliases_max: 0,
        will: None,
    };
    let link = Link::new(Arc::new(caller), 1, shared.counters.clone());
    let member = Membership::begin(shared, &link, &mut connect).await.unwrap();
    let filter = TopicFilter::new("$aws/things/t1/shadow/#").unwrap();
    let granted = Granted { qos: Qos::AtMostOnce, no_local: false, retain_as_published: false, with_parent: false };
    link.subscribe(filter.clone(), granted);
    shared.sessions.listen(&filter, &link);
    let (ours, theirs) = duplex(room);
    let session = Connection::new(ours, member, &connect, Vec::new());
    (Stage { session, bus, _folder: folder, _inboxes: inboxes }, theirs)
}

#[tokio::test(start_paused = true)]
async fn silence_of_one_and_a_half_keep_alives_ends_the_session() {
    let (stage, mut client) = stage(1024).await;
    let begun = Instant::now();
    assert_eq!(stage.session.await, End::KeepAlive);
    assert_eq!(begun.elapsed().as_secs(), 90);
    let mut said = Vec::new();
    client.read_to_end(&mut said).await.unwrap();
    assert_eq!(said, [0xe0, 2, 0x8d, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_pings_stays_and_then_leaves() {
    let (stage, mut client) = stage(1024).await;
    let begun = Instant::now();
    let pings = async {
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_secs(80)).await;
            client.write_all(&[0xc0, 0]).await.unwrap();
            let mut pong = [0; 2];
            client.read_exact(&mut pong).await.unwrap();
            assert_eq!(pong, [0xd0, 0]);
        }
        client.write_all(&[0xe0, 0]).await.unwrap();
    };
    let (end, ()) = tokio::join!(stage.session, pings);
    assert_eq!((end, begun.elapsed().as_secs()), (End::Goodbye, 800));
}

#[tokio::test(start_paused = true)]
async fn a_packet_that_trickles_in_is_silence_until_it_is_whole() {
    let (stage, mut client) = stage(1024).await;
    let begun = Instant::now();
    let trickle = async {
        // PINGREQ, and the begin of a PUBLISH.
        for byte in [0xc0, 0, 0x30, 100, 0, 1] {
            tokio::time::sleep(Duration::from_secs(20)).await;
            client.write_all(&[byte]).await.unwrap();
        }
    };
    let (end, ()) = tokio::join!(stage.session, trickle);
    assert_eq!((end, begun.elapsed().as_secs()), (End::KeepAlive, 40 + 90));
}

#[tokio::test(start_paused = true)]
async fn packets_that_wait_for_a_pause_to_end_are_no_silence() {
    let (mut stage, mut client) = stage(1024).await;
    stage.session.input = vec![0xc0, 0, 0xc0, 0, 0xc0];
    stage.session.wait_for(async {
        sleep_until(Instant::now() + Duration::from_secs(300)).await;
        Ok(Vec::new())
    });
    let begun = Instant::now();
    assert_eq!((stage.session.await, begun.elapsed().as_secs()), (End::KeepAlive, 300 + 90));
    let mut said = Vec::new();
    client.read_to_end(&mut said).await.unwrap();
    assert_eq!(said, [0xd0, 0, 0xd0, 0, 0xe0, 2, 0x8d, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_reads_is_given_up() {
    let (stage, client) = stage(64).await;
    let message = Arc::new(Message::new("$aws/things/t1/shadow/update/delta", vec![0; 1000]));
    for _ in 0..3 {
        stage.bus.deliver(&ThingName::new("t1").unwrap(), &message);
    }
    let begun = Instant::now();
    assert_eq!(stage.session.await, End::Throttled);
    assert_eq!(begun.elapsed(), WRITE_STALL_DEADLINE + CLOSE_DEADLINE);
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn a_message_larger_than_the_client_takes_is_dropped_and_counted() {
    let (mut stage, mut client) = stage(1024).await;
    stage.session.packet_max = 60;
    let shared = stage.session.member.shared.clone();
    for size in [100, 1, 100] {
        let message = Arc::new(Message::new("$aws/things/t1/shadow/update/delta", vec![b'x'; size]));
        stage.bus.deliver(&ThingName::new("t1").unwrap(), &message);
    }
    client.write_all(&[0xe0, 0]).await.unwrap();
    assert_eq!(stage.session.await, End::Goodbye);
    let mut said = Vec::new();
    client.read_to_end(&mut said).await.unwrap();
    assert_eq!((said.len(), said.last()), (40, Some(&b'x')), "only the one that fits");
    let counters = shared.counters.snapshot();
    assert_eq!((counters.oversized, counters.delivered, counters.dropped), (2, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn packets_in_any_pieces_are_the_same_packets() {
    let (stage, mut client) = stage(1024).await;
    let talk = async {
        // PINGREQ, SUBSCRIBE, PINGREQ, DISCONNECT, one byte at a time.
        let mut bytes = vec![0xc0, 0, 0x82, 29, 0, 9, 0, 0, 23];
        bytes.extend_from_slice(b"$aws/things/t1/jobs/+/x\x01\xc0\0\xe0\0");
        for byte in bytes {
            client.write_all(&[byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        let mut said = Vec::new();
        client.read_to_end(&mut said).await.unwrap();
        assert_eq!(said, [0xd0, 0, 0x90, 4, 0, 9, 0, 1, 0xd0, 0]);
    };
    assert_eq!(tokio::join!(stage.session, talk).0, End::Goodbye);
}

/// Thousands of these wait at the same time; what rustls needs is not in here.
#[test]
fn a_waiting_session_is_small() {
    assert!(size_of::<Connection<()>>() <= 512, "{}", size_of::<Connection<()>>());
    assert!(size_of::<Link>() <= 320, "{}", size_of::<Link>());
}
