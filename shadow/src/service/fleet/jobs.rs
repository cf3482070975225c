//! Jobs as a whole: the fleet's worker makes them, tells their things, calls them off and deletes them.
//!
//! ```text
//!  things in pages, run ─▶ job (leading) ─▶ run: released += n ─▶ n × Assign ─▶ executions (the things' workers)
//!  run: canceling | deleting ─▶ every thing: Assign ─▶ run: canceled | run, pages, job deleted
//! ```
//!
//! The rules say what comes next (`model::job::plan`); here each step is one write of the job's run, then messages to
//! the things' workers, one page at a time, so that nobody else waits long. A crash after the write leaves messages that
//! were not carried out: the start sends them again, from the last page that surely arrived ([`Run::made`]), or a cancel
//! or delete from the begin. A thing that was reached twice changes nothing.

mod changes;
mod create;
mod listing;
mod resume;
mod templates;

use super::{FleetWorker, Refused, block_on, refuse};
use crate::records::{Job, JobThings, key};
use crate::service::ServiceError;
use crate::service::batch::Batch;
use crate::service::jobs::live::{Counts, LiveJob};
use crate::store::Key;
use muster_bus::{Assign, Inbound, Latch, Message, Requests, Submitted};
use muster_model::job::{Facts, Gate, Phase, Rules, Run, Step, Tally, plan};
use muster_wire::codec::Encoding;
use muster_wire::id::{JobId, ThingName};
use muster_wire::job::{JobDocument, JobEvent, JobOperation, group_arn, thing_arn};
use muster_wire::limits::JOB_PAGE_THINGS;
use muster_wire::rejection::RejectionCode;
use muster_wire::time::Timestamp;
use muster_wire::topic::Topic;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tracing::{info, warn};

/// Jobs of upgrades are called so; operators' jobs are not.
pub(super) const UPGRADE_PREFIX: &str = "upgrade-";
/// Pages of one job that are with the things' workers at one time: one is worked on, one waits.
const PAGES_ON_THE_WAY: usize = 2;
/// After a failure of the store, a page is sent again.
const SEND_AGAIN: Duration = Duration::from_secs(1);

/// The jobs that are not over.
pub(super) type Courses = BTreeMap<JobId, Course>;

/// A job that is not over.
pub(super) struct Course {
    /// Without its document, which stands beside it.
    job: Job,
    document: Arc<JobDocument>,
    rules: Rules,
    run: Run,
    /// Members at creation.
    things: u64,
    initial: Arc<[ThingName]>,
    counts: Arc<Counts>,
    on_the_way: VecDeque<Part>,
    late: Late,
    sweep: Sweep,
    look_at: Option<Timestamp>,
}

/// Things by number, told and not yet known to have their executions.
struct Part {
    from: u64,
    to: u64,
    word: Word,
}

/// Things that were named as targets of a continuous job after its creation. Their names are in the job's record, so a
/// start begins with all of them; members of groups are looked at with their connectors.
#[derive(Default)]
struct Late {
    /// Not yet known to have their executions.
    waiting: BTreeSet<ThingName>,
    on_the_way: Option<(Vec<ThingName>, Word)>,
}

/// How far a cancel or a delete is.
#[derive(Default)]
struct Sweep {
    next: Place,
    on_the_way: Option<(Vec<ThingName>, Word)>,
}

/// What many things were told at once.
struct Word {
    latch: Arc<Latch>,
    /// Some of them could not do it; all are told again then.
    again_at: Option<Timestamp>,
}

/// What became of a word.
enum Outcome {
    OnTheWay,
    Arrived,
    /// It failed, and is said again at this time.
    Failed(Timestamp),
    SayAgain,
}

impl Word {
    fn outcome(&mut self, job: &JobId, now: Timestamp) -> Outcome {
        match (self.latch.outcome(), self.again_at) {
            (None, _) => Outcome::OnTheWay,
            (Some(0), _) => Outcome::Arrived,
            (Some(_), Some(at)) if at <= now => Outcome::SayAgain,
            (Some(_), Some(at)) => Outcome::Failed(at),
            (Some(failed), None) => {
                warn!(%job, failed, "things could not be given what they get of a job; all of their page are asked again");
                Outcome::Failed(*self.again_at.insert(now.plus(SEND_AGAIN)))
            }
        }
    }
}

