#![allow(clippy::unwrap_used)]
use super::*;

fn facts() -> Facts<'static> {
    Facts { client_id: "c1", thing: "t1", certificate_id: "ab12", ..Facts::default() }
}

fn permit(documents: &[&str], facts: &Facts<'_>) -> Permit {
    let policies = documents.iter().map(|text| Arc::new(Policy::parse(text).unwrap())).collect();
    Permit::new(Arc::new(Grants { policies, ..Grants::default() }), facts)
}

fn statement(effect: &str, action: &str, resource: &str) -> String {
    format!(
        r#"{{"Version":"2012-10-17","Statement":{{"Effect":"{effect}","Action":"{action}","Resource":"{resource}"}}}}"#
    )
}

#[track_caller]
fn check(documents: &[&str], facts: &Facts<'_>, action: Action, resource: Resource<'_>, expected: Verdict) {
    assert_eq!(permit(documents, facts).ask(action, resource), expected, "{documents:?} {action:?} {resource:?}");
}

#[test]
fn the_built_in_policies_are_sound() {
    for (name, _, text) in BUILTINS {
        assert!(PolicyName::new(name).is_ok());
        Policy::parse(text).unwrap();
    }
}

#[test]
fn an_explicit_deny_wins_over_every_allow() {
    let allow = statement("Allow", "iot:*", "*");
    let deny = statement("Deny", "iot:Publish", "arn:aws:iot:eu-west-1:123456789012:topic/a/*");
    for documents in [[&*allow, &*deny], [&*deny, &*allow]] {
        let topic = |text| Resource::Topic(text);
        check(&documents, &facts(), Action::Publish, topic("a/b"), Verdict::Denied);
        check(&documents, &facts(), Action::Publish, topic("b"), Verdict::Allowed);
        check(&documents, &facts(), Action::Receive, topic("a/b"), Verdict::Allowed);
    }
    check(&[&deny], &facts(), Action::Publish, Resource::Topic("b"), Verdict::Silent);
}

#[test]
fn resources_and_actions_follow_the_table() {
    use Action::{Connect, GetThingShadow, ListRetainedMessages, Publish, Subscribe, UpdateJobExecution};
    use Resource::{Client, Everything, Thing, Topic, TopicFilter};
    for (action, resource, asked, about, expected) in [
        ("iot:Publish", "topic/a", Publish, Topic("a"), Verdict::Allowed),
        ("IOT:publish", "topic/a", Publish, Topic("a"), Verdict::Allowed),
        ("iot:Publish", "topic/a", Publish, Topic("a/b"), Verdict::Silent),
        ("iot:Publish", "topicfilter/a", Publish, Topic("a"), Verdict::Silent),
        ("iot:Pub*", "arn:*:iot:*:*:topic/*", Publish, Topic("a/b"), Verdict::Allowed),
        ("iot:Publish", "arn:aws-cn:iot:cn-north-1:1:topic/a:b", Publish, Topic("a:b"), Verdict::Allowed),
        ("iot:Subscribe", "arn:aws:iot:*:*:topicfilter/a/+", Subscribe, TopicFilter("a/+"), Verdict::Allowed),
        ("iot:Subscribe", "arn:aws:iot:*:*:topicfilter/a/b", Subscribe, TopicFilter("a/+"), Verdict::Silent),
        ("iot:Subscribe", "arn:aws:iot:*:*:topicfilter/a/+", Subscribe, TopicFilter("a/b"), Verdict::Silent),
        ("iot:Connect", "client/c?", Connect, Client("c1"), Verdict::Allowed),
        ("iot:*ThingShadow", "thing/t1", GetThingShadow, Thing("t1"), Verdict::Allowed),
        ("iot:*ThingShadow", "thing/t1", GetThingShadow, Thing("t2"), Verdict::Silent),
        ("iotjobsdata:UpdateJobExecution", "thing/*", UpdateJobExecution, Thing("t"), Verdict::Allowed),
        ("iot:UpdateJobExecution", "arn:aws:iot:*", UpdateJobExecution, Thing("t"), Verdict::Allowed),
        ("iot:ListRetainedMessages", "*", ListRetainedMessages, Everything, Verdict::Allowed),
        ("*", "*", Publish, Topic("a"), Verdict::Allowed),
    ] {
        check(&[&statement("Allow", action, resource)], &facts(), asked, about, expected);
    }
}

