//! Executions that nobody touched are kept by the round, and are as if each had a record of its own.

use super::*;
use crate::records::{JobQueued, StoredJobQueued};
use crate::store::{Change, Expect, Key, Kind, Op, VALUE_BYTES_MAX, codec};
use muster_model::job::{Phase, Run};
use std::sync::Mutex;
use std::sync::mpsc::TryRecvError;

/// How many things get their execution with this op.
pub(super) fn queued(op: &Op) -> usize {
    match &op.change {
        Change::Put(value) if op.key.starts_with(Key::new(Kind::JobQueued).as_bytes()) => things_of(&op.key, value),
        Change::Put(_) | Change::Delete => 0,
    }
}

fn things_of(key: &[u8], value: &[u8]) -> usize {
    JobQueued::from(codec::decode::<StoredJobQueued>(key, value).unwrap()).things.len()
}

impl Rig {
    fn records_of(&self, kind: Kind) -> usize {
        self.store.scan_all(Key::new(kind).as_bytes()).unwrap().len()
    }
}

#[test]
fn only_what_was_touched_has_a_record_and_a_restart_changes_nothing() {
    let mut rig = Rig::new();
    let things = ["a", "b", "c", "d", "e"];
    let config = json!({ "timeoutConfig": { "inProgressTimeoutInMinutes": 60 } });
    rig.create(json!({ "job_id": "j", "targets": things, "config": config }));
    rig.until_count("j", "Queued", 5);
    assert_eq!(rig.records_of(Kind::Execution), 0);
    let rounds = rig.store.scan_all(Key::new(Kind::JobQueued).as_bytes()).unwrap();
    assert_eq!(rounds.iter().map(|(found, stored)| things_of(found, &stored.value)).sum::<usize>(), 5);
    let fresh = rig.executions(json!({ "job_id": "j", "thing": "e" })).remove(0);
    assert_eq!(
        (&fresh["queuedAt"], &fresh["versionNumber"], &fresh["executionNumber"]),
        (&json!(START), &json!(1), &json!(1))
    );
    rig.later(10);
    rig.job("a", "start-next", json!({}));
    rig.operator("job-execution-cancel", json!({ "job_id": "j", "thing": "b" })).unwrap();
    rig.operator("job-execution-delete", json!({ "job_id": "j", "thing": "c", "force": true })).unwrap();
    assert_eq!(rig.records_of(Kind::Execution), 2, "of a and b");
    // Of executions made from then on.
    let shorter = json!({ "job_id": "j", "timeout": { "inProgressTimeoutInMinutes": 5 } });
    rig.operator("job-update", shorter).unwrap();
    let left = pairs(&[("a", "IN_PROGRESS"), ("b", "CANCELED"), ("d", "QUEUED"), ("e", "QUEUED")]);
    for _ in 0..2 {
        assert_eq!(rig.statuses(json!({ "job_id": "j" })), left);
        assert_eq!(rig.executions(json!({ "job_id": "j", "thing": "e" })), std::slice::from_ref(&fresh));
        assert_eq!(rig.job("c", "get", json!({}))["queuedJobs"], json!([]));
        assert_eq!(rig.job("d", "get", json!({}))["queuedJobs"][0]["queuedAt"], START);
        let details = rig.shown("j")["jobProcessDetails"].clone();
        let counts =
            ["Queued", "InProgress", "Canceled"].map(|status| details[format!("numberOf{status}Things")].clone());
        assert_eq!(counts, [json!(2), json!(1), json!(1)]);
        rig.restart();
    }
    let started = rig.job("d", "start-next", json!({}))["execution"].clone();
    assert_eq!((&started["versionNumber"], &started["approximateSecondsBeforeTimedOut"]), (&json!(2), &json!(3600)));
    for thing in ["a", "d", "e"] {
        assert_eq!(rig.ends(thing, "j", "SUCCEEDED").get("code"), None);
    }
    rig.until_status("j", "COMPLETED");
    rig.restart();
    assert_eq!(rig.job("e", "get", json!({}))["queuedJobs"], json!([]));
    rig.operator("job-delete", json!({ "job_id": "j" })).unwrap();
    gone(&mut rig, "j");
    eventually("nothing is left of the job", || match rig.records_of(Kind::JobQueued) + rig.records_of(Kind::JobRun) {
        0 => Ok(()),
        left => Err(left),
    });
}

#[test]
fn what_is_deleted_after_its_job_was_canceled_stays_deleted() {
    let mut rig = Rig::new();
    rig.create(json!({ "job_id": "j", "targets": ["a", "b"] }));
    rig.until_count("j", "Queued", 2);
    rig.job("a", "start-next", json!({}));
    rig.operator("job-cancel", json!({ "job_id": "j" })).unwrap();
    rig.until_count("j", "Canceled", 1);
    rig.operator("job-execution-delete", json!({ "job_id": "j", "thing": "b" })).unwrap();
    rig.restart();
    assert_eq!(rig.statuses(json!({ "job_id": "j" })), pairs(&[("a", "IN_PROGRESS")]));
    assert_eq!(rig.job("b", "get", json!({}))["queuedJobs"], json!([]));
}

