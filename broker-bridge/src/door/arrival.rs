//! What happens to one TCP connection: TLS, which protocol, CONNECT; then its session or HTTP.
//!
//! A task is as large as the largest thing it ever waits for, so everything before the session is a future of its own
//! that is freed when it is over.

use super::prefixed::Prefixed;
use super::protocol::Protocol;
use super::visitor::{Unknown, identify};
use crate::bridge::Shared;
use crate::counters::count;
use crate::crowd::Place;
use crate::http;
use crate::policy::Decision;
use crate::policy::named::{self, may_connect};
use crate::presence;
use crate::session::connect::{self, Connect, Refused, Why};
use crate::session::connection::Connection;
use crate::session::frame::{self, FrameError, Framed};
use crate::session::link::{Connected, Link};
use crate::session::membership::Membership;
use crate::session::will::BadWill;
use crate::sessions::NoEntry;
use muster_bus::Caller;
use muster_certs::identity::Role;
use muster_runtime::ids::{random_fraction, random_hex};
use muster_wire::limits::{CONNECT_BYTES_MAX, CONNECT_DEADLINE, HANDSHAKE_DEADLINE, WRITE_STALL_DEADLINE};
use muster_wire::policy::ConnectAttributes;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

/// Over so long the ends of connections are spread on which no CONNECT came in time.
const CUT_SPREAD: Duration = Duration::from_secs(5);
/// How long a refused client has to take its refusal and hang up.
const REFUSAL_DEADLINE: Duration = Duration::from_secs(2);
/// How much is thrown away of what it says meanwhile.
const REFUSAL_BYTES_MAX: usize = 256 * 1024;

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
    pub(crate) _of_address: Place<IpAddr>,
}

type Tls = TlsStream<TcpStream>;

/// What is spoken at a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spoken {
    MqttAndHttp,
    MqttAlone,
}

enum Arrived {
    Mqtt(Box<Connection<Tls>>),
    Http(Prefixed<Box<Tls>>),
}

