//! What happens to one TCP connection: TLS, which protocol, CONNECT; then its session or HTTP.
//!
//! A task is as large as the largest thing it ever waits for, so everything before the session is a future of its own
//! that is freed when it is over.

use super::crowd::Place;
use super::prefixed::Prefixed;
use super::protocol::Protocol;
use super::visitor::identify;
use crate::bridge::Shared;
use crate::counters::count;
use crate::http;
use crate::session::connect::{self, Connect, Refused, Why};
use crate::session::connection::Connection;
use crate::session::frame::{self, Framed};
use crate::session::link::Link;
use crate::session::membership::Membership;
use crate::sessions::NoEntry;
use muster_runtime::ids::random_hex;
use muster_wire::limits::{CONNECT_BYTES_MAX, CONNECT_DEADLINE, HANDSHAKE_DEADLINE, WRITE_STALL_DEADLINE};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

/// How long a refused client has to take its refusal and hang up.
const REFUSAL_DEADLINE: Duration = Duration::from_secs(2);

/// A connection's share of what is bounded.
pub(crate) struct Permits {
    /// Held until CONNECT is accepted or HTTP begins.
    pub(crate) handshake: Handshake,
    /// Held to the end.
    pub(crate) connection: OwnedSemaphorePermit,
}

/// A newcomer's share: of all newcomers and of those of its address.
pub(crate) struct Handshake {
    pub(crate) _of_all: OwnedSemaphorePermit,
    pub(crate) _of_address: Place,
}

type Tls = TlsStream<TcpStream>;

enum Arrived {
    Mqtt(Box<Connection<Tls>>),
    Http(Prefixed<Box<Tls>>),
}

/// Takes care of one connection to its end.
pub(crate) async fn attend(
    shared: Arc<Shared>,
    stream: TcpStream,
    peer: IpAddr,
    permits: Permits,
    stop: CancellationToken,
) {
    let Permits { handshake, connection } = permits;
    let arrival = Box::pin(arrive(shared.clone(), stream, peer, stop.clone()));
    match arrival.await {
        Some(Arrived::Mqtt(session)) => {
            drop(handshake);
            drop(stop);
            session.await;
        }
        Some(Arrived::Http(stream)) => Box::pin(http::serve(shared, stream, peer, handshake, stop)).await,
        None => {}
    }
    drop(connection);
}

async fn arrive(shared: Arc<Shared>, stream: TcpStream, peer: IpAddr, stop: CancellationToken) -> Option<Arrived> {
    tokio::select! {
        // Cancel-safe: cancelled() holds no state.
        () = stop.cancelled() => None,
        // Dropping an arrival drops its connection, which is meant.
        arrived = greet(&shared, stream, peer) => arrived,
    }
}

async fn greet(shared: &Arc<Shared>, stream: TcpStream, peer: IpAddr) -> Option<Arrived> {
    // Small packets leave at once.
    let _ = stream.set_nodelay(true);
    let mut tls = match timeout(HANDSHAKE_DEADLINE, TlsAcceptor::from(shared.tls()).accept(stream)).await {
        Ok(Ok(tls)) => Box::new(tls),
        Ok(Err(error)) => {
            count(&shared.counters.handshakes_failed);
            debug!(%peer, %error, "TLS handshake failed");
            return None;
        }
        Err(_) => {
            count(&shared.counters.handshakes_failed);
            debug!(%peer, "TLS handshake took too long");
            return None;
        }
    };
    let agreed = Protocol::agreed(tls.get_ref().1.alpn_protocol());
    if agreed == Some(Protocol::Http) {
        return Some(Arrived::Http(Prefixed::new(Vec::new(), tls)));
    }
    let mut input = Vec::with_capacity(512);
    let first = match timeout(CONNECT_DEADLINE, first_packet(&mut tls, &mut input, agreed)).await {
        Ok(Ok(first)) => first,
        Ok(Err(error)) => {
            debug!(%peer, %error, "connection lost before its first packet");
            return None;
        }
        Err(_) => {
            debug!(%peer, "no CONNECT in time");
            return None;
        }
    };
    let connect = match first {
        First::Http => return Some(Arrived::Http(Prefixed::new(input, tls))),
        First::Connect(connect) => connect,
        First::Refused(refused) => {
            refuse(shared, &mut tls, peer, refused).await;
            return None;
        }
    };
    match admit(shared, &mut tls, peer, &connect).await {
        Ok(Some(member)) => {
            let session = Connection::new(*tls, member, &connect, input);
            Some(Arrived::Mqtt(Box::new(session)))
        }
        Ok(None) => None,
        Err(why) => {
            refuse(shared, &mut tls, peer, Refused::new(connect.version, why)).await;
            None
        }
    }
}

