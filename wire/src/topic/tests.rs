#![allow(clippy::unwrap_used)]
use super::*;
use crate::codec::Encoding;
use crate::id::TemplateName;
use proptest::prelude::*;

#[track_caller]
fn check(text: &str, expected: &Topic) {
    assert_eq!(Topic::parse(text).as_ref(), Ok(expected));
    assert_eq!(expected.to_string(), text);
}

fn thing(name: &str) -> ThingName {
    ThingName::new(name).unwrap()
}

fn job(name: &str) -> JobId {
    JobId::new(name).unwrap()
}

#[test]
fn known_topics_round_trip() {
    let shadow = |shadow: Option<&str>, verb| Topic::Shadow {
        thing: thing("t:1"),
        shadow: shadow.map(|s| ShadowName::new(s).unwrap()),
        verb,
    };
    check("$aws/things/t:1/shadow/get", &shadow(None, ShadowTopic::Request(ShadowVerb::Get)));
    check("$aws/things/t:1/shadow/update/delta", &shadow(None, ShadowTopic::Delta));
    check(
        "$aws/things/t:1/shadow/name/components/update/accepted",
        &shadow(Some("components"), ShadowTopic::Accepted(ShadowVerb::Update)),
    );
    check(
        "$aws/things/t:1/shadow/name/name/delete/rejected",
        &shadow(Some("name"), ShadowTopic::Rejected(ShadowVerb::Delete)),
    );
    let jobs = |verb| Topic::Jobs { thing: thing("a"), verb };
    check("$aws/things/a/jobs/get", &jobs(JobsTopic::Request(JobsVerb::GetPending)));
    check("$aws/things/a/jobs/get/accepted", &jobs(JobsTopic::Accepted(JobsVerb::GetPending)));
    check("$aws/things/a/jobs/start-next/rejected", &jobs(JobsTopic::Rejected(JobsVerb::StartNext)));
    check("$aws/things/a/jobs/$next/get", &jobs(JobsTopic::Request(JobsVerb::Describe(JobRef::Next))));
    check("$aws/things/a/jobs/get/get", &jobs(JobsTopic::Request(JobsVerb::Describe(JobRef::Id(job("get"))))));
    check("$aws/things/a/jobs/j-1/update/accepted", &jobs(JobsTopic::Accepted(JobsVerb::Update(job("j-1")))));
    check("$aws/things/a/jobs/notify/update", &jobs(JobsTopic::Request(JobsVerb::Update(job("notify")))));
    check("$aws/things/a/jobs/notify-next", &jobs(JobsTopic::NotifyNext));
    for (text, verb) in [
        ("describe", StreamTopic::Request(StreamVerb::Describe)),
        ("get", StreamTopic::Request(StreamVerb::Get)),
        ("description", StreamTopic::Description),
        ("data", StreamTopic::Data),
        ("rejected", StreamTopic::Rejected),
    ] {
        for (end, encoding) in [("json", Encoding::Json), ("cbor", Encoding::Cbor)] {
            let stream = StreamId::new("s_1").unwrap();
            let topic = Topic::Stream { thing: thing("a"), stream, verb, encoding };
            assert_eq!(topic.is_request(), matches!(verb, StreamTopic::Request(_)));
            check(&format!("$aws/things/a/streams/s_1/{text}/{end}"), &topic);
        }
    }
    let provisioning = |api, format, voice| Topic::Provisioning(ProvisioningTopic { api, format, voice });
    let create = ProvisioningApi::CreateKeys;
    check("$aws/certificates/create/json", &provisioning(create.clone(), Encoding::Json, Voice::Request));
    check("$aws/certificates/create/cbor/accepted", &provisioning(create, Encoding::Cbor, Voice::Accepted));
    check(
        "$aws/certificates/create-from-csr/json/rejected",
        &provisioning(ProvisioningApi::CreateFromCsr, Encoding::Json, Voice::Rejected),
    );
    let register = ProvisioningApi::Register(TemplateName::new("cams").unwrap());
    check("$aws/provisioning-templates/cams/provision/cbor", &provisioning(register, Encoding::Cbor, Voice::Request));
    check("muster/view/connectors/a/metrics", &Topic::View(ViewTopic::Metrics(thing("a"))));
    check("muster/reply/cli-7/x", &Topic::Reply { rest: "cli-7/x".into() });
    check("muster/op/upgrade", &Topic::Operator { verb: crate::admin::Verb::Upgrade });
    check(
        "$aws/events/presence/connected/c 1",
        &Topic::Presence { event: PresenceEvent::Connected, client: "c 1".into() },
    );
    let failed = Topic::Presence { event: PresenceEvent::ConnectFailed, client: "c".into() };
    check("$aws/events/presence/connect_failed/c", &failed);
    let subscriptions = |event| Topic::Subscriptions { event, client: "c".into() };
    check("$aws/events/subscriptions/subscribed/c", &subscriptions(SubscriptionEvent::Subscribed));
    check("$aws/events/subscriptions/unsubscribed/c", &subscriptions(SubscriptionEvent::Unsubscribed));
    for (end, voice) in [("", Voice::Request), ("/accepted", Voice::Accepted), ("/rejected", Voice::Rejected)] {
        for (format, encoding) in [("json", Encoding::Json), ("cbor", Encoding::Cbor)] {
            let topic = Topic::Elsewhere { thing: thing("a"), verb: ElsewhereTopic::Metrics { encoding, voice } };
            assert_eq!(topic.is_request(), voice == Voice::Request);
            check(&format!("$aws/things/a/defender/metrics/{format}{end}"), &topic);
        }
    }
    let tunnel = Topic::Elsewhere { thing: thing("a"), verb: ElsewhereTopic::TunnelNotify };
    assert!(!tunnel.is_request());
    check("$aws/things/a/tunnels/notify", &tunnel);
}

