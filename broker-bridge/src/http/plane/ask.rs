//! A request to the services, and the wait for its answer.

use super::fault::{Fault, Kind};
use crate::bridge::Shared;
use crate::crowd::Place;
use bytes::Bytes;
use muster_bus::{Answer, Caller, Connection, Inbound, Outcome, Request, Requests, Stopped, Submitted, Tag};
use muster_certs::identity::Identity;
use muster_wire::id::ThingName;
use muster_wire::topic::{ShadowTopic, Topic};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tracing::warn;

/// The service must have answered by then.
pub(super) const ANSWER_DEADLINE: Duration = Duration::from_secs(30);

/// Where the answer of the service goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Hears {
    /// To the requester alone.
    Answers,
    /// Where it goes for an MQTT client.
    Topics,
}

/// The one who asked.
struct Asker {
    hears: Hears,
    waits: Mutex<Option<Waits>>,
}

/// What is over with the answer.
struct Waits {
    reply: oneshot::Sender<Answer>,
    /// Kept until the service is done, whether the client waits for it or has hung up.
    place: Option<Place<(Identity, ThingName)>>,
}

impl Connection for Asker {
    fn answer(&self, _tag: Tag, answer: Answer) {
        if let Some(Waits { reply, place }) = self.waits.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // Who has its answer may ask the next at once.
            drop(place);
            // The client may have hung up.
            let _ = reply.send(answer);
        }
    }

    fn hears_only_answers(&self) -> bool {
        self.hears == Hears::Answers
    }
}

/// Asks the service of a thing. An HTTP connection carries one request at a time, so what over MQTT is counted for a
/// connection, shadow requests about one thing without an answer, is counted here for who asks, over all its connections.
pub(super) async fn ask(
    shared: &Shared,
    caller: Arc<Caller>,
    topic: Topic,
    payload: Bytes,
    hears: Hears,
) -> Result<Answer, Fault> {
    let (reply, answer) = oneshot::channel();
    let (place, is_excess) = match &topic {
        Topic::Shadow { thing, verb: ShadowTopic::Request(_), .. } => {
            let place = shared.shadow_requests.enter((caller.identity.clone(), thing.clone()));
            let is_excess = place.is_none();
            (place, is_excess)
        }
        _ => (None, false),
    };
    let connection = Arc::new(Asker { hears, waits: Mutex::new(Some(Waits { reply, place })) });
    let session = shared.next_session();
    let request = Request { topic, payload, caller, session, response: None, is_excess, tag: 0, connection };
    submit(shared, Inbound::Request(request)).await?;
    let answer = wait(answer).await?;
    match answer.outcome {
        Outcome::Settled => Ok(answer),
        Outcome::Failed => Err(Fault::failed()),
    }
}

/// Hands something to the services.
pub(super) async fn submit(shared: &Shared, inbound: Inbound) -> Result<(), Fault> {
    let stopped = |Stopped| Fault::new(Kind::Unavailable, "the server is shutting down; try again");
    match shared.bus.submit(inbound).map_err(stopped)? {
        Submitted::Queued => Ok(()),
        Submitted::Full(queued) => queued.await.map_err(stopped),
    }
}

/// Waits for what the services say.
pub(super) async fn wait<T>(answer: oneshot::Receiver<T>) -> Result<T, Fault> {
    match timeout(ANSWER_DEADLINE, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(_)) | Err(_) => {
            warn!("the service did not answer a request of the data plane");
            Err(Fault::failed())
        }
    }
}
