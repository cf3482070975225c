//! Who may say and hear what. Pure; whatever is not allowed here is denied.
//!
//! | role | publish | subscribe |
//! |---|---|---|
//! | connector | requests about shadow, jobs, streams and certificate, telemetry and metrics, of its own thing | shadow, jobs, streams, metrics, tunnels and certificate of its own thing |
//! | observer | nothing | `muster/view/…`, `$aws/events/…`, the shadow topics of any thing |
//! | operator | `muster/op/{verb}` | what an observer may, and `muster/reply/{own client id}/…` |
//! | claim | the requests of fleet provisioning, RegisterThing with its own template only | the answers to them |
//! | service, provisioned | nothing | nothing |
//!
//! Topics in the service's own voice (`…/accepted`, `…/delta` and so on) are published by nobody. Topics of applications
//! are a table of their own, `policy/application.rs`: what they are is a setting. What an operator granted to a connector
//! by name is in `policy/named.rs`; a connector without such grants has exactly this table.

pub(crate) mod application;
#[cfg(test)]
mod matrix;
pub(crate) mod named;
pub(crate) mod plane;

use crate::settings::MqttSettings;
use muster_bus::Caller;
use muster_certs::identity::{Identity, Role};
use muster_wire::filter::TopicFilter;
use muster_wire::id::ShadowName;
use muster_wire::provision::ClaimName;
use muster_wire::shadow;
use muster_wire::topic::{ProvisioningApi, ShadowTopic, ShadowVerb, Topic, provisions};
use named::Rules;

/// Begin of the filters for answers; the client id follows. Answers go to the connection that asked.
pub(crate) const REPLIES: &str = "muster/reply/";

/// What a client wants to do.
#[derive(Clone, Copy, Debug)]
pub enum Action<'a> {
    /// Publish to a topic.
    Publish(&'a Topic),
    /// Subscribe to a filter.
    Subscribe(&'a TopicFilter),
}

/// What the policy says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It may.
    Allow,
    /// It may not.
    Deny,
}

/// Decides over one action of one client.
#[must_use]
pub fn may(identity: &Identity, client_id: &str, action: Action<'_>) -> Decision {
    let allowed = match action {
        Action::Publish(topic) => topic.is_request() && publishes(identity, topic),
        Action::Subscribe(filter) => subscribes(identity, client_id, filter.as_str()),
    };
    decide(allowed)
}

fn decide(allowed: bool) -> Decision {
    if allowed { Decision::Allow } else { Decision::Deny }
}

/// Decides over a publish, on a topic of the service or of an application.
pub(crate) fn may_publish(settings: &MqttSettings, caller: &Caller, rules: Option<&Rules>, topic: &Topic) -> Decision {
    if let Some(rules) = rules {
        return rules.may_publish(topic);
    }
    match topic {
        Topic::Application(topic) => application::may_publish(&settings.application_topics, &caller.identity, topic),
        topic => may(&caller.identity, &caller.client_id, Action::Publish(topic)),
    }
}

/// Decides over a subscription to topics of the service or of applications.
pub(crate) fn may_subscribe(
    settings: &MqttSettings,
    caller: &Caller,
    rules: Option<&Rules>,
    filter: &TopicFilter,
) -> Decision {
    if let Some(rules) = rules {
        return rules.may_subscribe(filter);
    }
    if filter.is_application() {
        return application::may_subscribe(&settings.application_topics, &caller.identity, filter);
    }
    may(&caller.identity, &caller.client_id, Action::Subscribe(filter))
}

fn publishes(identity: &Identity, topic: &Topic) -> bool {
    match identity.role() {
        Role::Connector => topic.thing().is_some_and(|thing| thing.as_str() == identity.name()),
        Role::Operator => matches!(topic, Topic::Operator { .. }),
        Role::Claim => provisions_with(identity, topic),
        Role::Observer | Role::Service | Role::Provisioned => false,
    }
}

