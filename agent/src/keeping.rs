//! The link and the keeper of the identity, put together: the running agent and `muster-agent renew` both need them.

use crate::counter::Counter;
use crate::identity::Identity;
use crate::keeper::{self, Keeper};
use crate::link::{self, Ears, Outgoing, QUEUE, Said, Target};
use crate::places::Prefix;
use crate::settings::Settings;
use crate::tls::Tls;
use muster_certs::store;
use muster_runtime::clock::Clock;
use muster_runtime::failure::Failure;
use muster_runtime::tasks::{OnExit, TaskGroup};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// The identity of this host, as its settings want it used.
pub fn identity(prefix: &Prefix, settings: &Settings) -> Result<Identity, Failure> {
    let identity = Identity::load(prefix)?;
    if identity.name != settings.name {
        return Err(Failure::local(format!(
            "{} says name = {:?}, but the certificate is for {}; correct the name",
            prefix.settings().display(),
            settings.name,
            identity.name
        )));
    }
    match &settings.ca_file {
        Some(path) => {
            let ca = store::read_pem(path).map_err(|error| Failure::local_because("ca_file cannot be used", error))?;
            Ok(identity.trusting_only(ca))
        }
        None => Ok(identity),
    }
}

/// The link, and who keeps its identity good, ready to be started.
pub struct Keeping {
    target: Target,
    https: Tls,
    keeper: Keeper,
    ears: Ears,
    outbox: mpsc::Sender<Outgoing>,
    to_send: mpsc::Receiver<Outgoing>,
}

impl Keeping {
    /// Puts them together. What is not about certificates goes to `agent`.
    pub fn new(
        prefix: &Prefix,
        identity: Identity,
        settings: &Settings,
        clock: &Clock,
        counter: Arc<Counter>,
        agent: mpsc::Sender<Said>,
        stop: &CancellationToken,
    ) -> Result<Self, Failure> {
        let (outbox, to_send) = mpsc::channel(QUEUE);
        let (ears, heard) = mpsc::channel(QUEUE);
        let https = Tls::of(&identity, &[b"http/1.1"], clock)?;
        let target = Target {
            server: settings.server.clone(),
            way: settings.proxy.way(&settings.server),
            thing: identity.name.clone(),
            tls: Tls::of(&identity, &[b"x-amzn-mqtt-ca"], clock)?,
            heartbeat: settings.heartbeat,
            counter: Some(counter),
        };
        let keeper = Keeper::new(keeper::Parts {
            prefix: prefix.clone(),
            identity,
            target: target.clone(),
            https: https.clone(),
            clock: clock.clone(),
            verify_interval: settings.verify_interval,
            agent: agent.clone(),
            outbox: outbox.clone(),
            heard,
            stop: stop.clone(),
        });
        let ears = Ears { agent, keeper: ears };
        Ok(Self { target, https, keeper, ears, outbox, to_send })
    }

    /// The TLS settings for HTTPS, which stay in step with the identity.
    pub fn https(&self) -> Tls {
        self.https.clone()
    }

    /// How the server is reached over MQTT by a connection beside the link, which nobody counts. In step as well.
    pub fn uncounted(&self) -> Target {
        Target { counter: None, ..self.target.clone() }
    }

    /// The way to the link.
    pub fn outbox(&self) -> mpsc::Sender<Outgoing> {
        self.outbox.clone()
    }

    /// Starts them.
    pub fn spawn(self, tasks: &mut TaskGroup, stop: &CancellationToken) {
        tasks.spawn("link", OnExit::StopAll, link::keep(self.target, self.to_send, self.ears, stop.clone()));
        tasks.spawn("keeper", OnExit::StopAll, self.keeper.run());
    }
}
