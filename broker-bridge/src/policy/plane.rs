//! Who may ask what of the HTTP data plane. Pure; whatever is not allowed here is denied.
//!
//! | role | shadows | jobs | publish | retained messages | connections |
//! |---|---|---|---|---|---|
//! | connector | its own | its own | as over MQTT | those that it may subscribe to, by topic | none |
//! | observer | reads all | none | nothing | all of applications | reads |
//! | operator | reads all, writes all but Muster's own | none | topics of applications | all of applications | all |
//! | service, claim, provisioned | none | none | nothing | none | none |
//!
//! A connector to whom an operator granted policies by name is asked by them: the actions of AWS that belong to HTTP, and
//! those of MQTT for a publish.
//!
//! Jobs are what a device says of itself: an operator steers with `muster job`. The shadows that Muster's agent reports
//! in are evidence of what runs, so nobody but the connector itself writes them, whatever a policy says.

use super::named::Rules;
use super::{Decision, decide, is_evidence, may_publish, may_subscribe};
use crate::settings::MqttSettings;
use muster_bus::Caller;
use muster_certs::identity::Role;
use muster_wire::filter::TopicFilter;
use muster_wire::id::ThingName;
use muster_wire::plane::Operation;
use muster_wire::policy::Action as Asked;
use muster_wire::topic::{JobsVerb, ShadowVerb, Topic};

/// Decides over one operation of one client.
pub(crate) fn may_operate(
    settings: &MqttSettings,
    caller: &Caller,
    rules: Option<&Rules>,
    operation: &Operation,
) -> Decision {
    decide(match caller.identity.role() {
        Role::Connector => connector(settings, caller, rules, operation),
        Role::Observer => reads(settings, caller, operation),
        Role::Operator => reads(settings, caller, operation) || operates(settings, caller, operation),
        Role::Service | Role::Claim | Role::Provisioned => false,
    })
}

fn connector(settings: &MqttSettings, caller: &Caller, rules: Option<&Rules>, operation: &Operation) -> bool {
    let of_thing = |thing: &ThingName, action| {
        let own = thing.as_str() == caller.identity.name();
        rules.map_or(own, |rules| rules.may_thing(action, thing, own) == Decision::Allow)
    };
    match operation {
        Operation::Shadow { thing, shadow, verb } => {
            let readable = *verb == ShadowVerb::Get || !is_evidence(shadow.as_ref());
            (readable || thing.as_str() == caller.identity.name()) && of_thing(thing, shadow_action(*verb))
        }
        Operation::Shadows { thing, .. } => of_thing(thing, Asked::ListNamedShadowsForThing),
        Operation::Jobs { thing, verb, .. } => of_thing(thing, jobs_action(verb)),
        Operation::Publish { topic, wish } => publishes(settings, caller, rules, topic, |topic| {
            !wish.retain || rules.is_none_or(|rules| rules.may_retain(topic) == Decision::Allow)
        }),
        Operation::Retained { topic } => {
            let native = hears(settings, caller, topic);
            rules.map_or(native, |rules| rules.may_read_retained(Some(topic), native) == Decision::Allow)
        }
        Operation::RetainedList { .. } => {
            rules.is_some_and(|rules| rules.may_read_retained(None, false) == Decision::Allow)
        }
        Operation::Endpoint { .. } => true,
        Operation::Connection { .. }
        | Operation::Disconnect { .. }
        | Operation::Subscriptions { .. }
        | Operation::Direct { .. } => false,
    }
}

fn shadow_action(verb: ShadowVerb) -> Asked {
    match verb {
        ShadowVerb::Get => Asked::GetThingShadow,
        ShadowVerb::Update => Asked::UpdateThingShadow,
        ShadowVerb::Delete => Asked::DeleteThingShadow,
    }
}

fn jobs_action(verb: &JobsVerb) -> Asked {
    match verb {
        JobsVerb::GetPending => Asked::GetPendingJobExecutions,
        JobsVerb::StartNext => Asked::StartNextPendingJobExecution,
        JobsVerb::Describe(_) => Asked::DescribeJobExecution,
        JobsVerb::Update(_) => Asked::UpdateJobExecution,
    }
}

