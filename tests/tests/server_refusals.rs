//! What is wrong is refused with words that help, and everybody else goes on.

use muster_certs::token::Token;
use muster_certs::{PublisherKey, Role, csr};
use muster_runtime::ids::random_bytes;
use muster_tests::client::{Answer, Credentials, Mqtt, Raw, Version, connect_packet, https, publish_packet};
use muster_tests::fleet::{Fleet, Output};
use serde_json::json;
use std::fs;
use std::process::Command;
use std::time::Duration;

const UPDATE: &str = "$aws/things/witness/shadow/update";

/// Somebody with nothing to do with the mischief: its work must go on, and nothing of it may be lost.
struct Witness {
    thing: Mqtt,
    number: u64,
}

impl Witness {
    fn new(fleet: &Fleet) -> Self {
        let credentials = fleet.issue_cert("witness", "connector");
        let thing = Mqtt::connect(fleet.address(), &credentials, "witness", Version::V4);
        thing.subscribe("$aws/things/witness/shadow/+/+").expect("the own topics may be read");
        let mut witness = Self { thing, number: 0 };
        witness.still_works();
        witness
    }

    #[track_caller]
    fn still_works(&mut self) {
        let before = self.number;
        self.number += 1;
        let update = json!({ "state": { "reported": { "n": self.number } } });
        let accepted = self.thing.ask_accepted(UPDATE, update);
        assert_eq!(accepted["version"], json!(self.number), "every update counts once");
        if before > 0 {
            let shadow = self.thing.ask_accepted("$aws/things/witness/shadow/get", json!({}));
            assert_eq!(shadow["state"]["reported"], json!({ "n": self.number }));
        }
        self.thing.forget();
    }
}

fn enrol(fleet: &Fleet, token: &str, name: &str, csr_pem: &str) -> Answer {
    let host =
        json!({ "hostname": "h", "os": "Linux", "arch": "x86_64", "addresses": [], "boot_id": "", "start_id": "" });
    let request = json!({ "token": token, "name": name, "csr": csr_pem, "host": host }).to_string();
    post_enrolment(fleet, request.as_bytes())
}

fn post_enrolment(fleet: &Fleet, body: &[u8]) -> Answer {
    let anybody = Credentials { ca_pem: fleet.ca_pem(), own: None };
    https(fleet.address(), &anybody, "POST", "/v1/enrol", body).expect("an answer")
}

#[track_caller]
fn check_refused(answer: &Answer, status: u16, words: &str) {
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    assert!(
        answer.status == status && text.contains(words),
        "expected {status} {words:?}, not {}: {text}",
        answer.status
    );
}

#[test]
fn enrolment_takes_each_token_once_and_only_for_its_connector() {
    let fleet = Fleet::start();
    let token = fleet.add_connector("host-1");
    fleet.add_connector("host-2");
    let (request, key) = csr("host-1").expect("a request");
    let (foreign, _) = csr("host-2").expect("a request");
    let unknown = Token::from_random(random_bytes());

    check_refused(&enrol(&fleet, "nonsense", "host-1", &request), 403, "the enrolment token is not valid");
    check_refused(&enrol(&fleet, unknown.reveal(), "host-1", &request), 403, "the enrolment token is not valid");
    check_refused(&enrol(&fleet, &token, "host-2", &foreign), 403, "the enrolment token is for another connector");
    check_refused(&enrol(&fleet, &token, "host-1", &foreign), 400, "host-2");
    check_refused(&enrol(&fleet, &token, "host-1", "-----BEGIN NONSENSE-----"), 400, "");
    check_refused(&enrol(&fleet, &token, "../etc", &request), 400, "name");
    check_refused(&post_enrolment(&fleet, b"not json"), 400, "not an enrolment request");
    check_refused(&post_enrolment(&fleet, &vec![b' '; 70 * 1024]), 413, "larger than");

    // None of this spent the token.
    let enrolled = enrol(&fleet, &token, "host-1", &request);
    assert_eq!(enrolled.status, 200, "{}", String::from_utf8_lossy(&enrolled.body));
    let certificate = enrolled.json()["certificate"].as_str().expect("a certificate").to_owned();
    let credentials = Credentials { ca_pem: fleet.ca_pem(), own: Some((certificate, key)) };
    drop(Mqtt::connect(fleet.address(), &credentials, "host-1", Version::V4));

    check_refused(&enrol(&fleet, &token, "host-1", &request), 403, "the enrolment token was used already");
    // The refusal says what the operator can do.
    let renewed = fleet.muster_json(&["connector", "add", "host-2", "--renew"]);
    let renewed = renewed["token"].as_str().expect("a token");
    assert_eq!(enrol(&fleet, renewed, "host-2", &foreign).status, 200);
}

