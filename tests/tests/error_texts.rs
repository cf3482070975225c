//! Every text with which the two programs say no, pinned: `MUSTER_GOLDEN=write cargo test -p muster-tests --test
//! error_texts` writes `tests/golden/errors` anew. A text says what failed, on what, and what to do next.
#![allow(clippy::unwrap_used, reason = "a test stops at what it cannot set up")]

#[path = "error_texts/book.rs"]
mod book;

use book::Book;
use muster_tests::client::{Mqtt, Version};
use muster_tests::fleet::{Fleet, Port};
use serde_json::json;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Writes a file of the fleet's folder.
fn file(fleet: &Fleet, name: &str, content: &str) -> PathBuf {
    let path = fleet.root().join(name);
    fs::write(&path, content).unwrap();
    path
}

/// What is wrong before anybody is asked: no data folder is needed.
#[test]
fn arguments() {
    let fleet = Fleet::init();
    let mut book = Book::new("arguments", &fleet);
    for words in [
        &["conector", "list"][..],
        &["connector", "lst"],
        &["connector", "list"],
        &["connector", "list", "--colour", "--data", "d"],
        &["connector", "list", "--status", "--data"],
        &["connector", "list", "--sort", "size", "--data", "d"],
        &["connector", "list", "--columns", "size", "--data", "d"],
        &["connector", "list", "--columns", "name", "--wide", "--data", "d"],
        &["connector", "list", "--pool", "blue", "--unassigned", "--data", "d"],
        &["connector", "list", "--pool", "a b", "--data", "d"],
        &["connector", "list", "--to", "pol=blue", "--data", "d"],
        &["connector", "list", "--to", "", "--data", "d"],
        &["connector", "list", "--to", "status=up", "--data", "d"],
        &["connector", "list", "--to", "component=", "--data", "d"],
        &["connector", "list", "--to", "label.a b=c", "--data", "d"],
        &["connector", "add", "--data", "d"],
        &["connector", "add", "web 1", "--data", "d"],
        &["connector", "add", "", "--data", "d"],
        &["connector", "add", "web-1", "--pool", "blue", "--no-pool", "--data", "d"],
        &["connector", "add", "web-1", "--renew", "--reinstall", "--data", "d"],
        &["connector", "show", "web 1", "--data", "d"],
        &["connector", "edit", "web-1", "--data", "d"],
        &["connector", "edit", "web-1", "--site", "s", "--no-site", "--data", "d"],
        &["connector", "remove", "web-1", "--purge", "--data", "d"],
        &["connector", "remove", "--data", "d"],
        &["connector", "remove", "web-1", "--to", "all", "--data", "d"],
        &["connector", "disable", "--to", "pol=blue", "--yes", "--data", "d"],
        &["connector", "remove", "web-1", "--uninstall", "--timeout", "0", "--data", "d"],
        &["upgrade", "web", "1", "--data", "d"],
        &["upgrade", "web", "1 0", "--to", "all", "--data", "d"],
        &["upgrade", "Web/..", "1", "--to", "all", "--data", "d"],
        &["job", "create", "j", "--data", "d"],
        &["job", "create", "j k", "--to", "all", "--data", "d"],
        &["job", "create", "j", "--to-things", "a,b c", "--data", "d"],
        &["job", "create", "j", "--to", "all", "--abort", "FAILED>20", "--data", "d"],
        &["job", "create", "j", "--to", "all", "--retry", "SUCCEEDED=1", "--data", "d"],
        &["job", "create", "j", "--to", "all", "--timeout", "soon", "--data", "d"],
        &["job", "create", "j", "--to", "all", "--window", "every friday", "--data", "d"],
        &["job", "create", "j", "--to", "all", "--param", "novalue", "--data", "d"],
        &["job", "create", "j", "--to", "all", "--end-behavior", "explode", "--data", "d"],
        &["job", "list", "--status", "DONE", "--data", "d"],
        &["cert", "issue", "--name", "n", "--policy", "root", "--out", "o", "--data", "d"],
        &["cert", "issue", "--name", "n", "--policy", "observer", "--count", "0", "--out", "o", "--data", "d"],
        &["watch", "--count", "0", "--data", "d"],
        &["serve", "--listen", "nowhere", "--data", "d"],
    ] {
        book.muster_alone(words);
    }
    for words in [
        &["explode"][..],
        &["run", "--prefix"],
        &["check", "--server", "s:1", "--prefix", "p"],
        &["check", "--before-enrol", "--prefix", "p"],
        &["enrol", "--prefix", "p", "--server", "s:1", "--ca", "c", "--name", "a b"],
        &["enrol", "--prefix", "p", "--server", "s:1", "--ca", "c", "--name", "a", "--label", "a b=c"],
        &["enrol", "--prefix", "p", "--server", "s:1", "--ca", "c"],
    ] {
        book.agent(words);
    }
    book.finish();
}