/// Whether this is a request that the claim is for.
fn provisions_with(identity: &Identity, topic: &Topic) -> bool {
    let (Topic::Provisioning(topic), Ok(claim)) = (topic, identity.name().parse::<ClaimName>()) else { return false };
    match &topic.api {
        ProvisioningApi::CreateKeys | ProvisioningApi::CreateFromCsr => true,
        ProvisioningApi::Register(template) => *template == claim.template,
    }
}

/// A filter is allowed by its text, so that one with wildcards never covers more than its literal part says.
fn subscribes(identity: &Identity, client_id: &str, filter: &str) -> bool {
    match identity.role() {
        Role::Connector => within_thing(filter, identity.name()),
        Role::Observer => observes(filter),
        Role::Operator => observes(filter) || below(filter, REPLIES, client_id),
        Role::Claim => {
            identity.name().parse::<ClaimName>().is_ok_and(|claim| provisions(filter, claim.template.as_str()))
        }
        Role::Service | Role::Provisioned => false,
    }
}

fn within_thing(filter: &str, name: &str) -> bool {
    if is_about_certificates_of(filter, name) {
        return true;
    }
    let rest = filter.strip_prefix("$aws/things/").and_then(|rest| rest.strip_prefix(name));
    rest.is_some_and(|rest| {
        let parts = ["/shadow/", "/jobs/", "/streams/", "/defender/metrics/"];
        ["/#", "/tunnels/notify"].contains(&rest) || parts.iter().any(|part| rest.starts_with(part))
    })
}

/// Whether this would change or remove what the agent of another thing reports of itself. Upgrades rest on it, so nobody
/// but that thing writes it, whatever a policy says.
fn is_evidence_of_another(identity: &Identity, topic: &Topic) -> bool {
    let Topic::Shadow { thing, shadow, verb: ShadowTopic::Request(verb) } = topic else { return false };
    *verb != ShadowVerb::Get && is_evidence(shadow.as_ref()) && thing.as_str() != identity.name()
}

/// Whether a shadow is one that Muster's agent reports in.
fn is_evidence(shadow: Option<&ShadowName>) -> bool {
    shadow.is_some_and(|name| [shadow::components(), shadow::agent()].contains(name))
}

/// What the agent hears of its own certificates.
fn is_about_certificates_of(filter: &str, name: &str) -> bool {
    let rest = filter.strip_prefix("muster/things/").and_then(|rest| rest.strip_prefix(name));
    rest.is_some_and(|rest| rest.starts_with("/certificate/"))
}

fn observes(filter: &str) -> bool {
    if filter.starts_with("muster/view/") || filter.starts_with("$aws/events/") {
        return true;
    }
    let Some((thing, rest)) = filter.strip_prefix("$aws/things/").and_then(|rest| rest.split_once('/')) else {
        return false;
    };
    // A wildcard that is the thing is meant; one in its place that reaches further ("#") is not.
    thing != "#" && rest.starts_with("shadow/")
}

