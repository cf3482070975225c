//! One HTTPS request on one connection.

use super::{Credentials, Raw};
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;

/// What the server answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as JSON, or null when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// Sends a request and returns its answer. `Err` says what happened to the connection instead.
pub fn https(
    address: SocketAddr,
    credentials: &Credentials,
    method: &str,
    path: &str,
    body: &[u8],
) -> Result<Answer, String> {
    let mut connection = Raw::connect(address, credentials, &[b"http/1.1"]).map_err(|error| error.to_string())?;
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n"
    );
    // The server may answer and close before it has read everything; the answer counts.
    let sent = connection.send(head.as_bytes()).and_then(|()| connection.send(body));
    let heard = connection.hear_all(PATIENCE).bytes;
    let text = String::from_utf8_lossy(&heard);
    let status = text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).and_then(|code| code.parse().ok());
    let end = heard.windows(4).position(|four| four == b"\r\n\r\n");
    match (status, end) {
        (Some(status), Some(end)) => Ok(Answer { status, body: heard[end + 4..].to_vec() }),
        _ => Err(format!("no answer (sent: {sent:?}), but {text:?}")),
    }
}

const PATIENCE: Duration = Duration::from_secs(90);
