//! One HTTP/1.1 request on one connection, with a deadline on everything.

use crate::dial::{self, DialError, Way};
use crate::settings::Server;
use crate::tls::Tls;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

/// What is sent.
pub type Body = Full<Bytes>;

/// The head of the answer must be there by then; the server may have to flush a disk first.
const ANSWER_DEADLINE: Duration = Duration::from_secs(30);

/// A server.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Name or address, and port.
    pub server: Server,
    /// Directly, or through a proxy.
    pub way: Way,
    /// How TLS is spoken, if it is.
    pub tls: Option<Tls>,
}

/// Why an exchange did not happen.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// No connection.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The connection broke.
    #[error("the connection to {server} broke: {source}")]
    Broken {
        /// The server.
        server: Server,
        /// What went wrong.
        source: hyper::Error,
    },
    /// Too slow.
    #[error("{server} did not answer in time")]
    Slow {
        /// The server.
        server: Server,
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
        let stream = dial::connect(&self.server, &self.way).await.map_err(HttpError::from)?;
        match &self.tls {
            None => self.exchange_on(stream, request, read).await,
            Some(tls) => {
                let stream =
                    dial::secure(stream, &self.server, &self.way, &tls.current()).await.map_err(HttpError::from)?;
                self.exchange_on(stream, request, read).await
            }
        }
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
        HttpError::Broken { server: self.server.clone(), source }
    }

    fn slow(&self) -> HttpError {
        HttpError::Slow { server: self.server.clone() }
    }
}

/// A `GET` of `path`; `host` is for the server's eyes.
pub fn get(host: &str, path: &str) -> hyper::http::Result<Request<Body>> {
    Request::get(path).header("host", host).header("user-agent", "muster-agent").body(Body::default())
}
