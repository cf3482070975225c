//! The life of a connector after its enrolment, with real processes: removed, disabled, uninstalled, installed anew, and
//! found in two places.
#![allow(clippy::unwrap_used)]

use muster_tests::client::{Credentials, Mqtt, Raw, Version, connect_packet};
use muster_tests::eventually::eventually;
use muster_tests::fleet::{Fleet, Host, Output};
use muster_tests::stand::{COMPONENT, Stand, UPGRADE_DEADLINE};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};
use std::process::Command;
use std::thread;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);
/// The promise: who is removed is out by then.
const OUT: Duration = Duration::from_secs(1);
const OTHERS: usize = 1000;
const REFUSED: i32 = 1;

/// Connects as the thing and hears the server's yes.
fn connected(fleet: &Fleet, credentials: &Credentials, client_id: &str) -> Raw {
    let mut raw = Raw::connect(fleet.address(), credentials, &[b"mqtt"]).unwrap();
    raw.send(&connect_packet(client_id)).unwrap();
    let heard = raw.hear(4, SOON);
    assert_eq!(heard.bytes, [0x20, 2, 0, 0], "{client_id} is let in");
    raw
}

/// What CONNACK says to the thing; the connection ends with it.
fn connack(fleet: &Fleet, credentials: &Credentials, client_id: &str) -> Vec<u8> {
    let mut raw = Raw::connect(fleet.address(), credentials, &[b"mqtt"]).unwrap();
    raw.send(&connect_packet(client_id)).unwrap();
    raw.hear(4, SOON).bytes
}

const NOT_AUTHORIZED: [u8; 4] = [0x20, 2, 0, 5];

#[track_caller]
fn wait_for(fleet: &Fleet, name: &str, what: &str, pointer: &str, expected: &str) -> Value {
    eventually(what, SOON, || {
        let view = fleet.connector(name);
        if view.pointer(pointer) == Some(&expected.into()) { Ok(view) } else { Err(view.to_string()) }
    })
}

fn online(fleet: &Fleet, name: &str) -> Value {
    wait_for(fleet, name, "the agent is connected", "/link", "online")
}

#[test]
fn a_removed_connector_is_out_within_a_second_while_a_thousand_others_stay() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    let mut fleet = Fleet::start();
    let host = fleet.enrol("victim");
    let victim = host.credentials();
    let folder = fleet.root().join("certificates/others");
    let (folder_text, count) = (folder.to_str().unwrap(), OTHERS.to_string());
    let issue = ["cert", "issue", "--name", "other", "--count", &count, "--policy", "connector", "--out", folder_text];
    fleet.muster(&issue).succeeded();
    let read = |file: String| std::fs::read_to_string(folder.join(file)).unwrap();
    let mut others: Vec<Raw> = (0..OTHERS)
        .map(|at| {
            let own = Some((read(format!("other-{at}.crt")), read(format!("other-{at}.key"))));
            connected(&fleet, &Credentials { ca_pem: victim.ca_pem.clone(), own }, &format!("other-{at}"))
        })
        .collect();

    let mut connection = connected(&fleet, &victim, "victim");
    fleet.muster(&["connector", "remove", "victim", "--yes"]).succeeded();
    assert_eq!(connack(&fleet, &victim, "victim"), NOT_AUTHORIZED, "from the answer on");
    assert!(connection.hear_all(SOON).closed, "its connection ends");
    let removed = fleet.logged(&["connector removed", "connector=victim"]);
    let late = fleet.logged(&[" disconnected ", "client=victim"]).saturating_sub(removed);
    assert!(late < OUT, "it lost its connection {late:?} late");
    fleet.logged(&["the certificate was revoked (the connector was removed)"]);

    // PINGREQ and PINGRESP: every one of the others is still there, on the same connection.
    for (at, other) in others.iter_mut().enumerate() {
        other.send(&[0xc0, 0]).unwrap();
        assert_eq!(other.hear(2, SOON).bytes, [0xd0, 0], "other-{at} lost its connection");
    }
    drop(others);

    // Neither a restart of the server nor the old certificate nor a new name for it brings it back.
    fleet.restart();
    assert_eq!(connack(&fleet, &victim, "victim"), NOT_AUTHORIZED);
    assert_eq!(connack(&fleet, &victim, "somebody-else"), NOT_AUTHORIZED);
    assert_eq!(fleet.muster_json(&["connector", "list"])["connectors"], json!([]));
    assert_eq!(fleet.muster_json(&["connector", "list", "--removed"])["connectors"][0]["name"], "victim");
    assert_eq!(fleet.connector("victim")["lifecycle"]["by"], "admin");
    fleet.muster(&["connector", "remove", "victim"]).ended_with(2).explaining("--yes");
}

