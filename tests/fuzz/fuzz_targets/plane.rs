//! The HTTP data plane: operations, signatures, and the headers of messages.
//!
//! An input is a request as text: `METHOD PATH?QUERY`, headers, an empty line, the body.

#![no_main]

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use muster_broker_bridge::fuzzing;
use muster_certs::{AccessMaster, Authorization, SignatureError, SignedRequest};
use muster_wire::id::AccessKeyId;
use muster_wire::limits::PAYLOAD_BYTES_MAX;
use muster_wire::plane::{Operation, Page, Publish, decode, encode, is_plane};
use muster_wire::time::Timestamp;
use muster_wire::topic::{JobRef, JobsVerb, ShadowVerb};
use std::collections::BTreeSet;
use std::fmt::Write;

const SERVICES: &[&str] = &["iotdata", "iotdevicegateway"];
const SCOPE: &str = "20260131/eu-central-1/iotdata/aws4_request";
const KEY: &str = "MSTAAAAAAAAAAAAAAAAA";
const AT: &str = "20260131T081500Z";
/// What the client sets itself, and what would make its request one of another kind.
const SET: [&str; 5] = ["host", "x-amz-date", "x-amz-content-sha256", "x-amz-security-token", "authorization"];

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzzing::user_properties(bytes);
    let cut = bytes.windows(2).position(|pair| pair == b"\n\n").unwrap_or(bytes.len());
    let Ok(head) = std::str::from_utf8(&bytes[..cut]) else { return };
    let body = bytes.get(cut + 2..).unwrap_or_default();
    let mut lines = head.lines();
    let (method, target) = lines.next().unwrap_or_default().split_once(' ').unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let named = |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let headers: Vec<(String, &str)> = lines
        .filter_map(|line| line.split_once(':'))
        .filter(|(name, _)| named(name))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim()))
        .collect();
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), *value)).collect();

    operation(method, path, query);
    for (name, value) in &headers {
        if *name == "range" {
            fuzzing::range(value, body.len() as u64);
        }
    }
    let request = SignedRequest { method, path, query, headers: &headers, body };
    signed_by_somebody(&request);
    signed_by_us(&request);
});

fn now() -> Timestamp {
    Timestamp::from_utc("2026-01-31T08:15:00Z").expect("a time")
}

/// What was read is read again from the shortest request that asks for it.
fn operation(method: &str, path: &str, query: &str) {
    match Operation::parse(method, path, query) {
        Ok(operation) => {
            assert!(is_plane(path));
            let (method, path, query) = spelled(&operation);
            assert_eq!(Operation::parse(method, &path, &query).as_ref(), Ok(&operation), "{method} {path} {query}");
        }
        Err(error) => assert!(error.to_string().len() < PAYLOAD_BYTES_MAX),
    }
}

fn spelled(operation: &Operation) -> (&'static str, String, String) {
    let part = |text: &str| encode(text, "");
    match operation {
        Operation::Shadow { thing, shadow, verb } => {
            let method = match verb {
                ShadowVerb::Get => "GET",
                ShadowVerb::Update => "POST",
                ShadowVerb::Delete => "DELETE",
            };
            let query = shadow.as_ref().map(|shadow| format!("name={}", part(shadow.as_str())));
            (method, format!("/things/{}/shadow", part(thing.as_str())), query.unwrap_or_default())
        }
        Operation::Shadows { thing, page } => {
            let path = format!("/api/things/shadow/ListNamedShadowsForThing/{}", part(thing.as_str()));
            ("GET", path, paged(page, "pageSize"))
        }
        Operation::Jobs { thing, verb, describe } => {
            let (method, job) = match verb {
                JobsVerb::GetPending => ("GET", String::new()),
                JobsVerb::StartNext => ("PUT", "/$next".to_owned()),
                JobsVerb::Describe(JobRef::Next) => ("GET", "/$next".to_owned()),
                JobsVerb::Describe(JobRef::Id(job)) => ("GET", format!("/{}", part(job.as_str()))),
                JobsVerb::Update(job) => ("POST", format!("/{}", part(job.as_str()))),
            };
            let mut query = String::new();
            if let Some(number) = describe.execution_number {
                let _ = write!(query, "&executionNumber={number}");
            }
            if let Some(wanted) = describe.include_job_document {
                let _ = write!(query, "&includeJobDocument={wanted}");
            }
            (method, format!("/things/{}/jobs{job}", part(thing.as_str())), query)
        }
        Operation::Publish { topic, wish } => ("POST", format!("/topics/{}", part(topic)), published(wish)),
        Operation::Retained { topic } => ("GET", format!("/retainedMessage/{}", part(topic)), String::new()),
        Operation::RetainedList { page } => ("GET", "/retainedMessage".to_owned(), paged(page, "maxResults")),
        Operation::Connection { client, with_socket } => {
            ("GET", format!("/connections/{}", part(client)), format!("includeSocketInformation={with_socket}"))
        }
        Operation::Disconnect { client, clean_session, prevent_will } => {
            let query = format!("cleanSession={clean_session}&preventWillMessage={prevent_will}");
            ("DELETE", format!("/connections/{}", part(client)), query)
        }
        Operation::Subscriptions { client, page } => {
            ("GET", format!("/connections/{}/subscriptions", part(client)), paged(page, "maxResults"))
        }
        Operation::Direct { client, topic, wish, confirmation } => {
            let mut query = format!("topic={}{}", part(topic), published(wish));
            if let Some(timeout) = confirmation {
                let _ = write!(query, "&confirmation=true&timeout={}", timeout.as_secs());
            }
            ("POST", format!("/connections/{}/messages", part(client)), query)
        }
        Operation::Endpoint { kind } => ("GET", "/endpoint".to_owned(), format!("endpointType={}", part(kind))),
    }
}