fn reads(settings: &MqttSettings, caller: &Caller, operation: &Operation) -> bool {
    match operation {
        Operation::Shadow { verb: ShadowVerb::Get, .. }
        | Operation::Shadows { .. }
        | Operation::RetainedList { .. }
        | Operation::Connection { .. }
        | Operation::Subscriptions { .. }
        | Operation::Endpoint { .. } => true,
        Operation::Retained { topic } => hears(settings, caller, topic),
        Operation::Shadow { .. }
        | Operation::Jobs { .. }
        | Operation::Publish { .. }
        | Operation::Disconnect { .. }
        | Operation::Direct { .. } => false,
    }
}

fn operates(settings: &MqttSettings, caller: &Caller, operation: &Operation) -> bool {
    match operation {
        Operation::Shadow { shadow, .. } => !is_evidence(shadow.as_ref()),
        Operation::Publish { topic, .. } => {
            publishes(settings, caller, None, topic, |topic| matches!(topic, Topic::Application(_)))
        }
        Operation::Disconnect { .. } => true,
        // A message to one client is a message: it may not pretend to come from the service.
        Operation::Direct { topic, .. } => {
            publishes(settings, caller, None, topic, |topic| matches!(topic, Topic::Application(_)))
        }
        _ => false,
    }
}

fn publishes(
    settings: &MqttSettings,
    caller: &Caller,
    rules: Option<&Rules>,
    topic: &str,
    fits: impl FnOnce(&Topic) -> bool,
) -> bool {
    let may = |topic: &Topic| may_publish(settings, caller, rules, topic) == Decision::Allow;
    Topic::parse(topic).is_ok_and(|topic| fits(&topic) && may(&topic))
}

