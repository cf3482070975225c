//! Messages that are kept for whoever subscribes later.

use crate::message::Message;
use std::sync::Arc;
use tokio::sync::oneshot;

/// A message on an application's topic that shall be kept; an empty one ends what is kept there.
///
/// Once that is durable the service tells the doors ([`crate::Deliveries::keep`]), sends the message to everybody who
/// subscribed ([`crate::Deliveries::spread`]) and answers, in this order. A refused one is sent to nobody.
#[derive(Debug)]
pub struct Retain {
    /// The message.
    pub message: Arc<Message>,
    /// Where the answer goes. Dropped without one, the service has failed or stopped.
    pub reply: oneshot::Sender<Result<(), NotRetained>>,
}

/// Why a message is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotRetained {
    /// There are as many as there may be.
    #[error(
        "there is no room for another retained message; remove some with an empty retained one, or raise mqtt.retained_*"
    )]
    Full,
    /// The service could not keep it, or is gone.
    #[error("the server could not keep the retained message; publish it again")]
    Failed,
}