#[test]
fn a_certificate_of_another_authority_and_none_at_all_open_nothing() {
    let fleet = Fleet::start();
    let mut witness = Witness::new(&fleet);
    let good = fleet.issue_cert("host-1", "connector");
    let path = format!("/artifacts/sha256/{}", "0".repeat(64));
    for role in [Role::Connector, Role::Observer, Role::Operator, Role::Service] {
        let stranger = good.of_a_stranger(role, "host-1");
        for version in [Version::V4, Version::V5] {
            let refused = Mqtt::try_connect(fleet.address(), &stranger, "host-1", version);
            assert!(refused.is_err(), "a {role} of another authority was let in");
        }
        let answer = https(fleet.address(), &stranger, "PUT", &path, b"x");
        assert!(answer.is_err(), "a {role} of another authority was answered: {answer:?}");
    }
    let nobody = good.anonymous();
    for version in [Version::V4, Version::V5] {
        let refused = Mqtt::try_connect(fleet.address(), &nobody, "host-1", version).err().expect("no certificate");
        assert!(refused.contains("NotAuthorized"), "{refused}");
    }
    for method in ["GET", "PUT"] {
        let answer = https(fleet.address(), &nobody, method, &path, b"").expect("an answer");
        check_refused(&answer, 401, "client certificate");
    }
    // The right authority, but not for this.
    let answer = https(fleet.address(), &good, "PUT", &path, b"x").expect("an answer");
    check_refused(&answer, 403, "operator");
    witness.still_works();
}

/// Bytes that no client may send, before its CONNECT.
fn bad_beginnings() -> Vec<(&'static str, Vec<u8>)> {
    let connect = connect_packet("x");
    let with = |at: usize, byte: u8| {
        let mut bytes = connect.clone();
        bytes[at] = byte;
        bytes
    };
    let mut too_large = vec![0x10, 0xff, 0xff, 0x7f];
    too_large.extend_from_slice(&connect[2..]);
    vec![
        ("zeros", vec![0; 64]),
        ("ones", vec![0xff; 64]),
        ("HTTP where MQTT was agreed", b"GET / HTTP/1.1\r\nhost: x\r\n\r\n".to_vec()),
        ("a PINGREQ first", vec![0xc0, 0]),
        ("a PUBLISH first", publish_packet("$aws/things/x/shadow/update", b"{}")),
        ("a CONNECT with flags", with(0, 0x11)),
        ("a length of five bytes", vec![0x10, 0xff, 0xff, 0xff, 0xff, 0x01]),
        ("a CONNECT of 2 MB", too_large),
        ("another protocol", with(5, b'X')),
        ("version 9", with(8, 9)),
        ("reserved flag", with(9, 0x03)),
        ("will QoS 3 without a will", with(9, 0x1a)),
        ("a client id longer than the packet", with(13, 200)),
        ("a wildcard as client id", connect_packet("#")),
        ("a client id with a line break", connect_packet("a\nb")),
        ("a client id of 300 bytes", connect_packet(&"x".repeat(300))),
    ]
}

