//! Random courses of whole jobs: operators, devices and time against the planner, with a plain list of things beside it.
#![allow(clippy::unwrap_used)]

use super::{
    Event, Execution, Facts, Phase, Rules, Run, Step, Tally, Update, abort_reached, apply, plan, retry_allows,
};
use muster_wire::id::JobId;
use muster_wire::job::{
    AbortAction, AbortConfig, AbortCriteria, ExponentialRate, FailureType, JobConfig, JobStatus, RateIncreaseCriteria,
    RetryConfig, RetryCriteria, RolloutConfig, SchedulingConfig, TargetSelection, TimeoutConfig, WholeJobStatus,
};
use muster_wire::time::Timestamp;
use proptest::prelude::*;
use std::time::Duration;

/// What happens to the fleet.
#[derive(Clone, Debug)]
enum Happening {
    Wait(u64),
    Start(usize),
    Report(usize, JobStatus),
    Cancel(bool),
    Leave(usize),
    Restart,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => (1u64..90).prop_map(Happening::Wait),
        4 => (0usize..40).prop_map(Happening::Start),
        6 => (0usize..40, prop::sample::select(vec![
            JobStatus::Succeeded, JobStatus::Failed, JobStatus::Failed, JobStatus::Rejected, JobStatus::InProgress,
        ])).prop_map(|(at, status)| Happening::Report(at, status)),
        1 => any::<bool>().prop_map(Happening::Cancel),
        1 => (0usize..40).prop_map(Happening::Leave),
        1 => Just(Happening::Restart),
    ]
}

fn config() -> impl Strategy<Value = JobConfig> {
    let growth = (1u32..6, prop::sample::select(vec![1.1, 1.5, 2.0]), 1u32..6, any::<bool>()).prop_map(
        |(base, factor, each, notified)| ExponentialRate {
            base_rate_per_minute: base,
            increment_factor: factor,
            rate_increase_criteria: RateIncreaseCriteria {
                number_of_notified_things: notified.then_some(each),
                number_of_succeeded_things: (!notified).then_some(each),
            },
        },
    );
    let rollout = (prop::option::of(1u32..8), prop::option::of(growth))
        .prop_map(|(maximum_per_minute, exponential_rate)| RolloutConfig { maximum_per_minute, exponential_rate });
    let kinds = vec![FailureType::Failed, FailureType::Rejected, FailureType::TimedOut, FailureType::All];
    let abort =
        (prop::sample::select(kinds), 1u32..=100, 1u32..10).prop_map(|(failure_type, percentage, min)| AbortConfig {
            criteria_list: vec![AbortCriteria {
                failure_type,
                action: AbortAction::Cancel,
                threshold_percentage: f64::from(percentage),
                min_number_of_executed_things: min,
            }],
        });
    let retry = (prop::sample::select(vec![FailureType::Failed, FailureType::TimedOut, FailureType::All]), 0u32..4)
        .prop_map(|(failure_type, number_of_retries)| RetryConfig {
            criteria_list: vec![RetryCriteria { failure_type, number_of_retries }],
        });
    let end = prop::option::weighted(0.3, 1i64..600).prop_map(|end| {
        end.map(|end| SchedulingConfig {
            end_time: Some(Timestamp::from_seconds(end).to_string()),
            ..SchedulingConfig::default()
        })
    });
    (
        any::<bool>(),
        prop::option::of(rollout),
        prop::option::of(abort),
        prop::option::of(1u32..4),
        prop::option::of(retry),
        end,
    )
        .prop_map(|(continuous, rollout, abort_config, timeout, retry, scheduling_config)| JobConfig {
            target_selection: if continuous { TargetSelection::Continuous } else { TargetSelection::Snapshot },
            job_executions_rollout_config: rollout,
            abort_config,
            timeout_config: timeout.map(|minutes| TimeoutConfig { in_progress_timeout_in_minutes: minutes }),
            job_executions_retry_config: retry,
            scheduling_config,
        })
}

/// The fleet as a list: what the services do, without storage.
struct World {
    rules: Rules,
    run: Run,
    things: Vec<Option<Execution>>,
    now: Timestamp,
    /// When each thing was told, and at which rate.
    told: Vec<(Timestamp, Option<u64>)>,
}

impl World {
    fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for execution in self.things.iter().flatten() {
            tally.shift(None, Some(execution.status()));
        }
        tally
    }

    /// Changes one execution, with a retry where the job wants one.
    fn put(&mut self, at: usize, after: Execution) {
        let rolling = matches!(self.run.phase, Phase::Rolling | Phase::Stopped);
        let again = rolling && retry_allows(&self.rules.retry, &after);
        self.things[at] = Some(if again { after.again(self.rules.time_limit, self.now) } else { after });
    }

    fn event(&mut self, at: usize, event: &Event) {
        let Some(Some(before)) = self.things.get(at) else { return };
        if let Ok(after) = apply(before, event, self.now) {
            self.put(at, after);
        }
    }

    /// Lets the job do what it does until it waits.
    fn settle(&mut self) {
        for _ in 0..1000 {
            for at in 0..self.things.len() {
                let due = self.things[at].as_ref().and_then(Execution::times_out_at);
                if due.is_some_and(|due| due <= self.now) {
                    self.event(at, &Event::Timeout);
                }
                if let Phase::Canceling { force } | Phase::Canceled { force } = self.run.phase {
                    self.event(at, &Event::Cancel { force });
                }
            }
            let tally = self.tally();
            let facts =
                Facts { rules: &self.rules, things: self.things.len() as u64, tally: &tally, room: 7, settled: true };
            let Some(step) = plan(&self.run, &facts, self.now).step else { return };
            if let Step::Release { things, pace } = &step {
                let from = usize::try_from(self.run.released).unwrap();
                for at in from..from + usize::try_from(*things).unwrap() {
                    assert!(self.things[at].is_none(), "thing {at} is told twice");
                    let job = JobId::new("j").unwrap();
                    self.things[at] = Some(Execution::queued(job, 1, self.rules.time_limit, self.now));
                    self.told.push((self.now, pace.map(|pace| pace.per_minute)));
                }
            }
            if let Step::Cancel { reason_code, .. } = &step
                && reason_code == "ABORTED"
            {
                assert!(abort_is_due(&self.rules, &tally), "given up although no criterion is reached: {tally:?}");
            }
            self.run = self.run.after(&step, &tally, self.now);
        }
        panic!("the job never rests: {:?}", self.run);
    }
}

