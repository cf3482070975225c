//! One MQTT 5 session as a client, on a stream that somebody else has connected: QoS 0 and 1, no state over a break.

use bytes::{Bytes, BytesMut};
use muster_wire::limits::{PACKET_BYTES_MAX, WRITE_STALL_DEADLINE};
use rumqttc::v5::mqttbytes::v5::{
    Connect, ConnectProperties, ConnectReturnCode, Disconnect, DisconnectReasonCode, Filter, Packet, PingReq, PubAck,
    Publish, Subscribe, SubscribeReasonCode,
};
use rumqttc::v5::mqttbytes::{self, QoS};
use std::collections::BTreeSet;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// The server's answer to CONNECT or SUBSCRIBE must be there by then.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);
/// Larger than any packet of the server's.
const INCOMING_PACKET_MAX: u32 = 256 * 1024;
const _: () = assert!(PACKET_BYTES_MAX < INCOMING_PACKET_MAX as usize);
/// QoS 1 messages that the server has not acknowledged.
const IN_FLIGHT_MAX: usize = 64;

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// CONNECT was refused.
    #[error("{}", refused(*.0))]
    Refused(ConnectReturnCode),
    /// A filter was refused.
    #[error("the server refuses a subscription: {0:?}")]
    Subscription(SubscribeReasonCode),
    /// No answer, or no answer to a ping.
    #[error("the server did not answer within {} s", .0.as_secs())]
    Slow(Duration),
    /// The server said goodbye.
    #[error("{}", ended(*.0))]
    Ended(DisconnectReasonCode),
    /// The server, or somebody in between, closed the connection.
    #[error("the connection was closed")]
    Closed,
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(#[from] io::Error),
    /// Not MQTT, or not now.
    #[error("the server does not keep to MQTT: {0}")]
    Protocol(String),
}

/// What a refusal means for whoever has to mend it; the code stands at the end, for a search.
fn refused(code: ConnectReturnCode) -> String {
    let means = match code {
        ConnectReturnCode::NotAuthorized | ConnectReturnCode::Banned => {
            "the connector is disabled, removed or has to be installed anew; `muster connector show NAME`, where the fleet \
             is run, says which and what next"
        }
        ConnectReturnCode::ServerBusy | ConnectReturnCode::ConnectionRateExceeded => {
            "it has too much to do now; it is tried again by itself"
        }
        _ => return format!("the server refuses the connection: {code:?}"),
    };
    format!("the server was reached and refuses the connection: {means} ({code:?})")
}

/// What a goodbye of the server means for whoever has to mend it.
fn ended(code: DisconnectReasonCode) -> String {
    let means = match code {
        DisconnectReasonCode::SessionTakenOver => {
            "another connection came with this host's identity; if it happens again and again, the identity is on two \
             hosts (a cloned disk, a copied folder): `muster connector show NAME`, where the fleet is run, says what next"
        }
        DisconnectReasonCode::AdministrativeAction => {
            "an operator changed what this connector may do (disabled, removed, resolved, certificate revoked); `muster \
             connector show NAME`, where the fleet is run, says which and what next"
        }
        _ => return format!("the server ends the connection: {code:?}"),
    };
    format!("the server was reached and ended the connection: {means} ({code:?})")
}

/// A session that the server has accepted.
pub struct Session<S> {
    stream: S,
    input: BytesMut,
    last_id: u16,
    unacknowledged: BTreeSet<u16>,
    ping_is_open: bool,
    heartbeat: Duration,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Says CONNECT and waits for the server's yes.
    pub async fn open(stream: S, client_id: &str, heartbeat: Duration) -> Result<Self, SessionError> {
        let mut session = Self {
            stream,
            input: BytesMut::new(),
            last_id: 0,
            unacknowledged: BTreeSet::new(),
            ping_is_open: false,
            heartbeat,
        };
        let mut properties = ConnectProperties::new();
        properties.max_packet_size = Some(INCOMING_PACKET_MAX);
        let connect = Connect {
            keep_alive: u16::try_from(heartbeat.as_secs()).unwrap_or(u16::MAX),
            client_id: client_id.to_owned(),
            clean_start: true,
            properties: Some(properties),
        };
        session.write(&Packet::Connect(connect, None, None)).await?;
        let answer = timeout(ANSWER_DEADLINE, session.next()).await.map_err(|_| SessionError::Slow(ANSWER_DEADLINE))?;
        match answer? {
            Packet::ConnAck(answer) if answer.code == ConnectReturnCode::Success => {
                let wish = answer.properties.and_then(|properties| properties.server_keep_alive);
                if let Some(seconds) = wish.filter(|seconds| *seconds > 0) {
                    session.heartbeat = session.heartbeat.min(Duration::from_secs(seconds.into()));
                }
                Ok(session)
            }
            Packet::ConnAck(answer) => Err(SessionError::Refused(answer.code)),
            other => Err(unexpected(&other)),
        }
    }