#[test]
fn a_disabled_connector_is_out_until_it_is_enabled() {
    let fleet = Fleet::start();
    let mut host = fleet.enrol("alpha");
    host.run();
    online(&fleet, "alpha");
    fleet.muster(&["connector", "disable", "alpha", "--reason", "moves to another rack"]).succeeded();
    let view = wait_for(&fleet, "alpha", "its connection ends", "/link", "stale");
    let life = &view["lifecycle"];
    assert_eq!(
        (&life["state"], &life["by"], &life["why"]),
        (&"disabled".into(), &"admin".into(), &"moves to another rack".into())
    );
    assert_eq!(connack(&fleet, &host.credentials(), "alpha"), NOT_AUTHORIZED);
    let shown = fleet.muster(&["connector", "show", "alpha"]).succeeded().stdout;
    assert!(shown.contains("by admin (moves to another rack)"), "{shown}");
    let told = ["it has been disabled since", "by admin: moves to another rack", "`muster connector enable alpha`"];
    assert!(told.iter().all(|words| shown.contains(words)) && !shown.contains("is it on"), "{shown}");
    fleet.muster(&["connector", "enable", "alpha"]).succeeded();
    let view = online(&fleet, "alpha");
    assert_eq!(view["lifecycle"], json!({ "state": "active" }));
}

#[test]
fn a_connector_that_is_installed_anew_keeps_its_history_and_gets_its_components() {
    let mut fleet = Fleet::start();
    let mut host = fleet.enrol("alpha");
    host.run();
    fleet.publish("1.0", true);
    let upgrade = ["upgrade", COMPONENT, "1.0", "--to", "pool=default", "--wait"];
    fleet.muster(&upgrade).succeeded();
    let before = fleet.connector("alpha");
    host.kill();
    fleet.muster(&["connector", "remove", "alpha", "--yes"]).succeeded();
    fleet.restart();
    assert_eq!(connack(&fleet, &host.credentials(), "alpha"), NOT_AUTHORIZED);
    fleet.muster(&["connector", "add", "alpha", "--renew"]).ended_with(REFUSED).explaining("--reinstall");

    let added = fleet.muster_json(&["connector", "add", "alpha", "--reinstall"]);
    let old = host.credentials();
    drop(host);
    std::fs::remove_dir_all(fleet.root().join("hosts/alpha")).unwrap();
    let mut host = Host::enrol(&fleet, "alpha", added["token"].as_str().unwrap());
    host.run();
    eventually("what was wanted runs again", UPGRADE_DEADLINE, || Stand::agreed(&fleet, &host, "1.0"));
    let after = fleet.muster_json(&["connector", "show", "alpha"]);
    let (connector, actions) = (&after["connector"], after["actions"].as_array().unwrap());
    assert_eq!(
        (&connector["pool"], &connector["registered_at"], &connector["lifecycle"]["state"]),
        (&before["pool"], &before["registered_at"], &"active".into())
    );
    assert!(actions.len() >= 2, "what was before stays: {after}");
    assert_eq!(connack(&fleet, &old, "alpha"), NOT_AUTHORIZED);
}

/// The server's part of an uninstall; the agent is played by a client.
#[test]
fn an_uninstall_waits_for_the_agents_word_and_gives_up_without_removing() {
    let fleet = Fleet::start();
    let host = fleet.enrol("alpha");
    let offline = fleet.muster(&["connector", "remove", "alpha", "--uninstall", "--yes"]);
    offline.ended_with(REFUSED).explaining("nothing was removed");

    let agent = Mqtt::connect(fleet.address(), &host.credentials(), "alpha", Version::V5);
    online(&fleet, "alpha");
    let jobs = "$aws/things/alpha/jobs";
    agent.subscribe(&format!("{jobs}/#")).unwrap();
    let silent = fleet.muster(&["connector", "remove", "alpha", "--uninstall", "--yes", "--timeout", "1"]);
    silent.ended_with(REFUSED).explaining("not done after 1 s");
    assert_eq!(fleet.connector("alpha")["lifecycle"]["state"], "active");

    let answered = thread::scope(|scope| {
        let removal = scope.spawn(|| -> Output {
            fleet.muster(&["connector", "remove", "alpha", "--uninstall", "--purge", "--yes", "--json"])
        });
        let execution = eventually("the agent is told", SOON, || {
            let answer = agent.ask_accepted(&format!("{jobs}/start-next"), json!({}));
            match answer["execution"].get("jobDocument") {
                Some(document) if document["operation"] == "uninstall" => Ok(answer["execution"].clone()),
                _ => Err(answer.to_string()),
            }
        });
        assert_eq!(execution["jobDocument"], json!({ "operation": "uninstall", "purge": true }));
        let update = format!("{jobs}/{}/update", execution["jobId"].as_str().unwrap());
        let details = json!({ "removed": "service, agent, components", "kept": "nothing" });
        agent.ask_accepted(&update, json!({ "status": "SUCCEEDED", "statusDetails": details }));
        removal.join().unwrap().json()
    });
    assert_eq!(answered["connector"]["lifecycle"]["state"], "removed");
    assert_eq!(answered["uninstall"]["details"]["kept"], "nothing");
    agent.wait_for_end(SOON);

    fleet.enrol("beta");
    fleet.muster(&["connector", "remove", "beta", "--uninstall", "--force", "--yes"]).succeeded();
    assert_eq!(fleet.connector("beta")["lifecycle"]["state"], "removed");
}