/// Where a sweep goes on.
#[derive(Clone, Default)]
enum Place {
    #[default]
    Begin,
    Page(u64),
    Late {
        after: Option<Vec<u8>>,
    },
    Done,
}

impl Course {
    fn new(job: Job, rules: Rules, run: Run, initial: Arc<[ThingName]>, counts: Arc<Counts>) -> Self {
        let things = job.things.unwrap_or(0);
        // Shared with whoever tells things of it; the course itself does not read it.
        let document = Arc::new(job.document);
        let job = Job { document: JobDocument::new(), ..job };
        let (on_the_way, sweep, late) = (VecDeque::new(), Sweep::default(), Late::default());
        let mut course =
            Self { job, document, rules, run, things, initial, counts, on_the_way, late, sweep, look_at: None };
        if course.rules.continuous {
            course.note_late(&course.job.targets.clone());
        }
        course
    }

    /// Notes which of these targets came after the creation.
    fn note_late(&mut self, targets: &[ThingName]) {
        let late = targets.iter().filter(|thing| self.initial.binary_search(thing).is_err());
        self.late.waiting.extend(late.cloned());
    }

    fn live(&self) -> LiveJob {
        LiveJob {
            initial: self.initial.clone(),
            late: self.late.waiting.len() as u64,
            ..LiveJob::new(
                &self.job,
                self.document.clone(),
                self.rules.clone(),
                self.run.phase,
                self.run.released,
                self.counts.clone(),
            )
        }
    }

    /// Whether every thing that was told has its execution, and every cancel and delete has arrived.
    fn is_settled(&self) -> bool {
        let swept = match self.run.phase {
            Phase::Canceling { .. } | Phase::Deleting => matches!(self.sweep.next, Place::Done),
            _ => true,
        };
        swept && self.on_the_way.is_empty() && self.late.on_the_way.is_none() && self.sweep.on_the_way.is_none()
    }
}

impl FleetWorker {
    /// Does what the jobs want that asked for it, or whose time has come.
    pub(super) fn look_at_jobs(&self) {
        let now = self.shared.clock.now();
        let asked = self.shared.agenda.take();
        let mut courses = self.courses.borrow_mut();
        let due: Vec<JobId> = courses
            .iter()
            .filter(|(id, course)| asked.contains(*id) || course.look_at.is_some_and(|at| at <= now))
            .map(|(id, _)| id.clone())
            .collect();
        for id in due {
            self.look_at_job(&mut courses, &id);
        }
        self.shared.agenda.set(courses.values().filter_map(|course| course.look_at).min());
    }

    /// Does what one job wants, until it waits for something.
    fn look_at_job(&self, courses: &mut Courses, id: &JobId) {
        let Some(course) = courses.get_mut(id) else { return };
        match self.go_on(course) {
            Ok(true) => {
                courses.remove(id);
                self.publish(id, None);
            }
            Ok(false) => {}
            Err(error) => {
                self.shared.report("go on with a job", &error);
                course.look_at = Some(self.shared.clock.now().plus(SEND_AGAIN));
            }
        }
    }

    /// Returns whether the job is over.
    fn go_on(&self, course: &mut Course) -> Result<bool, ServiceError> {
        course.look_at = None;
        loop {
            let now = self.shared.clock.now();
            let arrives = self.arrivals(course, now)?;
            let joins = self.late_on(course, now);
            let sweeps = self.sweep_on(course, now)?;
            if course.run.phase == Phase::Deleting && course.is_settled() {
                self.gone(course)?;
                return Ok(true);
            }
            if course.run.is_closed() {
                return Ok(true);
            }
            let tally = course.counts.tally();
            let free = PAGES_ON_THE_WAY.saturating_sub(course.on_the_way.len());
            let facts = Facts {
                rules: &course.rules,
                things: course.things,
                tally: &tally,
                room: if free > 0 { JOB_PAGE_THINGS as u64 } else { 0 },
                settled: course.is_settled(),
            };
            let plan = plan(&course.run, &facts, now);
            let Some(step) = plan.step else {
                course.look_at = plan.look_again.into_iter().chain(arrives).chain(joins).chain(sweeps).min();
                return Ok(false);
            };
            self.take(course, &step, &tally, now)?;
        }
    }

