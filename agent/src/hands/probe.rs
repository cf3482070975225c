//! One try of a component's probe.

use super::command;
use super::http::{Endpoint, HttpError, get};
use super::installed::Unit;
use crate::dial::Way;
use crate::settings::Server;
use muster_model::component::{ExitMeaning, PortSource, Probe};
use std::net::Ipv4Addr;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Tries the probe once. The error says why it did not pass, for people.
pub async fn probe(unit: &Unit) -> Result<(), String> {
    let health = &unit.recipe.health;
    match timeout(health.timeout, attempt(unit, &health.probe)).await {
        Ok(result) => result,
        Err(_) => Err(format!("the probe was not over within {} s", health.timeout.as_secs_f64())),
    }
}

/// The port that the component listens on, as far as its recipe tells.
pub fn port(unit: &Unit) -> Option<u16> {
    resolve(unit, unit.recipe.port()?).ok()
}

/// Removes what a former process wrote about its port: a stale number would have the probe ask a stranger.
pub fn forget_port(unit: &Unit) -> std::io::Result<()> {
    match unit.recipe.port() {
        Some(PortSource::File(file)) => crate::platform::remove_link(&unit.home.data().join(file)),
        _ => Ok(()),
    }
}

async fn attempt(unit: &Unit, probe: &Probe) -> Result<(), String> {
    match probe {
        Probe::Http { path, port } => http(resolve(unit, port)?, path).await,
        Probe::Tcp { port } => {
            let port = resolve(unit, port)?;
            let connected = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await;
            connected.map(drop).map_err(|error| format!("port {port} takes no connection: {error}"))
        }
        Probe::Command { argv } => match command::run(unit, argv, unit.recipe.health.timeout).await? {
            ExitMeaning::Done => Ok(()),
            ExitMeaning::Usage => Err("the probe command ended with exit code 1 (usage)".to_owned()),
            ExitMeaning::Failed => Err("the probe command failed".to_owned()),
            ExitMeaning::TryLater => Err("the probe command ended with exit code 3 (try later)".to_owned()),
        },
    }
}

async fn http(port: u16, path: &str) -> Result<(), String> {
    let request = get("localhost", path).map_err(|error| format!("cannot ask for {path}: {error}"))?;
    let endpoint =
        Endpoint { server: Server { host: Ipv4Addr::LOCALHOST.to_string(), port }, way: Way::Direct, tls: None };
    let status = endpoint.exchange::<_, HttpError, _>(request, async |answer| Ok(answer.status()));
    match status.await {
        Ok(status) if status.is_success() => Ok(()),
        Ok(status) => Err(format!("{path} on port {port} answers {status}")),
        Err(error) => Err(error.to_string()),
    }
}

fn resolve(unit: &Unit, port: &PortSource) -> Result<u16, String> {
    match port {
        PortSource::Fixed(port) => Ok(*port),
        PortSource::File(file) => {
            let text = std::fs::read_to_string(unit.home.data().join(file))
                .map_err(|error| format!("it has not written its port to {file}: {error}"))?;
            let port = text.trim().parse::<u16>().ok().filter(|port| *port > 0);
            port.ok_or_else(|| format!("{file} holds no port number"))
        }
    }
}
