//! One MQTT connection over mutual TLS.

use std::{net::SocketAddr, sync::Arc};

use bytes::{Buf, BytesMut};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    failures::{Failure, Kind},
    identity::SERVER_NAME,
    packet::{self, Packet, Version},
};

/// Long enough that no client pings during a run. It is also AWS's longest.
pub const KEEP_ALIVE_S: u16 = 1200;

/// Room asked for before each read. Thousands of connections wait at once, so it is small; a larger message grows it.
const READ_BYTES: usize = 1024;

/// A connection that has been accepted by the server.
#[derive(Debug)]
pub struct Connection {
    stream: TlsStream<TcpStream>,
    version: Version,
    input: BytesMut,
    /// Length of the packet that `next` handed out last; it is dropped on the next call.
    handed_out: usize,
}

impl Connection {
    /// Connects, shakes hands, sends CONNECT and waits for the server's yes.
    pub async fn open(
        addr: SocketAddr,
        tls: Arc<ClientConfig>,
        version: Version,
        client_id: &str,
    ) -> Result<Self, Failure> {
        let tcp = TcpStream::connect(addr).await.map_err(|e| Failure::new(Kind::Connect, e))?;
        Self::over(tcp, tls, version, client_id).await
    }

    /// As [`Connection::open`], over a socket that is connected already.
    pub async fn over(
        tcp: TcpStream,
        tls: Arc<ClientConfig>,
        version: Version,
        client_id: &str,
    ) -> Result<Self, Failure> {
        let stream = shake_hands(tcp, tls).await?;
        let mut connection = Self { stream, version, input: BytesMut::new(), handed_out: 0 };
        let mut out = Vec::with_capacity(64);
        packet::connect(&mut out, version, client_id, KEEP_ALIVE_S);
        connection.send(&out).await?;
        match connection.next().await? {
            Packet::ConnAck { code: 0 } => Ok(connection),
            Packet::ConnAck { code } => Err(Failure::new(Kind::Refused, format!("{client_id}: CONNACK code {code}"))),
            other => Err(Failure::new(Kind::Protocol, format!("{other:?} instead of CONNACK"))),
        }
    }

    /// Subscribes to all of `filters` at QoS 1 and waits for the server's yes to each.
    pub async fn subscribe(&mut self, filters: &[String]) -> Result<(), Failure> {
        let mut out = Vec::with_capacity(256);
        packet::subscribe(&mut out, self.version, 1, filters, 1);
        self.send(&out).await?;
        match self.next().await? {
            Packet::SubAck { refused: 0, filters: answered } if answered == filters.len() => Ok(()),
            Packet::SubAck { refused, filters: answered } => {
                let text = format!("{refused} of {} filters refused, {answered} answered", filters.len());
                Err(Failure::new(Kind::Subscribe, text))
            }
            other => Err(Failure::new(Kind::Protocol, format!("{other:?} instead of SUBACK"))),
        }
    }

    /// Writes `bytes` and flushes, so that nothing stays behind in the TLS buffer.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let written = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        written.await.map_err(|e| Failure::new(Kind::Disconnected, e))
    }

    /// The next packet. Cancel-safe: what was read stays in the buffer.
    pub async fn next(&mut self) -> Result<Packet<'_>, Failure> {
        self.input.advance(std::mem::take(&mut self.handed_out));
        let malformed = |e| Failure::new(Kind::Protocol, e);
        let length = loop {
            match packet::frame_length(&self.input).map_err(malformed)? {
                Some(length) if length <= self.input.len() => break length,
                _ => self.read_more().await?,
            }
        };
        self.handed_out = length;
        packet::parse(&self.input[..length], self.version).map_err(malformed)
    }

    async fn read_more(&mut self) -> Result<(), Failure> {
        self.input.reserve(READ_BYTES);
        match self.stream.read_buf(&mut self.input).await {
            Ok(0) => Err(Failure::new(Kind::Disconnected, "the server closed the connection")),
            Ok(_) => Ok(()),
            Err(e) => Err(Failure::new(Kind::Disconnected, e)),
        }
    }
}

/// TLS over `tcp`, with the name that every server's certificate has.
pub async fn shake_hands(tcp: TcpStream, tls: Arc<ClientConfig>) -> Result<TlsStream<TcpStream>, Failure> {
    tcp.set_nodelay(true).map_err(|e| Failure::new(Kind::Connect, e))?;
    let name = ServerName::try_from(SERVER_NAME).map_err(|e| Failure::new(Kind::Client, e))?;
    TlsConnector::from(tls).connect(name, tcp).await.map_err(|e| Failure::new(Kind::Handshake, e))
}