/// Bytes that no client may send, after its CONNECT.
fn bad_continuations() -> Vec<(&'static str, Vec<u8>)> {
    let topic = b"\0\x01t";
    let publish = |header: u8, rest: &[u8]| {
        let mut body = topic.to_vec();
        body.extend_from_slice(rest);
        [vec![header, body.len() as u8], body].concat()
    };
    vec![
        ("zeros", vec![0; 64]),
        ("ones", vec![0xff; 64]),
        ("a second CONNECT", connect_packet("x")),
        ("a server's packet", vec![0x20, 2, 0, 0]),
        ("AUTH in 3.1.1", vec![0xf0, 0]),
        ("a length of five bytes", vec![0x30, 0xff, 0xff, 0xff, 0xff, 0x01]),
        ("a packet of 256 MB", vec![0x30, 0xff, 0xff, 0xff, 0x7f]),
        ("PUBLISH with QoS 3", publish(0x36, b"\0\x01")),
        ("PUBLISH with QoS 2", publish(0x34, b"\0\x01")),
        ("PUBLISH with DUP and QoS 0", publish(0x38, b"")),
        ("PUBLISH with packet id 0", publish(0x32, b"\0\0")),
        ("PUBLISH with a topic longer than the packet", vec![0x30, 3, 0, 9, b't']),
        ("PUBLISH with a topic that is not UTF-8", vec![0x30, 4, 0, 2, 0xc3, 0x28]),
        ("PUBLISH to a wildcard", publish_packet("$aws/things/+/shadow/update", b"{}")),
        ("PUBLISH to no topic of the service", publish_packet("hello/world", b"{}")),
        ("PUBLISH to an empty topic", publish_packet("", b"{}")),
        ("SUBSCRIBE with wrong flags", vec![0x80, 6, 0, 1, 0, 1, b't', 0]),
        ("SUBSCRIBE without a filter", vec![0x82, 2, 0, 1]),
        ("SUBSCRIBE with packet id 0", vec![0x82, 6, 0, 0, 0, 1, b't', 0]),
        ("SUBSCRIBE with a reserved option", vec![0x82, 6, 0, 1, 0, 1, b't', 0xff]),
        ("UNSUBSCRIBE without a filter", vec![0xa2, 2, 0, 1]),
        ("PINGREQ with a body", vec![0xc0, 1, 0]),
    ]
}

#[test]
fn malformed_mqtt_ends_its_own_connection_and_no_other() {
    let mut fleet = Fleet::start();
    let mut witness = Witness::new(&fleet);
    let credentials = fleet.issue_cert("host-1", "connector");
    for (what, bytes) in bad_beginnings() {
        let mut raw = Raw::connect(fleet.address(), &credentials, &[b"mqtt"]).expect("TLS works");
        // The server may close before everything is written.
        let _ = raw.send(&bytes);
        let heard = raw.hear_all(CLOSE_DEADLINE);
        assert!(heard.closed, "{what}: the connection stays open: {heard:?}");
        assert!(!heard.bytes.starts_with(&[0x20, 2, 0, 0]), "{what}: was let in");
    }
    witness.still_works();
    for (what, bytes) in bad_continuations() {
        let mut raw = Raw::connect(fleet.address(), &credentials, &[b"mqtt"]).expect("TLS works");
        raw.send(&connect_packet("host-1")).expect("a good CONNECT is taken");
        assert_eq!(raw.hear(4, CLOSE_DEADLINE).bytes, [0x20, 2, 0, 0], "{what}: CONNACK");
        let _ = raw.send(&bytes);
        let heard = raw.hear_all(CLOSE_DEADLINE);
        assert!(heard.closed, "{what}: the connection stays open: {heard:?}");
    }
    witness.still_works();
    assert_eq!(witness.thing.ended(), None);
    fleet.assert_serving();
}

/// Less than the server's deadline for a CONNECT: a bad packet is found, not waited out.
const CLOSE_DEADLINE: Duration = Duration::from_secs(8);

