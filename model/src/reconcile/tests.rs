#![allow(clippy::unwrap_used)]
use super::*;
use muster_wire::component::LastFailed;
use proptest::prelude::*;

fn now(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

fn component() -> ComponentName {
    ComponentName::new("web").unwrap()
}

fn version(text: &str) -> Version {
    Version::new(text).unwrap()
}

/// A digest that follows from the version.
fn digest(text: &str) -> Sha256Hex {
    Sha256Hex::from_bytes(&[text.bytes().last().unwrap(); 32])
}

fn package(text: &str) -> PublishedComponent {
    PublishedComponent {
        name: component(),
        version: version(text),
        sha256: digest(text),
        size: 1,
        signature: "s".into(),
        soak_s: 10,
        description: String::new(),
        published_at: now(0),
        published_by: PersonName::new("admin").unwrap(),
    }
}

fn report(text: &str, start: &str, health: Health, healthy_for_s: u32) -> ComponentReport {
    ComponentReport {
        version: version(text),
        package_sha256: digest(text),
        program_sha256: Some(digest("p")),
        start_id: Some(start.into()),
        started_at: None,
        health,
        healthy_for_s,
        restarts: 0,
        port: None,
        last_failed: None,
    }
}

fn execution(status: JobStatus) -> ExecutionFacts {
    ExecutionFacts { status, step: None, reason: None, outcome: None }
}

fn failed(outcome: FailureOutcome) -> ExecutionFacts {
    ExecutionFacts { reason: Some("no".into()), outcome: Some(outcome), ..execution(JobStatus::Failed) }
}

/// A connector under test: carries plans out as the shell does.
#[derive(Clone, Default)]
struct Host(View);

impl Host {
    fn want(&mut self, intent: u64, text: &str, again: bool) {
        let wanted = Wanted {
            intent,
            target: TargetId::new(format!("t{intent}")).unwrap(),
            job: JobId::new(format!("upgrade-{intent}")).unwrap(),
            package: package(text),
            again,
            by: PersonName::new("admin").unwrap(),
        };
        self.0.wanted.insert(component(), wanted);
    }

    fn look(&mut self, seconds: i64) -> Plan {
        let plan = plan(&self.0, now(seconds));
        for step in &plan.steps {
            match step {
                Step::SetDesired { component, version } => {
                    self.0.desired.insert(component.clone(), version.clone());
                }
                Step::CancelExecution { job } => {
                    self.0.executions.insert(job.clone(), execution(JobStatus::Canceled));
                }
                Step::MakeExecution { job } => {
                    self.0.executions.entry(job.clone()).or_insert_with(|| execution(JobStatus::Queued));
                }
                Step::Keep(action) => {
                    self.0.actions.retain(|known| known.intent != action.intent);
                    self.0.actions.push(action.clone());
                }
            }
        }
        plan
    }

    fn execution(&mut self, intent: u64, facts: ExecutionFacts) {
        self.0.executions.insert(JobId::new(format!("upgrade-{intent}")).unwrap(), facts);
    }

    fn report(&mut self, report: ComponentReport) {
        self.0.reported.insert(component(), report);
    }

    #[track_caller]
    fn expect(&self, intent: u64, state: ActionState) {
        let found = self.0.actions.iter().find(|action| action.intent == intent).map(|action| action.state);
        assert_eq!(found, Some(state), "action {intent}");
    }

    fn why(&mut self, seconds: i64) -> String {
        self.look(seconds).why.get(&component()).cloned().unwrap_or_default()
    }
}

/// A host that runs version 1 as start `a`, confirmed by intent 1.
fn running() -> Host {
    let mut host = Host::default();
    host.want(1, "1", false);
    host.look(1);
    host.execution(1, execution(JobStatus::Succeeded));
    host.report(report("1", "a", Health::Healthy, 10));
    host.look(2);
    host.expect(1, ActionState::Confirmed);
    host
}

#[test]
fn a_first_deployment_is_confirmed_from_facts() {
    let mut host = Host::default();
    host.want(1, "1", false);
    host.look(1);
    host.expect(1, ActionState::Queued);
    assert_eq!(host.0.desired.get(&component()), Some(&version("1")));
    host.execution(1, ExecutionFacts { step: Some("probing".into()), ..execution(JobStatus::InProgress) });
    assert_eq!(host.why(2), "upgrade to 1: the connector works on it (probing)");
    host.expect(1, ActionState::Running);
    host.execution(1, execution(JobStatus::Succeeded));
    assert_eq!(host.why(3), "upgrade to 1: waiting for proof: the connector reports no such component");
    host.expect(1, ActionState::Proving);
    host.report(report("1", "a", Health::Healthy, 9));
    assert_eq!(host.why(4), "upgrade to 1: waiting for proof: its probe has passed for 9 of 10 s");
    host.report(report("1", "a", Health::Healthy, 10));
    host.look(5);
    host.expect(1, ActionState::Confirmed);
    assert_eq!(host.look(6), Plan::default());
}

#[test]
fn what_the_agent_says_is_no_proof() {
    let mut host = running();
    host.want(2, "2", false);
    host.look(3);
    host.execution(2, execution(JobStatus::Succeeded));
    let cases = [
        (report("1", "a", Health::Healthy, 99), "the connector reports version 1"),
        (report("2", "a", Health::Healthy, 99), "the process that ran before still runs"),
        (ComponentReport { start_id: None, ..report("2", "b", Health::Healthy, 99) }, "no process of it runs"),
        (
            ComponentReport { package_sha256: digest("9"), ..report("2", "b", Health::Healthy, 99) },
            "the connector reports another package of this version",
        ),
        (
            ComponentReport { program_sha256: None, ..report("2", "b", Health::Healthy, 99) },
            "no running program was identified",
        ),
        (report("2", "b", Health::Unhealthy, 99), "its health probe does not pass"),
    ];
    for (facts, missing) in cases {
        host.report(facts);
        assert_eq!(host.why(4), format!("upgrade to 2: waiting for proof: {missing}"));
        host.expect(2, ActionState::Proving);
    }
    let deadline = 3 + PROOF_DEADLINE.as_secs() as i64 + 12;
    assert!(host.why(deadline).contains("failed: the agent said done, but its health probe does not pass"));
    host.expect(2, ActionState::Failed);
}

#[test]
fn a_rollback_is_remembered_until_somebody_says_again() {
    let mut host = running();
    host.want(2, "2", false);
    host.look(3);
    host.execution(2, failed(FailureOutcome::RolledBack));
    assert_eq!(host.why(4), "version 2 was rolled back: no");
    host.expect(2, ActionState::RolledBack);
    assert!(host.look(5).steps.is_empty());
    host.want(3, "2", false);
    assert!(host.why(6).starts_with("version 2 failed: not tried: this package failed here before (no)"));
    host.expect(3, ActionState::Failed);
    host.want(4, "2", false);
    let why = host.why(7);
    assert!(why.starts_with("version 2 failed: not tried: this package failed here before (no);"), "{why}");
    host.want(5, "2", true);
    host.look(8);
    host.expect(5, ActionState::Queued);
}

#[test]
fn the_agents_memory_counts_when_the_server_has_none() {
    let mut host = running();
    let failed = LastFailed { version: version("2"), package_sha256: digest("2"), reason: "bang".into(), at: now(0) };
    host.report(ComponentReport { last_failed: Some(failed), ..report("1", "a", Health::Healthy, 10) });
    host.want(2, "2", false);
    assert!(host.why(3).contains("failed here before (bang)"));
    host.want(3, "3", false);
    host.look(4);
    host.expect(3, ActionState::Queued);
}

#[test]
fn a_newer_intent_takes_the_place_of_one_that_waits_but_not_of_one_that_runs() {
    let mut host = running();
    host.want(2, "2", false);
    host.look(3);
    host.want(3, "3", false);
    host.look(4);
    host.expect(2, ActionState::Superseded);
    host.expect(3, ActionState::Queued);
    host.execution(3, execution(JobStatus::InProgress));
    host.want(4, "4", false);
    host.look(5);
    host.expect(3, ActionState::Running);
    assert!(!host.0.actions.iter().any(|action| action.intent == 4));
    host.execution(3, failed(FailureOutcome::RolledBack));
    host.look(6);
    host.expect(3, ActionState::RolledBack);
    host.expect(4, ActionState::Queued);
}

#[test]
fn a_crash_between_action_and_execution_is_finished() {
    let mut host = Host::default();
    host.want(1, "1", false);
    host.look(1);
    host.0.executions.clear();
    let again = host.look(2);
    assert_eq!(again.steps, [Step::MakeExecution { job: JobId::new("upgrade-1").unwrap() }]);
}

#[test]
fn a_version_that_runs_already_is_confirmed_without_a_job() {
    let mut host = running();
    host.want(2, "1", false);
    host.look(3);
    host.expect(2, ActionState::Confirmed);
    assert!(!host.0.executions.contains_key(&JobId::new("upgrade-2").unwrap()));
    host.report(report("1", "b", Health::Unhealthy, 0));
    host.want(3, "1", false);
    assert_eq!(host.why(4), "it runs version 1, but its health probe does not pass");
}

#[test]
fn other_ends_of_an_execution_say_how() {
    for (status, why) in [
        (JobStatus::TimedOut, "version 2 failed: it took too long"),
        (JobStatus::Rejected, "version 2 failed: the agent refused it"),
        (JobStatus::Canceled, "version 2 failed: the job was called off"),
    ] {
        let mut host = running();
        host.want(2, "2", false);
        host.look(3);
        host.execution(2, execution(status));
        assert_eq!(host.why(4), why);
        host.expect(2, ActionState::Failed);
    }
}

/// What may happen to a host, in any order.
#[derive(Clone, Debug)]
enum Happening {
    Want { version: usize, again: bool },
    Execution { status: usize },
    Report { version: usize, start: usize, healthy: bool },
    Forget,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        (0..3_usize, any::<bool>()).prop_map(|(version, again)| Happening::Want { version, again }),
        (0..6_usize).prop_map(|status| Happening::Execution { status }),
        (0..3_usize, 0..3_usize, any::<bool>()).prop_map(|(version, start, healthy)| Happening::Report {
            version,
            start,
            healthy
        }),
        Just(Happening::Forget),
    ]
}

