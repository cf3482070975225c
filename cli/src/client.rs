//! Operator requests over MQTT 5: publish to `muster/op/{verb}`, wait for the answer on a topic of our own.
//!
//! One connection, driven by whoever waits: no task of its own. The server sends answers to the connection that asked,
//! so there is nothing to subscribe to before a request. One connect attempt: a person is waiting.

use crate::context::{Address, Credentials};
use crate::error::CliError;
use bytes::Bytes;
use muster_certs::verifier;
use muster_runtime::clock::Clock;
use muster_runtime::ids::random_hex;
use muster_wire::admin::{Reply, Verb};
use muster_wire::limits::{PACKET_BYTES_MAX, PAYLOAD_BYTES_MAX};
use muster_wire::topic::Topic;
use rumqttc::v5::mqttbytes::v5::{
    ConnectReturnCode, Packet, PubAckReason, Publish, PublishProperties, SubscribeReasonCode,
};
use rumqttc::v5::mqttbytes::{Error as CodecError, QoS};
use rumqttc::v5::{AsyncClient, ConnectionError, Event, EventLoop, MqttOptions, StateError, TlsError};
use rumqttc::{NetworkOptions, Outgoing, TlsConfiguration, Transport};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::VecDeque;
use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// A connection as operator.
pub struct Operator {
    requests: AsyncClient,
    events: EventLoop,
    server: Address,
    client_id: String,
    asked: u64,
    /// Messages of subscriptions that arrived while something else was waited for.
    early: VecDeque<Message>,
    clock: Clock,
}

/// A message of a subscription.
#[derive(Clone, Debug)]
pub struct Message {
    /// Where it was published.
    pub topic: String,
    /// What it says.
    pub payload: Bytes,
}

impl Operator {
    /// Connects, once.
    ///
    /// Errors: `Unreachable` when nobody answers or the server refuses the certificate, `Local` when the certificate
    /// is not usable at all.
    pub async fn connect(server: &Address, credentials: &Credentials, clock: Clock) -> Result<Self, CliError> {
        let own = (credentials.certificate_pem.as_str(), credentials.key_pem.as_str());
        let tls = verifier::client_config(&credentials.ca_pem, Some(own), &[b"mqtt"])
            .map_err(|error| CliError::local_because("cannot use the operator's certificate", error))?;
        let client_id = format!("muster-cli-{}", random_hex::<8>());
        let mut options = MqttOptions::new(client_id.clone(), server.host.clone(), server.port);
        options
            .set_transport(Transport::Tls(TlsConfiguration::Rustls(Arc::new(tls))))
            .set_keep_alive(KEEP_ALIVE)
            .set_max_packet_size(Some(PACKET_BYTES_MAX as u32))
            .set_connection_timeout(DEADLINE.as_secs());
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        network.set_connection_timeout(DEADLINE.as_secs());
        options.set_network_options(network);
        let (requests, events) = AsyncClient::new(options, QUEUE_MAX);
        let (server, early) = (server.clone(), VecDeque::new());
        let mut operator = Self { requests, events, server, client_id, asked: 0, early, clock };
        loop {
            // rumqttc has its own deadline for connecting.
            match operator.events.poll().await {
                Ok(Event::Incoming(Packet::ConnAck(_))) => return Ok(operator),
                Ok(_) => {}
                Err(error) => return Err(operator.not_connected(error)),
            }
        }
    }

    /// Asks the server and waits for the answer.
    ///
    /// Errors: `Refused` with the server's words, `Unreachable` when the answer does not come in time.
    pub async fn call<Q: Serialize, A: DeserializeOwned>(&mut self, verb: Verb, question: &Q) -> Result<A, CliError> {
        self.call_within(verb, question, DEADLINE).await
    }

