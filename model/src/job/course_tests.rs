//! Tables: rates, thresholds, schedules, and what a configuration may say.
#![allow(clippy::unwrap_used)]

use super::{Execution, Facts, Gate, Outcome, Phase, Plan, Rules, Run, State, Step, Tally, plan, retry_allows};
use muster_wire::id::JobId;
use muster_wire::job::{JobConfig, JobStatus, WholeJobStatus};
use muster_wire::time::Timestamp;
use serde_json::{Value, json};
use std::time::Duration;

fn config(value: Value) -> JobConfig {
    serde_json::from_value(value).unwrap()
}

fn rules(value: Value) -> Rules {
    Rules::try_from(&config(value)).unwrap()
}

fn tally(counts: &[(JobStatus, u64)]) -> Tally {
    let mut tally = Tally::default();
    for (status, count) in counts {
        (0..*count).for_each(|_| tally.shift(None, Some(*status)));
    }
    tally
}

fn minute(minute: u64) -> Timestamp {
    Timestamp::from_seconds(1_800_000_000).plus(Duration::from_secs(minute * 60))
}

/// Things told in each minute, until all are.
fn rollout(rules: &Rules, things: u64) -> Vec<u64> {
    let mut run = Run { phase: Phase::Rolling, ..Run::new(minute(0)) };
    let mut told = Vec::new();
    for at in 0.. {
        let before = run.released;
        loop {
            let tally = tally(&[(JobStatus::Queued, run.released)]);
            let facts = Facts { rules, things, tally: &tally, room: 1000, settled: true };
            let Some(step @ Step::Release { .. }) = plan(&run, &facts, minute(at)).step else { break };
            run = run.after(&step, &tally, minute(at));
        }
        told.push(run.released - before);
        if run.released == things {
            return told;
        }
    }
    told
}

#[test]
fn the_rollout_rate_grows_as_in_the_guide() {
    let rules = rules(json!({ "jobExecutionsRolloutConfig": { "exponentialRate": { "baseRatePerMinute": 50,
        "incrementFactor": 2, "rateIncreaseCriteria": { "numberOfNotifiedThings": 1000 } } } }));
    let expected: Vec<u64> = [[50; 20].as_slice(), &[100; 10], &[200; 5], &[400; 3]].concat();
    assert_eq!(rollout(&rules, 4200), expected);
    for (notified, rate) in [(0, 50), (999, 50), (1000, 100), (2000, 200), (3000, 400)] {
        assert_eq!(rules.rate.per_minute(notified, &Tally::default()), Some(rate), "after {notified}");
    }
}

#[test]
fn a_constant_rate_is_a_bound_and_none_is_no_bound() {
    let constant = rules(json!({ "jobExecutionsRolloutConfig": { "maximumPerMinute": 3 } }));
    assert_eq!(rollout(&constant, 7), [3, 3, 1]);
    assert_eq!(rollout(&Rules::default(), 2500), [2500]);
    let by_success = rules(json!({ "jobExecutionsRolloutConfig": { "maximumPerMinute": 5, "exponentialRate": {
        "baseRatePerMinute": 2, "incrementFactor": 1.5, "rateIncreaseCriteria": { "numberOfSucceededThings": 10 } } } }));
    for (succeeded, rate) in [(0, 2), (9, 2), (10, 3), (20, 4), (30, 5), (1000, 5)] {
        let tally = tally(&[(JobStatus::Succeeded, succeeded)]);
        assert_eq!(by_success.rate.per_minute(1000, &tally), Some(rate), "after {succeeded}");
    }
}

#[test]
fn a_job_is_given_up_at_the_threshold_and_not_before() {
    let rules = rules(json!({ "abortConfig": { "criteriaList": [
        { "failureType": "FAILED", "action": "CANCEL", "thresholdPercentage": 20, "minNumberOfExecutedThings": 10 },
        { "failureType": "ALL", "action": "CANCEL", "thresholdPercentage": 33.33, "minNumberOfExecutedThings": 3 } ] } }));
    use JobStatus::{Failed, Queued, Rejected, TimedOut};
    let given_up = |counts: &[(JobStatus, u64)]| {
        let run = Run { phase: Phase::Rolling, released: 100, ..Run::new(minute(0)) };
        let tally = tally(counts);
        let facts = Facts { rules: &rules, things: 100, tally: &tally, room: 0, settled: true };
        matches!(plan(&run, &facts, minute(1)).step, Some(Step::Cancel { force: false, .. }))
    };
    assert!(given_up(&[(Failed, 2), (Queued, 8)]));
    assert!(!given_up(&[(Failed, 2), (Queued, 9)]), "18 % are less than 20 %");
    assert!(!given_up(&[(Failed, 1), (Queued, 1)]), "too few were told");
    assert!(given_up(&[(Rejected, 1), (Queued, 2)]), "33.33 % of three");
    assert!(given_up(&[(TimedOut, 1), (Failed, 1), (Queued, 4)]));
    assert!(!given_up(&[(TimedOut, 1), (Queued, 3)]));
}

