//! Subscriptions that span things: a reader of the bus beside the connection, made at the first such subscription.

use super::link::{Link, Read, Sent};
use super::outbox::Outgoing;
use crate::bridge::Shared;
use muster_bus::{Message, ObserverLink, Stopped};
use muster_wire::filter::TopicFilter;
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
    loop {
        let alive = tokio::select! {
            // Cancel-safe: recv() keeps its message.
            commands = inbox.recv() => match commands {
                Some(commands) => obey(&shared, &mut link, &mut reader, commands).await,
                None => false,
            },
            // Cancel-safe, as its documentation says.
            message = reader.next() => match message {
                // Waiting for room here is what makes the bus forget the oldest messages of a slow reader.
                Ok(message) => forward(&mut link, message).await,
                Err(Stopped) => false,
            },
        };
        if !alive {
            debug!(client = %link.caller.client_id, "reader ended");
            return;
        }
    }
}

async fn obey(shared: &Shared, link: &mut Arc<Link>, reader: &mut ObserverLink, commands: Vec<Command>) -> bool {
    let mut stored = Vec::new();
    for command in commands {
        let done = match command {
            Command::Subscribe { filter, send_retained } => {
                let subscribed = reader.subscribe(&filter);
                if send_retained {
                    stored.push(filter);
                }
                subscribed
            }
            Command::Unsubscribe(filter) => reader.unsubscribe(&filter),
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
    // After the word that all is done, so that the client hears of its subscription first.
    for filter in stored {
        for message in shared.bus.retained(&filter) {
            if !forward(link, message).await {
                return false;
            }
        }
    }
    true
}

/// `false` when nobody is left to send it to.
async fn forward(link: &mut Arc<Link>, message: Arc<Message>) -> bool {
    loop {
        let outgoing = match link.read(&message) {
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
