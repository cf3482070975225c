//! The one connection to the server: MQTT 5 over TLS, directly or through a proxy, made again whenever it breaks.
//!
//! Nothing is kept over a break: what was asked and not answered is asked anew by [`crate::agent`], so every connection
//! begins with empty queues.

mod end;
mod proof;
mod refusal;
mod session;

pub use end::End;

use crate::counter::Counter;
use crate::dial::{self, DialError, Way};
use crate::settings::Server;
use crate::tls::Tls;
use muster_runtime::backoff::Backoff;
use muster_runtime::ids;
use muster_wire::id::ThingName;
use muster_wire::limits::{RETRY_BASE, RETRY_CAP};
use muster_wire::shadow;
use muster_wire::topic::{CertificateTopic, JobRef, JobsTopic, JobsVerb, ShadowTopic, ShadowVerb, Topic};
pub use session::{Session, SessionError};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

pub use proof::{ProofError, prove};
pub use refusal::{Refusal, in_io, is_about_time};

/// A message to the server.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Where to.
    pub topic: Topic,
    /// CBOR.
    pub payload: Vec<u8>,
    /// Whether the server must acknowledge it.
    pub acknowledged: bool,
}

/// What the link tells.
#[derive(Clone, Debug)]
pub enum Said {
    /// Connected and subscribed: ask for everything.
    Up,
    /// The connection is gone, or was not made.
    Down(End),
    /// What is wrong with the identity or the clock of this host, or that nothing is any more.
    Identity(Option<String>),
    /// A message.
    Message {
        /// Where from.
        topic: Topic,
        /// As it came.
        payload: bytes::Bytes,
    },
}

/// How to reach the server.
#[derive(Clone, Debug)]
pub struct Target {
    /// The server.
    pub server: Server,
    /// Directly, or through a proxy.
    pub way: Way,
    /// Who we are.
    pub thing: ThingName,
    /// Kept for the life of the program: TLS sessions are resumed from it.
    pub tls: Tls,
    /// How often a sign of life is given.
    pub heartbeat: Duration,
    /// Counts the attempts of the agent itself; a check counts none.
    pub counter: Option<Arc<Counter>>,
}

/// Who listens to the link.
#[derive(Clone, Debug)]
pub struct Ears {
    /// The agent: everything but what is about certificates.
    pub agent: mpsc::Sender<Said>,
    /// The keeper of the identity: what is about certificates, and why the server does not let us in.
    pub keeper: mpsc::Sender<Heard>,
}

/// What the keeper of the identity hears.
#[derive(Clone, Debug)]
pub enum Heard {
    /// Connected and subscribed.
    Up,
    /// The connection is gone.
    Down,
    /// The server was reached and there was no connection with it.
    Refused(Refusal),
    /// An answer about certificates, or a hint.
    Message {
        /// What is said.
        verb: CertificateTopic,
        /// As it came.
        payload: bytes::Bytes,
    },
}

impl Ears {
    async fn agent(&self, said: Said) -> Result<(), LinkError> {
        self.agent.send(said).await.map_err(|_| LinkError::Stopping)
    }

    async fn keeper(&self, heard: Heard) -> Result<(), LinkError> {
        self.keeper.send(heard).await.map_err(|_| LinkError::Stopping)
    }

    async fn down(&self, end: End, refusal: Option<Refusal>) -> Result<(), LinkError> {
        if let Some(refusal) = refusal {
            self.keeper(Heard::Refused(refusal)).await?;
        }
        self.keeper(Heard::Down).await?;
        self.agent(Said::Down(end)).await
    }
}

/// Why there is no connection, or none any more.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// It was never made.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// It ended.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// Nobody listens any more.
    #[error("the agent is stopping")]
    Stopping,
}