/// What is wrong on the server's machine, before a server is reached.
#[test]
fn this_machine() {
    let fleet = Fleet::init();
    let mut book = Book::new("this-machine", &fleet);
    let root = fleet.root().to_owned();
    let path = |name: &str| text(&root.join(name)).to_owned();
    // The data folder.
    book.muster_alone(&["connector", "list", "--data", &path("nowhere")]);
    let plain = file(&fleet, "plain", "no folder\n");
    book.muster_alone(&["connector", "list", "--data", text(&plain)]);
    book.muster(&["connector", "list"]);
    book.muster(&["connector", "list", "--as", "nobody"]);
    book.muster(&["init", "--host", "localhost"]);
    book.muster_alone(&["init", "--data", text(&root), "--host", "localhost"]);
    book.muster_alone(&["init", "--data", text(&plain), "--host", "localhost"]);
    book.muster_alone(&["init", "--data", &path("new"), "--host", "https://muster:8443"]);
    book.muster_alone(&["init", "--data", &path("new"), "--host", "localhost", "--fleet", "a b"]);
    // An address that is damaged, and one where nobody answers.
    let address = fleet.data().join("server.addr");
    fs::write(&address, "elsewhere\n").unwrap();
    book.muster(&["connector", "list"]);
    fs::write(&address, "").unwrap();
    book.muster(&["connector", "list"]);
    let nobody = Port::reserve();
    let free = nobody.address();
    fs::write(&address, format!("{free}\n")).unwrap();
    book.mask_port(free.port(), "{free}");
    book.muster(&["connector", "list"]);
    book.muster(&["connector", "add", "web-1"]);
    book.muster(&["watch", "--seconds", "1"]);
    // The operator's key.
    let operators = fleet.data().join("operators");
    let key = operators.join("admin.key");
    let good = fs::read_to_string(&key).unwrap();
    fs::write(&key, "no key").unwrap();
    book.muster(&["connector", "list"]);
    fs::remove_file(&key).unwrap();
    book.muster(&["connector", "list"]);
    fs::remove_file(operators.join("admin.crt")).unwrap();
    book.muster(&["connector", "list"]);
    fs::write(&key, good).unwrap();
    // Adding.
    book.muster(&["connector", "add", "web-1", "--prefix", "relative dir"]);
    book.muster(&["connector", "add", "web-1", "--server", "muster"]);
    for no_proxy in ["", "none,a", "a/b"] {
        book.muster(&["connector", "add", "web-1", "--proxy", "http://p:1", "--no-proxy", no_proxy]);
    }
    book.muster(&["connector", "add", "web-1", "--proxy", "none", "--no-proxy", "a"]);
    // Certificates.
    let out = path("out");
    book.muster(&["cert", "issue", "--name", "a b", "--policy", "observer", "--out", &out]);
    book.muster(&["cert", "issue", "--name", "n", "--policy", "observer", "--out", text(&plain)]);
    book.muster(&["cert", "issue", "--name", "n", "--policy", "observer", "--days", "0", "--out", &out]);
    book.muster(&["cert", "revoke", "abc"]);
    book.muster(&["cert", "revoke", text(&plain)]);
    // Packages.
    book.muster(&["component", "publish", &path("nowhere")]);
    let package = root.join("packages/broken");
    fs::create_dir_all(&package).unwrap();
    let recipe = package.join("component.toml");
    fs::write(&recipe, "name = \n").unwrap();
    book.muster(&["component", "publish", text(&package)]);
    fs::write(&recipe, "name = \"a b\"\nversion = \"1\"\nsok_s = 1\n").unwrap();
    book.muster(&["component", "publish", text(&package)]);
    let sound = "name = \"a\"\nversion = \"1\"\n[start]\ncommand = [\"bin/a\"]\n[health]\ncommand = [\"bin/a\"]\n";
    fs::write(&recipe, sound).unwrap();
    book.muster(&["component", "publish", text(&package)]);
    fs::create_dir_all(package.join("bin")).unwrap();
    fs::write(package.join("bin/a"), "").unwrap();
    book.muster(&["component", "publish", text(&package)]);
    // Jobs.
    book.muster(&["job", "create", "j", "--to", "all", "--document", &path("nowhere")]);
    book.muster(&["job", "create", "j", "--to", "all", "--document", text(&plain)]);
    let large = file(&fleet, "large", &format!("{{\"a\": \"{}\"}}", "x".repeat(40_000)));
    book.muster(&["job", "create", "j", "--to", "all", "--document", text(&large)]);
    // Backups.
    book.muster(&["backup", text(&plain)]);
    book.muster(&["backup", &path("data/inside")]);
    book.muster(&["backup", &path("nowhere/file")]);
    book.muster_alone(&["restore", text(&plain), "--verify"]);
    book.muster_alone(&["restore", &path("nowhere"), "--verify"]);
    book.muster_alone(&["restore", text(&plain)]);
    book.muster(&["restore", text(&plain)]);
    book.muster_alone(&["restore", text(&plain), "--data", &path("fresh")]);
    book.muster_alone(&["restore", text(&plain), "--data", &path("fresh"), "--ledger", text(&plain)]);
    book.muster_alone(&["demo", "--keep", text(&root)]);
    // The server.
    let settings = fleet.data().join("muster.toml");
    fs::write(&settings, "[server]\nlisten = 1\nlisen = 2\nhosts = []\n").unwrap();
    book.muster(&["serve", "--check"]);
    fs::write(&settings, "[server\n").unwrap();
    book.muster(&["serve", "--check"]);
    fs::remove_file(&settings).unwrap();
    book.muster(&["serve", "--check"]);
    book.finish();
}

