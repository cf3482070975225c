//! One HTTP/1.1 request on one connection, with or without TLS, with a deadline on everything.

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// What is sent.
pub type Body = Full<Bytes>;

/// Connecting, and the TLS handshake, must be over by then.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// The head of the answer must be there by then; the server may have to flush a disk first.
const ANSWER_DEADLINE: Duration = Duration::from_secs(30);

/// A server.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// How TLS is spoken, if it is.
    pub tls: Option<Arc<rustls::ClientConfig>>,
}

/// Why an exchange did not happen.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// No connection.
    #[error("cannot connect to {host} port {port}: {source}")]
    Connect {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
        /// What the operating system said.
        source: io::Error,
    },
    /// The name cannot stand in a certificate.
    #[error("{0:?} is neither a host name nor an IP address")]
    Name(String),
    /// No TLS with this server.
    #[error("no TLS connection to {host} port {port}: {source}")]
    Tls {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
        /// What went wrong; a wrong certificate is here.
        source: io::Error,
    },
    /// The connection broke.
    #[error("the connection to {host} port {port} broke: {source}")]
    Broken {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
        /// What went wrong.
        source: hyper::Error,
    },
    /// Too slow.
    #[error("{host} port {port} did not answer in time")]
    Slow {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
    },
}

impl Endpoint {
    /// Sends `request` and hands the answer to `read` while the connection is served.
    pub async fn exchange<T, E, F>(
        &self,
        request: Request<Body>,
        read: impl FnOnce(Response<Incoming>) -> F,
    ) -> Result<T, E>
    where
        E: From<HttpError>,
        F: Future<Output = Result<T, E>>,
    {
        match &self.tls {
            None => self.exchange_on(self.connect().await?, request, read).await,
            Some(config) => {
                let stream = self.connect().await?;
                let name = ServerName::try_from(self.host.clone()).map_err(|_| HttpError::Name(self.host.clone()))?;
                let handshake = tokio_rustls::TlsConnector::from(Arc::clone(config)).connect(name, stream);
                let stream = timeout(CONNECT_DEADLINE, handshake)
                    .await
                    .map_err(|_| self.slow())?
                    .map_err(|source| HttpError::Tls { host: self.host.clone(), port: self.port, source })?;
                self.exchange_on(stream, request, read).await
            }
        }
    }

    async fn connect(&self) -> Result<TcpStream, HttpError> {
        let connecting = TcpStream::connect((self.host.as_str(), self.port));
        let connected = timeout(CONNECT_DEADLINE, connecting).await.map_err(|_| self.slow())?;
        connected.map_err(|source| HttpError::Connect { host: self.host.clone(), port: self.port, source })
    }

    async fn exchange_on<S, T, E, F>(
        &self,
        stream: S,
        request: Request<Body>,
        read: impl FnOnce(Response<Incoming>) -> F,
    ) -> Result<T, E>
    where
        S: AsyncRead + AsyncWrite + Unpin,
        E: From<HttpError>,
        F: Future<Output = Result<T, E>>,
    {
        let handshake = hyper::client::conn::http1::handshake::<_, Body>(TokioIo::new(stream));
        let (mut sender, connection) = handshake.await.map_err(|source| self.broken(source))?;
        let served = async {
            // An error reaches whoever waits for the answer or its body.
            let _ = connection.await;
            std::future::pending::<Infallible>().await
        };
        let work = async {
            let answer = timeout(ANSWER_DEADLINE, sender.send_request(request)).await.map_err(|_| self.slow())?;
            read(answer.map_err(|source| self.broken(source))?).await
        };
        tokio::select! {
            // Whichever ends first ends the exchange; nothing is used afterwards.
            done = work => done,
            never = served => match never {},
        }
    }

    fn broken(&self, source: hyper::Error) -> HttpError {
        HttpError::Broken { host: self.host.clone(), port: self.port, source }
    }

    fn slow(&self) -> HttpError {
        HttpError::Slow { host: self.host.clone(), port: self.port }
    }
}

/// A `GET` of `path`; `host` is for the server's eyes.
pub fn get(host: &str, path: &str) -> hyper::http::Result<Request<Body>> {
    Request::get(path).header("host", host).header("user-agent", "muster-agent").body(Body::default())
}