/// The criterion in fractions, from the definition.
fn abort_is_due(rules: &Rules, tally: &Tally) -> bool {
    rules.abort.iter().any(|criterion| {
        let ended: u64 = Tally::STATUSES
            .into_iter()
            .filter(|status| match criterion.failure_type {
                FailureType::Failed => *status == JobStatus::Failed,
                FailureType::Rejected => *status == JobStatus::Rejected,
                FailureType::TimedOut => *status == JobStatus::TimedOut,
                FailureType::All => matches!(status, JobStatus::Failed | JobStatus::Rejected | JobStatus::TimedOut),
            })
            .map(|status| tally.of(status))
            .sum();
        let told = tally.total();
        told >= u64::from(criterion.min_number_of_executed_things)
            && ended > 0
            && ended as f64 / told as f64 >= criterion.threshold_percentage / 100.0 - 1e-12
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn every_course_keeps_the_rules(
        config in config(),
        count in 1usize..40,
        happenings in prop::collection::vec(happening(), 1..60),
    ) {
        let rules = Rules::try_from(&config).unwrap();
        let now = Timestamp::from_seconds(0);
        let mut world = World { rules, run: Run::new(now), things: vec![None; count], now, told: Vec::new() };
        world.settle();
        for happening in happenings {
            let before = world.run.clone();
            let told_before = world.told.len();
            match happening {
                Happening::Wait(seconds) => world.now = world.now.plus(Duration::from_secs(seconds)),
                Happening::Start(at) => world.event(at, &Event::StartNext { status_details: None, step_timeout: None }),
                Happening::Report(at, status) => {
                    let update = Update { status, status_details: None, expected_version: None, execution_number: None, step_timeout: None };
                    world.event(at, &Event::Update(update));
                }
                Happening::Cancel(force) if world.run.status() == WholeJobStatus::InProgress => {
                    let step = Step::Cancel { force, reason_code: String::new(), comment: String::new() };
                    world.run = world.run.after(&step, &world.tally(), world.now);
                }
                Happening::Cancel(_) => {}
                Happening::Leave(at) => world.event(at, &Event::Remove),
                // What is stored is all there is.
                Happening::Restart => {
                    let text = serde_json::to_string(&world.run).unwrap();
                    world.run = serde_json::from_str(&text).unwrap();
                }
            }
            world.settle();
            let (run, tally) = (&world.run, world.tally());

            // Never more than the rate in any minute.
            for (at, _) in &world.told {
                let minute: Vec<_> = world.told.iter().filter(|(other, _)| other >= at && *other < at.plus(Duration::from_secs(60))).collect();
                let rate = minute.iter().filter_map(|(_, rate)| *rate).max();
                prop_assert!(rate.is_none_or(|rate| minute.len() as u64 <= rate), "{} in a minute of {rate:?}", minute.len());
            }
            // Counters add up: everything that was told has exactly one execution.
            prop_assert_eq!(tally.total(), run.released);
            prop_assert_eq!(tally.total(), world.told.len() as u64);
            // What is over stays over, and tells nobody any more.
            if matches!(before.status(), WholeJobStatus::Canceled | WholeJobStatus::Completed) {
                prop_assert_eq!(run.status(), before.status());
                prop_assert_eq!(world.told.len(), told_before);
                prop_assert_eq!(tally.of(JobStatus::Queued), 0);
            }
            if let Some(closed) = &before.closed {
                prop_assert_eq!(run.closed.as_ref(), Some(closed));
                prop_assert_eq!(&tally, closed);
            }
            // Given up exactly when the threshold says.
            if run.status() == WholeJobStatus::InProgress {
                prop_assert!(!abort_is_due(&world.rules, &tally), "goes on although a criterion is reached: {tally:?}");
                prop_assert!(abort_reached(&world.rules.abort, &tally).is_none());
            }
            // Retries are never more than the criteria allow, and tries are numbered without a gap.
            for execution in world.things.iter().flatten() {
                let most: u32 = world.rules.retry.iter().map(|criterion| criterion.number_of_retries).sum();
                prop_assert!(execution.earlier.len() <= most as usize);
                let numbers: Vec<u64> = execution.tries().iter().map(|one| one.execution_number).collect();
                prop_assert_eq!(numbers, (1..=execution.execution_number).collect::<Vec<_>>());
            }
            // A job that rests is done or waits for somebody.
            if run.status() == WholeJobStatus::InProgress && !world.rules.continuous && run.released == count as u64 {
                prop_assert!(tally.waiting() > 0);
            }
        }
    }
}
