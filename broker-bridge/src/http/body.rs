//! Bodies that are held in memory: bounded in size and in time.

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use std::time::Duration;
use tokio::time::timeout;

/// The whole body must be there by then.
const DEADLINE: Duration = Duration::from_secs(15);

/// Why a body is not there.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadBody {
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    #[error("the body did not arrive: {0}")]
    Lost(Box<dyn std::error::Error + Send + Sync>),
    #[error("the body did not arrive in time; try again")]
    Late,
}

/// Reads a body of at most so many bytes.
pub(super) async fn read(body: Incoming, bytes_max: usize) -> Result<Bytes, BadBody> {
    match timeout(DEADLINE, Limited::new(body, bytes_max).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(BadBody::TooLarge(bytes_max)),
        Ok(Err(error)) => Err(BadBody::Lost(error)),
        Err(_) => Err(BadBody::Late),
    }
}