#[test]
fn a_copied_state_folder_is_quarantined_and_resolving_leaves_one_usable_place() {
    let fleet = Fleet::start();
    let mut host = fleet.enrol("alpha");
    host.run();
    online(&fleet, "alpha");
    let mut copy = host.copied(&fleet, "alpha-copy");
    copy.run();
    let view = wait_for(&fleet, "alpha", "the copy is noticed", "/lifecycle/state", "quarantined");
    assert!(view["lifecycle"]["why"].as_str().unwrap().contains("muster connector resolve alpha"), "{view}");
    let shown = fleet.muster_json(&["connector", "show", "alpha"]);
    let found = &shown["findings"][0];
    assert_eq!(found["about"], "life", "{shown}");
    assert!(found["next"].as_str().unwrap().contains("--keep-current"), "{shown}");

    // Whoever looks on the host learns it, too.
    eventually("the host tells of the quarantine", SOON, || {
        let status = host.agent(&["status"]).stdout;
        let told = ["gives this host no work", "quarantined", "muster connector show alpha"];
        if told.iter().all(|words| status.contains(words)) { Ok(()) } else { Err(status) }
    });

    // Telemetry yes, jobs no.
    fleet.publish("1.0", true);
    fleet.muster(&["upgrade", COMPONENT, "1.0", "--to", "all"]).succeeded();
    let probe = Mqtt::connect(fleet.address(), &host.credentials(), "probe", Version::V5);
    probe.subscribe("$aws/things/alpha/jobs/#").unwrap();
    let refused = probe.ask("$aws/things/alpha/jobs/start-next", json!({})).unwrap().unwrap_err();
    assert_eq!(refused["code"], "RequestThrottled");
    assert!(refused["message"].as_str().unwrap().contains("alpha is quarantined"), "{refused}");
    probe.publish("muster/things/alpha/telemetry/host", "{}").unwrap();
    assert_eq!(fleet.muster_json(&["actions"])["actions"], json!([]));

    fleet.muster(&["connector", "resolve", "alpha", "--yes"]).succeeded();
    probe.wait_for_end(SOON);
    assert_eq!(connack(&fleet, &host.credentials(), "alpha"), NOT_AUTHORIZED);
    // One step is left, and everybody names the same.
    let shown = fleet.muster(&["connector", "show", "alpha"]).succeeded().stdout;
    assert!(shown.contains("add alpha --reinstall") && !shown.contains("--renew"), "{shown}");
    assert!(!shown.contains("find out which place goes on"), "{shown}");
    eventually("the host tells that it is shut out", SOON, || {
        let status = host.agent(&["status"]).stdout;
        if status.contains("muster connector show NAME") { Ok(()) } else { Err(status) }
    });
    host.kill();
    let added = fleet.muster_json(&["connector", "add", "alpha", "--reinstall"]);
    host.enrol_again(&fleet, added["token"].as_str().unwrap()).succeeded();
    host.run();
    let view = online(&fleet, "alpha");
    assert_eq!(view["lifecycle"], json!({ "state": "active" }));
    eventually("what waited is done", UPGRADE_DEADLINE, || Stand::agreed(&fleet, &host, "1.0"));
    assert!(copy.is_running(), "the copy goes on trying");
    assert_eq!(connack(&fleet, &copy.credentials(), "alpha"), NOT_AUTHORIZED);
    assert_eq!(fleet.connector("alpha")["lifecycle"]["state"], "active");
}

