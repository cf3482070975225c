use crate::client::{Client, Client5, connect_packet, v5};
use crate::stage::{Stage, in_time};
use muster_broker_bridge::{BindError, Gate, Refusal};
use muster_bus::{Caller, Deliveries, Whose};
use muster_certs::identity::Role;
use muster_certs::throwaway::Throwaway;
use rumqttc::QoS;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Sends bytes and returns everything that comes back until the connection ends.
async fn talk(stage: &Stage, alpn: &[&[u8]], bytes: &[u8]) -> Vec<u8> {
    let mut tls = stage.tls(stage.config(Role::Connector, "t1", alpn)).await.unwrap();
    // The server may hang up before it has read everything.
    let _ = tls.write_all(bytes).await;
    let _ = tls.flush().await;
    let mut answer = Vec::new();
    let _ = in_time(tls.read_to_end(&mut answer)).await;
    answer
}

#[tokio::test]
async fn the_protocol_is_told_by_alpn_or_by_the_first_byte() {
    let stage = Stage::new().await;
    let disconnect = [0xe0, 0];
    let mqtt = [connect_packet(4, "c1"), disconnect.to_vec()].concat();
    for alpn in [&[b"mqtt" as &[u8]][..], &[b"x-amzn-mqtt-ca"], &[]] {
        assert_eq!(talk(&stage, alpn, &mqtt).await, [0x20, 2, 0, 0], "{alpn:?}");
    }
    let http = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    for alpn in [&[b"http/1.1" as &[u8]][..], &[b"x-amzn-http-ca"], &[]] {
        let answer = talk(&stage, alpn, http).await;
        assert!(answer.starts_with(b"HTTP/1.1 200") && answer.ends_with(b"ok\n"), "{alpn:?}");
    }
    let h2 = stage.tls(stage.config(Role::Connector, "t1", &[b"h2"])).await;
    assert!(h2.is_err(), "nothing is agreed on");
}

#[tokio::test]
async fn a_port_for_mqtt_alone_hangs_up_on_http() {
    let mut stage = Stage::new().await;
    let listener = stage.bridge.bind_mqtt("127.0.0.1:0".parse().unwrap()).await.unwrap();
    stage.address = listener.local_addr();
    stage.swarm.spawn(listener.run(stage.stop.clone()));
    let mqtt = [connect_packet(4, "c1"), vec![0xe0, 0]].concat();
    for alpn in [&[b"mqtt" as &[u8]][..], &[b"x-amzn-mqtt-ca"], &[]] {
        assert_eq!(talk(&stage, alpn, &mqtt).await, [0x20, 2, 0, 0], "{alpn:?}");
    }
    let http = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    for alpn in [&[b"http/1.1" as &[u8]][..], &[b"x-amzn-http-ca"], &[]] {
        assert_eq!(talk(&stage, alpn, http).await, b"", "{alpn:?}");
    }
}

#[tokio::test]
async fn a_connect_that_is_too_large_is_refused_where_mqtt_has_a_word_for_it() {
    let stage = Stage::new().await;
    let mqtt: &[&[u8]] = &[b"mqtt"];
    for (begin, answer) in [
        (&b"\x10\xfe\x7f\0\x04MQTT\x05"[..], &[0x20, 3, 0, 0x95, 0][..]), // 16 KiB and a byte
        (b"\x10\xff\xff\xff\x7f\0\x04MQTT\x05", &[0x20, 3, 0, 0x95, 0]),  // 256 MiB
        (b"\x10\xff\xff\x01\0\x04MQTT\x04", b""),
        (b"\x10\xff\xff\x01\0\x06MQIsdp", b""),
    ] {
        assert_eq!(talk(&stage, mqtt, begin).await, answer, "{begin:?}");
    }
    // All of it, by a client that reads only when everything is said; and byte by byte.
    let whole = [&b"\x10\x80\x80\x04\0\x04MQTT\x05\x02\0\x3c\0\0\x01c"[..], &[0; 65_523]].concat();
    assert_eq!(talk(&stage, mqtt, &whole).await, [0x20, 3, 0, 0x95, 0]);
    let mut tls = stage.tls(stage.config(Role::Connector, "t1", mqtt)).await.unwrap();
    for byte in &whole[..11] {
        tls.write_all(&[*byte]).await.unwrap();
        tls.flush().await.unwrap();
    }
    let mut answer = [0; 5];
    in_time(tls.read_exact(&mut answer)).await.unwrap();
    assert_eq!(answer, [0x20, 3, 0, 0x95, 0]);
    let counters = stage.bridge.counters();
    assert_eq!((counters.connects_refused, counters.sessions), (6, 0));
}

