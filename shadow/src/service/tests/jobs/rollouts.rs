//! Whom a job reaches, when, how fast, and when it stops.

use super::queued::queued;
use super::*;
use crate::records::JobQueued;
use crate::store::{Expect, Key, Kind, Op};
use muster_wire::limits::JOBS_LIVE_MAX;
use std::sync::{Condvar, Mutex};

#[test]
fn j19_things_that_join_a_group_get_its_continuous_job_and_lose_it_when_they_leave() {
    let mut rig = Rig::new();
    let label = |rig: &mut Rig, thing: &str, value: &str| {
        let labels = json!([format!("role={value}")]);
        rig.shadow(thing, "agent", &json!({ "state": { "reported": { "labels": labels, "hostname": thing } } }));
    };
    for thing in ["a", "b", "c"] {
        rig.add(thing);
        label(&mut rig, thing, if thing == "a" { "web" } else { "db" });
    }
    let config = json!({ "targetSelection": "CONTINUOUS" });
    rig.create(json!({ "job_id": "j", "groups": ["label.role=web"], "config": config }));
    assert_eq!(rig.statuses(json!({ "job_id": "j" })), pairs(&[("a", "QUEUED")]));
    rig.ends("a", "j", "SUCCEEDED");
    label(&mut rig, "b", "web");
    rig.until_count("j", "Queued", 1);
    assert_eq!(rig.shown("j")["status"], "IN_PROGRESS", "a continuous job goes on");
    label(&mut rig, "b", "db");
    rig.until_count("j", "Removed", 1);
    rig.restart();
    label(&mut rig, "b", "web");
    rig.until_count("j", "Queued", 1);
    let back = rig.executions(json!({ "job_id": "j", "thing": "b" }));
    assert_eq!((back.len(), &back[1]["executionNumber"]), (2, &json!(2)));
    // More targets, by group and by name.
    rig.operator("job-targets", json!({ "job_id": "j", "targets": ["stray"], "groups": ["name=c"] })).unwrap();
    rig.until_count("j", "Queued", 3);
    let all = rig.statuses(json!({ "job_id": "j", "status": "QUEUED" }));
    assert_eq!(all, pairs(&[("b", "QUEUED"), ("c", "QUEUED"), ("stray", "QUEUED")]));
    rig.operator("job-cancel", json!({ "job_id": "j" })).unwrap();
    rig.until_count("j", "Canceled", 3);
    rig.operator("job-delete", json!({ "job_id": "j" })).unwrap();
    gone(&mut rig, "j");
}

#[test]
fn j19_what_an_operator_deletes_of_a_continuous_job_is_not_made_again() {
    let mut rig = Rig::new();
    for thing in ["a", "b"] {
        rig.add(thing);
    }
    let config = json!({ "targetSelection": "CONTINUOUS" });
    rig.create(json!({ "job_id": "j", "groups": ["name=a|b|late"], "config": config }));
    rig.until_count("j", "Queued", 2);
    rig.add("late");
    rig.shadow("late", "agent", &json!({ "state": { "reported": { "hostname": "late" } } }));
    rig.until_count("j", "Queued", 3);
    // A member at creation and one that came later; one has ended, one has not.
    rig.ends("a", "j", "SUCCEEDED");
    for thing in ["a", "late"] {
        rig.operator("job-execution-delete", json!({ "job_id": "j", "thing": thing, "force": true })).unwrap();
    }
    let left = pairs(&[("b", "QUEUED")]);
    let look = |rig: &mut Rig, hostname: &str| {
        for thing in ["a", "b", "late"] {
            rig.shadow(thing, "agent", &json!({ "state": { "reported": { "hostname": hostname } } }));
        }
    };
    look(&mut rig, "one");
    assert_eq!(rig.statuses(json!({ "job_id": "j" })), left);
    rig.restart();
    look(&mut rig, "two");
    assert_eq!(rig.statuses(json!({ "job_id": "j" })), left);
    assert_eq!(rig.shown("j")["status"], "IN_PROGRESS");
    rig.operator("job-delete", json!({ "job_id": "j", "force": true })).unwrap();
    gone(&mut rig, "j");
    // Another job of that name begins anew.
    rig.create(json!({ "job_id": "j", "groups": ["name=a"], "config": config }));
    rig.until_count("j", "Queued", 1);
}