#[test]
fn what_is_too_large_or_too_deep_changes_nothing() {
    let mut fleet = Fleet::start();
    let mut witness = Witness::new(&fleet);
    let credentials = fleet.issue_cert("host-1", "connector");
    let update = "$aws/things/host-1/shadow/update";
    let client = |version| {
        let client = Mqtt::connect(fleet.address(), &credentials, "host-1", version);
        client.subscribe("$aws/things/host-1/shadow/+/+").expect("the own topics may be read");
        client
    };
    let thing = client(Version::V4);
    thing.ask_accepted(update, json!({ "state": { "reported": { "keep": 1 } } }));

    let large = json!({ "state": { "reported": { "big": "x".repeat(8 * 1024) } } });
    let rejected = thing.ask(update, large).expect("an answer").expect_err("over 8 KiB");
    assert_eq!(rejected["code"], 413, "{rejected}");
    let mut deep = json!(1);
    for _ in 0..8 {
        deep = json!({ "d": deep });
    }
    let rejected =
        thing.ask(update, json!({ "state": { "reported": deep } })).expect("an answer").expect_err("8 levels");
    assert_eq!(rejected["code"], 400, "{rejected}");
    let rejected = thing.ask(update, json!({ "state": [1] })).expect("an answer").expect_err("no object");
    assert_eq!(rejected["code"], 400, "{rejected}");

    for (version, bytes) in
        [(Version::V4, 128 * 1024 + 1), (Version::V5, 128 * 1024 + 1), (Version::V5, 3 * 1024 * 1024)]
    {
        let thing = client(version);
        let refused = thing.publish(update, vec![b' '; bytes]).expect_err("over 128 KiB");
        assert!(refused.contains("the connection ended"), "{version:?}, {bytes} bytes: {refused}");
    }

    let head = format!("GET /healthz HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n", "x".repeat(64 * 1024));
    let mut raw = Raw::connect(fleet.address(), &credentials, &[b"http/1.1"]).expect("TLS works");
    let _ = raw.send(head.as_bytes());
    let heard = raw.hear_all(CLOSE_DEADLINE);
    assert!(heard.closed && !heard.bytes.starts_with(b"HTTP/1.1 200"), "{heard:?}");

    let thing = client(Version::V4);
    let shadow = thing.ask_accepted("$aws/things/host-1/shadow/get", json!({}));
    assert_eq!((&shadow["state"]["reported"], &shadow["version"]), (&json!({ "keep": 1 }), &json!(1)));
    witness.still_works();
    fleet.assert_serving();
}

