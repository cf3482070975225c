//! The bridge: what all its listeners and connections share.

use crate::counters::{Budget, Counters, CountersSnapshot};
use crate::crowd::Crowd;
use crate::door::arrival::Spoken;
use crate::door::listener::{BindError, Listener};
use crate::door::offenders::Offenders;
use crate::door::recent::Recent;
use crate::http::artifacts::ArtifactStore;
use crate::http::throttle::Throttle;
use crate::keeper::Keeper;
use crate::sessions::Sessions;
use crate::settings::MqttSettings;
use muster_bus::{Caller, EmbeddedBus};
use muster_certs::AccessSecret;
use muster_certs::identity::{Fleet, Identity};
use muster_runtime::clock::Clock;
use muster_runtime::ids::random_bytes;
use muster_runtime::tasks::Swarm;
use muster_wire::id::{AccessKeyId, ThingName};
use muster_wire::limits::{
    CONNECTIONS_MAX, HANDSHAKES_MAX, HANDSHAKES_PER_ADDRESS_MAX, HTTP_ANONYMOUS_DEADLINE, HTTP_ANONYMOUS_MAX,
    HTTP_ANONYMOUS_PER_ADDRESS_MAX,
};
use muster_wire::policy::Grants;
use rustls::ServerConfig;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::Semaphore;

/// Session numbers begin at the start of the process, in seconds, shifted by so much: they grow over restarts too, with
/// room for a million connections a second, and stay exact in JSON.
const SESSIONS_PER_SECOND_BITS: u32 = 20;

/// What a bridge is made of.
pub struct BridgeConfig {
    /// Certificates of other fleets are refused.
    pub fleet: Fleet,
    /// Made by `muster_certs::server_config` with [`crate::ALPN`].
    pub tls: Arc<ServerConfig>,
    /// Where artifacts are kept; made if it does not exist.
    pub artifacts_dir: PathBuf,
    /// The agent that hosts download, if this server offers it.
    pub agent_binary: Option<PathBuf>,
    /// The time.
    pub clock: Clock,
    /// Who is let in beyond what the certificate says.
    pub gate: Arc<dyn Gate>,
    /// What may be set about MQTT.
    pub mqtt: MqttSettings,
}

/// Says whether a verified client is let in: the place of revocation. Asked twice on every connection, on every HTTP
/// request of a client with a certificate, and again about connections that stand when somebody's standing changed: it
/// must be quick and may not wait.
pub trait Gate: Send + Sync + 'static {
    /// Whom a verified certificate speaks for: what it says itself, unless it was issued before its name was known.
    fn speaks_for(&self, identity: Identity, _certificate: &str) -> Identity {
        identity
    }

    /// Whether this client is let in.
    fn admits(&self, caller: &Caller) -> Result<(), Refusal>;

    /// What was granted to a connector by name; `None` when it may what every connector may. The same grants are the
    /// same value: what is made of them is kept until it changes.
    fn grants(&self, _caller: &Caller) -> Option<Arc<Grants>> {
        None
    }

    /// Who signs with the access key of this id, and the secret to check that with. Asked on every signed request.
    fn signer(&self, key: &AccessKeyId) -> Result<Signer, Refusal> {
        Err(Refusal { reason: format!("access key {key}: no access keys are used here") })
    }
}

/// Who may sign requests.
#[derive(Clone, Debug)]
pub struct Signer {
    /// Who it is.
    pub identity: Identity,
    /// What they sign with.
    pub secret: AccessSecret,
}

/// Why a client is not let in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Refusal {
    /// For the log.
    pub reason: String,
}

/// Lets in every client with a valid certificate of the fleet.
#[cfg(test)]
pub(crate) struct AdmitAll;

#[cfg(test)]
impl Gate for AdmitAll {
    fn admits(&self, _caller: &Caller) -> Result<(), Refusal> {
        Ok(())
    }
}

