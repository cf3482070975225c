//! The task of one MQTT connection: both directions, its timers and its end.
//!
//! It is a hand-written future because thousands of these wait at the same time: it borrows a buffer from the stack while
//! it reads, frees its own as soon as they are empty, and moves one timer for all its deadlines, and only when it fires.

use super::alias::{Aliases, Spelling};
use super::connect::Connect;
use super::encode::{self, Outbound};
use super::end::{End, Violation};
use super::frame::{self, FrameError, Framed};
use super::in_flight::InFlight;
use super::kept::Kept;
use super::link::Link;
use super::membership::Membership;
use super::observer::Command;
use super::outbox::Outgoing;
use super::pace::Pace;
use super::packet::{self, Incoming, Version};
use crate::counters::{add, count};
use muster_bus::{Qos, Stopped, Tag};
use muster_wire::id::ThingName;
use muster_wire::limits::{PACKET_BYTES_MAX, WRITE_STALL_DEADLINE};
use std::future::Future;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep, sleep_until};
use tracing::warn;

/// Read from the socket at once; lives on the stack.
const READ_BYTES: usize = 8 * 1024;
/// Messages encoded into one write, about.
const WRITE_BYTES: usize = 64 * 1024;
/// Unsent bytes past which nothing more is read from the client.
const UNSENT_BYTES_MAX: usize = 128 * 1024;
/// How long the last packet may take to leave, and the client to hang up.
const CLOSE_DEADLINE: Duration = Duration::from_secs(1);
/// Rounds before other tasks get their turn.
const ROUNDS_MAX: usize = 16;

/// What a paused connection waits for, and what it says then.
type Waiting = Pin<Box<dyn Future<Output = Result<Vec<u8>, Stopped>> + Send>>;

/// One MQTT connection after its CONNACK. Resolves when it is over.
pub(crate) struct Connection<S> {
    stream: S,
    pub(super) member: Membership,
    pub(super) version: Version,
    receive_max: u16,
    packet_max: usize,
    said_too_large: bool,
    /// The session outlives the connection: what is sent is remembered until it is acknowledged.
    kept: bool,
    /// No message leaves before what `waiting` says; then it holds one thing alone.
    pub(super) withholds: bool,
    aliases_max: u16,
    pub(super) aliases: Option<Box<Aliases>>,
    pace: Option<Box<Pace>>,
    /// One and a half keep-alives.
    silence_max: Duration,
    /// The begin of a packet whose rest has not come, or packets that wait for a pause to end.
    input: Vec<u8>,
    pub(super) output: Vec<u8>,
    sent: usize,
    unflushed: bool,
    in_flight: InFlight,
    /// Requests that the service has not answered.
    pub(super) requests: usize,
    /// Of these, those about shadows that were not refused at once, and about which thing each is.
    pub(super) shadow_requests: Vec<(Tag, ThingName)>,
    pub(super) sequence: u64,
    /// Nothing is read before all of it is over.
    waiting: Vec<Waiting>,
    pub(super) observer: Option<mpsc::Sender<Vec<Command>>>,
    /// When a whole packet was handled last, or a pause ended: what waits in `input` meanwhile is not the client's silence.
    heard: Instant,
    stalled: Option<Instant>,
    closing: Option<Closing>,
    timer: Pin<Box<Sleep>>,
}

