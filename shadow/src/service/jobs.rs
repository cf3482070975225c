//! The jobs service, device side: requests on `$aws/things/{thing}/jobs/…`, and the executions behind them.
//!
//! Accepted and rejected go to the requesting connection alone, in the encoding of its request; `notify` and
//! `notify-next` are JSON and go to everyone who listens.

pub(super) mod live;
pub(super) mod queued;
mod settle;

pub(super) use settle::{order, settle};

use super::batch::Batch;
use super::{ServiceError, Shared};
use crate::records::{Job, key};
use bytes::Bytes;
use muster_bus::{Answer, Deliveries, Message, Request};
use muster_model::job::{self, Event, Execution, PendingJob, Refusal};
use muster_wire::codec::Encoding;
use muster_wire::component::{Operation, UninstallDocument};
use muster_wire::id::{JobId, ThingName};
use muster_wire::job::{
    DescribeRequest, ExecutionResponse, GetPendingRequest, JobDocument, JobExecutionEvent, StartNextRequest,
    UpdateRequest, UpdateResponse, thing_arn,
};
use muster_wire::limits::JOB_TIMEOUT;
use muster_wire::topic::{JobRef, JobsTopic, JobsVerb, Topic};
use serde::Serialize;
use std::fmt;
use std::sync::Arc;

/// Finished executions that a thing keeps; older ones are deleted when a new one is made.
const FINISHED_KEPT_PER_THING: usize = 50;

/// Carries out a client's request. Returns whether an execution changed.
pub(super) fn handle(
    shared: &Shared,
    batch: &mut Batch<'_>,
    thing: &ThingName,
    verb: JobsVerb,
    request: Request,
) -> Result<bool, ServiceError> {
    let encoding = Encoding::of(&request.payload);
    let mut desk = Desk::open(shared, batch, thing)?;
    let outcome = match &verb {
        JobsVerb::GetPending => desk.pending(&request.payload, encoding),
        JobsVerb::StartNext => desk.start_next(&request.payload, encoding)?,
        JobsVerb::Describe(which) => desk.describe(which, &request.payload, encoding)?,
        JobsVerb::Update(job) => desk.update(job, &request.payload, encoding)?,
    };
    let (topic, payload) = match outcome {
        Ok(payload) => (JobsTopic::Accepted(verb), payload),
        Err(refusal) => {
            let token = job::client_token_of(&request.payload, encoding);
            let rejected = refusal.rejected(token, desk.batch.now);
            (JobsTopic::Rejected(verb), encoding.encode(&rejected))
        }
    };
    let answer = Answer::with(Message::new(Topic::Jobs { thing: thing.clone(), verb: topic }, payload));
    desk.batch.answer(request.connection, request.tag, answer);
    desk.close()
}

/// Refuses a client's request because its thing gets no work at present.
pub(super) fn refuse(batch: &mut Batch<'_>, thing: &ThingName, verb: JobsVerb, request: Request, why: String) {
    let encoding = Encoding::of(&request.payload);
    let token = job::client_token_of(&request.payload, encoding);
    let payload = encoding.encode(&Refusal::closed(why).rejected(token, batch.now));
    let topic = Topic::Jobs { thing: thing.clone(), verb: JobsTopic::Rejected(verb) };
    batch.answer(request.connection, request.tag, Answer::with(Message::new(topic, payload)));
}

/// Makes an execution of an upgrade's job unless the thing has one. Returns whether it was made.
pub(super) fn assign(
    shared: &Shared,
    batch: &mut Batch<'_>,
    thing: &ThingName,
    job: &JobId,
) -> Result<bool, ServiceError> {
    let mut desk = Desk::open(shared, batch, thing)?;
    if desk.executions.iter().any(|execution| execution.job_id == *job) {
        return Ok(false);
    }
    let execution = Execution::queued(job.clone(), 1, Some(JOB_TIMEOUT), desk.batch.now);
    desk.put(execution)?;
    desk.prune()?;
    desk.close()
}

