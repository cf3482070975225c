//! The one connection to the server: MQTT 5 over TLS, made again whenever it breaks.
//!
//! Nothing is kept over a break: what was asked and not answered is asked anew by [`crate::agent`], so every connection
//! begins with empty queues.

use muster_runtime::backoff::Backoff;
use muster_runtime::ids;
use muster_wire::id::ThingName;
use muster_wire::limits::{HEARTBEAT, PACKET_BYTES_MAX, RETRY_BASE, RETRY_CAP};
use muster_wire::shadow;
use muster_wire::topic::{JobRef, JobsTopic, JobsVerb, ShadowTopic, ShadowVerb, Topic};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Filter, Packet, SubscribeReasonCode};
use rumqttc::v5::{AsyncClient, ConnectionError, Event, EventLoop, MqttOptions};
use rumqttc::{TlsConfiguration, Transport};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

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
    /// The connection is gone.
    Down,
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
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Who we are.
    pub thing: ThingName,
    /// Kept for the life of the program: TLS sessions are resumed from it.
    pub tls: Arc<rustls::ClientConfig>,
}

/// Messages on their way to or from the link.
pub const QUEUE: usize = 64;
/// A connection that stood for so long was a good one; the next wait begins small again.
const SETTLED_AFTER: Duration = Duration::from_secs(30);
/// Larger than any packet of the server's: rumqttc would otherwise end the connection at 10 KiB.
const INCOMING_PACKET_MAX: u32 = 256 * 1024;
const _: () = assert!(PACKET_BYTES_MAX < INCOMING_PACKET_MAX as usize);
/// QoS 1 messages that the server has not acknowledged; rumqttc keeps a table of this size.
const IN_FLIGHT_MAX: u16 = 64;
/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// Keeps the connection until `stop`.
pub async fn keep(
    target: Target,
    mut outbox: mpsc::Receiver<Outgoing>,
    said: mpsc::Sender<Said>,
    stop: CancellationToken,
) {
    let mut backoff = Backoff::new(RETRY_BASE, RETRY_CAP);
    while !stop.is_cancelled() {
        let begun = tokio::time::Instant::now();
        let (client, mut events) = AsyncClient::new(options(&target), QUEUE);
        let end = tokio::select! {
            // Nothing of a connection is used after its end, so the other branch may be dropped anywhere.
            () = stop.cancelled() => {
                say_goodbye(&client, &mut events).await;
                return;
            }
            end = connection(&target, &client, &mut events, &mut outbox, &said) => end,
        };
        if said.send(Said::Down).await.is_err() {
            return;
        }
        while outbox.try_recv().is_ok() {}
        if begun.elapsed() >= SETTLED_AFTER {
            backoff.reset();
        }
        let wait = backoff.next(ids::random_fraction());
        warn!(error = %end, host = target.host, port = target.port, wait_ms = wait.as_millis(), "not connected");
        tokio::select! {
            // Cancel-safe: neither holds anything.
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// One connection from its beginning to its end; says why it ended.
async fn connection(
    target: &Target,
    client: &AsyncClient,
    events: &mut EventLoop,
    outbox: &mut mpsc::Receiver<Outgoing>,
    said: &mpsc::Sender<Said>,
) -> String {
    if let Err(end) = establish(target, client, events).await {
        return end;
    }
    info!(host = target.host, port = target.port, thing = %target.thing, "connected");
    if said.send(Said::Up).await.is_err() {
        return "the agent is stopping".to_owned();
    }
    let pump = async {
        loop {
            match events.poll().await {
                Ok(event) => hear(event, said).await,
                Err(error) => return describe(&error),
            }
        }
    };
    let feed = async {
        while let Some(Outgoing { topic, payload, acknowledged }) = outbox.recv().await {
            let qos = if acknowledged { QoS::AtLeastOnce } else { QoS::AtMostOnce };
            if let Err(error) = client.publish(topic.to_string(), qos, false, payload).await {
                return error.to_string();
            }
        }
        "the agent is stopping".to_owned()
    };
    tokio::select! {
        // Whichever ends first ends the connection; nothing of the other is used afterwards.
        end = pump => end,
        end = feed => end,
    }
}

/// Connects and subscribes; the answers to what is asked next would otherwise be missed.
async fn establish(target: &Target, client: &AsyncClient, events: &mut EventLoop) -> Result<(), String> {
    let mut waiting = 0;
    loop {
        match events.poll().await.map_err(|error| describe(&error))? {
            Event::Incoming(Packet::ConnAck(_)) => {
                for filters in subscriptions(&target.thing) {
                    let filters = filters.into_iter().map(|filter| Filter::new(filter, QoS::AtLeastOnce));
                    client.subscribe_many(filters).await.map_err(|error| error.to_string())?;
                    waiting += 1;
                }
            }
            Event::Incoming(Packet::SubAck(answer)) => {
                let refused = answer.return_codes.iter().find(|code| !matches!(code, SubscribeReasonCode::Success(_)));
                if let Some(code) = refused {
                    return Err(format!("the server refuses a subscription: {code:?}"));
                }
                waiting -= 1;
                if waiting == 0 {
                    return Ok(());
                }
            }
            _ => {}
        }
    }
}

async fn hear(event: Event, said: &mpsc::Sender<Said>) {
    let Event::Incoming(Packet::Publish(message)) = event else { return };
    let topic = std::str::from_utf8(&message.topic).ok().and_then(|topic| Topic::parse(topic).ok());
    match topic {
        // The receiver ends with the agent.
        Some(topic) => drop(said.send(Said::Message { topic, payload: message.payload }).await),
        None => debug!("a message on an unknown topic is ignored"),
    }
}

async fn say_goodbye(client: &AsyncClient, events: &mut EventLoop) {
    if client.try_disconnect().is_ok() {
        let gone = async { while events.poll().await.is_ok() {} };
        // A server that does not take the goodbye notices the end of the connection.
        let _ = tokio::time::timeout(GOODBYE, gone).await;
    }
}

fn options(target: &Target) -> MqttOptions {
    let mut options = MqttOptions::new(target.thing.as_str(), &target.host, target.port);
    options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(Arc::clone(&target.tls))));
    options.set_keep_alive(HEARTBEAT).set_clean_start(true).set_connection_timeout(10);
    options.set_max_packet_size(Some(INCOMING_PACKET_MAX));
    options.set_outgoing_inflight_upper_limit(IN_FLIGHT_MAX);
    options
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
    let shadows = get.into_iter().chain(update).map(of_shadow).collect();
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

fn describe(error: &ConnectionError) -> String {
    match error {
        ConnectionError::Timeout(_) => "the server did not answer within 10 s".to_owned(),
        ConnectionError::ConnectionRefused(code) => format!("the server refuses the connection: {code:?}"),
        other => other.to_string(),
    }
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
