//! Subscriptions that span things: a reader of the bus beside the connection, made at the first such subscription.

use super::link::Link;
use super::outbox::Outgoing;
use crate::bridge::Shared;
use muster_bus::{Message, ObserverLink, Stopped};
use muster_wire::filter::TopicFilter;
use std::sync::Arc;
use tokio::sync::mpsc;
use tracing::debug;

/// SUBSCRIBE packets that wait; each is one entry. Past it the connection is not read.
const COMMANDS_MAX: usize = 8;

/// What the connection tells its reader.
pub(crate) enum Command {
    Subscribe { filter: TopicFilter, send_retained: bool },
    Unsubscribe(TopicFilter),
}

/// Starts a reader. It ends when the returned sender is dropped or the connection is over.
pub(crate) fn start(shared: &Arc<Shared>, link: &Arc<Link>) -> Result<mpsc::Sender<Vec<Command>>, Stopped> {
    let reader = shared.bus.observer(&link.caller.client_id)?;
    let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
    shared.swarm.spawn(read(shared.clone(), link.clone(), reader, inbox));
    Ok(commands)
}

async fn read(shared: Arc<Shared>, link: Arc<Link>, mut reader: ObserverLink, mut inbox: mpsc::Receiver<Vec<Command>>) {
    loop {
        let alive = tokio::select! {
            // Cancel-safe: recv() keeps its message.
            commands = inbox.recv() => match commands {
                Some(commands) => obey(&shared, &link, &mut reader, commands).await,
                None => false,
            },
            // Cancel-safe, as its documentation says.
            message = reader.next() => match message {
                // Waiting for room here is what makes the bus forget the oldest messages of a slow reader.
                Ok(message) => forward(&link, message).await,
                Err(Stopped) => false,
            },
        };
        if !alive {
            debug!(client = %link.caller.client_id, "reader ended");
            return;
        }
    }
}

async fn obey(shared: &Shared, link: &Link, reader: &mut ObserverLink, commands: Vec<Command>) -> bool {
    for command in commands {
        match command {
            Command::Subscribe { filter, send_retained } => {
                if reader.subscribe(&filter).is_err() {
                    return false;
                }
                if send_retained {
                    for message in shared.bus.retained(&filter) {
                        if !forward(link, message).await {
                            return false;
                        }
                    }
                }
            }
            Command::Unsubscribe(filter) => {
                if reader.unsubscribe(&filter).is_err() {
                    return false;
                }
            }
        }
    }
    true
}

async fn forward(link: &Link, message: Arc<Message>) -> bool {
    match link.granted(&message.topic) {
        Some(granted) => {
            let qos = granted.min(message.qos);
            link.send(Outgoing { message, qos }).await
        }
        // Unsubscribed meanwhile.
        None => true,
    }
}
