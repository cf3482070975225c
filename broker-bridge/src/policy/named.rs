//! Connectors to whom an operator granted policies by name. All others have no [`Rules`], and the fixed table alone is
//! asked: that is the quick way.
//!
//! Whatever a policy says, only requests about things and topics of applications can be published, and only topics of
//! things, views, events and applications can be heard: what is an operator's, and the service's own voice, is out of
//! reach; so are the shadows in which the agents of other things report. And whatever a policy says, a connector renews
//! its own certificate, and hears about it: a host that cannot is lost when the certificate ends.

use super::{Action, Decision, application, decide, is_about_certificates_of, is_evidence_of_another, may};
use crate::bridge::Shared;
use crate::session::link::Link;
use muster_bus::Caller;
use muster_certs::identity::{Identity, Role};
use muster_wire::certificate::proof_client;
use muster_wire::filter::TopicFilter;
use muster_wire::id::ThingName;
use muster_wire::policy::{Action as Asked, ConnectAttributes, Facts, Grants, Permit, Resource, Verdict};
use muster_wire::topic::Topic;
use std::sync::Arc;

/// What one connection of such a connector may.
#[derive(Debug)]
pub(crate) struct Rules {
    permit: Permit,
    identity: Identity,
    client_id: Box<str>,
    /// What the settings say of the topics of applications; it comes with the policy that every connector has.
    patterns: Vec<TopicFilter>,
}

/// The rules of a client; `None` when the fixed table is all there is.
pub(crate) fn rules(shared: &Shared, caller: &Caller) -> Option<Arc<Rules>> {
    let grants = grants(shared, caller)?;
    Some(Arc::new(Rules::new(&shared.mqtt.application_topics, caller, grants)))
}

fn grants(shared: &Shared, caller: &Caller) -> Option<Arc<Grants>> {
    (caller.identity.role() == Role::Connector).then(|| shared.gate.grants(caller)).flatten()
}

/// Puts new rules in place if they have changed. `Err` when the connection cannot go on under them.
pub(crate) fn refresh(shared: &Shared, link: &Link) -> Result<(), &'static str> {
    let caller = &link.caller;
    let grants = grants(shared, caller);
    let known = link.rules();
    let same = match (&grants, &known) {
        (None, None) => true,
        (Some(grants), Some(known)) => Arc::ptr_eq(grants, known.permit.grants()),
        _ => false,
    };
    if same {
        return Ok(());
    }
    if grants.as_ref().is_some_and(|grants| grants.needs_certificate()) && caller.certificate.is_none() {
        return Err("a policy asks for more of its certificate than was read");
    }
    let rules = grants.map(|grants| Arc::new(Rules::new(&shared.mqtt.application_topics, caller, grants)));
    // First in force, then looked at: a subscription that comes in between is looked at by its own connection.
    link.set_rules(rules.clone());
    let rules = rules.as_deref();
    if may_connect(rules, caller, link.connect_attributes()) == Decision::Deny {
        return Err("its policies do not let it connect");
    }
    let denied = |filter: &TopicFilter| super::may_subscribe(&shared.mqtt, caller, rules, filter) == Decision::Deny;
    if link.filters().iter().any(denied) || link.shares().iter().any(|share| denied(share.subscribed.filter())) {
        return Err("its policies deny a subscription that it has");
    }
    Ok(())
}

/// Decides over a CONNECT.
pub(crate) fn may_connect(rules: Option<&Rules>, caller: &Caller, attributes: ConnectAttributes) -> Decision {
    let Some(rules) = rules else { return Decision::Allow };
    match rules.permit.ask_connect(&caller.client_id, attributes) {
        // Policies that name the thing as the only client id do not mean the proof of its next certificate.
        Verdict::Silent if *caller.client_id == *proof_client(caller.identity.name()) => Decision::Allow,
        verdict => rules.decide(verdict, true),
    }
}

/// Whether more of a client's certificate is asked for than was read, so that nothing can be decided about it.
pub(crate) fn lacks_certificate(shared: &Shared, caller: &Caller) -> bool {
    caller.certificate.is_none() && grants(shared, caller).is_some_and(|grants| grants.needs_certificate())
}

