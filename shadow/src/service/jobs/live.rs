//! The jobs that are not over, as the workers of things see them, and the wish that the fleet's worker looks at one.
//!
//! The fleet's worker publishes a [`LiveJob`] after each commit that changes it. Workers of things read it, and count in
//! it what became of their executions: counts are only in memory and are made anew from the executions at each start.

use crate::records::Job;
use muster_bus::{EmbeddedBus, Inbound, Requests, Submitted};
use muster_model::job::{Execution, Gate, Phase, Rules, Tally};
use muster_model::select::{Facts, selects};
use muster_wire::admin::Selector;
use muster_wire::id::{JobId, ThingName};
use muster_wire::job::{JobDocument, JobStatus};
use muster_wire::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The live jobs by id.
pub(in crate::service) type LiveJobs = BTreeMap<JobId, Arc<LiveJob>>;

/// A job that is not over.
pub(in crate::service) struct LiveJob {
    pub(in crate::service) id: JobId,
    /// What the things shall do; here because every one of them is told, and a record is slow to read.
    pub(in crate::service) document: Arc<JobDocument>,
    pub(in crate::service) rules: Rules,
    pub(in crate::service) phase: Phase,
    pub(in crate::service) targets: Vec<ThingName>,
    pub(in crate::service) groups: Vec<Selector>,
    /// Of a continuous job: its members at creation, sorted. The others do not need them here.
    pub(in crate::service) initial: Arc<[ThingName]>,
    /// How many of these were told.
    pub(in crate::service) released: u64,
    /// How many things were named later and are not yet known to have heard.
    pub(in crate::service) late: u64,
    pub(in crate::service) counts: Arc<Counts>,
}

impl LiveJob {
    /// A job as it stands in the store.
    pub(in crate::service) fn new(
        job: &Job,
        document: Arc<JobDocument>,
        rules: Rules,
        phase: Phase,
        released: u64,
        counts: Arc<Counts>,
    ) -> Self {
        Self {
            id: job.id.clone(),
            document,
            rules,
            phase,
            targets: job.targets.clone(),
            groups: job.groups.clone(),
            initial: Arc::from([]),
            released,
            late: 0,
            counts,
        }
    }

    /// Whether executions are made and tried again.
    pub(in crate::service) const fn goes_on(&self) -> bool {
        matches!(self.phase, Phase::Rolling | Phase::Stopped)
    }

    /// Whether the thing belongs to the job. `connector` is what is known of it, if it is registered.
    pub(in crate::service) fn has(&self, thing: &ThingName, connector: Option<&Facts<'_>>) -> bool {
        // Asked last: a job may name thousands.
        let named = || self.targets.contains(thing);
        if self.rules.continuous {
            return connector.is_some_and(|known| self.groups.iter().any(|group| selects(group, known))) || named();
        }
        // The members were fixed at the creation. Things need no registration; members of groups that lost theirs left.
        self.groups.is_empty() || connector.is_some() || named()
    }

    /// Whether the thing came after the creation of a continuous job.
    pub(in crate::service) fn came_late(&self, thing: &ThingName) -> bool {
        self.rules.continuous && self.initial.binary_search(thing).is_err()
    }

    /// Whether a thing that has no execution gets one now. `told` says that the rollout reached it.
    pub(in crate::service) fn gives(&self, thing: &ThingName, told: bool, now: Timestamp) -> bool {
        if self.phase != Phase::Rolling {
            return false;
        }
        if !self.rules.continuous {
            return told;
        }
        match self.initial.binary_search(thing) {
            Ok(at) => (at as u64) < self.released,
            Err(_) => self.rules.schedule.gate(now) == Gate::Open,
        }
    }

    /// Whether the fleet's worker wants to hear that an execution now has this status.
    fn is_news(&self, to: Option<JobStatus>) -> bool {
        let ended = to.is_none_or(JobStatus::is_terminal);
        let tally = self.counts.tally();
        ended
            && (tally.waiting() == 0
                || (!self.goes_on() && tally.of(JobStatus::Queued) == 0)
                || !self.rules.abort.is_empty()
                || (to == Some(JobStatus::Succeeded) && self.rules.rate.follows_successes()))
    }
}

/// How many things stand where.
#[derive(Default)]
pub(in crate::service) struct Counts(Mutex<Tally>);

impl Counts {
    pub(in crate::service) fn tally(&self) -> Tally {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shift(&self, from: Option<JobStatus>, to: Option<JobStatus>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).shift(from, to);
    }
}

/// Counts an execution that is found at the start.
pub(in crate::service) fn count(jobs: &LiveJobs, execution: &Execution) {
    if let Some(job) = jobs.get(&execution.job_id) {
        job.counts.shift(None, Some(execution.status()));
    }
}

/// Counts a change, and asks the fleet's worker to look when it may have to do something.
pub(in crate::service) fn changed(agenda: &Agenda, job: &LiveJob, from: Option<JobStatus>, to: Option<JobStatus>) {
    job.counts.shift(from, to);
    if job.is_news(to) {
        agenda.ask(&job.id);
    }
}

/// Which jobs the fleet's worker is asked to look at. At most one ask waits in its inbox; the names wait here.
pub(in crate::service) struct Agenda {
    bus: Arc<EmbeddedBus>,
    list: Mutex<List>,
    waits: AtomicBool,
}

#[derive(Default)]
struct List {
    asked: BTreeSet<JobId>,
    at: Option<Timestamp>,
}

impl Agenda {
    pub(in crate::service) fn new(bus: Arc<EmbeddedBus>) -> Self {
        Self { bus, list: Mutex::default(), waits: AtomicBool::new(false) }
    }

    /// Asks for a look at `job` soon.
    pub(in crate::service) fn ask(&self, job: &JobId) {
        self.lock().asked.insert(job.clone());
        self.send();
    }

    /// Asks for a look at whatever is due, at that moment.
    pub(in crate::service) fn set(&self, at: Option<Timestamp>) {
        self.lock().at = at;
    }

    /// The jobs that were asked for; from now on another ask may come.
    pub(in crate::service) fn take(&self) -> BTreeSet<JobId> {
        self.waits.store(false, Ordering::Release);
        std::mem::take(&mut self.lock().asked)
    }

    /// Called by the ticker: sends an ask that is due, or that found the inbox full.
    pub(in crate::service) fn tick(&self, now: Timestamp) {
        let due = {
            let list = self.lock();
            !list.asked.is_empty() || list.at.is_some_and(|at| at <= now)
        };
        if due {
            self.send();
        }
    }

    fn send(&self) {
        if !self.waits.swap(true, Ordering::AcqRel) {
            match self.bus.submit(Inbound::Jobs) {
                Ok(Submitted::Queued) => {}
                // The ticker asks again.
                Ok(Submitted::Full(_)) | Err(_) => self.waits.store(false, Ordering::Release),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
