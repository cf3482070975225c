//! Upgrades whose packages come over MQTT, from the stream that every published package has.
#![allow(clippy::unwrap_used, reason = "a test stops at what it cannot set up")]

use muster_tests::fleet::{Fleet, Gate, Host, Rule};
use muster_tests::stand::deploy;
use serde_json::Value;
use std::fs;
use std::path::PathBuf;

/// A host whose agent fetches over MQTT alone.
fn host(fleet: &Fleet) -> Host {
    let host = fleet.enrol("alpha");
    let settings = host.prefix().join("agent.toml");
    let text = fs::read_to_string(&settings).unwrap();
    fs::write(&settings, format!("{text}\ndownload = \"mqtt\"\n")).unwrap();
    host
}

fn package(fleet: &Fleet, published: &Value) -> PathBuf {
    let digest = published["sha256"].as_str().unwrap();
    fleet.data().join("artifacts").join(&digest[..2]).join(digest)
}

#[test]
fn an_upgrade_comes_over_mqtt() {
    let fleet = Fleet::start();
    fleet.publish("1.0", true);
    let mut host = host(&fleet);
    host.run();
    deploy(&fleet, &host, "1.0");
    assert!(host.has_logged("download over MQTT"), "{}", host.log());
    fleet.publish("1.1", true);
    deploy(&fleet, &host, "1.1");
}

#[test]
fn with_https_cut_off_the_agent_takes_mqtt_unasked_and_https_again_once_that_is_back() {
    let fleet = Fleet::start();
    fleet.publish("1.0", true);
    let mut host = fleet.enrol("alpha");
    // A firewall that looks into the ClientHello and lets MQTT through; `download` has its default.
    let gate = Gate::open(fleet.address(), Rule::Mqtt);
    let settings = host.prefix().join("agent.toml");
    let text = fs::read_to_string(&settings).unwrap();
    let through = text.replace(&fleet.address().to_string(), &gate.address().to_string());
    assert_ne!(through, text);
    fs::write(&settings, through).unwrap();
    host.run();
    deploy(&fleet, &host, "1.0");
    assert!(gate.cut() > 0, "HTTPS was not even tried");
    assert!(host.has_logged("download over MQTT"), "{}", host.log());
    fleet.publish("1.1", true);
    deploy(&fleet, &host, "1.1");

    gate.let_through(Rule::All);
    let log = fleet.root().join("logs/alpha.log");
    let over_mqtt = || fs::read_to_string(&log).unwrap().matches("download over MQTT").count();
    let before = over_mqtt();
    fleet.publish("1.2", true);
    deploy(&fleet, &host, "1.2");
    assert_eq!(over_mqtt(), before, "{}", host.log());
}

#[test]
fn a_download_over_mqtt_goes_on_where_it_broke_off() {
    let fleet = Fleet::start();
    let published = fleet.publish("1.0", true);
    let mut host = host(&fleet);
    let whole = fs::read(package(&fleet, &published)).unwrap();
    let spool = host.prefix().join("state/spool");
    fs::create_dir_all(&spool).unwrap();
    let part = spool.join(format!("{}.part", published["sha256"].as_str().unwrap()));
    fs::write(part, &whole[..100_000]).unwrap();
    host.run();
    deploy(&fleet, &host, "1.0");
    // Three whole blocks of 32 KiB; the digest of the whole was checked before it was unpacked.
    assert!(host.has_logged("have=98304"), "{}", host.log());
}

#[test]
fn a_damaged_package_is_not_installed() {
    let fleet = Fleet::start();
    fleet.publish("1.0", true);
    let mut host = host(&fleet);
    host.run();
    deploy(&fleet, &host, "1.0");
    let published = fleet.publish("1.1", true);
    let path = package(&fleet, &published);
    let mut bytes = fs::read(&path).unwrap();
    bytes[40_000] ^= 1;
    let mut rights = fs::metadata(&path).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut rights, 0o600);
    fs::set_permissions(&path, rights).unwrap();
    fs::write(&path, bytes).unwrap();
    let target = muster_tests::stand::upgrade(&fleet, &host, "1.1", &[]);
    let action = muster_tests::stand::ended(&fleet, &host, &target);
    assert_eq!(action["state"], "failed", "{action}");
    let reason = action["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("has SHA-256"), "{reason}");
    muster_tests::stand::Stand::settled(&fleet, &host, "1.0");
}