/// A server that cannot begin.
#[test]
fn serving() {
    let mut fleet = Fleet::start();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap();
    let mut book = Book::new("serving", &fleet);
    book.mask_port(listen.port(), "{taken}");
    let listen = listen.to_string();
    book.muster(&["serve", "--listen", "127.0.0.1:0"]);
    fleet.kill();
    book.muster(&["serve", "--listen", &listen]);
    book.muster(&["serve", "--listen", "127.0.0.1:0", "--mqtt-listen", &listen]);
    book.muster(&["serve", "--listen", "192.0.2.1:1"]);
    let key = fleet.data().join("ca/ca.key");
    fs::write(&key, "no key").unwrap();
    book.muster(&["serve", "--listen", "127.0.0.1:0"]);
    fs::remove_file(&key).unwrap();
    book.muster(&["serve", "--listen", "127.0.0.1:0"]);
    book.finish();
}

/// What a server answers about connectors.
#[test]
fn connectors() {
    let fleet = Fleet::start();
    let mut book = Book::new("connectors", &fleet);
    fleet.enrol("there");
    fleet.add_connector("fresh");
    fleet.add_connector("gone");
    fleet.muster(&["connector", "remove", "gone", "--yes"]).succeeded();
    fleet.muster(&["connector", "disable", "fresh"]).succeeded();
    let long = "x".repeat(2000);
    book.mask(&long, "{long}");
    for words in [
        &["connector", "add", "there"][..],
        &["connector", "add", "gone"],
        &["connector", "add", "gone", "--renew"],
        &["connector", "add", "ghost", "--renew"],
        &["connector", "add", "ghost", "--reinstall"],
        &["connector", "add", "new", "--description", &long],
        &["connector", "show", "ghost"],
        &["connector", "edit", "ghost", "--pool", "blue"],
        &["connector", "edit", "gone", "--pool", "blue"],
        &["connector", "edit", "there", "--description", &long],
        &["connector", "disable", "ghost"],
        &["connector", "disable", "gone"],
        &["connector", "disable", "there", "--reason", &long],
        &["connector", "enable", "ghost"],
        &["connector", "enable", "gone"],
        &["connector", "resolve", "there"],
        &["connector", "resolve", "there", "--yes"],
        &["connector", "remove", "there"],
        &["connector", "remove", "ghost", "--yes"],
        &["connector", "remove", "there", "--uninstall", "--yes"],
        &["connector", "remove", "fresh", "--uninstall", "--yes"],
        &["connector", "remove", "--to", "all"],
        &["connector", "remove", "--to", "all", "--uninstall"],
        &["connector", "remove", "--to", "all", "--uninstall", "--purge"],
        &["connector", "remove", "--to", "name=there|fresh", "--uninstall", "--yes"],
        &["connector", "remove", "--to", "pool=nowhere", "--yes"],
        &["connector", "disable", "--to", "all"],
        &["connector", "disable", "--to", "name=there", "--reason", &long, "--yes"],
        &["connector", "enable", "--to", "status=disabled"],
        &["connector", "edit", "--to", "all", "--no-pool", "--site", "s"],
        &["watch", "--to", "pool"],
        &["connector", "list", "--status", "up"],
        &["connector", "list", "--work", "lazy"],
        &["connector", "list", "--component", "a b"],
        &["connector", "list", "--as", "nobody"],
    ] {
        book.muster(words);
    }
    // A key that others may read, and a certificate that is no operator's.
    let observer = fleet.issue_cert("wall", "observer");
    let own = observer.own.unwrap();
    let operators = fleet.data().join("operators");
    fs::write(operators.join("wall.crt"), &own.0).unwrap();
    fs::write(operators.join("wall.key"), &own.1).unwrap();
    book.muster(&["connector", "list", "--as", "wall"]);
    fs::set_permissions(operators.join("wall.key"), fs::Permissions::from_mode(0o600)).unwrap();
    book.muster(&["connector", "list", "--as", "wall"]);
    book.finish();
}