proptest! {
    #[test]
    fn ends_are_never_left_and_one_action_lives_at_a_time(happenings in prop::collection::vec(happening(), 1..60)) {
        let mut host = Host::default();
        let mut intent = 0;
        for (at, happening) in happenings.into_iter().enumerate() {
            match happening {
                Happening::Want { version, again } => {
                    intent += 1;
                    host.want(intent, ["1", "2", "3"][version], again);
                }
                Happening::Execution { status } => {
                    let facts = [
                        execution(JobStatus::Queued), execution(JobStatus::InProgress), execution(JobStatus::Succeeded),
                        failed(FailureOutcome::RolledBack), execution(JobStatus::TimedOut), execution(JobStatus::Rejected),
                    ][status].clone();
                    for known in host.0.executions.values_mut().filter(|known| !known.status.is_terminal()) {
                        *known = facts.clone();
                    }
                }
                Happening::Report { version, start, healthy } => {
                    let health = if healthy { Health::Healthy } else { Health::Unhealthy };
                    host.report(report(["1", "2", "3"][version], ["a", "b", "c"][start], health, 20));
                }
                Happening::Forget => host.0.executions.clear(),
            }
            let before = host.0.actions.clone();
            let seconds = i64::try_from(at).unwrap();
            host.look(seconds);
            for old in before.iter().filter(|action| action.state.is_end()) {
                prop_assert_eq!(host.0.actions.iter().find(|new| new.intent == old.intent), Some(old));
            }
            let live = host.0.actions.iter().filter(|action| !action.state.is_end()).count();
            prop_assert!(live <= 1, "{} actions live", live);
            for action in host.0.actions.iter().filter(|action| action.state == ActionState::Confirmed) {
                let was = before.iter().any(|old| old == action);
                prop_assert!(was || host.0.reported[&component()].version == action.to);
            }
            // Nothing new happened, so a second look at the same moment has nothing to do.
            prop_assert!(host.look(seconds).steps.is_empty());
        }
    }
}
