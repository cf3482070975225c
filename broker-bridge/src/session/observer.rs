//! Subscriptions that span things: a reader of the bus beside the connection, made at the first such subscription.

use super::link::{Link, Read, Sent};
use super::outbox::Outgoing;
use crate::bridge::Shared;
use muster_bus::{Message, ObserverLink, Stopped};
use muster_wire::filter::TopicFilter;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use tracing::debug;

/// SUBSCRIBE packets that wait; each is one entry. Past it the connection is not read.
const COMMANDS_MAX: usize = 8;

/// What the connection tells its reader.
pub(crate) enum Command {
    Subscribe {
        filter: TopicFilter,
        send_retained: bool,
    },
    Unsubscribe(TopicFilter),
    /// Everything before has happened: nothing that is said from now on is missed.
    Done(oneshot::Sender<()>),
}

/// Starts a reader. It ends when the returned sender is dropped or the connection is over.
pub(crate) fn start(shared: &Arc<Shared>, link: &Arc<Link>) -> Result<mpsc::Sender<Vec<Command>>, Stopped> {
    let reader = shared.bus.observer(&link.caller.client_id)?;
    let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
    shared.swarm.spawn(read(shared.clone(), link.clone(), reader, inbox));
    Ok(commands)
}

async fn read(
    shared: Arc<Shared>,
    mut link: Arc<Link>,
    mut reader: ObserverLink,
    mut inbox: mpsc::Receiver<Vec<Command>>,
) {
    let mut backlog = Backlog::default();
    loop {
        while backlog.messages.is_empty()
            && let Some(filter) = backlog.stored.pop_front()
        {
            backlog.messages.extend(shared.bus.retained(&filter));
        }
        let alive = tokio::select! {
            // Cancel-safe: recv() keeps its message. Heard while a message waits for room, too: the connection reads no
            // acknowledgement, which makes room, before its commands are obeyed.
            commands = inbox.recv() => match commands {
                Some(commands) => obey(&mut backlog, &mut reader, commands),
                None => false,
            },
            // Cancel-safe: what was not sent is still the first. Waiting for room here is what makes the bus forget the
            // oldest messages of a slow reader.
            alive = forward(&mut link, backlog.messages.front()), if !backlog.messages.is_empty() => {
                backlog.messages.pop_front();
                alive
            }
            // Cancel-safe, as its documentation says.
            message = reader.next(), if backlog.messages.is_empty() => match message {
                Ok(message) => {
                    backlog.messages.push_back(message);
                    true
                }
                Err(Stopped) => false,
            },
        };
        if !alive {
            debug!(client = %link.caller.client_id, "reader ended");
            return;
        }
    }
}

/// What waits for room in the queue of the connection.
#[derive(Default)]
struct Backlog {
    /// One from the bus, or what is stored for one filter.
    messages: VecDeque<Arc<Message>>,
    /// Filters whose stored messages come next, each once: no more than there are subscriptions.
    stored: VecDeque<TopicFilter>,
}

/// What is stored is sent after the word that all is done, so that the client hears of its subscription first.
fn obey(backlog: &mut Backlog, reader: &mut ObserverLink, commands: Vec<Command>) -> bool {
    for command in commands {
        let done = match command {
            Command::Subscribe { filter, send_retained } => {
                let subscribed = reader.subscribe(&filter);
                if send_retained && !backlog.stored.contains(&filter) {
                    backlog.stored.push_back(filter);
                }
                subscribed
            }
            Command::Unsubscribe(filter) => {
                backlog.stored.retain(|known| *known != filter);
                reader.unsubscribe(&filter)
            }
            Command::Done(done) => {
                // Who asked may be gone.
                let _ = done.send(());
                Ok(())
            }
        };
        if done.is_err() {
            return false;
        }
    }
    true
}

/// `false` when nobody is left to send it to.
async fn forward(link: &mut Arc<Link>, message: Option<&Arc<Message>>) -> bool {
    let Some(message) = message else { return true };
    loop {
        let outgoing = match link.read(message) {
            Read::Wanted(outgoing) => outgoing,
            Read::NotThisWay => return true,
            // Whoever has the session now says how it is sent.
            Read::Away => Outgoing { qos: message.qos, message: message.clone(), retain: message.retained },
        };
        match link.send(outgoing).await {
            Sent::Done => return true,
            Sent::Over => return false,
            Sent::Moved(next) => *link = next,
        }
    }
}
