use crate::client::connect_packet;
use crate::stage::{Stage, eventually, in_time};
use muster_bus::{Deliveries, Inbound};
use muster_certs::identity::Role;
use muster_wire::enrol::{EnrolRequest, EnrolResponse, HostFacts};
use muster_wire::id::{Sha256Hex, ThingName};
use muster_wire::limits::HTTP_BODY_BYTES_MAX;
use muster_wire::rejection::{Rejection, RejectionCode};
use rustls::ClientConfig;
use std::fmt::Write;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

struct Got {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Got {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    #[track_caller]
    fn rejected(&self, status: u16, code: RejectionCode) {
        let rejection: Rejection = serde_json::from_slice(&self.body).unwrap();
        assert_eq!((self.status, rejection.code), (status, code), "{rejection}");
    }
}

async fn ask(
    stage: &Stage,
    config: &Arc<ClientConfig>,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Got {
    let mut tls = stage.tls(config.clone()).await.unwrap();
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    for (name, value) in headers {
        write!(head, "{name}: {value}\r\n").unwrap();
    }
    write!(head, "Content-Length: {}\r\n\r\n", body.len()).unwrap();
    tls.write_all(head.as_bytes()).await.unwrap();
    // A refusal may come before the body is through.
    let _ = tls.write_all(body).await;
    let _ = tls.flush().await;
    let mut answer = Vec::new();
    let _ = in_time(tls.read_to_end(&mut answer)).await;
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    Got { status: head[9..12].parse().unwrap(), head, body: answer[end + 4..].to_vec() }
}

/// A connection that is used more than once.
pub struct Kept(TlsStream<TcpStream>);

impl Kept {
    pub async fn open(stage: &Stage, config: &Arc<ClientConfig>) -> Self {
        Self(stage.tls(config.clone()).await.unwrap())
    }

    /// The status of a GET.
    pub async fn get(&mut self, path: &str) -> u16 {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        self.0.write_all(request.as_bytes()).await.unwrap();
        self.0.flush().await.unwrap();
        let mut answer = Vec::new();
        loop {
            assert!(in_time(self.0.read_buf(&mut answer)).await.unwrap() > 0, "the server hung up");
            let text = String::from_utf8_lossy(&answer);
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
            if body.len() == length.parse::<usize>().unwrap() {
                return head[9..12].parse().unwrap();
            }
        }
    }
}

fn sha256(bytes: &[u8]) -> Sha256Hex {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    Sha256Hex::from_bytes(digest.as_ref().try_into().unwrap())
}

fn enrolment() -> Vec<u8> {
    let request = EnrolRequest {
        token: "secret".into(),
        name: ThingName::new("t1").unwrap(),
        pool: None,
        prefix: None,
        csr: "csr".into(),
        host: HostFacts::default(),
    };
    serde_json::to_vec(&request).unwrap()
}

#[tokio::test]
async fn a_host_enrols_without_a_certificate() {
    let mut stage = Stage::new().await;
    let mut inbox = std::mem::replace(&mut stage.service.fleet, tokio::sync::mpsc::channel(1).1);
    stage.swarm.spawn(async move {
        let Some(Inbound::Enrol { request, reply, .. }) = inbox.recv().await else { panic!("no enrolment") };
        assert_eq!((request.name.as_str(), request.token.as_str()), ("t1", "secret"));
        let response = EnrolResponse {
            name: request.name,
            fleet: "test".into(),
            certificate: "pem".into(),
            ca: "ca".into(),
            publisher_key: "key".into(),
        };
        reply.send(Ok(response)).unwrap();
        let Some(Inbound::Enrol { reply, .. }) = inbox.recv().await else { panic!("no enrolment") };
        reply.send(Err(Rejection::new(RejectionCode::Unauthenticated, "the token was used"))).unwrap();
    });
    let config = stage.anonymous(&[b"http/1.1"]);
    let got = ask(&stage, &config, "POST", "/v1/enrol", &[], &enrolment()).await;
    let response: EnrolResponse = serde_json::from_slice(&got.body).unwrap();
    assert_eq!((got.status, response.certificate.as_str()), (200, "pem"));
    let got = ask(&stage, &config, "POST", "/v1/enrol", &[], &enrolment()).await;
    got.rejected(401, RejectionCode::Unauthenticated);
}

#[tokio::test]
async fn bad_enrolments_are_refused_and_then_throttled() {
    // One more attempt a second: however long these take, none is given back.
    let stage = Stage::at_one_moment().await;
    let config = stage.anonymous(&[b"http/1.1"]);
    ask(&stage, &config, "GET", "/v1/enrol", &[], b"").await.rejected(405, RejectionCode::Invalid);
    let large = vec![b' '; HTTP_BODY_BYTES_MAX + 1];
    ask(&stage, &config, "POST", "/v1/enrol", &[], &large).await.rejected(413, RejectionCode::TooLarge);
    let mut answers = Vec::new();
    for _ in 0..14 {
        answers.push(ask(&stage, &config, "POST", "/v1/enrol", &[], b"{}").await);
    }
    answers[0].rejected(400, RejectionCode::Invalid);
    let busy = answers.iter().find(|got| got.status == 429).expect("throttled");
    busy.rejected(429, RejectionCode::Busy);
    assert!(busy.header("retry-after").is_some());
}

#[tokio::test]
async fn an_artifact_is_put_once_and_read_in_ranges() {
    let stage = Stage::new().await;
    let operator = stage.config(Role::Operator, "ann", &[b"http/1.1"]);
    let connector = stage.config(Role::Connector, "t1", &[b"x-amzn-http-ca"]);
    let content: Vec<u8> = (0..300_000_u32).map(|at| (at % 251) as u8).collect();
    let digest = sha256(&content);
    let path = muster_wire::enrol::artifact_path(&digest);
    ask(&stage, &connector, "GET", &path, &[], b"").await.rejected(404, RejectionCode::NotFound);
    assert_eq!(ask(&stage, &operator, "PUT", &path, &[], &content).await.status, 201);
    assert_eq!(ask(&stage, &operator, "PUT", &path, &[], &content).await.status, 200, "again changes nothing");
    let text = digest.to_string();
    let file = stage.folder.path().join("artifacts").join(&text[..2]).join(&text);
    assert_eq!(std::fs::read(file).unwrap(), content);

    let whole = ask(&stage, &connector, "GET", &path, &[], b"").await;
    assert_eq!((whole.status, whole.header("accept-ranges")), (200, Some("bytes")));
    assert!(whole.body == content);
    let etag = whole.header("etag").unwrap().to_owned();
    assert_eq!(etag, format!("\"{digest}\""));
    let part = ask(&stage, &connector, "GET", &path, &[("Range", "bytes=1000-200999")], b"").await;
    assert_eq!((part.status, part.header("content-range")), (206, Some("bytes 1000-200999/300000")));
    assert!(part.body == content[1000..201_000]);
    let rest = ask(&stage, &connector, "GET", &path, &[("Range", "bytes=299990-"), ("If-Range", &etag)], b"").await;
    assert_eq!((rest.status, &rest.body[..]), (206, &content[299_990..]));
    let changed = ask(&stage, &connector, "GET", &path, &[("Range", "bytes=5-"), ("If-Range", "\"x\"")], b"").await;
    assert_eq!((changed.status, changed.body.len()), (200, content.len()));
    let beyond = ask(&stage, &connector, "GET", &path, &[("Range", "bytes=300000-")], b"").await;
    beyond.rejected(416, RejectionCode::Invalid);
    assert_eq!(beyond.header("content-range"), Some("bytes */300000"));
    let head = ask(&stage, &connector, "HEAD", &path, &[], b"").await;
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, Some("300000"), 0));
}

