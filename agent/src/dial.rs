//! How a server is reached: directly or through a proxy, and with TLS. MQTT and HTTPS both go this way.

mod tunnel;

use crate::settings::Server;
use muster_wire::proxy::ProxyUrl;
use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub use tunnel::Refusal;

/// The way to a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// Straight.
    Direct,
    /// Through this proxy.
    Through(ProxyUrl),
}

/// Each of name lookup and connection, the proxy's answer, and the TLS handshake must be over by then.
const STEP_DEADLINE: Duration = Duration::from_secs(10);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The system does not know the name.
    #[error("the name {host} is not known; is DNS right on this host?: {source}")]
    Lookup {
        /// The name, of the server or of the proxy.
        host: String,
        /// What the system said.
        source: io::Error,
    },
    /// No TCP connection.
    #[error("cannot connect to {server}: {source}")]
    Connect {
        /// The server.
        server: Server,
        /// What the system said.
        source: io::Error,
    },
    /// No answer to TCP or TLS.
    #[error("{server} did not answer within {} s", STEP_DEADLINE.as_secs())]
    Slow {
        /// The server.
        server: Server,
    },
    /// No TCP connection to the proxy.
    #[error("cannot connect to the proxy {proxy}; check the setting `proxy`: {source}")]
    ConnectProxy {
        /// The proxy.
        proxy: ProxyUrl,
        /// What the system said.
        source: io::Error,
    },
    /// The proxy takes too long.
    #[error("the proxy {proxy} did not answer within {} s", STEP_DEADLINE.as_secs())]
    SlowProxy {
        /// The proxy.
        proxy: ProxyUrl,
    },
    /// The connection to the proxy broke.
    #[error("the connection to the proxy {proxy} broke: {source}")]
    BrokenProxy {
        /// The proxy.
        proxy: ProxyUrl,
        /// What the system said.
        source: io::Error,
    },
    /// The proxy does not make the tunnel.
    #[error("the proxy {proxy} {why}")]
    Refused {
        /// The proxy.
        proxy: ProxyUrl,
        /// What it said.
        why: Refusal,
    },
    /// The name cannot stand in a certificate.
    #[error("{0:?} is neither a host name nor an IP address")]
    Name(String),
    /// No TLS with this server.
    #[error("no TLS connection to {server}{}: {source}", meaning(source))]
    Tls {
        /// The server.
        server: Server,
        /// What went wrong; a wrong certificate is here.
        source: io::Error,
    },
    /// Behind a proxy, a certificate that our CA did not sign.
    #[error(
        "the certificate shown for {server} is not from this fleet's CA: the proxy {proxy} seems to open TLS; ask its \
         administrators to pass {server} through without inspection: {source}"
    )]
    Intercepted {
        /// The server.
        server: Server,
        /// The proxy.
        proxy: ProxyUrl,
        /// What TLS said.
        source: io::Error,
    },
}

/// A TCP connection to the server, or a tunnel that is as good as one.
pub async fn connect(server: &Server, way: &Way) -> Result<TcpStream, DialError> {
    match way {
        Way::Direct => {
            let slow = || DialError::Slow { server: server.clone() };
            tcp(&server.host, server.port).await.map_err(|trouble| match trouble {
                Trouble::Slow => slow(),
                Trouble::Lookup(source) => DialError::Lookup { host: server.host.clone(), source },
                Trouble::Connect(source) => DialError::Connect { server: server.clone(), source },
            })
        }
        Way::Through(proxy) => through(server, proxy).await,
    }
}

/// Puts TLS on a connection of [`connect`].
pub async fn secure(
    stream: TcpStream,
    server: &Server,
    way: &Way,
    tls: &Arc<ClientConfig>,
) -> Result<TlsStream<TcpStream>, DialError> {
    let name = ServerName::try_from(server.host.clone()).map_err(|_| DialError::Name(server.host.clone()))?;
    let handshake = TlsConnector::from(Arc::clone(tls)).connect(name, stream);
    match timeout(STEP_DEADLINE, handshake).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(source)) => Err(match way {
            Way::Through(proxy) if is_strange(&source) => {
                DialError::Intercepted { server: server.clone(), proxy: proxy.clone(), source }
            }
            _ => DialError::Tls { server: server.clone(), source },
        }),
        Err(_) => Err(DialError::Slow { server: server.clone() }),
    }
}

enum Trouble {
    Slow,
    Lookup(io::Error),
    Connect(io::Error),
}

async fn tcp(host: &str, port: u16) -> Result<TcpStream, Trouble> {
    let found = timeout(STEP_DEADLINE, tokio::net::lookup_host((host, port))).await.map_err(|_| Trouble::Slow)?;
    let addresses: Vec<_> = found.map_err(Trouble::Lookup)?.collect();
    let stream = timeout(STEP_DEADLINE, TcpStream::connect(&addresses[..])).await.map_err(|_| Trouble::Slow)?;
    let stream = stream.map_err(Trouble::Connect)?;
    // Only slower without it.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

async fn through(server: &Server, proxy: &ProxyUrl) -> Result<TcpStream, DialError> {
    let slow = || DialError::SlowProxy { proxy: proxy.clone() };
    let broken = |source| DialError::BrokenProxy { proxy: proxy.clone(), source };
    let mut stream = tcp(&proxy.host, proxy.port).await.map_err(|trouble| match trouble {
        Trouble::Slow => slow(),
        Trouble::Lookup(source) => DialError::Lookup { host: proxy.host.clone(), source },
        Trouble::Connect(source) => DialError::ConnectProxy { proxy: proxy.clone(), source },
    })?;
    let target = server.to_string();
    let asked = async {
        stream.write_all(&tunnel::request(&target, proxy)).await.map_err(broken)?;
        let mut answer = tunnel::Answer::new(&target, proxy);
        let mut piece = [0; 2048];
        loop {
            let length = stream.read(&mut piece).await.map_err(broken)?;
            match answer.feed(&piece[..length]) {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(why) => return Err(DialError::Refused { proxy: proxy.clone(), why }),
            }
        }
    };
    timeout(STEP_DEADLINE, asked).await.map_err(|_| slow())??;
    Ok(stream)
}

/// Whether TLS failed because of who signed the certificate, or because somebody in between does not speak TLS for the
/// server at all.
fn is_strange(error: &io::Error) -> bool {
    let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else { return false };
    matches!(
        error,
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature)
            | rustls::Error::InvalidCertificate(CertificateError::Other(_))
    )
}

/// What a failure of TLS means, where it is not the way that is at fault.
fn meaning(error: &io::Error) -> &'static str {
    let is_foreign = matches!(
        error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()),
        Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature))
    );
    match is_foreign {
        true => {
            ": it was reached, and what answers there is not of the fleet that this host knows (another server, or the \
             fleet has a new authority since); if the address is right, `muster connector add NAME --renew`, where the \
             fleet is run, makes a new install script"
        }
        false => "",
    }
}

#[cfg(test)]
mod tests;