/// Messages on their way to or from the link.
pub const QUEUE: usize = 64;
/// A connection that stood for so long was a good one; the next wait begins small again.
const SETTLED_AFTER: Duration = Duration::from_secs(30);
/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// Keeps the connection until `stop`.
pub async fn keep(target: Target, mut outbox: mpsc::Receiver<Outgoing>, ears: Ears, stop: CancellationToken) {
    let mut backoff = Backoff::new(RETRY_BASE, RETRY_CAP);
    while !stop.is_cancelled() {
        let begun = tokio::time::Instant::now();
        if let Some(counter) = &target.counter {
            counter.begin();
        }
        let opened = tokio::select! {
            // Dropped anywhere, a connection that was not made is no loss.
            () = stop.cancelled() => return,
            opened = open(&target, target.thing.as_str()) => opened,
        };
        let mut refusal = None;
        let end = match opened {
            Ok(mut session) => tokio::select! {
                // A message that was half sent is asked anew after the next connect.
                () = stop.cancelled() => {
                    let _ = tokio::time::timeout(GOODBYE, session.goodbye()).await;
                    return;
                }
                end = serve(&target, &mut session, &mut outbox, &ears) => match end {
                    Ok(never) => match never {},
                    Err(end) => end,
                }
            },
            Err(end) => {
                refusal = refusal::of(&end);
                end
            }
        };
        if ears.down(End::from(&end), refusal).await.is_err() {
            return;
        }
        while outbox.try_recv().is_ok() {}
        if begun.elapsed() >= SETTLED_AFTER {
            backoff.reset();
        }
        let wait = backoff.next(ids::random_fraction());
        warn!(error = %end, server = %target.server, wait_ms = wait.as_millis(), "not connected");
        tokio::select! {
            // Cancel-safe: neither holds anything.
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
            // The server ends the connections of a certificate that was replaced: the next one is made at once.
            () = target.tls.replaced() => backoff.reset(),
        }
    }
}

/// Connects once, as far as the server's yes to CONNECT, and says goodbye.
pub async fn try_once(target: &Target, client_id: &str) -> Result<(), LinkError> {
    let session = open(target, client_id).await?;
    let _ = tokio::time::timeout(GOODBYE, session.goodbye()).await;
    Ok(())
}

/// Connects as far as the server's yes to CONNECT.
pub async fn open(target: &Target, client_id: &str) -> Result<Session<TlsStream<TcpStream>>, LinkError> {
    let stream = dial::connect(&target.server, &target.way).await?;
    let stream = dial::secure(stream, &target.server, &target.way, &target.tls.current()).await?;
    Ok(Session::open(stream, client_id, target.heartbeat).await?)
}

/// One connection from its subscriptions to its end.
async fn serve(
    target: &Target,
    session: &mut Session<TlsStream<TcpStream>>,
    outbox: &mut mpsc::Receiver<Outgoing>,
    ears: &Ears,
) -> Result<Infallible, LinkError> {
    // The answers to what is asked next would otherwise be missed.
    for filters in subscriptions(&target.thing) {
        session.subscribe(filters).await?;
    }
    info!(server = %target.server, thing = %target.thing, "connected");
    ears.agent(Said::Up).await?;
    ears.keeper(Heard::Up).await?;
    let mut ping_at = tokio::time::Instant::now() + session.heartbeat();
    loop {
        let has_room = session.has_room();
        tokio::select! {
            // Cancel-safe: what was read stays in the session, the queue keeps what was not taken.
            packet = session.next() => {
                if let Some((topic, payload)) = session.settle(packet?).await? {
                    match std::str::from_utf8(&topic).ok().and_then(|topic| Topic::parse(topic).ok()) {
                        Some(Topic::Certificate { verb, .. }) => ears.keeper(Heard::Message { verb, payload }).await?,
                        Some(topic) => ears.agent(Said::Message { topic, payload }).await?,
                        None => debug!("a message on an unknown topic is ignored"),
                    }
                }
            }
            outgoing = outbox.recv(), if has_room => {
                let Outgoing { topic, payload, acknowledged } = outgoing.ok_or(LinkError::Stopping)?;
                session.publish(&topic.to_string(), payload, acknowledged).await?;
            }
            () = tokio::time::sleep_until(ping_at) => {
                session.ping().await?;
                ping_at = tokio::time::Instant::now() + session.heartbeat();
            }
        }
    }
}