fn paged(page: &Page, size: &str) -> String {
    let after = page.after.as_deref().map(|after| {
        // The server's token for it: of two, one is left.
        let (_, token) = Page { after: None, size: 1 }.of([after, after], |key| key);
        format!("&nextToken={}", token.expect("one is left"))
    });
    format!("{size}={}{}", page.size, after.unwrap_or_default())
}

fn published(wish: &Publish) -> String {
    let mut query = format!("&qos={}&retain={}", u8::from(wish.at_least_once), wish.retain);
    for (name, text) in [("contentType", &wish.content_type), ("responseTopic", &wish.response_topic)] {
        if let Some(text) = text {
            let _ = write!(query, "&{name}={}", encode(text, ""));
        }
    }
    if let Some(seconds) = wish.expiry_seconds {
        let _ = write!(query, "&messageExpiry={seconds}");
    }
    query
}

/// Nobody makes up a signature.
fn signed_by_somebody(request: &SignedRequest<'_>) {
    let Some((_, header)) = request.headers.iter().find(|(name, _)| *name == "authorization") else { return };
    let Ok(authorization) = Authorization::parse(header) else { return };
    let secret = AccessMaster::from_random([7; 32]).secret(&authorization.key);
    let verified = authorization.verify(&secret, request, SERVICES, now());
    assert!(verified.is_err());
    if let Err(error) = authorization.check(request, SERVICES, now()) {
        assert_eq!(verified, Err(error));
    }
}

/// What was signed by the book counts, and nothing else with the same signature does.
fn signed_by_us(request: &SignedRequest<'_>) {
    let rest = request.headers.iter().copied().filter(|(name, _)| !SET.contains(name));
    let headers: Vec<(&str, &str)> = [("host", "localhost:8443"), ("x-amz-date", AT)].into_iter().chain(rest).collect();
    let names: BTreeSet<&str> =
        headers.iter().map(|(name, _)| *name).filter(|name| *name == "host" || name.starts_with("x-amz-")).collect();
    let mut pairs = Vec::new();
    for pair in request.query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (Ok(name), Ok(value)) = (decode(name), decode(value)) else { return };
        pairs.push((escaped(&name, false), escaped(&value, false)));
    }
    if names.len() > 50 {
        return;
    }
    pairs.sort();
    let query: Vec<String> = pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mut canonical = format!("{}\n{}\n{}\n", request.method, escaped(request.path, true), query.join("&"));
    for name in &names {
        let values = headers.iter().filter(|(known, _)| known == name);
        let values: Vec<String> =
            values.map(|(_, value)| value.split_ascii_whitespace().collect::<Vec<_>>().join(" ")).collect();
        let _ = writeln!(canonical, "{name}:{}", values.join(","));
    }
    let names: Vec<&str> = names.into_iter().collect();
    let names = names.join(";");
    let _ = write!(canonical, "\n{names}\n{}", hex(digest(&SHA256, request.body).as_ref()));
    let text = format!("AWS4-HMAC-SHA256\n{AT}\n{SCOPE}\n{}", hex(digest(&SHA256, canonical.as_bytes()).as_ref()));
    let key = AccessKeyId::new(KEY).expect("an id");
    let secret = AccessMaster::from_random([7; 32]).secret(&key);
    let mut key = format!("AWS4{}", secret.reveal()).into_bytes();
    for part in SCOPE.split('/') {
        key = sign(&Key::new(HMAC_SHA256, &key), part.as_bytes()).as_ref().to_vec();
    }
    let signature = hex(sign(&Key::new(HMAC_SHA256, &key), text.as_bytes()).as_ref());
    let header = format!("AWS4-HMAC-SHA256 Credential={KEY}/{SCOPE}, SignedHeaders={names}, Signature={signature}");

    let authorization = Authorization::parse(&header).expect("it is by the book");
    let request = SignedRequest { headers: &headers, ..*request };
    let mut segments = request.path.strip_prefix('/').unwrap_or_default().split('/');
    let expected = match segments.any(|segment| matches!(segment, "" | "." | "..")) {
        true => Err(SignatureError::Path),
        false => Ok(()),
    };
    let verify = |request: &SignedRequest<'_>| authorization.verify(&secret, request, SERVICES, now());
    assert_eq!(verify(&request), expected);
    let longer = [request.body, b"x"].concat();
    let moved = [("host", "localhost:1"), headers[1]];
    let (method, path) = (format!("{}X", request.method), format!("{}x", request.path));
    for other in [
        SignedRequest { body: &longer, ..request },
        SignedRequest { method: &method, ..request },
        SignedRequest { path: &path, ..request },
        SignedRequest { headers: &moved, ..request },
    ] {
        assert!(verify(&other).is_err(), "{other:?}");
    }
}

fn escaped(text: &str, is_path: bool) -> String {
    text.bytes().fold(String::new(), |mut escaped, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => escaped.push(char::from(byte)),
            b'/' if is_path => escaped.push('/'),
            _ => drop(write!(escaped, "%{byte:02X}")),
        }
        escaped
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
