//! The answer to a batch that is still to come: awaited in async code, waited for on a worker thread.

use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use tokio::sync::{mpsc, oneshot};

use super::{Answer, Op, StoreError};

/// One answer for each op, in the order of the ops, or why there is none.
pub type Outcome = Result<Vec<Answer>, StoreError>;

/// A batch on its way to whoever commits it.
pub(super) struct Request {
    pub(super) ops: Vec<Op>,
    pub(super) reply: oneshot::Sender<Outcome>,
}

/// The outcome of [`super::Store::apply`].
///
/// `.await` it in async code; call [`ApplyFuture::wait`] on a thread that may block. The batch is queued when the
/// future is made and is then carried out whether or not anyone waits. Only when the queue is full does waiting also
/// mean waiting for room: dropping the future before that drops the batch.
#[must_use = "a change is durable only when its answer has come"]
pub struct ApplyFuture(State);

enum State {
    Known(Option<Outcome>),
    Entering { entering: Pin<Box<dyn Future<Output = Entered> + Send>>, answer: oneshot::Receiver<Outcome> },
    Queued(oneshot::Receiver<Outcome>),
}

type Entered = Result<(), mpsc::error::SendError<Request>>;

impl ApplyFuture {
    /// An outcome that is known already.
    pub fn known(outcome: Outcome) -> Self {
        Self(State::Known(Some(outcome)))
    }

    /// Puts a batch into the queue, or starts to wait for room in it.
    pub(super) fn enter(queue: &mpsc::Sender<Request>, ops: Vec<Op>) -> Self {
        let (reply, answer) = oneshot::channel();
        match queue.try_send(Request { ops, reply }) {
            Ok(()) => Self(State::Queued(answer)),
            Err(mpsc::error::TrySendError::Full(request)) => {
                let queue = queue.clone();
                let entering = Box::pin(async move { queue.send(request).await });
                Self(State::Entering { entering, answer })
            }
            Err(mpsc::error::TrySendError::Closed(_)) => Self::known(Err(StoreError::Closed)),
        }
    }

    /// Blocks this thread until the outcome is there. For worker threads; async code awaits instead.
    pub fn wait(self) -> Outcome {
        block_on(self)
    }

    /// The answer to the only op of a batch of one.
    pub async fn single(self) -> Result<Answer, StoreError> {
        self.await?.pop().ok_or(StoreError::Closed)
    }

    /// The answer to the only op of a batch of one; blocks this thread.
    pub fn wait_single(self) -> Result<Answer, StoreError> {
        block_on(self.single())
    }
}

impl Future for ApplyFuture {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        if let State::Entering { entering, .. } = &mut self.0 {
            match entering.as_mut().poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(_)) => return Poll::Ready(Err(StoreError::Closed)),
                Poll::Ready(Ok(())) => {}
            }
            if let State::Entering { answer, .. } = std::mem::replace(&mut self.0, State::Known(None)) {
                self.0 = State::Queued(answer);
            }
        }
        match &mut self.0 {
            State::Queued(answer) => {
                Pin::new(answer).poll(cx).map(|received| received.unwrap_or(Err(StoreError::Closed)))
            }
            State::Known(outcome) => Poll::Ready(outcome.take().unwrap_or(Err(StoreError::Closed))),
            State::Entering { .. } => Poll::Pending,
        }
    }
}

impl fmt::Debug for ApplyFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApplyFuture(..)")
    }
}

/// Runs one future on this thread. The channels inside need no runtime, only a waker.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut cx = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut cx) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}
