//! `muster serve`: composes the door, the services and the store, and takes them down again in order.

mod certificate;
mod operators;

use crate::datadir::{DataDir, ServerAddresses};
use crate::error::CliError;
use crate::hooks::{self, HookQueue};
use crate::output::say;
use crate::settings::Settings;
use aws_lc_rs::digest::{SHA256, digest};
use certificate::OwnCertificate;
use muster_broker_bridge::{Bridge, BridgeConfig, Gate, Listener, Refusal, Signer};
use muster_bus::{Caller, EmbeddedBus};
use muster_certs::store::{read_pem, write_secret};
use muster_certs::{AccessMaster, Fleet, Identity, Role, Vault};
use muster_runtime::clock::Clock;
use muster_runtime::faults;
use muster_runtime::ids::{random_bytes, random_hex};
use muster_runtime::tasks::{OnExit, TaskGroup};
use muster_runtime::telemetry;
use muster_shadow::admission::Admission;
use muster_shadow::service::{Service, ServiceConfig};
use muster_shadow::store::{Ledgered, SledSettings, SledStore, Store};
use muster_wire::admin::{AgentDownload, KeyPolicy};
use muster_wire::enrol::AGENT_PATH_PREFIX;
use muster_wire::id::{AccessKeyId, Sha256Hex};
use muster_wire::limits::{CONNECTIONS_MAX, SHUTDOWN_GRACE};
use muster_wire::policy::Grants;
use operators::Operators;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// Worker threads for things. Two keep two cores busy and still share a flush.
const PARTITIONS: usize = 2;
/// Open files for every connection, and some for the store and downloads.
const FILES_WANTED: u64 = CONNECTIONS_MAX as u64 + 100;

/// How to serve; flags win over the settings file.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// The data folder.
    pub data: PathBuf,
    /// The port for MQTT and HTTPS. When it is given, the second port of the settings file does not count.
    pub listen: Option<SocketAddr>,
    /// The second port.
    pub mqtt_listen: Option<SocketAddr>,
}

/// Serves until it is told to stop.
pub async fn run(options: ServeOptions) -> Result<(), CliError> {
    let data = DataDir::open(&options.data)?;
    let settings = Settings::read(&data.settings())?;
    telemetry::init(&settings.log_level, settings.log_format);
    raise_file_limit();
    let clock = Clock::system();
    let stop = CancellationToken::new();
    let fatal = Arc::new(Mutex::new(None));

    let store = open_store(&data, &settings)?;
    let (bus, inboxes) = EmbeddedBus::new(PARTITIONS);
    let agent_binary = agent_binary(&settings);
    let admission = Admission::new();
    let vault = vault(&data)?;
    let fleet = vault.active().fleet().clone();
    let gate = Arc::new(Admitted { admission: admission.clone(), fleet, access_master: access_master(&data)? });
    let own = OwnCertificate {
        data: data.clone(),
        vault: vault.clone(),
        life: settings.server_certificate_life,
        clock: clock.clone(),
        operators: operators(&data, gate.clone()),
    };
    let trust_changed = Arc::new(Notify::new());
    let bridge = Bridge::new(bridge_config(&own, &settings, agent_binary.clone(), gate)?, bus.clone())
        .map_err(|error| CliError::local_because("cannot open the door", error))?;
    let (first, second) = bind(&bridge, &options, &settings).await?;

    let trust = Trust { vault, changed: trust_changed.clone() };
    let (hooks, desk) = hooks::desk(settings.hook_ca.as_deref())?;
    let on_fatal = (stop.clone(), fatal.clone());
    let config = service_config(&data, &settings, agent_binary.as_deref(), admission, trust, hooks, on_fatal)?;
    let starting = (store.clone(), bus.clone(), clock.clone());
    let service = tokio::task::spawn_blocking(move || {
        let (store, bus, clock) = starting;
        Service::start(config, store, bus, inboxes, clock)
    })
    .await
    .map_err(|error| CliError::local_because("the services did not start", error))?
    .map_err(|error| CliError::local_because("the services did not start", error))?;

    let https = first.local_addr();
    let mqtt = second.as_ref().map_or(https, Listener::local_addr);
    let mut tasks = TaskGroup::new(stop.clone());
    tasks.spawn("listener", OnExit::StopAll, first.run(stop.clone()));
    if let Some(second) = second {
        tasks.spawn("second listener", OnExit::StopAll, second.run(stop.clone()));
    }
    tasks.spawn("own certificate", OnExit::Log, own.keep(bridge.clone(), trust_changed, stop.clone()));
    tasks.spawn("hooks", OnExit::StopAll, desk.run(stop.clone()));
    tasks.spawn("signals", OnExit::StopAll, signals(stop.clone()));

    data.write_server_addresses(&ServerAddresses { https: https.to_string(), mqtt: Some(mqtt.to_string()) })?;
    say(&format!("ready https={https} mqtt={mqtt}"));
    info!(%https, %mqtt, "ready");

    let ended = tasks.join(SHUTDOWN_GRACE).await;
    info!("stopping");
    // The workers finish what was submitted; then nobody holds the store but us.
    let stopped = tokio::task::spawn_blocking(move || service.stop()).await;
    drop((bus, store));
    if let Some(reason) = fatal.lock().unwrap_or_else(PoisonError::into_inner).take() {
        return Err(CliError::local(format!("the services cannot go on: {reason}")));
    }
    stopped.map_err(|error| CliError::local_because("the services did not stop cleanly", error))?;
    ended.map_err(|error| CliError::local_because("the server did not stop cleanly", error))
}