#[test]
fn a_round_that_could_not_be_stored_is_heard_of_by_nobody_and_given_again() {
    let mut rig = Rig::new();
    let ((tried, is_tried), (go, may_go)) = (channel(), channel::<bool>());
    let (tried, may_go) = (Mutex::new(tried), Mutex::new(may_go));
    rig.look_before(move |ops| {
        if ops.iter().any(|op| queued(op) > 0) {
            tried.lock().unwrap().send(()).unwrap();
            if !may_go.lock().unwrap().recv_timeout(SOON).unwrap() {
                ops.push(Op::put(key::retained("large"), Expect::Any, vec![0; VALUE_BYTES_MAX + 1]));
            }
        }
    });
    go.send(false).unwrap();
    rig.create(json!({ "job_id": "j", "targets": ["a"] }));
    is_tried.recv_timeout(SOON).expect("the round is stored");
    // It is not given again at once: whoever refused it would be asked without an end.
    for _ in 0..3 {
        rig.shown("j");
        rig.job("a", "get", json!({}));
    }
    assert_eq!(is_tried.try_recv(), Err(TryRecvError::Empty));
    rig.later(1);
    is_tried.recv_timeout(SOON).expect("the round is stored");
    // The first one failed, the second one waits.
    assert_eq!(rig.executions(json!({ "job_id": "j" })), Vec::<Value>::new());
    assert_eq!(rig.shown("j")["jobProcessDetails"]["numberOfQueuedThings"], 0);
    assert!(rig.backlog.iter().all(|message| !message.topic.contains("/jobs/notify")), "{:?}", rig.backlog);
    go.send(true).unwrap();
    assert_eq!(rig.delivered("$aws/things/a/jobs/notify-next")["execution"]["jobId"], "j");
    rig.until_count("j", "Queued", 1);
    assert_eq!(rig.statuses(json!({ "job_id": "j" })), pairs(&[("a", "QUEUED")]));
}

#[test]
fn a_restart_while_a_job_is_deleted_brings_nothing_back() {
    let mut rig = Rig::new();
    rig.create(json!({ "job_id": "j", "targets": ["a", "b"] }));
    for thing in ["a", "b"] {
        rig.ends(thing, "j", "SUCCEEDED");
    }
    rig.until_status("j", "COMPLETED");
    // As an end of the server left it: the delete has reached a and not b.
    let (j, a) = (JobId::new("j").unwrap(), ThingName::new("a").unwrap());
    rig.stop();
    let store = rig.store.clone();
    let mut batch = batch::Batch::new(store.as_ref(), rig.clock.now());
    let run: Run = batch.get(&key::job_run(&j)).unwrap().unwrap();
    batch.put(&key::job_run(&j), &Run { phase: Phase::Deleting, ..run }).unwrap();
    batch.delete(&key::execution(&a, &j)).unwrap();
    batch.commit(rig.bus.as_ref()).unwrap();
    rig.start();
    gone(&mut rig, "j");
    let told = rig.backlog.iter().map(|message| &*message.topic).filter(|topic| topic.contains("/jobs/notify"));
    assert_eq!(told.collect::<Vec<_>>(), [""; 0], "nothing was in their queues");
}

#[test]
fn things_of_a_round_that_cannot_be_read_are_reached_again() {
    let mut rig = Rig::new();
    rig.create(json!({ "job_id": "j", "targets": ["a", "b", "c"] }));
    rig.until_count("j", "Queued", 3);
    rig.ends("a", "j", "SUCCEEDED");
    rig.operator("job-execution-delete", json!({ "job_id": "j", "thing": "b", "force": true })).unwrap();
    rig.stop();
    for (found, _) in rig.store.scan_all(Key::new(Kind::JobQueued).as_bytes()).unwrap() {
        rig.store.apply(vec![Op::put(found, Expect::Any, b"no round".to_vec())]).wait().unwrap();
    }
    rig.start();
    rig.until_count("j", "Queued", 1);
    assert_eq!(rig.statuses(json!({ "job_id": "j" })), pairs(&[("a", "SUCCEEDED"), ("c", "QUEUED")]));
    rig.restart();
    assert_eq!(rig.statuses(json!({ "job_id": "j" })), pairs(&[("a", "SUCCEEDED"), ("c", "QUEUED")]));
}

#[test]
fn what_is_left_of_an_earlier_job_of_that_name_is_not_of_the_new_one() {
    let mut rig = Rig::new();
    let (job, x) = (JobId::new("j").unwrap(), ThingName::new("x").unwrap());
    let store = rig.store.clone();
    let mut batch = batch::Batch::new(store.as_ref(), rig.clock.now());
    let left = JobQueued { job: job.clone(), at: rig.clock.now(), time_limit: None, things: vec![x.clone()] };
    batch.put(&key::job_queued(&job).part(&x), &left).unwrap();
    batch.commit(rig.bus.as_ref()).unwrap();
    rig.create(json!({ "job_id": "j", "targets": ["a"] }));
    rig.until_count("j", "Queued", 1);
    rig.restart();
    assert_eq!(rig.job("x", "get", json!({}))["queuedJobs"], json!([]));
    assert_eq!(rig.shown("j")["jobProcessDetails"]["numberOfQueuedThings"], 1);
}