enum First {
    Http,
    Connect(Connect),
    Refused(Refused),
}

/// Reads until the first packet is whole or known to be none. What follows the packet stays in `input`.
async fn first_packet(tls: &mut Tls, input: &mut Vec<u8>, agreed: Option<Protocol>) -> io::Result<First> {
    loop {
        if let Some(first) = input.first() {
            if agreed.unwrap_or_else(|| Protocol::guessed(*first)) == Protocol::Http {
                return Ok(First::Http);
            }
            if Protocol::guessed(*first) != Protocol::Mqtt {
                return Ok(First::Refused(Refused { version: None, why: Why::Malformed }));
            }
            match frame::next(input, CONNECT_BYTES_MAX) {
                Ok(Framed::Whole(frame, total)) => {
                    let first = connect::read(frame).map_or_else(First::Refused, First::Connect);
                    input.drain(..total);
                    if input.is_empty() {
                        *input = Vec::new();
                    }
                    return Ok(first);
                }
                Ok(Framed::Partial(_)) => {}
                Err(_) => return Ok(First::Refused(Refused { version: None, why: Why::TooLarge })),
            }
        }
        if tls.read_buf(input).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Lets a client in and says so. `None` when it was gone before it heard.
async fn admit(
    shared: &Arc<Shared>,
    tls: &mut Tls,
    peer: IpAddr,
    connect: &Connect,
) -> Result<Option<Membership>, Why> {
    let client_id = connect.client_id.clone().unwrap_or_else(|| format!("auto-{}", random_hex::<8>()).into());
    let caller = identify(shared, tls.get_ref().1, &client_id, peer).map_err(|error| {
        info!(%peer, client = %client_id, %error, "connect refused");
        Why::NotAuthorized
    })?;
    let link = Link::new(Arc::new(caller), shared.next_session(), shared.counters.clone());
    let member = Membership::begin(shared, &link).await.map_err(|no_entry| {
        info!(%peer, identity = %link.caller.identity, client = %client_id, ?no_entry, "connect refused");
        match no_entry {
            NoEntry::Quota => Why::Quota,
            NoEntry::Stopping => Why::Stopping,
        }
    })?;
    // Who lost their standing between the first look and being known here would be missed by the second look of others.
    if let Err(refusal) = shared.gate.admits(&link.caller) {
        info!(%peer, identity = %link.caller.identity, client = %client_id, %refusal, "connect refused");
        return Err(Why::NotAuthorized);
    }
    info!(
        %peer,
        identity = %link.caller.identity,
        client = %client_id,
        version = ?connect.version,
        keep_alive_s = connect.keep_alive.as_secs(),
        "connected"
    );
    let connack = connect::connack(connect, &client_id);
    match timeout(WRITE_STALL_DEADLINE, say(tls, &connack)).await {
        Ok(Ok(())) => Ok(Some(member)),
        Ok(Err(_)) | Err(_) => Ok(None),
    }
}

async fn refuse(shared: &Shared, tls: &mut Tls, peer: IpAddr, refused: Refused) {
    count(&shared.counters.connects_refused);
    debug!(%peer, why = ?refused.why, "CONNECT refused");
    let Some(connack) = refused.connack() else { return };
    let goodbye = async {
        say(tls, &connack).await?;
        tls.shutdown().await?;
        // A close with unread bytes resets the connection, and the refusal may be lost on its way.
        let mut space = [0_u8; 1024];
        while tls.read(&mut space).await? > 0 {}
        Ok::<(), io::Error>(())
    };
    // Whatever becomes of it, the connection is over.
    let _ = timeout(REFUSAL_DEADLINE, goodbye).await;
}

/// Writes and flushes: without the flush the tail may stay in the TLS buffers.
async fn say(tls: &mut Tls, bytes: &[u8]) -> io::Result<()> {
    tls.write_all(bytes).await?;
    tls.flush().await
}
