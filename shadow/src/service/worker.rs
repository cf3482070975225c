//! A partition's worker: one thread that serves the things of its partition, one batch after the other.

use super::batch::{self, Batch};
use super::shadows::{self, Which};
use super::views::{self, Link};
use super::{ServiceError, Shared, jobs, lives, reconcile};
use crate::records::{CertificateState, Connector, Seen, Sighting, key};
use muster_bus::{Answer, Inbound, LinkChange, LinkState, Request, Requests};
use muster_certs::Role;
use muster_model::job::Execution;
use muster_wire::codec::Encoding;
use muster_wire::enrol::Installation;
use muster_wire::id::{JobId, Sha256Hex, ShadowName, ThingName};
use muster_wire::limits::{COMMIT_BATCH_MAX, INSTALLATION_ID_BYTES_MAX};
use muster_wire::rejection::Rejection;
use muster_wire::shadow;
use muster_wire::telemetry::HostTelemetry;
use muster_wire::topic::{JobsTopic, ShadowTopic, ShadowVerb, StreamTopic, Topic};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use tokio::sync::mpsc;
use tracing::{debug, warn};

/// Serves the things of one partition.
pub(super) struct Worker {
    shared: Arc<Shared>,
    links: HashMap<ThingName, Link>,
    components: ShadowName,
    agent: ShadowName,
}

/// Rebuilds what is only in memory: every connector's view, the timers of every execution, and how the jobs stand.
/// Returns the jobs whose things are to be reached again.
pub(super) fn prepare(shared: &Arc<Shared>) -> Result<BTreeSet<JobId>, ServiceError> {
    shadows::tidy(shared)?;
    // Counted before they are looked at: a look counts what it changes.
    shared.store.scan(crate::store::Key::new(crate::store::Kind::Execution).as_bytes(), &mut |found, stored| {
        if let Err(error) = watch_timer(shared, found, &stored.value) {
            shared.report("read an execution", &error);
        }
        std::ops::ControlFlow::Continue(())
    })?;
    let damaged = jobs::queued::load(shared)?;
    let connectors: Vec<Arc<Connector>> = shared.fleet().connectors.values().cloned().collect();
    let mut worker = Worker::new(shared.clone());
    for page in connectors.chunks(COMMIT_BATCH_MAX) {
        let mut batch = Batch::new(shared.store.as_ref(), shared.clock.now());
        for connector in page {
            let mark = batch.mark();
            if let Err(error) = worker.look(&mut batch, connector) {
                // One damaged record must not keep the whole fleet from being served.
                batch.undo(mark);
                shared.report("look at a connector", &error);
            }
        }
        batch.commit(shared.bus.as_ref())?;
    }
    Ok(damaged)
}

fn watch_timer(shared: &Shared, found: &[u8], value: &[u8]) -> Result<(), ServiceError> {
    let stored: muster_model::job::StoredExecution = crate::store::codec::decode(found, value)?;
    let execution = Execution::from(stored);
    jobs::live::count(&shared.jobs(), &execution);
    let thing = crate::store::Key::parse(found).ok().and_then(|key| ThingName::new(key.parts.first()?).ok());
    if let (Some(due), Some(thing)) = (execution.times_out_at(), thing) {
        shared.timers.set(due, &thing);
    }
    Ok(())
}