    /// Subscribes to all of `filters` with QoS 1 and waits for the server's yes.
    pub async fn subscribe(&mut self, filters: Vec<String>) -> Result<(), SessionError> {
        let filters = filters.into_iter().map(|filter| Filter::new(filter, QoS::AtLeastOnce));
        let mut subscribe = Subscribe::new_many(filters, None);
        subscribe.pkid = self.next_id();
        self.write(&Packet::Subscribe(subscribe)).await?;
        let answered = async {
            loop {
                match self.next().await? {
                    Packet::SubAck(answer) => return Ok::<_, SessionError>(answer),
                    // A hint on an earlier filter: everything is pulled once the subscriptions stand.
                    other => drop(self.settle(other).await?),
                }
            }
        };
        let answer = timeout(ANSWER_DEADLINE, answered).await.map_err(|_| SessionError::Slow(ANSWER_DEADLINE))??;
        let refused = answer.return_codes.into_iter().find(|code| !matches!(code, SubscribeReasonCode::Success(_)));
        refused.map_or(Ok(()), |code| Err(SessionError::Subscription(code)))
    }

    /// Sends a message.
    pub async fn publish(&mut self, topic: &str, payload: Vec<u8>, acknowledged: bool) -> Result<(), SessionError> {
        let qos = if acknowledged { QoS::AtLeastOnce } else { QoS::AtMostOnce };
        let mut publish = Publish::new(topic, qos, payload, None);
        if acknowledged {
            publish.pkid = self.next_id();
            self.unacknowledged.insert(publish.pkid);
        }
        self.write(&Packet::Publish(publish)).await
    }

    /// Whether another message may be sent.
    pub fn has_room(&self) -> bool {
        self.unacknowledged.len() < IN_FLIGHT_MAX
    }

    /// How often [`Session::ping`] must be called.
    pub fn heartbeat(&self) -> Duration {
        self.heartbeat
    }

    /// Gives a sign of life; a failure when the server has not answered the last one.
    pub async fn ping(&mut self) -> Result<(), SessionError> {
        if self.ping_is_open {
            return Err(SessionError::Slow(self.heartbeat));
        }
        self.ping_is_open = true;
        self.write(&Packet::PingReq(PingReq)).await
    }

    /// The next packet of the server. Cancel-safe: what was read stays.
    pub async fn next(&mut self) -> Result<Packet, SessionError> {
        loop {
            match Packet::read(&mut self.input, Some(INCOMING_PACKET_MAX)) {
                Ok(packet) => return Ok(packet),
                Err(mqttbytes::Error::InsufficientBytes(_)) => {}
                Err(error) => return Err(SessionError::Protocol(error.to_string())),
            }
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Err(SessionError::Closed);
            }
        }
    }

    /// Does what MQTT asks for on a packet, and returns the message if it is one.
    pub async fn settle(&mut self, packet: Packet) -> Result<Option<(Bytes, Bytes)>, SessionError> {
        match packet {
            Packet::Publish(message) => {
                if message.qos != QoS::AtMostOnce {
                    self.write(&Packet::PubAck(PubAck::new(message.pkid, None))).await?;
                }
                return Ok(Some((message.topic, message.payload)));
            }
            Packet::PubAck(answer) => {
                if !self.unacknowledged.remove(&answer.pkid) {
                    return Err(SessionError::Protocol(format!("it acknowledges {}, which was not sent", answer.pkid)));
                }
            }
            Packet::PingResp(_) => self.ping_is_open = false,
            Packet::Disconnect(end) => return Err(SessionError::Ended(end.reason_code)),
            other => return Err(unexpected(&other)),
        }
        Ok(None)
    }

    /// Says goodbye; a server that does not take it notices the end of the connection.
    pub async fn goodbye(mut self) {
        let goodbye = Packet::Disconnect(Disconnect::new(DisconnectReasonCode::NormalDisconnection));
        if self.write(&goodbye).await.is_ok() {
            let _ = self.stream.shutdown().await;
        }
    }

    /// The next packet identifier that is free: at most [`IN_FLIGHT_MAX`] are not.
    fn next_id(&mut self) -> u16 {
        loop {
            self.last_id = self.last_id.wrapping_add(1).max(1);
            if !self.unacknowledged.contains(&self.last_id) {
                return self.last_id;
            }
        }
    }

    async fn write(&mut self, packet: &Packet) -> Result<(), SessionError> {
        let mut bytes = BytesMut::new();
        packet.write(&mut bytes, None).map_err(|error| SessionError::Protocol(error.to_string()))?;
        let written = async {
            self.stream.write_all(&bytes).await?;
            // Without it the end of a message stays in the buffer of TLS.
            self.stream.flush().await
        };
        timeout(WRITE_STALL_DEADLINE, written).await.map_err(|_| SessionError::Slow(WRITE_STALL_DEADLINE))??;
        Ok(())
    }
}

fn unexpected(packet: &Packet) -> SessionError {
    // Its content may be anything; the name of the variant is enough.
    let text = format!("{packet:?}");
    let kind = text.split(['(', ' ']).next().unwrap_or_default();
    SessionError::Protocol(format!("an unexpected {kind}"))
}
