//! Things that are registered as an operator and their hosts would do it: `connector add`, a key of its own, enrolment,
//! a first connection and a first shadow.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, ensure};
use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::ClientConfig;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpSocket,
    task::JoinSet,
    time::timeout,
};

use crate::load::{
    client::{Connection, shake_hands},
    failures::Failure,
    identity::{SERVER_NAME, Trust},
    packet::{self, Packet, Version},
    traffic,
};

/// Things that are added and enrolled together; their tokens are valid for minutes only.
const CHUNK: usize = 512;
/// Requests of the operator that wait for their answers at once.
const WINDOW: usize = 32;
/// Hosts that enrol and report at once, each from an address of its own: the server grants one address a few attempts.
const LANES: u8 = 32;
/// Longest wait for one answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Client id of the operator.
const OPERATOR_ID: &str = "load-register";
/// Where a connector is added.
const ADD_TOPIC: &str = "muster/op/connector-add";
/// Where a host enrols.
const ENROL_PATH: &str = "/v1/enrol";

/// Registers the things below `count` and leaves their keys and certificates in `out`, beside the authority and the
/// certificate of the operator who adds them.
pub fn register(addr: SocketAddr, out: &Path, operator: &str, count: usize) -> Result<()> {
    let trust = Trust::load(&out.join("ca.crt"))?;
    let operator = trust.identity(out, operator)?;
    let site = Arc::new(Site { addr, stranger: trust.stranger()?, trust, out: out.to_owned() });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut desk = Desk::open(addr, operator).await?;
        for start in (0..count).step_by(CHUNK) {
            let tokens = desk.add(start..(start + CHUNK).min(count)).await?;
            enrol(&site, &tokens).await?;
        }
        Ok(())
    })
}

/// An operator's connection.
struct Desk(Connection);

impl Desk {
    async fn open(addr: SocketAddr, operator: Arc<ClientConfig>) -> Result<Self> {
        let open = Connection::open(addr, operator, Version::V5, OPERATOR_ID);
        let connection = timeout(PATIENCE, open).await.context("the operator's connection took too long")?;
        connection.map(Self).map_err(|f| anyhow!("the operator cannot connect: {}", f.text))
    }

    /// Adds things, and returns their numbers and tokens.
    async fn add(&mut self, things: std::ops::Range<usize>) -> Result<Vec<(usize, String)>> {
        let mut tokens = Vec::with_capacity(things.len());
        let all: Vec<usize> = things.collect();
        for window in all.chunks(WINDOW) {
            let mut out = Vec::new();
            for (at, index) in window.iter().enumerate() {
                let body = json!({ "name": traffic::thing(*index) }).to_string();
                let reply = format!("muster/reply/{OPERATOR_ID}/{index}");
                packet::request(&mut out, ADD_TOPIC, at as u16 + 1, &reply, b"add", body.as_bytes());
            }
            self.0.send(&out).await.map_err(|f| anyhow!("the operator cannot send: {}", f.text))?;
            let answers = timeout(PATIENCE, self.answers(window.len())).await;
            tokens.extend(answers.context("the server did not answer the operator in time")??);
        }
        Ok(tokens)
    }

    async fn answers(&mut self, count: usize) -> Result<Vec<(usize, String)>> {
        let mut answers = Vec::with_capacity(count);
        while answers.len() < count {
            let packet = self.0.next().await.map_err(|f| anyhow!("the operator's connection ended: {}", f.text))?;
            let Packet::Publish(message) = packet else { continue };
            let topic = String::from_utf8_lossy(message.topic).into_owned();
            let index = topic.rsplit('/').next().and_then(|index| index.parse().ok());
            let answer: Value = serde_json::from_slice(message.payload).context("an answer is not JSON")?;
            let token = answer["ok"]["token"].as_str();
            let (index, token) =
                index.zip(token).with_context(|| format!("{topic} answers {answer} instead of a token"))?;
            answers.push((index, token.to_owned()));
            if let Some(id) = message.id {
                let mut out = Vec::new();
                packet::puback(&mut out, id);
                self.0.send(&out).await.map_err(|f| anyhow!("the operator cannot acknowledge: {}", f.text))?;
            }
        }
        Ok(answers)
    }
}

