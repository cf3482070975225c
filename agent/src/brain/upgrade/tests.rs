//! A host of three values and a crash after any step of any upgrade: the end is always the old or the new version.
#![allow(clippy::unwrap_used)]

use super::*;
use muster_wire::component::Operation;
use muster_wire::id::{ComponentName, Sha256Hex};

fn version(text: &str) -> Version {
    Version::new(text).unwrap()
}

fn upgrade(from: Option<&str>) -> Upgrade {
    Upgrade {
        job: JobId::new("job-1").unwrap(),
        execution: 1,
        document: UpgradeDocument {
            operation: Operation::Upgrade,
            component: ComponentName::new("greeter").unwrap(),
            version: version("2"),
            path: String::new(),
            sha256: Sha256Hex::from_bytes(&[1; 32]),
            size: 1,
            signature: String::new(),
            soak_s: 5,
        },
        from: from.map(version),
        accepted_at: Timestamp::default(),
        step: Step::Downloading,
    }
}

/// What a plan of mistakes makes of the host.
#[derive(Clone, Debug)]
struct Host {
    fetched: bool,
    unpacked: bool,
    current: Option<Version>,
    running: Option<Version>,
    journal: Option<Upgrade>,
    verdict: Option<Verdict>,
    resumed: bool,
    supervised: bool,
    /// Which version's probe passes.
    healthy: fn(&str) -> bool,
    /// The kind of action that fails, by its name.
    broken: &'static str,
}

impl Host {
    fn new(from: Option<&str>, healthy: fn(&str) -> bool, broken: &'static str) -> Self {
        let old = from.map(version);
        Self {
            fetched: false,
            unpacked: from == Some("2"),
            current: old.clone(),
            running: old,
            journal: Some(upgrade(from)),
            verdict: None,
            resumed: true,
            supervised: false,
            healthy,
            broken,
        }
    }

    /// Does one action and journals what follows. `lost` forgets to journal: a crash right after the action.
    fn step(&mut self, lost: bool) -> bool {
        let Some(mut upgrade) = self.journal.clone() else { return false };
        let facts =
            Facts { fetched: self.fetched, unpacked: self.unpacked, resumed: std::mem::take(&mut self.resumed) };
        // A new agent knows no process until it starts or adopts it.
        self.supervised &= !facts.resumed;
        let action = next(&upgrade, &facts);
        let name = format!("{action:?}");
        let event = match action {
            Action::Move(step) => {
                upgrade.step = step;
                self.journal = Some(upgrade);
                return true;
            }
            Action::End(verdict) => {
                (self.verdict, self.journal) = (Some(verdict), None);
                return false;
            }
            _ if !self.broken.is_empty() && name.starts_with(self.broken) => Event::Failed("broken".into()),
            Action::Download => {
                self.fetched = true;
                Event::Done
            }
            Action::Unpack => {
                assert!(self.fetched || self.unpacked, "there is nothing to unpack");
                self.unpacked = true;
                Event::Done
            }
            Action::Stop => {
                self.running = None;
                Event::Done
            }
            Action::Point(to) => {
                assert_eq!(self.running, None, "current is moved under a running version");
                self.current = to;
                Event::Done
            }
            Action::Start { version, .. } => {
                assert_eq!(self.current.as_ref(), Some(&version), "what starts is what current says");
                self.running = Some(version);
                self.supervised = true;
                Event::Done
            }
            Action::Probe { version, .. } => {
                assert!(self.supervised, "a process is probed that nobody watches");
                let passes = self.running.as_ref() == Some(&version) && (self.healthy)(version.as_str());
                if passes { Event::Done } else { Event::Failed("unhealthy".into()) }
            }
        };
        if !lost {
            match after(&upgrade, event) {
                Next::Step(step) => {
                    upgrade.step = step;
                    self.journal = Some(upgrade);
                }
                Next::End(verdict) => (self.verdict, self.journal) = (Some(verdict), None),
            }
        }
        true
    }

    fn run(&mut self) {
        for _ in 0..40 {
            if !self.step(false) {
                return;
            }
        }
        panic!("the upgrade does not end: {self:?}");
    }