#[test]
fn retries_are_counted_by_kind_since_the_thing_joined() {
    let ended = |execution: &Execution, outcome| Execution {
        state: State::Finished { started_at: None, outcome },
        ..execution.clone()
    };
    let first = Execution::queued(JobId::new("j").unwrap(), 1, None, minute(0));
    let retry = |value: Value| rules(json!({ "jobExecutionsRetryConfig": { "criteriaList": value } })).retry;
    let both = retry(
        json!([{ "failureType": "FAILED", "numberOfRetries": 1 }, { "failureType": "TIMED_OUT", "numberOfRetries": 2 }]),
    );
    let all = retry(json!([{ "failureType": "ALL", "numberOfRetries": 2 }]));
    let failed = ended(&first, Outcome::Failed);
    assert!(retry_allows(&both, &failed) && retry_allows(&all, &failed) && !retry_allows(&[], &failed));
    assert!(!retry_allows(&all, &first) && !retry_allows(&all, &ended(&first, Outcome::Rejected)));
    let second = failed.again(None, minute(1));
    assert_eq!((second.execution_number, second.version_number, second.status()), (2, 1, JobStatus::Queued));
    assert!(!retry_allows(&both, &ended(&second, Outcome::Failed)));
    assert!(retry_allows(&both, &ended(&second, Outcome::TimedOut)));
    let third = ended(&second, Outcome::TimedOut).again(None, minute(2));
    assert!(!retry_allows(&all, &ended(&third, Outcome::Failed)), "two of two are used");
    let back = ended(&third, Outcome::Removed).again(None, minute(3));
    assert!(retry_allows(&all, &ended(&back, Outcome::Failed)), "coming back starts anew");
    assert_eq!(back.tries().len(), 4);
    let gone = back.without(4).unwrap();
    assert_eq!((gone.execution_number, gone.outcome()), (3, Some(Outcome::Removed)));
    assert_eq!(gone.without(2).unwrap().tries().iter().map(|one| one.execution_number).collect::<Vec<_>>(), [1, 3]);
    assert_eq!(first.without(1), None);
}

#[test]
fn a_schedule_starts_stops_and_ends() {
    let scheduled = |behavior: &str| {
        rules(json!({ "schedulingConfig": { "startTime": minute(5).to_string(), "endTime": minute(10).to_string(),
            "endBehavior": behavior } }))
    };
    let stop = scheduled("STOP_ROLLOUT");
    let queued = tally(&[(JobStatus::Queued, 1)]);
    fn facts<'f>(rules: &'f Rules, tally: &'f Tally) -> Facts<'f> {
        Facts { rules, things: 2, tally, room: 1000, settled: true }
    }
    let run = Run::new(minute(0));
    assert_eq!(plan(&run, &facts(&stop, &queued), minute(4)), Plan { step: None, look_again: Some(minute(5)) });
    assert_eq!(plan(&run, &facts(&stop, &queued), minute(5)).step, Some(Step::Start));
    let rolling = Run { phase: Phase::Rolling, released: 2, ..run };
    assert_eq!(plan(&rolling, &facts(&stop, &queued), minute(9)), Plan { step: None, look_again: Some(minute(10)) });
    assert_eq!(plan(&rolling, &facts(&stop, &queued), minute(10)).step, Some(Step::Stop));
    let stopped = rolling.after(&Step::Stop, &queued, minute(10));
    assert_eq!(plan(&stopped, &facts(&stop, &queued), minute(11)), Plan::default());
    let over = tally(&[(JobStatus::Succeeded, 1)]);
    assert_eq!(plan(&stopped, &facts(&stop, &over), minute(12)).step, Some(Step::Complete));
    for (behavior, forced) in [("CANCEL", false), ("FORCE_CANCEL", true)] {
        let rules = scheduled(behavior);
        let step = plan(&rolling, &facts(&rules, &queued), minute(10)).step;
        assert!(matches!(step, Some(Step::Cancel { force, .. }) if force == forced), "{behavior}: {step:?}");
    }
}

