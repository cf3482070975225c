//! Fetches a package over HTTPS or MQTT, resumes where an earlier try ended, and checks what arrived.

use super::blocks;
use super::http::{Endpoint, HttpError, get};
use super::process::sha256;
use crate::dial::DialError;
use crate::link::Target;
use crate::platform;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{CONTENT_RANGE, HeaderValue, RANGE};
use hyper::{Response, StatusCode};
use muster_runtime::backoff::Backoff;
use muster_runtime::{faults, ids};
use muster_wire::id::Sha256Hex;
use muster_wire::limits::{RETRY_BASE, RETRY_CAP};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tracing::{info, warn};

/// Where packages come from.
#[derive(Clone, Debug)]
pub struct Source {
    /// The server, for HTTPS.
    pub https: Endpoint,
    /// The same, for MQTT.
    pub mqtt: Option<Target>,
    /// Which of the two.
    pub over: Over,
}

/// How packages are fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// Over HTTPS; over MQTT as long as that brings nothing.
    Auto,
    /// Over HTTPS.
    Https,
    /// Over MQTT.
    Mqtt,
}

impl Over {
    /// What the next try takes after one that broke off, and whether it brought anything.
    fn next(self, is_mqtt: bool, progress: bool) -> bool {
        match self {
            Self::Auto => is_mqtt == progress,
            Self::Https => false,
            Self::Mqtt => true,
        }
    }
}

/// What to fetch.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Path on the server.
    pub path: String,
    /// Digest of the package.
    pub sha256: Sha256Hex,
    /// Its length in bytes.
    pub size: u64,
    /// Where it goes.
    pub part: PathBuf,
}

/// A body that brings nothing for so long is given up; the next try resumes.
const STALL_DEADLINE: Duration = Duration::from_secs(30);

/// Why one try ended.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Another try may do better.
    Passing(String),
    /// No try will.
    Lasting(String),
}

/// Fetches the package, trying again until `deadline`. When this returns, the file is whole, right and durable.
pub async fn fetch(source: &Source, wanted: &Wanted, deadline: tokio::time::Instant) -> Result<(), String> {
    let mut backoff = Backoff::new(RETRY_BASE, RETRY_CAP);
    let mut is_mqtt = source.over == Over::Mqtt;
    loop {
        let had = length(&wanted.part);
        let why = match attempt(source, is_mqtt, wanted).await {
            Ok(()) => return Ok(()),
            Err(Trouble::Lasting(why)) => return Err(why),
            Err(Trouble::Passing(why)) => why,
        };
        let progress = length(&wanted.part) > had;
        if progress {
            backoff.reset();
        }
        is_mqtt = source.over.next(is_mqtt, progress);
        let wait = backoff.next(ids::random_fraction());
        if tokio::time::Instant::now() + wait >= deadline {
            return Err(format!("the package was not fetched in time: {why}"));
        }
        warn!(path = wanted.path, why, wait_ms = wait.as_millis(), "the download broke off and is tried again");
        tokio::time::sleep(wait).await;
    }
}

async fn attempt(source: &Source, is_mqtt: bool, wanted: &Wanted) -> Result<(), Trouble> {
    let mut have = length(&wanted.part);
    if have > wanted.size {
        discard(&wanted.part);
        have = 0;
    }
    if have < wanted.size
        && is_mqtt
        && let Some(target) = &source.mqtt
    {
        blocks::fetch(target, wanted, have).await?;
    } else if have < wanted.size {
        let server = &source.https;
        let lasting = |error: hyper::http::Error| Trouble::Lasting(format!("cannot ask for {}: {error}", wanted.path));
        let mut request = get(&server.server.to_string(), &wanted.path).map_err(lasting)?;
        if have > 0 {
            let range = HeaderValue::try_from(format!("bytes={have}-")).map_err(|error| lasting(error.into()))?;
            request.headers_mut().insert(RANGE, range);
            info!(path = wanted.path, have, size = wanted.size, "download resumes");
        }
        server.exchange(request, |answer| receive(answer, wanted, have)).await?;
    }
    verify(wanted).await
}