    /// As [`Operator::call`], for what takes the server longer.
    ///
    /// Errors: as [`Operator::call`].
    pub async fn call_within<Q: Serialize, A: DeserializeOwned>(
        &mut self,
        verb: Verb,
        question: &Q,
        patience: Duration,
    ) -> Result<A, CliError> {
        let payload = serde_json::to_vec(question).expect("requests have text keys, so they are JSON");
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(CliError::local(format!(
                "the request has {} bytes; a message may have {PAYLOAD_BYTES_MAX}: ask for less at once",
                payload.len()
            )));
        }
        self.asked += 1;
        let topic = Topic::Operator { verb }.to_string();
        let answer_to = Topic::Reply { rest: format!("{}/{}", self.client_id, self.asked).into() }.to_string();
        let correlation = Bytes::from(self.asked.to_string());
        let properties = PublishProperties {
            response_topic: Some(answer_to.clone()),
            correlation_data: Some(correlation.clone()),
            ..PublishProperties::default()
        };
        self.requests
            .publish_with_properties(topic, QoS::AtLeastOnce, false, payload, properties)
            .await
            .map_err(|error| CliError::unreachable_because(self.lost(), error))?;
        let answer = timeout(patience, self.answer(&answer_to, &correlation)).await.map_err(|_| {
            CliError::unreachable(format!(
                "the server at {} took the request but did not answer within {} s; look at its log",
                self.server,
                patience.as_secs()
            ))
        })??;
        let reply: Reply<A> = serde_json::from_slice(&answer.payload).map_err(|error| {
            let message = format!("cannot read the answer of the server at {}; is it another version?", self.server);
            CliError::unreachable_because(message, error)
        })?;
        reply.into_result().map_err(CliError::Refused)
    }

    /// Subscribes to a topic filter; the messages come from [`Operator::next_message`].
    ///
    /// Errors: `Outcome` when the server does not allow it, `Unreachable`.
    pub async fn subscribe(&mut self, filter: &str) -> Result<(), CliError> {
        self.requests
            .subscribe(filter, QoS::AtLeastOnce)
            .await
            .map_err(|error| CliError::unreachable_because(self.lost(), error))?;
        let answered = timeout(DEADLINE, async {
            loop {
                if let Packet::SubAck(ack) = self.incoming().await? {
                    return Ok::<_, CliError>(ack.return_codes);
                }
            }
        });
        let codes = answered.await.map_err(|_| {
            let seconds = DEADLINE.as_secs();
            CliError::unreachable(format!("the server at {} did not answer within {seconds} s", self.server))
        })??;
        match codes.iter().find(|code| !matches!(code, SubscribeReasonCode::Success(_))) {
            None => Ok(()),
            Some(code) => {
                let server = &self.server;
                Err(CliError::Outcome(format!("the server at {server} does not allow to read {filter} ({code:?})")))
            }
        }
    }

    /// The next message of a subscription. Cancel-safe: what has arrived stays in the connection or the queue.
    ///
    /// Errors: `Unreachable` when the connection ends.
    pub async fn next_message(&mut self) -> Result<Message, CliError> {
        loop {
            if let Some(message) = self.early.pop_front() {
                return Ok(message);
            }
            self.incoming().await?;
        }
    }

    /// Says good-bye, so that the server does not have to guess.
    pub async fn close(mut self) {
        if self.requests.try_disconnect().is_ok() {
            let _ = timeout(FAREWELL, async {
                while !matches!(self.events.poll().await, Ok(Event::Outgoing(Outgoing::Disconnect)) | Err(_)) {}
            })
            .await;
        }
    }

    /// The time, as this connection's owner tells it.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    async fn answer(&mut self, topic: &str, correlation: &Bytes) -> Result<Publish, CliError> {
        loop {
            match self.incoming().await? {
                Packet::Publish(publish) if publish.topic == topic.as_bytes() => {
                    let properties = publish.properties.as_ref();
                    if properties.and_then(|p| p.correlation_data.as_ref()).is_none_or(|data| data == correlation) {
                        return Ok(publish);
                    }
                }
                Packet::PubAck(ack) => match ack.reason {
                    PubAckReason::Success | PubAckReason::NoMatchingSubscribers => {}
                    PubAckReason::NotAuthorized => {
                        return Err(CliError::Outcome(format!(
                            "the server at {} does not take operator requests from this certificate; \
                             use one with the policy operator",
                            self.server
                        )));
                    }
                    other => {
                        let server = &self.server;
                        return Err(CliError::Outcome(format!(
                            "the server at {server} refused the request ({other:?})"
                        )));
                    }
                },
                _ => {}
            }
        }
    }

    /// The next packet from the server. Messages that are no answers to us are kept for [`Operator::next_message`].
    async fn incoming(&mut self) -> Result<Packet, CliError> {
        loop {
            let event = self.events.poll().await.map_err(|error| CliError::unreachable_because(self.lost(), error))?;
            match event {
                Event::Incoming(Packet::Publish(publish)) if !is_reply(&publish) => {
                    self.keep(&publish);
                    return Ok(Packet::Publish(publish));
                }
                Event::Incoming(packet) => return Ok(packet),
                Event::Outgoing(_) => {}
            }
        }
    }

    fn keep(&mut self, publish: &Publish) {
        if self.early.len() == EARLY_MAX {
            self.early.pop_front();
        }
        let topic = String::from_utf8_lossy(&publish.topic).into_owned();
        self.early.push_back(Message { topic, payload: publish.payload.clone() });
    }

    fn lost(&self) -> String {
        format!("the connection to the server at {} was lost; try again", self.server)
    }

    fn not_connected(&self, error: ConnectionError) -> CliError {
        let server = &self.server;
        let message = match (&error, tls_fault(&error)) {
            (ConnectionError::ConnectionRefused(code), _) => {
                let why = match code {
                    ConnectReturnCode::NotAuthorized | ConnectReturnCode::Banned => {
                        "the operator's certificate is not accepted; it has expired, or is of another fleet"
                    }
                    ConnectReturnCode::ServerBusy
                    | ConnectReturnCode::QuotaExceeded
                    | ConnectReturnCode::ConnectionRateExceeded => {
                        "it is busy, or this operator has too many connections"
                    }
                    _ => "it does not take this connection",
                };
                format!("the server at {server} refused to connect: {why}")
            }
            (_, Some(rustls::Error::InvalidCertificate(_))) => format!(
                "the server at {server} showed a certificate that the CA of this data folder does not vouch for; \
                 is it another fleet, or a host name that `muster init` was not told?"
            ),
            (_, Some(_)) => {
                format!(
                    "TLS with the server at {server} failed; is the operator's certificate of this fleet and valid?"
                )
            }
            _ if hung_up(&error) => format!(
                "the server at {server} closed the connection at once; is it muster, and is the operator's \
                 certificate of this fleet and valid?"
            ),
            _ => format!("cannot reach the server at {server}; is `muster serve` running?"),
        };
        CliError::unreachable_because(message, error)
    }
}

