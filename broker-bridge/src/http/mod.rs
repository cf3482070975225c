//! HTTPS on the same port: enrolment, artifacts, the agent's binary, the data plane.
//!
//! | path | methods | who |
//! |---|---|---|
//! | `/healthz` | GET, HEAD | anybody |
//! | `/v1/time` | GET, HEAD | anybody |
//! | `/v1/enrol` | POST | anybody with a token |
//! | `/v1/recover` | POST | anybody with the key of an old certificate |
//! | `/agent/{platform}/muster-agent` | GET, HEAD | anybody |
//! | `/artifacts/sha256/{digest}` | GET, HEAD | connectors, operators |
//! | `/artifacts/sha256/{digest}` | PUT | operators |
//! | `/mqtt` | GET, as a WebSocket | anybody with a certificate: MQTT, see `websocket.rs` |
//! | the paths of `muster_wire::plane` | theirs | as `policy/plane.rs` says |

mod agent;
mod anonymous;
pub(crate) mod artifacts;
mod body;
mod download;
mod enrol;
pub(crate) mod plane;
pub(crate) mod range;
mod recover;
mod reply;
mod stall;
pub(crate) mod throttle;
mod upload;
mod websocket;

use crate::bridge::Shared;
use crate::crowd::source;
use crate::door::arrival::Handshake;
use crate::door::prefixed::Prefixed;
use crate::door::visitor::{Unknown, identify};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use muster_bus::Caller;
use muster_certs::identity::Role;
use muster_wire::enrol::{
    AGENT_PATH_PREFIX, ARTIFACT_PATH_PREFIX, ENROL_PATH, HEALTH_PATH, RECOVER_PATH, ServerTime, TIME_PATH,
    artifact_digest,
};
use muster_wire::rejection::{Rejection, RejectionCode};
use reply::{Reply, Response};
use stall::Stall;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};
use websocket::Upgrade;

/// The head of a request must be there by then; an idle connection is closed.
const HEAD_DEADLINE: Duration = Duration::from_secs(15);
/// Largest head of a request.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// One HTTP connection and who is behind it.
struct Visit {
    shared: Arc<Shared>,
    peer: IpAddr,
    caller: Result<Caller, Unknown>,
    /// Cancelled once a request was signed by somebody who is let in: then the bounds for strangers do not hold.
    known: CancellationToken,
    /// The connection becomes a WebSocket after the answer.
    upgrade: Mutex<Option<Upgrade>>,
}

/// Serves one connection until it ends, or its present request when the server stops.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    stream: Prefixed<Box<TlsStream<TcpStream>>>,
    peer: IpAddr,
    handshake: Handshake,
    stop: CancellationToken,
) {
    let caller = identify(&shared, stream.get_ref().get_ref().1, "", peer);
    if caller.is_ok() {
        drop(handshake);
        if let Some(upgrade) = converse(shared.clone(), stream, peer, caller, CancellationToken::new(), stop).await {
            websocket::speak(shared, upgrade, peer).await;
        }
        return;
    }
    let Some(place) = shared.anonymous.enter(source(peer)) else {
        return anonymous::turn_away(&shared, stream, peer).await;
    };
    drop(handshake);
    let life = shared.anonymous_deadline;
    let known = CancellationToken::new();
    let stranger = async {
        let place = place;
        tokio::select! {
            // Cancel-safe: cancelled() holds no state.
            () = known.cancelled() => {
                drop(place);
                std::future::pending().await
            }
            // Cancel-safe: nothing follows.
            () = sleep(life) => {}
        }
    };
    tokio::select! {
        // Cut off with the connection.
        _ = converse(shared, stream, peer, caller, known.clone(), stop) => {}
        // Cancel-safe: it ends once.
        () = stranger => {
            info!(%peer, seconds = life.as_secs(), "HTTP connection without a certificate took too long; closed");
        }
    }
}

async fn converse(
    shared: Arc<Shared>,
    stream: Prefixed<Box<TlsStream<TcpStream>>>,
    peer: IpAddr,
    caller: Result<Caller, Unknown>,
    known: CancellationToken,
    stop: CancellationToken,
) -> Option<Upgrade> {
    let visit = Arc::new(Visit { shared, peer, caller, known, upgrade: Mutex::default() });
    let service = service_fn(|request| {
        let visit = visit.clone();
        async move { Ok::<_, Infallible>(visit.answer(request).await) }
    });
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_DEADLINE)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(Stall::new(stream)), service)
            .with_upgrades()
    );
    let ended = tokio::select! {
        // Cancel-safe: the connection is polled on by the same future.
        ended = connection.as_mut() => ended,
        // Cancel-safe: cancelled() holds no state.
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        if error.is_parse() {
            visit.shared.offenders.note(peer, Instant::now());
        }
        debug!(%peer, %error, "HTTP connection ended");
    }
    visit.upgrade.lock().unwrap_or_else(PoisonError::into_inner).take()
}