fn open_store(data: &DataDir, settings: &Settings) -> Result<Arc<dyn Store>, CliError> {
    let sled = SledSettings { cache_bytes: settings.cache_bytes, ..SledSettings::default() };
    let store = SledStore::open(&data.store(), &sled)
        .map_err(|error| CliError::local_because("cannot open the store", error))?;
    let store = Ledgered::open(store, &data.ledger(), &random_hex::<16>())
        .map_err(|error| CliError::local_because("cannot open the ledger", error))?;
    Ok(Arc::new(store))
}

/// The door's question, answered by the services' table.
struct Admitted {
    admission: Arc<Admission>,
    fleet: Fleet,
    access_master: AccessMaster,
}

impl Gate for Admitted {
    fn speaks_for(&self, identity: Identity, certificate: &str) -> Identity {
        self.admission.speaks_for(identity, certificate)
    }

    fn admits(&self, caller: &Caller) -> Result<(), Refusal> {
        let admitted = self.admission.admits(&caller.identity, &caller.certificate_id);
        admitted.map_err(|denied| Refusal { reason: denied.to_string() })
    }

    fn grants(&self, caller: &Caller) -> Option<Arc<Grants>> {
        self.admission.grants(&caller.identity)
    }

    fn signer(&self, id: &AccessKeyId) -> Result<Signer, Refusal> {
        let key = self.admission.admits_key(id).map_err(|denied| Refusal { reason: denied.to_string() })?;
        let (role, name) = match &key.policy {
            KeyPolicy::Observer => (Role::Observer, id.as_str()),
            KeyPolicy::Operator => (Role::Operator, id.as_str()),
            KeyPolicy::Connector(thing) => (Role::Connector, thing.as_str()),
        };
        let identity = Identity::new(self.fleet.clone(), role, name);
        let identity = identity.map_err(|error| Refusal { reason: error.to_string() })?;
        Ok(Signer { identity, secret: self.access_master.secret(id) })
    }
}

/// The master secret of access keys; made when there is none.
fn access_master(data: &DataDir) -> Result<AccessMaster, CliError> {
    let path = data.access_master();
    let unusable = |error: crate::error::Cause| {
        CliError::local_because(format!("cannot use the master secret of access keys {}", path.display()), error)
    };
    if !path.exists() {
        let made = AccessMaster::from_random(random_bytes());
        write_secret(&path, made.to_pem().as_bytes()).map_err(|error| unusable(error.into()))?;
        return Ok(made);
    }
    let pem = read_pem(&path).map_err(|error| unusable(error.into()))?;
    AccessMaster::from_pem(&pem).map_err(|error| unusable(error.into()))
}

/// The operators of this folder, if they are let in.
fn operators(data: &DataDir, gate: Arc<Admitted>) -> Operators {
    Operators::of(data.clone(), Box::new(move |identity, id| gate.admission.admits(identity, id).is_ok()))
}

/// Who issues certificates, and how the door learns that this, or whom it trusts, has changed.
struct Trust {
    vault: Arc<Vault>,
    changed: Arc<Notify>,
}

