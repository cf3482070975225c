#![allow(clippy::unwrap_used)]
//! The expected signatures were made by botocore 1.44.5 with AWS's example secret.
use super::*;

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const DATA: &[&str] = &["iotdata", "iotdevicegateway"];
const AT: &str = "20260131T081500Z";

fn now() -> Timestamp {
    Timestamp::from_utc("2026-01-31T08:15:00Z").unwrap()
}

fn authorization(service: &str, headers: &str, signature: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260131/eu-central-1/{service}/aws4_request, SignedHeaders={headers}, \
         Signature={signature}"
    )
}

struct Case {
    authorization: String,
    method: &'static str,
    path: &'static str,
    query: &'static str,
    headers: Vec<(&'static str, &'static str)>,
    body: &'static [u8],
}

impl Case {
    fn get() -> Self {
        let signature = "945b3818123468646970f8d93336660938340b96141f91a60e4b8fdb3237abb6";
        Self {
            authorization: authorization("iotdata", "host;x-amz-date", signature),
            method: "GET",
            path: "/things/t%3A1/shadow",
            query: "name=a",
            headers: vec![("host", "localhost:8443"), ("x-amz-date", AT), ("user-agent", "x")],
            body: b"",
        }
    }

    fn publish() -> Self {
        let signature = "a17d3c5c75654c9828e764d69353d4062f28e611e283b79fd7d92b8ae6ba9e68";
        let headers = "host;x-amz-date;x-amz-mqtt5-user-properties;x-amz-spaced";
        Self {
            authorization: authorization("iotdata", headers, signature),
            method: "POST",
            path: "/topics/a%2Fb%20c%2Fd",
            query: "qos=1&contentType=text%2Fplain&retain=true",
            headers: vec![
                ("x-amz-mqtt5-user-properties", "W3siayI6InYifV0="),
                ("x-amz-spaced", "  a   b  "),
                ("host", "localhost:8443"),
                ("x-amz-date", AT),
            ],
            body: b"hello",
        }
    }

    fn verify(&self) -> Result<(), SignatureError> {
        self.verify_with(SECRET, DATA, now())
    }

