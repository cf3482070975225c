//! A fleet comes back from a backup, and nothing comes back that had ended.
#![allow(clippy::unwrap_used, reason = "a test stops at what it cannot set up")]

use muster_certs::certificate::CertificateFacts;
use muster_tests::client::{Credentials, Mqtt, Version};
use muster_tests::eventually::eventually;
use muster_tests::fleet::{Fleet, Host, Output, Process};
use muster_tests::stand::deploy;
use serde_json::{Value, json};
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);
/// Exit codes of the command line and of the agent: refused, wrong on this machine.
const REFUSED: i32 = 1;
const LOCAL: i32 = 2;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Runs `muster ARGS` without a data folder of its own.
#[track_caller]
fn muster(fleet: &Fleet, args: &[&str]) -> Output {
    let mut command = Command::new(&fleet.programs().muster);
    command.args(args).env_remove("MUSTER_DATA");
    Output::of(command, SOON)
}

/// A server on a data folder that `Fleet` does not know.
struct Second {
    data: PathBuf,
    address: SocketAddr,
    _process: Process,
}

impl Second {
    #[track_caller]
    fn serve(fleet: &Fleet, data: &Path) -> Self {
        let mut command = Command::new(&fleet.programs().muster);
        command.args(["serve", "--listen", "127.0.0.1:0", "--data", text(data)]);
        let mut process =
            Process::spawn_and_listen("the second server", command, &fleet.root().join("logs/second.log"));
        let line = process.wait_for_line("ready ", SOON);
        let address = line.split_whitespace().find_map(|word| word.strip_prefix("https=")).unwrap().parse().unwrap();
        Self { data: data.to_owned(), address, _process: process }
    }

    #[track_caller]
    fn connector(&self, fleet: &Fleet, name: &str) -> Value {
        muster(fleet, &["connector", "show", name, "--json", "--data", text(&self.data)]).json()["connector"].take()
    }

    #[track_caller]
    fn sees(&self, fleet: &Fleet, name: &str, link: &str) -> Value {
        eventually(&format!("{name} is {link}"), SOON, || match self.connector(fleet, name) {
            view if view["link"] == link => Ok(view),
            view => Err(view.to_string()),
        })
    }
}

#[track_caller]
fn comes_online(fleet: &Fleet, name: &str) {
    eventually(&format!("{name} is online"), SOON, || match fleet.connector(name) {
        view if view["link"] == "online" => Ok(()),
        view => Err(view.to_string()),
    });
}

/// What a host shows at the door.
fn credentials(fleet: &Fleet, host: &Host) -> Credentials {
    let read = |name| fs::read_to_string(host.prefix().join("state/identity").join(name)).unwrap();
    Credentials { ca_pem: fleet.ca_pem(), own: Some((read("cert.pem"), read("key.pem"))) }
}

#[track_caller]
fn is_refused(address: SocketAddr, credentials: &Credentials, name: &str) {
    let outcome = Mqtt::try_connect(address, credentials, name, Version::V4);
    assert!(outcome.is_err(), "{name} was let in");
}

/// An operator takes a certificate back. Returns when that is durable.
#[track_caller]
fn revoke(fleet: &Fleet, host: &Host) {
    let (certificate, _) = credentials(fleet, host).own.unwrap();
    let id = CertificateFacts::from_pem(&certificate).unwrap().id;
    let operator = fleet.issue_cert("ann", "operator");
    let client = Mqtt::connect(fleet.address(), &operator, "ann", Version::V5);
    client.publish("muster/op/cert-revoke", json!({ "id": id }).to_string()).unwrap();
}

/// Lets the agent of a host find another server, as an operator would.
#[track_caller]
fn move_to(host: &mut Host, address: SocketAddr) {
    host.stop();
    let file = host.prefix().join("agent.toml");
    let lines: Vec<String> = fs::read_to_string(&file)
        .unwrap()
        .lines()
        .map(|line| if line.starts_with("server = ") { format!("server = \"{address}\"") } else { line.to_owned() })
        .collect();
    fs::write(&file, lines.join("\n") + "\n").unwrap();
    host.run();
}

