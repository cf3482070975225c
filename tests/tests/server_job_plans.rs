//! Jobs as operators plan them: cancel, retry, groups, abort criteria and rates, with devices and kills of the server.

use muster_tests::client::{Mqtt, Version};
use muster_tests::eventually::eventually;
use muster_tests::fleet::Fleet;
use serde_json::{Value, json};
use std::time::Duration;

/// For what the server does at once; the machine may be busy.
const SOON: Duration = Duration::from_secs(60);
/// For what it does after a minute.
const AFTER_A_MINUTE: Duration = Duration::from_secs(60 + 60);

struct Stage {
    fleet: Fleet,
}

impl Stage {
    fn new() -> Self {
        let fleet = Fleet::start();
        std::fs::write(fleet.root().join("document.json"), r#"{"operation":"blink"}"#).expect("a file of the fleet");
        Self { fleet }
    }

    fn create(&self, job: &str, more: &[&str]) -> Value {
        let document = self.fleet.root().join("document.json");
        let document = document.to_str().expect("a plain name");
        self.fleet.muster_json(&[&["job", "create", job, "--document", document], more].concat())
    }

    fn job(&self, job: &str) -> Value {
        self.fleet.muster_json(&["job", "show", job])["job"].clone()
    }

    #[track_caller]
    fn until(&self, job: &str, deadline: Duration, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        eventually(what, deadline, || {
            let shown = self.job(job);
            if wanted(&shown) { Ok(shown) } else { Err(shown) }
        })
    }

    #[track_caller]
    fn until_count(&self, job: &str, deadline: Duration, status: &str, count: u64) -> Value {
        let key = format!("numberOf{status}Things");
        self.until(job, deadline, &format!("{count} {status}"), |job| job["jobProcessDetails"][&key] == count)
    }

    fn statuses(&self, job: &str) -> Value {
        let listed = self.fleet.muster_json(&["job", "executions", job]);
        let all = listed["executionSummaries"].as_array().expect("a list").iter();
        all.map(|one| json!([one["thingArn"].as_str().and_then(|arn| arn.rsplit('/').next()), one["status"]])).collect()
    }

    fn device(&self, thing: &str) -> Mqtt {
        let credentials = self.fleet.issue_cert(thing, "connector");
        Mqtt::connect(self.fleet.address(), &credentials, thing, Version::V4)
    }

    fn observer(&self) -> Mqtt {
        let credentials = self.fleet.issue_cert("wall", "observer");
        let observer = Mqtt::connect(self.fleet.address(), &credentials, "wall", Version::V5);
        for filter in ["$aws/events/job/#", "$aws/events/jobExecution/#"] {
            observer.subscribe(filter).expect("an observer may read this");
        }
        observer
    }
}

fn topic(thing: &str, rest: &str) -> String {
    format!("$aws/things/{thing}/jobs/{rest}")
}

fn report(device: &Mqtt, thing: &str, job: &str, status: &str) {
    device.ask_accepted(&topic(thing, &format!("{job}/update")), json!({ "status": status }));
}

#[test]
fn j16_a_step_timer_ends_on_time_although_the_server_was_killed() {
    let mut stage = Stage::new();
    stage.create("j", &["--to-things", "t", "--timeout", "20m"]);
    let device = stage.device("t");
    let started = device.ask_accepted(&topic("t", "start-next"), json!({ "stepTimeoutInMinutes": 1 }));
    let left = started["execution"]["approximateSecondsBeforeTimedOut"].as_i64();
    assert!(left.is_some_and(|left| (1..=60).contains(&left)), "{started}");
    stage.fleet.restart();
    let found = stage.device("t").ask_accepted(&topic("t", "j/get"), json!({}));
    let still = found["execution"]["approximateSecondsBeforeTimedOut"].as_i64();
    assert!(still.is_some_and(|still| Some(still) <= left), "the timer goes on: {found}");
    let over = stage.until_count("j", AFTER_A_MINUTE, "TimedOut", 1);
    assert_eq!(over["status"], "COMPLETED");
}

#[test]
fn j17_a_failed_execution_is_tried_again_with_the_next_number() {
    let mut stage = Stage::new();
    stage.create("j", &["--to-things", "t", "--retry", "FAILED=2"]);
    let device = stage.device("t");
    device.subscribe(&topic("t", "+")).expect("the own topics may be read");
    // The first try fails without having been started, the second after its start.
    for number in [2, 3] {
        device.forget();
        report(&device, "t", "j", "FAILED");
        let next = device.wait_for_topic(&topic("t", "notify-next")).json();
        let next = &next["execution"];
        assert_eq!(
            (&next["status"], &next["executionNumber"], &next["versionNumber"]),
            (&json!("QUEUED"), &json!(number), &json!(1))
        );
        let listed = device.wait_for_topic(&topic("t", "notify")).json();
        assert_eq!(listed["jobs"]["QUEUED"][0]["executionNumber"], number, "{listed}");
        if number == 2 {
            device.ask_accepted(&topic("t", "start-next"), json!({}));
        }
    }
    stage.fleet.restart();
    let device = stage.device("t");
    let again = device.ask_accepted(&topic("t", "start-next"), json!({}));
    assert_eq!(again["execution"]["executionNumber"], 3);
    report(&device, "t", "j", "FAILED");
    assert_eq!(stage.until_count("j", SOON, "Failed", 1)["status"], "COMPLETED");
    let tries = stage.fleet.muster_json(&["job", "executions", "j", "--thing", "t"]);
    assert_eq!(tries["executionSummaries"].as_array().map(Vec::len), Some(3), "{tries}");
}

#[test]
fn j18_a_cancel_ends_what_is_queued_and_with_force_what_is_in_progress() {
    let stage = Stage::new();
    let observer = stage.observer();
    stage.create("j", &["--to-things", "a,b", "--description", "to be called off"]);
    let a = stage.device("a");
    a.subscribe(&topic("a", "notify-next")).expect("the own topics may be read");
    a.ask_accepted(&topic("a", "start-next"), json!({}));
    let words = ["job", "cancel", "j", "--reason-code", "WRONG", "--comment", "not this one"];
    assert_eq!(stage.fleet.muster_json(&words)["status"], "CANCELED");
    stage.until_count("j", SOON, "Canceled", 1);
    assert_eq!(stage.statuses("j"), json!([["a", "IN_PROGRESS"], ["b", "CANCELED"]]));
    let event = observer.wait_for_topic("$aws/events/job/j/cancellation_in_progress").json();
    assert_eq!((&event["eventType"], &event["status"]), (&json!("JOB"), &json!("CANCELLATION_IN_PROGRESS")));
    assert_eq!(event["completedAt"], json!(null), "it is not over yet: {event}");
    assert_eq!(event["targets"], json!(["arn:aws:iot:::thing/a", "arn:aws:iot:::thing/b"]));
    assert_eq!((&event["comment"], &event["description"]), (&json!("not this one"), &json!("to be called off")));
    let event = observer.wait_for_topic("$aws/events/job/j/canceled").json();
    assert_eq!((&event["operation"], &event["status"]), (&json!("canceled"), &json!("CANCELED")));
    assert!(event["completedAt"].is_i64(), "{event}");
    let event = observer.wait_for_topic("$aws/events/jobExecution/j/canceled").json();
    assert_eq!(event["thingArn"], "arn:aws:iot:::thing/b");

    stage.fleet.muster(&["job", "cancel", "j"]).ended_with(1).explaining("job j is CANCELED");
    stage.fleet.muster(&["job", "cancel", "j", "--force"]).succeeded();
    stage.until_count("j", SOON, "Canceled", 2);
    let next = a.wait_for_topic(&topic("a", "notify-next")).json();
    assert_eq!(next.get("execution"), None, "{next}");
    let late = a.ask(&topic("a", "j/update"), json!({ "status": "SUCCEEDED" })).expect("an answer");
    assert_eq!(late.expect_err("it is over")["code"], "InvalidStateTransition");
    let forced = stage.fleet.muster_json(&["job", "executions", "j", "--thing", "a"]);
    assert_eq!(forced["executionSummaries"][0]["forceCanceled"], true);

    stage.fleet.muster(&["job", "delete", "j"]).succeeded();
    observer.wait_for_topic("$aws/events/job/j/deletion_in_progress");
    let event = observer.wait_for_topic("$aws/events/job/j/deleted").json();
    assert_eq!((&event["status"], &event["jobId"]), (&json!("DELETED"), &json!("j")));
    observer.wait_for_topic("$aws/events/jobExecution/j/deleted");
    stage.fleet.muster(&["job", "show", "j"]).ended_with(1).explaining("no job is called j");
}

#[test]
fn j18_one_execution_is_canceled_and_the_job_completes() {
    let stage = Stage::new();
    let observer = stage.observer();
    stage.create("j", &["--to-things", "a,b"]);
    let a = stage.device("a");
    a.ask_accepted(&topic("a", "start-next"), json!({}));
    let refused = stage.fleet.muster(&["job", "execution", "cancel", "j", "a"]).ended_with(1);
    refused.explaining("a has started job j; `--force` cancels it all the same");
    stage.fleet.muster(&["job", "execution", "cancel", "j", "a", "--force", "--expected-version", "2"]).succeeded();
    report(&stage.device("b"), "b", "j", "SUCCEEDED");
    let event = observer.wait_for_topic("$aws/events/job/j/completed").json();
    let counts = &event["jobProcessDetails"];
    assert_eq!((&counts["numberOfSucceededThings"], &counts["numberOfCanceledThings"]), (&json!(1), &json!(1)));
    stage.fleet.muster(&["job", "execution", "delete", "j", "a"]).succeeded();
    assert_eq!(stage.statuses("j"), json!([["b", "SUCCEEDED"]]));
}

#[test]
fn j19_who_joins_a_group_gets_its_continuous_job_and_who_leaves_loses_it() {
    let mut stage = Stage::new();
    let add = |stage: &Stage, name: &str, pool: &str| {
        stage.fleet.muster(&["connector", "add", name, "--pool", pool]).succeeded();
    };
    add(&stage, "a", "blue");
    add(&stage, "x", "green");
    stage.create("j", &["--to", "pool=blue", "--to", "label.role=web", "--continuous"]);
    assert_eq!(stage.statuses("j"), json!([["a", "QUEUED"]]));
    report(&stage.device("a"), "a", "j", "SUCCEEDED");
    add(&stage, "b", "blue");
    assert_eq!(stage.until_count("j", SOON, "Queued", 1)["status"], "IN_PROGRESS");
    stage.fleet.restart();
    // A label makes x a member, and without it x is none.
    let x = stage.device("x");
    for filter in [&topic("x", "notify-next"), "$aws/things/x/shadow/name/agent/update/accepted"] {
        x.subscribe(filter).expect("the own topics may be read");
    }
    let label = |labels: Value| {
        let facts = json!({ "state": { "reported": { "hostname": "x", "labels": labels } } });
        x.ask_accepted("$aws/things/x/shadow/name/agent/update", facts);
    };
    label(json!(["role=web"]));
    let next = x.wait_for_topic(&topic("x", "notify-next")).json();
    assert_eq!(next["execution"]["jobId"], "j");
    x.forget();
    label(json!([]));
    let next = x.wait_for_topic(&topic("x", "notify-next")).json();
    assert_eq!(next.get("execution"), None, "{next}");
    stage.until_count("j", SOON, "Removed", 1);
    assert_eq!(stage.statuses("j"), json!([["a", "SUCCEEDED"], ["b", "QUEUED"], ["x", "REMOVED"]]));
}

#[test]
fn j20_a_job_is_given_up_when_too_many_fail() {
    let stage = Stage::new();
    stage.create("j", &["--to-things", "a,b,c,d,e", "--abort", "FAILED>=40% after 5"]);
    report(&stage.device("a"), "a", "j", "FAILED");
    assert_eq!(stage.until_count("j", SOON, "Failed", 1)["status"], "IN_PROGRESS", "20 % are not 40 %");
    let b = stage.device("b");
    b.ask_accepted(&topic("b", "start-next"), json!({}));
    report(&stage.device("c"), "c", "j", "FAILED");
    let over = stage.until_count("j", SOON, "Canceled", 2);
    assert_eq!((&over["status"], &over["reasonCode"]), (&json!("CANCELED"), &json!("ABORTED")));
    assert_eq!(over["comment"], "at least 40 % of 5 things failed");
    report(&b, "b", "j", "SUCCEEDED");
    stage.until_count("j", SOON, "Succeeded", 1);
}

#[test]
fn j21_a_rate_holds_and_goes_on_after_a_kill() {
    let mut stage = Stage::new();
    let rate = ["--rate-base", "2", "--rate-factor", "2", "--rate-on-notified", "2"];
    stage.create("j", &[["--to-things", "a,b,c,d,e,f,g"].as_slice(), &rate].concat());
    assert_eq!(stage.until_count("j", SOON, "Queued", 2)["numberOfWaitingThings"], 5);
    stage.fleet.restart();
    assert_eq!(stage.job("j")["jobProcessDetails"]["numberOfQueuedThings"], 2, "its minute is not over");
    // The next minute has twice the rate.
    assert_eq!(stage.until_count("j", AFTER_A_MINUTE, "Queued", 6)["numberOfWaitingThings"], 1);
}

#[test]
fn a_scheduled_job_begins_on_time_although_the_server_was_killed() {
    let mut stage = Stage::new();
    let now = muster_runtime::clock::Clock::system().now();
    let at = |seconds| now.plus(Duration::from_secs(seconds)).to_string();
    let schedule = ["--start", &at(20), "--end", &at(24 * 3600), "--end-behavior", "cancel"];
    stage.create("j", &[["--to-things", "a"].as_slice(), &schedule].concat());
    assert_eq!(stage.job("j")["status"], "SCHEDULED");
    stage.fleet.restart();
    assert_eq!(stage.until_count("j", SOON, "Queued", 1)["status"], "IN_PROGRESS");
}

#[test]
fn a_template_makes_jobs_and_a_listing_shows_their_progress() {
    let stage = Stage::new();
    let file = stage.fleet.root().join("template.json");
    std::fs::write(&file, r#"{"run":"${tool} --now"}"#).expect("a file of the fleet");
    let file = file.to_str().expect("a plain name");
    let words =
        ["job", "template", "create", "tidy", "--description", "runs a tool", "--document", file, "--timeout", "5m"];
    assert_eq!(stage.fleet.muster_json(&words)["parameters"], json!(["tool"]));
    let from = |parameters: &[&str]| {
        stage.fleet.muster(&[&["job", "create", "j", "--to-things", "a,b", "--template", "tidy"], parameters].concat())
    };
    from(&[]).ended_with(1).explaining("the template wants a value for tool");
    from(&["--param", "tool=vacuum"]).succeeded();
    let a = stage.device("a");
    let started = a.ask_accepted(&topic("a", "start-next"), json!({}));
    assert_eq!(started["execution"]["jobDocument"], json!({ "run": "vacuum --now" }));
    report(&a, "a", "j", "SUCCEEDED");
    stage.until_count("j", SOON, "Succeeded", 1);
    let listed = stage.fleet.muster(&["job", "list", "--status", "in-progress"]).succeeded();
    assert!(listed.stdout.contains("1/2 50%"), "{}", listed.stdout);
    let none = stage.fleet.muster_json(&["job", "list", "--status", "COMPLETED"]);
    assert_eq!(none["jobs"], json!([]));
}
