//! Upgrades that go well and upgrades that do not: whatever happens, one version runs whole, the reason is told, and the
//! server knows.
#![allow(clippy::unwrap_used, reason = "a test stops at what it cannot set up")]

use muster_tests::client::{Mqtt, Version};
use muster_tests::eventually::eventually;
use muster_tests::fleet::{Fleet, Host, Package};
use muster_tests::stand::{COMPONENT, Stand, UPGRADE_DEADLINE, current, deploy, ended, journaled, upgrade};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(90);

/// A fleet with one host that runs 1.0.
#[track_caller]
fn scene() -> (Fleet, Host) {
    let fleet = Fleet::start();
    fleet.publish("1.0", true);
    let mut host = fleet.enrol("alpha");
    host.run();
    deploy(&fleet, &host, "1.0");
    (fleet, host)
}

/// Publishes a version with a changed recipe.
#[track_caller]
fn publish_changed(fleet: &Fleet, version: &str, change: impl FnOnce(&str) -> String) {
    let dir = fleet.package(version, true);
    let recipe = dir.join("component.toml");
    let text = fs::read_to_string(&recipe).unwrap();
    let changed = change(&text);
    assert_ne!(changed, text);
    fs::write(recipe, changed).unwrap();
    fleet.muster(&["component", "publish", dir.to_str().unwrap()]).succeeded();
}

/// The recipe with another start command.
fn starting(recipe: &str, command: &str) -> String {
    let lines = recipe.lines().map(|line| if line.starts_with("command = ") { command } else { line });
    lines.map(|line| format!("{line}\n")).collect()
}

/// Upgrades to a version that must end so, for a reason with these words.
#[track_caller]
fn misses(fleet: &Fleet, host: &Host, version: &str, more: &[&str], state: &str, words: &str) {
    let action = ended(fleet, host, &upgrade(fleet, host, version, more));
    assert_eq!(action["state"], state, "{action}");
    let reason = action["reason"].as_str().unwrap_or_default();
    assert!(reason.contains(words), "{words:?} is not in {reason:?}");
}

/// The server names the version that failed last, and why.
#[track_caller]
fn last_failed(fleet: &Fleet, host: &Host, version: &str, words: &str) {
    eventually(&format!("{version} is noted as failed for {words:?}"), SOON, || {
        let view = fleet.connector(host.name());
        let failed = &view["components"][COMPONENT]["last_failed"];
        let told = failed["reason"].as_str().is_some_and(|reason| reason.contains(words));
        if failed["version"] == version && told { Ok(()) } else { Err(view.to_string()) }
    });
}

/// A version that fails before the old one is stopped: the process that ran, runs on.
#[track_caller]
fn leaves_untouched(fleet: &Fleet, host: &Host, version: &str, words: &str) {
    let before = Stand::settled(fleet, host, "1.0");
    misses(fleet, host, version, &[], "failed", words);
    last_failed(fleet, host, version, words);
    assert_eq!(Stand::settled(fleet, host, "1.0"), before);
}

/// Where the server keeps a package.
fn artifact(fleet: &Fleet, published: &Value) -> PathBuf {
    let digest = published["sha256"].as_str().unwrap();
    fleet.data().join("artifacts").join(&digest[..2]).join(digest)
}

#[test]
fn a_bad_version_is_rolled_back_and_not_offered_again_until_asked() {
    let (fleet, host) = scene();
    fleet.publish("1.1", true);
    fleet.publish("1.2", false);
    let good = deploy(&fleet, &host, "1.1");

    let probe = "no probe passed within 3 s";
    misses(&fleet, &host, "1.2", &[], "rolled-back", probe);
    let back = Stand::settled(&fleet, &host, "1.1");
    assert_ne!(back.pid, good.pid, "1.1 had to be stopped for 1.2");
    last_failed(&fleet, &host, "1.2", probe);

    misses(&fleet, &host, "1.2", &[], "failed", "not tried: this package failed here before");
    assert_eq!(Stand::settled(&fleet, &host, "1.1"), back, "the host is left alone");
    let to = format!("name={}", host.name());
    let waited = fleet.muster(&["upgrade", COMPONENT, "1.2", "--to", &to, "--wait", "--timeout", "30"]);
    waited.ended_with(1).explaining("0 of 1 connectors confirmed");

    misses(&fleet, &host, "1.2", &["--again"], "rolled-back", probe);
    assert_ne!(Stand::settled(&fleet, &host, "1.1").pid, back.pid, "it was tried again");
}