#[test]
fn a_restored_fleet_goes_on_and_nothing_that_had_ended_comes_back() {
    let mut fleet = Fleet::start();
    fleet.publish("1.0", true);
    let used = fleet.add_connector("alpha");
    let mut alpha = Host::enrol(&fleet, "alpha", &used);
    let mut beta = fleet.enrol("beta");
    alpha.run();
    beta.run();
    deploy(&fleet, &alpha, "1.0");
    let live = fleet.add_connector("gamma");
    comes_online(&fleet, "beta");

    let file = fleet.root().join("fleet.backup");
    let made = fleet.muster_json(&["backup", text(&file)]);
    assert_eq!((&made["fleet"], &made["with_artifacts"]), (&json!("muster"), &json!(true)));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let left = fs::read_dir(fleet.data()).unwrap().flatten();
    assert!(left.into_iter().all(|entry| !entry.file_name().to_str().unwrap().contains("snapshot")));
    fleet.muster(&["backup", text(&file)]).ended_with(LOCAL).explaining("is there already");
    fleet.muster(&["backup", text(&fleet.data().join("b"))]).ended_with(LOCAL).explaining("lies in the data folder");

    // The fleet lives on.
    revoke(&fleet, &beta);
    is_refused(fleet.address(), &credentials(&fleet, &beta), "beta");
    let mut delta = fleet.enrol("delta");
    delta.run();
    comes_online(&fleet, "delta");
    let upgrade = ["upgrade", "greeter", "1.0", "--to", "name=gamma"];
    assert_eq!(fleet.muster_json(&upgrade)["target"], "t2");
    fleet.kill();

    let elsewhere = fleet.root().join("elsewhere");
    let ledger = fleet.data().join("ledger.log");
    let words = ["restore", text(&file), "--data", text(&elsewhere)];
    muster(&fleet, &words).ended_with(LOCAL).explaining("--ledger FILE");
    let restored = muster(&fleet, &[&words[..], &["--ledger", text(&ledger), "--json"]].concat()).json();
    assert_eq!(restored["connectors_disabled"], 0);
    let second = Second::serve(&fleet, &elsewhere);
    for host in [&mut alpha, &mut beta, &mut delta] {
        move_to(host, second.address);
    }
    let view = second.sees(&fleet, "alpha", "online");
    assert_eq!(view["components"]["greeter"]["confirmed"], "1.0", "{view}");
    eventually("alpha still runs 1.0", SOON, || match second.connector(&fleet, "alpha") {
        view if view["work"] == "healthy" && view["components"]["greeter"]["reported"] == "1.0" => Ok(()),
        view => Err(view.to_string()),
    });
    // An agent may remember the job of t2, of which the restored fleet knows nothing: that number does not come again.
    let next = muster(&fleet, &[&upgrade[..], &["--json", "--data", text(&elsewhere)]].concat()).json();
    let number: u64 = next["target"].as_str().unwrap()[1..].parse().unwrap();
    assert!(number > 1_000_000_000, "{next}");
    // It was added after the backup: the ledger knows it.
    second.sees(&fleet, "delta", "online");
    // Its certificate was revoked after the backup.
    is_refused(second.address, &credentials(&fleet, &beta), "beta");
    assert_ne!(second.connector(&fleet, "beta")["link"], "online");
    for (name, token, folder) in [("alpha", &used, "again"), ("gamma", &live, "gamma")] {
        let mut command = Command::new(&fleet.programs().agent);
        let prefix = fleet.root().join("hosts").join(folder);
        fs::create_dir_all(&prefix).unwrap();
        fs::write(prefix.join("token"), token).unwrap();
        command.args(["enrol", "--name", name, "--server", &second.address.to_string()]);
        command.arg("--prefix").arg(&prefix).arg("--ca").arg(fleet.data().join("ca/ca.crt"));
        command.arg("--token-file").arg(prefix.join("token"));
        Output::of(command, SOON).ended_with(REFUSED).explaining("the enrolment token is not valid");
    }
}

#[test]
fn without_a_ledger_every_connector_waits_for_an_operator() {
    let mut fleet = Fleet::start();
    let mut alpha = fleet.enrol("alpha");
    alpha.run();
    comes_online(&fleet, "alpha");
    fleet.stop();
    // No server runs: the records come from the store itself.
    let file = fleet.root().join("fleet.backup");
    fleet.muster_json(&["backup", text(&file), "--without-artifacts"]);
    fs::remove_dir_all(fleet.data()).unwrap();

    let restored = muster(&fleet, &["restore", text(&file), "--data", text(&fleet.data()), "--without-ledger"]);
    let said = restored.succeeded().stdout;
    assert!(said.contains("1 connectors are disabled") && said.contains("muster connector enable NAME"), "{said}");
    fleet.serve();
    is_refused(fleet.address(), &credentials(&fleet, &alpha), "alpha");
}

