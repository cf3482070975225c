//! Executions that nobody has touched since they were made: a job reaches thousands of things at one moment, and what
//! each of them gets is the same but for its name. They are kept by the round in one record ([`JobQueued`]); only the
//! first change of one is stored as an execution of its own, which counts from then on.
//!
//! ```text
//!  Assign × n ─▶ Batch::queue ─▶ one JobQueued per job ─▶ (durable) ─▶ Queued: thing ─▶ its rounds
//!  start-next, cancel, … ─▶ Desk: stored executions and, of the rest, the rounds ─▶ stored execution ─▶ Queued forgets
//! ```
//!
//! A round counts while its job is not over: by then each of its things has a stored execution, or a note that it was
//! deleted.

use super::{Desk, live};
use crate::records::{JobJoined, JobQueued, StoredJobQueued, key};
use crate::service::batch::Batch;
use crate::service::{ServiceError, Shared};
use crate::store::codec;
use muster_model::job::{Execution, Phase};
use muster_wire::id::{JobId, ThingName};
use muster_wire::job::JobStatus;
use muster_wire::time::Timestamp;
use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// What things have in common that got an execution of one job at one moment.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::service) struct Round {
    pub(in crate::service) job: JobId,
    pub(in crate::service) at: Timestamp,
    /// How long it may be in progress.
    pub(in crate::service) time_limit: Option<Duration>,
}

impl Round {
    /// What each of the things has.
    pub(in crate::service) fn execution(&self) -> Execution {
        Execution::queued(self.job.clone(), 1, self.time_limit, self.at)
    }
}

/// The rounds of each thing that it has not touched.
#[derive(Default)]
pub(in crate::service) struct Queued(RwLock<HashMap<ThingName, Vec<Arc<Round>>>>);

impl Queued {
    /// A thing got its execution; called once that is durable.
    pub(in crate::service) fn add(&self, thing: &ThingName, round: Arc<Round>) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match all.get_mut(thing) {
            Some(rounds) => rounds.push(round),
            None => drop(all.insert(thing.clone(), vec![round])),
        }
    }

    /// The execution has a record of its own, or was deleted; called once that is durable.
    pub(in crate::service) fn remove(&self, thing: &ThingName, job: &JobId) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(rounds) = all.get_mut(thing) {
            rounds.retain(|round| round.job != *job);
            if rounds.is_empty() {
                all.remove(thing);
            }
        }
    }

    fn of(&self, thing: &ThingName) -> Vec<Arc<Round>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(thing).cloned().unwrap_or_default()
    }

    fn has(&self, thing: &ThingName, job: &JobId) -> bool {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        all.get(thing).is_some_and(|rounds| rounds.iter().any(|round| round.job == *job))
    }
}

impl Desk<'_, '_> {
    /// Gives the thing its execution of a job, as many others get theirs at this moment.
    pub(super) fn queue(&mut self, job: &JobId, time_limit: Option<Duration>) {
        let round = self.batch.queue(self.thing, job, time_limit);
        self.executions.push(round.execution());
        self.changed = true;
        let (queued, thing) = (self.shared.queued.clone(), self.thing.clone());
        self.batch.then(move |committed| {
            if committed {
                queued.add(&thing, round);
            }
        });
        self.count(job, None, Some(JobStatus::Queued));
    }

    /// The execution gets a record of its own, or is deleted.
    pub(super) fn touch(&mut self, job: &JobId) {
        let was_queued = self.shared.queued.has(self.thing, job);
        if was_queued || self.batch.queued(self.thing).iter().any(|round| round.job == *job) {
            let (queued, thing, job) = (self.shared.queued.clone(), self.thing.clone(), job.clone());
            self.batch.then(move |committed| {
                if committed {
                    queued.remove(&thing, &job);
                }
            });
        }
    }
}

/// Every execution of a thing, by job.
pub(in crate::service) fn executions(
    shared: &Shared,
    batch: &mut Batch<'_>,
    thing: &ThingName,
) -> Result<Vec<Execution>, ServiceError> {
    // Looked at before the store: what leaves the rounds is stored by then, so it is found here or there.
    let mut rounds = shared.queued.of(thing);
    let mut executions: Vec<Execution> = batch.scan(&key::executions(thing))?;
    rounds.extend_from_slice(batch.queued(thing));
    let stored = executions.len();
    for round in rounds {
        let is_stored = executions[..stored].iter().any(|execution| execution.job_id == round.job);
        if !is_stored && !batch.deletes(&key::execution(thing, &round.job)) {
            executions.push(round.execution());
        }
    }
    executions.sort_by(|one, other| one.job_id.cmp(&other.job_id));
    Ok(executions)
}

/// The execution of a job on a thing.
pub(in crate::service) fn execution(
    shared: &Shared,
    batch: &mut Batch<'_>,
    thing: &ThingName,
    job: &JobId,
) -> Result<Option<Execution>, ServiceError> {
    // In this order, as above.
    let round = shared.queued.of(thing).into_iter().find(|round| round.job == *job);
    let stored = batch.get::<Execution>(&key::execution(thing, job))?;
    Ok(stored.or_else(|| round.map(|round| round.execution())))
}

/// Finds what was queued before the start and not touched since, and counts it. After the jobs that are not over are
/// known, before anything is served. Returns the jobs of which not everything could be read: their things are to be
/// reached again.
///
/// Of a job that is being deleted nothing is left that has to be said: what was deleted has no note, and would come back.
pub(in crate::service) fn load(shared: &Shared) -> Result<BTreeSet<JobId>, ServiceError> {
    let mut damaged = BTreeSet::new();
    for job in shared.jobs().values().filter(|job| job.phase != Phase::Deleting) {
        let mut rounds: Vec<JobQueued> = Vec::new();
        shared.store.scan(key::job_queued(&job.id).as_bytes(), &mut |found, stored| {
            match codec::decode::<StoredJobQueued>(found, &stored.value) {
                Ok(round) => rounds.push(round.into()),
                Err(error) => {
                    // One damaged record must not keep the whole fleet from being served.
                    shared.report("read the queued things of a job", &error.into());
                    damaged.insert(job.id.clone());
                }
            }
            ControlFlow::Continue(())
        })?;
        for JobQueued { at, time_limit, things, .. } in rounds {
            let round = Arc::new(Round { job: job.id.clone(), at, time_limit });
            for thing in things {
                match is_untouched(shared, &thing, &job.id) {
                    Ok(false) => {}
                    Ok(true) => {
                        live::count(&shared.jobs(), &round.execution());
                        shared.queued.add(&thing, round.clone());
                    }
                    Err(error @ ServiceError::Codec(_)) => shared.report("read what a thing has of a job", &error),
                    Err(error) => return Err(error),
                }
            }
        }
    }
    Ok(damaged)
}

fn is_untouched(shared: &Shared, thing: &ThingName, job: &JobId) -> Result<bool, ServiceError> {
    let mut batch = Batch::new(shared.store.as_ref(), shared.clock.now());
    let note = batch.get::<JobJoined>(&key::job_joined(job).part(thing))?;
    let is_stored = shared.store.get(key::execution(thing, job).as_bytes())?.is_some();
    Ok(!is_stored && !note.is_some_and(|note| note.deleted) && !shared.queued.has(thing, job))
}