    fn verify_with(&self, secret: &str, services: &[&'static str], now: Timestamp) -> Result<(), SignatureError> {
        let Self { method, path, query, headers, body, .. } = self;
        let request = SignedRequest { method, path, query, headers, body };
        Authorization::parse(&self.authorization)?.verify(&AccessSecret::of(secret), &request, services, now)
    }
}

#[test]
fn requests_signed_by_botocore_count() {
    assert_eq!(Case::get().verify(), Ok(()));
    assert_eq!(Case::publish().verify(), Ok(()));
    let signature = "0d940513b36939667b0ef23037cb10b3f0a5a72e480630df47700473531c7194";
    let start_next = Case {
        authorization: authorization("iot-jobs-data", "content-type;host;x-amz-date", signature),
        method: "PUT",
        path: "/things/t/jobs/$next",
        query: "",
        headers: vec![("content-type", "application/json"), ("host", "localhost:8443"), ("x-amz-date", AT)],
        body: b"{}",
    };
    assert_eq!(start_next.verify_with(SECRET, &["iot-jobs-data"], now()), Ok(()));
}

#[test]
fn order_of_parameters_does_not_matter_and_their_values_do() {
    let reordered = Case { query: "retain=true&qos=1&contentType=text%2fplain", ..Case::publish() };
    assert_eq!(reordered.verify(), Ok(()));
    let changed = Case { query: "retain=true&qos=0&contentType=text%2Fplain", ..Case::publish() };
    assert_eq!(changed.verify(), Err(SignatureError::Mismatch));
    let added = Case { query: "qos=1&contentType=text%2Fplain&retain=true&x", ..Case::publish() };
    assert_eq!(added.verify(), Err(SignatureError::Mismatch));
}

#[test]
fn whatever_was_changed_the_signature_does_not_count() {
    let mismatch = Err(SignatureError::Mismatch);
    assert_eq!(Case::get().verify_with("another", DATA, now()), mismatch);
    assert_eq!(Case { method: "DELETE", ..Case::get() }.verify(), mismatch);
    assert_eq!(Case { path: "/things/t%3A2/shadow", ..Case::get() }.verify(), mismatch);
    assert_eq!(Case { path: "/things/t:1/shadow", ..Case::get() }.verify(), mismatch, "other bytes");
    assert_eq!(Case { query: "", ..Case::get() }.verify(), mismatch);
    assert_eq!(Case { body: b"hellp", ..Case::publish() }.verify(), mismatch);
    let mut host = Case::get();
    host.headers[0].1 = "localhost:8444";
    assert_eq!(host.verify(), mismatch);
    let mut properties = Case::publish();
    properties.headers[0].1 = "W3siayI6IncifV0=";
    assert_eq!(properties.verify(), mismatch);
    let region = Case { authorization: Case::get().authorization.replace("eu-central-1", "us-east-1"), ..Case::get() };
    assert_eq!(region.verify(), mismatch);
}

#[test]
fn a_signature_has_a_service_a_time_and_covers_what_counts() {
    assert_eq!(
        Case::get().verify_with(SECRET, &["iot-jobs-data"], now()),
        Err(SignatureError::Service("iot-jobs-data"))
    );
    for millis in [-300_001, 300_001] {
        let now = Timestamp::from_millis(now().millis() + millis);
        assert!(matches!(Case::get().verify_with(SECRET, DATA, now), Err(SignatureError::Skew { .. })));
    }
    for millis in [-300_000, 300_000] {
        let now = Timestamp::from_millis(now().millis() + millis);
        assert_eq!(Case::get().verify_with(SECRET, DATA, now), Ok(()));
    }
    for date in ["", "20260130T081500Z", "2026-01-31T08:15", "20260131T081500", "20260131é081500Z"] {
        let mut case = Case::get();
        case.headers[1].1 = date;
        assert_eq!(case.verify(), Err(SignatureError::Date), "{date}");
    }
    let with = |header| {
        let mut case = Case::get();
        case.headers.push(header);
        case.verify()
    };
    let unsigned = SignatureError::Unsigned("x-amz-mqtt5-correlation-data".into());
    assert_eq!(with(("x-amz-mqtt5-correlation-data", "YQ==")), Err(unsigned));
    assert_eq!(with(("x-amz-security-token", "x")), Err(SignatureError::Session));
    assert_eq!(with(("x-amzn-trace-id", "x")), Ok(()), "a proxy may add it");
    for path in ["/things//t/shadow", "/things/../t/shadow", "/./things/t/shadow", ""] {
        assert_eq!(Case { path, ..Case::get() }.verify(), Err(SignatureError::Path), "{path}");
    }
    let mut announced = Case::get();
    announced.authorization =
        announced.authorization.replace("host;x-amz-date", "host;x-amz-content-sha256;x-amz-date");
    announced.headers.push(("x-amz-content-sha256", "UNSIGNED-PAYLOAD"));
    assert_eq!(announced.verify(), Err(SignatureError::Body));
    let no_host = Case { authorization: Case::get().authorization.replace("host;", ""), ..Case::get() };
    assert_eq!(no_host.verify(), Err(SignatureError::Unsigned("host".into())));
}

#[test]
fn what_is_no_signature_is_refused() {
    let good = Case::get().authorization;
    assert!(is_signature(&good) && !is_signature("Bearer x") && !is_signature(""));
    for bad in [
        "AWS4-HMAC-SHA256".to_owned(),
        good.replace("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"),
        good.replace("aws4_request", "aws5_request"),
        good.replace("/iotdata", ""),
        good.replace("AKIDEXAMPLE", ""),
        good.replace("AKIDEXAMPLE", "lower"),
        good.replace("host;x-amz-date", "x-amz-date;host"),
        good.replace("host;x-amz-date", "Host;x-amz-date"),
        good.replace("host;x-amz-date", "host;host;x-amz-date"),
        good.replace("abb6", "abb"),
        good.replace("abb6", "abbg"),
        format!("{good}, Signature={}", "0".repeat(64)),
        good.replace("eu-central-1", "eu central"),
    ] {
        assert!(matches!(Authorization::parse(&bad), Err(SignatureError::Incomplete(_))), "{bad}");
    }
}
