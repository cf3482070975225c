//! Who may do what, row by row, written down without a look at how it is decided: every role and kind of policy, every
//! family of topics, connecting, publishing, subscribing and receiving.
#![allow(clippy::unwrap_used)]

use super::named::{Rules, may_connect};
use super::*;
use muster_certs::identity::Fleet;
use muster_wire::policy::{BUILTINS, ConnectAttributes, Grants, Policy};
use std::collections::BTreeSet;
use std::sync::Arc;

const EVERYTHING: &str = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"iot:*","Resource":"*"}}"#;
const NO_JOBS: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"iot:Publish",
    "Resource":"arn:aws:iot:*:*:topic/$aws/things/*/jobs/*"}]}"#;

/// The columns: connector `t1` with the default policy, with `gateway` alone, with one that allows everything, with the
/// default one and one that denies publishing about jobs, with `dashboard` alone, with none; observer, operator, service;
/// the claim `t1:a`, a device that is no connector yet. The client id is always `c1`.
const COLUMNS: usize = 11;

struct Who {
    caller: Caller,
    rules: Option<Rules>,
}

fn caller(role: Role, client_id: &str) -> Caller {
    let name = if role == Role::Claim { "t1:a" } else { "t1" };
    Caller {
        identity: Identity::new(Fleet::new("test").unwrap(), role, name).unwrap(),
        certificate_id: "ab12".into(),
        client_id: client_id.into(),
        peer: [192, 0, 2, 7].into(),
        certificate: None,
    }
}

fn connector(client_id: &str, includes_default: bool, documents: &[&str]) -> Who {
    let caller = caller(Role::Connector, client_id);
    let policies = documents.iter().map(|text| Arc::new(Policy::parse(text).unwrap())).collect();
    let grants = Arc::new(Grants { includes_default, policies, attributes: Vec::new() });
    let rules = Some(Rules::new(&MqttSettings::default().application_topics, &caller, grants));
    Who { caller, rules }
}

fn built_in(name: &str) -> &'static str {
    BUILTINS.iter().find(|(known, ..)| *known == name).unwrap().2
}

fn columns() -> [Who; COLUMNS] {
    let plain = |role| Who { caller: caller(role, "c1"), rules: None };
    [
        plain(Role::Connector),
        connector("c1", false, &[built_in("gateway")]),
        connector("c1", false, &[EVERYTHING]),
        connector("c1", true, &[NO_JOBS]),
        connector("c1", false, &[built_in("dashboard")]),
        connector("c1", false, &[]),
        plain(Role::Observer),
        plain(Role::Operator),
        plain(Role::Service),
        plain(Role::Claim),
        plain(Role::Provisioned),
    ]
}

impl Who {
    fn publishes(&self, topic: &str) -> bool {
        let topic = Topic::parse(topic).unwrap();
        may_publish(&MqttSettings::default(), &self.caller, self.rules.as_ref(), &topic) == Decision::Allow
    }

    fn subscribes(&self, filter: &str) -> bool {
        let filter = TopicFilter::new(filter).unwrap();
        may_subscribe(&MqttSettings::default(), &self.caller, self.rules.as_ref(), &filter) == Decision::Allow
    }

    /// Those without rules receive what they could subscribe to, and are not asked again.
    fn receives(&self, topic: &str) -> bool {
        self.rules.as_ref().map_or_else(|| self.subscribes(topic), |rules| rules.may_receive(topic))
    }
}

#[track_caller]
fn check(rows: &[(&str, &str)], asked: impl Fn(&Who, &str) -> bool) {
    let columns = columns();
    for (text, expected) in rows {
        let found: String = columns.iter().map(|who| if asked(who, text) { '+' } else { '.' }).collect();
        // Claims and devices that are no connectors yet may nothing of what a shorter row is about.
        let expected = format!("{:.<COLUMNS$}", expected.replace(' ', ""));
        assert_eq!(found, expected, "{text}");
    }
}

