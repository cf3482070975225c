//! Tables: transitions, timers, refusals, queue and payloads.
#![allow(clippy::unwrap_used)]

use super::{
    Event, Execution, Notices, Outcome, PendingJob, Refusal, State, StepTimeout, StoredExecution, Update, apply,
    client_token_of, next, notices, notify, notify_next, parse, pending, pending_lists,
};
use muster_wire::codec::Encoding;
use muster_wire::id::JobId;
use muster_wire::job::{
    DescribeRequest, GetPendingRequest, JobErrorCode, JobStatus, StartNextRequest, StatusDetails, UpdateRequest,
};
use muster_wire::time::Timestamp;
use serde_json::{Value, json};
use std::time::Duration;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

/// Minutes after an hour, for examples told in times of day.
fn minute(minute: i64) -> Timestamp {
    at(minute * 60)
}

fn job(id: &str) -> JobId {
    JobId::new(id).unwrap()
}

fn queued() -> Execution {
    Execution::queued(job("j"), 1, None, at(10))
}

fn start() -> Event {
    Event::StartNext { status_details: None, step_timeout: None }
}

fn report(status: JobStatus) -> Update {
    Update { status, status_details: None, expected_version: None, execution_number: None, step_timeout: None }
}

fn update(status: JobStatus) -> Event {
    Event::Update(report(status))
}

fn running() -> Execution {
    apply(&queued(), &start(), at(20)).unwrap()
}

fn finished(outcome: Outcome) -> Execution {
    let state = State::Finished { started_at: Some(at(20)), outcome };
    Execution { state, ..running() }
}

