//! Streams, as devices see them: files are described, and their blocks are read and sent.
//!
//! ```text
//! worker of the thing ── request ──▶ queue (bounded) ──▶ streams thread: look up, read, answer
//! ```
//! Reading may wait for a disk, so it has a thread of its own: the thing's worker hands the request over and goes on. A
//! request changes nothing, so its answer waits for no commit. When the queue is full the device is refused at once.
//! Who may ask is the door's policy; every file that is published can be asked for over HTTPS as well.

use super::Shared;
use crate::records::Stream;
use muster_bus::{Answer, Message, Request};
use muster_wire::codec::Encoding;
use muster_wire::enrol::artifact_file;
use muster_wire::id::{Sha256Hex, ThingName};
use muster_wire::limits::STREAM_REQUESTS_WAITING_MAX;
use muster_wire::stream::{
    Blob, Blocks, Refusal, StreamBlock, StreamDescription, StreamError, StreamFileView, StreamId, StreamRejected,
    read_describe, read_get, token_of,
};
use muster_wire::topic::{StreamTopic, StreamVerb, Topic};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use tracing::{debug, warn};

/// What the thread is told.
pub(super) enum Work {
    Serve(Request),
    Stop,
}

/// The thread's queue, for the workers.
pub(super) struct Queue(SyncSender<Work>);

/// A queue and its end.
pub(super) fn queue() -> (Queue, Receiver<Work>) {
    let (sender, receiver) = sync_channel(STREAM_REQUESTS_WAITING_MAX);
    (Queue(sender), receiver)
}

impl Queue {
    /// Hands a request over.
    pub(super) fn submit(&self, request: Request) {
        let (request, message) = match self.0.try_send(Work::Serve(request)) {
            Ok(()) => return,
            Err(TrySendError::Full(Work::Serve(request))) => (request, "the server has too much to do; ask again"),
            Err(TrySendError::Disconnected(Work::Serve(request))) => (request, "the server stops; ask again"),
            Err(_) => return,
        };
        refuse(request, (StreamError::InternalError, message.to_owned()));
    }

    /// Nothing follows.
    pub(super) fn stop(&self) {
        // The thread may have ended.
        let _ = self.0.send(Work::Stop);
    }
}

/// The thread's whole life.
pub(super) fn run(shared: &Shared, inbox: &Receiver<Work>) {
    while let Ok(Work::Serve(request)) = inbox.recv() {
        match answer(shared, &request) {
            Ok(messages) => {
                let answer =
                    Answer { direct: messages.into_iter().map(std::sync::Arc::new).collect(), ..Answer::settled() };
                request.connection.answer(request.tag, answer);
            }
            Err(refusal) => refuse(request, refusal),
        }
    }
}

fn refuse(request: Request, (code, message): Refusal) {
    let Topic::Stream { thing, stream, encoding, .. } = &request.topic else {
        return request.connection.answer(request.tag, Answer::settled());
    };
    debug!(%thing, %stream, ?code, message, "stream request refused");
    let token = token_of(*encoding, &request.payload);
    let said = encoding.encode(&StreamRejected { code, message, token });
    let rejected = Message::new(topic(thing, stream, StreamTopic::Rejected, *encoding), said);
    request.connection.answer(request.tag, Answer::with(rejected));
}

fn topic(thing: &ThingName, stream: &StreamId, verb: StreamTopic, encoding: Encoding) -> Topic {
    Topic::Stream { thing: thing.clone(), stream: stream.clone(), verb, encoding }
}

fn answer(shared: &Shared, request: &Request) -> Result<Vec<Message>, Refusal> {
    let Topic::Stream { thing, stream, verb: StreamTopic::Request(verb), encoding } = &request.topic else {
        return Err((StreamError::InvalidTopic, "the topic is no request about a stream".to_owned()));
    };
    let encoding = *encoding;
    match verb {
        StreamVerb::Describe => {
            let asked = read_describe(encoding, &request.payload)?;
            let found = find(shared, stream)?;
            let files = found.files.iter().map(|file| StreamFileView { file: file.file, size: file.size }).collect();
            let told = StreamDescription {
                token: asked.token,
                version: found.version,
                description: found.description.clone(),
                files,
            };
            let message =
                Message::new(topic(thing, stream, StreamTopic::Description, encoding), encoding.encode(&told));
            Ok(vec![message])
        }
        StreamVerb::Get => {
            let asked = read_get(encoding, &request.payload)?;
            let found = find(shared, stream)?;
            let of = |number: u8| found.files.iter().find(|file| file.file == number);
            let blocks = asked.blocks(encoding, found.version, |number| of(number).map(|file| file.size))?;
            let Some(file) = of(blocks.file) else { return Ok(Vec::new()) };
            let topic = topic(thing, stream, StreamTopic::Data, encoding);
            let path = shared.config.artifacts_dir.join(artifact_file(&file.sha256));
            let failed = |error: &io::Error| {
                warn!(%stream, file = blocks.file, %error, "a file of a stream cannot be read");
                match error.kind() {
                    io::ErrorKind::NotFound => {
                        (StreamError::ResourceNotFound, format!("file {} is not there any more", blocks.file))
                    }
                    _ => (StreamError::InternalError, "the server cannot read the file".to_owned()),
                }
            };
            let mut source = File::open(path).map_err(|error| failed(&error))?;
            let length = source.metadata().map_err(|error| failed(&error))?.len();
            if length != file.size {
                let message = format!("file {} has {length} bytes and not {} as it had", blocks.file, file.size);
                return Err((StreamError::ETagMismatch, message));
            }
            read(&mut source, &blocks, file.size)
                .map_err(|error| failed(&error))?
                .into_iter()
                .map(|(number, payload)| {
                    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
                    let (file, token, payload) = (blocks.file, asked.token.clone(), Blob(payload));
                    let block = StreamBlock { token, file, length, number, payload };
                    Ok(Message::new(&topic, encoding.encode(&block)))
                })
                .collect()
        }
    }
}

fn read(source: &mut File, blocks: &Blocks, size: u64) -> io::Result<Vec<(u64, Vec<u8>)>> {
    let block = u64::from(blocks.block);
    let mut read = Vec::with_capacity(blocks.numbers.len());
    for number in &blocks.numbers {
        let at = number * block;
        let length = block.min(size.saturating_sub(at));
        let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
        source.seek(SeekFrom::Start(at))?;
        source.by_ref().take(length).read_to_end(&mut bytes)?;
        read.push((*number, bytes));
    }
    Ok(read)
}

/// A stream that an operator made, or that of a published package.
fn find(shared: &Shared, id: &StreamId) -> Result<Stream, Refusal> {
    let fleet = shared.fleet();
    if let Some(stream) = fleet.streams.get(id) {
        return Ok(stream.as_ref().clone());
    }
    let of = |sha256: Sha256Hex| fleet.components.values().find(|component| component.sha256 == sha256);
    match id.package().and_then(of) {
        Some(component) => Ok(Stream::of_package(component)),
        None => Err((StreamError::ResourceNotFound, format!("no stream is called {id}"))),
    }
}