    /// Carries out one step: first what is stored, then what follows from it.
    fn take(&self, course: &mut Course, step: &Step, tally: &Tally, now: Timestamp) -> Result<(), ServiceError> {
        let before = course.run.released;
        let run = course.run.after(step, tally, now);
        let operation = match step {
            Step::Cancel { .. } => Some(JobOperation::CancellationInProgress),
            Step::Canceled => Some(JobOperation::Canceled),
            Step::Complete => Some(JobOperation::Completed),
            Step::Start | Step::Release { .. } | Step::Stop | Step::Close => None,
        };
        self.store_run(course, run, operation)?;
        match step {
            Step::Release { .. } => {
                // A continuous job's members at creation may have theirs from now on, whoever looks first.
                if course.rules.continuous {
                    self.publish(&course.job.id, Some(course.live()));
                }
                self.send(course, before, course.run.released)?;
            }
            step => {
                info!(job = %course.job.id, ?step, "job");
                self.publish(&course.job.id, Some(course.live()));
            }
        }
        Ok(())
    }

    /// Stores how far the job is, and says so to observers when that is an event.
    fn store_run(&self, course: &mut Course, run: Run, event: Option<JobOperation>) -> Result<(), ServiceError> {
        let event = event.map(|operation| self.job_event(course, &run, operation));
        self.commit(|batch| {
            if let Some(event) = event {
                observe(batch, &event);
            }
            batch.put(&key::job_run(&course.job.id), &run)
        })?;
        course.run = run;
        Ok(())
    }

    fn job_event(&self, course: &Course, run: &Run, operation: JobOperation) -> JobEvent {
        let job = &course.job;
        JobEvent {
            event_type: "JOB".to_owned(),
            event_id: muster_runtime::ids::random_hex::<16>(),
            timestamp: self.shared.clock.now().epoch_seconds(),
            operation,
            job_id: job.id.clone(),
            status: operation.status(),
            target_selection: job.config.target_selection,
            targets: target_arns(job),
            description: job.description.clone(),
            completed_at: run.ended_at.filter(|_| operation.is_over()),
            created_at: job.at,
            last_updated_at: run.updated_at,
            comment: run.comment.clone(),
            job_process_details: (operation == JobOperation::Completed).then(|| course.counts.tally().end_details()),
        }
    }

    /// Shows the workers of things how a job stands; `None` takes it from them.
    fn publish(&self, id: &JobId, live: Option<LiveJob>) {
        let mut fleet = self.shared.fleet_mut();
        let jobs = Arc::make_mut(&mut fleet.jobs);
        match live {
            Some(live) => drop(jobs.insert(id.clone(), Arc::new(live))),
            None => drop(jobs.remove(id)),
        }
    }

    /// Sends the job to the things with these numbers.
    fn send(&self, course: &mut Course, from: u64, to: u64) -> Result<(), ServiceError> {
        let things = self.things(&course.job.id, from, to)?;
        let word = self.assign_all(&course.job.id, things);
        course.on_the_way.push_back(Part { from, to, word });
        Ok(())
    }

    /// Notes what has arrived; what failed is sent again. Returns when to look although nothing happens.
    fn arrivals(&self, course: &mut Course, now: Timestamp) -> Result<Option<Timestamp>, ServiceError> {
        let made = course.run.made;
        while let Some(part) = course.on_the_way.front_mut() {
            match part.word.outcome(&course.job.id, now) {
                Outcome::OnTheWay => break,
                Outcome::Failed(again_at) => return Ok(Some(again_at)),
                Outcome::SayAgain => {
                    let id = &course.job.id;
                    part.word = self.assign_all(id, self.things(id, part.from, part.to)?);
                }
                Outcome::Arrived => {
                    course.run.made = part.to;
                    course.on_the_way.pop_front();
                }
            }
        }
        // At the end of the rollout no release follows that would store it.
        if course.run.made != made && course.run.made == course.things {
            self.store_run(course, course.run.clone(), None)?;
        }
        Ok(None)
    }