#[tokio::test]
async fn a_wrong_digest_is_refused_and_leaves_nothing() {
    let stage = Stage::new().await;
    let operator = stage.config(Role::Operator, "ann", &[b"http/1.1"]);
    let path = muster_wire::enrol::artifact_path(&sha256(b"something else"));
    let got = ask(&stage, &operator, "PUT", &path, &[], &vec![7; 200_000]).await;
    got.rejected(400, RejectionCode::Invalid);
    assert_eq!(std::fs::read_dir(stage.folder.path().join("artifacts")).unwrap().count(), 0);
}

#[tokio::test]
async fn artifacts_need_the_right_role() {
    let stage = Stage::new().await;
    let path = muster_wire::enrol::artifact_path(&sha256(b"x"));
    let connector = stage.config(Role::Connector, "t1", &[b"http/1.1"]);
    let observer = stage.config(Role::Observer, "o1", &[b"http/1.1"]);
    let nobody = stage.anonymous(&[b"http/1.1"]);
    ask(&stage, &connector, "PUT", &path, &[], b"x").await.rejected(403, RejectionCode::Forbidden);
    ask(&stage, &observer, "GET", &path, &[], b"").await.rejected(403, RejectionCode::Forbidden);
    ask(&stage, &nobody, "GET", &path, &[], b"").await.rejected(401, RejectionCode::Unauthenticated);
    ask(&stage, &nobody, "PUT", &path, &[], b"x").await.rejected(401, RejectionCode::Unauthenticated);
    ask(&stage, &connector, "DELETE", &path, &[], b"").await.rejected(405, RejectionCode::Invalid);
    ask(&stage, &connector, "GET", "/artifacts/sha256/..%2f", &[], b"").await.rejected(404, RejectionCode::NotFound);
}