/// Applies a service's event to the execution of `job`. An event that comes too late changes nothing.
pub(super) fn event(
    shared: &Shared,
    batch: &mut Batch<'_>,
    thing: &ThingName,
    job: &JobId,
    event: &Event,
) -> Result<bool, ServiceError> {
    let mut desk = Desk::open(shared, batch, thing)?;
    let Some(before) = desk.executions.iter().find(|execution| execution.job_id == *job).cloned() else {
        return Ok(false);
    };
    if let Ok(after) = job::apply(&before, event, desk.batch.now) {
        desk.put(after)?;
    }
    desk.close()
}

/// Times out what is due, and does what the jobs as a whole want of this thing. Returns whether an execution changed.
pub(super) fn look(shared: &Shared, batch: &mut Batch<'_>, thing: &ThingName) -> Result<bool, ServiceError> {
    let mut desk = Desk::open(shared, batch, thing)?;
    let now = desk.batch.now;
    let due: Vec<Execution> =
        desk.executions.iter().filter(|e| e.times_out_at().is_some_and(|at| at <= now)).cloned().collect();
    for execution in due {
        if let Ok(after) = job::apply(&execution, &Event::Timeout, now) {
            desk.put_or_retry(after)?;
        }
    }
    desk.settle_all()?;
    if let Some(next) = desk.executions.iter().filter_map(Execution::times_out_at).min() {
        shared.timers.set(next, thing);
    }
    desk.close()
}

/// The executions of one thing during one request: what they were, what they are, who must hear of it.
struct Desk<'d, 'b> {
    shared: &'d Shared,
    batch: &'d mut Batch<'b>,
    thing: &'d ThingName,
    executions: Vec<Execution>,
    before: Vec<PendingJob>,
    changed: bool,
}

type Payload = Result<Vec<u8>, Refusal>;

impl<'d, 'b> Desk<'d, 'b> {
    fn open(shared: &'d Shared, batch: &'d mut Batch<'b>, thing: &'d ThingName) -> Result<Self, ServiceError> {
        let executions = queued::executions(shared, batch, thing)?;
        let before = job::pending(&executions).into_iter().map(PendingJob::from).collect();
        Ok(Self { shared, batch, thing, executions, before, changed: false })
    }

    fn pending(&self, payload: &[u8], encoding: Encoding) -> Payload {
        let request: GetPendingRequest = job::parse(payload, encoding)?;
        let queue = job::pending(&self.executions);
        Ok(encoding.encode(&job::pending_lists(&queue, request.client_token, self.batch.now)))
    }