    /// Tells those who came late, inside of the job's windows. Returns when to look although nothing happens.
    fn late_on(&self, course: &mut Course, now: Timestamp) -> Option<Timestamp> {
        let rolls = course.run.phase == Phase::Rolling;
        let gate = course.rules.schedule.gate(now);
        if let Some((told, word)) = &mut course.late.on_the_way {
            match word.outcome(&course.job.id, now) {
                Outcome::OnTheWay => return None,
                Outcome::Failed(again_at) if rolls => return Some(again_at),
                Outcome::Failed(_) | Outcome::SayAgain => {}
                Outcome::Arrived if gate == Gate::Open => {
                    course.late.waiting.retain(|thing| !told.contains(thing));
                }
                // The window closed meanwhile, perhaps before they heard.
                Outcome::Arrived => {}
            }
            course.late.on_the_way = None;
            self.publish(&course.job.id, Some(course.live()));
        }
        if !rolls || course.late.waiting.is_empty() {
            return None;
        }
        match gate {
            Gate::Open => {
                let things: Vec<ThingName> = course.late.waiting.iter().cloned().collect();
                let word = self.assign_all(&course.job.id, things.clone());
                course.late.on_the_way = Some((things, word));
                None
            }
            Gate::ClosedUntil(opens) => opens,
        }
    }

    /// Goes on with a cancel or a delete. Returns when to look although nothing happens.
    fn sweep_on(&self, course: &mut Course, now: Timestamp) -> Result<Option<Timestamp>, ServiceError> {
        if !matches!(course.run.phase, Phase::Canceling { .. } | Phase::Deleting) {
            return Ok(None);
        }
        loop {
            if let Some((things, word)) = &mut course.sweep.on_the_way {
                match word.outcome(&course.job.id, now) {
                    Outcome::OnTheWay => return Ok(None),
                    Outcome::Failed(again_at) => return Ok(Some(again_at)),
                    Outcome::SayAgain => {
                        *word = self.assign_all(&course.job.id, things.clone());
                        return Ok(None);
                    }
                    Outcome::Arrived => course.sweep.on_the_way = None,
                }
            }
            let id = &course.job.id;
            let (things, next) = match course.sweep.next.clone() {
                Place::Done => return Ok(None),
                Place::Begin => (Vec::new(), Place::Page(0)),
                Place::Page(page) if page * JOB_PAGE_THINGS as u64 >= course.things => {
                    (Vec::new(), Place::Late { after: None })
                }
                Place::Page(page) => (self.page(id, page)?, Place::Page(page + 1)),
                Place::Late { after } => {
                    let (things, last) = self.late(id, after.as_deref())?;
                    let next = last.map_or(Place::Done, |last| Place::Late { after: Some(last) });
                    (things, next)
                }
            };
            if !things.is_empty() {
                let word = self.assign_all(id, things.clone());
                course.sweep.on_the_way = Some((things, word));
            }
            course.sweep.next = next;
        }
    }

    /// Deletes what is left of a job whose executions are gone. The run goes last: a run without a job is what a crash
    /// leaves, and the start deletes it with the rest.
    fn gone(&self, course: &Course) -> Result<(), ServiceError> {
        let id = &course.job.id;
        let event = self.job_event(course, &course.run, JobOperation::Deleted);
        self.commit(|batch| {
            observe(batch, &event);
            batch.delete(&key::job(id))
        })?;
        self.delete_rest(id)?;
        info!(job = %id, "job deleted");
        Ok(())
    }