impl Visit {
    async fn answer(&self, request: Request<Incoming>) -> Response {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let reply = self.route(request).await;
        let response = reply.unwrap_or_else(Into::into);
        debug!(peer = %self.peer, %method, path, status = response.status().as_u16(), "HTTP request");
        response
    }

    async fn route(&self, request: Request<Incoming>) -> Result<Response, Reply> {
        let path = request.uri().path();
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        if path == HEALTH_PATH {
            return if reads { Ok(reply::text("ok\n")) } else { Err(Reply::method("GET, HEAD")) };
        }
        if path == websocket::PATH {
            if *request.method() != Method::GET {
                return Err(Reply::method("GET"));
            }
            let caller = self.caller(&[Role::Connector, Role::Operator, Role::Observer])?.clone();
            let (response, upgrade) = websocket::handshake(request, caller)?;
            *self.upgrade.lock().unwrap_or_else(PoisonError::into_inner) = Some(upgrade);
            return Ok(response);
        }
        if path == TIME_PATH {
            let time = ServerTime { now: self.shared.clock.now() };
            return if reads { Ok(reply::json(StatusCode::OK, &time)) } else { Err(Reply::method("GET, HEAD")) };
        }
        if path == RECOVER_PATH {
            return match *request.method() {
                Method::POST => recover::recover(&self.shared, self.peer, request).await,
                _ => Err(Reply::method("POST")),
            };
        }
        if path == ENROL_PATH {
            return match *request.method() {
                Method::POST => enrol::enrol(&self.shared, self.peer, request).await,
                _ => Err(Reply::method("POST")),
            };
        }
        if let Some(rest) = path.strip_prefix(AGENT_PATH_PREFIX) {
            if !reads {
                return Err(Reply::method("GET, HEAD"));
            }
            return agent::agent(self.shared.agent_binary.as_deref(), rest, &request).await;
        }
        if path.starts_with(ARTIFACT_PATH_PREFIX) {
            let digest = artifact_digest(path).ok_or_else(|| {
                let message = format!("{ARTIFACT_PATH_PREFIX} is followed by a SHA-256 digest, 64 hexadecimal digits");
                Reply::from(Rejection::new(RejectionCode::NotFound, message))
            })?;
            return match *request.method() {
                Method::GET | Method::HEAD => {
                    self.caller(&[Role::Connector, Role::Operator])?;
                    download::artifact(&self.shared.artifacts, &digest, &request).await
                }
                Method::PUT => match self.caller(&[Role::Operator]) {
                    Ok(caller) => upload::artifact(&self.shared.artifacts, &digest, caller, request.into_body()).await,
                    Err(reply) => {
                        upload::drain(request.into_body()).await;
                        Err(reply)
                    }
                },
                _ => Err(Reply::method("GET, HEAD, PUT")),
            };
        }
        if plane::is_plane(path) {
            return Ok(plane::serve(self, request).await);
        }
        let message = format!("nothing is served at {path}; docs/http.md lists the paths");
        Err(Rejection::new(RejectionCode::NotFound, message).into())
    }

    /// A request was signed by somebody who is let in.
    fn is_known(&self) {
        self.known.cancel();
    }

    /// The client, if it has one of these roles and is still let in.
    fn caller(&self, roles: &[Role]) -> Result<&Caller, Reply> {
        let caller = self.caller.as_ref().map_err(|error| {
            info!(peer = %self.peer, %error, "HTTP request without a usable certificate");
            let message = "this needs a client certificate of this fleet that is valid now; enrol or renew first";
            Reply::from(Rejection::new(RejectionCode::Unauthenticated, message))
        })?;
        if let Err(refusal) = self.shared.gate.admits(caller) {
            info!(peer = %self.peer, identity = %caller.identity, %refusal, "HTTP request refused");
            let message = "the server no longer accepts this certificate; enrol again";
            return Err(Rejection::new(RejectionCode::Forbidden, message).into());
        }
        let role = caller.identity.role();
        if !roles.contains(&role) {
            info!(peer = %self.peer, identity = %caller.identity, "HTTP request of a role that may not");
            let message = format!("{role}s may not do this; use the certificate of an operator");
            return Err(Rejection::new(RejectionCode::Forbidden, message).into());
        }
        Ok(caller)
    }
}