#[test]
fn other_topics_are_refused_with_the_reason() {
    let cases = [
        ("", "no part of the service has the topic \"\""),
        ("$aws/things/a/shadow", "no part of the service has the topic \"$aws/things/a/shadow\""),
        ("$aws/things/a/shadow/get/delta", "no part of the service has the topic \"$aws/things/a/shadow/get/delta\""),
        ("$aws/certificates/create/xml", "no part of the service has the topic \"$aws/certificates/create/xml\""),
        ("$aws/certificates/create/json/x", "no part of the service has the topic \"$aws/certificates/create/json/x\""),
        (
            "$aws/provisioning-templates/a/b/json",
            "no part of the service has the topic \"$aws/provisioning-templates/a/b/json\"",
        ),
        ("$aws/things/a/jobs/x/y", "no jobs API has the topic \"$aws/things/a/jobs/x/y\""),
        ("$aws/things/a/jobs/$next/update", "no jobs API has the topic \"$aws/things/a/jobs/$next/update\""),
        ("muster/op/rm-rf", "no part of the service has the topic \"muster/op/rm-rf\""),
        ("a/+", "no part of the service has the topic \"a/+\""),
        ("/a", "no part of the service has the topic \"/a\""),
        ("muster/a", "no part of the service has the topic \"muster/a\""),
        ("$a/b", "no part of the service has the topic \"$a/b\""),
        ("a/b/c/d/e/f/g/h/i", "topic has 8 slashes; at most 7 are allowed"),
    ];
    for (text, message) in cases {
        assert_eq!(Topic::parse(text).map_err(|e| e.to_string()), Err(message.to_owned()), "{text}");
    }
    assert_eq!(Topic::parse(&"x".repeat(257)), Err(TopicError::TooLong(257)));
    assert!(matches!(Topic::parse("$aws/things/a+/shadow/get"), Err(TopicError::Name(_))));
}

#[test]
fn only_requests_may_be_published() {
    for (text, may) in [
        ("$aws/things/a/shadow/update", true),
        ("$aws/things/a/shadow/update/accepted", false),
        ("$aws/things/a/shadow/update/delta", false),
        ("$aws/things/a/jobs/notify", false),
        ("$aws/things/a/jobs/j/update", true),
        ("$aws/certificates/create/json", true),
        ("$aws/certificates/create/json/accepted", false),
        ("$aws/provisioning-templates/a/provision/cbor", true),
        ("$aws/provisioning-templates/a/provision/cbor/rejected", false),
        ("muster/things/a/telemetry/host", true),
        ("muster/things/a/certificate/renew", true),
        ("muster/things/a/certificate/prove", true),
        ("muster/things/a/certificate/trust", true),
        ("muster/things/a/certificate/trust/accepted", false),
        ("muster/things/a/certificate/renew/rejected", false),
        ("muster/things/a/certificate/notify", false),
        ("muster/view/actions", false),
        ("app/a/state", true),
    ] {
        assert_eq!(Topic::parse(text).unwrap().is_request(), may, "{text}");
    }
}

#[test]
fn a_claim_hears_the_answers_to_its_own_requests_only() {
    for (filter, may) in [
        ("$aws/certificates/create/json/accepted", true),
        ("$aws/certificates/create/cbor/+", true),
        ("$aws/certificates/create/#", true),
        ("$aws/certificates/create-from-csr/json/rejected", true),
        ("$aws/provisioning-templates/cams/provision/json/accepted", true),
        ("$aws/provisioning-templates/cams/provision/+/+", true),
        ("$aws/certificates/#", false),
        ("$aws/certificates/+/json/accepted", false),
        ("$aws/certificates/create", false),
        ("$aws/certificates/created/json", false),
        ("$aws/provisioning-templates/cams2/provision/json/accepted", false),
        ("$aws/provisioning-templates/+/provision/json/accepted", false),
        ("$aws/provisioning-templates/cams/#", false),
        ("$aws/things/cams/shadow/get/accepted", false),
        ("#", false),
    ] {
        assert_eq!(provisions(filter, "cams"), may, "{filter}");
    }
}

proptest! {
    #[test]
    fn no_text_panics_and_what_parses_prints_the_same(text in "([$a-z]{0,8}/){0,9}[$a-z+#]{0,8}") {
        if let Ok(topic) = Topic::parse(&text) {
            prop_assert_eq!(topic.to_string(), text);
        }
    }

    #[test]
    fn shadow_topics_round_trip(
        thing in "[a-zA-Z0-9:_-]{1,128}",
        shadow in proptest::option::of("[$a-zA-Z0-9:_-]{1,40}"),
        tail in prop_oneof![
            Just("get"), Just("update"), Just("delete/accepted"), Just("update/rejected"), Just("update/documents")
        ],
    ) {
        let name = shadow.map(|s| format!("/name/{s}")).unwrap_or_default();
        let text = format!("$aws/things/{thing}/shadow{name}/{tail}");
        prop_assert_eq!(Topic::parse(&text).map(|t| t.to_string()), Ok(text));
    }
}