/// Takes care of one connection to its end.
pub(crate) async fn attend(
    shared: Arc<Shared>,
    stream: TcpStream,
    peer: IpAddr,
    spoken: Spoken,
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
        Some(Arrived::Http(_)) if spoken == Spoken::MqttAlone => {
            debug!(%peer, "HTTP at a port for MQTT alone; closed");
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
    let wait = shared.offenders.wait(peer, Instant::now());
    if !wait.is_zero() {
        debug!(%peer, ?wait, "its address sent garbage or nothing before; it waits");
        sleep(wait).await;
    }
    let mut tls = match timeout(HANDSHAKE_DEADLINE, TlsAcceptor::from(shared.tls()).accept(stream)).await {
        Ok(Ok(tls)) => Box::new(tls),
        Ok(Err(error)) => {
            count(&shared.counters.handshakes_failed);
            // Who hangs up may be a check whether the port is open. What is no TLS, or not good enough, is an offence.
            if error.kind() == io::ErrorKind::InvalidData {
                shared.offenders.note(peer, Instant::now());
            }
            debug!(%peer, %error, "TLS handshake failed");
            return None;
        }
        Err(_) => {
            count(&shared.counters.handshakes_failed);
            shared.offenders.note(peer, Instant::now());
            debug!(%peer, "TLS handshake took too long");
            return None;
        }
    };
    let agreed = Protocol::agreed(tls.get_ref().1.alpn_protocol());
    if agreed == Some(Protocol::Http) {
        return Some(Arrived::Http(Prefixed::new(Vec::new(), tls)));
    }
    let mut input = Vec::with_capacity(512);
    // Those who came together are not cut together: they would all be back for their handshakes in the same second.
    let deadline = CONNECT_DEADLINE + CUT_SPREAD.mul_f64(random_fraction());
    let first = match timeout(deadline, first_packet(shared, &mut tls, &mut input, agreed)).await {
        Ok(Ok(first)) => first,
        Ok(Err(error)) => {
            debug!(%peer, %error, "connection lost before its first packet");
            return None;
        }
        Err(_) => {
            shared.offenders.note(peer, Instant::now());
            debug!(%peer, "no CONNECT in time");
            return None;
        }
    };
    match first {
        First::Http => return Some(Arrived::Http(Prefixed::new(input, tls))),
        First::Refused(_) => shared.offenders.note(peer, Instant::now()),
        First::Connect(_) => {}
    }
    let connection = tls.get_ref().1;
    let caller = match shared.mqtt.server_name_required && connection.server_name().is_none() {
        true => Err(Unknown::NoServerName),
        false => identify(shared, connection, &first.client_id(), peer),
    };
    let session = welcome(shared, *tls, peer, caller, first, input).await?;
    Some(Arrived::Mqtt(Box::new(session)))
}

/// Goes on after the first packet of a client that speaks MQTT. `None` when it was not let in or is gone.
pub(crate) async fn welcome<S: AsyncRead + AsyncWrite + Unpin>(
    shared: &Arc<Shared>,
    mut stream: S,
    peer: IpAddr,
    caller: Result<Caller, Unknown>,
    first: First,
    input: Vec<u8>,
) -> Option<Connection<S>> {
    let mut connect = match first {
        First::Http => return None,
        First::Connect(connect) => connect,
        First::Refused(refused) => {
            refuse(shared, &mut stream, peer, refused, usize::MAX).await;
            return None;
        }
    };
    match admit(shared, &mut stream, peer, caller, &mut connect).await {
        Ok(Some(member)) => {
            shared.offenders.forgive(peer);
            Some(Connection::new(stream, member, &connect, input))
        }
        Ok(None) => None,
        Err(why) => {
            refuse(shared, &mut stream, peer, Refused::new(connect.version, why), connect.packet_max).await;
            None
        }
    }
}

/// What the first packet of a connection is.
pub(crate) enum First {
    Http,
    Connect(Box<Connect>),
    Refused(Refused),
}

impl First {
    /// The client's id: its own, or one that is made for it.
    pub(crate) fn client_id(&self) -> Box<str> {
        match self {
            Self::Connect(connect) => connect.client_id.clone(),
            Self::Http | Self::Refused(_) => None,
        }
        .unwrap_or_else(|| format!("auto-{}", random_hex::<8>()).into())
    }
}

/// Reads until the first packet is whole or known to be none. What follows the packet stays in `input`.
pub(crate) async fn first_packet(
    shared: &Shared,
    tls: &mut (impl AsyncRead + Unpin),
    input: &mut Vec<u8>,
    agreed: Option<Protocol>,
) -> io::Result<First> {
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
                    let first = connect::read(frame, &shared.mqtt);
                    let first = first.map_or_else(First::Refused, |connect| First::Connect(Box::new(connect)));
                    input.drain(..total);
                    if input.is_empty() {
                        *input = Vec::new();
                    }
                    return Ok(first);
                }
                Ok(Framed::Partial(_)) => {}
                Err(FrameError::Malformed) => {
                    return Ok(First::Refused(Refused { version: None, why: Why::Malformed }));
                }
                // No more of it is read than says who is to be told.
                Err(FrameError::TooLarge) => {
                    if let Some(version) = connect::peek(input) {
                        return Ok(First::Refused(Refused { version, why: Why::TooLarge }));
                    }
                }
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
    stream: &mut (impl AsyncWrite + Unpin),
    peer: IpAddr,
    caller: Result<Caller, Unknown>,
    connect: &mut Connect,
) -> Result<Option<Membership>, Why> {
    let caller = caller.map_err(|error| {
        info!(%peer, client = ?connect.client_id, %error, "connect refused");
        Why::NotAuthorized
    })?;
    let client_id = caller.client_id.clone();
    if let Some(max) = shared.mqtt.connects_per_second_max
        && !shared.recent.admits(&caller.identity, &client_id, max, Instant::now())
    {
        info!(%peer, identity = %caller.identity, client = %client_id, "connect refused: too many in a second");
        return Err(Why::Quota);
    }
    let rules = named::rules(shared, &caller);
    let attributes = ConnectAttributes { persistent: !connect.life.is_zero(), will: connect.will.is_some() };
    if may_connect(rules.as_deref(), &caller, attributes) == Decision::Deny {
        presence::connect_failed(shared, &caller);
        info!(%peer, identity = %caller.identity, client = %client_id, "connect refused by its policies");
        return Err(Why::NotAuthorized);
    }
    if let Some(will) = &connect.will {
        will.check(shared, &caller, rules.as_deref()).map_err(|bad| {
            info!(%peer, identity = %caller.identity, client = %client_id, topic = %will.topic, ?bad, "will refused");
            match bad {
                BadWill::Topic => Why::WillTopic,
                BadWill::Denied => {
                    presence::connect_failed(shared, &caller);
                    Why::WillDenied
                }
                BadWill::Retain => Why::WillRetain,
            }
        })?;
    }
    if caller.identity.role() == Role::Claim {
        // Every device of a batch shares the claim, and maybe the client id: a key that waits for one would go to another.
        connect.clean = true;
        connect.life_reduced |= !connect.life.is_zero();
        connect.life = Duration::ZERO;
    }
    let needed = connect::connack(connect, &client_id, true).len();
    if needed > connect.packet_max {
        let (identity, packet_max) = (&caller.identity, connect.packet_max);
        info!(%peer, %identity, client = %client_id, packet_max, needed, "connect refused: it takes no packet as large as the CONNACK");
        return Err(Why::TooLarge);
    }
    let link = Link::new(Arc::new(caller), shared.next_session(), shared.counters.clone());
    let Connect { keep_alive, clean, .. } = *connect;
    link.has_connected(Connected { attributes, at: shared.clock.now(), keep_alive, clean });
    link.set_rules(rules);
    let member = Membership::begin(shared, &link, connect).await.map_err(|no_entry| {
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
    if let Err(why) = named::refresh(shared, &link) {
        info!(%peer, identity = %link.caller.identity, client = %client_id, why, "connect refused");
        return Err(Why::NotAuthorized);
    }
    info!(
        %peer,
        identity = %link.caller.identity,
        client = %client_id,
        version = ?connect.version,
        keep_alive_s = connect.keep_alive.as_secs(),
        session_s = connect.life.as_secs(),
        resumed = member.resumed,
        "connected"
    );
    let connack = connect::connack(connect, &client_id, member.resumed);
    match timeout(WRITE_STALL_DEADLINE, say(stream, &connack)).await {
        Ok(Ok(())) => Ok(Some(member)),
        Ok(Err(_)) | Err(_) => Ok(None),
    }
}

async fn refuse(
    shared: &Shared,
    tls: &mut (impl AsyncRead + AsyncWrite + Unpin),
    peer: IpAddr,
    refused: Refused,
    packet_max: usize,
) {
    count(&shared.counters.connects_refused);
    debug!(%peer, why = ?refused.why, "CONNECT refused");
    let Some(connack) = refused.connack().filter(|connack| connack.len() <= packet_max) else { return };
    let goodbye = async {
        say(tls, &connack).await?;
        tls.shutdown().await?;
        // A close with unread bytes resets the connection, and the refusal may be lost on its way.
        let mut space = [0_u8; 1024];
        let mut unread = 0;
        while unread < REFUSAL_BYTES_MAX {
            match tls.read(&mut space).await? {
                0 => break,
                read => unread += read,
            }
        }
        Ok::<(), io::Error>(())
    };
    // Whatever becomes of it, the connection is over.
    let _ = timeout(REFUSAL_DEADLINE, goodbye).await;
}

/// Writes and flushes: without the flush the tail may stay in the TLS buffers.
async fn say(tls: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    tls.write_all(bytes).await?;
    tls.flush().await
}