#[test]
fn j20_a_job_is_given_up_at_its_threshold() {
    let mut rig = Rig::new();
    let things: Vec<String> = (0..10).map(|n| format!("t{n}")).collect();
    rig.create(json!({ "job_id": "j", "targets": things, "config": { "abortConfig": { "criteriaList": [
        { "failureType": "FAILED", "action": "CANCEL", "thresholdPercentage": 20, "minNumberOfExecutedThings": 5 } ] } } }));
    rig.job("t9", "start-next", json!({}));
    rig.ends("t0", "j", "FAILED");
    assert_eq!(rig.shown("j")["status"], "IN_PROGRESS", "ten per cent are not enough");
    rig.ends("t1", "j", "FAILED");
    let over = rig.until_status("j", "CANCELED");
    assert_eq!(
        (&over["reasonCode"], &over["comment"]),
        (&json!("ABORTED"), &json!("at least 20 % of 10 things failed"))
    );
    rig.until_count("j", "Canceled", 7);
    assert_eq!(rig.ends("t9", "j", "SUCCEEDED").get("code"), None, "what is in progress goes on");
    rig.until_count("j", "Succeeded", 1);
}

#[test]
fn j21_the_rollout_rate_grows_and_survives_restarts() {
    let mut rig = Rig::new();
    let things: Vec<String> = (0..100).map(|n| format!("t{n}")).collect();
    rig.create(
        json!({ "job_id": "j", "targets": things, "config": { "jobExecutionsRolloutConfig": { "exponentialRate": {
        "baseRatePerMinute": 5, "incrementFactor": 2, "rateIncreaseCriteria": { "numberOfNotifiedThings": 20 } } } } }),
    );
    // Four minutes of 5, two of 10, one of 20, the rest in one of 40.
    for told in [5, 10, 15, 20, 30, 40, 60, 100] {
        rig.until_count("j", "Queued", told);
        rig.later(59);
        rig.restart();
        let waits = rig.shown("j");
        assert_eq!(waits["jobProcessDetails"]["numberOfQueuedThings"], told, "a minute has sixty seconds");
        assert_eq!(waits["numberOfWaitingThings"], 100 - told);
        rig.later(1);
    }
}

#[test]
fn a_scheduled_job_begins_and_ends_on_time() {
    let mut rig = Rig::new();
    let at = |seconds: i64| Timestamp::from_seconds(START + seconds).to_string();
    rig.create(json!({ "job_id": "j", "targets": ["a", "b"], "config": { "schedulingConfig": {
        "startTime": at(600), "endTime": at(1200), "endBehavior": "FORCE_CANCEL" } } }));
    assert_eq!(rig.shown("j")["status"], "SCHEDULED");
    rig.later(599);
    rig.restart();
    assert_eq!(rig.job("a", "get", json!({}))["queuedJobs"], json!([]));
    rig.later(1);
    rig.until_count("j", "Queued", 2);
    rig.job("a", "start-next", json!({}));
    rig.later(600);
    let over = rig.until_status("j", "CANCELED");
    assert_eq!(over["reasonCode"], "SCHEDULE_ENDED");
    rig.until_count("j", "Canceled", 2);
    let late = json!({ "job_id": "k", "targets": ["a"], "document": {}, "config": { "schedulingConfig": { "endTime": at(0) } } });
    assert!(rig.operator("job-create", late).unwrap_err().1.contains("is not after the start"));
}

#[test]
fn things_are_told_inside_of_a_maintenance_window_only() {
    let mut rig = Rig::new();
    // The clock starts at 08:00 on a Friday.
    rig.create(json!({ "job_id": "j", "targets": ["a"], "config": { "schedulingConfig": {
        "maintenanceWindows": [{ "startTime": "cron(30 8 ? * FRI *)", "durationInMinutes": 10 }] } } }));
    assert_eq!(rig.shown("j")["numberOfWaitingThings"], 1);
    rig.later(29 * 60);
    rig.restart();
    assert_eq!(rig.job("a", "get", json!({}))["queuedJobs"], json!([]));
    rig.later(60);
    rig.until_count("j", "Queued", 1);
}

#[test]
fn targets_that_are_added_while_the_window_is_closed_hear_when_it_opens() {
    let mut rig = Rig::new();
    rig.create(
        json!({ "job_id": "j", "targets": ["a"], "config": { "targetSelection": "CONTINUOUS", "schedulingConfig": {
        "maintenanceWindows": [{ "startTime": "cron(30 8 ? * FRI *)", "durationInMinutes": 10 }] } } }),
    );
    rig.operator("job-targets", json!({ "job_id": "j", "targets": ["a", "b", "c"] })).unwrap();
    assert_eq!(rig.shown("j")["numberOfWaitingThings"], 3);
    rig.later(29 * 60);
    assert_eq!(rig.statuses(json!({ "job_id": "j" })), []);
    rig.later(60);
    rig.until_count("j", "Queued", 3);
    assert_eq!(rig.delivered("$aws/things/b/jobs/notify-next")["execution"]["jobId"], "j");
    assert_eq!(rig.shown("j")["numberOfWaitingThings"], 0);
    // Closed again, and open a week later; in between the server was away.
    rig.later(15 * 60);
    rig.operator("job-targets", json!({ "job_id": "j", "targets": ["d"] })).unwrap();
    rig.restart();
    assert_eq!(rig.shown("j")["numberOfWaitingThings"], 1);
    rig.later(7 * 24 * 3600 - 15 * 60);
    rig.until_count("j", "Queued", 4);
}

