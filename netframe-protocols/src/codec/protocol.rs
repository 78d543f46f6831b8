//! [`MessageProtocol`]: what happens on one connection, in messages.

use std::future::{Future, ready};

use netframe_core::{CloseReason, Result};

use super::{Decoder, MessageTransport};

/// Reacts to the events of one connection that speaks in the messages of the codec `C`;
/// [`Framed`](super::Framed) runs it.
///
/// Implementors write plain `async fn`s; only [`message_received`](Self::message_received) is
/// required. Order of calls, cancellation and errors are as for
/// [`Protocol`](netframe_core::Protocol), whose other callbacks pass through.
pub trait MessageProtocol<C: Decoder>: Send + 'static {
    /// The connection is open; nothing has been read yet.
    fn connection_made(
        &mut self,
        t: &mut MessageTransport<'_, C>,
    ) -> impl Future<Output = Result> + Send {
        let _ = t;
        ready(Ok(()))
    }

    /// A message arrived. While this waits no other comes, and the peer feels backpressure.
    fn message_received(
        &mut self,
        t: &mut MessageTransport<'_, C>,
        message: C::Item,
    ) -> impl Future<Output = Result> + Send;

    /// The peer will send nothing more, and all of its messages were delivered. By default the
    /// connection closes once what is queued has left.
    fn eof_received(
        &mut self,
        t: &mut MessageTransport<'_, C>,
    ) -> impl Future<Output = Result> + Send {
        t.close();
        ready(Ok(()))
    }

    /// [`Handle::notify`](netframe_core::Handle::notify) was called since the last time.
    fn notified(&mut self, t: &mut MessageTransport<'_, C>) -> impl Future<Output = Result> + Send {
        let _ = t;
        ready(Ok(()))
    }

    /// The time set by `set_timeout` passed. By default the connection closes.
    fn timed_out(
        &mut self,
        t: &mut MessageTransport<'_, C>,
    ) -> impl Future<Output = Result> + Send {
        t.close();
        ready(Ok(()))
    }

    /// The server drains. By default the connection closes once nothing is queued, unread or left
    /// over.
    fn draining(&mut self, t: &mut MessageTransport<'_, C>) -> impl Future<Output = Result> + Send {
        t.close_when_idle();
        ready(Ok(()))
    }

    /// The connection is over; called exactly once, last, and never waits.
    fn connection_lost(&mut self, reason: &CloseReason) {
        let _ = reason;
    }
}