#[derive(Clone, Copy)]
struct Closing {
    end: End,
    deadline: Instant,
    /// Everything was sent; what still comes in is thrown away until the client hangs up, so that the reset which a
    /// close with unread data causes does not destroy the last packet on its way.
    said: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// `input` is what came after the CONNECT.
    pub(crate) fn new(stream: S, member: Membership, connect: &Connect, input: Vec<u8>) -> Self {
        let now = Instant::now();
        let silence_max = connect.keep_alive * 3 / 2;
        let pace = Pace::new(&member.shared.mqtt, now);
        let kept = member.resumed || !connect.life.is_zero();
        let mut connection = Self {
            stream,
            member,
            version: connect.version,
            receive_max: connect.receive_max,
            packet_max: connect.packet_max,
            said_too_large: false,
            kept,
            withholds: false,
            aliases_max: connect.aliases_max,
            aliases: None,
            pace,
            silence_max,
            input,
            output: Vec::new(),
            sent: 0,
            unflushed: false,
            in_flight: InFlight::default(),
            requests: 0,
            shadow_requests: Vec::new(),
            sequence: 0,
            waiting: Vec::new(),
            observer: None,
            heard: now,
            stalled: None,
            closing: None,
            timer: Box::pin(sleep_until(now + silence_max)),
        };
        if connection.member.resumed {
            connection.resume_session();
        }
        connection
    }

    /// Goes on with the reader, and with what the client has not acknowledged: it is sent again as the client takes it.
    fn resume_session(&mut self) {
        let link = self.link().clone();
        let observer = link.with_kept(|kept| {
            self.in_flight.resume(kept.unacknowledged.iter().map(|(id, _)| *id));
            kept.observer.clone()
        });
        self.observer = observer.flatten();
    }

    /// Encodes the next messages that a former connection sent, about as many as one write takes.
    fn repeat(&mut self) -> bool {
        let mut moved = false;
        while self.output.len() < WRITE_BYTES
            && let Some(id) = self.in_flight.repeat(self.receive_max)
        {
            let find = |kept: &mut Kept| kept.unacknowledged.iter().find(|(known, _)| *known == id).cloned();
            match self.link().with_kept(find).flatten() {
                Some((_, outgoing)) => self.say(&outgoing, Some(id), true),
                None => self.in_flight.end(id),
            }
            moved = true;
        }
        moved
    }

    pub(super) fn link(&self) -> &Arc<Link> {
        &self.member.link
    }

    /// Says the last word and begins to close; the first reason counts. For everybody else it is over now: only the
    /// client's hanging up is waited for.
    pub(super) fn close(&mut self, end: End) {
        if self.closing.is_none() {
            if let (Version::V5, Some(code)) = (self.version, end.code()) {
                encode::disconnect(&mut self.output, code);
            }
            self.closing = Some(Closing { end, deadline: Instant::now() + CLOSE_DEADLINE, said: false });
            self.member.end(end);
        }
    }

