//! HTTPS to the server with the operator's certificate: uploads a file. And one HTTP exchange for whoever needs one.

use crate::context::Address;
use crate::error::{Cause, CliError};
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Frame, SizeHint};
use hyper::client::conn::http1;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use muster_wire::limits::HTTP_BODY_BYTES_MAX;
use muster_wire::rejection::Rejection;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// The server over HTTPS: one connection for each request.
pub struct Https {
    server: Address,
    tls: TlsConnector,
}

/// The answer to a request.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: StatusCode,
    /// The whole body.
    pub body: Bytes,
}

impl Https {
    /// Talks to `server` with these TLS settings, which name ALPN `http/1.1`.
    pub fn new(server: Address, config: ClientConfig) -> Self {
        Self { server, tls: TlsConnector::from(Arc::new(config)) }
    }

    /// Uploads a file. The time it may take grows with its size.
    ///
    /// Errors: `Refused` with the server's words, `Local` when the file cannot be read, `Unreachable`.
    pub async fn put(&self, path: &str, file: &Path) -> Result<(), CliError> {
        let unreadable = |error| CliError::local_because(format!("cannot read {}", file.display()), error);
        let source = File::open(file).map_err(unreadable)?;
        let left = source.metadata().map_err(unreadable)?.len();
        let patience = DEADLINE + Duration::from_secs(left / SLOWEST_BYTES_PER_SECOND);
        let upload = self.send(Method::PUT, path, Some(left), Upload { source, left });
        let answer = timeout(patience, upload).await.map_err(|_| self.late())??;
        if answer.status.is_success() {
            return Ok(());
        }
        match serde_json::from_slice::<Rejection>(&answer.body) {
            Ok(rejection) => Err(CliError::Refused(rejection)),
            Err(_) => Err(CliError::Outcome(format!(
                "the server at {} refused the upload (HTTP status {})",
                self.server,
                answer.status.as_u16()
            ))),
        }
    }

    async fn send<B>(&self, method: Method, path: &str, length: Option<u64>, body: B) -> Result<Answer, CliError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Cause>,
    {
        let server = &self.server;
        let broken = format!("the connection to the server at {server} broke during {method} {path}; try again");
        let tcp = TcpStream::connect((server.host.as_str(), server.port)).await.map_err(|error| {
            CliError::unreachable_because(
                format!("cannot reach the server at {server}; is `muster serve` running?"),
                error,
            )
        })?;
        let _ = tcp.set_nodelay(true);
        let name = ServerName::try_from(server.host.clone())
            .map_err(|error| CliError::local_because(format!("{} is not a host name", server.host), error))?;
        let tls = self.tls.connect(name, tcp).await.map_err(|error| {
            CliError::unreachable_because(
                format!("TLS with the server at {server} failed; is it the server of this data folder?"),
                error,
            )
        })?;
        let mut request = Request::builder().method(method).uri(path).header("host", server.to_string());
        if let Some(length) = length {
            request = request.header("content-length", length).header("content-type", "application/zstd");
        }
        let request = request
            .body(body)
            .map_err(|error| CliError::local_because(format!("{path} cannot be asked for over HTTP"), error))?;
        exchange(tls, request).await.map_err(|error| CliError::unreachable_because(broken, error))
    }

    fn late(&self) -> CliError {
        CliError::unreachable(format!("the server at {} did not answer in time; try again", self.server))
    }
}

/// One request and its answer over a connection that is used for nothing else.
pub async fn exchange<T, B>(connection: T, request: Request<B>) -> Result<Answer, Cause>
where
    T: AsyncRead + AsyncWrite + Unpin,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Cause>,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(connection)).await?;
    let answered = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), HTTP_BODY_BYTES_MAX).collect().await?.to_bytes();
        Ok(Answer { status, body })
    };
    tokio::pin!(answered, connection);
    let mut open = true;
    loop {
        tokio::select! {
            // Neither future is dropped before the answer is whole: both are polled again.
            answer = &mut answered => return answer,
            _ = &mut connection, if open => open = false,
        }
    }
}

/// A file on its way out. It is read where it is polled: a local file answers at once, and nothing else runs here.
struct Upload {
    source: File,
    left: u64,
}

impl Body for Upload {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let size = usize::try_from(self.left).unwrap_or(usize::MAX).min(CHUNK_BYTES);
        let mut chunk = vec![0; size];
        Poll::Ready(Some(self.source.read_exact(&mut chunk).map(|()| {
            self.left -= size as u64;
            Frame::data(Bytes::from(chunk))
        })))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

const CHUNK_BYTES: usize = 64 * 1024;
const DEADLINE: Duration = Duration::from_secs(30);
/// Slower lines than this are not waited for.
const SLOWEST_BYTES_PER_SECOND: u64 = 64 * 1024;
