//! Asks the hooks of provisioning templates over HTTP or HTTPS: nobody waits for them but the device.
//!
//! A hook has [`HOOK_DEADLINE`] from the connect to the last byte of its answer. Whatever is not status 2xx with JSON
//! that says so allows nothing; an answer that sends elsewhere is not followed.

use crate::error::{Cause, CliError};
use crate::https::exchange;
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request, StatusCode, Uri};
use muster_bus::HookFailure;
use muster_certs::verifier::client_config;
use muster_runtime::tasks::Swarm;
use muster_shadow::service::{HookCall, Hooks};
use muster_wire::limits::{HOOK_DEADLINE, HOOK_QUEUE_MAX, HOOKS_AT_ONCE_MAX};
use muster_wire::provision::{HookAnswer, HookQuestion};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Where questions to hooks wait.
pub struct HookQueue(mpsc::Sender<Box<HookCall>>);

impl Hooks for HookQueue {
    fn ask(&self, call: Box<HookCall>) -> Result<(), Box<HookCall>> {
        self.0.try_send(call).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(call) | mpsc::error::TrySendError::Closed(call) => call,
        })
    }
}

/// Whoever asks the hooks.
pub struct HookDesk {
    calls: mpsc::Receiver<Box<HookCall>>,
    tls: Result<Arc<ClientConfig>, String>,
}

/// Where systems keep the authorities that they trust.
const SYSTEM_BUNDLES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// A queue, and the desk behind it. `ca` has the authorities of hooks; without it those of the system count.
///
/// Errors: `ca` cannot be used.
pub fn desk(ca: Option<&Path>) -> Result<(Arc<HookQueue>, HookDesk), CliError> {
    let (sender, calls) = mpsc::channel(HOOK_QUEUE_MAX);
    let tls = match ca {
        Some(ca) => Ok(trust(ca).map_err(|why| CliError::local(format!("provisioning.hook_ca: {why}")))?),
        None => {
            let bundle = SYSTEM_BUNDLES.into_iter().map(PathBuf::from).find(|path| path.is_file());
            let none = || "this system keeps no authorities; name a file in provisioning.hook_ca".to_owned();
            bundle.ok_or_else(none).and_then(|bundle| trust(&bundle))
        }
    };
    Ok((Arc::new(HookQueue(sender)), HookDesk { calls, tls }))
}

fn trust(ca: &Path) -> Result<Arc<ClientConfig>, String> {
    let pem = std::fs::read_to_string(ca).map_err(|error| format!("cannot read {}: {error}", ca.display()))?;
    let config = client_config(&pem, None, &[b"http/1.1"]);
    config.map(Arc::new).map_err(|error| format!("{} cannot be used: {error}", ca.display()))
}

impl HookDesk {
    /// Asks until it is told to stop.
    pub async fn run(mut self, stop: CancellationToken) {
        let swarm = Swarm::new();
        let places = Arc::new(Semaphore::new(HOOKS_AT_ONCE_MAX));
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { return };
            let call = tokio::select! {
                // Cancel-safe: recv() keeps a call that it did not return.
                call = self.calls.recv() => call,
                // Cancel-safe: cancelled() holds no state.
                () = stop.cancelled() => None,
            };
            let Some(call) = call else { break };
            let tls = self.tls.clone();
            swarm.spawn(async move {
                let HookCall { url, question, reply } = *call;
                let said = ask(&url, &question, &tls, HOOK_DEADLINE).await;
                match &said {
                    Ok(answer) => info!(url, allows = answer.allow_provisioning, "hook answered"),
                    Err(HookFailure::Silent(why)) => warn!(url, why, "hook did not answer"),
                    Err(HookFailure::Unusable(why)) => warn!(url, why, "hook gave an answer that is not usable"),
                }
                reply.said(said).await;
                drop(place);
            });
        }
        // Their devices ask again after the restart.
        swarm.drain(HOOK_DEADLINE).await;
    }
}

/// Asks one hook.
///
/// Errors: why it said nothing that counts.
async fn ask(
    url: &str,
    question: &HookQuestion,
    tls: &Result<Arc<ClientConfig>, String>,
    deadline: Duration,
) -> Result<HookAnswer, HookFailure> {
    match timeout(deadline, converse(url, question, tls)).await {
        Ok(Ok((status, body))) => answer_of(status, &body).map_err(HookFailure::Unusable),
        Ok(Err(why)) => Err(HookFailure::Silent(why)),
        Err(_) => Err(HookFailure::Silent(format!("it took longer than {} ms", deadline.as_millis()))),
    }
}

/// Status and body of the answer.
async fn converse(
    url: &str,
    question: &HookQuestion,
    tls: &Result<Arc<ClientConfig>, String>,
) -> Result<(StatusCode, Bytes), String> {
    let words = |what: &'static str| move |error: Cause| format!("{what}: {error}");
    let uri: Uri = url.parse().map_err(|_| "its address is no URL".to_owned())?;
    let host = uri.host().ok_or("its address names no host")?.trim_matches(['[', ']']).to_owned();
    let is_https = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if is_https { 443 } else { 80 });
    let body = serde_json::to_vec(question).map_err(|error| error.to_string())?;
    let request = Request::builder()
        .method(Method::POST)
        .uri(uri.path_and_query().map_or("/", |path| path.as_str()))
        .header("host", uri.authority().map_or(host.as_str(), |authority| authority.as_str()))
        .header("content-type", "application/json")
        .header("connection", "close")
        .header("content-length", body.len())
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| error.to_string())?;
    let tcp = TcpStream::connect((host.as_str(), port)).await;
    let tcp = tcp.map_err(|error| format!("it cannot be reached: {error}"))?;
    let answer = if is_https {
        let name = ServerName::try_from(host).map_err(|_| "its host is no name for TLS".to_owned())?;
        let connector = TlsConnector::from(tls.clone()?);
        let stream = connector.connect(name, tcp).await.map_err(|error| format!("TLS with it failed: {error}"))?;
        exchange(stream, request).await
    } else {
        exchange(tcp, request).await
    };
    let answer = answer.map_err(words("its answer was not whole"))?;
    Ok((answer.status, answer.body))
}

/// What an answer says. Errors, in words: what it is instead.
fn answer_of(status: StatusCode, body: &[u8]) -> Result<HookAnswer, String> {
    if !status.is_success() {
        return Err(format!("it answered with HTTP status {}", status.as_u16()));
    }
    let fields = match serde_json::from_slice(body) {
        Ok(Value::Object(fields)) => fields,
        Ok(_) => return Err("its answer is JSON, but no object like {\"allowProvisioning\": true}".to_owned()),
        Err(_) => return Err("its answer is not JSON".to_owned()),
    };
    if !fields.get("allowProvisioning").is_some_and(Value::is_boolean) {
        return Err("its answer has no allowProvisioning that is true or false".to_owned());
    }
    serde_json::from_value(Value::Object(fields))
        .map_err(|_| "the parameterOverrides of its answer are not an object of texts".to_owned())
}

#[cfg(test)]
mod tests;