/// What a server answers about policies and tokens, and what is wrong with a policy.
#[test]
fn access() {
    let fleet = Fleet::start();
    let mut book = Book::new("access", &fleet);
    fleet.enrol("there");
    let allow = |action: &str, resource: &str| {
        let statement = json!([{ "Effect": "Allow", "Action": action, "Resource": resource }]);
        json!({ "Version": "2012-10-17", "Statement": statement }).to_string()
    };
    let good = file(&fleet, "good.json", &allow("iot:Connect", "*"));
    let other = file(&fleet, "other.json", &allow("iot:Subscribe", "*"));
    let documents = [
        file(&fleet, "plain", "nothing of use\n"),
        file(&fleet, "empty.json", "{}"),
        file(&fleet, "version.json", "{\"Version\": \"2020-01-01\", \"Statement\": []}"),
        file(&fleet, "effect.json", &allow("iot:Connect", "*").replace("Allow", "Perhaps")),
        file(&fleet, "action.json", &allow("iot:Explode", "*")),
        file(&fleet, "resource.json", &allow("iot:Publish", "topic")),
        file(&fleet, "bad name.json", &allow("iot:Connect", "*")),
        fleet.root().join("nowhere.json"),
    ];
    for document in &documents {
        book.muster(&["policy", "add", text(document)]);
    }
    fleet.muster(&["policy", "add", text(&good)]).succeeded();
    fleet.muster(&["policy", "attach", "good", "there"]).succeeded();
    for words in [
        &["policy", "add", text(&other), "--name", "good"][..],
        &["policy", "add", text(&good), "--name", "default"],
        &["policy", "show", "ghost"],
        &["policy", "delete", "ghost"],
        &["policy", "delete", "good"],
        &["policy", "delete", "default"],
        &["policy", "attach", "ghost", "there"],
        &["policy", "attach", "good", "ghost"],
        &["policy", "detach", "good", "ghost"],
        &["token", "revoke", "ghost"],
        &["token", "revoke", "there"],
        &["connector", "approve", "ghost"],
        &["connector", "approve", "there"],
        &["key", "revoke", "ghost"],
        &["stream", "delete", "ghost"],
        &["stream", "create", "s", "ghost@1"],
        &["allowlist", "--static", "--wildcard"],
        &["allowlist", "--server", "muster"],
    ] {
        book.muster(words);
    }
    book.finish();
}

