//! The agent dies by SIGKILL at every fault point, and at random moments, of an upgrade. Afterwards one component runs,
//! wholly of the old or the new version, and the server knows which.
#![allow(clippy::unwrap_used, reason = "a test stops at what it cannot set up")]

use muster_runtime::faults::POINTS;
use muster_runtime::ids::random_fraction;
use muster_tests::fleet::{Fleet, Host};
use muster_tests::stand::{COMPONENT, Stand, current, deploy, ended, journaled, upgrade};
use std::collections::VecDeque;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

const OLD: &str = "1.0";
const NEW: &str = "1.1";
const BAD: &str = "1.2";
const SIGKILL: i32 = 9;
/// Hosts at work at one time: more would only wait for each other on a small machine.
const HOSTS: usize = 3;
const DEATH_DEADLINE: Duration = Duration::from_secs(60);
/// An upgrade without trouble takes about so long, so a random moment in it hits every step now and then.
const UPGRADE_LASTS: Duration = Duration::from_millis(2500);

/// What the dead agent left, which tells where it died.
#[derive(Debug, PartialEq, Eq)]
struct Left {
    /// The step in its journal, and the stage of the way back.
    step: String,
    current: String,
    /// The version of the living process.
    runs: Option<String>,
    /// Whether the package is there whole, and whether it is unpacked.
    fetched: bool,
    unpacked: bool,
}

impl Left {
    fn at(host: &Host) -> Self {
        let upgrade = journaled(host);
        let (step, document) = (&upgrade["step"], &upgrade["document"]);
        let step = match step["stage"].as_str() {
            Some(stage) => format!("{}/{stage}", step["at"].as_str().unwrap()),
            None => step["at"].as_str().unwrap_or("nothing").to_owned(),
        };
        let part = host.prefix().join("state/spool").join(format!("{}.part", document["sha256"].as_str().unwrap()));
        let version = host.component(COMPONENT).join(document["version"].as_str().unwrap());
        Self {
            step,
            current: current(host).unwrap(),
            runs: running_version(host),
            fetched: fs::metadata(part).ok().map(|part| part.len()) == document["size"].as_u64(),
            unpacked: version.join("component.toml").exists(),
        }
    }

    fn expected_at(point: &str) -> Self {
        let (step, current, runs, fetched, unpacked) = match point {
            "upgrade.accepted" => ("downloading", OLD, Some(OLD), false, false),
            "upgrade.during_download" => ("downloading", OLD, Some(OLD), false, false),
            "upgrade.after_download" => ("downloading", OLD, Some(OLD), true, false),
            "upgrade.after_unpack" => ("unpacking", OLD, Some(OLD), true, true),
            "upgrade.before_stop" => ("stopping", OLD, Some(OLD), true, true),
            "upgrade.after_stop" => ("stopping", OLD, None, true, true),
            "upgrade.after_switch" => ("switching", NEW, None, true, true),
            "upgrade.after_start" => ("starting", NEW, Some(NEW), true, true),
            "upgrade.before_confirm" => ("probing", NEW, Some(NEW), true, true),
            "rollback.before_stop" => ("rolling-back/stopping", BAD, Some(BAD), true, true),
            "rollback.after_switch" => ("rolling-back/switching", OLD, None, true, true),
            "rollback.after_start" => ("rolling-back/starting", OLD, Some(OLD), true, true),
            other => panic!("fault point {other} is new: say here what a death at it leaves"),
        };
        let runs = runs.map(str::to_owned);
        Self { step: step.to_owned(), current: current.to_owned(), runs, fetched, unpacked }
    }
}

/// The folder of the version whose program runs.
fn running_version(host: &Host) -> Option<String> {
    let pids = host.component_pids();
    assert!(pids.len() <= 1, "{pids:?} run at once");
    let program = fs::read_link(format!("/proc/{}/exe", pids.first()?)).ok()?;
    let version = program.strip_prefix(host.component(COMPONENT)).unwrap().components().next()?;
    Some(version.as_os_str().to_str()?.to_owned())
}