fn details(pairs: &[(&str, &str)]) -> StatusDetails {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn each_event_leads_where_the_table_says() {
    use JobErrorCode::{InvalidRequest, InvalidStateTransition};
    use JobStatus::{Canceled, Failed, InProgress, Queued, Rejected, Removed, Succeeded, TimedOut};
    let no = Err(InvalidStateTransition);
    let events = [
        // event, from queued, from in progress
        (start(), Ok(InProgress), Ok(InProgress)),
        (update(InProgress), Ok(InProgress), Ok(InProgress)),
        (update(Succeeded), Ok(Succeeded), Ok(Succeeded)),
        (update(Failed), Ok(Failed), Ok(Failed)),
        (update(Rejected), Ok(Rejected), Ok(Rejected)),
        (update(Queued), no, no),
        (update(Canceled), Err(InvalidRequest), Err(InvalidRequest)),
        (update(TimedOut), Err(InvalidRequest), Err(InvalidRequest)),
        (update(Removed), Err(InvalidRequest), Err(InvalidRequest)),
        (Event::Timeout, no, no),
        (Event::Cancel { force: false }, Ok(Canceled), no),
        (Event::Cancel { force: true }, Ok(Canceled), Ok(Canceled)),
        (Event::Remove, Ok(Removed), Ok(Removed)),
    ];
    let outcomes = [
        Outcome::Succeeded,
        Outcome::Failed,
        Outcome::Rejected,
        Outcome::TimedOut,
        Outcome::Canceled,
        Outcome::Removed,
    ];
    for (event, from_queued, from_running) in events {
        let moved = |from: &Execution| apply(from, &event, at(30)).map(|to| to.status()).map_err(|e| e.code);
        assert_eq!(moved(&queued()), from_queued, "queued, {event:?}");
        assert_eq!(moved(&running()), from_running, "in progress, {event:?}");
        for outcome in outcomes {
            let code = if from_running == Err(InvalidRequest) { InvalidRequest } else { InvalidStateTransition };
            assert_eq!(moved(&finished(outcome)), Err(code), "{outcome:?}, {event:?}");
        }
    }
}

#[test]
fn starting_sets_the_times_and_a_second_start_changes_nothing() {
    let first = Event::StartNext { status_details: Some(details(&[("a", "1")])), step_timeout: None };
    let started = apply(&queued(), &first, at(20)).unwrap();
    assert_eq!((started.version_number, started.started_at(), started.last_updated_at), (2, Some(at(20)), at(20)));
    assert_eq!(started.status_details, details(&[("a", "1")]));
    let second = Event::StartNext { status_details: Some(details(&[("b", "2")])), step_timeout: None };
    assert_eq!(apply(&started, &second, at(30)).unwrap(), started);
    let with_timer =
        Event::StartNext { status_details: None, step_timeout: Some(StepTimeout::After(Duration::from_secs(60))) };
    let timed = apply(&started, &with_timer, at(30)).unwrap();
    assert_eq!((timed.version_number, timed.times_out_at()), (2, Some(at(90))));
}

#[test]
fn details_stay_until_new_ones_replace_them_all() {
    let with = |pairs: &[(&str, &str)]| {
        Event::Update(Update { status_details: Some(details(pairs)), ..report(JobStatus::InProgress) })
    };
    let first = apply(&queued(), &with(&[("a", "1"), ("b", "2")]), at(20)).unwrap();
    let kept = apply(&first, &update(JobStatus::InProgress), at(30)).unwrap();
    assert_eq!(kept.status_details, details(&[("a", "1"), ("b", "2")]));
    assert_eq!((kept.version_number, kept.started_at(), kept.last_updated_at), (3, Some(at(20)), at(30)));
    let replaced = apply(&kept, &with(&[("c", "3")]), at(40)).unwrap();
    assert_eq!(replaced.status_details, details(&[("c", "3")]));
    let cleared = apply(&replaced, &with(&[]), at(50)).unwrap();
    assert_eq!(cleared.status_details, details(&[]));
}

/// AWS's own example: 20 minutes for the execution from 12:00; steps of 7, 5 and 9 minutes.
#[test]
fn step_timers_end_where_the_guide_says() {
    let execution = Execution::queued(job("j"), 1, Some(Duration::from_secs(20 * 60)), minute(-5));
    let mut execution = apply(&execution, &start(), minute(0)).unwrap();
    assert_eq!(execution.times_out_at(), Some(minute(20)));
    for (now, step, ends) in [(5, 7, 12), (10, 5, 15), (13, 9, 20)] {
        let step_timeout = Some(StepTimeout::from_minutes(step).unwrap());
        let event = Event::Update(Update { step_timeout, ..report(JobStatus::InProgress) });
        execution = apply(&execution, &event, minute(now)).unwrap();
        assert_eq!(execution.times_out_at(), Some(minute(ends)), "step of {step} at 12:{now:02}");
    }
    let unchanged = apply(&execution, &update(JobStatus::InProgress), minute(14)).unwrap();
    assert_eq!(unchanged.times_out_at(), Some(minute(20)));
    let off = Event::Update(Update { step_timeout: Some(StepTimeout::Off), ..report(JobStatus::InProgress) });
    let off = apply(&unchanged, &off, minute(14)).unwrap();
    assert!(matches!(off.state, State::InProgress { step_deadline: None, deadline: Some(_), .. }));
    assert_eq!(off.on_wire(None, None, minute(14)).approximate_seconds_before_timed_out, Some(360));
    assert_eq!(off.on_wire(None, None, minute(30)).approximate_seconds_before_timed_out, Some(0));
}

#[test]
fn a_timeout_counts_only_once_the_timer_has_run_out() {
    let limited = Execution::queued(job("j"), 1, Some(Duration::from_secs(60)), at(0));
    let running = apply(&limited, &start(), at(100)).unwrap();
    let early = apply(&running, &Event::Timeout, at(159)).unwrap_err();
    assert_eq!(early.code, JobErrorCode::InvalidStateTransition);
    let over = apply(&running, &Event::Timeout, at(160)).unwrap();
    assert_eq!((over.status(), over.version_number, over.times_out_at()), (JobStatus::TimedOut, 3, None));
    assert_eq!(over.started_at(), Some(at(100)));
}

#[test]
fn refusals_say_why_and_how_the_execution_stands() {
    let stale = Event::Update(Update { expected_version: Some(99), ..report(JobStatus::Succeeded) });
    let refusal = apply(&queued(), &stale, at(30)).unwrap_err();
    assert_eq!(refusal.message, "Expected version 99 but found version 1");
    assert_eq!(
        serde_json::to_value(refusal.rejected(Some("t".into()), at(30))).unwrap(),
        json!({"code": "VersionMismatch", "message": "Expected version 99 but found version 1", "timestamp": 30,
               "clientToken": "t", "executionState": {"status": "QUEUED", "versionNumber": 1}})
    );
    // A late repetition after the end learns that it is over, not that its version is old.
    let refusal = apply(&finished(Outcome::Succeeded), &stale, at(30)).unwrap_err();
    assert_eq!(refusal.message, "Cannot move from SUCCEEDED to SUCCEEDED");
    assert_eq!(
        serde_json::to_value(refusal.rejected(None, at(30))).unwrap(),
        json!({"code": "InvalidStateTransition", "message": "Cannot move from SUCCEEDED to SUCCEEDED", "timestamp": 30,
               "executionState": {"status": "SUCCEEDED", "versionNumber": 2}})
    );
    let other_try = Event::Update(Update { execution_number: Some(2), ..report(JobStatus::Failed) });
    for execution in [queued(), running(), finished(Outcome::Failed)] {
        let refusal = apply(&execution, &other_try, at(30)).unwrap_err();
        assert_eq!((refusal.code, refusal.execution_state), (JobErrorCode::ResourceNotFound, None));
    }
    let unsettable = apply(&running(), &update(JobStatus::Canceled), at(30)).unwrap_err();
    assert_eq!(unsettable.message, "A device cannot set CANCELED; use IN_PROGRESS, SUCCEEDED, FAILED or REJECTED");
    assert_eq!(unsettable.execution_state, None);
    assert_eq!(Refusal::terminal(&finished(Outcome::Failed)).message, "The execution of job j is over: FAILED");
}

#[test]
fn an_update_of_an_earlier_try_is_told_that_it_is_over() {
    let first = Execution { status_details: details(&[("a", "1")]), ..finished(Outcome::Failed) };
    let second = first.again(None, at(30));
    let of_try = |number, status| {
        let update = Update { execution_number: Some(number), expected_version: Some(99), ..report(status) };
        apply(&second, &Event::Update(update), at(40)).unwrap_err()
    };
    let refusal = of_try(1, JobStatus::Succeeded);
    assert_eq!(
        (refusal.code, refusal.message.as_str()),
        (JobErrorCode::InvalidStateTransition, "Cannot move from FAILED to SUCCEEDED")
    );
    assert_eq!(refusal.execution_state, Some(first.wire_state()));
    assert_eq!(of_try(1, JobStatus::Canceled).code, JobErrorCode::InvalidRequest);
    assert_eq!(of_try(3, JobStatus::Succeeded).code, JobErrorCode::ResourceNotFound);
    assert_eq!((first.earlier_try(1), second.earlier_try(1), second.earlier_try(2)), (None, Some(first), None));
}

#[test]
fn the_right_expected_version_and_number_pass() {
    let event = Update { expected_version: Some(2), execution_number: Some(1), ..report(JobStatus::Succeeded) };
    assert_eq!(apply(&running(), &Event::Update(event), at(30)).unwrap().status(), JobStatus::Succeeded);
}

#[test]
fn events_are_made_only_of_good_requests() {
    let with = |status_details: Value, minutes: Value| {
        let payload =
            json!({"status": "IN_PROGRESS", "statusDetails": status_details, "stepTimeoutInMinutes": minutes});
        let payload = payload.to_string();
        let request: UpdateRequest = parse(payload.as_bytes(), Encoding::Json).unwrap();
        let start: StartNextRequest = parse(payload.as_bytes(), Encoding::Json).unwrap();
        let (update, start) = (Event::try_from(request).map(drop), Event::try_from(start).map(drop));
        assert_eq!(update, start);
        update.map_err(|refusal| (refusal.code, refusal.message))
    };
    let many = |count: usize| (0..count).map(|n| (format!("k{n}"), json!("v"))).collect::<Value>();
    let good = [
        (many(10), json!(1)),
        (json!({"A:z_0-9": "é ".repeat(341)}), json!(10_080)),
        (json!({"k".repeat(128): "v".repeat(1024)}), json!(-1)),
        (json!({"k": "\u{1f600}".repeat(1024)}), json!(-1)),
        (json!({}), Value::Null),
    ];
    for (status_details, minutes) in good {
        assert_eq!(with(status_details, minutes), Ok(()));
    }
    let bad_key = "statusDetails has a bad key; use 1 to 128 of A-Z a-z 0-9 : _ -";
    let bad_value = "statusDetails.k is not usable; use 1 to 1024 characters, none of them a control character";
    let bad_step = |minutes: i64| format!("stepTimeoutInMinutes is {minutes}; use 1 to 10080, or -1 to stop the timer");
    let bad = [
        (many(11), Value::Null, "statusDetails has 11 entries; at most 10 are allowed".to_owned()),
        (json!({"": "v"}), Value::Null, bad_key.to_owned()),
        (json!({"a.b": "v"}), Value::Null, bad_key.to_owned()),
        (json!({"k".repeat(129): "v"}), Value::Null, bad_key.to_owned()),
        (json!({"k": ""}), Value::Null, bad_value.to_owned()),
        (json!({"k": "a\nb"}), Value::Null, bad_value.to_owned()),
        (json!({"k": "v".repeat(1025)}), Value::Null, bad_value.to_owned()),
        (json!({"k": "\u{e9}".repeat(1025)}), Value::Null, bad_value.to_owned()),
        (json!({}), json!(0), bad_step(0)),
        (json!({}), json!(-2), bad_step(-2)),
        (json!({}), json!(10_081), bad_step(10_081)),
        (json!({}), json!(i64::MAX), bad_step(i64::MAX)),
        (json!({}), json!(i64::MIN), bad_step(i64::MIN)),
    ];
    for (status_details, minutes, message) in bad {
        assert_eq!(with(status_details, minutes), Err((JobErrorCode::InvalidRequest, message)));
    }
}

#[test]
fn requests_are_read_or_refused_by_their_fault() {
    use JobErrorCode::{InvalidJson, InvalidRequest};
    let code = |payload: &[u8]| {
        parse::<UpdateRequest>(payload, Encoding::of(payload)).map(|request| request.status).map_err(|e| e.code)
    };
    assert_eq!(parse::<GetPendingRequest>(b"", Encoding::Json), Ok(GetPendingRequest::default()));
    assert_eq!(parse::<DescribeRequest>(b"{\"other\":1}", Encoding::Json), Ok(DescribeRequest::default()));
    let cases: [(&[u8], _); 11] = [
        (br#"{"status":"FAILED","expectedVersion":"3"}"#, Ok(JobStatus::Failed)),
        (b"", Err(InvalidRequest)),
        (b"{}", Err(InvalidRequest)),
        (br#"{"status":"DONE"}"#, Err(InvalidRequest)),
        (br#"{"status":3}"#, Err(InvalidRequest)),
        (br#"{"status":"FAILED","statusDetails":{"a":1}}"#, Err(InvalidRequest)),
        (br#"{"status":"FAILED","clientToken":1}"#, Err(InvalidRequest)),
        (b"{", Err(InvalidJson)),
        (b"[]", Err(InvalidJson)),
        (b"\"\xff\"", Err(InvalidJson)),
        (&[0xa1], Err(InvalidJson)),
    ];
    for (payload, expected) in cases {
        assert_eq!(code(payload), expected, "{:?}", String::from_utf8_lossy(payload));
    }
    let long = json!({"status": "FAILED", "clientToken": "x".repeat(65)}).to_string();
    assert_eq!(code(long.as_bytes()), Err(InvalidRequest));
    let words =
        |request: Value| parse::<UpdateRequest>(request.to_string().as_bytes(), Encoding::Json).unwrap_err().message;
    let status = "IN_PROGRESS, SUCCEEDED, FAILED or REJECTED";
    assert_eq!(words(json!({})), format!("status is missing; it must be {status}"));
    assert_eq!(words(json!({"status": null})), format!("status is missing; it must be {status}"));
    assert_eq!(words(json!({"status": "x".repeat(100_000)})), format!("status must be {status}"));
    for (field, wrong, must) in [
        ("clientToken", json!(1), "a text"),
        ("statusDetails", json!({"a": 1}), "an object of texts"),
        ("expectedVersion", json!("NOPE"), "a whole number, 0 or more, or such a number as a text"),
        ("expectedVersion", json!(1.5), "a whole number, 0 or more, or such a number as a text"),
        ("executionNumber", json!(-1), "a whole number, 0 or more"),
        ("stepTimeoutInMinutes", json!("7"), "a whole number"),
        ("includeJobExecutionState", json!(1), "true or false"),
        ("includeJobDocument", json!("true"), "true or false"),
    ] {
        let mut request = json!({"status": "FAILED"});
        request[field] = wrong;
        assert_eq!(words(request), format!("{field} must be {must}"));
    }
    let cbor = Encoding::Cbor.encode(&json!({"status": "REJECTED"}));
    assert_eq!(code(&cbor), Ok(JobStatus::Rejected));
    // {"status": "FAILED", "executionNumber": Infinity}: not as if it were null.
    let infinite = parse::<UpdateRequest>(b"\xa2\x66status\x66FAILED\x6fexecutionNumber\xf9\x7c\0", Encoding::Cbor);
    assert_eq!(infinite, Err(Refusal::invalid_json("A number of the payload is infinite or not a number")));
}

#[test]
fn a_wrong_request_still_gets_its_token_back() {
    let of = |payload: &[u8]| client_token_of(payload, Encoding::of(payload));
    let wrong = json!({"status": "DONE", "clientToken": "t"});
    assert_eq!(of(wrong.to_string().as_bytes()), Some("t".to_owned()));
    assert_eq!(of(&Encoding::Cbor.encode(&wrong)), Some("t".to_owned()));
    let deep = format!(r#"{{"statusDetails":{}1{},"clientToken":"t"}}"#, "[".repeat(200), "]".repeat(200));
    assert_eq!(of(deep.as_bytes()), Some("t".to_owned()));
    let long = json!({"clientToken": "x".repeat(65)}).to_string();
    for payload in ["", "{", "[]", "{}", "\"clientToken\"", r#"{"clientToken":1}"#, &long] {
        assert_eq!(of(payload.as_bytes()), None, "{payload}");
    }
}

fn waiting(id: &str, queued_at: i64) -> Execution {
    Execution::queued(job(id), 1, None, at(queued_at))
}

fn ids(executions: &[&Execution]) -> Vec<String> {
    executions.iter().map(|execution| execution.job_id.to_string()).collect()
}

#[test]
fn the_queue_has_what_is_in_progress_first_then_the_oldest() {
    let over = finished(Outcome::Failed);
    let late_but_started = apply(&waiting("s", 9), &start(), at(9)).unwrap();
    let all = [waiting("b", 2), over, waiting("a", 2), waiting("c", 1), late_but_started];
    assert_eq!(ids(&pending(&all)), ["s", "c", "a", "b"]);
    assert_eq!(next(&all), pending(&all).first().copied());
    assert_eq!(next(&[finished(Outcome::Removed)]), None);
}

#[track_caller]
fn check_notices(before: &[(&str, JobStatus)], after: &[(&str, JobStatus)], notify: bool, notify_next: bool) {
    let lines = |queue: &[(&str, JobStatus)]| -> Vec<PendingJob> {
        let line = |id: &str, status: JobStatus| {
            let (id, number) = id.split_once('#').unwrap_or((id, "1"));
            PendingJob { job_id: job(id), execution_number: number.parse().unwrap(), status }
        };
        queue.iter().map(|(id, status)| line(id, *status)).collect()
    };
    assert_eq!(notices(&lines(before), &lines(after)), Notices { notify, notify_next }, "{before:?} to {after:?}");
}

#[test]
fn a_thing_is_told_what_the_event_table_says() {
    use JobStatus::{InProgress, Queued};
    let (a, b, c) = (("a", Queued), ("b", Queued), ("c", Queued));
    let (a_runs, b_runs) = (("a", InProgress), ("b", InProgress));
    // A job is queued, the list was empty.
    check_notices(&[], &[a], true, true);
    // A job is queued behind others.
    check_notices(&[a], &[a, b], true, false);
    check_notices(&[a_runs], &[a_runs, b], true, false);
    // The head starts.
    check_notices(&[a], &[a_runs], false, false);
    check_notices(&[a, b], &[a_runs, b], false, false);
    // Another than the head starts and becomes the head.
    check_notices(&[a, b], &[b_runs, a], false, true);
    // Another than the head starts and stays behind.
    check_notices(&[a_runs, b], &[a_runs, b_runs], false, false);
    // Details only.
    check_notices(&[a_runs, b], &[a_runs, b], false, false);
    check_notices(&[], &[], false, false);
    // The head ends or is called off.
    check_notices(&[a_runs], &[], true, true);
    check_notices(&[a_runs, b], &[b], true, true);
    check_notices(&[a, b], &[b], true, true);
    // Another than the head ends or is called off.
    check_notices(&[a_runs, b, c], &[a_runs, c], true, false);
    check_notices(&[a_runs, b_runs], &[a_runs], true, false);
    // One goes, another comes, in one change.
    check_notices(&[a, b], &[a, c], true, false);
    check_notices(&[a], &[b], true, true);
    // A new try of the same job, started before or not.
    check_notices(&[a_runs], &[("a#2", Queued)], true, true);
    check_notices(&[a], &[("a#2", Queued)], true, true);
    check_notices(&[a, b], &[a, ("b#2", Queued)], true, false);
    check_notices(&[a, b], &[b, ("a#2", Queued)], true, true);
}

#[test]
fn payloads_are_those_of_the_transcripts() {
    let running = running();
    let waiting: Vec<Execution> = (0..12).map(|n| waiting(&format!("w{n:02}"), 100 + n)).collect();
    let all: Vec<Execution> = std::iter::once(running.clone()).chain(waiting).collect();
    let queue = pending(&all);
    let line = json!({"jobId": "j", "queuedAt": 10, "startedAt": 20, "lastUpdatedAt": 20, "versionNumber": 2,
                      "executionNumber": 1});

    let told = serde_json::to_value(notify(&queue, at(50))).unwrap();
    assert_eq!(told["timestamp"], 50);
    assert_eq!(told["jobs"]["IN_PROGRESS"], json!([line]));
    assert_eq!(told["jobs"]["QUEUED"].as_array().unwrap().len(), 9);
    assert_eq!(serde_json::to_value(notify(&[], at(50))).unwrap(), json!({"timestamp": 50, "jobs": {}}));

    let listed = serde_json::to_value(pending_lists(&queue, Some("t".into()), at(50))).unwrap();
    assert_eq!((&listed["inProgressJobs"], &listed["clientToken"]), (&json!([line]), &json!("t")));
    assert_eq!(listed["queuedJobs"].as_array().unwrap().len(), 12);
    assert_eq!(
        serde_json::to_value(pending_lists(&[], None, at(50))).unwrap(),
        json!({"inProgressJobs": [], "queuedJobs": [], "timestamp": 50})
    );

    let document = json!({"operation": "upgrade"}).as_object().unwrap().clone();
    assert_eq!(
        serde_json::to_value(notify_next(Some((&running, &document)), at(50))).unwrap(),
        json!({"timestamp": 50, "execution": {"jobId": "j", "jobDocument": {"operation": "upgrade"},
               "status": "IN_PROGRESS", "queuedAt": 10, "startedAt": 20, "lastUpdatedAt": 20, "versionNumber": 2,
               "executionNumber": 1}})
    );
    assert_eq!(serde_json::to_value(notify_next(None, at(50))).unwrap(), json!({"timestamp": 50}));
}

#[test]
fn the_longest_list_fits_a_message() {
    let all: Vec<Execution> = (0..1000)
        .map(|n| Execution {
            execution_number: u64::MAX,
            version_number: u64::MAX,
            queued_at: Timestamp::from_millis(i64::MIN),
            last_updated_at: Timestamp::from_millis(i64::MIN),
            state: State::InProgress {
                started_at: Timestamp::from_millis(i64::MIN),
                deadline: None,
                step_deadline: None,
            },
            ..waiting(&format!("{n:064}"), 0)
        })
        .collect();
    let lists = pending_lists(&pending(&all), Some("x".repeat(64)), at(0));
    assert!(Encoding::Json.encode(&lists).len() < muster_wire::limits::PAYLOAD_BYTES_MAX);
    assert_eq!(lists.in_progress_jobs.len(), 256);
}

#[test]
fn what_was_stored_stays_readable() {
    let stored = r#"{"V1":{"job_id":"j","execution_number":1,"version_number":2,"queued_at":10000,"last_updated_at":20000,"status_details":{"a":"1"},"state":{"in_progress":{"started_at":20000,"deadline":80000}}}}"#;
    let execution: Execution = serde_json::from_str::<StoredExecution>(stored).unwrap().into();
    assert_eq!((execution.status(), execution.times_out_at()), (JobStatus::InProgress, Some(at(80))));
    assert_eq!(serde_json::to_string(&StoredExecution::from(execution)).unwrap(), stored);
}