fn below(filter: &str, prefix: &str, name: &str) -> bool {
    let rest = filter.strip_prefix(prefix).and_then(|rest| rest.strip_prefix(name));
    rest.is_some_and(|rest| rest.len() > 1 && rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use muster_certs::identity::Fleet;

    fn identity(role: Role, name: &str) -> Identity {
        Identity::new(Fleet::new("test").unwrap(), role, name).unwrap()
    }

    #[test]
    fn publishing_follows_the_table() {
        let who = [identity(Role::Connector, "t1"), identity(Role::Observer, "o"), identity(Role::Operator, "a")];
        let cases = [
            // topic, connector t1, observer, operator
            ("$aws/things/t1/shadow/update", [true, false, false]),
            ("$aws/things/t1/shadow/name/components/get", [true, false, false]),
            ("$aws/things/t1/shadow/delete", [true, false, false]),
            ("$aws/things/t1/jobs/get", [true, false, false]),
            ("$aws/things/t1/jobs/$next/get", [true, false, false]),
            ("$aws/things/t1/jobs/j1/update", [true, false, false]),
            ("$aws/things/t1/defender/metrics/json", [true, false, false]),
            ("$aws/things/t1/defender/metrics/json/accepted", [false; 3]),
            ("$aws/things/t1/tunnels/notify", [false; 3]),
            ("muster/things/t1/telemetry/host", [true, false, false]),
            ("muster/things/t1/certificate/renew", [true, false, false]),
            ("muster/things/t1/certificate/trust", [true, false, false]),
            ("muster/things/t2/certificate/renew", [false; 3]),
            ("muster/things/t1/certificate/renew/accepted", [false; 3]),
            ("muster/things/t1/certificate/notify", [false; 3]),
            ("$aws/things/t2/shadow/update", [false; 3]),
            ("$aws/things/t2/jobs/get", [false; 3]),
            ("$aws/things/t11/shadow/get", [false; 3]),
            ("muster/things/t2/telemetry/host", [false; 3]),
            ("muster/op/upgrade", [false, false, true]),
            ("muster/op/actions", [false, false, true]),
            // the service's own voice
            ("$aws/things/t1/shadow/update/accepted", [false; 3]),
            ("$aws/things/t1/shadow/update/rejected", [false; 3]),
            ("$aws/things/t1/shadow/update/delta", [false; 3]),
            ("$aws/things/t1/shadow/update/documents", [false; 3]),
            ("$aws/things/t1/jobs/notify", [false; 3]),
            ("$aws/things/t1/jobs/notify-next", [false; 3]),
            ("$aws/things/t1/jobs/get/accepted", [false; 3]),
            ("muster/reply/a/1", [false; 3]),
            ("muster/view/actions", [false; 3]),
            ("muster/view/connectors/t1", [false; 3]),
            ("$aws/events/presence/connected/t1", [false; 3]),
            ("$aws/events/job/j/completed", [false; 3]),
        ];
        for (topic, expected) in cases {
            let parsed = Topic::parse(topic).unwrap();
            let found = who.each_ref().map(|who| may(who, "client", Action::Publish(&parsed)) == Decision::Allow);
            assert_eq!(found, expected, "{topic}");
            for role in [Role::Service, Role::Claim, Role::Provisioned] {
                let denied = may(&identity(role, "t1:s"), "s", Action::Publish(&parsed));
                assert_eq!(denied, Decision::Deny, "{topic} {role}");
            }
        }
    }

    /// Every other topic of the tables above and below is denied to a claim: `publishing_follows_the_table` and
    /// `subscribing_follows_the_table` ask for it too.
    #[test]
    fn a_claim_provisions_with_its_own_template_and_does_nothing_else() {
        let claim = identity(Role::Claim, "cams:a1");
        let others = [Role::Connector, Role::Observer, Role::Operator, Role::Service, Role::Provisioned];
        for (topic, expected) in [
            ("$aws/certificates/create/json", true),
            ("$aws/certificates/create/cbor", true),
            ("$aws/certificates/create-from-csr/json", true),
            ("$aws/provisioning-templates/cams/provision/json", true),
            ("$aws/provisioning-templates/cams/provision/cbor", true),
            ("$aws/provisioning-templates/cams2/provision/json", false),
            ("$aws/provisioning-templates/cam/provision/json", false),
            ("$aws/certificates/create/json/accepted", false),
            ("$aws/provisioning-templates/cams/provision/json/rejected", false),
            ("$aws/things/cams/shadow/get", false),
            ("app/cams", false),
        ] {
            let parsed = Topic::parse(topic).unwrap();
            let may = |who: &Identity| may(who, "c", Action::Publish(&parsed)) == Decision::Allow;
            assert_eq!(may(&claim), expected, "{topic}");
            if topic.starts_with("$aws/certificates") || topic.starts_with("$aws/provisioning") {
                assert!(!others.iter().any(|role| may(&identity(*role, "cams"))), "{topic}");
            }
        }
        for (filter, expected) in [
            ("$aws/certificates/create/json/accepted", true),
            ("$aws/certificates/create/+/+", true),
            ("$aws/certificates/create-from-csr/cbor/#", true),
            ("$aws/provisioning-templates/cams/provision/json/rejected", true),
            ("$aws/certificates/#", false),
            ("$aws/provisioning-templates/#", false),
            ("$aws/provisioning-templates/+/provision/json/accepted", false),
            ("$aws/provisioning-templates/cams2/provision/json/accepted", false),
            ("$aws/things/cams/#", false),
            ("$aws/events/#", false),
            ("muster/view/#", false),
            ("muster/reply/c/#", false),
            ("#", false),
        ] {
            let parsed = TopicFilter::new(filter).unwrap();
            let may = |who: &Identity| may(who, "c", Action::Subscribe(&parsed)) == Decision::Allow;
            assert_eq!(may(&claim), expected, "{filter}");
            if expected {
                assert!(!others.iter().any(|role| may(&identity(*role, "cams"))), "{filter}");
            }
        }
    }

    #[test]
    fn subscribing_follows_the_table() {
        let who = [identity(Role::Connector, "t1"), identity(Role::Observer, "o"), identity(Role::Operator, "a")];
        let cases = [
            // filter, connector t1, observer, operator (client id "c1")
            ("$aws/things/t1/shadow/update/accepted", [true, true, true]),
            ("$aws/things/t1/shadow/get/+", [true, true, true]),
            ("$aws/things/t1/shadow/#", [true, true, true]),
            ("$aws/things/t1/shadow/name/+/update/delta", [true, true, true]),
            ("$aws/things/t1/jobs/notify", [true, false, false]),
            ("$aws/things/t1/jobs/$next/get/+", [true, false, false]),
            ("$aws/things/t1/jobs/+/update/+", [true, false, false]),
            ("$aws/things/t1/tunnels/notify", [true, false, false]),
            ("$aws/things/t1/tunnels/#", [false; 3]),
            ("$aws/things/t2/tunnels/notify", [false; 3]),
            ("$aws/things/t1/defender/metrics/cbor/+", [true, false, false]),
            ("$aws/things/t1/#", [true, false, false]),
            ("$aws/things/t1/+/get/accepted", [false; 3]),
            ("$aws/things/t2/shadow/get/accepted", [false, true, true]),
            ("$aws/things/t2/jobs/notify", [false; 3]),
            ("$aws/things/t2/#", [false; 3]),
            ("$aws/things/t11/shadow/get/accepted", [false, true, true]),
            ("$aws/things/+/shadow/#", [false, true, true]),
            ("$aws/things/+/shadow/update/documents", [false, true, true]),
            ("$aws/things/+/jobs/#", [false; 3]),
            ("$aws/things/#", [false; 3]),
            ("$aws/things/+/#", [false; 3]),
            ("$aws/events/#", [false, true, true]),
            ("$aws/events/presence/+/+", [false, true, true]),
            ("$aws/#", [false; 3]),
            ("$aws/+/presence/#", [false; 3]),
            ("muster/view/#", [false, true, true]),
            ("muster/view/connectors/+", [false, true, true]),
            ("muster/view/connectors/t1/metrics", [false, true, true]),
            ("muster/#", [false; 3]),
            ("muster/+/actions", [false; 3]),
            ("muster/op/#", [false; 3]),
            ("muster/reply/c1/#", [false, false, true]),
            ("muster/reply/c1/r/+", [false, false, true]),
            ("muster/reply/c1/", [false; 3]),
            ("muster/reply/c2/#", [false; 3]),
            ("muster/reply/+/#", [false; 3]),
            ("muster/reply/#", [false; 3]),
            ("muster/things/t1/telemetry/host", [false; 3]),
            ("muster/things/t1/certificate/notify", [true, false, false]),
            ("muster/things/t2/certificate/notify", [false; 3]),
            ("muster/things/t11/certificate/notify", [false; 3]),
            ("muster/things/+/certificate/notify", [false; 3]),
            ("#", [false; 3]),
            ("+/#", [false; 3]),
        ];
        for (filter, expected) in cases {
            let parsed = TopicFilter::new(filter).unwrap();
            let found = who.each_ref().map(|who| may(who, "c1", Action::Subscribe(&parsed)) == Decision::Allow);
            assert_eq!(found, expected, "{filter}");
            for role in [Role::Service, Role::Claim, Role::Provisioned] {
                let denied = may(&identity(role, "t1:s"), "c1", Action::Subscribe(&parsed));
                assert_eq!(denied, Decision::Deny, "{filter} {role}");
            }
        }
    }
}
