//! The jobs of a device, as an AWS IoT device SDK goes through them.

use muster_tests::client::{Credentials, Mqtt, Version};
use muster_tests::fleet::Fleet;
use serde_json::{Value, json};

fn create(fleet: &Fleet, job: &str, things: &str, document: &Value) -> Value {
    let file = fleet.root().join(format!("{job}.json"));
    std::fs::write(&file, document.to_string()).expect("a file in the fleet's folder");
    let file = file.to_str().expect("a plain name");
    fleet.muster_json(&["job", "create", job, "--to-things", things, "--document", file])
}

fn device(fleet: &Fleet, credentials: &Credentials, client_id: &str) -> Mqtt {
    Mqtt::connect(fleet.address(), credentials, client_id, Version::V4)
}

fn topic(rest: &str) -> String {
    format!("$aws/things/t1/jobs/{rest}")
}

#[test]
fn a_job_goes_from_notice_to_success_and_outlives_the_server() {
    let mut fleet = Fleet::start();
    let t1 = fleet.issue_cert("t1", "connector");
    let thing = device(&fleet, &t1, "t1");
    thing.subscribe(&topic("notify")).expect("the own topics may be read");
    thing.subscribe(&topic("notify-next")).expect("the own topics may be read");
    let empty = thing.ask_accepted(&topic("start-next"), json!({}));
    assert!(empty["execution"].is_null(), "nothing is pending: {empty}");

    let created = create(&fleet, "first", "t1,t2", &json!({ "operation": "blink", "times": 3 }));
    assert_eq!(created, json!({ "jobId": "first", "jobArn": "arn:aws:iot:::job/first", "executions": 2 }));
    let notice = thing.wait_for_topic(&topic("notify")).json();
    assert_eq!(notice["jobs"]["QUEUED"][0]["jobId"], "first");
    let next = thing.wait_for_topic(&topic("notify-next")).json();
    assert_eq!((&next["execution"]["jobId"], &next["execution"]["status"]), (&json!("first"), &json!("QUEUED")));
    assert_eq!(next["execution"]["jobDocument"], json!({ "operation": "blink", "times": 3 }));

    let pending = thing.ask_accepted(&topic("get"), json!({}));
    assert_eq!(pending["queuedJobs"][0]["jobId"], "first");
    assert_eq!(pending["inProgressJobs"], json!([]));

    let started = thing.ask_accepted(&topic("start-next"), json!({ "statusDetails": { "step": "begun" } }));
    let execution = &started["execution"];
    assert_eq!((&execution["jobId"], &execution["status"]), (&json!("first"), &json!("IN_PROGRESS")));
    assert_eq!(execution["jobDocument"], json!({ "operation": "blink", "times": 3 }));
    let version = execution["versionNumber"].as_u64().expect("a version");

    // Half done, the server dies. What it said before holds after.
    let half = json!({ "status": "IN_PROGRESS", "statusDetails": { "step": "half" }, "expectedVersion": version });
    thing.ask_accepted(&topic("first/update"), half);
    create(&fleet, "second", "t1", &json!({ "operation": "rest" }));
    fleet.restart();
    let thing = device(&fleet, &t1, "t1");
    thing.subscribe(&topic("notify")).expect("the own topics may be read");
    thing.subscribe(&topic("notify-next")).expect("the own topics may be read");
    let found = thing.ask_accepted(&topic("$next/get"), json!({}));
    let execution = &found["execution"];
    assert_eq!((&execution["jobId"], &execution["status"]), (&json!("first"), &json!("IN_PROGRESS")));
    assert_eq!(execution["statusDetails"], json!({ "step": "half" }));
    assert_eq!(execution["versionNumber"], json!(version + 1));
    assert_eq!(execution["jobDocument"], json!({ "operation": "blink", "times": 3 }));

    let stale = json!({ "status": "SUCCEEDED", "expectedVersion": version });
    let rejected = thing.ask(&topic("first/update"), stale).expect("an answer").expect_err("an old version");
    assert_eq!(rejected["code"], "VersionMismatch", "{rejected}");

    let done = json!({ "status": "SUCCEEDED", "expectedVersion": version + 1, "includeJobExecutionState": true });
    let accepted = thing.ask_accepted(&topic("first/update"), done);
    assert_eq!(accepted["executionState"]["status"], "SUCCEEDED");
    let next = thing.wait_for_topic(&topic("notify-next")).json();
    assert_eq!(next["execution"]["jobId"], "second", "the next job moves up: {next}");

    let again = json!({ "status": "IN_PROGRESS" });
    let rejected = thing.ask(&topic("first/update"), again).expect("an answer").expect_err("the end is the end");
    let code = rejected["code"].as_str().unwrap_or_default();
    assert!(["InvalidStateTransition", "TerminalStateReached"].contains(&code), "{rejected}");

    thing.forget();
    thing.ask_accepted(&topic("second/update"), json!({ "status": "FAILED", "statusDetails": { "why": "no" } }));
    let next = thing.wait_for_topic(&topic("notify-next")).json();
    assert!(next["execution"].is_null(), "nothing is left: {next}");

    // Ends are durable too.
    fleet.restart();
    let thing = device(&fleet, &t1, "t1");
    for (job, status) in [("first", "SUCCEEDED"), ("second", "FAILED")] {
        let described = thing.ask(&topic(&format!("{job}/get")), json!({})).expect("an answer");
        let over = described.expect_err("an execution that is over is not described any more");
        assert_eq!(over["code"], "TerminalStateReached", "{over}");
        assert!(over["message"].as_str().is_some_and(|message| message.contains(status)), "{over}");
    }
    let pending = thing.ask_accepted(&topic("get"), json!({}));
    assert_eq!((&pending["queuedJobs"], &pending["inProgressJobs"]), (&json!([]), &json!([])));

    // The other thing of the first job has not started it.
    let t2 = fleet.issue_cert("t2", "connector");
    let other = device(&fleet, &t2, "t2");
    let waiting = other.ask_accepted("$aws/things/t2/jobs/$next/get", json!({}));
    assert_eq!((&waiting["execution"]["jobId"], &waiting["execution"]["status"]), (&json!("first"), &json!("QUEUED")));
}