    fn delete_rest(&self, id: &JobId) -> Result<(), ServiceError> {
        for prefix in [key::job_things(id), key::job_joined(id), key::job_queued(id)] {
            let mut after: Option<Vec<u8>> = None;
            loop {
                let page = self.shared.store.scan_after(prefix.as_bytes(), after.as_deref(), JOB_PAGE_THINGS)?;
                let Some((last, _)) = page.last() else { break };
                after = Some(last.clone());
                self.commit(|batch| {
                    page.iter().filter_map(|(key, _)| Key::from_stored(key).ok()).try_for_each(|key| batch.delete(&key))
                })?;
            }
        }
        match self.shared.store.get(key::job_run(id).as_bytes())? {
            Some(_) => self.commit(|batch| batch.delete(&key::job_run(id))),
            None => Ok(()),
        }
    }

    /// The things with these numbers.
    fn things(&self, id: &JobId, from: u64, to: u64) -> Result<Vec<ThingName>, ServiceError> {
        let size = JOB_PAGE_THINGS as u64;
        let mut things = Vec::new();
        for number in from / size..to.div_ceil(size) {
            let begin = number * size;
            let index = |at: u64| usize::try_from(at.saturating_sub(begin)).unwrap_or(usize::MAX);
            let page = self.page(id, number)?;
            things.extend(page.into_iter().take(index(to)).skip(index(from)));
        }
        Ok(things)
    }

    fn page(&self, id: &JobId, page: u64) -> Result<Vec<ThingName>, ServiceError> {
        let mut batch = Batch::new(self.shared.store.as_ref(), self.shared.clock.now());
        Ok(batch.get::<JobThings>(&key::job_page(id, page))?.map(|page| page.things).unwrap_or_default())
    }

    /// Some of the things that came late to a continuous job, and the key after which it goes on.
    fn late(&self, id: &JobId, after: Option<&[u8]>) -> Result<(Vec<ThingName>, Option<Vec<u8>>), ServiceError> {
        let page = self.shared.store.scan_after(key::job_joined(id).as_bytes(), after, JOB_PAGE_THINGS)?;
        let name = |key: &[u8]| Key::parse(key).ok().and_then(|key| ThingName::new(key.parts.get(1)?).ok());
        let things = page.iter().filter_map(|(key, _)| name(key)).collect();
        Ok((things, page.last().map(|(key, _)| key.clone())))
    }

    /// Sends the job to all of these things.
    fn assign_all(&self, job: &JobId, things: Vec<ThingName>) -> Word {
        let latch = Latch::new(things.len());
        for thing in things {
            let assign = Inbound::Assign(Assign { thing, job: job.clone(), done: Some(latch.clone()) });
            match self.shared.bus.submit(assign) {
                Ok(Submitted::Queued) | Err(_) => {}
                Ok(Submitted::Full(wait)) => drop(block_on(wait)),
            }
        }
        Word { latch, again_at: None }
    }

    fn stored_job(&self, id: &JobId) -> Result<Job, Refused> {
        let mut batch = Batch::new(self.shared.store.as_ref(), self.shared.clock.now());
        let Some(job) = batch.get::<Job>(&key::job(id)).map_err(Refused::from)? else {
            return refuse(RejectionCode::NotFound, format!("no job is called {id}; `muster job list` shows all"));
        };
        Ok(job)
    }

    fn stored_run(&self, job: &Job) -> Result<Run, ServiceError> {
        let mut batch = Batch::new(self.shared.store.as_ref(), self.shared.clock.now());
        Ok(batch.get::<Run>(&key::job_run(&job.id))?.unwrap_or_else(|| Run::new(job.at)))
    }
}

fn observe(batch: &mut Batch<'_>, event: &JobEvent) {
    let topic = Topic::JobEvent { job: event.job_id.clone(), event: event.operation.as_str().into() };
    batch.observe(Message::new(topic, Encoding::Json.encode(event)), false);
}

/// What a job is for, as ARNs.
fn target_arns(job: &Job) -> Vec<String> {
    job.targets.iter().map(thing_arn).chain(job.groups.iter().map(group_arn)).collect()
}