/// The filters, in lists of at most eight: more are not taken in one packet.
fn subscriptions(thing: &ThingName) -> [Vec<String>; 2] {
    use ShadowTopic::{Accepted, Delta, Rejected};
    let of_shadow = |verb| {
        let shadow = Some(shadow::components());
        Topic::Shadow { thing: thing.clone(), shadow, verb }.to_string()
    };
    let of_jobs = |verb| Topic::Jobs { thing: thing.clone(), verb }.to_string();
    let get = [Accepted(ShadowVerb::Get), Rejected(ShadowVerb::Get)];
    let update = [Accepted(ShadowVerb::Update), Rejected(ShadowVerb::Update), Delta];
    let checked_in = [Accepted(ShadowVerb::Update), Rejected(ShadowVerb::Update)].map(|verb| {
        let shadow = Some(shadow::agent());
        Topic::Shadow { thing: thing.clone(), shadow, verb }.to_string()
    });
    let certificate = Topic::Certificate { thing: thing.clone(), verb: CertificateTopic::Notify }.to_string();
    let shadows = get.into_iter().chain(update).map(of_shadow).chain(checked_in).chain([certificate]).collect();
    let notify_next = of_jobs(JobsTopic::NotifyNext);
    let any = |topic: JobsTopic| one_level_wider(&of_jobs(topic));
    let job = notify_next.strip_suffix("notify-next").unwrap_or_default();
    let jobs = vec![
        any(JobsTopic::Accepted(JobsVerb::GetPending)),
        any(JobsTopic::Accepted(JobsVerb::StartNext)),
        any(JobsTopic::Accepted(JobsVerb::Describe(JobRef::Next))),
        format!("{job}+/update/+"),
        notify_next,
    ];
    [shadows, jobs]
}

/// `a/b/accepted` as `a/b/+`.
fn one_level_wider(topic: &str) -> String {
    let parent = topic.rsplit_once('/').map_or("", |(parent, _)| parent);
    format!("{parent}/+")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use muster_wire::filter::TopicFilter;
    use muster_wire::limits::FILTERS_PER_SUBSCRIBE_MAX;

    #[test]
    fn the_filters_are_the_documented_ones() {
        let [shadows, jobs] = subscriptions(&ThingName::new("host-1").unwrap());
        assert!(shadows.len() <= FILTERS_PER_SUBSCRIBE_MAX && jobs.len() <= FILTERS_PER_SUBSCRIBE_MAX);
        assert_eq!(
            shadows,
            [
                "$aws/things/host-1/shadow/name/components/get/accepted",
                "$aws/things/host-1/shadow/name/components/get/rejected",
                "$aws/things/host-1/shadow/name/components/update/accepted",
                "$aws/things/host-1/shadow/name/components/update/rejected",
                "$aws/things/host-1/shadow/name/components/update/delta",
                "$aws/things/host-1/shadow/name/agent/update/accepted",
                "$aws/things/host-1/shadow/name/agent/update/rejected",
                "muster/things/host-1/certificate/notify",
            ]
        );
        assert_eq!(
            jobs,
            [
                "$aws/things/host-1/jobs/get/+",
                "$aws/things/host-1/jobs/start-next/+",
                "$aws/things/host-1/jobs/$next/get/+",
                "$aws/things/host-1/jobs/+/update/+",
                "$aws/things/host-1/jobs/notify-next",
            ]
        );
        assert!(shadows.iter().chain(&jobs).all(|filter| TopicFilter::new(filter).is_ok()));
    }
}
