//! Fetches a package over MQTT, block by block, from the stream that every published package has: for networks that let
//! nothing else through. A connection of its own, so that a long download delays no message of the agent.

use super::download::{Trouble, Wanted, open, write_failed};
use crate::link::{self, LinkError, Session, SessionError, Target};
use muster_runtime::{faults, ids};
use muster_wire::codec::Encoding;
use muster_wire::limits::{ARTIFACT_BYTES_MAX, STREAM_BLOCKS_MAX, STREAM_BYTES_PER_REQUEST_MAX};
use muster_wire::stream::{GetStream, StreamBlock, StreamError, StreamId, StreamRejected};
use muster_wire::topic::{StreamTopic, StreamVerb, Topic};
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tracing::info;

/// Length of a block. Four of them are one request.
const BLOCK: u32 = 32 * 1024;
const PER_REQUEST: u32 = STREAM_BYTES_PER_REQUEST_MAX / BLOCK;
const _: () = assert!(ARTIFACT_BYTES_MAX / (BLOCK as u64) < STREAM_BLOCKS_MAX, "every package can be asked for");
/// A server that sends nothing for so long is given up; the next try resumes. Shorter than a keep-alive and a half.
const STALL_DEADLINE: Duration = Duration::from_secs(30);

/// Fetches what is missing after the first `have` bytes.
pub(super) async fn fetch(target: &Target, wanted: &Wanted, have: u64) -> Result<(), Trouble> {
    // The policy that connectors have lets them take any client id; the agent's own would end its link.
    let client_id = format!("download-{}", ids::random_hex::<8>());
    let mut session = link::open(target, &client_id).await?;
    let fetched = Blocks { target, wanted, session: &mut session }.fetch(have).await;
    if fetched.is_ok() {
        session.goodbye().await;
    }
    fetched
}

struct Blocks<'a, S> {
    target: &'a Target,
    wanted: &'a Wanted,
    session: &'a mut Session<S>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Blocks<'_, S> {
    async fn fetch(mut self, have: u64) -> Result<(), Trouble> {
        let block = u64::from(BLOCK);
        // A block that is not whole is fetched again.
        let mut next = have / block;
        let total = self.wanted.size.div_ceil(block);
        let failed = |error| write_failed(error, self.wanted);
        let mut file = open(&self.wanted.part, next * block).map_err(failed)?;
        file.set_len(next * block).map_err(failed)?;
        file.seek(SeekFrom::End(0)).map_err(failed)?;
        self.session.subscribe(vec![self.topic(StreamTopic::Data), self.topic(StreamTopic::Rejected)]).await?;
        info!(sha256 = %self.wanted.sha256, have = next * block, size = self.wanted.size, "download over MQTT");
        while next < total {
            let count = u64::from(PER_REQUEST).min(total - next);
            self.ask(next, count).await?;
            for number in next..next + count {
                let payload = self.block(number).await?;
                self.write(&mut file, number, &payload)?;
            }
            next += count;
        }
        file.sync_all().map_err(failed)
    }

    fn topic(&self, verb: StreamTopic) -> String {
        let (thing, stream) = (self.target.thing.clone(), StreamId::of_package(&self.wanted.sha256));
        Topic::Stream { thing, stream, verb, encoding: Encoding::Cbor }.to_string()
    }

    async fn ask(&mut self, offset: u64, count: u64) -> Result<(), Trouble> {
        let number = |number: u64| i64::try_from(number).ok();
        let request = GetStream {
            file: Some(0),
            block: Some(BLOCK.into()),
            offset: number(offset),
            count: number(count),
            ..GetStream::default()
        };
        let topic = self.topic(StreamTopic::Request(StreamVerb::Get));
        self.session.publish(&topic, Encoding::Cbor.encode(&request), true).await?;
        Ok(())
    }

    /// The block with this number. They come in order.
    async fn block(&mut self, number: u64) -> Result<Vec<u8>, Trouble> {
        let stalled = |_| Trouble::Passing("nothing arrived any more".to_owned());
        loop {
            let packet = timeout(STALL_DEADLINE, self.session.next()).await.map_err(stalled)??;
            let Some((topic, payload)) = self.session.settle(packet).await? else { continue };
            let topic = std::str::from_utf8(&topic).ok().and_then(|topic| Topic::parse(topic).ok());
            match topic {
                Some(Topic::Stream { verb: StreamTopic::Data, .. }) => {}
                Some(Topic::Stream { verb: StreamTopic::Rejected, .. }) => return Err(refused(&payload)),
                _ => continue,
            }
            let read = Encoding::Cbor.decode::<StreamBlock>(&payload);
            let block = read.map_err(|error| Trouble::Passing(format!("a block is not usable: {error}")))?;
            let length = u64::from(BLOCK).min(self.wanted.size - number * u64::from(BLOCK));
            if block.number != number || block.payload.0.len() as u64 != length {
                return Err(Trouble::Passing(format!("block {} came for block {number}", block.number)));
            }
            return Ok(block.payload.0);
        }
    }

    fn write(&self, file: &mut File, number: u64, payload: &[u8]) -> Result<(), Trouble> {
        file.write_all(payload).map_err(|error| write_failed(error, self.wanted))?;
        if number.is_multiple_of(u64::from(PER_REQUEST)) {
            faults::point("upgrade.during_download");
        }
        Ok(())
    }
}

fn refused(payload: &[u8]) -> Trouble {
    match Encoding::Cbor.decode::<StreamRejected>(payload) {
        Ok(StreamRejected { code: StreamError::InternalError, message, .. }) => Trouble::Passing(message),
        Ok(StreamRejected { code, message, .. }) => {
            Trouble::Lasting(format!("the server refuses the package's stream: {code:?}: {message}"))
        }
        Err(error) => Trouble::Passing(format!("a refusal is not usable: {error}")),
    }
}

impl From<LinkError> for Trouble {
    fn from(error: LinkError) -> Self {
        Self::Passing(error.to_string())
    }
}

impl From<SessionError> for Trouble {
    fn from(error: SessionError) -> Self {
        Self::Passing(error.to_string())
    }
}