impl Worker {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, links: HashMap::new(), components: shadow::components(), agent: shadow::agent() }
    }

    /// The thread's whole life: it ends when the bus is stopped.
    pub(super) fn run(mut self, inbox: mpsc::Receiver<Inbound>) {
        batch::drain(inbox, |waiting| self.serve(waiting));
    }

    fn serve(&mut self, waiting: impl Iterator<Item = Inbound>) {
        let shared = self.shared.clone();
        let mut batch = Batch::new(shared.store.as_ref(), shared.clock.now());
        let mut touched = BTreeSet::new();
        for inbound in waiting {
            self.one(&mut batch, inbound, &mut touched);
        }
        for thing in touched {
            let Some(connector) = shared.fleet().connectors.get(&thing).cloned() else { continue };
            let mark = batch.mark();
            if let Err(error) = self.look(&mut batch, &connector) {
                batch.undo(mark);
                shared.report("look at a connector", &error);
            }
        }
        if let Err(error) = batch.commit(shared.bus.as_ref()) {
            shared.report("commit a batch", &error);
        }
    }

    fn one(&mut self, batch: &mut Batch<'_>, inbound: Inbound, touched: &mut BTreeSet<ThingName>) {
        let mark = batch.mark();
        let outcome = match inbound {
            Inbound::Request(request) => {
                let (connection, tag) = (request.connection.clone(), request.tag);
                let outcome = self.request(batch, request, touched);
                if outcome.is_err() {
                    batch.undo(mark);
                    batch.answer(connection, tag, Answer::failed());
                }
                outcome
            }
            Inbound::Link(change) => self.link(batch, &change, touched),
            Inbound::Assign(assign) => {
                let outcome = jobs::settle(&self.shared, batch, &assign.thing, &assign.job).map(drop);
                let made = outcome.is_ok();
                if !made {
                    batch.undo(mark);
                }
                if let Some(done) = assign.done {
                    let agenda = self.shared.agenda.clone();
                    batch.then(move |committed| {
                        done.count_down(made && committed);
                        if done.outcome().is_some() {
                            agenda.ask(&assign.job);
                        }
                    });
                }
                outcome
            }
            Inbound::Order(order) => {
                let outcome = jobs::order(&self.shared, batch, &order);
                let (answer, outcome) = match outcome {
                    Ok(answer) => (answer, Ok(())),
                    Err(error) => {
                        batch.undo(mark);
                        (Err(Rejection::internal()), Err(error))
                    }
                };
                batch.then(move |committed| {
                    // Whoever asked may have given up.
                    let _ = order.reply.send(if committed { answer } else { Err(Rejection::internal()) });
                });
                outcome
            }
            Inbound::Shadows { thing, reply } => {
                let found = shadows::names(batch, &thing);
                let (answer, outcome) = match found {
                    Ok(names) => (Ok(names), Ok(())),
                    Err(error) => (Err(Rejection::internal()), Err(error)),
                };
                // What this batch wrote counts, so it is said after the commit.
                batch.then(move |committed| {
                    let _ = reply.send(if committed { answer } else { Err(Rejection::internal()) });
                });
                outcome
            }
            Inbound::Wake(thing) => {
                let outcome = jobs::look(&self.shared, batch, &thing).map(drop);
                touched.insert(thing);
                outcome
            }
            // The bus sends these elsewhere.
            Inbound::Enrol { .. }
            | Inbound::Recover { .. }
            | Inbound::Proven { .. }
            | Inbound::Verdict(_)
            | Inbound::Retain(_)
            | Inbound::Jobs
            | Inbound::Stop => Ok(()),
        };
        if let Err(error) = outcome {
            self.shared.report("serve a request", &error);
        }
    }

    fn request(
        &mut self,
        batch: &mut Batch<'_>,
        request: Request,
        touched: &mut BTreeSet<ThingName>,
    ) -> Result<(), ServiceError> {
        match request.topic.clone() {
            Topic::Shadow { thing, shadow, verb: ShadowTopic::Request(verb) } => {
                if verb == ShadowVerb::Update && shadow.as_ref() == Some(&self.agent) {
                    self.sighted(batch, &thing, &request)?;
                }
                let which = Which { thing: &thing, shadow: shadow.as_ref() };
                let depth_max = self.shared.config.shadow_depth_max;
                let changed = shadows::handle(batch, self.shared.bus.as_ref(), which, verb, request, depth_max)?;
                let ours = shadow.is_some_and(|shadow| shadow == self.components || shadow == self.agent);
                if changed && ours {
                    touched.insert(thing);
                }
            }
            Topic::Jobs { thing, verb: JobsTopic::Request(verb) } => {
                if let Some(why) = self.closed(batch, &thing)? {
                    jobs::refuse(batch, &thing, verb, request, why);
                    return Ok(());
                }
                if jobs::handle(&self.shared, batch, &thing, verb, request)? {
                    touched.insert(thing);
                }
            }
            // It changes nothing and may wait for a disk; its answer comes from another thread.
            Topic::Stream { verb: StreamTopic::Request(_), .. } => self.shared.streams.submit(request),
            Topic::Telemetry { thing, .. } => {
                match Encoding::of(&request.payload).decode::<HostTelemetry>(&request.payload) {
                    // JSON has no infinity: one would make every listing unreadable.
                    Ok(telemetry) if !telemetry.is_finite() => debug!(%thing, "telemetry is not finite"),
                    Ok(telemetry) => views::telemetry(&self.shared, &thing, telemetry),
                    Err(error) => debug!(%thing, %error, "telemetry is not usable"),
                }
                batch.answer(request.connection, request.tag, Answer::settled());
            }
            other => {
                // The door's policy lets no client publish here; answering keeps the client's window open.
                warn!(topic = %other, "a request came to a partition that does not serve it");
                batch.answer(request.connection, request.tag, Answer::settled());
            }
        }
        Ok(())
    }

    fn link(
        &mut self,
        batch: &mut Batch<'_>,
        change: &LinkChange,
        touched: &mut BTreeSet<ThingName>,
    ) -> Result<(), ServiceError> {
        if !self.shared.fleet().connectors.contains_key(&change.thing) {
            return Ok(());
        }
        let now = batch.now;
        self.settle_in(batch, &change.thing)?;
        let link = self.links_of(batch, &change.thing)?;
        let was_up = !link.sessions.is_empty();
        match change.state {
            LinkState::Up => link.sessions.insert(change.session, change.caller.clone()),
            LinkState::Down => link.sessions.remove(&change.session),
        };
        match (was_up, !link.sessions.is_empty()) {
            (false, true) => link.seen.changed(now, true),
            (true, false) => link.seen.changed(now, false),
            (false, false) | (true, true) => {}
        }
        let seen = link.seen.clone();
        batch.put(&key::seen(&change.thing), &seen)?;
        touched.insert(change.thing.clone());
        Ok(())
    }

    fn look(&mut self, batch: &mut Batch<'_>, connector: &Connector) -> Result<(), ServiceError> {
        let shared = self.shared.clone();
        self.settle_in(batch, &connector.name)?;
        let link = self.links_of(batch, &connector.name)?.clone();
        self.prove(connector, &link);
        reconcile::look(&shared, batch, connector, &link)
    }

    /// An agent says which installation it is, and how often it has connected.
    fn sighted(&mut self, batch: &mut Batch<'_>, thing: &ThingName, request: &Request) -> Result<(), ServiceError> {
        let caller = &request.caller;
        // Over HTTP there is no connection that could be told from another.
        let is_own = !request.connection.hears_only_answers()
            && caller.identity.role() == Role::Connector
            && caller.identity.name() == thing.as_str();
        if !is_own || !self.shared.fleet().connectors.contains_key(thing) {
            return Ok(());
        }
        let payload = Encoding::of(&request.payload).decode::<serde_json::Value>(&request.payload).unwrap_or_default();
        let told = payload.pointer("/state/reported/installation").cloned();
        let told = told.and_then(|told| serde_json::from_value::<Installation>(told).ok());
        let Some(told) = told.filter(|told| (1..=INSTALLATION_ID_BYTES_MAX).contains(&told.id.len())) else {
            return Ok(());
        };
        self.settle_in(batch, thing)?;
        let now = batch.now;
        let link = self.links_of(batch, thing)?;
        let was = link.sighting.suspicion.clone();
        if !link.sighted(request.session, &caller.client_id, &told, now) {
            return Ok(());
        }
        let sighting = link.sighting.clone();
        batch.put(&key::sighting(thing), &sighting)?;
        if let Some(suspicion) = sighting.suspicion.filter(|_| was.is_none()) {
            warn!(%thing, why = suspicion.why, peer = %caller.peer, "the identity runs in two places; it gets no work");
            self.shared.suspect(thing, Some(suspicion));
        }
        Ok(())
    }

    /// A new incarnation begins with what it says itself.
    fn settle_in(&mut self, batch: &mut Batch<'_>, thing: &ThingName) -> Result<(), ServiceError> {
        let shared = self.shared.clone();
        let known = shared.fleet().connectors.get(thing).map(|connector| connector.incarnation);
        let Some(incarnation) = known else { return Ok(()) };
        let link = self.links_of(batch, thing)?;
        if link.sighting.incarnation == incarnation {
            return Ok(());
        }
        link.sighting = Sighting { incarnation, ..Sighting::default() };
        link.agents.clear();
        let sighting = link.sighting.clone();
        batch.put(&key::sighting(thing), &sighting)?;
        shared.suspect(thing, None);
        lives::forget_reports(&shared, batch, thing)
    }

    /// Why this thing gets no work at present.
    fn closed(&mut self, batch: &mut Batch<'_>, thing: &ThingName) -> Result<Option<String>, ServiceError> {
        let Some(connector) = self.shared.fleet().connectors.get(thing).cloned() else { return Ok(None) };
        let link = self.links_of(batch, thing)?;
        Ok(lives::closed(&connector, &link.sighting))
    }

    /// Tells the fleet's worker of certificates that are used for the first time. When its inbox is full, the next look
    /// tells it: until then both the new certificate and the one before it open the door.
    fn prove(&self, connector: &Connector, link: &Link) {
        for caller in link.sessions.values() {
            let Ok(certificate) = Sha256Hex::new(&caller.certificate_id) else { continue };
            let known = self.shared.config.admission.get(&certificate);
            if known.is_some_and(|known| known.state == CertificateState::Pending) {
                let proven = Inbound::Proven { thing: connector.name.clone(), certificate };
                let _ = self.shared.bus.submit(proven);
            }
        }
    }

    fn links_of(&mut self, batch: &mut Batch<'_>, thing: &ThingName) -> Result<&mut Link, ServiceError> {
        if !self.links.contains_key(thing) {
            let mut seen = batch.get::<Seen>(&key::seen(thing))?.unwrap_or_default();
            if seen.is_up() {
                // The server died meanwhile, and nobody saw it go.
                seen.changed(batch.now, false);
                batch.put(&key::seen(thing), &seen)?;
            }
            let sighting = batch.get::<Sighting>(&key::sighting(thing))?.unwrap_or_default();
            self.shared.suspect(thing, sighting.suspicion.clone());
            self.links.insert(thing.clone(), Link { seen, sighting, ..Link::default() });
        }
        Ok(self.links.get_mut(thing).expect("inserted above"))
    }
}
