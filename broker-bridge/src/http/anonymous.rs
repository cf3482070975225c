//! Clients without a usable certificate for whom there is no place now.

use crate::bridge::Shared;
use crate::counters::count;
use muster_wire::rejection::{Rejection, RejectionCode};
use std::io;
use std::net::IpAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use tracing::debug;

/// How long such a client has to take its answer and hang up.
const DEADLINE: Duration = Duration::from_secs(2);

/// Answers 503 without reading the request. Written by hand: what is refused for its cost should cost little.
pub(super) async fn turn_away(shared: &Shared, mut stream: impl AsyncRead + AsyncWrite + Unpin, peer: IpAddr) {
    count(&shared.counters.turned_away);
    debug!(%peer, "turned away: too many HTTP connections without a certificate");
    let message = "too many connections without a certificate; try again in some seconds";
    let body = serde_json::to_string(&Rejection::new(RejectionCode::Busy, message)).unwrap_or_default();
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Retry-After: 10\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let goodbye = async {
        stream.write_all(answer.as_bytes()).await?;
        stream.flush().await?;
        stream.shutdown().await?;
        // A close with unread bytes resets the connection, and the answer may be lost on its way.
        let mut space = [0_u8; 1024];
        while stream.read(&mut space).await? > 0 {}
        Ok::<(), io::Error>(())
    };
    // Whatever becomes of it, the connection is over.
    let _ = timeout(DEADLINE, goodbye).await;
}
