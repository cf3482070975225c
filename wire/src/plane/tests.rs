#![allow(clippy::unwrap_used)]
use super::*;

fn thing(name: &str) -> ThingName {
    ThingName::new(name).unwrap()
}

fn parse(line: &str) -> Result<Operation, PlaneError> {
    let (method, uri) = line.split_once(' ').unwrap();
    let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
    assert!(is_plane(path), "{path}");
    Operation::parse(method, path, query)
}

#[track_caller]
fn check(line: &str, expected: Operation) {
    assert_eq!(parse(line), Ok(expected), "{line}");
}

#[test]
fn what_boto3_sends_is_understood() {
    let shadow = |shadow: Option<&str>, verb| Operation::Shadow {
        thing: thing("t:1"),
        shadow: shadow.map(|name| ShadowName::new(name).unwrap()),
        verb,
    };
    check("GET /things/t%3A1/shadow", shadow(None, ShadowVerb::Get));
    check("POST /things/t%3A1/shadow?name=a", shadow(Some("a"), ShadowVerb::Update));
    check("DELETE /things/t:1/shadow?name=%24x", shadow(Some("$x"), ShadowVerb::Delete));
    let page = |after: Option<&str>, size| Page { after: after.map(Into::into), size };
    check(
        "GET /api/things/shadow/ListNamedShadowsForThing/t",
        Operation::Shadows { thing: thing("t"), page: page(None, 25) },
    );
    check(
        "GET /api/things/shadow/ListNamedShadowsForThing/t?pageSize=2&nextToken=6162",
        Operation::Shadows { thing: thing("t"), page: page(Some("ab"), 2) },
    );
    let jobs = |verb, describe| Operation::Jobs { thing: thing("t"), verb, describe };
    let id = || JobId::new("j").unwrap();
    check("GET /things/t/jobs", jobs(JobsVerb::GetPending, DescribeRequest::default()));
    check("PUT /things/t/jobs/$next", jobs(JobsVerb::StartNext, DescribeRequest::default()));
    check("GET /things/t/jobs/%24next", jobs(JobsVerb::Describe(JobRef::Next), DescribeRequest::default()));
    check(
        "GET /things/t/jobs/j?includeJobDocument=false&executionNumber=2",
        jobs(
            JobsVerb::Describe(JobRef::Id(id())),
            DescribeRequest { execution_number: Some(2), include_job_document: Some(false), client_token: None },
        ),
    );
    check("POST /things/t/jobs/j", jobs(JobsVerb::Update(id()), DescribeRequest::default()));
    let wish = Publish {
        at_least_once: true,
        retain: true,
        content_type: Some("application/senml+json".into()),
        response_topic: Some("r/1".into()),
        expiry_seconds: Some(60),
    };
    check(
        "POST /topics/a%2Fb%20c%2Fd?qos=1&retain=true&contentType=application/senml+json&responseTopic=r%2F1&messageExpiry=60",
        Operation::Publish { topic: "a/b c/d".into(), wish },
    );
    check("POST /topics/a/b", Operation::Publish { topic: "a/b".into(), wish: Publish::default() });
    check("GET /retainedMessage/a%2Fb", Operation::Retained { topic: "a/b".into() });
    check("GET /retainedMessage?maxResults=3", Operation::RetainedList { page: page(None, 3) });
    check("GET /connections/c%201", Operation::Connection { client: "c 1".into(), with_socket: false });
    check(
        "DELETE /connections/c?cleanSession=true&preventWillMessage=true",
        Operation::Disconnect { client: "c".into(), clean_session: true, prevent_will: true },
    );
    check("GET /connections/c/subscriptions", Operation::Subscriptions { client: "c".into(), page: page(None, 20) });
    check("GET /endpoint?endpointType=iot%3AData-ATS", Operation::Endpoint { kind: "iot:Data-ATS".into() });
}

#[test]
fn what_is_no_operation_is_refused_with_the_reason() {
    for (line, expected) in [
        ("GET /things/t", PlaneError::Path("/things/t".into())),
        ("GET /things//t/shadow", PlaneError::Path("/things//t/shadow".into())),
        ("PUT /things/t/shadow", PlaneError::Method("GET, POST, DELETE")),
        ("POST /things/t/jobs", PlaneError::Method("GET")),
        ("DELETE /things/t/jobs/j", PlaneError::Method("GET, POST")),
        ("GET /topics/a", PlaneError::Method("POST")),
        ("PUT /connections/c", PlaneError::Method("GET, DELETE")),
        ("POST /topics/a?qos=2", PlaneError::Invalid("qos is 0 or 1".into())),
        ("POST /topics/a?retain=yes", PlaneError::Invalid("retain is true or false".into())),
        ("GET /retainedMessage?maxResults=201", PlaneError::Invalid("maxResults is 1 to 200".into())),
        ("GET /retainedMessage?nextToken=zz", PlaneError::Invalid("nextToken is none that this server gave".into())),
    ] {
        assert_eq!(parse(line), Err(expected), "{line}");
    }
    for line in
        ["GET /things/a%2Fb/shadow", "GET /things/t/jobs/a.b", "GET /things/%zz/shadow", "GET /things/%ff/shadow"]
    {
        assert!(matches!(parse(line), Err(PlaneError::Invalid(_))), "{line}");
    }
    assert!(!is_plane("/v1/enrol") && !is_plane("/") && !is_plane("") && !is_plane("/thingsx"));
}

#[test]
fn pages_join_to_the_whole_list() {
    let names: Vec<String> = (0..7).map(|number| format!("n{number}")).collect();
    let (mut all, mut token) = (Vec::new(), String::new());
    loop {
        let Ok(Operation::RetainedList { page }) =
            parse(&format!("GET /retainedMessage?maxResults=3&nextToken={token}"))
        else {
            panic!("no list");
        };
        let (part, next) = page.of(names.clone(), |name| name);
        assert!(part.len() <= 3);
        all.extend(part);
        match next {
            Some(next) => token = next,
            None => break,
        }
    }
    assert_eq!(all, names);
    let last = Page { after: None, size: 7 };
    assert_eq!(last.of(names.clone(), |name| name), (names, None), "nothing follows a page that ends with the list");
}