#[test]
fn variables_have_the_values_of_the_connection() {
    let names = CertificateNames {
        subject: vec![
            (NameField::CommonName, "cn".into()),
            (NameField::OrganizationalUnit, "one".into()),
            (NameField::OrganizationalUnit, "two".into()),
        ],
        issuer: vec![(NameField::Organization, "Acme".into())],
        serial: "0a".into(),
    };
    let attributes = [("pool", "blue".to_owned()), ("site", "a*".to_owned())];
    let facts = Facts {
        certificate: Some(&names),
        attributes: &attributes,
        source: Some("192.0.2.7".parse().unwrap()),
        ..facts()
    };
    for (variable, value) in [
        ("iot:ClientId", "c1"),
        ("iot:Connection.Thing.ThingName", "t1"),
        ("iot:Connection.Thing.IsAttached", "true"),
        ("iot:Connection.Thing.Attributes[pool]", "blue"),
        ("iot:CertificateId", "ab12"),
        ("iot:Certificate.SerialNumber", "0a"),
        ("iot:Certificate.Subject.CommonName", "cn"),
        ("iot:Certificate.Subject.OrganizationalUnit.1", "two"),
        ("iot:Certificate.Issuer.Organization", "Acme"),
        ("aws:SourceIp", "192.0.2.7"),
        // Without a value, or with one that would widen the pattern: the text stays.
        ("iot:Connection.Thing.ThingTypeName", "${iot:Connection.Thing.ThingTypeName}"),
        ("iot:Connection.Thing.Attributes[nix]", "${iot:Connection.Thing.Attributes[nix]}"),
        ("iot:Connection.Thing.Attributes[site]", "${iot:Connection.Thing.Attributes[site]}"),
        ("iot:Certificate.Subject.OrganizationalUnit.2", "${iot:Certificate.Subject.OrganizationalUnit.2}"),
    ] {
        let document = statement("Allow", "iot:Publish", &format!("topic/x/${{{variable}}}/y"));
        let topic = format!("x/{value}/y");
        check(&[&document], &facts, Action::Publish, Resource::Topic(&topic), Verdict::Allowed);
        check(&[&document], &facts, Action::Publish, Resource::Topic("x/other/y"), Verdict::Silent);
    }
}

#[test]
fn values_that_are_wildcards_widen_nothing() {
    for id in ["*", "a?", "$x", "a+", "#", &"x".repeat(1025)] {
        let facts = Facts { client_id: id, ..facts() };
        let document = statement("Allow", "iot:Publish", "topic/${iot:ClientId}/y");
        for topic in ["ab/y", "b/y", id] {
            check(&[&document], &facts, Action::Publish, Resource::Topic(topic), Verdict::Silent);
        }
    }
}

