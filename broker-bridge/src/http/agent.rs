//! `GET /agent/{platform}/muster-agent`: the agent that install scripts fetch; they check its digest.

use super::download::{self, Source};
use super::reply::{Reply, Response};
use hyper::Request;
use hyper::body::Incoming;
use muster_wire::rejection::{Rejection, RejectionCode};
use std::env::consts::ARCH;
use std::path::Path;
use std::time::UNIX_EPOCH;
use tracing::warn;

pub(super) async fn agent(binary: Option<&Path>, rest: &str, request: &Request<Incoming>) -> Result<Response, Reply> {
    let missing = |message: String| Reply::from(Rejection::new(RejectionCode::NotFound, message));
    let offered = rest.strip_suffix("/muster-agent").is_some_and(is_ours);
    if !offered {
        return Err(missing(format!("only /agent/linux-{ARCH}/muster-agent is offered")));
    }
    let Some(binary) = binary else {
        return Err(missing("this server offers no agent; start it with one".into()));
    };
    let file = tokio::fs::File::open(binary).await.map_err(|error| {
        warn!(%error, path = %binary.display(), "cannot open the agent's binary");
        missing("this server cannot read its agent's binary; its log says why".into())
    })?;
    let source = Source::of(file, |facts| {
        let modified = facts.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        format!("\"{:x}-{:x}\"", facts.len(), modified.map_or(0, |age| age.as_nanos()))
    });
    download::send(source.await?, request).await
}

/// The binary beside the server is for the server's own platform.
fn is_ours(platform: &str) -> bool {
    let names: &[&str] = if ARCH == "x86_64" { &["x86_64", "amd64"] } else { &[ARCH] };
    names.iter().any(|arch| platform == format!("linux-{arch}") || platform == format!("{arch}-linux"))
}