    #[track_caller]
    fn check(&self, what: &str) {
        let old = upgrade(None).from;
        let failed = |outcome: FailureOutcome| matches!(&self.verdict, Some(Verdict::Failed { outcome: o, .. }) if *o == outcome);
        if self.verdict == Some(Verdict::Succeeded) {
            assert_eq!(
                (self.running.as_ref(), self.current.as_ref()),
                (Some(&version("2")), Some(&version("2"))),
                "{what}"
            );
        } else if failed(FailureOutcome::Inconsistent) {
            assert!(!(self.healthy)("1") || self.broken == "Start", "{what}: {self:?}");
        } else {
            assert!(failed(FailureOutcome::RolledBack) || failed(FailureOutcome::Untouched), "{what}: {self:?}");
            assert_eq!(self.running, self.current, "{what}");
            assert!(
                self.current == Some(version("1")) || self.current == old || self.current.is_none(),
                "{what}: {self:?}"
            );
        }
    }
}

const GOOD: fn(&str) -> bool = |_| true;
const ONLY_OLD: fn(&str) -> bool = |version| version == "1";
const NONE: fn(&str) -> bool = |_| false;

#[test]
fn a_crash_at_any_step_ends_wholly_old_or_wholly_new() {
    let plans = [(GOOD, ""), (ONLY_OLD, ""), (NONE, ""), (GOOD, "Download"), (GOOD, "Unpack"), (GOOD, "Start")];
    for from in [Some("1"), None] {
        for (healthy, broken) in plans {
            for crash_at in 0..20 {
                for (lost, reboot) in [(false, false), (true, false), (false, true), (true, true)] {
                    let mut host = Host::new(from, healthy, broken);
                    for _ in 0..crash_at {
                        host.step(false);
                    }
                    host.step(lost);
                    host.resumed = true;
                    if reboot && host.journal.is_some() {
                        host.running = None;
                        // A start of the agent starts what `current` says while the old version is still to run.
                        if host.journal.as_ref().is_some_and(|upgrade| upgrade.step.leaves_old_running()) {
                            host.running.clone_from(&host.current);
                        }
                    }
                    host.run();
                    host.check(&format!("{from:?} broken {broken:?} crash at {crash_at} lost {lost} reboot {reboot}"));
                }
            }
        }
    }
}

#[test]
fn each_failure_has_its_outcome() {
    for (from, healthy, broken, outcome) in [
        (Some("1"), GOOD, "Download", FailureOutcome::Untouched),
        (Some("1"), GOOD, "Unpack", FailureOutcome::Untouched),
        (Some("1"), GOOD, "Stop", FailureOutcome::RolledBack),
        (Some("1"), ONLY_OLD, "", FailureOutcome::RolledBack),
        (Some("1"), NONE, "", FailureOutcome::Inconsistent),
        (None, NONE, "", FailureOutcome::Untouched),
        (None, GOOD, "Start", FailureOutcome::Untouched),
    ] {
        let mut host = Host::new(from, healthy, broken);
        host.run();
        let found = host.verdict.clone();
        assert!(
            matches!(found, Some(Verdict::Failed { outcome: o, .. }) if o == outcome),
            "{from:?} {broken} {:?}",
            host.verdict
        );
    }
}

#[test]
fn the_version_that_runs_already_is_started_anew() {
    let mut host = Host::new(Some("2"), GOOD, "Download");
    let mut steps = Vec::new();
    while let Some(upgrade) = host.journal.clone() {
        steps.push(upgrade.step.public());
        host.step(false);
    }
    assert!(steps.contains(&UpgradeStep::Stopping) && steps.contains(&UpgradeStep::Starting), "{steps:?}");
    assert_eq!(host.verdict, Some(Verdict::Succeeded));
}

#[test]
fn a_new_agent_adopts_what_it_probes_but_a_death_meanwhile_is_a_verdict() {
    let mut probing = upgrade(Some("1"));
    probing.step = Step::Probing;
    let mut facts = Facts { unpacked: true, resumed: true, ..Facts::default() };
    assert_eq!(next(&probing, &facts), Action::Move(Step::Starting));
    facts.resumed = false;
    assert_eq!(next(&probing, &facts), Action::Probe { version: version("2"), soak_s: 5 });
}
