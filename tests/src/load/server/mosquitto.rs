//! mosquitto with mutual TLS, set up to be as quick as it can be: nothing persisted, no limits, no log.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::{Daemon, Options, Started};
use crate::load::{mint, responder};

#[derive(Debug)]
pub struct Mosquitto {
    program: PathBuf,
    certificates: PathBuf,
    stand_in_qos: u8,
    logs: PathBuf,
}

impl Mosquitto {
    pub fn prepare(options: &Options, cache: &Path, count: usize) -> Result<Self> {
        let certificates = cache.join("mosquitto-certificates");
        mint::ensure(&certificates, count)?;
        Ok(Self {
            program: options.mosquitto.clone(),
            certificates,
            stand_in_qos: options.stand_in_qos,
            logs: cache.to_owned(),
        })
    }

    pub fn certificates(&self) -> PathBuf {
        self.certificates.clone()
    }

    pub fn start(&self) -> Result<Started> {
        let dir = tempfile::tempdir().context("cannot create a folder for mosquitto's settings")?;
        let (addr, plain) = free_addresses()?;
        let settings = dir.path().join("mosquitto.conf");
        fs::write(&settings, self.settings(addr, plain))
            .with_context(|| format!("cannot write {}", settings.display()))?;
        let mut command = Command::new(&self.program);
        command.arg("-c").arg(&settings);
        let mut daemon = Daemon::spawn(command, &self.logs.join("mosquitto.log"))?;
        daemon.wait_until("it listens", || TcpStream::connect(addr).and(TcpStream::connect(plain)).is_ok())?;
        Ok(Started { daemon, addr, plain: Some(plain), dir: Some(dir) })
    }

    /// Answers updates in Muster's place; a process of its own, so that its cost can be told apart.
    pub fn start_stand_in(&self, plain: SocketAddr) -> Result<Daemon> {
        let mut command = Command::new(std::env::current_exe().context("cannot find this program's own path")?);
        command.args(["responder", "--broker", &plain.to_string(), "--qos", &self.stand_in_qos.to_string()]);
        let mut daemon = Daemon::spawn(command, &self.logs.join("responder.log"))?;
        daemon.wait_line(responder::READY)?;
        Ok(daemon)
    }

    fn settings(&self, addr: SocketAddr, plain: SocketAddr) -> String {
        let file = |name: &str| self.certificates.join(name).display().to_string();
        // Started by root it would change to a user that may not read the certificates.
        let user = if rustix::process::geteuid().is_root() { "user root\n" } else { "" };
        format!(
            "{user}per_listener_settings true
persistence false
set_tcp_nodelay true
max_inflight_messages 0
max_queued_messages 0
max_connections -1
log_dest stderr
log_type error
log_type warning
listener {} {}
cafile {}
certfile {}
keyfile {}
require_certificate true
use_identity_as_username true
allow_anonymous false
listener {} {}
allow_anonymous true
",
            addr.port(),
            addr.ip(),
            file("ca.crt"),
            file(&format!("{}.crt", mint::SERVER)),
            file(&format!("{}.key", mint::SERVER)),
            plain.port(),
            plain.ip(),
        )
    }
}

/// Two free addresses. mosquitto cannot pick its port, so another program may take one first; then it ends and says so.
fn free_addresses() -> Result<(SocketAddr, SocketAddr)> {
    let open = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot find a free port");
    let (one, two) = (open()?, open()?);
    Ok((one.local_addr()?, two.local_addr()?))
}