#[tokio::test]
async fn malformed_mqtt_closes_the_connection() {
    let stage = Stage::new().await;
    let mqtt: &[&[u8]] = &[b"mqtt"];
    assert_eq!(talk(&stage, mqtt, b"GET / HTTP/1.1\r\n\r\n").await, b"");
    assert_eq!(talk(&stage, mqtt, &[0x10, 0xff, 0xff, 0xff, 0xff]).await, b"");
    assert_eq!(talk(&stage, mqtt, b"\x10\x0f\0\x06MQIsdp\x03\x02\0\x3c\0\x01c").await, [0x20, 2, 0, 1]);
    assert_eq!(talk(&stage, mqtt, &connect_packet(6, "c")).await, [0x20, 3, 0, 0x84, 0]);
    assert_eq!(talk(&stage, mqtt, &connect_packet(4, "$c")).await, [0x20, 2, 0, 2]);
    assert_eq!(talk(&stage, mqtt, &connect_packet(5, "a/#")).await, [0x20, 3, 0, 0x85, 0]);
    // After CONNECT: again CONNECT, QoS 2, a packet that is too large.
    let connected = |packet: &[u8]| [connect_packet(4, "c1"), packet.to_vec()].concat();
    assert_eq!(talk(&stage, mqtt, &connected(&connect_packet(4, "c1"))).await, [0x20, 2, 0, 0]);
    let connected = |packet: &[u8]| [connect_packet(5, "c1"), packet.to_vec()].concat();
    for (packet, code) in [
        (&b"\x34\x06\0\x01t\0\x01\0"[..], 0x9b),
        (b"\x30\xff\xff\xff\x7f", 0x95),
        (b"\x30\xff\xff\xff\xff", 0x81),
        (b"\x82\x02\0\x01", 0x81),
        (b"\xf0\0", 0x82),
    ] {
        let answer = talk(&stage, mqtt, &connected(packet)).await;
        assert_eq!(answer[..1], [0x20], "{packet:?}");
        assert_eq!(answer[answer.len() - 4..], [0xe0, 2, code, 0], "{packet:?}");
    }
}

#[tokio::test]
async fn who_takes_no_packet_as_large_as_the_connack_is_refused_with_what_fits() {
    let stage = Stage::new().await;
    let talk_with = async |packet_max: u32| {
        let mut packet = b"\x10\x14\0\x04MQTT\x05\x02\0\x3c\x05\x27\0\0\0\0\0\x02c1".to_vec();
        packet[14..18].copy_from_slice(&packet_max.to_be_bytes());
        talk(&stage, &[b"mqtt"], &[&packet, &b"\xe0\0"[..]].concat()).await
    };
    let connack = talk_with(1024).await;
    assert_eq!(connack[..4], [0x20, connack.len() as u8 - 2, 0, 0], "{connack:?}");
    let needed = connack.len() as u32;
    assert_eq!(talk_with(needed).await, connack);
    for (packet_max, refusal) in [(needed - 1, &[0x20, 3, 0, 0x95, 0][..]), (5, &[0x20, 3, 0, 0x95, 0]), (4, b"")] {
        assert_eq!(talk_with(packet_max).await, refusal, "{packet_max}");
    }
}