#[test]
fn conditions_follow_the_table() {
    let ask = |condition: &str, facts: &Facts<'_>, attributes: ConnectAttributes| {
        let document = format!(
            r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":"iot:Connect","Resource":"*",
                "Condition":{condition}}}]}}"#
        );
        permit(&[&document], facts).ask_connect("c1", attributes) == Verdict::Allowed
    };
    let plain = ConnectAttributes::default();
    let (kept, will) =
        (ConnectAttributes { persistent: true, will: false }, ConnectAttributes { persistent: true, will: true });
    let all = r#"{"ForAllValues:StringEquals":{"iot:ConnectAttributes":["PersistentConnect"]}}"#;
    assert_eq!([plain, kept, will].map(|connect| ask(all, &facts(), connect)), [true, true, false]);
    let any = r#"{"ForAnyValue:StringEquals":{"iot:ConnectAttributes":["LastWill"]}}"#;
    assert_eq!([plain, kept, will].map(|connect| ask(any, &facts(), connect)), [false, false, true]);
    let attached = r#"{"Bool":{"iot:Connection.Thing.IsAttached":"true"}}"#;
    assert!(ask(attached, &facts(), plain) && !ask(attached, &Facts { thing: "", ..facts() }, plain));
    let from = |text: &str| Facts { source: Some(text.parse().unwrap()), ..facts() };
    for (network, address, inside) in [
        ("10.0.0.0/8", "10.9.8.7", true),
        ("10.0.0.0/8", "11.0.0.1", false),
        ("10.0.0.0/8", "::ffff:10.0.0.1", true),
        ("192.0.2.7", "192.0.2.8", false),
        ("0.0.0.0/0", "8.8.8.8", true),
        ("2001:db8::/32", "2001:db8:1::1", true),
        ("::/0", "::1", true),
        ("2001:db8::/32", "10.0.0.1", false),
        ("::ffff:10.1.2.3", "10.1.2.3", true),
        ("::ffff:10.0.0.0/104", "::ffff:10.9.8.7", true),
        ("::ffff:10.0.0.0/104", "11.0.0.1", false),
    ] {
        let condition = |operator: &str| format!(r#"{{"{operator}":{{"aws:SourceIp":["{network}"]}}}}"#);
        assert_eq!(ask(&condition("IpAddress"), &from(address), plain), inside, "{network} {address}");
        assert_eq!(ask(&condition("NotIpAddress"), &from(address), plain), !inside, "{network} {address}");
    }
    for (condition, holds) in [
        (r#"{"StringEquals":{"iot:ClientId":["c0","c1"]}}"#, true),
        (r#"{"StringEquals":{"iot:ClientId":"c?"}}"#, false),
        (r#"{"StringLike":{"iot:ClientId":"c?"}}"#, true),
        (r#"{"StringNotLike":{"iot:ClientId":"c?"}}"#, false),
        (r#"{"StringNotEquals":{"iot:Connection.Thing.Attributes[pool]":"blue"}}"#, true),
        (r#"{"StringEquals":{"iot:Connection.Thing.Attributes[pool]":"blue"}}"#, false),
        (r#"{"StringEquals":{"iot:ClientId":"c1"},"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}"#, false),
    ] {
        assert_eq!(ask(condition, &facts(), plain), holds, "{condition}");
    }
}

#[test]
fn every_problem_is_told_at_once() {
    let text = r#"{
        "Version": "2008-10-17", "Name": "x",
        "Statement": [
            {"Effect": "Maybe", "Action": ["iot:Publsh", "iot:Publish", 7], "Resource": "topci/a"},
            {"Effect": "Allow", "NotAction": "iot:Connect", "Resource": ["topic/${iot:Client}", "topic/${iot:ClientId", "arn:aws:s3:::x", "topic"]},
            {"Effect": "Deny", "Action": "iot:Connect", "Resource": "*", "Principal": "*",
             "Condition": {"NumericEquals": {"a": "1"}, "Bool": {"iot:ClientId": "true"}, "IpAddress": {"aws:SourceIp": ["10.0.0.0/33", "x"]}}},
            "no"
        ]}"#;
    let problems = Policy::parse(text).unwrap_err();
    let starts = [
        "\"Name\" is not known",
        "Version is not \"2012-10-17\"",
        "Statement[0].Effect is neither",
        "Statement[0].Action[0]: no action is called \"iot:Publsh\"",
        "Statement[0].Action[2] is not a text",
        "Statement[0].Resource[0]: \"topci/a\" is no resource",
        "Statement[1].NotAction is not supported",
        "Statement[1].Action is missing",
        "Statement[1].Resource[0]: no variable is called \"iot:Client\"",
        "Statement[1].Resource[1]: \"topic/${iot:ClientId\" has a ${ without its }",
        "Statement[1].Resource[2]: \"arn:aws:s3:::x\" is no resource",
        "Statement[1].Resource[3]: \"topic\" is no resource",
        "Statement[2].Principal has no meaning here",
        "Statement[2].Condition.Bool.iot:ClientId: Bool is for",
        "Statement[2].Condition.IpAddress.aws:SourceIp: \"10.0.0.0/33\" is no network",
        "Statement[2].Condition.IpAddress.aws:SourceIp: \"x\" is no network",
        "Statement[2].Condition.NumericEquals.a: the operator \"NumericEquals\" is not known",
        "Statement[3] is not an object",
    ];
    assert_eq!(problems.0.len(), starts.len(), "{problems}");
    for (found, start) in problems.0.iter().zip(starts) {
        assert!(found.starts_with(start), "{found}\nshould begin with {start}");
    }
    assert!(problems.to_string().starts_with("the policy is not usable (18 problems)\n  \"Name\""));
}

#[test]
fn a_key_that_stands_there_twice_is_refused() {
    for (condition, key) in [
        (r#"{"StringEquals":{"iot:ClientId":"a"},"StringEquals":{"aws:SourceIp":"b"}}"#, "StringEquals"),
        (r#"{"StringEquals":{"iot:ClientId":"a","iot:Client\u0049d":"b"}}"#, "iot:ClientId"),
    ] {
        let document = statement("Allow", "iot:Connect", r#"*","Condition":REPLACED,"Sid":"x"#);
        let problem = Policy::parse(&document.replace("REPLACED", condition)).unwrap_err().to_string();
        assert!(problem.contains(&format!("an object has the key {key:?} twice")), "{problem}");
    }
    let document = statement("Deny", "*", r#"*","Effect":"Allow"#);
    assert!(Policy::parse(&document).is_err(), "the one that denies would be lost");
}

#[test]
fn what_is_told_of_problems_is_bounded() {
    let document =
        statement("Allow", "REPLACED", "*").replace("\"REPLACED\"", &format!("[{}1]", "\"\u{7f}\",".repeat(3000)));
    let problems = Policy::parse(&document).unwrap_err();
    assert_eq!(problems.0.last().map(String::as_str), Some("there are more; mend these first"));
    let twice = format!("{{\"{key}\":1,\"{key}\":1}}", key = "\u{7f}".repeat(8000));
    for text in [document, statement("Allow", &"\u{7f}".repeat(15_000), "*"), twice] {
        let problems = Policy::parse(&text).unwrap_err().to_string();
        assert!(problems.len() < 25_000, "{} bytes", problems.len());
    }
}

#[test]
fn documents_have_a_largest_size() {
    let document = |length: usize| statement("Allow", "iot:Publish", &format!("topic/{}", "x".repeat(length)));
    let frame = document(0).len();
    assert!(Policy::parse(&document(2048 - frame)).is_ok());
    let spaced = document(2048 - frame).replace("\"Statement\"", "   \n  \"Statement\"");
    assert!(Policy::parse(&spaced).is_ok(), "white space does not count");
    let problem = Policy::parse(&document(2049 - frame)).unwrap_err().to_string();
    assert!(problem.ends_with("it has 2049 characters without white space; at most 2048 are allowed"), "{problem}");
    for bad in ["", "[]", "{", "\"x\"", &" ".repeat(20_000)] {
        assert_eq!(Policy::parse(bad).unwrap_err().0.len(), 1, "{bad:?}");
    }
}

#[test]
fn what_needs_the_certificate_is_known() {
    let needs = |resource: &str| Policy::parse(&statement("Allow", "*", resource)).unwrap().needs_certificate();
    assert!(needs("topic/${iot:Certificate.Subject.CommonName}") && needs("topic/${iot:Certificate.SerialNumber}"));
    assert!(!needs("topic/${iot:CertificateId}") && !needs("*"));
}