/// What a server answers about components, upgrades and jobs.
#[test]
fn work() {
    let fleet = Fleet::start();
    let mut book = Book::new("work", &fleet);
    let host = fleet.enrol("there");
    let _agent = Mqtt::connect(fleet.address(), &host.credentials(), "there", Version::V5);
    let document = file(&fleet, "document.json", &json!({ "do": "nothing" }).to_string());
    let document = text(&document);
    let open = file(&fleet, "template.json", &json!({ "do": "${what}" }).to_string());
    for words in [
        &["upgrade", "greeter", "1.0", "--to", "all"][..],
        &["actions", "--connector", "a b"],
        &["job", "create", "j", "--to", "all"],
        &["job", "create", "j", "--to", "pool=empty", "--document", document],
        &["job", "create", "upgrade-1", "--to", "all", "--document", document],
        &["job", "create", "j", "--to", "status=online", "--continuous", "--document", document],
        &["job", "create", "j", "--to", "all", "--template", "ghost"],
        &["job", "create", "j", "--to", "all", "--document", document, "--param", "a=b"],
        &["job", "create", "j", "--to", "all", "--document", document, "--rate-factor", "9"],
        &["job", "create", "j", "--to", "all", "--document", document, "--end-behavior", "cancel"],
        &["job", "create", "j", "--to", "all", "--document", document, "--end", "2020-01-01 00:00"],
        &["job", "create", "j", "--to", "all", "--document", document, "--start", "tomorrow"],
        &["job", "create", "j", "--to", "all", "--document", document, "--window", "every friday;2h"],
        &["job", "show", "ghost"],
        &["job", "update", "ghost", "--description", "x"],
        &["job", "cancel", "ghost"],
        &["job", "delete", "ghost"],
        &["job", "executions", "ghost"],
        &["job", "execution", "cancel", "ghost", "there"],
        &["job", "execution", "cancel", "upgrade-1", "there"],
        &["job", "template", "create", "t", "--description", "x"],
        &["job", "template", "show", "ghost"],
        &["job", "template", "delete", "ghost"],
        &["component", "list", "a b"],
    ] {
        book.muster(words);
    }
    fleet.publish("1.0", true);
    let other = fleet.package("1.0", true);
    fs::write(other.join("more"), "other content").unwrap();
    fleet.muster(&["job", "create", "j", "--to", "all", "--document", document]).succeeded();
    let template = ["job", "template", "create", "t", "--description", "for tests", "--document", text(&open)];
    fleet.muster(&template).succeeded();
    for words in [
        &["component", "publish", text(&other)][..],
        &["upgrade", "greeter", "2.0", "--to", "all"],
        &["upgrade", "greeter", "1.0", "--to", "pool=empty"],
        &["upgrade", "greeter", "1.0", "--to", "status=online"],
        &["job", "create", "j", "--to", "all", "--document", document],
        &["job", "create", "k", "--to", "all", "--template", "t"],
        &["job", "create", "k", "--to", "all", "--template", "t", "--param", "what=x", "--param", "why=y"],
        &template[..],
        &["job", "delete", "j"],
        &["job", "add-targets", "j", "--to", "all"],
        &["job", "cancel", "j", "--reason-code", "not good"],
        &["job", "execution", "cancel", "j", "ghost"],
        &["job", "execution", "cancel", "j", "there", "--expected-version", "9"],
        &["job", "execution", "delete", "j", "there"],
    ] {
        book.muster(words);
    }
    fleet.muster(&["job", "cancel", "j"]).succeeded();
    book.muster(&["job", "cancel", "j"]);
    book.muster(&["job", "update", "j", "--description", "x"]);
    book.finish();
}