impl Rules {
    pub(crate) fn new(patterns: &[TopicFilter], caller: &Caller, grants: Arc<Grants>) -> Self {
        let attributes = grants.attributes.clone();
        let facts = Facts {
            client_id: &caller.client_id,
            thing: caller.identity.name(),
            attributes: &attributes,
            certificate_id: &caller.certificate_id,
            certificate: caller.certificate.as_deref(),
            source: Some(caller.peer),
        };
        let patterns = if grants.includes_default { patterns.to_vec() } else { Vec::new() };
        let permit = Permit::new(grants, &facts);
        Self { permit, identity: caller.identity.clone(), client_id: caller.client_id.clone(), patterns }
    }

    /// `native` is what the fixed table says: it holds for those who have the policy that stands for it.
    fn decide(&self, verdict: Verdict, native: bool) -> Decision {
        decide(match verdict {
            Verdict::Denied => false,
            Verdict::Allowed => true,
            Verdict::Silent => native && self.permit.grants().includes_default,
        })
    }

    /// Decides over a request about a thing that comes over HTTP; `native` is what holds without policies by name.
    pub(super) fn may_thing(&self, action: Asked, thing: &ThingName, native: bool) -> Decision {
        self.decide(self.permit.ask(action, Resource::Thing(thing.as_str())), native)
    }

    /// Decides over reading the retained message of a topic over HTTP; over listing them when there is none.
    pub(super) fn may_read_retained(&self, topic: Option<&str>, native: bool) -> Decision {
        let verdict = match topic {
            Some(topic) => self.permit.ask(Asked::GetRetainedMessage, Resource::Topic(topic)),
            None => self.permit.ask(Asked::ListRetainedMessages, Resource::Everything),
        };
        self.decide(verdict, native)
    }

    /// Decides over a publish.
    pub(super) fn may_publish(&self, topic: &Topic) -> Decision {
        self.publishes(topic, Asked::Publish)
    }

    /// Decides over the RETAIN flag of a publish that is allowed.
    pub(crate) fn may_retain(&self, topic: &Topic) -> Decision {
        self.publishes(topic, Asked::RetainPublish)
    }

    fn publishes(&self, topic: &Topic, action: Asked) -> Decision {
        if matches!(topic, Topic::Certificate { .. }) {
            return may(&self.identity, &self.client_id, Action::Publish(topic));
        }
        let can_be = matches!(
            topic,
            Topic::Shadow { .. }
                | Topic::Jobs { .. }
                | Topic::Stream { .. }
                | Topic::Elsewhere { .. }
                | Topic::Telemetry { .. }
                | Topic::Application(_)
        );
        if !can_be || !topic.is_request() || is_evidence_of_another(&self.identity, topic) {
            return Decision::Deny;
        }
        let native = match topic {
            Topic::Application(topic) => application::may_publish(&self.patterns, &self.identity, topic),
            topic => may(&self.identity, &self.client_id, Action::Publish(topic)),
        };
        self.decide(self.permit.ask(action, Resource::Topic(&topic.to_string())), native == Decision::Allow)
    }

    /// Decides over a subscription.
    pub(super) fn may_subscribe(&self, filter: &TopicFilter) -> Decision {
        if is_about_certificates_of(filter.as_str(), self.identity.name()) {
            return Decision::Allow;
        }
        if !can_be_heard(filter) {
            return Decision::Deny;
        }
        self.decide(self.permit.ask(Asked::Subscribe, Resource::TopicFilter(filter.as_str())), self.hears(filter))
    }

    /// Decides over a delivery. One that is denied is not made, and nobody is told.
    pub(crate) fn may_receive(&self, topic: &str) -> bool {
        if is_about_certificates_of(topic, self.identity.name()) {
            return true;
        }
        let verdict = self.permit.ask(Asked::Receive, Resource::Topic(topic));
        let native = || TopicFilter::new(topic).is_ok_and(|filter| self.hears(&filter));
        self.decide(verdict, verdict == Verdict::Silent && native()) == Decision::Allow
    }

    fn hears(&self, filter: &TopicFilter) -> bool {
        let native = match filter.is_application() {
            true => application::may_subscribe(&self.patterns, &self.identity, filter),
            false => may(&self.identity, &self.client_id, Action::Subscribe(filter)),
        };
        native == Decision::Allow
    }
}

/// Whether every topic of this filter is one that a policy can open to a connector. A filter whose first levels are
/// wildcards would reach what is an operator's.
fn can_be_heard(filter: &TopicFilter) -> bool {
    let mut levels = filter.levels();
    let families = [("$aws", "things"), ("$aws", "events"), ("muster", "view")];
    let begin = (levels.next().unwrap_or_default(), levels.next().unwrap_or_default());
    filter.is_application() || families.contains(&begin)
}