#[test]
fn a_version_that_crashes_or_cannot_be_started_is_rolled_back() {
    let (fleet, host) = scene();
    publish_changed(&fleet, "2.0", |recipe| starting(recipe, r#"command = ["/bin/sh", "-c", "exit 2"]"#));
    publish_changed(&fleet, "2.1", |recipe| starting(recipe, r#"command = ["/no/such/program"]"#));
    for (version, words) in [("2.0", "exit code 2"), ("2.1", "/no/such/program")] {
        misses(&fleet, &host, version, &[], "rolled-back", words);
        Stand::settled(&fleet, &host, "1.0");
        last_failed(&fleet, &host, version, words);
    }
}

#[test]
fn a_first_version_that_fails_leaves_nothing_behind() {
    let fleet = Fleet::start();
    fleet.publish("1.0", false);
    fleet.publish("1.1", true);
    let mut host = fleet.enrol("alpha");
    host.run();
    misses(&fleet, &host, "1.0", &[], "failed", "no probe passed within 3 s");
    assert_eq!((current(&host), host.component_pids()), (None, Vec::new()));
    deploy(&fleet, &host, "1.1");
}

#[test]
fn a_failing_install_command_leaves_the_old_version_untouched() {
    let (fleet, host) = scene();
    let install = "\n[install]\ncommand = [\"/bin/sh\", \"-c\", \"echo no licence; exit 2\"]\n";
    publish_changed(&fleet, "2.0", |recipe| format!("{recipe}{install}"));
    leaves_untouched(&fleet, &host, "2.0", "install command failed");
    let log = fs::read_to_string(host.component(COMPONENT).join("log/current.log")).unwrap();
    assert!(log.contains("no licence"), "{log}");
}

#[test]
fn a_package_with_a_wrong_digest_is_refused_and_a_right_one_taken() {
    let (fleet, host) = scene();
    let path = artifact(&fleet, &fleet.publish("1.1", true));
    let good = fs::read(&path).unwrap();
    let mut bad = good.clone();
    let middle = bad.len() / 2;
    bad[middle] ^= 1;
    fs::write(&path, bad).unwrap();
    leaves_untouched(&fleet, &host, "1.1", "the package has SHA-256");
    assert_eq!(fs::read_dir(host.prefix().join("state/spool")).unwrap().count(), 0, "the download is thrown away");

    fs::write(&path, good).unwrap();
    let action = ended(&fleet, &host, &upgrade(&fleet, &host, "1.1", &["--again"]));
    assert_eq!(action["state"], "confirmed", "{action}");
    Stand::settled(&fleet, &host, "1.1");
}

#[test]
fn a_package_that_another_publisher_signed_is_refused() {
    let (fleet, mut host) = scene();
    fleet.publish("1.1", true);
    let stranger = Fleet::init();
    let key = host.prefix().join("state/identity/publisher.pub");
    host.kill();
    fs::write(&key, fs::read(stranger.data().join("publisher/publisher.pub")).unwrap()).unwrap();
    host.run();
    leaves_untouched(&fleet, &host, "1.1", "signature");
}

/// A small file system; gone when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None`, with a message, where this user may not mount.
    fn mount(at: &Path, size: &str) -> Option<Self> {
        let options = format!("size={size},mode=700");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "muster-test"]).arg(at).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(at.to_owned())),
            other => {
                eprintln!("skipped: this user may not mount a file system here ({other:?})");
                None
            }
        }
    }

    fn grow(&self, size: &str) {
        let options = format!("remount,size={size}");
        assert!(Command::new("mount").args(["-o", &options]).arg(&self.0).status().unwrap().success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_during_the_download_is_named_and_free_space_lets_it_pass() {
    let fleet = Fleet::start();
    fleet.publish("1.0", true);
    // The package is larger than the small disk, and the free space of the prefix does not show that.
    let big = Package { padding: 2 * 1024 * 1024, ..Package::new("1.1") }.write(&fleet);
    fleet.muster(&["component", "publish", big.to_str().unwrap()]).succeeded();
    let mut host = fleet.enrol("alpha");
    host.run();
    deploy(&fleet, &host, "1.0");
    host.kill();
    let spool = host.prefix().join("state/spool");
    let Some(disk) = SmallDisk::mount(&spool, "256k") else { return };
    host.run();
    leaves_untouched(&fleet, &host, "1.1", "disk full");
    assert_eq!(fs::read_dir(&spool).unwrap().count(), 0, "the full disk is freed");

    disk.grow("64m");
    let action = ended(&fleet, &host, &upgrade(&fleet, &host, "1.1", &["--again"]));
    assert_eq!(action["state"], "confirmed", "{action}");
    Stand::settled(&fleet, &host, "1.1");
    drop(host);
}

/// Waits for a moment of an upgrade that may be short.
#[track_caller]
fn catch(what: &str, mut look: impl FnMut() -> bool) {
    eventually(what, UPGRADE_DEADLINE, || if look() { Ok(()) } else { Err("not yet, or too late") });
}

#[test]
fn a_server_killed_in_the_middle_of_an_upgrade_knows_its_end() {
    let (mut fleet, host) = scene();
    fleet.publish("1.1", true);
    let padded = |version: &str| Package { padding: 96 * 1024 * 1024, ..Package::new(version) }.write(&fleet);
    let soaking = |version: &str| Package { soak_s: 4, ..Package::new(version) }.write(&fleet);
    for dir in [padded("1.2"), soaking("1.3"), soaking("1.4")] {
        fleet.muster(&["component", "publish", dir.to_str().unwrap()]).succeeded();
    }
    let at = |step: &str| journaled(&host)["step"]["at"] == step;

    // At once: the intent was acknowledged, so it is not lost.
    let target = upgrade(&fleet, &host, "1.1", &[]);
    fleet.restart();
    assert_eq!(ended(&fleet, &host, &target)["state"], "confirmed");

    // During the download, which goes on where it was.
    let target = upgrade(&fleet, &host, "1.2", &[]);
    catch("the download has begun", || {
        let parts = fs::read_dir(host.prefix().join("state/spool")).unwrap().flatten();
        parts.map(|part| part.metadata().map_or(0, |facts| facts.len())).sum::<u64>() > 0
    });
    fleet.restart();
    assert_eq!(ended(&fleet, &host, &target)["state"], "confirmed");

    // While the new version is on trial; the server is back before the end.
    let target = upgrade(&fleet, &host, "1.3", &[]);
    catch("the probe is watched", || at("probing"));
    fleet.restart();
    assert_eq!(ended(&fleet, &host, &target)["state"], "confirmed");

    // The agent comes to the end alone, and tells it when somebody is there to hear it.
    let target = upgrade(&fleet, &host, "1.4", &[]);
    catch("the probe is watched", || at("probing"));
    fleet.kill();
    eventually("the upgrade ends without a server", UPGRADE_DEADLINE, || match journaled(&host) {
        Value::Null => Ok(()),
        upgrade => Err(upgrade.to_string()),
    });
    fleet.serve();
    assert_eq!(ended(&fleet, &host, &target)["state"], "confirmed");
    Stand::settled(&fleet, &host, "1.4");
}

/// What the shadow says that the agent reported of the component.
#[track_caller]
fn reported(fleet: &Fleet, host: &Host) -> Value {
    let reader = Mqtt::connect(fleet.address(), &host.credentials(), "shadow-reader", Version::V5);
    let topic = format!("$aws/things/{}/shadow/name/components/get", host.name());
    reader.subscribe(&format!("{topic}/+")).unwrap();
    let mut document = reader.ask_accepted(&topic, serde_json::json!({}));
    reader.disconnect();
    document["state"]["reported"][COMPONENT].take()
}

#[test]
fn a_component_outlives_its_agent_and_the_next_agent_takes_it_over() {
    let (fleet, mut host) = scene();
    let before = Stand::settled(&fleet, &host, "1.0");
    let start_id = reported(&fleet, &host)["start_id"].clone();
    for round in 0..2 {
        if round == 0 {
            let status = host.stop();
            assert!(status.success(), "SIGTERM is a good end: {status}");
        } else {
            host.kill();
        }
        assert_eq!(Stand::of(&host), Ok(before.clone()));
        let synced = fleet.connector(host.name())["last_sync"].clone();
        host.run();
        eventually("the new agent has reported", SOON, || {
            let view = fleet.connector(host.name());
            let online = view["link"] == "online" && view["last_sync"] != synced;
            if online { Ok(()) } else { Err(view.to_string()) }
        });
        assert_eq!(Stand::settled(&fleet, &host, "1.0"), before);
    }
    assert_eq!(reported(&fleet, &host)["start_id"], start_id);

    // It is no child of this agent, and looked after all the same.
    kill_process(Pid::from_raw(before.pid).unwrap(), Signal::KILL).unwrap();
    let again = eventually("it is started again", SOON, || match Stand::agreed(&fleet, &host, "1.0") {
        Ok(stand) if stand.pid != before.pid => Ok(stand),
        other => Err(format!("{other:?}")),
    });
    assert_eq!(again.restarts, 1);
}

#[test]
fn a_killed_component_is_started_again_and_its_restarts_are_reported() {
    let (fleet, host) = scene();
    let mut stand = Stand::settled(&fleet, &host, "1.0");
    for times in 1..=2 {
        kill_process(Pid::from_raw(stand.pid).unwrap(), Signal::KILL).unwrap();
        let before = stand.pid;
        stand = eventually("it is started again", SOON, || match Stand::of(&host) {
            Ok(stand) if stand.pid != before => Ok(stand),
            other => Err(format!("{other:?}")),
        });
        assert_eq!(stand.restarts, times);
        eventually("the server knows", SOON, || {
            let report = reported(&fleet, &host);
            let start = format!("-{}-{}", stand.pid, stand.start);
            let of_new = report["start_id"].as_str().is_some_and(|id| id.ends_with(&start));
            let healthy = report["health"] == "healthy" && report["port"] == stand.port;
            if report["restarts"] == times && of_new && healthy { Ok(()) } else { Err(report.to_string()) }
        });
    }
    assert_eq!(Stand::settled(&fleet, &host, "1.0"), stand);
    // A new version begins to count anew.
    fleet.publish("1.1", true);
    assert_eq!(deploy(&fleet, &host, "1.1").restarts, 0);
}