/// Topics that somebody may publish on, and all that nobody may.
const PUBLISHES: &[(&str, &str)] = &[
    ("$aws/things/t1/shadow/get", "++++.. ..."),
    ("$aws/things/t1/shadow/update", "++++.. ..."),
    ("$aws/things/t1/shadow/delete", "++++.. ..."),
    ("$aws/things/t1/shadow/name/n/update", "++++.. ..."),
    ("$aws/things/t2/shadow/update", ".++... ..."),
    ("$aws/things/t2/shadow/name/n/get", ".++... ..."),
    ("$aws/things/t11/shadow/get", ".++... ..."),
    // What an agent reports in is written by its thing alone, whatever a policy says.
    ("$aws/things/t1/shadow/name/components/update", "++++.. ..."),
    ("$aws/things/t1/shadow/name/agent/delete", "++++.. ..."),
    ("$aws/things/t2/shadow/name/components/get", ".++... ..."),
    ("$aws/things/t2/shadow/name/components/update", "...... ..."),
    ("$aws/things/t2/shadow/name/components/delete", "...... ..."),
    ("$aws/things/t2/shadow/name/agent/update", "...... ..."),
    ("$aws/things/t2/shadow/name/agent/delete", "...... ..."),
    ("$aws/things/t1/jobs/get", "+++... ..."),
    ("$aws/things/t1/jobs/start-next", "+++... ..."),
    ("$aws/things/t1/jobs/$next/get", "+++... ..."),
    ("$aws/things/t1/jobs/j/update", "+++... ..."),
    ("$aws/things/t2/jobs/j/update", ".++... ..."),
    ("$aws/things/t1/streams/s/describe/json", "++++.. ..."),
    ("$aws/things/t1/streams/s/get/cbor", "++++.. ..."),
    ("$aws/things/t2/streams/s/get/cbor", ".++... ..."),
    ("$aws/things/t1/defender/metrics/json", "++++.. ..."),
    ("$aws/things/t1/defender/metrics/cbor", "++++.. ..."),
    ("$aws/things/t2/defender/metrics/json", ".++... ..."),
    ("muster/things/t1/telemetry/host", "++++.. ..."),
    ("muster/things/t2/telemetry/host", ".++... ..."),
    // A connector's own certificate, whatever a policy says.
    ("muster/things/t1/certificate/renew", "++++++ ..."),
    ("muster/things/t1/certificate/prove", "++++++ ..."),
    ("muster/things/t1/certificate/trust", "++++++ ..."),
    ("muster/things/t2/certificate/renew", "...... ..."),
    ("muster/things/t1/certificate/renew/accepted", "...... ..."),
    ("muster/things/t1/certificate/notify", "...... ..."),
    ("app/t1/x", "+.++.. .+."),
    ("app/t2/x", "..+... .+."),
    ("sensors/x", "..+... .+."),
    // A claim's, whatever a policy says: the template in its name is t1.
    ("$aws/certificates/create/json", "...... ... +."),
    ("$aws/certificates/create-from-csr/cbor", "...... ... +."),
    ("$aws/provisioning-templates/t1/provision/json", "...... ... +."),
    ("$aws/provisioning-templates/t2/provision/json", "...... ... .."),
    ("$aws/certificates/create/json/accepted", "...... ... .."),
    // An operator's, whatever a policy says.
    ("muster/op/upgrade", "...... .+."),
    ("muster/op/policy-attach", "...... .+."),
    // The service's own voice, whatever a policy says.
    ("muster/reply/c1/x", "...... ..."),
    ("$aws/things/t1/shadow/get/accepted", "...... ..."),
    ("$aws/things/t1/shadow/update/rejected", "...... ..."),
    ("$aws/things/t1/shadow/update/delta", "...... ..."),
    ("$aws/things/t1/shadow/update/documents", "...... ..."),
    ("$aws/things/t1/shadow/name/n/update/delta", "...... ..."),
    ("$aws/things/t1/jobs/get/accepted", "...... ..."),
    ("$aws/things/t1/jobs/j/update/rejected", "...... ..."),
    ("$aws/things/t1/jobs/notify", "...... ..."),
    ("$aws/things/t1/jobs/notify-next", "...... ..."),
    ("$aws/things/t1/streams/s/description/json", "...... ..."),
    ("$aws/things/t1/streams/s/data/cbor", "...... ..."),
    ("$aws/things/t1/streams/s/rejected/json", "...... ..."),
    ("$aws/things/t1/defender/metrics/json/accepted", "...... ..."),
    ("$aws/things/t1/tunnels/notify", "...... ..."),
    ("$aws/events/presence/connected/c1", "...... ..."),
    ("$aws/events/subscriptions/subscribed/c1", "...... ..."),
    ("$aws/events/job/j/completed", "...... ..."),
    ("$aws/events/jobExecution/j/succeeded", "...... ..."),
    ("muster/view/connectors/t1", "...... ..."),
    ("muster/view/connectors/t1/metrics", "...... ..."),
    ("muster/view/actions", "...... ..."),
];