/// What the agent says of a host, and of a server.
#[test]
fn agent() {
    let mut fleet = Fleet::start();
    let token = fleet.add_connector("host-1");
    let mut book = Book::new("agent", &fleet);
    let server = fleet.address().to_string();
    let ca = file(&fleet, "ca.pem", &fleet.ca_pem());
    let plain = file(&fleet, "plain", "nothing of use\n");
    let bad = file(&fleet, "bad-token", "not a token\n");
    let other = fleet.add_connector("host-2");
    let wrong = file(&fleet, "wrong-token", &format!("{}\n", turned(&token)));
    let other = file(&fleet, "other-token", &format!("{other}\n"));
    let good = file(&fleet, "token", &format!("{token}\n"));
    let prefix = fleet.root().join("hosts/host-1");
    let nowhere = fleet.root().join("nowhere");
    let stranger = Fleet::init();
    let other_ca = file(&fleet, "other-ca.pem", &stranger.ca_pem());
    let enrol = |server: &str, ca: &Path, token: &Path, more: &[&str]| -> Vec<String> {
        let words = ["enrol", "--prefix", text(&prefix), "--server", server, "--ca", text(ca), "--name", "host-1"];
        let token = ["--token-file", text(token)];
        [&words[..], &token[..], more].concat().iter().map(|word| (*word).to_owned()).collect()
    };
    let nobody = Port::reserve();
    let free = nobody.address();
    book.mask_port(free.port(), "{free}");
    let free = free.to_string();
    let attempts = [
        enrol("nowhere", &ca, &good, &[]),
        enrol(&server, &nowhere, &good, &[]),
        enrol(&server, &plain, &good, &[]),
        enrol(&server, &ca, &nowhere, &[]),
        enrol(&server, &ca, &bad, &[]),
        enrol(&server, &ca, &wrong, &[]),
        enrol(&server, &ca, &other, &[]),
        enrol(&server, &other_ca, &good, &[]),
        enrol(&free, &ca, &good, &[]),
        enrol(&server, &ca, &good, &["--pool", "elsewhere"]),
        enrol(&server, &ca, &good, &["--proxy", "ftp://proxy"]),
        enrol(&server, &ca, &good, &["--proxy", &format!("http://{free}"), "--no-proxy", "none"]),
    ];
    for words in &attempts {
        book.agent(&words.iter().map(String::as_str).collect::<Vec<_>>());
    }
    for words in [
        &["run", "--prefix", "relative"][..],
        &["run", "--prefix", text(&nowhere)],
        &["run", "--prefix", text(&plain)],
        &["status", "--prefix", text(&nowhere)],
        &["reload", "--prefix", text(&nowhere)],
        &["check", "--prefix", text(&nowhere)],
        &["start", "--prefix", text(&nowhere)],
        &["restart", "--prefix", text(&nowhere)],
        &["check", "--prefix", text(&prefix), "--before-enrol", "--server", "s", "--ca", text(&ca)],
        &["check", "--prefix", text(&prefix), "--before-enrol", "--server", &server, "--ca", text(&plain)],
        &["check", "--prefix", text(&prefix), "--before-enrol", "--server", &free, "--ca", text(&ca)],
    ] {
        book.agent(words);
    }
    let (mut host, enrolled) = muster_tests::fleet::Host::try_enrol(&fleet, "host-1", &token);
    enrolled.succeeded();
    let again = enrol(&server, &ca, &good, &[]);
    book.agent(&again.iter().map(String::as_str).collect::<Vec<_>>());
    let forced = enrol(&server, &ca, &good, &["--force"]);
    book.agent(&forced.iter().map(String::as_str).collect::<Vec<_>>());
    book.agent(&["reload", "--prefix", text(&prefix)]);
    host.run();
    muster_tests::eventually::eventually("the agent is online", std::time::Duration::from_secs(60), || {
        let view = fleet.connector("host-1");
        if view["link"] == "online" { Ok(()) } else { Err(view.to_string()) }
    });
    book.mask(&format!("process {} ", host.agent_pid()), "process {pid} ");
    book.agent(&["run", "--prefix", text(&prefix)]);
    assert!(host.stop().success());
    let settings = prefix.join("agent.toml");
    let before = fs::read_to_string(&settings).unwrap();
    fs::write(&settings, "name = \"a b\"\nserver = \"s\"\nport = 0\nheartbeat_s = 0\nlog_level = \"loud\"\nlogs = 1\n")
        .unwrap();
    book.agent(&["run", "--prefix", text(&prefix)]);
    book.agent(&["check", "--prefix", text(&prefix)]);
    fs::write(&settings, "name = \n").unwrap();
    book.agent(&["run", "--prefix", text(&prefix)]);
    fs::write(&settings, before.replace("host-1", "host-2")).unwrap();
    book.agent(&["run", "--prefix", text(&prefix)]);
    fs::write(&settings, before).unwrap();
    fleet.kill();
    book.agent(&["check", "--prefix", text(&prefix)]);
    fs::write(prefix.join("state/identity/key.pem"), "no key").unwrap();
    book.agent(&["run", "--prefix", text(&prefix)]);
    fs::remove_file(prefix.join("state/identity/key.pem")).unwrap();
    book.agent(&["run", "--prefix", text(&prefix)]);
    book.finish();
}

/// A token of the same form that nobody gave out.
fn turned(token: &str) -> String {
    let (start, secret) = token.split_once('_').unwrap();
    let (first, rest) = secret.split_at(8);
    format!("{start}_{}{rest}", first.chars().rev().collect::<String>())
}
