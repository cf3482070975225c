//! The last will of a client: checked when it connects, published when its connection ends without its consent.

use super::link::Link;
use crate::application::retained;
use crate::bridge::Shared;
use crate::counters::count;
use crate::policy::named::Rules;
use crate::policy::{Decision, may_publish};
use bytes::Bytes;
use muster_bus::{Caller, Deliveries, Message, NotRetained, Properties, Qos, Stopped};
use muster_wire::topic::Topic;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tracing::{debug, info};

/// What a client wants to be said after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Will {
    pub(crate) topic: Box<str>,
    pub(crate) payload: Bytes,
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    pub(crate) correlation: Option<Bytes>,
    pub(crate) properties: Option<Box<Properties>>,
    /// Counts from the publication.
    pub(crate) expiry: Option<Duration>,
    /// How long a client with a kept session may be away before it is said.
    pub(crate) delay: Duration,
}

/// Why a will is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadWill {
    /// Nobody could hear it.
    Topic,
    /// The client may not publish there.
    Denied,
    /// Only messages of applications are retained.
    Retain,
}

impl Will {
    /// Whether the client may leave this will.
    pub(crate) fn check(&self, shared: &Shared, caller: &Caller, rules: Option<&Rules>) -> Result<(), BadWill> {
        let topic = Topic::parse(&self.topic).map_err(|_| BadWill::Topic)?;
        if !self.is_allowed(shared, caller, rules, &topic) {
            return Err(BadWill::Denied);
        }
        match topic {
            Topic::Application(_) if !shared.mqtt.fits(&self.topic) => Err(BadWill::Topic),
            Topic::Application(_) => Ok(()),
            // Nobody subscribes to these: a will there would be a request that nobody answers.
            Topic::Operator { .. } | Topic::Telemetry { .. } | Topic::Provisioning(_) | Topic::Elsewhere { .. } => {
                Err(BadWill::Topic)
            }
            _ if self.retain => Err(BadWill::Retain),
            _ => Ok(()),
        }
    }

    fn is_allowed(&self, shared: &Shared, caller: &Caller, rules: Option<&Rules>, topic: &Topic) -> bool {
        let may_retain = || rules.is_none_or(|rules| rules.may_retain(topic) == Decision::Allow);
        may_publish(&shared.mqtt, caller, rules, topic) == Decision::Allow && (!self.retain || may_retain())
    }

    /// Says it. One on a topic of the service reaches those who listen there and changes nothing, as in AWS IoT Core.
    /// What the policies of its client have forbidden since is not said.
    pub(crate) fn publish(self, shared: &Arc<Shared>, link: &Link) {
        let (caller, session) = (&link.caller, link.session);
        let Ok(topic) = Topic::parse(&self.topic) else { return };
        if !self.is_allowed(shared, caller, link.rules().as_deref(), &topic) {
            return info!(identity = %caller.identity, topic = %self.topic, "a will is denied now");
        }
        let now = shared.clock.now();
        let mut properties = self.properties;
        if let Some(expiry) = self.expiry {
            properties.get_or_insert_default().expires = Some(now.plus(expiry));
        }
        let message = Message {
            topic: self.topic,
            payload: self.payload,
            qos: self.qos,
            retained: false,
            retain: self.retain,
            origin: session,
            correlation: self.correlation,
            properties,
        };
        count(&shared.counters.wills);
        debug!(identity = %caller.identity, topic = %message.topic, "will published");
        match topic.thing() {
            Some(thing) => shared.bus.deliver(thing, &Arc::new(message)),
            None if message.retain => say_retained(shared, link, message),
            None => shared.bus.spread(&Arc::new(message)),
        }
    }
}

/// Says a retained will. One that cannot be retained is said all the same: nobody is there to say it again.
fn say_retained(shared: &Arc<Shared>, link: &Link, message: Message) {
    let outcome = retained::retain(shared, message.clone());
    if Handle::try_current().is_err() {
        // The process ends, and nobody is left to be told.
        return;
    }
    let (known, caller) = (shared.clone(), link.caller.clone());
    shared.swarm.spawn(async move {
        let outcome = match outcome {
            Ok(outcome) => outcome.await,
            Err(Stopped) => Err(NotRetained::Failed),
        };
        if let Err(error) = outcome {
            count(&known.counters.retained_refused);
            info!(identity = %caller.identity, topic = %message.topic, %error, "a will is not retained");
            known.bus.spread(&Arc::new(message));
        }
    });
}