#[test]
fn targets_that_were_added_before_a_crash_have_their_executions_after_it() {
    let mut rig = Rig::new();
    rig.create(json!({ "job_id": "j", "targets": ["a"], "config": { "targetSelection": "CONTINUOUS" } }));
    rig.until_count("j", "Queued", 1);
    rig.operator("job-targets", json!({ "job_id": "j", "targets": ["b", "c", "d"] })).unwrap();
    rig.until_count("j", "Queued", 4);
    rig.job("a", "start-next", json!({}));
    rig.ends("b", "j", "SUCCEEDED");
    rig.operator("job-execution-delete", json!({ "job_id": "j", "thing": "c", "force": true })).unwrap();
    // What was acknowledged is the job with its targets; what d got of it was not written when the power failed.
    rig.stop();
    let rounds = rig.store.scan_all(Key::new(Kind::JobQueued).as_bytes()).unwrap();
    assert!(!rounds.is_empty());
    let joined = key::job_joined(&JobId::new("j").unwrap()).part(ThingName::new("d").unwrap());
    let lost = rounds.iter().map(|(round, _)| round.as_slice()).chain([joined.as_bytes()]);
    rig.store.apply(lost.map(|key| Op::delete(key, Expect::Any)).collect()).wait().unwrap();
    rig.start();
    rig.until_count("j", "Queued", 1);
    let all = rig.statuses(json!({ "job_id": "j" }));
    assert_eq!(all, pairs(&[("a", "IN_PROGRESS"), ("b", "SUCCEEDED"), ("d", "QUEUED")]), "c lost it to an operator");
}

#[test]
fn a_large_job_is_told_page_by_page_and_found_whole_after_a_restart() {
    let mut rig = Rig::new();
    let things: Vec<String> = (0..2500).map(|n| format!("t{n:04}")).collect();
    rig.create(json!({ "job_id": "j", "targets": things }));
    rig.until_count("j", "Queued", 2500);
    rig.ends("t0000", "j", "SUCCEEDED");
    rig.ends("t2499", "j", "FAILED");
    rig.restart();
    let shown = rig.shown("j");
    assert_eq!(shown["jobProcessDetails"]["numberOfQueuedThings"], 2498);
    assert_eq!(shown["jobProcessDetails"]["numberOfFailedThings"], 1);
    let listed = rig.statuses(json!({ "job_id": "j" }));
    assert_eq!(listed.len(), 2500);
    assert!(listed.is_sorted(), "by name, each once");
    assert_eq!(rig.statuses(json!({ "job_id": "j", "status": "FAILED" })), pairs(&[("t2499", "FAILED")]));
    rig.operator("job-cancel", json!({ "job_id": "j" })).unwrap();
    rig.until_count("j", "Canceled", 2498);
}

#[test]
fn a_thousand_jobs_live_at_one_time_and_one_that_is_over_makes_room() {
    let mut rig = Rig::new();
    let request = |n: usize| json!({ "job_id": format!("j{n}"), "targets": [format!("t{n}")], "document": {} });
    for n in 0..JOBS_LIVE_MAX {
        rig.operator("job-create", request(n)).unwrap();
    }
    let next = request(JOBS_LIVE_MAX);
    let refusal = ("busy".to_owned(), "1000 jobs are not over yet; cancel or delete some of them first".to_owned());
    assert_eq!(rig.operator("job-create", next.clone()), Err(refusal.clone()));
    rig.restart();
    assert_eq!(rig.operator("job-create", next.clone()), Err(refusal.clone()), "they are counted anew at a start");
    rig.until_count("j7", "Queued", 1);
    rig.ends("t7", "j7", "SUCCEEDED");
    rig.until_status("j7", "COMPLETED");
    rig.until_created(&next);
    let another = request(JOBS_LIVE_MAX + 1);
    assert_eq!(rig.operator("job-create", another.clone()), Err(refusal), "there was room for one");
    rig.operator("job-cancel", json!({ "job_id": "j8" })).unwrap();
    rig.until_created(&another);
}