#[tokio::test]
async fn without_a_certificate_connect_is_refused() {
    let stage = Stage::new().await;
    for (version, refusal) in [(4, &[0x20, 2, 0, 5][..]), (5, &[0x20, 3, 0, 0x87, 0])] {
        let mut tls = stage.tls(stage.anonymous(&[b"mqtt"])).await.unwrap();
        tls.write_all(&connect_packet(version, "c1")).await.unwrap();
        let mut answer = Vec::new();
        in_time(tls.read_to_end(&mut answer)).await.unwrap();
        assert_eq!(answer, refusal);
    }
    assert_eq!(stage.bridge.counters().connects_refused, 2);
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused() {
    let stage = Stage::new().await;
    let other = Throwaway::new("test", &["localhost"]).unwrap();
    let (chain, key) = other.issue(Role::Connector, "t1").unwrap();
    let config = muster_certs::client_config(stage.fleet.ca_pem(), Some((&chain, &key)), &[b"mqtt"]).unwrap();
    let mut client = Client::start(&stage, "c1", Arc::new(config));
    client.ended().await;
    crate::stage::eventually(|| stage.bridge.counters().handshakes_failed == 1).await;
}

struct NoT2;

impl Gate for NoT2 {
    fn admits(&self, caller: &Caller) -> Result<(), Refusal> {
        if caller.identity.name() == "t2" { Err(Refusal { reason: "revoked".into() }) } else { Ok(()) }
    }
}

#[tokio::test]
async fn the_gate_is_asked_on_every_connection_also_a_resumed_one() {
    let stage = Stage::with_gate(Arc::new(NoT2)).await;
    let _welcome = Client::connect(&stage, Role::Connector, "t1", "c1").await;
    let config = stage.config(Role::Connector, "t2", &[b"mqtt"]);
    for _ in 0..2 {
        let mut refused = Client::start(&stage, "c2", config.clone());
        assert!(refused.ended().await.contains("NotAuthorized"));
    }
}

/// Lets in who is not on the list.
#[derive(Default)]
struct List(Mutex<Vec<String>>);

impl Gate for List {
    fn admits(&self, caller: &Caller) -> Result<(), Refusal> {
        let listed = self.0.lock().unwrap().iter().any(|name| name == caller.identity.name());
        if listed { Err(Refusal { reason: "revoked".into() }) } else { Ok(()) }
    }
}

#[tokio::test]
async fn who_loses_their_standing_loses_their_connections_and_nobody_else_does() {
    let list = Arc::new(List::default());
    let stage = Stage::with_gate(list.clone()).await;
    let mut one = Client::connect(&stage, Role::Connector, "t1", "c1").await;
    let mut person = Client::connect(&stage, Role::Operator, "t1", "p1").await;
    let mut two = Client::connect(&stage, Role::Connector, "t2", "c1").await;
    let https = stage.config(Role::Connector, "t2", &[b"http/1.1"]);
    let path = muster_wire::enrol::artifact_path(&muster_wire::id::Sha256Hex::from_bytes(&[1; 32]));
    // On one HTTP connection that stands: the gate is asked for every request.
    let mut kept = crate::http::Kept::open(&stage, &https).await;
    assert_eq!(kept.get(&path).await, 404);

    list.0.lock().unwrap().extend(["t1".to_owned(), "t2".to_owned()]);
    stage.bus.recheck(&Whose::Identity(stage.fleet.identity(Role::Connector, "t1").unwrap()));
    one.ended().await;
    two.subscribe("$aws/things/t2/shadow/#", QoS::AtLeastOnce).await;
    person.subscribe("muster/view/#", QoS::AtLeastOnce).await;
    stage.bus.recheck(&Whose::Everyone);
    two.ended().await;
    person.ended().await;
    assert_eq!(kept.get(&path).await, 403);
    let mut again = Client::start(&stage, "c1", stage.config(Role::Connector, "t1", &[b"mqtt"]));
    assert!(again.ended().await.contains("NotAuthorized"));
}

#[tokio::test]
async fn a_fifth_connection_of_one_thing_is_refused() {
    let stage = Stage::new().await;
    let mut kept = Vec::new();
    for at in 0..4 {
        kept.push(Client::connect(&stage, Role::Connector, "t1", &format!("c{at}")).await);
    }
    let mut fifth = Client5::start(&stage, "c4", stage.config(Role::Connector, "t1", &[b"mqtt"]));
    assert!(fifth.next().await.unwrap_err().contains("QuotaExceeded"));
    let _another = Client::connect(&stage, Role::Connector, "t2", "c4").await;
    let _takes_over = Client::connect(&stage, Role::Connector, "t1", "c0").await;
}

#[tokio::test]
async fn silent_and_slow_clients_are_cut_while_others_proceed() {
    let stage = Stage::new().await;
    let mut silent = TcpStream::connect(stage.address).await.unwrap();
    let mut mute = stage.tls(stage.config(Role::Connector, "t1", &[b"mqtt"])).await.unwrap();
    let drip = stage.tls(stage.config(Role::Connector, "t1", &[b"mqtt"])).await.unwrap();
    let (mut drip_reader, mut drip_writer) = tokio::io::split(drip);
    stage.swarm.spawn(async move {
        for byte in connect_packet(4, &"x".repeat(100)) {
            if drip_writer.write_all(&[byte]).await.is_err() || drip_writer.flush().await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    let _other = Client::connect(&stage, Role::Connector, "t2", "c1").await;
    let cut = async {
        let mut sink = Vec::new();
        // An abrupt end is an error of TLS; what matters is the end.
        let _ = silent.read_to_end(&mut sink).await;
        let _ = mute.read_to_end(&mut sink).await;
        let _ = drip_reader.read_to_end(&mut sink).await;
        assert!(sink.is_empty());
    };
    // Ten seconds for a handshake, up to fifteen for a CONNECT; the one that drips would need a hundred.
    tokio::time::timeout(Duration::from_secs(60), cut).await.unwrap();
}

#[tokio::test]
async fn a_stopping_server_says_goodbye_and_lets_nobody_in() {
    let stage = Stage::new().await;
    let mut client = Client5::connect(&stage, Role::Connector, "t1", "c1").await;
    stage.stop.cancel();
    match client.next().await {
        Ok(v5::Packet::Disconnect(goodbye)) => {
            assert_eq!(goodbye.reason_code, v5::DisconnectReasonCode::ServerShuttingDown);
        }
        other => {
            let error = other.unwrap_err();
            assert!(error.contains("ServerShuttingDown"), "{error}");
        }
    }
    crate::stage::eventually(|| stage.bridge.counters().sessions == 0).await;
    assert!(stage.tls(stage.anonymous(&[])).await.is_err());
}

#[tokio::test]
async fn a_port_in_use_is_said_to_be() {
    let stage = Stage::new().await;
    let error = stage.bridge.bind(stage.address).await.map(|_| ()).unwrap_err();
    assert!(matches!(error, BindError::InUse { address } if address == stage.address));
    assert!(error.to_string().contains("choose another port"));
}