fn dies_at(fleet: &Fleet, point: &str) {
    let (wanted, ends_with, state) =
        if point.starts_with("rollback.") { (BAD, OLD, "rolled-back") } else { (NEW, NEW, "confirmed") };
    let mut host = fleet.enrol(&point.replace(['.', '_'], "-"));
    host.run();
    deploy(fleet, &host, OLD);
    host.kill();
    host.run_with_fault(point);
    let target = upgrade(fleet, &host, wanted, &[]);

    let status = host.wait_for_end(DEATH_DEADLINE);
    assert_eq!(status.signal(), Some(SIGKILL), "{point}: {status}");
    assert_eq!(Left::at(&host), Left::expected_at(point), "{point}");

    host.run();
    let action = ended(fleet, &host, &target);
    assert_eq!(action["state"], state, "{point}: {action}");
    Stand::settled(fleet, &host, ends_with);
    assert!(journaled(&host).is_null(), "{point}: {}", journaled(&host));
}

/// Upgrades to and fro; in each round the agent dies once on the way, and in every other round again while it recovers.
fn dies_anywhere(fleet: &Fleet, name: &str, rounds: usize) {
    let mut host = fleet.enrol(name);
    host.run();
    deploy(fleet, &host, OLD);
    for round in 0..rounds {
        let (from, to) = if round % 2 == 0 { (OLD, NEW) } else { (NEW, OLD) };
        let target = upgrade(fleet, &host, to, &[]);
        let mut moments = Vec::new();
        for _ in 0..=round % 2 {
            let moment = UPGRADE_LASTS.mul_f64(random_fraction());
            // Not a wait for something: the moment of the death is what is tried here.
            thread::sleep(moment);
            moments.push(moment);
            host.kill();
            host.run();
        }
        let case = format!("{name}, round {round}, {from} to {to}, killed after {moments:?}");
        let action = ended(fleet, &host, &target);
        let runs = match action["state"].as_str() {
            Some("confirmed") => to,
            Some("rolled-back" | "failed") => from,
            _ => panic!("{case}: {action}"),
        };
        println!("{case}: {}", action["state"]);
        Stand::settled(fleet, &host, runs);
        if runs == from {
            // The next round starts where it would have.
            deploy_again(fleet, &host, to);
        }
    }
}

fn deploy_again(fleet: &Fleet, host: &Host, version: &str) {
    let action = ended(fleet, host, &upgrade(fleet, host, version, &["--again"]));
    assert_eq!(action["state"], "confirmed", "{action}");
    Stand::settled(fleet, host, version);
}

type Case<'a> = (String, Box<dyn FnOnce(&Fleet) + Send + 'a>);

/// Works through the cases on a few threads; names all that failed.
fn run_all(fleet: &Fleet, cases: Vec<Case<'_>>) {
    let (queue, failed) = (Mutex::new(VecDeque::from(cases)), Mutex::new(Vec::new()));
    let next = || queue.lock().unwrap().pop_front();
    thread::scope(|scope| {
        for _ in 0..HOSTS {
            scope.spawn(|| {
                while let Some((name, case)) = next() {
                    if catch_unwind(AssertUnwindSafe(|| case(fleet))).is_err() {
                        failed.lock().unwrap().push(name);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "failed: {}; each says why above", failed.join(", "));
}

#[test]
fn an_agent_killed_at_any_moment_of_an_upgrade_leaves_one_version_whole() {
    let mut fleet = Fleet::start();
    fleet.publish(OLD, true);
    fleet.publish(NEW, true);
    fleet.publish(BAD, false);
    let mut cases: Vec<Case<'_>> = Vec::new();
    for point in POINTS.into_iter().filter(|point| !point.starts_with("uninstall.")) {
        cases.push((point.to_owned(), Box::new(move |fleet| dies_at(fleet, point))));
    }
    for (name, rounds) in [("random-1", 4), ("random-2", 3), ("random-3", 3)] {
        cases.push((name.to_owned(), Box::new(move |fleet| dies_anywhere(fleet, name, rounds))));
    }
    run_all(&fleet, cases);
    fleet.assert_serving();
}
