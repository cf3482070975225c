//! The shadow service: requests on `$aws/things/{thing}/shadow/…`.
//!
//! Accepted and rejected come in the encoding of the request; `delta` and `documents` go to others and are JSON. Who
//! hears nothing but answers, over HTTP, gets them directly; then only what changed something is published as well.

use super::ServiceError;
use super::batch::Batch;
use crate::records::key;
use crate::store::Key;
use bytes::Bytes;
use muster_bus::{Answer, Deliveries, Message, Request};
use muster_model::shadow::{self, Previous, ShadowDoc, UpdateRequest};
use muster_wire::codec::Encoding;
use muster_wire::id::{ShadowName, ThingName};
use muster_wire::limits::SHADOWS_PER_THING_MAX;
use muster_wire::shadow::{ShadowError, ShadowRejected};
use muster_wire::time::Timestamp;
use muster_wire::topic::{ShadowTopic, ShadowVerb, Topic};

/// A shadow of a thing.
#[derive(Clone, Copy)]
pub(super) struct Which<'a> {
    pub(super) thing: &'a ThingName,
    pub(super) shadow: Option<&'a ShadowName>,
}

impl Which<'_> {
    fn topic(&self, verb: ShadowTopic) -> Topic {
        Topic::Shadow { thing: self.thing.clone(), shadow: self.shadow.cloned(), verb }
    }

    /// What AWS puts in quotes when the shadow does not exist.
    fn name(&self) -> &str {
        self.shadow.map_or(self.thing.as_str(), ShadowName::as_str)
    }
}

/// Carries out a client's request. Returns whether the shadow changed.
pub(super) fn handle(
    batch: &mut Batch<'_>,
    bus: &dyn Deliveries,
    which: Which<'_>,
    verb: ShadowVerb,
    request: Request,
) -> Result<bool, ServiceError> {
    let encoding = Encoding::of(&request.payload);
    let record = key::shadow(which.thing, which.shadow);
    let (outcome, changed) = match verb {
        ShadowVerb::Get => {
            let token = shadow::parse_token(&request.payload, encoding);
            let doc = batch.get::<ShadowDoc>(&record)?.unwrap_or_default();
            let now = batch.now;
            (with_token(token, |token| shadow::get(&doc, which.name(), now, token, encoding)), false)
        }
        ShadowVerb::Delete => {
            let token = shadow::parse_token(&request.payload, encoding);
            let mut doc = batch.get::<ShadowDoc>(&record)?.unwrap_or_default();
            let now = batch.now;
            let deleted = with_token(token, |token| shadow::delete(&mut doc, which.name(), now, token, encoding));
            let done = deleted.is_ok();
            if done {
                batch.put(&record, &doc)?;
            }
            (deleted, done)
        }
        ShadowVerb::Update => match shadow::parse_update(&request.payload, encoding) {
            Err(refusal) => (Err(refusal), false),
            Ok(update) => match apply(batch, bus, which, &update, encoding)? {
                Ok(accepted) => (Ok(accepted), true),
                Err(error) => (Err((error, update.client_token().map(str::to_owned))), false),
            },
        },
    };
    // What an update says was published with it, in its order.
    let published = changed && verb == ShadowVerb::Update;
    let direct = request.connection.hears_only_answers();
    let answer = if published && !direct {
        Answer::settled()
    } else {
        let message = message(which, verb, encoding, outcome, batch.now);
        match (direct, changed && !published) {
            (false, _) => {
                batch.deliver(which.thing, message);
                Answer::settled()
            }
            (true, true) => {
                batch.deliver(which.thing, message.clone());
                Answer::with(message)
            }
            (true, false) => Answer::with(message),
        }
    };
    batch.answer(request.connection, request.tag, answer);
    Ok(changed)
}

/// The named shadows of a thing that exist, in the order of their names.
pub(super) fn names(batch: &mut Batch<'_>, thing: &ThingName) -> Result<Vec<ShadowName>, ServiceError> {
    let found = batch.scan_with_keys::<ShadowDoc>(&key::shadows(thing))?;
    let live = found.into_iter().filter(|(_, doc)| doc.is_live());
    // The classic shadow has an empty name, which is none.
    Ok(live.filter_map(|(key, _)| ShadowName::new(Key::parse(&key).ok()?.parts.get(1)?).ok()).collect())
}

/// Applies an update of a client or of the service itself, and tells who listens. Returns the payload of `accepted`.
pub(super) fn apply(
    batch: &mut Batch<'_>,
    bus: &dyn Deliveries,
    which: Which<'_>,
    update: &UpdateRequest,
    encoding: Encoding,
) -> Result<Result<Bytes, ShadowError>, ServiceError> {
    let record = key::shadow(which.thing, which.shadow);
    let known = batch.get::<ShadowDoc>(&record)?;
    if known.is_none() && batch.count(&key::shadows(which.thing), SHADOWS_PER_THING_MAX)? >= SHADOWS_PER_THING_MAX {
        let message = format!("The thing has {SHADOWS_PER_THING_MAX} shadows; no more are kept");
        return Ok(Err(ShadowError::new(429, message)));
    }
    let mut doc = known.unwrap_or_default();
    let documents = which.topic(ShadowTopic::Documents).to_string();
    let previous = if bus.wanted(which.thing, &documents) { Previous::Keep } else { Previous::Drop };
    let updated = match shadow::update(&mut doc, update, batch.now, previous) {
        Ok(updated) => updated,
        Err(error) => return Ok(Err(error)),
    };
    let accepted = Bytes::from(updated.accepted(encoding));
    let delta_topic = which.topic(ShadowTopic::Delta).to_string();
    let delta = if bus.wanted(which.thing, &delta_topic) { updated.delta(Encoding::Json) } else { None };
    let documents_payload = updated.documents(Encoding::Json);
    let topic = which.topic(ShadowTopic::Accepted(ShadowVerb::Update));
    batch.deliver(which.thing, Message::new(topic, accepted.clone()));
    if let Some(delta) = delta {
        batch.deliver(which.thing, Message::new(delta_topic, delta));
    }
    if let Some(payload) = documents_payload {
        batch.deliver(which.thing, Message::new(documents, payload));
    }
    batch.put(&record, &doc)?;
    Ok(Ok(accepted))
}

type Refusal = (ShadowError, Option<String>);

fn with_token(
    token: Result<Option<String>, ShadowError>,
    run: impl FnOnce(Option<&str>) -> Result<Vec<u8>, ShadowError>,
) -> Result<Bytes, Refusal> {
    let token = token.map_err(|error| (error, None))?;
    run(token.as_deref()).map(Bytes::from).map_err(|error| (error, token))
}

fn message(
    which: Which<'_>,
    verb: ShadowVerb,
    encoding: Encoding,
    outcome: Result<Bytes, Refusal>,
    now: Timestamp,
) -> Message {
    match outcome {
        Ok(payload) => Message::new(which.topic(ShadowTopic::Accepted(verb)), payload),
        Err((error, token)) => {
            let payload = encoding.encode(&ShadowRejected::new(&error, token.as_deref(), now));
            Message::new(which.topic(ShadowTopic::Rejected(verb)), payload)
        }
    }
}