#[test]
fn publishing_follows_the_matrix() {
    check(PUBLISHES, Who::publishes);
}

#[test]
fn every_family_of_topics_has_a_row() {
    let family = |topic: &Topic| match topic {
        Topic::Shadow { .. } => "shadow",
        Topic::Jobs { .. } => "jobs",
        Topic::Stream { .. } => "streams",
        Topic::Telemetry { .. } => "telemetry",
        Topic::Certificate { .. } => "certificate",
        Topic::Operator { .. } => "operator",
        Topic::Reply { .. } => "reply",
        Topic::Presence { .. } => "presence",
        Topic::Subscriptions { .. } => "subscriptions",
        Topic::Elsewhere { .. } => "elsewhere",
        Topic::JobEvent { .. } => "job event",
        Topic::JobExecutionEvent { .. } => "execution event",
        Topic::View(_) => "view",
        Topic::Application(_) => "application",
        Topic::Provisioning(_) => "provisioning",
    };
    let found: BTreeSet<&str> = PUBLISHES.iter().map(|(text, _)| family(&Topic::parse(text).unwrap())).collect();
    assert_eq!(found.len(), 15, "{found:?}");
}

#[test]
fn subscribing_follows_the_matrix() {
    let rows = [
        ("$aws/things/t1/shadow/update/accepted", "+++++. ++."),
        ("$aws/things/t1/shadow/get/+", "+++++. ++."),
        ("$aws/things/t1/shadow/#", "+++++. ++."),
        ("$aws/things/t1/jobs/notify", "++++.. ..."),
        ("$aws/things/t1/jobs/$next/get/+", "++++.. ..."),
        ("$aws/things/t1/streams/+/data/cbor", "++++.. ..."),
        ("$aws/things/t2/streams/s/data/json", ".++... ..."),
        ("$aws/things/t1/defender/metrics/json/+", "++++.. ..."),
        ("$aws/things/t1/tunnels/notify", "++++.. ..."),
        ("$aws/things/t2/tunnels/notify", ".++... ..."),
        ("$aws/things/t1/#", "++++.. ..."),
        ("$aws/things/t1/+/get/accepted", ".++... ..."),
        ("$aws/things/t2/shadow/#", ".++.+. ++."),
        ("$aws/things/t2/jobs/notify", ".++... ..."),
        ("$aws/things/t2/#", ".++... ..."),
        ("$aws/things/+/shadow/update/documents", ".++.+. ++."),
        ("$aws/things/+/jobs/#", ".++... ..."),
        ("$aws/things/#", ".++... ..."),
        ("$aws/events/#", "..+.+. ++."),
        ("$aws/events/presence/+/+", "..+.+. ++."),
        ("$aws/events/subscriptions/+/+", "..+.+. ++."),
        ("muster/view/#", "..+.+. ++."),
        ("muster/view/connectors/t1", "..+.+. ++."),
        ("app/t1/#", "+.++.. ++."),
        ("app/t2/x", "..+... ++."),
        ("sensors/+", "..+... ++."),
        ("muster/things/t1/certificate/+/+", "++++++ ..."),
        ("muster/things/t1/certificate/notify", "++++++ ..."),
        ("muster/things/t2/certificate/notify", "...... ..."),
        ("muster/things/+/certificate/notify", "...... ..."),
        ("muster/reply/c1/#", "...... .+."),
        ("$aws/certificates/create/json/accepted", "...... ... +."),
        ("$aws/certificates/create-from-csr/#", "...... ... +."),
        ("$aws/provisioning-templates/t1/provision/+/accepted", "...... ... +."),
        ("$aws/provisioning-templates/t2/provision/json/accepted", "...... ... .."),
        ("$aws/provisioning-templates/+/provision/json/accepted", "...... ... .."),
        ("$aws/certificates/#", "...... ... .."),
        // Out of reach, whatever a policy says.
        ("muster/reply/c2/#", "...... ..."),
        ("muster/reply/#", "...... ..."),
        ("muster/op/#", "...... ..."),
        ("muster/things/t1/telemetry/host", "...... ..."),
        ("muster/#", "...... ..."),
        ("muster/+/actions", "...... ..."),
        ("$aws/#", "...... ..."),
        ("$aws/+/t1/#", "...... ..."),
        ("+/view/#", "...... ..."),
        ("+/#", "...... ..."),
        ("#", "...... ..."),
    ];
    check(&rows, Who::subscribes);
}

