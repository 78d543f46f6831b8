//! [`Mailbox`]: typed messages to a protocol from elsewhere.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::num::NonZeroUsize;
use std::sync::{Arc, PoisonError};
use std::task::{Poll, Waker};

use crate::handle::Handle;
use crate::sync::{Mutex, MutexGuard};

/// A bounded queue of messages for one protocol.
///
/// The protocol keeps the mailbox and empties it in
/// [`notified`](crate::Protocol::notified), which is called after each message; others keep a
/// [`Sender`]. Until there is a connection, the protocol has the default one, which nobody sends to.
///
/// ```
/// use std::num::NonZeroUsize;
/// use netframe_core::{Mailbox, Protocol, Result, Transport, bytes::BytesMut};
///
/// #[derive(Default)]
/// struct Subscriber {
///     news: Mailbox<String>,
/// }
///
/// impl Protocol for Subscriber {
///     async fn connection_made(&mut self, t: &mut dyn Transport) -> Result {
///         let (mailbox, sender) = Mailbox::new(t.handle(), NonZeroUsize::new(100).unwrap());
///         self.news = mailbox;
///         // hand `sender` to whoever has news
/// #       drop(sender);
///         Ok(())
///     }
///
///     async fn notified(&mut self, t: &mut dyn Transport) -> Result {
///         while let Some(news) = self.news.pop() {
///             t.write(news.as_bytes());
///         }
///         Ok(())
///     }
///
///     async fn data_received(&mut self, _: &mut dyn Transport, data: &mut BytesMut) -> Result {
///         data.clear();
///         Ok(())
///     }
/// }
/// ```
pub struct Mailbox<M> {
    /// None if nobody sends to it.
    queue: Option<Arc<Queue<M>>>,
}

impl<M: Send> Mailbox<M> {
    /// A mailbox for the connection of `handle` that holds up to `capacity` messages.
    pub fn new(handle: Handle, capacity: NonZeroUsize) -> (Self, Sender<M>) {
        let queue = Arc::new(Queue {
            capacity: capacity.get(),
            state: Mutex::new(State { messages: VecDeque::new(), waiting: Vec::new(), open: true }),
        });
        (Self { queue: Some(Arc::clone(&queue)) }, Sender { queue, handle })
    }

    /// Takes the oldest message.
    pub fn pop(&mut self) -> Option<M> {
        let mut state = self.queue.as_ref()?.state();
        let message = state.messages.pop_front()?;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        for waker in waiting {
            waker.wake();
        }
        Some(message)
    }
}

impl<M> Default for Mailbox<M> {
    fn default() -> Self {
        Self { queue: None }
    }
}

impl<M> Drop for Mailbox<M> {
    fn drop(&mut self) {
        let Some(queue) = &self.queue else { return };
        let mut state = queue.state();
        state.open = false;
        let waiting = std::mem::take(&mut state.waiting);
        let messages = std::mem::take(&mut state.messages);
        drop(state);
        drop(messages);
        for waker in waiting {
            waker.wake();
        }
    }
}

impl<M> fmt::Debug for Mailbox<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.queue {
            Some(queue) => queue.fmt(f),
            None => f.write_str("Mailbox(default)"),
        }
    }
}

/// Sends to a [`Mailbox`]; cheap to clone.
pub struct Sender<M> {
    queue: Arc<Queue<M>>,
    handle: Handle,
}

impl<M: Send> Sender<M> {
    /// Sends a message if there is room.
    ///
    /// # Errors
    ///
    /// The mailbox is full, or gone with its protocol; the message comes back with the error.
    pub fn try_send(&self, message: M) -> Result<(), TrySendError<M>> {
        let mut state = self.queue.state();
        if !state.open {
            return Err(TrySendError::Closed(message));
        }
        if state.messages.len() >= self.queue.capacity {
            return Err(TrySendError::Full(message));
        }
        state.messages.push_back(message);
        drop(state);
        self.handle.notify();
        Ok(())
    }

    /// Sends a message, as soon as there is room.
    ///
    /// # Errors
    ///
    /// The mailbox is gone with its protocol; the message comes back with the error.
    ///
    /// # Cancel safety
    ///
    /// A dropped future has not sent its message, which is dropped with it.
    pub async fn send(&self, message: M) -> Result<(), TrySendError<M>> {
        let mut message = Some(message);
        poll_fn(|cx| {
            let Some(next) = message.take() else { return Poll::Ready(Ok(())) };
            match self.try_send(next) {
                Err(TrySendError::Full(back)) => {
                    let mut state = self.queue.state();
                    if state.open && state.messages.len() >= self.queue.capacity {
                        if !state.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
                            state.waiting.push(cx.waker().clone());
                        }
                    } else {
                        cx.waker().wake_by_ref(); // it changed meanwhile
                    }
                    message = Some(back);
                    Poll::Pending
                }
                done => Poll::Ready(done),
            }
        })
        .await
    }

    /// Whether the mailbox is gone with its protocol: no message will be taken any more.
    pub fn is_closed(&self) -> bool {
        !self.queue.state().open
    }

    /// The connection that the messages go to.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl<M> Clone for Sender<M> {
    fn clone(&self) -> Self {
        Self { queue: Arc::clone(&self.queue), handle: self.handle.clone() }
    }
}

impl<M> fmt::Debug for Sender<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.queue.fmt(f)
    }
}

/// A message that was not taken.
#[derive(thiserror::Error)]
pub enum TrySendError<M> {
    /// The mailbox is full.
    #[error("the mailbox is full")]
    Full(M),
    /// The mailbox is gone with its protocol.
    #[error("the mailbox is gone with its protocol")]
    Closed(M),
}

impl<M> TrySendError<M> {
    /// The message.
    pub fn into_message(self) -> M {
        match self {
            Self::Full(message) | Self::Closed(message) => message,
        }
    }
}

impl<M> fmt::Debug for TrySendError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full(..)",
            Self::Closed(_) => "Closed(..)",
        })
    }
}

struct Queue<M> {
    capacity: usize,
    state: Mutex<State<M>>,
}

struct State<M> {
    messages: VecDeque<M>,
    /// Senders that wait for room. Stale ones go with the next message taken.
    waiting: Vec<Waker>,
    open: bool,
}

impl<M> Queue<M> {
    fn state(&self) -> MutexGuard<'_, State<M>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<M> fmt::Debug for Queue<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mailbox({} of {})", self.state().messages.len(), self.capacity)
    }
}
