//! Random histories of an execution.
#![allow(clippy::unwrap_used)]

use super::{
    Event, Execution, Notices, PendingJob, State, StepTimeout, StoredExecution, Update, apply, notices, pending,
};
use muster_wire::codec::Encoding;
use muster_wire::id::JobId;
use muster_wire::job::{JobErrorCode, JobStatus, StatusDetails};
use muster_wire::time::Timestamp;
use proptest::prelude::*;
use std::time::Duration;

fn status() -> impl Strategy<Value = JobStatus> {
    prop_oneof![
        8 => Just(JobStatus::InProgress),
        1 => prop::sample::select(vec![
            JobStatus::Queued, JobStatus::Succeeded, JobStatus::Failed, JobStatus::TimedOut, JobStatus::Rejected,
            JobStatus::Removed, JobStatus::Canceled,
        ]),
    ]
}

fn details() -> impl Strategy<Value = Option<StatusDetails>> {
    prop::option::of(prop::collection::btree_map("[a-c]", "[x-z]", 0..3))
}

fn step() -> impl Strategy<Value = Option<StepTimeout>> {
    prop::option::of(prop_oneof![
        Just(StepTimeout::Off),
        (1u64..100).prop_map(|seconds| StepTimeout::After(Duration::from_secs(seconds))),
    ])
}

fn event() -> impl Strategy<Value = Event> {
    let update =
        (status(), details(), prop::option::weighted(0.2, 1u64..6), prop::option::weighted(0.1, 1u64..3), step());
    prop_oneof![
        3 => (details(), step()).prop_map(|(status_details, step_timeout)| Event::StartNext { status_details, step_timeout }),
        6 => update.prop_map(|(status, status_details, expected_version, execution_number, step_timeout)| {
            Event::Update(Update { status, status_details, expected_version, execution_number, step_timeout })
        }),
        3 => Just(Event::Timeout),
        1 => Just(Event::Cancel { force: true }),
        2 => Just(Event::Cancel { force: false }),
        1 => Just(Event::Remove),
    ]
}

fn queued(limit: Option<u64>) -> Execution {
    Execution::queued(JobId::new("j").unwrap(), 1, limit.map(Duration::from_secs), Timestamp::from_seconds(0))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn every_history_keeps_the_rules(
        limit in prop::option::of(1u64..300),
        events in prop::collection::vec((event(), 0i64..40), 1..20),
    ) {
        let (mut execution, mut seconds) = (queued(limit), 0);
        for (event, wait) in events {
            seconds += wait;
            let now = Timestamp::from_seconds(seconds);
            let before = execution.clone();
            match apply(&before, &event, now) {
                Ok(after) => {
                    prop_assert!(!before.status().is_terminal(), "{before:?} was left by {event:?}");
                    let restarted = before.status() == JobStatus::InProgress && matches!(event, Event::StartNext { .. });
                    prop_assert_eq!(after.version_number, before.version_number + u64::from(!restarted));
                    if !restarted {
                        prop_assert_eq!(after.last_updated_at, now);
                    }
                    prop_assert_eq!(
                        (&after.job_id, after.execution_number, after.queued_at),
                        (&before.job_id, before.execution_number, before.queued_at)
                    );
                    if before.started_at().is_some() {
                        prop_assert_eq!(after.started_at(), before.started_at());
                    }
                    if let Event::Timeout = event {
                        prop_assert!(before.times_out_at().unwrap() <= now);
                    }
                    if let Event::Update(Update { expected_version: Some(expected), .. }) = event {
                        prop_assert_eq!(expected, before.version_number);
                    }
                    execution = after;
                }
                Err(refusal) => {
                    let carries_state =
                        matches!(refusal.code, JobErrorCode::InvalidStateTransition | JobErrorCode::VersionMismatch);
                    prop_assert_eq!(refusal.execution_state.is_some(), carries_state);
                }
            }
            if let State::InProgress { started_at, deadline, step_deadline } = &execution.state {
                prop_assert_eq!(*deadline, limit.map(|limit| started_at.plus(Duration::from_secs(limit))));
                if let (Some(deadline), Some(step)) = (deadline, step_deadline) {
                    prop_assert!(step <= deadline);
                }
            }
            prop_assert!(execution.times_out_at().is_none() || execution.status() == JobStatus::InProgress);
            for encoding in [Encoding::Json, Encoding::Cbor] {
                let stored = encoding.encode(&StoredExecution::from(execution.clone()));
                prop_assert_eq!(Execution::from(encoding.decode::<StoredExecution>(&stored).unwrap()), execution.clone());
            }
        }
    }

    /// A client that keeps what the notices tell it always knows which tries of which jobs wait, and which is next.
    #[test]
    fn notices_are_enough_to_follow_the_queue(
        events in prop::collection::vec((0usize..4, event(), 0i64..40, any::<bool>()), 1..30),
    ) {
        let mut all: Vec<Execution> = Vec::new();
        let (mut known, mut known_next): (Vec<String>, Option<String>) = (Vec::new(), None);
        let mut seconds = 0;
        for (which, event, wait, retries) in events {
            seconds += wait;
            let now = Timestamp::from_seconds(seconds);
            let before: Vec<PendingJob> = pending(&all).into_iter().map(PendingJob::from).collect();
            match all.get(which) {
                Some(execution) => if let Ok(after) = apply(execution, &event, now) {
                    all[which] = if retries { after.again(Some(Duration::from_secs(60)), now) } else { after };
                },
                None => all.push(Execution::queued(JobId::new(format!("j{}", all.len())).unwrap(), 1, Some(Duration::from_secs(60)), now)),
            }
            let after: Vec<PendingJob> = pending(&all).into_iter().map(PendingJob::from).collect();
            let Notices { notify, notify_next } = notices(&before, &after);
            let mut waiting: Vec<String> = after.iter().map(|line| format!("{}#{}", line.job_id, line.execution_number)).collect();
            let head = waiting.first().cloned();
            waiting.sort();
            if notify {
                prop_assert_ne!(&known, &waiting, "a notice without news");
                known.clone_from(&waiting);
            }
            if notify_next {
                prop_assert_ne!(&known_next, &head, "a notice without news");
                known_next.clone_from(&head);
            }
            prop_assert_eq!(&known, &waiting);
            prop_assert_eq!(&known_next, &head);
        }
    }
}