#[test]
fn nothing_that_a_client_publishes_is_retained() {
    let fleet = Fleet::start();
    let mut witness = Witness::new(&fleet);
    let credentials = fleet.issue_cert("host-1", "connector");
    let update = "$aws/things/host-1/shadow/update";
    for version in [Version::V4, Version::V5] {
        let thing = Mqtt::connect(fleet.address(), &credentials, "host-1", version);
        let refused = thing.publish_with(update, r#"{"state":{"reported":{"n":1}}}"#, true).expect_err("RETAIN");
        assert!(refused.contains("the connection ended"), "{refused}");
    }
    let thing = Mqtt::connect(fleet.address(), &credentials, "host-1", Version::V5);
    thing.subscribe("$aws/things/host-1/#").expect("the own topics may be read");
    let missing = thing.ask("$aws/things/host-1/shadow/get", json!({})).expect("an answer").expect_err("no shadow");
    assert_eq!(missing["code"], 404, "{missing}");
    let retained: Vec<_> = thing.messages().into_iter().filter(|message| message.retained).collect();
    assert_eq!(retained, []);
    witness.still_works();
}

#[test]
fn the_command_line_says_what_there_is_instead() {
    let fleet = Fleet::start();
    fleet.add_connector("host-1");
    fleet.publish("1.0", true);
    let no = |args: &[&str], words: &str| {
        fleet.muster(args).ended_with(1).explaining(words);
    };
    no(&["upgrade", "nothing", "1.0", "--to", "all"], "no component is called nothing; `muster component list`");
    no(&["upgrade", "greeter", "9.9", "--to", "all"], "greeter has no version 9.9; published are 1.0");
    no(&["upgrade", "greeter", "1.0", "--to", "name=nobody"], "no connector matches name=nobody");
    no(&["upgrade", "greeter", "1.0", "--to", "pool=none"], "no connector matches pool=none");
    no(&["connector", "show", "nobody"], "no connector is called nobody; `muster connector list`");
    no(&["connector", "add", "host-1"], "a connector is called host-1 already");
    no(&["connector", "add", "nobody", "--renew"], "no connector is called nobody; add it without --renew");
    let usage = |args: &[&str], words: &str| {
        fleet.muster(args).ended_with(2).explaining(words);
    };
    usage(
        &["upgrade", "greeter", "1.0", "--to", "colour=red"],
        "nothing is called \"colour\"; terms are all, pool=, site=, name=",
    );
    usage(&["connector", "add", "a/b"], "a/b");
    usage(&["component", "publish", "/does/not/exist"], "/does/not/exist");
    usage(&["job", "create", "j", "--to-things", "host-1", "--document", "/does/not/exist"], "/does/not/exist");
    let file = fleet.root().join("large.json");
    fs::write(&file, json!({ "x": "x".repeat(40_000) }).to_string()).expect("a file in the fleet's folder");
    let file = file.to_str().expect("a plain name");
    usage(&["job", "create", "j", "--to-things", "host-1", "--document", file], "at most 32768 are allowed");
    // Nothing of this was done.
    let list = fleet.muster_json(&["connector", "list"]);
    assert_eq!(list["connectors"].as_array().map(Vec::len), Some(1), "{list}");
    assert_eq!(fleet.muster_json(&["actions"])["actions"], json!([]));
}

#[test]
fn a_package_with_a_wrong_digest_or_a_forged_signature_is_not_published() {
    let fleet = Fleet::start();
    let operator = fleet.issue_cert("packer", "operator");
    let wrong = format!("/artifacts/sha256/{}", "ab".repeat(32));
    let answer = https(fleet.address(), &operator, "PUT", &wrong, b"not what it says").expect("an answer");
    check_refused(&answer, 400, "have the digest");
    let answer = https(fleet.address(), &operator, "GET", &wrong, b"").expect("an answer");
    assert_eq!(answer.status, 404, "nothing of it was kept");
    let answer =
        https(fleet.address(), &operator, "PUT", "/artifacts/sha256/../../ca/ca.crt", b"x").expect("an answer");
    check_refused(&answer, 404, "digest");

    // Somebody who has an operator's certificate, but not the publisher's key.
    let key = fleet.data().join("publisher/publisher.key");
    let own = fs::read(&key).expect("`muster init` made the key");
    fs::write(&key, PublisherKey::generate().expect("a key").to_pem()).expect("the key can be replaced");
    let dir = fleet.package("1.0", true);
    let dir = dir.to_str().expect("a plain name");
    let forged = fleet.muster(&["component", "publish", dir]);
    forged.ended_with(1).explaining("the signature is not the publisher's");
    assert_eq!(fleet.muster_json(&["component", "list"])["components"], json!([]));

    // With the right key the same package is fine, and a version keeps its content.
    fs::write(&key, own).expect("the key can be put back");
    fleet.muster(&["component", "publish", dir]).succeeded();
    fleet.muster(&["component", "publish", dir]).succeeded();
    fleet.package("1.0", false);
    fleet.muster(&["component", "publish", dir]).ended_with(1).explaining("published already with other content");
    let list = fleet.muster_json(&["component", "list"]);
    assert_eq!(list["components"].as_array().map(Vec::len), Some(1), "{list}");
}

#[test]
fn unusable_settings_are_all_named_at_once() {
    let fleet = Fleet::init();
    let settings = fleet.data().join("muster.toml");
    fs::write(
        &settings,
        "[server]\nlisten = \"0.0.0.0\"\nhosts = [\"a:1\"]\n[store]\ncache_mb = 0\n[log]\nlevel = \"loud\"\ncolour = 1\n",
    )
    .expect("the settings can be written");
    for args in [&["serve", "--listen", "127.0.0.1:0"][..], &["serve", "--check"]] {
        let output = fleet.muster(args).ended_with(2).explaining("(5 problems)");
        for words in
            ["server.listen", "server.hosts", "store.cache_mb", "log.level", "log.colour", "line 2", "muster.toml"]
        {
            assert!(output.stderr.contains(words), "{words} is not named in:\n{}", output.stderr);
        }
    }
    fs::write(&settings, "[server\n").expect("the settings can be written");
    fleet.muster(&["serve", "--check"]).ended_with(2).explaining("line 1");
}

#[test]
fn a_port_or_a_data_folder_in_use_is_named_with_the_way_out() {
    let mut fleet = Fleet::start();
    let other = Fleet::init();
    let taken = fleet.address().to_string();
    other.muster(&["serve", "--listen", &taken]).ended_with(2).explaining("--listen").explaining(&taken);
    fleet.muster(&["serve", "--listen", "127.0.0.1:0"]).ended_with(2).explaining("in use by another process");
    // Neither attempt disturbed the one that serves.
    fleet.assert_serving();
    fleet.muster(&["connector", "list"]).succeeded();
}

#[test]
fn without_a_server_commands_say_how_to_start_one() {
    let mut fleet = Fleet::init();
    fleet.muster(&["connector", "list"]).ended_with(3).explaining("muster serve --data");
    fleet.serve();
    fleet.muster(&["connector", "list"]).succeeded();
    fleet.kill();
    let commands: [&[&str]; 4] = [
        &["connector", "list"],
        &["upgrade", "greeter", "1.0", "--to", "all"],
        &["actions"],
        &["connector", "add", "x"],
    ];
    for args in commands {
        fleet.muster(args).ended_with(3).explaining("is `muster serve` running?");
    }
    let dir = fleet.package("1.0", true);
    fleet.muster(&["component", "publish", dir.to_str().expect("a plain name")]).ended_with(3);
    let mut elsewhere = Command::new(&fleet.programs().muster);
    elsewhere.args(["connector", "list", "--data"]).arg(fleet.root().join("nothing"));
    Output::of(elsewhere, Duration::from_secs(60)).ended_with(2).explaining("muster init --data");
    // A certificate can be made without a server: it needs only the authority.
    fleet.issue_cert("x", "observer");
}

#[test]
fn too_many_shadow_requests_over_http_at_one_time_are_refused_in_the_words_of_aws() {
    let mut fleet = Fleet::init();
    fleet.configure("shadow_requests_max", "1");
    fleet.serve();
    let t1 = fleet.issue_cert("t1", "connector");
    let body = r#"{"state":{"reported":{"n":1}},"clientToken":"mine"}"#;
    let head = "POST /things/t1/shadow HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: ";
    let request = format!("{head}{}\r\n\r\n{body}", body.len());
    let (mut updates, mut refused) = (0, None);
    while refused.is_none() && updates < 2000 {
        let connect = |_| Raw::connect(fleet.address(), &t1, &[b"http/1.1"]).expect("the door is open");
        let mut connections: Vec<Raw> = (0..16).map(connect).collect();
        for connection in &mut connections {
            connection.send(request.as_bytes()).expect("the server reads");
        }
        for mut connection in connections {
            let answer = String::from_utf8(connection.hear_all(Duration::from_secs(40)).bytes).expect("text");
            match answer.get(9..12) {
                Some("200") => updates += 1,
                Some("429") => refused = Some(answer),
                _ => panic!("neither done nor refused: {answer:?}"),
            }
        }
    }
    let refused = refused.expect("sixteen at one time, of which one may wait");
    let (head, document) = refused.split_once("\r\n\r\n").expect("a head and a body");
    assert!(head.contains("x-amzn-errortype: ThrottlingException"), "{head}");
    let document: serde_json::Value = serde_json::from_str(document).expect("a document");
    assert_eq!((&document["code"], &document["clientToken"]), (&json!(429), &json!("mine")), "{document}");
    assert!(document["message"].is_string() && document["timestamp"].is_u64(), "{document}");
    let now = https(fleet.address(), &t1, "GET", "/things/t1/shadow", b"").expect("an answer").json();
    assert_eq!(now["version"], updates, "who was refused changed nothing");
}