fn is_reply(publish: &Publish) -> bool {
    let topic = std::str::from_utf8(&publish.topic).ok().and_then(|topic| Topic::parse(topic).ok());
    matches!(topic, Some(Topic::Reply { .. }))
}

/// What the operating system or the TLS library said, however deep it is wrapped.
fn io_fault(error: &ConnectionError) -> Option<&io::Error> {
    match error {
        ConnectionError::Tls(TlsError::Io(error))
        | ConnectionError::Io(error)
        | ConnectionError::MqttState(StateError::Io(error) | StateError::Deserialization(CodecError::Io(error))) => {
            Some(error)
        }
        _ => None,
    }
}

fn tls_fault(error: &ConnectionError) -> Option<&rustls::Error> {
    if let ConnectionError::Tls(TlsError::TLS(error)) = error {
        return Some(error);
    }
    let mut inner: &(dyn Error + 'static) = io_fault(error)?.get_ref()?;
    loop {
        if let Some(found) = inner.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        inner = inner.source()?;
    }
}

/// Someone answered, and then hung up.
fn hung_up(error: &ConnectionError) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    let kind = io_fault(error).map(io::Error::kind);
    matches!(error, ConnectionError::MqttState(StateError::ConnectionAborted))
        || matches!(kind, Some(BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof))
}

/// For connecting, and for each answer.
const DEADLINE: Duration = Duration::from_secs(15);
/// For the good-bye; nothing depends on it.
const FAREWELL: Duration = Duration::from_secs(1);
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Requests that wait for the connection; one is asked at a time.
const QUEUE_MAX: usize = 8;
/// Messages kept while a request waits for its answer; past it the oldest is dropped, as observers may lag.
const EARLY_MAX: usize = 4096;

#[cfg(test)]
mod tests;