#[test]
fn answers_go_only_to_the_connection_that_asked() {
    let fleet = Fleet::start();
    let t1 = fleet.issue_cert("t1", "connector");
    // One that subscribes to everything, one that subscribes to nothing and asks.
    let listener = device(&fleet, &t1, "listener");
    listener.subscribe("$aws/things/t1/jobs/#").expect("the own topics may be read");
    let asker = device(&fleet, &t1, "asker");
    create(&fleet, "first", "t1", &json!({}));
    asker.ask_accepted(&topic("get"), json!({}));
    asker.ask_accepted(&topic("start-next"), json!({}));
    asker.ask_accepted(&topic("first/get"), json!({}));
    let unknown = asker.ask(&topic("nothing/get"), json!({})).expect("an answer").expect_err("no such job");
    assert_eq!(unknown["code"], "ResourceNotFound");
    asker.ask_accepted(&topic("first/update"), json!({ "status": "SUCCEEDED" }));

    // Its own answer comes after all that it might have overheard.
    listener.ask_accepted(&topic("get"), json!({}));
    let heard: Vec<String> = listener.messages().into_iter().map(|message| message.topic).collect();
    let answers = heard.iter().filter(|topic| topic.ends_with("/accepted") || topic.ends_with("/rejected"));
    assert_eq!(answers.collect::<Vec<_>>(), [&topic("get/accepted")], "{heard:?}");
    assert!(heard.contains(&topic("notify")) && heard.contains(&topic("notify-next")), "{heard:?}");
    let overheard = asker.messages().into_iter().find(|message| message.topic.contains("notify"));
    assert_eq!(overheard, None, "the asker subscribed to nothing");
}

#[test]
fn a_job_is_made_once() {
    let fleet = Fleet::start();
    create(&fleet, "only", "t1", &json!({ "n": 1 }));
    let file = fleet.root().join("only.json");
    let file = file.to_str().expect("a plain name");
    let again = fleet.muster(&["job", "create", "only", "--to-things", "t2", "--document", file]);
    again.ended_with(1).explaining("a job is called only already");
}
