//! The accept loop. It never waits for a client: each connection is its own task from the first byte.

use super::arrival::{self, Handshake, Spoken};
use crate::bridge::Shared;
use crate::counters::count;
use crate::crowd::source;
use muster_wire::limits::SHUTDOWN_GRACE;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Connections that the kernel holds until they are accepted.
const BACKLOG: u32 = 4096;
/// After a failed accept, for example because no file descriptor is free.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);
/// Between two lines about connections that were turned away.
const TURNED_AWAY_PAUSE: Duration = Duration::from_secs(1);

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// Somebody else listens there.
    #[error("{address} is in use by another program; stop that program or choose another port with --listen")]
    InUse {
        /// The address.
        address: SocketAddr,
    },
    /// The port needs more rights.
    #[error(
        "this user may not listen on {address}; choose a port above 1023, or give the program CAP_NET_BIND_SERVICE"
    )]
    Denied {
        /// The address.
        address: SocketAddr,
    },
    /// Anything else.
    #[error("cannot listen on {address}; check that this host has that address")]
    Other {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// A bound port.
pub struct Listener {
    shared: Arc<Shared>,
    tcp: TcpListener,
    local_addr: SocketAddr,
    spoken: Spoken,
}

impl Listener {
    pub(crate) async fn bind(shared: Arc<Shared>, address: SocketAddr, spoken: Spoken) -> Result<Self, BindError> {
        let error = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => BindError::InUse { address },
            io::ErrorKind::PermissionDenied => BindError::Denied { address },
            _ => BindError::Other { address, source },
        };
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.map_err(error)?;
        // A restarted server gets its port back while old connections linger.
        socket.set_reuseaddr(true).map_err(error)?;
        socket.bind(address).map_err(error)?;
        let tcp = socket.listen(BACKLOG).map_err(error)?;
        let local_addr = tcp.local_addr().map_err(error)?;
        Ok(Self { shared, tcp, local_addr, spoken })
    }

    /// The address with the port that was picked.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Accepts connections until `stop` is cancelled, then says goodbye to every client of the bridge and waits for
    /// their tasks, at most [`SHUTDOWN_GRACE`]. All listeners of a bridge are stopped together.
    pub async fn run(self, stop: CancellationToken) {
        let Self { shared, tcp, local_addr, spoken } = self;
        info!(%local_addr, "listening");
        let mut turned_away = TurnedAway::default();
        loop {
            // Taken before the accept: what is too much waits in the kernel and costs nothing here.
            let handshake = tokio::select! {
                // Cancel-safe: cancelled() holds no state.
                () = stop.cancelled() => break,
                // Cancel-safe: an unfinished acquire holds no permit.
                permit = shared.handshakes.clone().acquire_owned() => permit,
            };
            let Ok(handshake) = handshake else { break };
            let accepted = tokio::select! {
                // Cancel-safe: cancelled() holds no state.
                () = stop.cancelled() => break,
                // Cancel-safe: accept() takes a connection only when it returns it.
                accepted = tcp.accept() => accepted,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) if is_the_peers(&error) => continue,
                Err(error) => {
                    warn!(%error, %local_addr, "cannot accept connections; trying again");
                    tokio::time::sleep(ACCEPT_BACKOFF).await;
                    continue;
                }
            };
            count(&shared.counters.accepted);
            let Some(of_address) = shared.newcomers.enter(source(peer.ip())) else {
                turned_away.one_more(&shared, peer.ip(), "too many connections of this address before CONNECT");
                continue;
            };
            let Ok(connection) = shared.connections.clone().try_acquire_owned() else {
                turned_away.one_more(&shared, peer.ip(), "too many connections");
                continue;
            };
            let handshake = Handshake { _of_all: handshake, _of_address: of_address };
            let permits = arrival::Permits { handshake, connection };
            let (for_task, stop) = (shared.clone(), stop.clone());
            shared.swarm.spawn(arrival::attend(for_task, stream, peer.ip(), spoken, permits, stop));
        }
        drop(tcp);
        shared.sessions.stop();
        shared.keeper.stop();
        let left = shared.swarm.drain(SHUTDOWN_GRACE).await;
        if left > 0 {
            warn!(left, "connections did not end in time");
        }
        info!(%local_addr, "stopped listening");
    }
}

/// Counts those who are turned away, and logs them in sums: a flood of them must not become a flood of lines.
#[derive(Default)]
struct TurnedAway {
    said: Option<Instant>,
    unsaid: u64,
}

impl TurnedAway {
    fn one_more(&mut self, shared: &Shared, peer: IpAddr, why: &str) {
        count(&shared.counters.turned_away);
        self.unsaid += 1;
        if self.said.is_none_or(|at| at.elapsed() >= TURNED_AWAY_PAUSE) {
            warn!(%peer, why, connections = self.unsaid, "turned away; the peer is the last of so many connections");
            *self = Self { said: Some(Instant::now()), unsaid: 0 };
        }
    }
}

/// The peer was gone before it was accepted: no reason to slow down.
fn is_the_peers(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

#[cfg(test)]
mod tests;