#[test]
fn a_job_reaches_every_thing_once() {
    let mut rig = Rig::new();
    let things: Vec<String> = (0..300).map(|n| format!("t{n}")).collect();
    let created =
        rig.operator("job-create", json!({ "job_id": "j", "targets": things, "document": { "do": "it" } })).unwrap();
    assert_eq!(created["executions"], 300);
    let (code, _) =
        rig.operator("job-create", json!({ "job_id": "j", "targets": ["t0"], "document": {} })).unwrap_err();
    assert_eq!(code, "conflict");
    assert_eq!(rig.job("t299", "start-next", json!({}))["execution"]["jobDocument"], json!({ "do": "it" }));
    let first = rig.job("t0", "j/update", json!({ "status": "SUCCEEDED" }));
    assert_eq!(first["topic"], "/accepted");
    let second = rig.job("t0", "j/update", json!({ "status": "IN_PROGRESS" }));
    assert_eq!((&second["topic"], &second["code"]), (&"/rejected".into(), &"InvalidStateTransition".into()));
    let unknown = rig.job("t0", "k/get", json!({ "clientToken": "x" }));
    assert_eq!((&unknown["code"], &unknown["clientToken"]), (&"ResourceNotFound".into(), &"x".into()));
}

/// Lets so many executions be made, and more only when it is opened.
struct Sluice {
    left: Mutex<usize>,
    opened: Condvar,
}

impl Sluice {
    /// Puts one before the store of a rig.
    fn before(rig: &mut Rig, executions: usize) -> Arc<Self> {
        let sluice = Arc::new(Self { left: Mutex::new(executions), opened: Condvar::new() });
        let wait = sluice.clone();
        rig.look_before(move |ops| wait.pass(ops.iter().map(queued).sum()));
        sluice
    }

    fn pass(&self, executions: usize) {
        let left = self.left.lock().unwrap();
        let (mut left, waited) = self.opened.wait_timeout_while(left, SOON, |left| *left < executions).unwrap();
        assert!(!waited.timed_out(), "nobody opens the sluice");
        *left -= executions;
    }

    fn open(&self) {
        *self.left.lock().unwrap() = usize::MAX;
        self.opened.notify_all();
    }
}

#[test]
fn a_job_for_twenty_thousand_things_keeps_nobody_waiting() {
    let mut rig = Rig::new();
    let sluice = Sluice::before(&mut rig, 5000);
    let things: Vec<String> = (0..20_000).map(|n| format!("t{n:05}")).collect();
    rig.create(json!({ "job_id": "j", "targets": things }));
    // Answered before all of them were told; others are served in between.
    let shown = rig.until_job("j", "the sluice is reached", |job| {
        job["jobProcessDetails"]["numberOfQueuedThings"].as_u64().is_some_and(|queued| queued > 5000 - 512)
    });
    assert_eq!(shown["status"], "IN_PROGRESS");
    assert!(shown["numberOfWaitingThings"].as_u64().unwrap() > 0, "{shown}");
    sluice.open();
    rig.until_job("j", "all are told", |job| job["numberOfWaitingThings"] == 0);
    rig.until_count("j", "Queued", 20_000);
}

#[test]
fn what_a_crash_left_of_a_rollout_and_of_a_deleted_job_is_finished() {
    let mut rig = Rig::new();
    rig.create(json!({ "job_id": "j", "targets": ["a", "b"] }));
    rig.create(json!({ "job_id": "k", "targets": ["a"] }));
    rig.restart();
    // The run of j says that both were told, but one execution is not there; of k only the job itself was deleted.
    let store = rig.store.clone();
    let (j, k) = (JobId::new("j").unwrap(), JobId::new("k").unwrap());
    let mut batch = batch::Batch::new(store.as_ref(), rig.clock.now());
    let run: muster_model::job::Run = batch.get(&key::job_run(&j)).unwrap().unwrap();
    assert_eq!((run.released, run.made), (2, 2));
    batch.put(&key::job_run(&j), &muster_model::job::Run { made: 1, ..run }).unwrap();
    let rounds: Vec<(Vec<u8>, JobQueued)> = batch.scan_with_keys(&key::job_queued(&j)).unwrap();
    let at = rounds[0].1.at;
    for (found, _) in rounds {
        batch.delete(&Key::from_stored(&found).unwrap()).unwrap();
    }
    let a = ThingName::new("a").unwrap();
    let round = JobQueued { job: j.clone(), at, time_limit: None, things: vec![a.clone()] };
    batch.put(&key::job_queued(&j).part(&a), &round).unwrap();
    batch.delete(&key::job(&k)).unwrap();
    batch.commit(rig.bus.as_ref()).unwrap();
    rig.restart();
    rig.until_count("j", "Queued", 2);
    assert!(rig.store.get(key::job_run(&k).as_bytes()).unwrap().is_none());
    for left in [key::job_things(&k), key::job_queued(&k)] {
        assert!(rig.store.scan_all(left.as_bytes()).unwrap().is_empty());
    }
    assert_eq!(rig.statuses(json!({ "thing": "a" })), pairs(&[("a", "QUEUED")]), "of j alone");
}
