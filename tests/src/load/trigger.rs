//! What starts the fan-out. Everything slow is done when it is armed; pulling it is one write.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use rustls::ClientConfig;
use tokio::{runtime::Runtime, time::timeout};

use super::{
    client::Connection,
    packet::{self, Packet, Version},
    scenario::{Settings, fan_out::JOB_ID},
    traffic,
};

/// The way to start it.
#[derive(Clone, Debug)]
pub enum Trigger {
    /// Publish one message per thing over plain TCP to this address, without waiting in between.
    Publish(SocketAddr),
    /// Send one operator request (MQTT 5, request and response) with this certificate.
    Request(Arc<ClientConfig>),
    /// Run a shell command; it finds `JOB_ID`, `TARGET_PREFIX` and `TARGET_COUNT` in its environment.
    Command(String),
}

/// A trigger that is ready.
#[derive(Debug)]
pub enum Armed {
    /// All messages, encoded.
    Publish {
        /// Connected.
        stream: TcpStream,
        /// What to write.
        messages: Vec<u8>,
        /// How many acknowledgements follow.
        count: usize,
    },
    /// One request, encoded.
    Request {
        /// Where the connection lives.
        runtime: Runtime,
        /// Connected.
        connection: Box<Connection>,
        /// What to write.
        request: Vec<u8>,
        /// How many executions the answer must name.
        count: usize,
        /// Longest wait for the answer.
        patience: Duration,
    },
    /// The command, and its process once it runs.
    Command {
        /// What to run.
        command: Command,
        /// The running process.
        child: Option<Child>,
    },
}

/// Client id of the one who triggers.
const TRIGGER_ID: &str = "load-trigger";

/// The operator's request for a new job.
const REQUEST_TOPIC: &str = "muster/op/job-create";

/// Where its answer goes: below the client id. It is sent to the connection that asked, without a subscription.
const RESPONSE_TOPIC: &str = "muster/reply/load-trigger/job";

impl Armed {
    /// Connects and encodes, for the things below `count`. `addr` is where the server takes MQTT over TLS.
    pub fn new(trigger: &Trigger, addr: SocketAddr, count: usize, settings: &Settings) -> Result<Self> {
        let patience = Duration::from_secs(settings.patience);
        match trigger {
            Trigger::Publish(plain) => {
                let payload = traffic::notify_payload(JOB_ID);
                let mut messages = Vec::new();
                for index in 0..count {
                    let topic = traffic::notify_topic(&traffic::thing(index));
                    packet::publish(&mut messages, &topic, Some((index % 60_000) as u16 + 1), &payload);
                }
                Ok(Self::Publish { stream: open_plain(*plain, TRIGGER_ID, patience)?, messages, count })
            }
            Trigger::Request(tls) => {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                let open = Connection::open(addr, Arc::clone(tls), Version::V5, TRIGGER_ID);
                let connection = runtime
                    .block_on(async { timeout(patience, open).await })
                    .context("the operator's connection took too long")?
                    .map_err(|f| anyhow!("the operator cannot connect: {:?}: {}", f.kind, f.text))?;
                let mut request = Vec::new();
                let payload = job_request(count);
                let correlation = TRIGGER_ID.as_bytes();
                packet::request(&mut request, REQUEST_TOPIC, 1, RESPONSE_TOPIC, correlation, payload.as_bytes());
                Ok(Self::Request { runtime, connection: Box::new(connection), request, count, patience })
            }
            Trigger::Command(line) => {
                let mut command = Command::new("sh");
                command.args(["-c", line]).stdin(Stdio::null()).stdout(Stdio::null());
                command
                    .env("JOB_ID", JOB_ID)
                    .env("TARGET_PREFIX", format!("{}-", traffic::NAME))
                    .env("TARGET_COUNT", count.to_string());
                Ok(Self::Command { command, child: None })
            }
        }
    }

