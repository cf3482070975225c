//! Files out: whole or one range, in pieces, never a file in memory.

use super::artifacts::ArtifactStore;
use super::range::{Selected, select};
use super::reply::{self, Body, Reply, Response};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body as HyperBody, Frame, Incoming, SizeHint};
use hyper::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue,
    IF_NONE_MATCH, IF_RANGE, RANGE,
};
use hyper::{Method, Request, StatusCode};
use muster_wire::id::Sha256Hex;
use muster_wire::rejection::{Rejection, RejectionCode};
use std::fs::Metadata;
use std::io::{self, SeekFrom};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncSeekExt, ReadBuf};
use tracing::warn;

/// Read from disk at once.
const PIECE_BYTES: usize = 64 * 1024;

/// A file to send.
pub(super) struct Source {
    file: File,
    length: u64,
    /// With its quotes.
    etag: String,
}

impl Source {
    pub(super) async fn of(file: File, etag: impl FnOnce(&Metadata) -> String) -> Result<Self, Reply> {
        let facts = file.metadata().await.map_err(failed)?;
        Ok(Self { file, length: facts.len(), etag: etag(&facts) })
    }
}

/// An artifact, whose digest is its tag.
pub(super) async fn artifact(
    store: &ArtifactStore,
    digest: &Sha256Hex,
    request: &Request<Incoming>,
) -> Result<Response, Reply> {
    let file = File::open(store.path_of(digest)).await.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            let message = format!("there is no artifact {digest}; publish the component version first");
            Rejection::new(RejectionCode::NotFound, message).into()
        }
        _ => failed(error),
    })?;
    let source = Source::of(file, |_| format!("\"{digest}\"")).await?;
    send(source, request).await
}

/// Answers GET and HEAD with a file.
pub(super) async fn send(source: Source, request: &Request<Incoming>) -> Result<Response, Reply> {
    let Source { mut file, length, etag } = source;
    let headers = request.headers();
    if header(headers, IF_NONE_MATCH).is_some_and(|tags| tags == "*" || tags.contains(&etag)) {
        return Ok(reply::empty(StatusCode::NOT_MODIFIED));
    }
    // A range of what the client has an old part of would be useless to it.
    let same = header(headers, IF_RANGE).is_none_or(|tag| tag == etag);
    let selected = match header(headers, RANGE) {
        Some(range) if same => select(range, length),
        _ => Selected::Everything,
    };
    let (status, first, count) = match selected {
        Selected::Everything => (StatusCode::OK, 0, length),
        Selected::Part(first, count) => (StatusCode::PARTIAL_CONTENT, first, count),
        Selected::Nothing => return Err(Reply::range(length)),
    };
    if first > 0 {
        file.seek(SeekFrom::Start(first)).await.map_err(failed)?;
    }
    let mut response = match *request.method() {
        Method::HEAD => reply::empty(status),
        _ => Response::new(Pieces { file, left: count, buffer: BytesMut::new() }.boxed()),
    };
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(CONTENT_LENGTH, count.into());
    if let Ok(etag) = HeaderValue::try_from(etag) {
        headers.insert(ETAG, etag);
    }
    if status == StatusCode::PARTIAL_CONTENT
        && let Ok(range) = HeaderValue::try_from(format!("bytes {first}-{}/{length}", first + count - 1))
    {
        headers.insert(CONTENT_RANGE, range);
    }
    Ok(response)
}

fn header(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

fn failed(error: io::Error) -> Reply {
    warn!(%error, "cannot read a file that was asked for");
    Rejection::internal().into()
}

/// The body: one piece after the other.
struct Pieces {
    file: File,
    left: u64,
    buffer: BytesMut,
}

impl Pieces {
    fn boxed(self) -> Body {
        BodyExt::boxed_unsync(self)
    }
}

impl HyperBody for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = &mut *self;
        if this.left == 0 {
            return Poll::Ready(None);
        }
        let wish = usize::try_from(this.left).map_or(PIECE_BYTES, |left| left.min(PIECE_BYTES));
        this.buffer.resize(wish, 0);
        let mut space = ReadBuf::new(&mut this.buffer);
        let read = ready!(Pin::new(&mut this.file).poll_read(cx, &mut space));
        let count = space.filled().len();
        Poll::Ready(Some(match read {
            Ok(()) if count == 0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter")),
            Ok(()) => {
                this.left -= count as u64;
                Ok(Frame::data(this.buffer.split_to(count).freeze()))
            }
            Err(error) => Err(error),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