    fn start_next(&mut self, payload: &[u8], encoding: Encoding) -> Result<Payload, ServiceError> {
        let request: StartNextRequest = match job::parse(payload, encoding) {
            Ok(request) => request,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let token = request.client_token.clone();
        let event = match Event::try_from(request) {
            Ok(event) => event,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let execution = match job::next(&self.executions).cloned() {
            None => None,
            Some(next) => match job::apply(&next, &event, self.batch.now) {
                Ok(started) => {
                    if started != next {
                        self.put(started.clone())?;
                    }
                    Some(started)
                }
                Err(refusal) => return Ok(Err(refusal)),
            },
        };
        self.execution_response(execution.as_ref(), true, token, encoding).map(Ok)
    }

    fn describe(&mut self, which: &JobRef, payload: &[u8], encoding: Encoding) -> Result<Payload, ServiceError> {
        let request: DescribeRequest = match job::parse(payload, encoding) {
            Ok(request) => request,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let execution = match which {
            JobRef::Next => job::next(&self.executions),
            JobRef::Id(id) => {
                let known = self.executions.iter().find(|execution| execution.job_id == *id);
                let number = request.execution_number;
                if let Some(over) = known.zip(number).and_then(|(known, number)| known.earlier_try(number)) {
                    return Ok(Err(Refusal::terminal(&over)));
                }
                match known.filter(|execution| number.is_none_or(|number| number == execution.execution_number)) {
                    None => return Ok(Err(Refusal::not_found(id, request.execution_number))),
                    Some(over) if over.status().is_terminal() => return Ok(Err(Refusal::terminal(over))),
                    found => found,
                }
            }
        };
        let (execution, with_document) = (execution.cloned(), request.include_job_document.unwrap_or(true));
        self.execution_response(execution.as_ref(), with_document, request.client_token, encoding).map(Ok)
    }

    fn update(&mut self, id: &JobId, payload: &[u8], encoding: Encoding) -> Result<Payload, ServiceError> {
        let request: UpdateRequest = match job::parse(payload, encoding) {
            Ok(request) => request,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let token = request.client_token.clone();
        let with_state = request.include_job_execution_state.unwrap_or(false);
        let with_document = request.include_job_document.unwrap_or(false);
        let number = request.execution_number;
        let event = match Event::try_from(request) {
            Ok(event) => event,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let Some(before) = self.executions.iter().find(|execution| execution.job_id == *id).cloned() else {
            return Ok(Err(Refusal::not_found(id, number)));
        };
        let after = match job::apply(&before, &event, self.batch.now) {
            Ok(after) => after,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let response = UpdateResponse {
            execution_state: with_state.then(|| after.wire_state()),
            job_document: if with_document { self.document(id)?.map(Arc::unwrap_or_clone) } else { None },
            timestamp: self.batch.now.epoch_seconds(),
            client_token: token,
        };
        self.put_or_retry(after)?;
        Ok(Ok(encoding.encode(&response)))
    }

    fn execution_response(
        &mut self,
        execution: Option<&Execution>,
        with_document: bool,
        client_token: Option<String>,
        encoding: Encoding,
    ) -> Result<Vec<u8>, ServiceError> {
        let now = self.batch.now;
        let execution = match execution {
            None => None,
            Some(execution) => {
                let document = if with_document { self.document(&execution.job_id)? } else { None };
                Some(execution.on_wire(None, document.as_deref(), now))
            }
        };
        Ok(encoding.encode(&ExecutionResponse { execution, timestamp: now.epoch_seconds(), client_token }))
    }

    fn put(&mut self, execution: Execution) -> Result<(), ServiceError> {
        self.announce_end(&execution);
        self.store(execution)
    }

    fn store(&mut self, execution: Execution) -> Result<(), ServiceError> {
        self.batch.put(&key::execution(self.thing, &execution.job_id), &execution)?;
        self.touch(&execution.job_id);
        if let Some(due) = execution.times_out_at() {
            self.shared.timers.set(due, self.thing);
        }
        let (job, status) = (execution.job_id.clone(), execution.status());
        let before = match self.executions.iter_mut().find(|known| known.job_id == execution.job_id) {
            Some(known) => Some(std::mem::replace(known, execution).status()),
            None => {
                self.executions.push(execution);
                None
            }
        };
        self.changed = true;
        self.count(&job, before, Some(status));
        Ok(())
    }

    /// Forgets the oldest of what is over. What belongs to a job that is not over stays: it says that the thing had it.
    fn prune(&mut self) -> Result<(), ServiceError> {
        let live = self.shared.jobs();
        let mut finished: Vec<&Execution> =
            self.executions.iter().filter(|e| e.status().is_terminal() && !live.contains_key(&e.job_id)).collect();
        finished.sort_by_key(|execution| std::cmp::Reverse(execution.last_updated_at));
        for execution in finished.into_iter().skip(FINISHED_KEPT_PER_THING) {
            self.batch.delete(&key::execution(self.thing, &execution.job_id))?;
        }
        Ok(())
    }

    /// Tells observers that an execution is over, if it is.
    fn announce_end(&mut self, execution: &Execution) {
        if let Some(event) = execution.status().event() {
            self.announce(execution, event);
        }
    }

    fn announce(&mut self, execution: &Execution, event: &str) {
        let topic = Topic::JobExecutionEvent { job: execution.job_id.clone(), event: event.into() };
        let payload = JobExecutionEvent {
            event_type: "JOB_EXECUTION".to_owned(),
            event_id: muster_runtime::ids::random_hex::<16>(),
            timestamp: self.batch.now.epoch_seconds(),
            operation: event.to_owned(),
            job_id: execution.job_id.clone(),
            thing_arn: thing_arn(self.thing),
            status: event.to_ascii_uppercase(),
            status_details: execution.status_details.clone(),
        };
        self.batch.observe(message(topic, &payload), false);
    }

    /// The document of a job: of an upgrade it follows from the target, of an uninstall from the connector, of any other
    /// it is stored, and in memory until the job is over.
    fn document(&mut self, id: &JobId) -> Result<Option<Arc<JobDocument>>, ServiceError> {
        let fleet = self.shared.fleet();
        if let Some(live) = fleet.jobs.get(id) {
            return Ok(Some(live.document.clone()));
        }
        if let Some(target) = fleet.target_of(id) {
            let package = fleet.component(&target.component, &target.version);
            return Ok(package.and_then(|package| to_document(&package.upgrade_document())).map(Arc::new));
        }
        let uninstall = fleet.connectors.get(self.thing).and_then(|connector| connector.uninstall.as_ref());
        if let Some(uninstall) = uninstall.filter(|uninstall| uninstall.job == *id) {
            let document = UninstallDocument { operation: Operation::Uninstall, purge: uninstall.purge };
            return Ok(to_document(&document).map(Arc::new));
        }
        drop(fleet);
        Ok(self.batch.get::<Job>(&key::job(id))?.map(|job| Arc::new(job.document)))
    }

    /// Tells the thing what changed in its queue. Returns whether anything changed at all.
    fn close(mut self) -> Result<bool, ServiceError> {
        if !self.changed {
            return Ok(false);
        }
        if self.shared.gets_no_work(self.thing) {
            return Ok(true);
        }
        let queue = job::pending(&self.executions);
        let after: Vec<PendingJob> = queue.iter().map(|execution| PendingJob::from(*execution)).collect();
        let notices = job::notices(&self.before, &after);
        let now = self.batch.now;
        let topic = |verb| Topic::Jobs { thing: self.thing.clone(), verb }.to_string();
        let (notify, next) = (topic(JobsTopic::Notify), topic(JobsTopic::NotifyNext));
        if notices.notify && self.shared.bus.wanted(self.thing, &notify) {
            self.batch.deliver(self.thing, message(notify, &job::notify(&queue, now)));
        }
        if notices.notify_next
            && let Some(payload) = self.next_payload(&next, queue.first().map(|head| (*head).clone()))?
        {
            self.batch.deliver(self.thing, Message::new(next, payload));
        }
        Ok(true)
    }

    /// What a thing is told whose next execution is this one; `None` when nobody listens.
    fn next_payload(&mut self, topic: &str, head: Option<Execution>) -> Result<Option<Bytes>, ServiceError> {
        if let Some((_, payload)) = self.batch.told.as_ref().filter(|(told, _)| *told == head) {
            return Ok(Some(payload.clone()));
        }
        if !self.shared.bus.wanted(self.thing, topic) {
            return Ok(None);
        }
        let document = match &head {
            Some(head) => self.document(&head.job_id)?.unwrap_or_default(),
            None => Arc::default(),
        };
        let next = job::notify_next(head.as_ref().map(|head| (head, &*document)), self.batch.now);
        let payload: Bytes = Encoding::Json.encode(&next).into();
        self.batch.told = Some((head, payload.clone()));
        Ok(Some(payload))
    }
}

fn message(topic: impl fmt::Display, payload: &impl Serialize) -> Message {
    Message::new(topic, Encoding::Json.encode(payload))
}

fn to_document(value: &impl Serialize) -> Option<JobDocument> {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::Object(document)) => Some(document),
        Ok(_) | Err(_) => None,
    }
}