    /// Starts the fan-out; returns once all is on its way.
    pub fn pull(&mut self) -> Result<()> {
        match self {
            Self::Publish { stream, messages, .. } => stream.write_all(messages).context("the publisher cannot write"),
            Self::Request { runtime, connection, request, .. } => runtime
                .block_on(connection.send(request))
                .map_err(|f| anyhow!("the operator's request was not sent: {}", f.text)),
            Self::Command { command, child } => {
                *child = Some(command.spawn().context("cannot run the trigger command")?);
                Ok(())
            }
        }
    }

    /// Waits for the server's word that it took everything.
    pub fn finish(self) -> Result<()> {
        match self {
            Self::Publish { mut stream, count, .. } => {
                // Each acknowledgement is four bytes.
                let mut answers = vec![0; 4 * count];
                stream.read_exact(&mut answers).context("the publisher was not acknowledged")
            }
            Self::Request { runtime, mut connection, count, patience, .. } => runtime
                .block_on(async { timeout(patience, response(&mut connection, count)).await })
                .context("the operator's request was not answered in time")?,
            Self::Command { child, .. } => {
                let status = child.context("the trigger command never ran")?.wait()?;
                ensure!(status.success(), "the trigger command ended with {status}");
                Ok(())
            }
        }
    }
}

/// A blocking MQTT connection over plain TCP, for the helpers on the server's side of the broker.
pub fn open_plain(addr: SocketAddr, client_id: &str, patience: Duration) -> Result<TcpStream> {
    let mut stream =
        TcpStream::connect_timeout(&addr, patience).with_context(|| format!("cannot connect to {addr} without TLS"))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    let mut out = Vec::new();
    packet::connect(&mut out, Version::V311, client_id, 1200);
    stream.write_all(&out)?;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).with_context(|| format!("{addr} did not answer CONNECT"))?;
    match packet::parse(&answer, Version::V311)? {
        Packet::ConnAck { code: 0 } => Ok(stream),
        other => bail!("{addr} refuses {client_id}: {other:?}"),
    }
}

async fn response(connection: &mut Connection, count: usize) -> Result<()> {
    loop {
        match connection.next().await.map_err(|f| anyhow!("the operator's connection ended: {}", f.text))? {
            Packet::PubAck { code, .. } if code >= 0x80 => {
                bail!("the operator's request was refused with reason {code:#x}")
            }
            Packet::Publish(message) if message.topic == RESPONSE_TOPIC.as_bytes() => {
                return judge(message.payload, count);
            }
            _ => {}
        }
    }
}

/// `{"ok":{"jobId":…,"executions":…}}`, or `{"error":{…}}`.
fn judge(payload: &[u8], count: usize) -> Result<()> {
    let answer: serde_json::Value = serde_json::from_slice(payload).context("the operator's answer is not JSON")?;
    let executions = answer["ok"]["executions"].as_u64();
    ensure!(executions.is_some(), "the operator's request was refused: {answer}");
    ensure!(executions == Some(count as u64), "a job for {count} things was answered with {answer}");
    Ok(())
}

fn job_request(count: usize) -> String {
    let targets: Vec<_> = (0..count).map(traffic::thing).collect();
    format!(r#"{{"job_id":"{JOB_ID}","targets":{},"document":{}}}"#, serde_json::json!(targets), traffic::JOB_DOCUMENT)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_request_is_one_that_muster_knows() {
        let request: muster_wire::admin::CreateJob = serde_json::from_str(&job_request(2)).unwrap();
        assert_eq!(request.targets.iter().map(|thing| thing.as_str()).collect::<Vec<_>>(), ["load-0", "load-1"]);
        assert_eq!(request.job_id.as_str(), JOB_ID);
        assert_eq!(request.document.unwrap()["operation"], "load");
    }

    #[test]
    fn only_the_full_number_of_executions_is_success() {
        assert!(judge(br#"{"ok":{"jobId":"x","executions":2}}"#, 2).is_ok());
        assert!(judge(br#"{"ok":{"jobId":"x","executions":1}}"#, 2).is_err());
        assert!(judge(br#"{"error":{"code":"invalid","message":"no"}}"#, 2).is_err());
        assert!(judge(b"what", 2).is_err());
    }
}