fn hears(settings: &MqttSettings, caller: &Caller, topic: &str) -> bool {
    let filter = TopicFilter::new(topic).ok().filter(TopicFilter::is_application);
    filter.is_some_and(|filter| may_subscribe(settings, caller, None, &filter) == Decision::Allow)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use muster_certs::identity::{Fleet, Identity};
    use muster_wire::policy::{Grants, Policy};
    use std::sync::Arc;

    fn caller(role: Role, name: &str) -> Caller {
        Caller {
            identity: Identity::new(Fleet::new("test").unwrap(), role, name).unwrap(),
            certificate_id: "".into(),
            client_id: "".into(),
            peer: "127.0.0.1".parse().unwrap(),
            certificate: None,
        }
    }

    /// What a line, a method and a path, asks for.
    fn operation(line: &str) -> Operation {
        let (method, uri) = line.split_once(' ').unwrap();
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        Operation::parse(method, path, query).unwrap()
    }

    #[test]
    fn the_data_plane_follows_the_table() {
        let settings = MqttSettings::default();
        let roles = [Role::Connector, Role::Observer, Role::Operator, Role::Service].map(|role| caller(role, "t1"));
        for (line, expected) in [
            // operation, then: connector t1, observer, operator, service
            ("GET /things/t1/shadow", [true, true, true, false]),
            ("POST /things/t1/shadow", [true, false, true, false]),
            ("DELETE /things/t1/shadow?name=a", [true, false, true, false]),
            ("GET /things/t2/shadow", [false, true, true, false]),
            ("POST /things/t2/shadow", [false, false, true, false]),
            ("GET /things/t1/shadow?name=components", [true, true, true, false]),
            ("POST /things/t1/shadow?name=components", [true, false, false, false]),
            ("DELETE /things/t1/shadow?name=agent", [true, false, false, false]),
            ("GET /api/things/shadow/ListNamedShadowsForThing/t1", [true, true, true, false]),
            ("GET /api/things/shadow/ListNamedShadowsForThing/t2", [false, true, true, false]),
            ("GET /things/t1/jobs", [true, false, false, false]),
            ("PUT /things/t1/jobs/$next", [true, false, false, false]),
            ("POST /things/t2/jobs/j", [false, false, false, false]),
            ("POST /topics/app/t1/x", [true, false, true, false]),
            ("POST /topics/app/t2/x", [false, false, true, false]),
            ("POST /topics/$aws/things/t1/shadow/update", [true, false, false, false]),
            ("POST /topics/$aws/things/t2/shadow/update", [false, false, false, false]),
            ("POST /topics/$aws/things/t1/shadow/update/accepted", [false, false, false, false]),
            ("POST /topics/muster/op/upgrade", [false, false, false, false]),
            ("POST /topics/$aws/events/presence/connected/t1", [false, false, false, false]),
            ("GET /retainedMessage/app/t1/x", [true, true, true, false]),
            ("GET /retainedMessage/app/t2/x", [false, true, true, false]),
            ("GET /retainedMessage/muster/view/actions", [false, false, false, false]),
            ("GET /retainedMessage/app/t1/%23", [true, true, true, false]),
            ("GET /retainedMessage", [false, true, true, false]),
            ("GET /connections/c", [false, true, true, false]),
            ("GET /connections/c/subscriptions", [false, true, true, false]),
            ("DELETE /connections/c", [false, false, true, false]),
            ("POST /connections/c/messages?topic=app/x", [false, false, true, false]),
            ("POST /connections/c/messages?topic=$aws/things/t1/jobs/notify", [false, false, false, false]),
            ("GET /endpoint", [true, true, true, false]),
        ] {
            let operation = operation(line);
            let found = roles.each_ref().map(|who| may_operate(&settings, who, None, &operation) == Decision::Allow);
            assert_eq!(found, expected, "{line}");
        }
    }

    /// A connector that has a policy beside the one that every connector has.
    struct Granted {
        settings: MqttSettings,
        caller: Caller,
        rules: Rules,
    }

    impl Granted {
        fn new(name: &str, policy: &str) -> Self {
            let settings = MqttSettings::default();
            let caller = caller(Role::Connector, name);
            let grants = Grants {
                includes_default: true,
                policies: vec![Arc::new(Policy::parse(policy).unwrap())],
                attributes: Default::default(),
            };
            let rules = Rules::new(&settings.application_topics, &caller, Arc::new(grants));
            Self { settings, caller, rules }
        }

        /// Whether each line may be.
        #[track_caller]
        fn check(&self, lines: &[(&str, bool)]) {
            for (line, expected) in lines {
                let found = may_operate(&self.settings, &self.caller, Some(&self.rules), &operation(line));
                assert_eq!(found == Decision::Allow, *expected, "{line}");
            }
        }
    }

    #[test]
    fn policies_by_name_reach_the_data_plane() {
        let gate = Granted::new(
            "gate",
            r#"{"Version":"2012-10-17","Statement":[
                {"Effect":"Allow","Action":["iot:GetThingShadow","iot:UpdateThingShadow"],"Resource":"thing/line-*"},
                {"Effect":"Allow","Action":["iot:Publish"],"Resource":"topic/line/*"},
                {"Effect":"Allow","Action":["iot:ListRetainedMessages"],"Resource":"*"},
                {"Effect":"Deny","Action":["iot:DeleteThingShadow"],"Resource":"*"}
            ]}"#,
        );
        gate.check(&[
            ("GET /things/line-1/shadow", true),
            ("POST /things/line-1/shadow", true),
            ("DELETE /things/line-1/shadow", false),
            ("GET /api/things/shadow/ListNamedShadowsForThing/line-1", false),
            ("GET /things/line-1/jobs", false),
            ("GET /things/other/shadow", false),
            // The policy that every connector has, less what another one denies.
            ("GET /things/gate/shadow", true),
            ("DELETE /things/gate/shadow", false),
            ("PUT /things/gate/jobs/$next", true),
            ("POST /topics/line/x", true),
            ("POST /topics/app/gate/x", true),
            ("POST /topics/app/line/x", false),
            ("GET /retainedMessage", true),
            // RetainPublish is another action.
            ("POST /topics/line/x?retain=true", false),
        ]);
    }

    #[test]
    fn no_policy_opens_what_the_agents_of_others_report() {
        let t1 = Granted::new(
            "t1",
            r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"iot:*","Resource":"*"}}"#,
        );
        t1.check(&[
            ("POST /things/t2/shadow?name=other", true),
            ("GET /things/t2/shadow?name=components", true),
            ("POST /things/t2/shadow?name=components", false),
            ("DELETE /things/t2/shadow?name=components", false),
            ("POST /things/t2/shadow?name=agent", false),
            ("DELETE /things/t2/shadow?name=agent", false),
            ("POST /topics/$aws/things/t2/shadow/name/agent/update", false),
            ("POST /things/t1/shadow?name=components", true),
            ("DELETE /things/t1/shadow?name=agent", true),
            ("POST /topics/$aws/things/t1/shadow/name/agent/update", true),
        ]);
    }
}