#[test]
fn a_canceled_job_is_closed_when_nothing_is_in_progress() {
    let rules = Rules::default();
    let cancel = Step::Cancel { force: false, reason_code: "WHY".into(), comment: String::new() };
    let tally_of = |queued, running| tally(&[(JobStatus::Queued, queued), (JobStatus::InProgress, running)]);
    let run =
        Run { phase: Phase::Rolling, released: 2, ..Run::new(minute(0)) }.after(&cancel, &tally_of(1, 1), minute(1));
    let ask = |run: &Run, tally: &Tally, settled| {
        plan(run, &Facts { rules: &rules, things: 2, tally, room: 9, settled }, minute(2)).step
    };
    assert_eq!(
        (run.status(), run.reason_code.as_deref(), run.comment.as_deref()),
        (WholeJobStatus::Canceled, Some("WHY"), None)
    );
    assert_eq!(ask(&run, &tally_of(1, 1), true), None);
    assert_eq!(ask(&run, &tally_of(0, 1), false), None, "a cancel is still on its way");
    assert_eq!(ask(&run, &tally_of(0, 1), true), Some(Step::Canceled));
    let run = run.after(&Step::Canceled, &tally_of(0, 1), minute(2));
    assert_eq!(ask(&run, &tally_of(0, 1), true), None);
    assert_eq!(ask(&run, &tally_of(0, 0), true), Some(Step::Close));
    assert!(run.after(&Step::Close, &tally_of(0, 0), minute(3)).is_closed());
}

#[test]
fn maintenance_windows_open_and_close() {
    let rules = rules(json!({ "schedulingConfig": { "maintenanceWindows": [
        { "startTime": "cron(30 22 ? * FRI *)", "durationInMinutes": 120 } ] } }));
    let gate = |text: &str| rules.schedule.gate(Timestamp::from_utc(text).unwrap());
    let opens = |text: &str| Gate::ClosedUntil(Timestamp::from_utc(text));
    // 2027-01-15 is a Friday.
    assert_eq!(gate("2027-01-15 22:29"), opens("2027-01-15 22:30"));
    assert_eq!(gate("2027-01-15 22:30"), Gate::Open);
    assert_eq!(gate("2027-01-16T00:29:59Z"), Gate::Open);
    assert_eq!(gate("2027-01-16 00:30"), opens("2027-01-22 22:30"));
    let run = Run { phase: Phase::Rolling, ..Run::new(minute(0)) };
    let nobody = Tally::default();
    let facts = Facts { rules: &rules, things: 2, tally: &nobody, room: 1000, settled: true };
    let at = |text: &str| plan(&run, &facts, Timestamp::from_utc(text).unwrap());
    assert_eq!(at("2027-01-15 20:00").look_again, Timestamp::from_utc("2027-01-15 22:30"));
    assert!(matches!(at("2027-01-15 23:00").step, Some(Step::Release { things: 2, .. })));
}

#[test]
fn a_wrong_configuration_is_refused_with_all_of_its_faults() {
    let wrong = config(json!({
        "jobExecutionsRolloutConfig": { "maximumPerMinute": 0, "exponentialRate": { "baseRatePerMinute": 1001,
            "incrementFactor": 1.05, "rateIncreaseCriteria": {} } },
        "abortConfig": { "criteriaList": [
            { "failureType": "ALL", "action": "CANCEL", "thresholdPercentage": 0.001, "minNumberOfExecutedThings": 0 } ] },
        "timeoutConfig": { "inProgressTimeoutInMinutes": 10081 },
        "jobExecutionsRetryConfig": { "criteriaList": [
            { "failureType": "ALL", "numberOfRetries": 9 }, { "failureType": "FAILED", "numberOfRetries": 2 } ] },
        "schedulingConfig": { "startTime": "tomorrow", "endBehavior": "CANCEL",
            "maintenanceWindows": [{ "startTime": "* * *", "durationInMinutes": 1431 }] } }));
    let problems = Rules::try_from(&wrong).unwrap_err().0;
    let expected = [
        "maximumPerMinute is 0",
        "baseRatePerMinute is 1001",
        "incrementFactor is 1.05",
        "rateIncreaseCriteria needs",
        "thresholdPercentage is 0.001",
        "minNumberOfExecutedThings is 0",
        "inProgressTimeoutInMinutes is 10081",
        "retry criteria overlap",
        "there are 11 retries",
        "startTime \"tomorrow\"",
        "endBehavior needs an endTime",
        "durationInMinutes is 1431",
        "the maintenance window \"* * *\"",
    ];
    assert_eq!(problems.len(), expected.len(), "{problems:?}");
    for (problem, start) in problems.iter().zip(expected) {
        assert!(problem.starts_with(start), "{problem}");
    }
    let late = |start: u64, end: u64| {
        rules(json!({ "schedulingConfig": { "startTime": minute(start).to_string(), "endTime": minute(end).to_string() } }))
            .schedule
            .check_at(minute(0))
    };
    assert_eq!(late(1, 2), Ok(()));
    assert!(late(2, 2).is_err() && late(600_000, 600_001).is_err() && late(1, 2_000_000).is_err());
}
