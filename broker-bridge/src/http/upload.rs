//! `PUT /artifacts/sha256/{digest}`: an operator brings an artifact. Repeating it changes nothing.

use super::artifacts::ArtifactStore;
use super::reply::{self, Reply, Response};
use aws_lc_rs::digest::{Context, SHA256};
use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::body::{Body, Incoming};
use muster_bus::Caller;
use muster_wire::id::Sha256Hex;
use muster_wire::limits::ARTIFACT_BYTES_MAX;
use muster_wire::rejection::{Rejection, RejectionCode};
use std::io;
use std::time::Duration;
use tokio::time::timeout;
use tracing::{info, warn};

/// A body that stands still for so long is given up.
const IDLE_DEADLINE: Duration = Duration::from_secs(30);
/// A refused body is read for so long and so far, so that the client hears the refusal and not a reset.
const DRAIN_DEADLINE: Duration = Duration::from_secs(5);
const DRAIN_BYTES_MAX: usize = 64 * 1024 * 1024;

pub(super) async fn artifact(
    store: &ArtifactStore,
    digest: &Sha256Hex,
    caller: &Caller,
    mut body: Incoming,
) -> Result<Response, Reply> {
    let result = receive(store, digest, &mut body).await;
    match &result {
        Ok((status, bytes)) => info!(identity = %caller.identity, %digest, bytes, %status, "artifact uploaded"),
        Err(_) => {
            info!(identity = %caller.identity, %digest, "artifact refused");
            drain(body).await;
        }
    }
    result.map(|(status, _)| reply::empty(status))
}

async fn receive(store: &ArtifactStore, digest: &Sha256Hex, body: &mut Incoming) -> Result<(StatusCode, u64), Reply> {
    let too_large = || {
        let message = format!("artifacts have at most {ARTIFACT_BYTES_MAX} bytes; make the package smaller");
        Reply::from(Rejection::new(RejectionCode::TooLarge, message))
    };
    if body.size_hint().lower() > ARTIFACT_BYTES_MAX {
        return Err(too_large());
    }
    let known = store.has(digest).await.map_err(failed)?;
    // One that is there already is still read and checked: the client learns whether it holds what it believes.
    let mut upload = if known { None } else { Some(store.begin(digest).await.map_err(failed)?) };
    let mut hash = Context::new(&SHA256);
    let mut bytes = 0_u64;
    loop {
        let frame = match timeout(IDLE_DEADLINE, body.frame()).await {
            Ok(None) => break,
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(error))) => {
                let message = format!("the upload broke off after {bytes} bytes: {error}; send it again");
                return Err(Rejection::new(RejectionCode::Invalid, message).into());
            }
            Err(_) => {
                let message = format!("the upload stood still after {bytes} bytes; send it again");
                return Err(Reply::with_status(StatusCode::REQUEST_TIMEOUT, RejectionCode::Invalid, message));
            }
        };
        let Ok(data) = frame.into_data() else { continue };
        bytes += data.len() as u64;
        if bytes > ARTIFACT_BYTES_MAX {
            return Err(too_large());
        }
        hash.update(&data);
        if let Some(upload) = &mut upload {
            upload.write(&data).await.map_err(failed)?;
        }
    }
    let found = hash.finish();
    let found: [u8; 32] = found.as_ref().try_into().expect("SHA-256 has 32 bytes");
    let found = Sha256Hex::from_bytes(&found);
    if found != *digest {
        let message = format!("the {bytes} bytes received have the digest {found}, not {digest}; send the file again");
        return Err(Rejection::new(RejectionCode::Invalid, message).into());
    }
    match upload {
        None => Ok((StatusCode::OK, bytes)),
        Some(upload) => {
            upload.finish().await.map_err(failed)?;
            Ok((StatusCode::CREATED, bytes))
        }
    }
}

/// Reads on for a while and forgets it.
pub(super) async fn drain(mut body: Incoming) {
    let read = async {
        let mut bytes = 0;
        while let Some(Ok(frame)) = body.frame().await {
            bytes += frame.data_ref().map_or(0, |data| data.len());
            if bytes > DRAIN_BYTES_MAX {
                break;
            }
        }
    };
    // What is still coming is cut off with the connection.
    let _ = timeout(DRAIN_DEADLINE, read).await;
}

fn failed(error: io::Error) -> Reply {
    warn!(%error, "cannot store an artifact");
    if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
        let message = "the server's disk is full; free space in its artifact folder and send the file again";
        return Reply::with_status(StatusCode::INSUFFICIENT_STORAGE, RejectionCode::Internal, message);
    }
    Rejection::internal().into()
}
