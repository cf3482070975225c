//! A TLS connection without a protocol, for what no client library would send.

use super::Credentials;
use muster_runtime::clock::Clock;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// A connection after the TLS handshake.
pub struct Raw {
    stream: StreamOwned<ClientConnection, TcpStream>,
}

/// What came until the end, or until the deadline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Whether the server closed the connection.
    pub closed: bool,
}

impl Raw {
    /// Connects and shakes hands.
    pub fn connect(address: SocketAddr, credentials: &Credentials, alpn: &[&[u8]]) -> std::io::Result<Self> {
        Self::with(address, credentials.tls(alpn))
    }

    /// Connects from this address of the machine.
    pub fn from_source(source: IpAddr, address: SocketAddr, config: Arc<ClientConfig>) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        // The standard library binds no socket before it connects.
        let tcp = runtime.block_on(async {
            let socket = tokio::net::TcpSocket::new_v4()?;
            socket.bind(SocketAddr::new(source, 0))?;
            socket.connect(address).await?.into_std()
        })?;
        tcp.set_nonblocking(false)?;
        Self::over(tcp, config)
    }

    /// Connects with these settings, which many connections can share.
    pub fn with(address: SocketAddr, config: Arc<ClientConfig>) -> std::io::Result<Self> {
        Self::over(TcpStream::connect(address)?, config)
    }

    fn over(tcp: TcpStream, config: Arc<ClientConfig>) -> std::io::Result<Self> {
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(HANDSHAKE_PATIENCE))?;
        tcp.set_write_timeout(Some(HANDSHAKE_PATIENCE))?;
        let name = ServerName::try_from("localhost").map_err(std::io::Error::other)?;
        let session = ClientConnection::new(config, name).map_err(std::io::Error::other)?;
        let mut stream = StreamOwned::new(session, tcp);
        // With TLS 1.3 the server's word on our certificate comes later, with the first read.
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Self { stream })
    }

    /// Sends bytes at once.
    pub fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// Reads until the server closes, until so many bytes are there, or until the deadline.
    pub fn hear(&mut self, count: usize, deadline: Duration) -> Heard {
        let clock = Clock::system();
        let end = clock.instant() + deadline;
        let mut bytes = Vec::new();
        let mut buffer = [0; 16 * 1024];
        while bytes.len() < count {
            let left = end.saturating_duration_since(clock.instant());
            if left.is_zero() || self.stream.sock.set_read_timeout(Some(left)).is_err() {
                return Heard { bytes, closed: false };
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => return Heard { bytes, closed: true },
                Ok(length) => bytes.extend_from_slice(&buffer[..length]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // A reset, a TLS alert, an end without a TLS good-bye.
                Err(_) => return Heard { bytes, closed: true },
            }
        }
        Heard { bytes, closed: false }
    }

    /// Reads until the server closes, or until the deadline.
    pub fn hear_all(&mut self, deadline: Duration) -> Heard {
        self.hear(usize::MAX, deadline)
    }

    /// The socket below.
    pub fn socket(&self) -> &TcpStream {
        &self.stream.sock
    }
}

/// An MQTT 3.1.1 CONNECT with a clean session and a keep-alive of 60 s.
pub fn connect_packet(client_id: &str) -> Vec<u8> {
    let mut body = b"\0\x04MQTT\x04\x02\0\x3c".to_vec();
    text(&mut body, client_id);
    packet(0x10, &body)
}

/// An MQTT 3.1.1 SUBSCRIBE at QoS 0.
pub fn subscribe_packet(id: u16, filter: &str) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    text(&mut body, filter);
    body.push(0);
    packet(0x82, &body)
}

/// An MQTT 3.1.1 PUBLISH at QoS 0.
pub fn publish_packet(topic: &str, payload: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    text(&mut body, topic);
    body.extend_from_slice(payload);
    packet(0x30, &body)
}

fn text(body: &mut Vec<u8>, text: &str) {
    let length = u16::try_from(text.len()).expect("a short text");
    body.extend_from_slice(&length.to_be_bytes());
    body.extend_from_slice(text.as_bytes());
}

fn packet(header: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![header];
    let mut left = body.len();
    loop {
        let low = (left % 128) as u8;
        left /= 128;
        bytes.push(if left > 0 { low | 0x80 } else { low });
        if left == 0 {
            break;
        }
    }
    bytes.extend_from_slice(body);
    bytes
}

const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(60);