/// Why a bridge could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BridgeError {
    /// The folder for artifacts is not usable.
    #[error("cannot use the artifact folder {path}; check that it can be written by this user")]
    Artifacts {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

/// The door of one server. Cheap to clone.
#[derive(Clone)]
pub struct Bridge {
    shared: Arc<Shared>,
}

/// How much of the door clients without a certificate may use; tests make it small.
pub(crate) struct Caps {
    pub(crate) newcomers_per_address: usize,
    pub(crate) anonymous: usize,
    pub(crate) anonymous_per_address: usize,
    pub(crate) anonymous_deadline: Duration,
}

impl Default for Caps {
    fn default() -> Self {
        Self {
            newcomers_per_address: HANDSHAKES_PER_ADDRESS_MAX,
            anonymous: HTTP_ANONYMOUS_MAX,
            anonymous_per_address: HTTP_ANONYMOUS_PER_ADDRESS_MAX,
            anonymous_deadline: HTTP_ANONYMOUS_DEADLINE,
        }
    }
}

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) fleet: Fleet,
    pub(crate) clock: Clock,
    pub(crate) gate: Arc<dyn Gate>,
    pub(crate) mqtt: MqttSettings,
    pub(crate) bus: Arc<EmbeddedBus>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) keeper: Keeper,
    pub(crate) counters: Arc<Counters>,
    pub(crate) artifacts: ArtifactStore,
    pub(crate) agent_binary: Option<PathBuf>,
    pub(crate) enrolments: Throttle,
    pub(crate) swarm: Swarm,
    pub(crate) handshakes: Arc<Semaphore>,
    /// Connections before CONNECT; how many there are in all is the business of `handshakes`.
    pub(crate) newcomers: Arc<Crowd<IpAddr>>,
    pub(crate) offenders: Offenders,
    pub(crate) recent: Recent,
    /// HTTP connections of clients without a usable certificate.
    pub(crate) anonymous: Arc<Crowd<IpAddr>>,
    pub(crate) anonymous_deadline: Duration,
    /// Shadow requests over HTTP that are not answered yet, by who asks about which thing.
    pub(crate) shadow_requests: Arc<Crowd<(Identity, ThingName)>>,
    pub(crate) connections: Arc<Semaphore>,
    /// Tells the sessions of this process from those of another.
    pub(crate) process: u64,
    tls: RwLock<Arc<ServerConfig>>,
    next_session: AtomicU64,
}

impl Bridge {
    /// A bridge to the services behind `bus`, whose door it becomes.
    ///
    /// Errors: [`BridgeError`].
    pub fn new(config: BridgeConfig, bus: Arc<EmbeddedBus>) -> Result<Self, BridgeError> {
        Self::with_caps(config, bus, Caps::default())
    }

    pub(crate) fn with_caps(config: BridgeConfig, bus: Arc<EmbeddedBus>, caps: Caps) -> Result<Self, BridgeError> {
        let BridgeConfig { fleet, tls, artifacts_dir, agent_binary, clock, gate, mqtt } = config;
        let artifacts = ArtifactStore::open(artifacts_dir.clone())
            .map_err(|source| BridgeError::Artifacts { path: artifacts_dir, source })?;
        let sessions = Arc::new(Sessions::new(gate.clone(), &mqtt));
        bus.open(sessions.clone());
        let started = u64::try_from(clock.now().epoch_seconds()).unwrap_or(0) << SESSIONS_PER_SECOND_BITS;
        let shared = Shared {
            fleet,
            enrolments: Throttle::new(clock.clone()),
            clock,
            gate,
            bus,
            sessions,
            keeper: Keeper::default(),
            counters: Arc::new(Counters {
                waiting: Budget::new(mqtt.sessions_waiting_bytes_max),
                ..Counters::default()
            }),
            shadow_requests: Crowd::new(usize::MAX, mqtt.shadow_requests_max),
            mqtt,
            artifacts,
            agent_binary,
            swarm: Swarm::new(),
            handshakes: Arc::new(Semaphore::new(HANDSHAKES_MAX)),
            newcomers: Crowd::new(HANDSHAKES_MAX, caps.newcomers_per_address),
            offenders: Offenders::default(),
            recent: Recent::default(),
            anonymous: Crowd::new(caps.anonymous, caps.anonymous_per_address),
            anonymous_deadline: caps.anonymous_deadline,
            connections: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            process: u64::from_le_bytes(random_bytes()),
            tls: RwLock::new(tls),
            next_session: AtomicU64::new(started + 1),
        };
        let shared = Arc::new(shared);
        shared.sessions.belong_to(&shared);
        Ok(Self { shared })
    }

    /// Listens on an address; port 0 picks a free one. Connections are accepted once [`Listener::run`] runs.
    ///
    /// Errors: [`BindError`].
    pub async fn bind(&self, address: SocketAddr) -> Result<Listener, BindError> {
        Listener::bind(self.shared.clone(), address, Spoken::MqttAndHttp).await
    }

    /// The same for MQTT alone: whoever speaks HTTP there is hung up on.
    ///
    /// Errors: [`BindError`].
    pub async fn bind_mqtt(&self, address: SocketAddr) -> Result<Listener, BindError> {
        Listener::bind(self.shared.clone(), address, Spoken::MqttAlone).await
    }

    /// Uses other TLS settings for the connections to come.
    pub fn reload_tls(&self, tls: Arc<ServerConfig>) {
        *self.shared.tls.write().unwrap_or_else(PoisonError::into_inner) = tls;
    }

    #[cfg(test)]
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// What was counted so far.
    #[must_use]
    pub fn counters(&self) -> CountersSnapshot {
        self.shared.counters.snapshot()
    }
}

impl Shared {
    pub(crate) fn tls(&self) -> Arc<ServerConfig> {
        self.tls.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn next_session(&self) -> u64 {
        self.next_session.fetch_add(1, Ordering::Relaxed)
    }
}

impl fmt::Debug for Bridge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bridge").field("counters", &self.counters()).finish_non_exhaustive()
    }
}