    fn poll_run(&mut self, context: &mut Context<'_>) -> Poll<End> {
        if !self.input.is_empty() {
            self.digest(&[]);
        }
        for _ in 0..ROUNDS_MAX {
            let was_paused = self.paused();
            let mut moved = self.collect(context);
            match self.write(context) {
                Ok(wrote) => moved |= wrote,
                Err(_) => return Poll::Ready(self.closing.map_or(End::ConnectionLost, |closing| closing.end)),
            }
            moved |= self.resume(context);
            if was_paused && !self.paused() {
                // The silence of the pause was not the client's.
                self.heard = Instant::now();
            }
            match self.closing {
                Some(closing) => {
                    if let Poll::Ready(end) = self.finish(closing, context) {
                        return Poll::Ready(end);
                    }
                }
                None if self.paused() => {}
                None => match self.read(context) {
                    Poll::Ready(Ok(())) => moved = true,
                    Poll::Ready(Err(end)) => return Poll::Ready(end),
                    Poll::Pending => {}
                },
            }
            if !moved {
                ready!(self.wait(context));
                if let Some(Closing { end, deadline, .. }) = self.closing
                    && deadline <= Instant::now()
                {
                    return Poll::Ready(end);
                }
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Encodes what others left for the client.
    fn collect(&mut self, context: &mut Context<'_>) -> bool {
        if self.closing.is_some() {
            return false;
        }
        // While the last write is not done only acknowledgements are taken: they are small and bounded by the requests.
        let free = self.output.is_empty() && !self.withholds;
        let repeated = free && self.repeat();
        let (permits, bytes_max) = match free && !self.in_flight.repeats() {
            true => (self.in_flight.permits(self.receive_max), WRITE_BYTES),
            false => (0, 0),
        };
        let taken = self.member.link.take(permits, bytes_max, &mut self.in_flight, context);
        let moved = repeated || !taken.settled.is_empty() || !taken.messages.is_empty() || taken.end.is_some();
        for tag in taken.settled {
            self.requests = self.requests.saturating_sub(1);
            if let Some(at) = self.shadow_requests.iter().position(|(known, _)| *known == tag) {
                self.shadow_requests.swap_remove(at);
                if self.shadow_requests.is_empty() {
                    self.shadow_requests = Vec::new();
                }
            }
            if let Some(packet_id) = packet_id(tag) {
                encode::puback(&mut self.output, packet_id, 0);
            }
        }
        let mut ids = taken.ids.into_iter();
        for outgoing in taken.messages {
            let id = match outgoing.qos {
                Qos::AtMostOnce => None,
                Qos::AtLeastOnce => Some(ids.next().unwrap_or_else(|| self.in_flight.begin())),
            };
            self.say(&outgoing, id, false);
        }
        for group in taken.groups {
            group.drain();
        }
        if let Some(end) = taken.end {
            self.close(end);
        }
        moved
    }

    /// Appends a message, unless nobody needs it any more or the client does not take it: then it is as if it had been
    /// delivered, which is the standard's rule.
    fn say(&mut self, outgoing: &Outgoing, id: Option<u16>, again: bool) {
        let message = &*outgoing.message;
        let mut outbound = Outbound { retain: outgoing.retain, again, ..Outbound::new(message, id) };
        if let Some(expires) = message.properties.as_ref().and_then(|said| said.expires) {
            let now = self.member.shared.clock.now();
            if expires <= now {
                count(&self.member.shared.counters.expired);
                return self.forget(id);
            }
            outbound.expiry = Some(u32::try_from(expires.since(now).as_secs()).unwrap_or(u32::MAX));
        }
        let size = outbound.length(self.version);
        if size > self.packet_max {
            self.too_large(&message.topic, size);
            return self.forget(id);
        }
        if self.aliases_max > 0 {
            outbound.spelling = self.aliases.get_or_insert_default().spell(&message.topic, self.aliases_max);
            if outbound.length(self.version) > self.packet_max {
                // Only a new alias is longer; the client does not learn it and hears the topic.
                outbound.spelling = Spelling::Whole;
                self.aliases_max = 0;
            }
        }
        encode::publish(&mut self.output, self.version, &outbound);
        count(&self.member.shared.counters.delivered);
    }

    /// A message that was given a packet id is over.
    fn forget(&mut self, id: Option<u16>) {
        if let Some(id) = id {
            self.in_flight.end(id);
            if self.kept {
                self.link().acknowledged(id);
            }
        }
    }

    /// Counts a message that the client does not take. The first one is logged: the others are likely of its kind.
    fn too_large(&mut self, topic: &str, size: usize) {
        count(&self.member.shared.counters.oversized);
        if !std::mem::replace(&mut self.said_too_large, true) {
            let (identity, packet_max) = (&self.link().caller.identity, self.packet_max);
            warn!(%identity, topic, size, packet_max, "a message is larger than its client takes; dropped");
        }
    }

    fn write(&mut self, context: &mut Context<'_>) -> std::io::Result<bool> {
        let mut moved = false;
        while self.sent < self.output.len() {
            match Pin::new(&mut self.stream).poll_write(context, &self.output[self.sent..]) {
                Poll::Ready(Ok(0)) => return Err(std::io::ErrorKind::WriteZero.into()),
                Poll::Ready(written) => {
                    self.sent += written?;
                    self.unflushed = true;
                    self.stalled = None;
                    moved = true;
                }
                Poll::Pending => {
                    self.stalled.get_or_insert_with(Instant::now);
                    return Ok(moved);
                }
            }
        }
        if self.sent > 0 {
            add(&self.member.shared.counters.bytes_out, self.sent);
            self.sent = 0;
            self.output = Vec::new();
        }
        if self.unflushed {
            match Pin::new(&mut self.stream).poll_flush(context) {
                Poll::Ready(flushed) => {
                    flushed?;
                    self.unflushed = false;
                    self.stalled = None;
                }
                Poll::Pending => {
                    self.stalled.get_or_insert_with(Instant::now);
                }
            }
        }
        Ok(moved)
    }

    /// Whether nothing is read now: the service or the client is behind.
    fn paused(&self) -> bool {
        !self.waiting.is_empty()
            || self.requests >= usize::from(self.member.shared.mqtt.unacknowledged_in_max)
            || self.output.len() - self.sent > UNSENT_BYTES_MAX
    }

    /// Goes on after a pause.
    fn resume(&mut self, context: &mut Context<'_>) -> bool {
        let mut moved = false;
        let mut at = 0;
        while let Some(waiting) = self.waiting.get_mut(at) {
            let Poll::Ready(said) = waiting.as_mut().poll(context) else {
                at += 1;
                continue;
            };
            drop(self.waiting.swap_remove(at));
            self.withholds = false;
            moved = true;
            match said {
                Ok(said) if self.closing.is_none() => self.output.extend_from_slice(&said),
                Ok(_) => {}
                Err(Stopped) => self.close(End::Shutdown),
            }
        }
        if self.closing.is_none() && !self.paused() && !self.input.is_empty() {
            moved |= self.digest(&[]);
        }
        moved
    }

    fn read(&mut self, context: &mut Context<'_>) -> Poll<Result<(), End>> {
        let mut space = [MaybeUninit::uninit(); READ_BYTES];
        let mut buffer = ReadBuf::uninit(&mut space);
        match ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer)) {
            Ok(()) if !buffer.filled().is_empty() => {
                add(&self.member.shared.counters.bytes_in, buffer.filled().len());
                self.digest(buffer.filled());
                self.slow_down(|pace, now| pace.read(buffer.filled().len(), now));
                Poll::Ready(Ok(()))
            }
            // TLS without its goodbye is an error here, and the same to us.
            Ok(()) | Err(_) => Poll::Ready(Err(End::ConnectionLost)),
        }
    }

    /// Reads nothing for as long as the pace says.
    pub(super) fn slow_down(&mut self, wait: impl FnOnce(&mut Pace, Instant) -> Option<Duration>) {
        let now = Instant::now();
        if !self.withholds
            && let Some(pause) = self.pace.as_mut().and_then(|pace| wait(pace, now))
        {
            count(&self.member.shared.counters.paced);
            self.wait_for(async move {
                sleep_until(now + pause).await;
                Ok(Vec::new())
            });
        }
    }

    /// Reads nothing before this is over; says then what it says.
    pub(super) fn wait_for(&mut self, next: impl Future<Output = Result<Vec<u8>, Stopped>> + Send + 'static) {
        self.waiting.push(Box::pin(next));
    }

    /// Handles every whole packet in what was kept and what came; keeps the rest. `true` when a packet was handled.
    fn digest(&mut self, fresh: &[u8]) -> bool {
        let mut kept = std::mem::take(&mut self.input);
        let bytes = if kept.is_empty() {
            fresh
        } else {
            kept.extend_from_slice(fresh);
            kept.as_slice()
        };
        let mut at = 0;
        while self.closing.is_none() && !self.paused() {
            match frame::next(&bytes[at..], PACKET_BYTES_MAX) {
                Ok(Framed::Whole(frame, total)) => {
                    at += total;
                    match packet::parse(self.version, frame) {
                        Ok(incoming) => self.handle(incoming),
                        Err(end) => self.close(end),
                    }
                }
                Ok(Framed::Partial(_)) => break,
                Err(error) => {
                    let (code, what) = match error {
                        FrameError::Malformed => (0x81, "packet length"),
                        FrameError::TooLarge => (0x95, "packet size"),
                    };
                    self.close(End::Violation(Violation { code, what }));
                }
            }
        }
        if at > 0 {
            // Bytes are no sign of life before they are a packet.
            self.heard = Instant::now();
        }
        if self.closing.is_none() && at < bytes.len() {
            self.input = if kept.is_empty() {
                fresh[at..].to_vec()
            } else {
                kept.drain(..at);
                kept
            };
        }
        at > 0
    }

    fn handle(&mut self, incoming: Incoming) {
        match incoming {
            Incoming::Publish(publish) => self.publish(publish),
            Incoming::Acknowledged(packet_id) => self.forget(Some(packet_id)),
            Incoming::Subscribe { packet_id, wishes } => self.subscribe(packet_id, wishes),
            Incoming::Unsubscribe { packet_id, filters } => self.unsubscribe(packet_id, &filters),
            Incoming::Ping => encode::pong(&mut self.output),
            Incoming::Goodbye { with_will, session_expiry } => self.goodbye(with_will, session_expiry),
        }
    }

    fn goodbye(&mut self, with_will: bool, session_expiry: Option<u32>) {
        if let Some(seconds) = session_expiry {
            if seconds > 0 && !self.kept {
                return self.close(End::Violation(Violation { code: 0x82, what: "session expiry after none" }));
            }
            let settings = &self.member.shared.mqtt;
            let life = Duration::from_secs(seconds.into()).min(settings.session_expiry_max);
            self.link().with_kept(|kept| kept.life = life);
        }
        self.close(if with_will { End::GoodbyeWithWill } else { End::Goodbye });
    }

    /// After the last word: waits until it has left and the client has hung up.
    fn finish(&mut self, closing: Closing, context: &mut Context<'_>) -> Poll<End> {
        if !self.output.is_empty() || self.unflushed {
            return Poll::Pending;
        }
        if !closing.said {
            if ready!(Pin::new(&mut self.stream).poll_shutdown(context)).is_err()
                || closing.end.is_goodbye()
                || closing.end == End::KeepAlive
            {
                return Poll::Ready(closing.end);
            }
            self.closing = Some(Closing { said: true, ..closing });
        }
        let mut space = [MaybeUninit::uninit(); READ_BYTES];
        for _ in 0..ROUNDS_MAX {
            let mut buffer = ReadBuf::uninit(&mut space);
            match ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {}
                Ok(()) | Err(_) => return Poll::Ready(closing.end),
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Waits for the nearest deadline; when one has passed, acts on it.
    fn wait(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let silence = (!self.paused()).then(|| self.heard + self.silence_max);
            let stall = self.stalled.map(|since| since + WRITE_STALL_DEADLINE);
            let close = self.closing.map(|closing| closing.deadline);
            let Some(next) = [silence, stall, close].into_iter().flatten().min() else {
                return Poll::Pending;
            };
            if self.timer.is_elapsed() || next < self.timer.deadline() {
                self.timer.as_mut().reset(next);
            }
            ready!(self.timer.as_mut().poll(context));
            let now = Instant::now();
            if close.is_some_and(|at| at <= now) {
                return Poll::Ready(());
            }
            if stall.is_some_and(|at| at <= now) {
                // Nothing can be said to it any more.
                self.stalled = None;
                self.close(End::Throttled);
                return Poll::Ready(());
            }
            if silence.is_some_and(|at| at <= now) && self.closing.is_none() {
                self.close(End::KeepAlive);
                return Poll::Ready(());
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Future for Connection<S> {
    type Output = End;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<End> {
        let this = self.get_mut();
        let end = ready!(this.poll_run(context));
        this.member.end(end);
        Poll::Ready(end)
    }
}

/// A request's tag: unique within the connection, with the packet id in the low bits.
pub(super) fn tag(sequence: u64, packet_id: Option<u16>) -> Tag {
    sequence << 16 | u64::from(packet_id.unwrap_or(0))
}

fn packet_id(tag: Tag) -> Option<u16> {
    u16::try_from(tag & 0xffff).ok().filter(|id| *id != 0)
}

#[cfg(test)]
mod tests;