async fn receive(answer: Response<Incoming>, wanted: &Wanted, have: u64) -> Result<(), Trouble> {
    let have = match answer.status() {
        StatusCode::PARTIAL_CONTENT if continues_at(&answer, have) => have,
        StatusCode::OK => 0,
        status => return Err(refused(status, wanted)),
    };
    let mut file = open(&wanted.part, have).map_err(|error| write_failed(error, wanted))?;
    let mut body = answer.into_body();
    let mut length = have;
    while let Some(frame) = tokio::time::timeout(STALL_DEADLINE, body.frame())
        .await
        .map_err(|_| Trouble::Passing("nothing arrived any more".to_owned()))?
    {
        let frame = frame.map_err(|error| Trouble::Passing(format!("the connection broke: {error}")))?;
        let Ok(bytes) = frame.into_data() else { continue };
        length = length.saturating_add(bytes.len() as u64);
        if length > wanted.size {
            discard(&wanted.part);
            return Err(Trouble::Lasting(format!("the package is longer than the {} bytes announced", wanted.size)));
        }
        file.write_all(&bytes).map_err(|error| write_failed(error, wanted))?;
        faults::point("upgrade.during_download");
    }
    if length < wanted.size {
        return Err(Trouble::Passing(format!("it ended after {length} of {} bytes", wanted.size)));
    }
    file.sync_all().map_err(|error| write_failed(error, wanted))
}

async fn verify(wanted: &Wanted) -> Result<(), Trouble> {
    let part = wanted.part.clone();
    let digest = tokio::task::spawn_blocking(move || {
        let file = File::open(part)?;
        // A resumed file may have been written by an agent that was killed before it could sync.
        file.sync_all()?;
        sha256(file)
    });
    match digest.await {
        Ok(Ok(digest)) if digest == wanted.sha256 => Ok(()),
        Ok(Ok(digest)) => {
            discard(&wanted.part);
            Err(Trouble::Lasting(format!("the package has SHA-256 {digest} instead of {}", wanted.sha256)))
        }
        Ok(Err(error)) => Err(Trouble::Lasting(format!("cannot read the fetched package: {error}"))),
        Err(error) => Err(Trouble::Passing(error.to_string())),
    }
}

fn refused(status: StatusCode, wanted: &Wanted) -> Trouble {
    let why = format!("the server answers {status} for {}", wanted.path);
    let passing = status.is_server_error()
        || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT | StatusCode::PARTIAL_CONTENT);
    if status == StatusCode::RANGE_NOT_SATISFIABLE || status == StatusCode::PARTIAL_CONTENT {
        // What is here does not fit what the server has; the next try begins at the beginning.
        discard(&wanted.part);
        return Trouble::Passing(why);
    }
    if passing { Trouble::Passing(why) } else { Trouble::Lasting(why) }
}

fn continues_at(answer: &Response<Incoming>, have: u64) -> bool {
    let range = answer.headers().get(CONTENT_RANGE).and_then(|range| range.to_str().ok());
    range.is_some_and(|range| range.starts_with(&format!("bytes {have}-")))
}

pub(super) fn open(part: &Path, have: u64) -> io::Result<File> {
    if let Some(folder) = part.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut options = OpenOptions::new();
    options.create(true);
    if have > 0 {
        options.append(true)
    } else {
        options.write(true).truncate(true)
    };
    options.open(part)
}

pub(super) fn write_failed(error: io::Error, wanted: &Wanted) -> Trouble {
    discard(&wanted.part);
    if platform::is_disk_full(&error) {
        Trouble::Lasting(format!("disk full: the package of {} bytes does not fit; free some space", wanted.size))
    } else {
        Trouble::Lasting(format!("cannot write {}: {error}", wanted.part.display()))
    }
}

fn length(part: &Path) -> u64 {
    fs::metadata(part).map_or(0, |facts| facts.len())
}

fn discard(part: &Path) {
    if let Err(error) = platform::remove_link(part) {
        warn!(%error, part = %part.display(), "a useless download was not removed");
    }
}

impl From<HttpError> for Trouble {
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::Dial(DialError::Name(_)) => Self::Lasting(error.to_string()),
            _ => Self::Passing(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests;