/// What every enrolling host knows.
struct Site {
    addr: SocketAddr,
    trust: Trust,
    stranger: Arc<ClientConfig>,
    out: PathBuf,
}

/// Enrols a host for each token and gives it a first shadow, some hosts at once.
async fn enrol(site: &Arc<Site>, tokens: &[(usize, String)]) -> Result<()> {
    let mut lanes = JoinSet::new();
    let size = tokens.len().div_ceil(LANES.into()).max(1);
    for (lane, from) in tokens.chunks(size).zip(1..=LANES) {
        let (site, lane) = (Arc::clone(site), lane.to_vec());
        lanes.spawn(async move {
            for (index, token) in lane {
                let thing = traffic::thing(index);
                let answer = timeout(PATIENCE, host(&site, &thing, &token, from)).await;
                answer.with_context(|| format!("the enrolment of {thing} was not answered"))??;
                let first = timeout(PATIENCE, update(&site, &thing, index)).await;
                first.with_context(|| format!("the first update of {thing} was not answered"))??;
            }
            Ok::<_, anyhow::Error>(())
        });
    }
    while let Some(lane) = lanes.join_next().await {
        lane.context("a lane of enrolling hosts broke")??;
    }
    Ok(())
}

/// One host makes its key, enrols and keeps what it got.
async fn host(site: &Site, thing: &str, token: &str, from: u8) -> Result<()> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, thing);
    let csr = params.serialize_request(&key)?.pem()?;
    let host = json!({
        "agent_version": "0.1.0", "hostname": thing, "os": "Linux (load)", "kernel": "6.1", "arch": "x86_64",
        "addresses": ["192.0.2.7"], "boot_id": "1", "start_id": "1", "labels": ["env=load"],
    });
    let body = json!({ "token": token, "name": thing, "csr": csr, "host": host }).to_string();
    let request = format!(
        "POST {ENROL_PATH} HTTP/1.1\r\nhost: {SERVER_NAME}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::new(127, 2, 0, from), 0).into())?;
    let tcp = socket.connect(site.addr).await.context("an enrolling host cannot connect")?;
    let mut stream =
        shake_hands(tcp, Arc::clone(&site.stranger)).await.map_err(|f| anyhow!("an enrolling host: {}", f.text))?;
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").context("an enrolment was answered with less than a head")?;
    ensure!(head.starts_with("HTTP/1.1 200"), "the enrolment of {thing} was refused: {answer}");
    let answer: Value = serde_json::from_str(body).context("the answer to an enrolment is not JSON")?;
    let certificate = answer["certificate"].as_str().context("an enrolment was answered without a certificate")?;
    let path = site.out.join(format!("{thing}.key"));
    fs::write(&path, key.serialize_pem()).with_context(|| format!("cannot write {}", path.display()))?;
    let path = site.out.join(format!("{thing}.crt"));
    fs::write(&path, certificate).with_context(|| format!("cannot write {}", path.display()))
}

/// Connects as a thing for the first time, and gives it a shadow.
async fn update(site: &Site, thing: &str, index: usize) -> Result<()> {
    let failed = |f: Failure| anyhow!("{thing}: {:?}: {}", f.kind, f.text);
    let identity = site.trust.identity(&site.out, thing)?;
    let mut connection = Connection::open(site.addr, identity, Version::V311, thing).await.map_err(failed)?;
    let (mut out, mut payload, mut token) = (Vec::new(), Vec::new(), Vec::new());
    traffic::quoted_token(&mut token, index, 0);
    traffic::update_payload(&mut payload, 0, &token);
    packet::publish(&mut out, &traffic::update_topic(thing), Some(1), &payload);
    connection.send(&out).await.map_err(failed)?;
    let answer = connection.next().await.map_err(failed)?;
    ensure!(answer == Packet::PubAck { id: 1, code: 0 }, "the first update of {thing} was answered with {answer:?}");
    connection.send(&packet::DISCONNECT).await.map_err(failed)
}