#[test]
fn receiving_follows_the_matrix() {
    let rows = [
        ("$aws/things/t1/shadow/update/accepted", "+++++. ++."),
        ("$aws/things/t1/jobs/notify", "++++.. ..."),
        ("$aws/things/t2/shadow/update/delta", ".++.+. ++."),
        ("$aws/things/t2/jobs/notify", ".++... ..."),
        ("$aws/events/presence/connected/c1", "..+.+. ++."),
        ("muster/view/actions", "..+.+. ++."),
        ("muster/things/t1/certificate/notify", "++++++ ..."),
        ("app/t1/x", "+.++.. ++."),
        ("sensors/x", "..+... ++."),
    ];
    check(&rows, Who::receives);
}

#[test]
fn connecting_and_retaining_follow_the_policies() {
    let plain = ConnectAttributes::default();
    let connects = |who: &Who| may_connect(who.rules.as_ref(), &who.caller, plain) == Decision::Allow;
    assert_eq!(columns().each_ref().map(connects), [true, true, true, true, true, false, true, true, true, true, true]);
    let own = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["iot:Connect","iot:Publish"],
        "Resource":["client/${iot:Connection.Thing.ThingName}","topic/app/*"]}]}"#;
    assert!(connects(&connector("t1", false, &[own])), "the thing's own name");
    let other = connector("c1", false, &[own]);
    assert!(!connects(&other), "another client id");
    assert!(connects(&connector("t1-proof", false, &[own])), "the proof of its next certificate");
    assert!(!connects(&connector("t2-proof", false, &[own])));
    let never = r#"{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"iot:Connect","Resource":"*"}}"#;
    assert!(!connects(&connector("t1-proof", true, &[never])), "what is denied is denied");
    // RETAIN is an action of its own.
    let topic = Topic::parse("app/x").unwrap();
    let retains = |who: &Who| who.rules.as_ref().unwrap().may_retain(&topic) == Decision::Allow;
    assert!(other.publishes("app/x") && !retains(&other));
    assert!(retains(&connector("c1", false, &[EVERYTHING])));
}

#[test]
fn the_document_of_the_default_policy_says_what_the_table_says() {
    let table = Who { caller: caller(Role::Connector, "c1"), rules: None };
    let document = connector("c1", false, &[built_in("default")]);
    for (topic, _) in PUBLISHES.iter().filter(|(topic, _)| !topic.starts_with("app/")) {
        assert_eq!(document.publishes(topic), table.publishes(topic), "publish {topic}");
        assert_eq!(document.subscribes(topic), table.subscribes(topic), "subscribe {topic}");
        for filter in ["#", "+", "get/+"].map(|end| topic.rsplit_once('/').unwrap().0.to_owned() + "/" + end) {
            if TopicFilter::new(&filter).is_ok() && !filter.starts_with("app/") {
                assert_eq!(document.subscribes(&filter), table.subscribes(&filter), "subscribe {filter}");
            }
        }
    }
}
