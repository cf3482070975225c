//! The shadow service: requests on `$aws/things/{thing}/shadow/…`.
//!
//! Accepted and rejected come in the encoding of the request; `delta` and `documents` go to others and are JSON. Who
//! hears nothing but answers, over HTTP, gets them directly; then only what changed something is published as well.

use super::batch::Batch;
use super::{ServiceError, Shared};
use crate::records::{DeletedShadow, StoredDeletedShadow, StoredShadow, key};
use crate::store::{Key, Kind, codec};
use bytes::Bytes;
use muster_bus::{Answer, Deliveries, Message, Request};
use muster_model::shadow::{self, Previous, ShadowDoc, UpdateRequest};
use muster_wire::codec::Encoding;
use muster_wire::id::{ShadowName, ThingName};
use muster_wire::limits::{COMMIT_BATCH_MAX, DELETED_SHADOWS_PER_THING_MAX, SHADOWS_PER_THING_MAX};
use muster_wire::shadow::{ShadowError, ShadowRejected};
use muster_wire::time::Timestamp;
use muster_wire::topic::{ShadowTopic, ShadowVerb, Topic};
use std::ops::ControlFlow;
use tracing::debug;

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

    /// Its name in keys: the classic one has none.
    fn stored_name(&self) -> &str {
        self.shadow.map_or("", ShadowName::as_str)
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
    depth_max: usize,
) -> Result<bool, ServiceError> {
    let encoding = Encoding::of(&request.payload);
    let record = key::shadow(which.thing, which.shadow);
    let (outcome, changed) = match verb {
        _ if request.is_excess => {
            let token = shadow::parse_token(&request.payload, encoding).unwrap_or_default();
            (Err((ShadowError::new(429, TOO_MANY), token)), false)
        }
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
                batch.delete(&record)?;
                remember(batch, which, DeletedShadow::of(&doc))?;
            }
            (deleted, done)
        }
        ShadowVerb::Update => match shadow::parse_update(&request.payload, encoding, depth_max) {
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

/// AWS does not say in which words.
const TOO_MANY: &str = "Too many requests of this client about the thing are not answered yet; wait for an answer";

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
    let deleted = key::deleted_shadow(which.thing, which.stored_name());
    let (mut doc, is_again) = match batch.get::<ShadowDoc>(&record)? {
        Some(doc) => (doc, false),
        None if batch.count(&key::shadows(which.thing), SHADOWS_PER_THING_MAX)? >= SHADOWS_PER_THING_MAX => {
            let message = format!("The thing has {SHADOWS_PER_THING_MAX} shadows; no more are kept");
            return Ok(Err(ShadowError::new(429, message)));
        }
        None => match batch.get::<DeletedShadow>(&deleted)? {
            Some(known) if known.has_expired(batch.now) => (ShadowDoc::default(), true),
            Some(known) => (known.doc(), true),
            None => (ShadowDoc::default(), false),
        },
    };
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
    if is_again {
        batch.delete(&deleted)?;
    }
    Ok(Ok(accepted))
}

/// Keeps the version of a deleted shadow, for a while and of so many: forgets what has expired, and then the oldest.
fn remember(batch: &mut Batch<'_>, which: Which<'_>, deleted: DeletedShadow) -> Result<(), ServiceError> {
    let known = batch.scan_with_keys::<DeletedShadow>(&key::all_deleted_shadows().part(which.thing))?;
    let now = batch.now;
    let (expired, mut kept): (Vec<_>, Vec<_>) = known.into_iter().partition(|(_, one)| one.has_expired(now));
    kept.sort_by_key(|(_, one)| one.at);
    kept.truncate((kept.len() + 1).saturating_sub(DELETED_SHADOWS_PER_THING_MAX));
    for (key, _) in expired.into_iter().chain(kept) {
        if let Ok(key) = Key::from_stored(&key) {
            batch.delete(&key)?;
        }
    }
    batch.put(&key::deleted_shadow(which.thing, which.stored_name()), &deleted)
}

/// At the start: forgets deleted shadows that have expired. Earlier versions of this program kept them as documents, which
/// count as shadows of the thing: those are told by their length, for most documents are longer, and become what they are.
pub(super) fn tidy(shared: &Shared) -> Result<(), ServiceError> {
    let (store, now) = (shared.store.as_ref(), shared.clock.now());
    let mut old: Vec<(Vec<u8>, DeletedShadow)> = Vec::new();
    let mut failed = None;
    store.scan(Key::new(Kind::Shadow).as_bytes(), &mut |found, stored| {
        if stored.value.len() <= TOMBSTONE_BYTES_MAX {
            match codec::decode::<StoredShadow>(found, &stored.value).map(ShadowDoc::from) {
                Ok(doc) if !doc.is_live() => old.push((found.to_vec(), DeletedShadow::of(&doc))),
                Ok(_) => {}
                Err(error) => failed = Some(error),
            }
        }
        ControlFlow::Continue(())
    })?;
    if let Some(error) = failed {
        // Whoever needs the record is told.
        debug!(%error, "a shadow cannot be read");
    }
    let mut expired: Vec<Vec<u8>> = Vec::new();
    store.scan(key::all_deleted_shadows().as_bytes(), &mut |found, stored| {
        let known = codec::decode::<StoredDeletedShadow>(found, &stored.value).map(DeletedShadow::from);
        if known.is_ok_and(|known| known.has_expired(now)) {
            expired.push(found.to_vec());
        }
        ControlFlow::Continue(())
    })?;
    for page in expired.chunks(COMMIT_BATCH_MAX) {
        let mut batch = Batch::new(store, now);
        page.iter().filter_map(|key| Key::from_stored(key).ok()).try_for_each(|key| batch.delete(&key))?;
        batch.commit(shared.bus.as_ref())?;
    }
    for page in old.chunks(COMMIT_BATCH_MAX) {
        let mut batch = Batch::new(store, now);
        for (key, known) in page {
            let (Ok(key), Ok(parsed)) = (Key::from_stored(key), Key::parse(key)) else { continue };
            batch.delete(&key)?;
            if let [thing, shadow] = parsed.parts.as_slice()
                && let Ok(thing) = ThingName::new(thing)
                && !known.has_expired(now)
            {
                batch.put(&key::deleted_shadow(&thing, shadow), known)?;
            }
        }
        batch.commit(shared.bus.as_ref())?;
    }
    Ok(())
}

/// A deleted shadow of an earlier version has 40 to 60 bytes.
const TOMBSTONE_BYTES_MAX: usize = 80;

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