#[tokio::test]
async fn the_agent_is_there_for_everybody() {
    let stage = Stage::new().await;
    let config = stage.anonymous(&[]);
    let path = format!("/agent/linux-{}/muster-agent", std::env::consts::ARCH);
    let got = ask(&stage, &config, "GET", &path, &[], b"").await;
    assert_eq!((got.status, &got.body[..]), (200, &b"the agent"[..]));
    let part = ask(&stage, &config, "GET", &path, &[("Range", "bytes=4-")], b"").await;
    assert_eq!((part.status, &part.body[..]), (206, &b"agent"[..]));
    for path in ["/agent/plan9-mips/muster-agent", "/agent/", "/agent/linux-x86_64/../../etc/passwd", "/other"] {
        ask(&stage, &config, "GET", path, &[], b"").await.rejected(404, RejectionCode::NotFound);
    }
}

/// The handshake; then CONNECT and SUBSCRIBE in two masked frames, the first of which ends in the middle of a packet.
#[tokio::test]
async fn mqtt_over_websocket_is_the_same_session() {
    let stage = Stage::new().await;
    let mut tls = stage.tls(stage.config(Role::Connector, "t1", &[])).await.unwrap();
    tls.write_all(websocket_handshake("mqtt").as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(in_time(tls.read_u8()).await.unwrap());
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    assert!(head.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=") && head.contains("protocol: mqtt"));
    let mut packets = connect_packet(4, "c1");
    packets.extend_from_slice(&[0x82, 13, 0, 1, 0, 8]);
    packets.extend_from_slice(b"app/t1/#\x01");
    let (first, second) = packets.split_at(packets.len() - 3);
    for part in [first, second] {
        let mut frame = vec![0x82, 0x80 | part.len() as u8, 0, 0, 0, 0];
        frame.extend_from_slice(part);
        tls.write_all(&frame).await.unwrap();
    }
    let mut answer = [0; 13];
    in_time(tls.read_exact(&mut answer)).await.unwrap();
    assert_eq!(answer, [0x82, 4, 0x20, 2, 0, 0, 0x82, 5, 0x90, 3, 0, 1, 1]);
    stage.bus.spread(&Arc::new(muster_bus::Message::new("app/t1/x", "hello")));
    let mut message = [0; 2];
    in_time(tls.read_exact(&mut message)).await.unwrap();
    assert_eq!(message, [0x82, 19]);
    // The text of a chat is no MQTT.
    tls.write_all(&[0x81, 0x81, 0, 0, 0, 0, b'x']).await.unwrap();
    eventually(|| stage.bridge.counters().sessions == 0).await;
}

#[tokio::test]
async fn mqtt_over_websocket_needs_a_certificate_and_the_sub_protocol() {
    let stage = Stage::new().await;
    let known = stage.config(Role::Connector, "t1", &[b"http/1.1"]);
    for (config, request, status) in [
        (stage.anonymous(&[b"http/1.1"]), websocket_handshake("mqtt"), "401"),
        (known.clone(), websocket_handshake("chat"), "400"),
        (known.clone(), websocket_handshake("mqtt").replace("GET", "POST"), "405"),
        (known.clone(), websocket_handshake("mqtt").replace("GET", "HEAD"), "405"),
        (known, "GET /mqtt HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), "426"),
    ] {
        let mut tls = stage.tls(config).await.unwrap();
        tls.write_all(request.as_bytes()).await.unwrap();
        let mut head = [0; 12];
        in_time(tls.read_exact(&mut head)).await.unwrap();
        assert_eq!(&head[9..], status.as_bytes(), "{request}");
    }
}

fn websocket_handshake(protocol: &str) -> String {
    format!(
        "GET /mqtt HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: {protocol}\r\n\r\n"
    )
}
