//! The servers under load: prepared once, started fresh for every run.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result};
use rustls::ClientConfig;
use serde::Serialize;

use super::{identity::Trust, scenario::Target, traffic, trigger::Trigger};

mod daemon;
mod mosquitto;
mod muster;
mod register;

pub use daemon::Daemon;
use mosquitto::Mosquitto;
use muster::Muster;

/// The servers by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// This project's server.
    Muster,
    /// Debian's `mosquitto`, with a stand-in where Muster has services.
    Mosquitto,
}

/// Where the servers are and how they are used.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The `muster` program (default: beside this program)
    #[arg(long)]
    pub muster: Option<PathBuf>,
    /// The `mosquitto` program
    #[arg(long, default_value = "/usr/sbin/mosquitto")]
    pub mosquitto: PathBuf,
    /// Folder for throwaway certificates and for the servers' data; on a real disk, or durable writes look too
    /// cheap (default: `load` in the target folder)
    #[arg(long)]
    pub cache: Option<PathBuf>,
    /// QoS between mosquitto and its stand-in responder
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=1))]
    pub stand_in_qos: u8,
    /// Shell command that starts the fan-out on Muster, instead of an operator request; it finds MUSTER_DATA, JOB_ID,
    /// TARGET_PREFIX and TARGET_COUNT in its environment
    #[arg(long)]
    pub trigger: Option<String>,
}

/// A server that can be started.
#[derive(Debug)]
pub struct Prepared {
    kind: Kind,
    identities: Arc<[Arc<ClientConfig>]>,
    server: Server,
}

#[derive(Debug)]
enum Server {
    Muster(Muster),
    Mosquitto(Mosquitto),
}

/// A started server, with all that was started for it. Dropped, it is killed.
#[derive(Debug)]
pub struct Running {
    /// What the load needs to know of it.
    pub target: Target,
    /// Address without TLS, when it has one.
    plain: Option<SocketAddr>,
    stand_in: Option<Daemon>,
    daemon: Daemon,
    /// Holds what the server needs while it runs.
    _dir: Option<tempfile::TempDir>,
}

impl Prepared {
    /// Makes what the server needs (data, authority) and `count` device certificates, and reads them.
    pub fn new(kind: Kind, options: &Options, count: usize) -> Result<Self> {
        let cache = options.cache()?;
        match kind {
            Kind::Muster => {
                Self::muster(Muster::prepare(options, &cache, count).context("cannot prepare muster")?, count)
            }
            Kind::Mosquitto => {
                let mosquitto = Mosquitto::prepare(options, &cache, count).context("cannot prepare mosquitto")?;
                let certificates = mosquitto.certificates();
                Self::read(kind, Server::Mosquitto(mosquitto), &certificates, count)
            }
        }
    }

    /// Muster with `things` registered, each with a shadow; the first `count` of them are the clients.
    pub fn with_registered(options: &Options, count: usize, things: usize) -> Result<Self> {
        let muster = Muster::registered(options, &options.cache()?, things);
        Self::muster(muster.with_context(|| format!("cannot register {things} things with muster"))?, count)
    }

    fn muster(muster: Muster, count: usize) -> Result<Self> {
        let certificates = muster.certificates();
        Self::read(Kind::Muster, Server::Muster(muster), &certificates, count)
    }

    fn read(kind: Kind, server: Server, certificates: &Path, count: usize) -> Result<Self> {
        let trust = Trust::load(&certificates.join("ca.crt"))?;
        let identities =
            (0..count).map(|index| trust.identity(certificates, &traffic::thing(index))).collect::<Result<_>>()?;
        Ok(Self { kind, identities, server })
    }

    /// Which server it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Starts it with fresh data and waits until it accepts connections.
    pub fn start(&self) -> Result<Running> {
        let started = match &self.server {
            Server::Muster(muster) => muster.start()?,
            Server::Mosquitto(mosquitto) => mosquitto.start()?,
        };
        Ok(Running {
            target: Target { pid: started.daemon.pid(), addr: started.addr, identities: Arc::clone(&self.identities) },
            plain: started.plain,
            stand_in: None,
            daemon: started.daemon,
            _dir: started.dir,
        })
    }

    /// Starts what answers shadow updates, where the server does not, and returns its process.
    pub fn start_stand_in(&self, running: &mut Running) -> Result<Option<u32>> {
        if let (Server::Mosquitto(mosquitto), Some(plain)) = (&self.server, running.plain) {
            running.stand_in = Some(mosquitto.start_stand_in(plain)?);
        }
        Ok(running.stand_in.as_ref().map(Daemon::pid))
    }

    /// How a job reaches the things of this server.
    pub fn trigger(&self, running: &Running) -> Result<Trigger> {
        match &self.server {
            Server::Muster(muster) => muster.trigger(),
            Server::Mosquitto(_) => {
                running.plain.map(Trigger::Publish).context("mosquitto has no listener without TLS")
            }
        }
    }
}

impl Running {
    /// Stops it, and fails when it had ended before it was asked to.
    pub fn stop(self) -> Result<()> {
        let stand_in = self.stand_in.map_or(Ok(()), Daemon::stop);
        self.daemon.stop().and(stand_in)
    }
}

/// What starting a server gives.
struct Started {
    daemon: Daemon,
    addr: SocketAddr,
    plain: Option<SocketAddr>,
    dir: Option<tempfile::TempDir>,
}

impl Options {
    fn cache(&self) -> Result<PathBuf> {
        let dir = match &self.cache {
            Some(dir) => dir.clone(),
            None => {
                let program = std::env::current_exe().context("cannot find this program's own path")?;
                let target = program
                    .ancestors()
                    .nth(2)
                    .context("this program is not in a target folder; name one with --cache")?;
                target.join("load")
            }
        };
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        dir.canonicalize().with_context(|| format!("cannot use {}", dir.display()))
    }
}