#[test]
fn a_damaged_backup_is_found_and_a_fleet_is_not_overwritten_by_mistake() {
    let mut fleet = Fleet::start();
    fleet.publish("1.0", true);
    let file = fleet.root().join("fleet.backup");
    fleet.muster_json(&["backup", text(&file)]);
    let verify = |file: &Path| muster(&fleet, &["restore", text(file), "--verify"]);
    let said = verify(&file).succeeded().stdout;
    assert!(said.contains("is good") && said.contains("1 published versions, all in it"), "{said}");

    let whole = fs::read(&file).unwrap();
    let damaged = fleet.root().join("damaged.backup");
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 0x40;
    let longer = [&whole[..], b"garbage"].concat();
    for bytes in [&flipped[..], &whole[..whole.len() / 2], &longer, b"no backup", b""] {
        fs::write(&damaged, bytes).unwrap();
        verify(&damaged).ended_with(LOCAL).explaining("backup");
    }

    let restore = |fleet: &Fleet, more: &[&str]| {
        let data = fleet.data();
        let words = [&["restore", text(&file), "--data", text(&data)], more].concat();
        muster(fleet, &words)
    };
    restore(&fleet, &[]).ended_with(LOCAL).explaining("is not empty");
    restore(&fleet, &["--force"]).ended_with(LOCAL).explaining("a server runs on");
    fleet.kill();
    let said = restore(&fleet, &["--force"]).succeeded().stdout;
    assert!(said.contains("before-restore-"), "{said}");
    let kept = fs::read_dir(fleet.root()).unwrap().flatten().any(|entry| {
        let name = entry.file_name();
        name.to_str().unwrap().starts_with("data.before-restore-") && entry.path().join("muster.toml").is_file()
    });
    assert!(kept, "the old folder is there under its new name");
    fleet.serve();
    let listed = fleet.muster_json(&["component", "list"]);
    assert_eq!(listed["components"][0]["version"], "1.0", "{listed}");
}

/// Takes the authority further, as soon as every host is ready for it.
#[track_caller]
fn rotate(fleet: &Fleet, phase: &str) {
    eventually(&format!("the phase {phase} begins"), SOON, || {
        let output = fleet.muster(&["ca", "rotate", "--phase", phase]);
        if output.code == Some(0) { Ok(()) } else { Err(output.stderr) }
    });
}

#[test]
fn a_backup_of_a_retired_authority_is_refused_and_the_way_out_works() {
    let mut fleet = Fleet::start();
    let mut host = fleet.enrol("alpha");
    host.run();
    let is_online = |fleet: &Fleet, host: &Host| {
        eventually("alpha is online", SOON, || match fleet.connector("alpha") {
            view if view["link"] == "online" => Ok(()),
            view => Err(format!("{view}; its log:\n{}", host.log())),
        });
    };
    is_online(&fleet, &host);
    let backup = |fleet: &Fleet, name: &str| {
        let file = fleet.root().join(name);
        fleet.muster(&["backup", text(&file)]).succeeded();
        file
    };
    let verify = |fleet: &Fleet, file: &Path| fleet.muster(&["restore", text(file), "--verify"]);
    let early = backup(&fleet, "early");
    verify(&fleet, &early).succeeded();
    rotate(&fleet, "announced");
    // Its authority still issues: nothing is lost yet.
    verify(&fleet, &early).succeeded();
    let middle = backup(&fleet, "middle");
    ["trust-both", "switched", "retired"].iter().for_each(|phase| rotate(&fleet, phase));
    let late = backup(&fleet, "late");
    let advice = |output: &Output| output.stdout.contains("muster ca rotate --phase switched");
    assert!(!advice(&verify(&fleet, &late).succeeded()));
    assert!(advice(&verify(&fleet, &middle).succeeded()));
    let refused = verify(&fleet, &early).ended_with(LOCAL).explaining("which was replaced by");
    refused.explaining("trust no other").explaining("Use a backup that was made since");
    // Without a ledger nobody knows, and a copy that lies elsewhere does.
    muster(&fleet, &["restore", text(&early), "--verify"]).succeeded();
    let ledger = fleet.root().join("ledger.copy");
    fs::copy(fleet.data().join("ledger.log"), &ledger).unwrap();
    muster(&fleet, &["restore", text(&early), "--verify", "--ledger", text(&ledger)]).ended_with(LOCAL);

    fleet.stop();
    let untouched = fs::read(fleet.data().join("ca/ca.crt")).unwrap();
    fleet.muster(&["restore", text(&early), "--force"]).ended_with(LOCAL).explaining("--old-authority");
    assert_eq!(fs::read(fleet.data().join("ca/ca.crt")).unwrap(), untouched);
    let restored = fleet.muster(&["restore", text(&early), "--force", "--old-authority", "--json"]).json();
    let aside = PathBuf::from(restored["moved_aside"].as_str().unwrap());
    // As it says: the folder of the authority that hosts believe, and certificates of it.
    fs::remove_dir_all(fleet.data().join("ca")).unwrap();
    fs::rename(aside.join("ca"), fleet.data().join("ca")).unwrap();
    fleet.muster(&["cert", "renew", "--as", "admin"]).succeeded();
    fleet.serve();
    is_online(&fleet, &host);
    // The ledger follows: what is backed up now is good.
    verify(&fleet, &backup(&fleet, "after")).succeeded();
}