fn bridge_config(
    own: &OwnCertificate,
    settings: &Settings,
    agent_binary: Option<PathBuf>,
    gate: Arc<dyn Gate>,
) -> Result<BridgeConfig, CliError> {
    Ok(BridgeConfig {
        fleet: own.vault.active().fleet().clone(),
        tls: own.tls()?,
        artifacts_dir: own.data.artifacts(),
        agent_binary,
        clock: own.clock.clone(),
        gate,
        mqtt: settings.mqtt.clone(),
    })
}

fn service_config(
    data: &DataDir,
    settings: &Settings,
    agent_binary: Option<&Path>,
    admission: Arc<Admission>,
    trust: Trust,
    hooks: Arc<HookQueue>,
    (stop, fatal): (CancellationToken, Arc<Mutex<Option<String>>>),
) -> Result<ServiceConfig, CliError> {
    let publisher_key = std::fs::read_to_string(data.publisher_public()).map_err(|error| {
        CliError::local_because(format!("cannot read the publisher's key {}", data.publisher_public().display()), error)
    })?;
    Ok(ServiceConfig {
        vault: trust.vault,
        certificate_life: settings.certificate_life,
        on_trust_change: Box::new(move || trust.changed.notify_one()),
        publisher_key: publisher_key.trim().to_owned(),
        artifacts_dir: data.artifacts(),
        data_dir: data.root().to_owned(),
        agent: agent_binary.map(agent_download).transpose()?,
        token_life: settings.enrolment_token_life,
        offline_after: settings.offline_after,
        access_master: access_master(data)?,
        admission,
        hooks,
        shadow_depth_max: settings.shadow_depth_max,
        retained: settings.retained,
        on_fatal: Box::new(move |reason| {
            error!(reason, "the services cannot go on");
            fatal.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(reason);
            stop.cancel();
        }),
    })
}

fn vault(data: &DataDir) -> Result<Arc<Vault>, CliError> {
    let opened = Vault::open_watched(&data.authority(), || faults::point("server.ca.file"));
    opened.map(Arc::new).map_err(|error| CliError::local_because("the authority is not usable", error))
}

/// The agent that is offered for download: the one in the settings, or the one beside this program.
fn agent_binary(settings: &Settings) -> Option<PathBuf> {
    settings.agent_binary.clone().or_else(|| {
        let beside = std::env::current_exe().ok()?.with_file_name("muster-agent");
        beside.is_file().then_some(beside)
    })
}

fn agent_download(path: &Path) -> Result<AgentDownload, CliError> {
    let bytes = std::fs::read(path)
        .map_err(|error| CliError::local_because(format!("cannot read the agent {}", path.display()), error))?;
    let mut sha256 = [0; 32];
    sha256.copy_from_slice(digest(&SHA256, &bytes).as_ref());
    Ok(AgentDownload {
        path: format!("{AGENT_PATH_PREFIX}linux-{}/muster-agent", std::env::consts::ARCH),
        sha256: Sha256Hex::from_bytes(&sha256),
        size: bytes.len() as u64,
    })
}

async fn bind(
    bridge: &Bridge,
    options: &ServeOptions,
    settings: &Settings,
) -> Result<(Listener, Option<Listener>), CliError> {
    let second = match (options.listen, options.mqtt_listen) {
        (_, Some(flag)) => Some(flag),
        (Some(_), None) => None,
        (None, None) => settings.mqtt_listen,
    };
    let closed = |error| CliError::local_because("the port did not open", error);
    let first = bridge.bind(options.listen.unwrap_or(settings.listen)).await.map_err(closed)?;
    let second = match second {
        Some(address) => Some(bridge.bind_mqtt(address).await.map_err(closed)?),
        None => None,
    };
    Ok((first, second))
}

/// Every connection is a file: takes as many as the system allows this process.
fn raise_file_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        warn!(%error, ?current, ?maximum, "the limit of open files stays as it is");
    }
    let files = getrlimit(Resource::Nofile).current;
    if files.is_some_and(|files| files < FILES_WANTED) {
        warn!(?files, wanted = FILES_WANTED, "few open files are allowed, so few connections; raise `ulimit -n`");
    }
}

/// Ends when the operating system asks the process to stop.
async fn signals(stop: CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        error!("cannot listen for signals; stop the server with SIGKILL");
        return stop.cancelled().await;
    };
    // Cancel-safe: recv() keeps a signal that it did not return.
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        () = stop.cancelled() => {}
    }
    stop.cancel();
}
