//! Jobs as a whole, driven by operators, devices, a clock that is moved, and restarts.

mod queued;
mod rollouts;

use super::*;
use crate::records::{Job, JobThings, key};
use muster_wire::id::PersonName;

/// Looks again and again until the look succeeds; fails with what was seen last.
#[track_caller]
fn eventually<T, S: std::fmt::Debug>(what: &str, mut look: impl FnMut() -> Result<T, S>) -> T {
    let clock = Clock::system();
    let end = clock.instant() + SOON;
    loop {
        let late = clock.instant() >= end;
        match look() {
            Ok(found) => return found,
            Err(seen) if late => panic!("not in time: {what}; last seen: {seen:?}"),
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

impl Rig {
    fn create(&mut self, request: Value) {
        let mut request = request;
        if request.get("document").is_none() && request.get("template").is_none() {
            request["document"] = json!({ "do": "it" });
        }
        self.operator("job-create", request).unwrap();
    }

    /// Waits until there is room for a job: the server notices a little later that another one is over.
    #[track_caller]
    fn until_created(&mut self, request: &Value) {
        eventually("there is room", || self.operator("job-create", request.clone()).map(drop));
    }

    fn shown(&mut self, job: &str) -> Value {
        self.operator("job-show", json!({ "job_id": job })).unwrap()["job"].clone()
    }

    /// Waits until the job is as wanted.
    #[track_caller]
    fn until_job(&mut self, job: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        eventually(what, || {
            let shown = self.shown(job);
            if wanted(&shown) { Ok(shown) } else { Err(shown) }
        })
    }

    /// Waits until so many things stand in this status.
    #[track_caller]
    fn until_count(&mut self, job: &str, status: &str, count: u64) {
        let key = format!("numberOf{status}Things");
        self.until_job(job, &format!("{count} {status}"), |job| job["jobProcessDetails"][&key] == count);
    }

    #[track_caller]
    fn until_status(&mut self, job: &str, status: &str) -> Value {
        self.until_job(job, status, |job| job["status"] == status)
    }

    fn ends(&mut self, thing: &str, job: &str, status: &str) -> Value {
        self.job(thing, &format!("{job}/update"), json!({ "status": status }))
    }

    fn later(&self, seconds: u64) {
        self.clock.set(self.clock.now().plus(Duration::from_secs(seconds)));
    }

    fn restart(&mut self) {
        self.start();
    }

    fn executions(&mut self, request: Value) -> Vec<Value> {
        let mut all = Vec::new();
        let mut request = request;
        loop {
            let page = self.operator("job-executions", request.clone()).unwrap();
            all.extend(page["executionSummaries"].as_array().unwrap().iter().cloned());
            match page.get("nextToken") {
                Some(next) => request["after"] = next.clone(),
                None => return all,
            }
        }
    }

    fn statuses(&mut self, request: Value) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap().trim_start_matches("arn:aws:iot:::thing/").to_owned();
        self.executions(request).iter().map(|one| (text(&one["thingArn"]), text(&one["status"]))).collect()
    }
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(thing, status)| ((*thing).to_owned(), (*status).to_owned())).collect()
}

#[test]
fn an_execution_times_out_after_the_time_of_its_job_and_without_one_never() {
    let mut rig = Rig::new();
    let config = json!({ "timeoutConfig": { "inProgressTimeoutInMinutes": 60 } });
    rig.create(json!({ "job_id": "j", "targets": ["t"], "config": config }));
    rig.delivered("$aws/things/t/jobs/notify-next");
    rig.job("t", "start-next", json!({}));
    rig.later(3600);
    assert_eq!(rig.delivered("$aws/things/t/jobs/notify-next").get("execution"), None);
    assert_eq!(rig.ends("t", "j", "SUCCEEDED")["code"], "InvalidStateTransition");
    rig.until_status("j", "COMPLETED");
    rig.create(json!({ "job_id": "k", "targets": ["t"] }));
    let started = rig.job("t", "start-next", json!({}));
    assert_eq!(started["execution"].get("approximateSecondsBeforeTimedOut"), None);
}

#[test]
fn j16_step_timers_end_where_the_guide_says_over_restarts() {
    let mut rig = Rig::new();
    let config = json!({ "timeoutConfig": { "inProgressTimeoutInMinutes": 20 } });
    rig.create(json!({ "job_id": "j", "targets": ["t"], "config": config }));
    rig.job("t", "start-next", json!({}));
    let left =
        |rig: &mut Rig| rig.job("t", "j/get", json!({}))["execution"]["approximateSecondsBeforeTimedOut"].clone();
    assert_eq!(left(&mut rig), 20 * 60);
    // At 12:05 a step of 7 minutes, at 12:10 one of 5, at 12:13 one of 9, which the timer of the job cuts at 12:20.
    for (wait, step, ends_in) in [(5, 7, 7), (5, 5, 5), (3, 9, 7)] {
        rig.later(wait * 60);
        rig.restart();
        rig.job("t", "j/update", json!({ "status": "IN_PROGRESS", "stepTimeoutInMinutes": step }));
        assert_eq!(left(&mut rig), ends_in * 60);
    }
    rig.later(7 * 60);
    rig.restart();
    rig.until_count("j", "TimedOut", 1);
    assert_eq!(rig.until_status("j", "COMPLETED")["completedAt"], START + 20 * 60);
}

#[test]
fn j17_what_failed_or_timed_out_is_tried_again_as_often_as_the_job_says() {
    let mut rig = Rig::new();
    rig.create(json!({ "job_id": "j", "targets": ["t"], "config": {
        "timeoutConfig": { "inProgressTimeoutInMinutes": 1 },
        "jobExecutionsRetryConfig": { "criteriaList": [
            { "failureType": "FAILED", "numberOfRetries": 1 }, { "failureType": "TIMED_OUT", "numberOfRetries": 1 } ] } } }));
    rig.delivered("$aws/things/t/jobs/notify-next");
    rig.job("t", "start-next", json!({ "statusDetails": { "step": "first" } }));
    rig.later(60);
    let next = rig.delivered("$aws/things/t/jobs/notify-next")["execution"].clone();
    assert_eq!((&next["jobId"], &next["executionNumber"], &next["versionNumber"]), (&json!("j"), &json!(2), &json!(1)));
    assert_eq!((&next["status"], next.get("statusDetails")), (&json!("QUEUED"), None));
    rig.restart();
    let answer = rig.job("t", "j/update", json!({ "status": "FAILED", "includeJobExecutionState": true }));
    assert_eq!(answer["executionState"]["status"], "FAILED");
    let third = rig.job("t", "start-next", json!({}));
    assert_eq!(third["execution"]["executionNumber"], 3);
    let old = rig.job("t", "j/get", json!({ "executionNumber": 1 }));
    assert_eq!(old["code"], "TerminalStateReached");
    let late = rig.job("t", "j/update", json!({ "status": "SUCCEEDED", "executionNumber": 1 }));
    let state = &late["executionState"];
    assert_eq!((&late["code"], &state["status"]), (&json!("InvalidStateTransition"), &json!("TIMED_OUT")), "{late}");
    assert_eq!(state["statusDetails"], json!({ "step": "first" }));
    rig.ends("t", "j", "FAILED");
    let over = rig.until_status("j", "COMPLETED");
    assert_eq!(over["jobProcessDetails"]["numberOfFailedThings"], 1);
    let tries = rig.executions(json!({ "job_id": "j", "thing": "t" }));
    let tries: Vec<Value> = tries.iter().map(|one| json!([one["executionNumber"], one["status"]])).collect();
    assert_eq!(json!(tries), json!([[1, "TIMED_OUT"], [2, "FAILED"], [3, "FAILED"]]));
    // One try is deleted, then the rest.
    let one = json!({ "job_id": "j", "thing": "t", "execution_number": 2 });
    rig.operator("job-execution-delete", one).unwrap();
    assert_eq!(rig.executions(json!({ "thing": "t" })).len(), 2);
    for left in [1, 0] {
        rig.operator("job-execution-delete", json!({ "job_id": "j", "thing": "t" })).unwrap();
        assert_eq!(rig.executions(json!({ "thing": "t" })).len(), left);
    }
}

#[test]
fn j18_the_counts_of_a_job_that_is_over_stay_when_an_execution_is_deleted() {
    let mut rig = Rig::new();
    rig.create(json!({ "job_id": "j", "targets": ["t"] }));
    rig.ends("t", "j", "SUCCEEDED");
    let over = rig.until_status("j", "COMPLETED")["jobProcessDetails"].clone();
    rig.operator("job-execution-delete", json!({ "job_id": "j", "thing": "t" })).unwrap();
    assert_eq!(rig.executions(json!({ "job_id": "j" })).len(), 0);
    let left = rig.shown("j")["jobProcessDetails"].clone();
    assert_eq!((&left, &left["numberOfSucceededThings"]), (&over, &json!(1)));
}

#[test]
fn the_bound_of_a_job_document_counts_bytes() {
    let mut rig = Rig::new();
    let mut create = |job: &str, text: String| {
        rig.operator("job-create", json!({ "job_id": job, "targets": ["t"], "document": { "a": text } }))
    };
    let room = 32 * 1024 - r#"{"a":""}"#.len();
    create("ascii", "x".repeat(room)).unwrap();
    create("four-bytes", "\u{1f600}".repeat(room / 4)).unwrap();
    for text in ["x".repeat(room + 1), "\u{1f600}".repeat(room / 4 + 1)] {
        let (code, message) = create("larger", text).unwrap_err();
        assert_eq!(code, "too-large");
        assert!(message.ends_with("at most 32768 are allowed"), "{message}");
    }
}

#[test]
fn a_job_document_may_be_nested_as_deep_as_a_request_is_read() {
    let mut rig = Rig::new();
    let mut create = |levels: usize| {
        let (open, close) = ("[".repeat(levels - 1), "]".repeat(levels - 1));
        let request = format!(r#"{{"job_id":"j{levels}","targets":["t"],"document":{{"a":{open}{close}}}}}"#);
        let tag = rig.publish(Role::Operator, "admin", "muster/op/job-create", request);
        let reply = rig.until(tag).pop().unwrap();
        serde_json::from_slice::<Value>(&reply.payload).unwrap()
    };
    assert_eq!(create(126)["ok"]["jobId"], "j126");
    let refused = create(127);
    assert!(refused["error"]["message"].as_str().unwrap().contains("recursion limit"), "{refused}");
    // The thing gets it whole, with all that stands round it.
    let told = rig.next_on("$aws/things/t/jobs/notify-next");
    assert!(std::str::from_utf8(&told.payload).unwrap().contains(&"[".repeat(125)));
}

#[test]
fn j18_a_cancel_ends_what_is_queued_and_with_force_what_is_in_progress() {
    let mut rig = Rig::new();
    rig.create(json!({ "job_id": "j", "targets": ["a", "b"] }));
    rig.job("a", "start-next", json!({}));
    let cancel = |force| json!({ "job_id": "j", "force": force, "reason_code": "WRONG", "comment": "not this one" });
    rig.operator("job-cancel", cancel(false)).unwrap();
    rig.until_count("j", "Canceled", 1);
    assert_eq!(rig.statuses(json!({ "job_id": "j" })), pairs(&[("a", "IN_PROGRESS"), ("b", "CANCELED")]));
    let shown = rig.shown("j");
    assert_eq!(
        (&shown["status"], &shown["reasonCode"], &shown["comment"]),
        (&json!("CANCELED"), &json!("WRONG"), &json!("not this one"))
    );
    let again = rig.operator("job-cancel", cancel(false)).unwrap_err();
    assert!(again.1.starts_with("job j is CANCELED"), "{again:?}");
    rig.operator("job-cancel", cancel(true)).unwrap();
    rig.until_count("j", "Canceled", 2);
    assert_eq!(rig.ends("a", "j", "SUCCEEDED")["code"], "InvalidStateTransition");
    let one = rig.executions(json!({ "job_id": "j", "thing": "a" })).remove(0);
    assert_eq!(one["forceCanceled"], true);
    rig.restart();
    assert_eq!(rig.shown("j")["jobProcessDetails"]["numberOfCanceledThings"], 2);
}

#[test]
fn j18_one_execution_is_canceled_and_deleted() {
    let mut rig = Rig::new();
    rig.create(json!({ "job_id": "j", "targets": ["a", "b"] }));
    rig.job("a", "start-next", json!({}));
    let order = |rig: &mut Rig, verb: &str, more: Value| {
        let mut request = json!({ "job_id": "j", "thing": "a" });
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        rig.operator(verb, request)
    };
    let refused = order(&mut rig, "job-execution-cancel", json!({})).unwrap_err();
    assert_eq!(refused, ("conflict".into(), "a has started job j; `--force` cancels it all the same".into()));
    let refused = order(&mut rig, "job-execution-cancel", json!({ "force": true, "expected_version": 7 })).unwrap_err();
    assert_eq!(
        refused,
        (
            "conflict".into(),
            "expected version 7 but found version 2; look at it again with `muster job executions j --thing a`".into()
        )
    );
    assert_eq!(order(&mut rig, "job-execution-delete", json!({})).unwrap_err().0, "conflict");
    let details = json!({ "force": true, "expected_version": 2, "status_details": { "why": "spare" } });
    let done = order(&mut rig, "job-execution-cancel", details).unwrap();
    assert_eq!(done["execution"]["statusDetails"], json!({ "detailsMap": { "why": "spare" } }));
    order(&mut rig, "job-execution-delete", json!({})).unwrap();
    assert_eq!(order(&mut rig, "job-execution-delete", json!({})).unwrap_err().0, "not-found");
    rig.ends("b", "j", "SUCCEEDED");
    let over = rig.until_status("j", "COMPLETED");
    assert_eq!(over["jobProcessDetails"]["numberOfSucceededThings"], 1);
}

#[track_caller]
fn gone(rig: &mut Rig, job: &str) {
    eventually("the job is gone", || match rig.operator("job-show", json!({ "job_id": job })) {
        Ok(shown) => Err(shown),
        Err(_) => Ok(()),
    });
}

#[test]
fn a_job_is_deleted_with_everything_that_belongs_to_it() {
    let mut rig = Rig::new();
    rig.create(json!({ "job_id": "j", "targets": ["a", "b"] }));
    rig.delivered("$aws/things/a/jobs/notify-next");
    let refused = rig.operator("job-delete", json!({ "job_id": "j" })).unwrap_err();
    assert_eq!(refused.1, "job j is IN_PROGRESS; cancel it first, or delete it with `--force`");
    let before = rig.store.scan_all(b"").unwrap().len();
    rig.operator("job-delete", json!({ "job_id": "j", "force": true })).unwrap();
    assert_eq!(rig.delivered("$aws/things/a/jobs/notify-next").get("execution"), None);
    gone(&mut rig, "j");
    rig.restart();
    // Job, run, one page of names, two executions.
    assert_eq!(rig.store.scan_all(b"").unwrap().len(), before - 5);
    assert_eq!(rig.job("a", "j/get", json!({}))["code"], "ResourceNotFound");
    // The name is free again.
    rig.create(json!({ "job_id": "j", "targets": ["a"] }));
    rig.ends("a", "j", "SUCCEEDED");
    rig.until_status("j", "COMPLETED");
    rig.operator("job-delete", json!({ "job_id": "j" })).unwrap();
    gone(&mut rig, "j");
    assert_eq!(rig.store.scan_all(b"").unwrap().len(), before - 5);
}

#[test]
fn templates_make_jobs_with_their_parameters() {
    let mut rig = Rig::new();
    let template = json!({ "template": "t", "description": "runs a command", "document": { "run": "${what} --now" },
        "config": { "timeoutConfig": { "inProgressTimeoutInMinutes": 5 } } });
    let made = rig.operator("job-template-create", template.clone()).unwrap();
    assert_eq!(made["parameters"], json!(["what"]));
    assert_eq!(rig.operator("job-template-create", template).unwrap_err().0, "conflict");
    let job = |parameters: Value| json!({ "job_id": "j", "targets": ["a"], "template": "t", "parameters": parameters });
    let refused = rig.operator("job-create", job(json!({}))).unwrap_err();
    assert_eq!(refused.1, "the template wants a value for what; `muster job template show t` shows it");
    rig.create(job(json!({ "what": "reboot" })));
    let started = rig.job("a", "start-next", json!({}));
    assert_eq!(started["execution"]["jobDocument"], json!({ "run": "reboot --now" }));
    assert_eq!(started["execution"]["approximateSecondsBeforeTimedOut"], 300);
    let shown = rig.shown("j");
    assert_eq!(shown["documentParameters"], json!({ "what": "reboot" }));
    let copy = json!({ "template": "u", "description": "the same", "job_id": "j" });
    rig.operator("job-template-create", copy).unwrap();
    let listed = rig.operator("job-template-list", json!({})).unwrap();
    let ids: Vec<&Value> = listed["jobTemplates"].as_array().unwrap().iter().map(|one| &one["jobTemplateId"]).collect();
    assert_eq!(json!(ids), json!(["t", "u"]));
    rig.operator("job-template-delete", json!({ "template": "t" })).unwrap();
    assert_eq!(rig.operator("job-template-show", json!({ "template": "t" })).unwrap_err().0, "not-found");
}

#[test]
fn jobs_are_listed_by_status_and_target_and_can_be_changed() {
    let mut rig = Rig::new();
    rig.add("a");
    rig.create(json!({ "job_id": "one", "groups": ["all"] }));
    rig.create(json!({ "job_id": "two", "targets": ["a", "b"], "config": {
        "jobExecutionsRolloutConfig": { "maximumPerMinute": 1 } } }));
    rig.ends("a", "one", "SUCCEEDED");
    rig.until_status("one", "COMPLETED");
    let ids = |rig: &mut Rig, filter: Value| -> Vec<String> {
        let listed = rig.operator("job-list", filter).unwrap();
        listed["jobs"].as_array().unwrap().iter().map(|job| job["jobId"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(&mut rig, json!({})), ["one", "two"]);
    assert_eq!(ids(&mut rig, json!({ "status": "COMPLETED" })), ["one"]);
    assert_eq!(ids(&mut rig, json!({ "target": "b" })), ["two"]);
    assert_eq!(ids(&mut rig, json!({ "target": "all" })), ["one"]);
    assert_eq!(ids(&mut rig, json!({ "after": "one" })), ["two"]);
    rig.until_count("two", "Queued", 1);
    let faster = json!({ "job_id": "two", "description": "faster", "rollout": { "maximumPerMinute": 100 } });
    let changed = rig.operator("job-update", faster).unwrap();
    assert_eq!(changed["job"]["description"], "faster");
    rig.until_count("two", "Queued", 2);
    let over = rig.operator("job-update", json!({ "job_id": "one", "description": "x" })).unwrap_err();
    assert_eq!(over.1, "job one is COMPLETED; only a job that is SCHEDULED or IN_PROGRESS can be changed");
    for (request, words) in [
        (json!({ "job_id": "x", "document": {} }), "the job has no targets"),
        (json!({ "job_id": "x", "document": {}, "groups": ["pool=none"] }), "no connector matches pool=none"),
        (json!({ "job_id": "x", "targets": ["a"] }), "the job has no document"),
        (json!({ "job_id": "upgrade-x", "targets": ["a"], "document": {} }), "is kept for the server"),
        (
            json!({ "job_id": "x", "targets": ["a"], "document": {}, "config": { "timeoutConfig": { "inProgressTimeoutInMinutes": 0 } } }),
            "inProgressTimeoutInMinutes is 0",
        ),
    ] {
        let refused = rig.operator("job-create", request).unwrap_err();
        assert!(refused.1.contains(words), "{refused:?}");
    }
}

#[test]
fn a_job_of_the_first_form_is_finished_at_the_next_start() {
    let mut rig = Rig::new();
    // As a crash of the first version left it: the job is there, its executions are not.
    let (id, things) = (JobId::new("k").unwrap(), vec![ThingName::new("u").unwrap(), ThingName::new("v").unwrap()]);
    let store = rig.store.clone();
    let mut batch = batch::Batch::new(store.as_ref(), rig.clock.now());
    let record = Job {
        id: id.clone(),
        document: serde_json::Map::new(),
        assigned: false,
        by: PersonName::new("admin").unwrap(),
        at: rig.clock.now(),
        description: None,
        targets: Vec::new(),
        groups: Vec::new(),
        config: muster_wire::job::JobConfig::default(),
        template: None,
        parameters: BTreeMap::new(),
        things: None,
    };
    batch.put(&key::job(&id), &record).unwrap();
    batch.put(&key::job_things(&id), &JobThings { job: id.clone(), things }).unwrap();
    batch.commit(rig.bus.as_ref()).unwrap();
    rig.restart();
    rig.until_count("k", "Queued", 2);
    assert_eq!(rig.ends("u", "k", "SUCCEEDED").get("code"), None);
    rig.restart();
    rig.ends("v", "k", "REJECTED");
    let over = rig.until_status("k", "COMPLETED");
    assert_eq!(over["jobProcessDetails"]["numberOfSucceededThings"], 1);
}