#[test]
fn a_revoked_dashboard_loses_its_connection_and_https_asks_the_same_gate() {
    let fleet = Fleet::start();
    let dashboard = fleet.issue_cert("wall", "observer");
    let packer = fleet.issue_cert("packer", "operator");
    let reader = Mqtt::connect(fleet.address(), &dashboard, "wall", Version::V5);
    let file = fleet.root().join("certificates/observer/wall.crt");
    fleet.muster(&["cert", "revoke", file.to_str().unwrap(), "--reason", "stolen"]).succeeded();
    reader.wait_for_end(SOON);
    assert_eq!(connack(&fleet, &dashboard, "wall"), NOT_AUTHORIZED);
    let listed = fleet.muster(&["cert", "list"]).succeeded().stdout;
    assert!(listed.contains("observer/wall") && listed.contains("stolen, by admin"), "{listed}");

    let path = format!("/artifacts/sha256/{}", "ab".repeat(32));
    let status = |credentials: &Credentials| {
        muster_tests::client::https(fleet.address(), credentials, "GET", &path, &[]).unwrap().status
    };
    assert_eq!(status(&packer), 404);
    let file = fleet.root().join("certificates/operator/packer.crt");
    fleet.muster(&["cert", "revoke", file.to_str().unwrap()]).succeeded();
    assert_eq!(status(&packer), 401);
    let mut command = Command::new(&fleet.programs().muster);
    command.args(["cert", "revoke", "0123", "--data"]).arg(fleet.data());
    Output::of(command, SOON).ended_with(2).explaining("64 hexadecimal digits");
}

#[test]
fn a_selector_changes_those_whom_it_means_and_nobody_else() {
    let fleet = Fleet::start();
    fleet.enrol("b");
    for name in ["a-1", "a-2"] {
        fleet.add_connector(name);
    }
    let names = |options: &[&str]| {
        let list = fleet.muster_json(&[&["connector", "list"], options].concat());
        let names = list["connectors"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    // Nobody can be asked here, so nothing happens without --yes.
    let edit = ["connector", "edit", "--to", "name=a-*", "--site", "rack-9"];
    let unasked = fleet.muster(&edit).ended_with(2);
    unasked.explaining("This changes 2 connectors: a-1, a-2. They get site rack-9.").explaining("--yes");
    assert_eq!(names(&["--site", "rack-9"]), [""; 0]);
    let edited = fleet.muster_json(&[&edit[..], &["--yes"]].concat());
    assert_eq!((edited["connectors"].as_array().unwrap().len(), &edited["failed"]), (2, &json!([])));
    assert_eq!(names(&["--site", "rack-9"]), ["a-1", "a-2"]);

    fleet.muster(&["connector", "disable", "--to", "site=rack-9", "--reason", "moves", "--yes"]).succeeded();
    assert_eq!(names(&["--status", "disabled"]), ["a-1", "a-2"]);
    fleet.muster(&["connector", "enable", "--to", "name=a-2", "--yes"]).succeeded();
    assert_eq!(names(&["--status", "disabled"]), ["a-1"]);

    // News and jobs of those that are meant.
    let news = fleet.muster(&["watch", "--to", "name=b", "--count", "1", "--seconds", "60"]).succeeded().stdout;
    assert!(news.contains("  b: ") && !news.contains("a-1"), "{news}");
    let document = fleet.root().join("job.json");
    std::fs::write(&document, "{}").unwrap();
    for (job, thing) in [("for-a", "a-2"), ("for-b", "b")] {
        let make = ["job", "create", job, "--to-things", thing, "--document", document.to_str().unwrap()];
        fleet.muster(&make).succeeded();
    }
    eventually("each job is told to its own", SOON, || {
        let listed = |to: &str| fleet.muster_json(&["job", "list", "--to", to])["jobs"].clone();
        let of = |jobs: &Value| jobs.as_array().unwrap().iter().map(|job| job["jobId"].clone()).collect::<Vec<_>>();
        let (a, b, none) = (listed("name=a-*"), listed("name=b"), listed("site=nowhere"));
        if (of(&a), of(&b), of(&none)) == (vec![json!("for-a")], vec![json!("for-b")], vec![]) {
            Ok(())
        } else {
            Err(format!("{a} {b} {none}"))
        }
    });
    let executions = ["job", "executions", "for-a", "--to"];
    assert!(fleet.muster(&[&executions[..], &["name=a-2"]].concat()).succeeded().stdout.contains("a-2"));
    assert!(!fleet.muster(&[&executions[..], &["name=b"]].concat()).succeeded().stdout.contains("a-2"));

    // One says no; the others are done, and who is not is named.
    let both = ["connector", "remove", "--to", "name=a-2|b", "--uninstall", "--yes"];
    let refused = fleet.muster(&both).ended_with(REFUSED);
    refused.explaining("0 of 2 connectors are removed; it was refused for a-2, b");
    fleet.muster(&["connector", "remove", "--to", "name=a-*", "--yes"]).succeeded();
    assert_eq!((names(&[]), names(&["--removed"])), (vec!["b".to_owned()], vec!["a-1".to_owned(), "a-2".to_owned()]));
    fleet
        .muster(&["connector", "remove", "--to", "name=a-*", "--yes"])
        .ended_with(REFUSED)
        .explaining("there is none now");
}
